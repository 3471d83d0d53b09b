"""A run's record in the order of time: its events, its phases, and series up to a step."""

from __future__ import annotations

from dataclasses import dataclass

from engine.core.history import Series
from engine.run.snapshot import Event
from engine.run.store import Checkpoint, Store

NO_KNOB = ("phase", "checkpoint", "redraw")  # events of these names change no knob


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


def phases(store: Store, checkpoint: Checkpoint) -> tuple[Span, ...]:
    """The phases of a run up to ``checkpoint``; phases without a step are left out unless there is no other."""
    switches = [e for e in events_of(store, checkpoint) if e.name == "phase"]
    objective: str = switches[0].old if switches else checkpoint.phase
    spans, start = [], 0
    for switch in switches:
        if switch.step > start:
            spans.append(Span(start, switch.step, objective))
        start, objective = switch.step, switch.new
    if checkpoint.step > start or not spans:
        spans.append(Span(start, checkpoint.step, objective))
    return tuple(spans)


def until(series: Series, step: int) -> Series:
    """``series`` up to and including ``step``; of several values of one step the last one stays."""
    steps, values = series.steps, series.values
    keep = steps <= step
    keep[:-1] &= steps[1:] != steps[:-1]
    return Series(steps[keep], values[keep])
