"""What a figure of a sweep shows, as tables: a line a run and value, and a line a mean."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from engine.compare.overlay import RunLine
from engine.compare.sweeps.declare import SweptQuantity
from engine.compare.sweeps.values import SeedCell, Values
from engine.core.measurement import Measurement
from engine.figures.base import Array, Column, Table
from engine.sweeps.record import Value, text_of
from engine.sweeps.results import SweepRow


@dataclass(frozen=True, slots=True)
class TableLine:
    """A line of the long table; NaN and empty for what there is not."""

    row: SweepRow
    quantity: SweptQuantity
    phase: str
    step: float
    value: float = np.nan
    low: float | None = None
    high: float | None = None
    protocol: Measurement | None = None


def end_lines(rows: Iterable[SweepRow], found: Mapping[SweptQuantity, Values], phase: str) -> list[TableLine]:
    """A line for every run and quantity, that of a run without a value saying so by its state."""
    lines = []
    for row in rows:
        end = row.end(phase)
        for quantity, values in found.items():
            figure = values.get(row.name)
            if figure is None:
                lines.append(TableLine(row, quantity, phase, np.nan))
            else:
                step = np.nan if end is None else end.step
                lines.append(
                    TableLine(row, quantity, phase, step, figure.value, figure.low, figure.high, figure.protocol)
                )
    return lines


def step_lines(row: SweepRow, quantity: SweptQuantity, line: RunLine | None) -> list[TableLine]:
    """A line for each recorded step of a run, or one that says by its state that there is none."""
    if line is None:
        return [TableLine(row, quantity, "", np.nan)]
    hows = line.protocols or (None,) * len(line.x)
    numbers = zip(line.x.tolist(), line.y.tolist(), line.low.tolist(), line.high.tolist(), hows, strict=True)
    return [TableLine(row, quantity, "", *each) for each in numbers]


def long_table(lines: Sequence[TableLine], knobs: Sequence[str]) -> Table:
    """Those lines, a column for each of the swept ``knobs``."""
    protocols = [line.protocol for line in lines]
    words = {how: how.text() for how in dict.fromkeys(protocols) if how is not None}

    def texts(values: Iterable[str]) -> Array:
        return np.array(list(values), np.str_)

    def numbers(values: Iterable[float | None]) -> Array:
        return np.array([np.nan if value is None else value for value in values], np.float64)

    return (
        *(_knob(path, [line.row.values for line in lines]) for path in knobs),
        Column("seed", "number", np.array([line.row.seed for line in lines], np.int64)),
        Column("run", "name", texts(line.row.name for line in lines)),
        Column("state", "name", texts(line.row.state for line in lines)),
        Column("phase", "name", texts(line.phase for line in lines)),
        Column("step", "steps", numbers(line.step for line in lines), whole=True),
        Column("quantity", "name", texts(line.quantity.key for line in lines)),
        Column("value", "of the quantity", numbers(line.value for line in lines)),
        Column("low", "95% Wilson", numbers(line.low for line in lines)),
        Column("high", "95% Wilson", numbers(line.high for line in lines)),
        Column("n", "samples", numbers(None if how is None else how.n for how in protocols), whole=True),
        Column("protocol", "text", texts("" if how is None else words[how] for how in protocols)),
    )


def mean_table(cells: Sequence[tuple[SweptQuantity, SeedCell]], knobs: Sequence[str]) -> Table:
    """What is drawn thick, or as a cell: the mean over seeds, their range, how many of how many, why not of all."""
    known = [(quantity, cell) for quantity, cell in cells if cell.rows]
    bounds = [cell.bounds for _, cell in known]
    return (
        *(_knob(path, [cell.rows[0].values for _, cell in known]) for path in knobs),
        Column("quantity", "name", np.array([quantity.key for quantity, _ in known], np.str_)),
        Column("mean", "of the quantity", np.array([cell.mean for _, cell in known], np.float64)),
        Column("low", "least, or 95% Wilson of one seed", np.array([low for low, _ in bounds], np.float64)),
        Column("high", "greatest, or 95% Wilson of one seed", np.array([high for _, high in bounds], np.float64)),
        Column("seeds", "with a value", np.array([cell.n for _, cell in known], np.int64)),
        Column("planned", "seeds", np.array([len(cell.rows) for _, cell in known], np.int64)),
        Column("missing", "reason", np.array([cell.standing for _, cell in known], np.str_)),
    )


def _knob(path: str, values: Sequence[Mapping[str, Value]]) -> Column:
    return Column(path, "of the knob", np.array([text_of(each[path]) for each in values], np.str_))
