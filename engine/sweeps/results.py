"""What the runs of a sweep have come to: a row a run, read from the run folders, and ``results.csv``. Imports no torch.

The index over run folders (:mod:`engine.run.index`) remembers what it read, so that of a thousand runs only those are
read that have changed.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

from engine.core.files import refusal, write_atomically
from engine.core.measurement import Measurement, wilson
from engine.run.entry import FIGURES, PhaseEnd
from engine.run.index import RUNS, ListedRun, RunIndex
from engine.sweeps.record import RESULTS, RunEnd, Sweep, Value, read_ends, read_sweep, run_folder, text_of

State = Literal["finished", "training", "interrupted", "failed", "diverged", "waiting"]
STATES: dict[State, str] = {
    "finished": "its schedule has run to its end, and its figures are measured",
    "training": "a process has it open",
    "interrupted": "it goes on from its newest checkpoint with --resume",
    "failed": "an error ended it; --resume tries it again",
    "diverged": "its loss was no number any more; --resume leaves it",
    "waiting": "it has not begun",
}
PHASES = ("clean", "second")


@dataclass(frozen=True, slots=True)
class SweptFigure:
    """A figure at a phase's end; ``low`` and ``high`` are the 95% Wilson interval of one that has a protocol."""

    value: float
    low: float | None = None
    high: float | None = None
    protocol: Measurement | None = None


@dataclass(frozen=True, slots=True)
class PhaseFigures:
    """The report of the phase ``phase`` that ended at ``step``: :data:`engine.run.entry.FIGURES`, those measured."""

    step: int
    phase: str
    figures: Mapping[str, SweptFigure]


@dataclass(frozen=True, slots=True)
class SweepRow:
    """A run of a sweep as it stands: ``values`` of the swept knobs by path, one of :data:`STATES`, why.

    ``seconds`` are those of all its trainings together. ``clean`` is the end of clean training and ``second`` that of
    the phase after it, None as long as there is none; ``step`` of ``total`` is done.
    """

    name: str
    folder: Path
    values: Mapping[str, Value]
    seed: int
    state: State
    reason: str = ""
    seconds: float = 0.0
    step: int = 0
    total: int = 0
    verified: bool = False
    clean: PhaseFigures | None = None
    second: PhaseFigures | None = None

    def end(self, phase: str) -> PhaseFigures | None:
        """That of one of :data:`PHASES`."""
        return self.clean if phase == "clean" else self.second

    def figure(self, phase: str, name: str) -> SweptFigure | None:
        """A figure at the end of one of :data:`PHASES`; None if it was not measured."""
        end = self.end(phase)
        return None if end is None else end.figures.get(name)


@dataclass(frozen=True, slots=True)
class SweepResults:
    """A sweep and its runs, in the order in which they were planned."""

    folder: Path
    sweep: Sweep
    rows: tuple[SweepRow, ...]

    def counts(self) -> dict[State, int]:
        """How many runs there are in each state that any has."""
        states = [row.state for row in self.rows]
        return {state: states.count(state) for state in STATES if state in states}


def results(folder: Path, index: RunIndex | None = None) -> SweepResults:
    """All runs of the sweep in ``folder`` as they stand now.

    Whoever asks again and again keeps an ``index`` over its run folders (:func:`index_of`). Raises :class:`StoreError`
    if it holds no sweep, or if what is written of it is damaged; a run that is damaged is a failed one.
    """
    sweep, ends = read_sweep(folder), read_ends(folder)
    listed = {run.name: run for run in (index or index_of(folder)).look()}
    rows = []
    for run in sweep.runs:
        found, ended = listed.get(run.name), ends.get(run.name, [])
        entry = None if found is None else found.entry
        state, reason = _standing(sweep, found, ended)
        rows.append(
            SweepRow(
                run.name, run_folder(folder, run.name), run.values, run.seed, state, reason,
                round(sum(end.seconds for end in ended), 3),
                0 if entry is None else entry.step,
                0 if entry is None else entry.total,
                any(end.verified for end in ended),
                None if entry is None else _of(entry.clean_end),
                None if entry is None else _of(entry.second_end),
            )
        )  # fmt: skip
    return SweepResults(folder, sweep, tuple(rows))


