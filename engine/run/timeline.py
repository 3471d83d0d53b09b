"""A run's record in the order of time: its events, its phases, and series up to a step."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from engine.config.curves import PREFIX, Curve, read_curve
from engine.config.experiment import Config
from engine.core.history import Series
from engine.run.snapshot import NO_KNOB, Event
from engine.run.store import Checkpoint, Store


@dataclass(frozen=True, slots=True)
class Span:
    """Steps ``start`` to ``end`` were trained with ``objective``."""

    start: int
    end: int
    objective: str


def events_of(store: Store, checkpoint: Checkpoint) -> tuple[Event, ...]:
    """The changes that led to ``checkpoint``: its ``events`` counts them, and the store numbers them from 1."""
    return store.events()[: checkpoint.events]


def knob_events(store: Store, checkpoint: Checkpoint) -> tuple[Event, ...]:
    """Those changes that are changes of knobs: neither phase switches nor checkpoints."""
    return tuple(e for e in events_of(store, checkpoint) if e.name not in NO_KNOB)


@dataclass(frozen=True, slots=True)
class Plan:
    """The knob at ``path`` follows ``curve`` from step ``start`` until before step ``end``; None: to the end."""

    path: str
    curve: Curve
    start: int
    end: int | None


@dataclass(frozen=True, slots=True)
class Knot:
    """At ``step`` the curve of the knob at ``path`` reaches ``value`` from ``before``; None for its first point."""

    step: int
    path: str
    before: float | None
    value: float

    @property
    def words(self) -> str:
        """E.g. ``training.lr 6.5 → 3``."""
        moved = self.before is not None and self.before != self.value
        return f"{self.path} {f'{self.before:.6g} → ' if moved else ''}{self.value:.6g}"


def plans(config: Config, events: Iterable[Event]) -> tuple[Plan, ...]:
    """The curves that knobs follow, followed and will follow, by path and step; ``config`` is that after ``events``."""
    changes: dict[str, list[Event]] = {path: [] for path, _ in config.schedule.knobs}
    for event in events:
        if event.name.startswith(PREFIX):
            changes.setdefault(event.name.removeprefix(PREFIX), []).append(event)
    found = []
    for path, own in sorted(changes.items()):
        first = _read(path, own[0].old) if own else config.schedule.curve(path)
        curves = [first, *(_read(path, event.new) for event in own)]
        steps = [event.step for event in own]
        for curve, start, end in zip(curves, [0, *steps], [*steps, None], strict=True):
            if curve is not None and (end is None or end > start):
                found.append(Plan(path, curve, start, end))
    return tuple(found)


def knots(found: Iterable[Plan]) -> tuple[Knot, ...]:
    """The points of the curves within the steps at which they were or are in force, in the order of steps."""
    made = []
    for plan in found:
        before = None
        for step, value in plan.curve.points:
            if plan.start <= step and (plan.end is None or step < plan.end):
                made.append(Knot(step, plan.path, before, value))
            before = value
    return tuple(sorted(made, key=lambda knot: (knot.step, knot.path)))


def _read(path: str, text: str) -> Curve | None:
    """The curve that an event names."""
    return None if text == str(None) else read_curve(path, json.loads(text))


def curve_in_force(config: Config, events: Iterable[Event], path: str, step: int) -> Curve | None:
    """The curve that the knob at ``path`` followed after ``step`` steps; ``config`` is that after all ``events``."""
    own = [e for e in events if e.name == PREFIX + path]
    before = [e.new for e in own if e.step <= step]
    if not own:
        return config.schedule.curve(path)
    text = before[-1] if before else own[0].old
    return _read(path, text)


def spans(events: Iterable[Event], objective: str, end: int) -> tuple[Span, ...]:
    """The phases of a run that stands at step ``end`` and trains with ``objective``, from its events.

    Phases without a step are left out unless there is no other.
    """
    switches = [e for e in events if e.name == "phase" and e.step <= end]
    current = switches[0].old if switches else objective
    found, start = [], 0
    for switch in switches:
        if switch.step > start:
            found.append(Span(start, switch.step, current))
        start, current = switch.step, switch.new
    if end > start or not found:
        found.append(Span(start, end, current))
    return tuple(found)


def objective_at(found: Sequence[Span], step: int) -> str:
    """With which objective training step number ``step`` was taken, ``found`` being the run's phases."""
    return next((span.objective for span in found if span.start < step <= span.end), found[-1].objective)


def last_switch(store: Store, checkpoint: Checkpoint) -> int:
    """The step at which the phase of ``checkpoint`` began."""
    return max((e.step for e in events_of(store, checkpoint) if e.name == "phase"), default=0)


def phases(store: Store, checkpoint: Checkpoint) -> tuple[Span, ...]:
    """The phases of a run up to ``checkpoint``."""
    return spans(events_of(store, checkpoint), checkpoint.phase, checkpoint.step)


def until(series: Series, step: int) -> Series:
    """``series`` up to and including ``step``; of several values of one step the last one stays."""
    steps, values = series.steps, series.values
    keep = steps <= step
    keep[:-1] &= steps[1:] != steps[:-1]
    return Series(steps[keep], values[keep])
