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


def curve_in_force(config: Config, events: Iterable[Event], path: str, step: int) -> Curve | None:
    """The curve that the knob at ``path`` followed after ``step`` steps; ``config`` is that after all ``events``."""
    own = [e for e in events if e.name == PREFIX + path]
    before = [e.new for e in own if e.step <= step]
    if not own:
        return config.schedule.curve(path)
    text = before[-1] if before else own[0].old
    return None if text == str(None) else read_curve(path, json.loads(text))


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
