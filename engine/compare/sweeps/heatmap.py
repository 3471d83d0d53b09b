"""Two knobs as a heatmap, a phase diagram: every cell the mean over its seeds, hatched or blank where there is none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, floor
from typing import TYPE_CHECKING

import numpy as np

from engine.compare.overlay import Floats
from engine.compare.sweeps.declare import SweptQuantity
from engine.compare.sweeps.places import KnobAxis, SweepLayout
from engine.compare.sweeps.values import LOST, SeedCell, Values, cell_of, matrix
from engine.core.errors import ConfigError
from engine.figures.base import FigureData
from engine.figures.style import narrow
from engine.sweeps.results import SweepRow

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import QuadMesh
    from matplotlib.figure import Figure

MOST_PANELS = 16
COLOURS = "cividis"
BAR = 1.25  # inches of a panel's width that its labels and the colour bar take
LINE, SMALL, LETTER = 0.13, 6.0, 0.062  # inches of a line of small text, its size in points, inches of a letter
STEP = 0.05  # to which the scale of a share is rounded


@dataclass(frozen=True)
class HeatPanel:
    """A quantity over two knobs: ``cells`` (rows, columns), row 0 at the bottom, with ``title`` over it.

    ``mean``, ``low``, ``high`` (rows, columns) are NaN where no seed has a value; ``n`` seeds of ``planned`` have one.
    ``scale`` is what the ends of the colour bar stand for: one scale for all panels of a quantity.
    """

    quantity: SweptQuantity
    title: str
    cells: tuple[tuple[SeedCell, ...], ...]
    scale: tuple[float, float]
    mean: Floats
    low: Floats
    high: Floats
    n: Floats
    planned: Floats

    def text(self, row: int, column: int) -> str:
        """What is written in a cell: the mean, or why there is none; below it of how many seeds, if not of all."""
        mean, n = self.mean[row, column], int(self.n[row, column])
        if not n:
            return self.cells[row][column].standing
        shown = f"{mean:.2f}" if self.quantity.share else f"{mean:.3g}"
        planned = int(self.planned[row, column])
        return shown if n == planned else f"{shown}\n{n}/{planned}"

    def lost(self, row: int, column: int) -> bool:
        """Whether a cell is without a value for good: hatched, not blank."""
        return not self.n[row, column] and self.cells[row][column].standing in LOST


@dataclass(frozen=True)
class SweepHeatmap(FigureData):
    """A panel for each quantity and each combination of the knobs apart; ``columns`` lie along x, ``rows`` along y."""

    panels: tuple[HeatPanel, ...]
    columns: KnobAxis
    rows: KnobAxis

    def height(self, width: float) -> float:
        """Panels in rows of two at most, high enough for a line of text in each cell where there are not too many."""
        lines = -(-len(self.panels) // self._across(width))
        below = LETTER * max(map(len, self.columns.texts)) if self._turned(width) else 0
        return lines * (min(max(1.5, 0.2 * len(self.rows.values)), 6.0) + 0.6) + 0.3 + below

    def _across(self, width: float) -> int:
        return 1 if narrow(width) else min(2, len(self.panels))

    def _room(self, width: float) -> float:
        """The width of a cell in inches."""
        return (width / self._across(width) - BAR) / len(self.columns.values)

    def _turned(self, width: float) -> bool:
        """Whether the values along x have no room side by side."""
        return 1.4 * LETTER * (max(map(len, self.columns.texts)) + 1) > self._room(width)

    def draw(self, figure: Figure) -> None:
        """Draw every panel with its colour bar."""
        figure.set_layout_engine("constrained", w_pad=0.05, h_pad=0.05)
        width = figure.get_figwidth()
        across = self._across(width)
        lines = -(-len(self.panels) // across)
        # Values and names of the knobs stand at the outer sides alone.
        grid = list(figure.subplots(lines, across, squeeze=False, sharex=True, sharey=True).ravel())
        names = self.columns.texts
        room = self._room(width), 0.7 * self.height(width) / lines / len(self.rows.values)
        grid[0].set_xticks(range(len(names)), list(names))
        grid[0].set_yticks(range(len(self.rows.values)), list(self.rows.texts))
        for place, (axes, panel) in enumerate(zip(grid, self.panels, strict=False)):
            image, quantity = self._cells(axes, panel), panel.quantity
            bar = figure.colorbar(image, ax=axes, label=f"{quantity.label}\n[{quantity.unit}]", aspect=14, pad=0.02)
            bar.outline.set_linewidth(0.6)
            axes.set_title(panel.title)
            axes.tick_params(axis="x", labelrotation=90 if self._turned(width) else 0)
            if place % across == 0:
                axes.set_ylabel(self.rows.label)
            if place + across >= len(self.panels):
                axes.set_xlabel(self.columns.label)
                axes.tick_params(labelbottom=True)
            self._texts(axes, panel, room)
        for axes in grid[len(self.panels) :]:
            axes.set_axis_off()

    def _cells(self, axes: Axes, panel: HeatPanel) -> QuadMesh:
        from matplotlib.patches import Rectangle

        low, high = panel.scale
        shown = np.ma.masked_invalid(panel.mean)
        edges = [np.arange(size + 1) - 0.5 for size in (panel.mean.shape[1], panel.mean.shape[0])]
        image = axes.pcolormesh(*edges, shown, cmap=COLOURS, vmin=low, vmax=high, ec="white", lw=0.3)
        for row, column in np.argwhere(panel.n == 0).tolist():
            axes.add_patch(
                Rectangle(
                    (column - 0.5, row - 0.5), 1, 1, fc="white", ec="0.55", lw=0.4,
                    hatch="/////" if panel.lost(row, column) else None,
                )
            )  # fmt: skip
        axes.spines[["top", "right"]].set_visible(True)
        return image

    def _texts(self, axes: Axes, panel: HeatPanel, room: tuple[float, float]) -> None:
        """What there is room for: ``room`` is a cell's width and height in inches."""
        low, high = panel.scale
        for row, column in np.ndindex(panel.mean.shape):
            text = panel.text(row, column)
            lines = text.split("\n")
            if max(map(len, lines)) * LETTER > room[0]:
                continue
            if len(lines) * LINE > room[1]:
                lines = lines[:1]
            blank = not panel.n[row, column]
            dark = not blank and (panel.mean[row, column] - low) / (high - low) < 0.5
            axes.text(
                column, row, "\n".join(lines), ha="center", va="center", size=SMALL, color="white" if dark else "black",
                bbox={"fc": "white", "ec": "none", "pad": 0.6} if blank else None,
            ).set_in_layout(False)  # fmt: skip


