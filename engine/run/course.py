"""What training used at each of its steps: learning rate, bias, noise and every knob that was changed on the way."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.config.assignments import read_value
from engine.config.curves import PREFIX
from engine.config.experiment import Config, Moment, at_step, resolve, value_of, with_value
from engine.core.errors import ExplorerError
from engine.run.schema import read_run
from engine.run.snapshot import NO_KNOB, Event

POINTS = 512  # steps at the least that a long run is sampled at; a short one at every step


@dataclass(frozen=True, slots=True)
class Sampled:
    """``values``: knob's path → what each of ``steps`` used (t,); ``steps`` (t,) are numbers of steps, from 1."""

    steps: NDArray[np.int64]
    values: Mapping[str, NDArray[np.float64]]


def started_with(folder: Path, otherwise: Config) -> Config:
    """The config that the run in ``folder`` was started with; ``otherwise`` where that cannot be read."""
    try:
        return read_run(folder / "config.json")[1]
    except (ExplorerError, OSError):
        return otherwise


class Course:
    """The settings of a run over its steps, from the config ``first`` that it started with and its events.

    It is given more events as the run goes on (:meth:`follow`) and remembers what it has computed, so that looking
    again after a few more steps costs a few steps. Step number k is the one after k − 1 others.
    """

    def __init__(self, first: Config) -> None:
        self._taken = 0
        self._config, self._phase, self._start, self._redrawn = first, "clean", 0, False
        self._froms = [0]
        self._settings = [(first, Moment(0, "clean"))]
        self._paths: dict[str, None] = dict.fromkeys(path for path, _ in first.schedule.knobs)
        self._rows: dict[int, dict[str, float]] = {}

    def follow(self, events: tuple[Event, ...]) -> None:
        """Take up those of the run's ``events`` that are new; they lie behind every step that was asked for."""
        for event in events[self._taken :]:
            self._take(event)
        self._taken = max(self._taken, len(events))

    def _take(self, event: Event) -> None:
        if event.name in ("phase", "redraw"):
            self._start = event.step
            self._phase = event.new if event.name == "phase" else self._phase
            self._redrawn = self._redrawn or event.name == "redraw"
        elif event.name in NO_KNOB:
            return
        else:
            knob = resolve(event.name, self._config)
            whole = at_step(self._config, event.step)  # a curve that ends leaves its knob at the value it had
            self._config = with_value(whole, event.name, read_value(event.new, knob.kind))
            path = event.name.removeprefix(PREFIX)
            if (knob.kind in ("int", "float") or event.name != path) and path not in self._paths:
                self._paths[path] = None
                self._rows.clear()
        self._froms.append(event.step)
        self._settings.append((self._config, Moment(event.step, self._phase, self._start, self._redrawn)))

    def at(self, step: int) -> dict[str, float]:
        """What step number ``step`` uses, by the paths of knobs: what it always depends on, and what ever changed."""
        done = step - 1
        if done not in self._rows:
            config, since = self._settings[bisect_right(self._froms, done) - 1]
            config = at_step(config, done)
            row = config.in_force(Moment(done, since.phase, since.start, since.redrawn))
            self._rows[done] = row | {p: float(value_of(config, p)) for p in self._paths if p not in row}  # type: ignore[arg-type]
        return self._rows[done]

    def sampled(self, end: int, corners: Iterable[int] = (), points: int = POINTS) -> Sampled:
        """What the steps up to number ``end`` used: all of them, or of a long run between ``points`` and twice as many.

        Events and ``corners``, numbers of steps, are among them with their neighbours, so that a jump stays a jump.
        """
        stride = 1
        while end // stride > 2 * points:
            stride *= 2
        own = {at for c in (*self._froms, *corners) for at in (c, c + 1)}
        steps = sorted({*range(1, end + 1, stride), *(s for s in own if 1 <= s <= end), *([end] if end else [])})
        rows = [self.at(step) for step in steps]
        names = rows[-1] if rows else {}
        values = {name: np.array([row[name] for row in rows], np.float64) for name in names}
        return Sampled(np.array(steps, np.int64), values)
