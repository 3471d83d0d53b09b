"""What a run of a sweep came to in one quantity, and what the seeds of one place came to together.

A figure of the results is theirs; any other scalar is read from the run's own record.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.compare.sweeps.declare import QUANTITIES, SweptQuantity
from engine.core import metrics
from engine.core.errors import StoreError
from engine.core.measurement import wilson
from engine.run import database, schema
from engine.run.entry import DATABASE
from engine.sweeps.results import State, SweepRow, SweptFigure

Values = Mapping[str, SweptFigure]  # by the run's name; runs without one are not there
LOST: tuple[State, ...] = ("diverged", "failed")  # states that nothing more comes of
WORST: tuple[State, ...] = (*LOST, "interrupted", "training", "waiting")
UNMEASURED = "not measured"


@dataclass(frozen=True)
class SeedCell:
    """The runs at one place, one a seed: ``rows``, and the figure of each, None where there is none."""

    rows: tuple[SweepRow, ...]
    figures: tuple[SweptFigure | None, ...]

    @property
    def known(self) -> list[SweptFigure]:
        """The figures that there are."""
        return [figure for figure in self.figures if figure is not None]

    @property
    def n(self) -> int:
        """How many seeds the mean rests on."""
        return len(self.known)

    @property
    def mean(self) -> float:
        """Over those seeds; NaN if there are none."""
        return float(np.mean([figure.value for figure in self.known])) if self.known else np.nan

    @property
    def bounds(self) -> tuple[float, float]:
        """Least and greatest over seeds; of a single one its 95% Wilson interval. NaN where there is neither."""
        found = self.known
        if len(found) == 1:
            low, high = found[0].low, found[0].high
            return (np.nan, np.nan) if low is None or high is None else (low, high)
        values = [figure.value for figure in found]
        return (min(values), max(values)) if values else (np.nan, np.nan)

    @property
    def standing(self) -> str:
        """Why there is no value, or fewer than planned: the worst state of those without; empty if all have one."""
        states = [row.state for row, figure in zip(self.rows, self.figures, strict=True) if figure is None]
        return next((state for state in WORST if state in states), UNMEASURED if states else "")


def cell_of(rows: Sequence[SweepRow], values: Values) -> SeedCell:
    """The cell of these runs, in the order of their seeds."""
    ordered = tuple(sorted(rows, key=lambda row: row.seed))
    return SeedCell(ordered, tuple(values.get(row.name) for row in ordered))


_PARTS: Mapping[str, Callable[[SeedCell], float]] = {
    "mean": lambda cell: cell.mean,
    "n": lambda cell: cell.n,
    "planned": lambda cell: len(cell.rows),
    "low": lambda cell: cell.bounds[0],
    "high": lambda cell: cell.bounds[1],
}


def matrix(cells: Iterable[Iterable[SeedCell]], part: str) -> NDArray[np.float64]:
    """``mean``, ``n``, ``planned``, ``low`` or ``high`` of all cells."""
    pick = _PARTS[part]
    return np.array([[pick(cell) for cell in line] for line in cells], np.float64)


def at_end(rows: Sequence[SweepRow], quantity: SweptQuantity, phase: str) -> Values:
    """The quantity at the end of a phase, of the runs that reached it; a run that diverged before has none."""
    found = {}
    for row in rows:
        end = row.end(phase)
        if end is None or (row.state == "diverged" and end.step >= row.step):
            continue
        known = quantity.key in QUANTITIES
        figure = end.figures.get(quantity.key) if known else _recorded(row, quantity.metric, end.step, phase)
        if figure is not None and np.isfinite(figure.value):
            found[row.name] = figure
    return found


def _recorded(row: SweepRow, metric: str, step: int, phase: str) -> SweptFigure | None:
    """A scalar as the report at ``step`` has it, else as it was recorded last within the phase that ended there."""
    path = row.folder / DATABASE
    after = row.clean.step if phase != "clean" and row.clean is not None else -1
    try:
        opened = database.connect(path, read_only=True) if row.state == "training" else database.connect_at_rest(path)
        with closing(opened) as db:
            for name, first in ((metrics.REPORT + metric, step - 1), (metric, after)):
                query = "SELECT step, name, value FROM metrics WHERE name = ? AND step > ? AND step <= ?"
                order = " ORDER BY step DESC LIMIT 1"
                if not (rows := schema.metrics(db.execute(query + order, (name, first, step)), path)):
                    continue
                ((_, _, value),) = rows
                query = "SELECT step, name, protocol FROM protocols WHERE name = ? AND step <= ?"
                hows = [schema.protocol(each, path)[2] for each in db.execute(query + order, (name, step))]
                if not hows:
                    return SweptFigure(value)
                return SweptFigure(value, *wilson(value * hows[0].n, hows[0].n), hows[0])
    except (StoreError, sqlite3.Error, FileNotFoundError):  # the results say what is wrong with it
        return None
    return None