def index_of(folder: Path) -> RunIndex:
    """An index over the runs of the sweep in ``folder``."""
    return RunIndex(folder / RUNS)


def _standing(sweep: Sweep, found: ListedRun | None, ended: list[RunEnd]) -> tuple[State, str]:
    """State and reason, of what is on disk and of how training ended last."""
    last = ended[-1] if ended else None
    if found is not None and found.standing in ("training", "here"):
        verified = not sweep.verify or any(end.verified for end in ended)
        ended_well = last is not None and last.state == "finished" and found.entry.outcome == "finished"
        return ("finished" if ended_well and verified else "training"), ""  # a finished run may be open to be looked at
    if found is not None and found.entry.outcome in ("damaged", "newer"):
        return "failed", found.entry.reason
    if last is not None and last.state in ("failed", "diverged"):
        return last.state, last.reason
    if found is None:
        return "waiting", ""
    entry = found.entry
    if entry.outcome == "diverged":
        return "diverged", "the loss is not finite"
    newest = max((end.step for end in (entry.clean_end, entry.second_end) if end is not None), default=-1)
    measured = newest == entry.total or (last is not None and last.state == "finished")
    if entry.outcome != "finished" or not measured:
        return "interrupted", ""
    if sweep.verify and not any(end.verified for end in ended):
        return "interrupted", "trained, and not verified"
    return "finished", ""


def _of(end: PhaseEnd | None) -> PhaseFigures | None:
    if end is None:
        return None
    figures = {}
    for name, reported in end.figures.items():
        how = reported.measurement
        low, high = (None, None) if how is None else wilson(reported.value * how.n, how.n)
        figures[name] = SweptFigure(reported.value, low, high, how)
    return PhaseFigures(end.step, end.phase, figures)


# --- results.csv

_INTERVAL = tuple(field.name for field in fields(SweptFigure)[1:])


def columns(sweep: Sweep) -> list[str]:
    """The head of ``results.csv``.

    ``name``, a column for each swept knob, ``seed``, ``state``, ``reason``, ``seconds``, ``step``, ``total``,
    ``verified``; then for the end of either phase its step and objective, and each figure with the ends of its interval
    and its protocol: ``clean_end.step``, ``clean_end.phase``, ``clean_end.pgd``, ``clean_end.pgd.low``,
    ``clean_end.pgd.high``, ``clean_end.pgd.protocol``, …, ``second_end.certified`` and so on.
    """
    head = ["name", *sweep.grid, "seed", "state", "reason", "seconds", "step", "total", "verified"]
    for phase in PHASES:
        end = f"{phase}_end"
        head += [f"{end}.step", f"{end}.phase"]
        for figure in FIGURES:
            head += [f"{end}.{figure}", *(f"{end}.{figure}.{each}" for each in _INTERVAL)]
    return head


def csv_text(found: SweepResults) -> str:
    """``results.csv`` as text: a line a run; what was not measured is empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns(found.sweep))
    writer.writerows(list(_cells(row)) for row in found.rows)
    return text.getvalue()


def write_results(folder: Path, index: RunIndex | None = None) -> SweepResults:
    """Write ``results.csv`` of the sweep in ``folder``. Raises :class:`StoreError` where that is not possible."""
    found = results(folder, index)
    try:
        write_atomically(folder / RESULTS, csv_text(found).encode())
    except OSError as error:
        raise refusal(f"{folder / RESULTS} cannot be written", error) from None
    return found


def _cells(row: SweepRow) -> Iterator[object]:
    yield row.name
    yield from (text_of(value) for value in row.values.values())
    yield from (row.seed, row.state, row.reason, row.seconds, row.step, row.total, text_of(row.verified))
    for phase in PHASES:
        end = row.end(phase)
        yield from ("", "") if end is None else (end.step, end.phase)
        for name in FIGURES:
            figure = row.figure(phase, name)
            if figure is None:
                yield from [""] * (1 + len(_INTERVAL))
                continue
            yield from (figure.value, _or_empty(figure.low), _or_empty(figure.high))
            yield "" if figure.protocol is None else figure.protocol.text()


def _or_empty(value: float | None) -> float | str:
    return "" if value is None else value