def heatmap_panels(layout: SweepLayout, found: Mapping[SweptQuantity, Values]) -> tuple[HeatPanel, ...]:
    """The panels. Raises :class:`ConfigError` for more than fit into a figure."""
    columns, rows = layout.over, layout.by
    assert columns is not None
    assert rows is not None
    groups = layout.groups()
    if len(groups) * len(found) > MOST_PANELS:
        told = f"{len(groups) * len(found)} heatmaps; allowed: {MOST_PANELS} at most"
        raise ConfigError(f"quantity: {told}: choose one quantity, or some runs by where=knob=value")
    panels = []
    for quantity, values in found.items():
        tables = [(title, _table(columns, rows, layout_rows, values)) for title, layout_rows in groups]
        scale = _scale(quantity, [matrix(cells, "mean") for _, cells in tables])
        panels += [
            HeatPanel(
                quantity, title, cells, scale,
                matrix(cells, "mean"), matrix(cells, "low"), matrix(cells, "high"), matrix(cells, "n"),
                matrix(cells, "planned"),
            )
            for title, cells in tables
        ]  # fmt: skip
    return tuple(panels)


def _table(
    columns: KnobAxis, rows: KnobAxis, runs: Sequence[SweepRow], values: Values
) -> tuple[tuple[SeedCell, ...], ...]:
    """The cells by row and column."""
    at: dict[tuple[int, int], list[SweepRow]] = {}
    for run in runs:
        at.setdefault((rows.place(run), columns.place(run)), []).append(run)
    return tuple(
        tuple(cell_of(at.get((row, column), []), values) for column in range(len(columns.values)))
        for row in range(len(rows.values))
    )


def _scale(quantity: SweptQuantity, means: Sequence[Floats]) -> tuple[float, float]:
    """The ends of the colours: least and greatest mean, those of a share rounded outwards."""
    known = np.concatenate([each[np.isfinite(each)] for each in means])
    low, high = float(known.min()), float(known.max())
    if quantity.share:
        low, high = floor(low / STEP + 1e-9) * STEP, ceil(high / STEP - 1e-9) * STEP
    return (low, high) if high > low else (low, low + (STEP if quantity.share else abs(low) or 1.0))
