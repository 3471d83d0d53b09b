"""Curves of several runs in one picture: one panel a quantity, every run with a colour, a dash and a marker of its own.

The numbers are found without matplotlib and torch, so that a window can draw the same lines with its own plots.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from engine.compare.naming import SeedGroup
from engine.core.errors import StoreError
from engine.core.measurement import Measurement
from engine.figures.base import Column, FigureData, Table
from engine.figures.declare import (
    BLUE,
    BRIGHT_VERMILION,
    DARK_GREEN,
    DARK_ORANGE,
    DARK_PURPLE,
    GREEN,
    GREY,
    ORANGE,
    PALE_GREY,
    PURPLE,
    SKY,
    VERMILION,
    YELLOW,
    Dash,
    Look,
    Marker,
)
from engine.figures.style import DASHES, MARKERS, narrow, time_axis, unit_axis
from engine.run.timeline import Span

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Floats = NDArray[np.float64]
COLOURS = (
    (BLUE, SKY), (VERMILION, BRIGHT_VERMILION), (DARK_GREEN, GREEN), (DARK_PURPLE, PURPLE), (DARK_ORANGE, ORANGE),
    ("#3B4149", YELLOW), (GREY, PALE_GREY),
)  # fmt: skip
RUN_DASHES: tuple[Dash, ...] = ("solid", "dashed", "dash-dot", "dotted", "dash-dot-dot")
RUN_MARKERS: tuple[Marker, ...] = (
    "circle", "square", "triangle-up", "diamond", "triangle-down", "star", "plus", "cross",
)  # fmt: skip
MOST_LOOKS = len(COLOURS) * len(RUN_DASHES)
MARKS = 6  # markers along a line
STEP, RADIUS, LAYER = "training step", "radius", "layer"  # what runs along x
ACROSS, PANEL_HEIGHT, ENTRY = 3, 2.1, 0.16  # panels in a row; inches


def look_of(run: int, name: str) -> Look:
    """How the run at this place is drawn: no two of 35 share colour and dash."""
    light, dark = COLOURS[run % len(COLOURS)]
    turn = run + run // len(COLOURS)
    return Look(name, light, dark, RUN_MARKERS[turn % len(RUN_MARKERS)], RUN_DASHES[turn % len(RUN_DASHES)])


@dataclass(frozen=True)
class RunLine:
    """One run's line in a panel: ``y`` and its interval ``low`` … ``high`` (t,) at ``x`` (t,).

    ``run`` is its place among the runs; ``low`` and ``high`` are NaN where nothing says them. ``protocols`` (t,) says
    how each value was measured; it is empty where no data enter.
    """

    run: int
    x: Floats
    y: Floats
    low: Floats
    high: Floats
    protocols: tuple[Measurement | None, ...] = ()

    def used(self) -> tuple[Measurement, ...]:
        """The protocols in the order of their use, each once."""
        return tuple(dict.fromkeys(p for p in self.protocols if p is not None))


@dataclass(frozen=True)
class MeanLine:
    """Runs of one config but for the seed: their ``mean`` and the range ``low`` … ``high`` (t,) at ``x`` (t,).

    ``x`` are the places at which each of the runs ``members`` has a value.
    """

    members: tuple[int, ...]
    x: Floats
    mean: Floats
    low: Floats
    high: Floats


@dataclass(frozen=True)
class OverlayPanel:
    """One quantity: ``label`` on its y axis, the lines of the runs that have it, from 0 to 1 if it is a ``share``."""

    key: str
    label: str
    lines: tuple[RunLine, ...]
    share: bool = True

    def line(self, run: int) -> RunLine | None:
        """The line of the run at this place, if it has one."""
        return next((line for line in self.lines if line.run == run), None)

    def bounds(self) -> tuple[float, float]:
        """The range of y that holds all lines and 0, where it is no share."""
        high = [v[np.isfinite(v)] for line in self.lines for v in (line.y, line.high)]
        low = [line.y[np.isfinite(line.y)] for line in self.lines]
        top = max((float(v.max()) for v in high if len(v)), default=1.0)
        return min(0.0, 1.1 * min((float(v.min()) for v in low if len(v)), default=0.0)), 1.08 * top or 1.0

    def mean(self, group: SeedGroup) -> MeanLine | None:
        """Mean and range of a group of runs; None unless every one of them has this quantity somewhere in common."""
        lines = [line for run in group.members if (line := self.line(run)) is not None]
        if len(lines) < len(group.members):
            return None
        known = [line.x[np.isfinite(line.y)] for line in lines]
        x = reduce(np.intersect1d, known)
        if not len(x):
            return None
        y = np.stack([line.y[np.isin(line.x, x) & np.isfinite(line.y)] for line in lines])
        return MeanLine(group.members, x, y.mean(0), y.min(0), y.max(0))


@dataclass(frozen=True)
class Overlay(FigureData):
    """``panels`` of the runs called ``run_names``, along ``axis``; ``groups`` are drawn as mean and range.

    ``spans`` are each run's phases, ``end`` the last step of any; ``ticks`` the names along a :data:`LAYER` axis.
    """

    panels: tuple[OverlayPanel, ...]
    run_names: tuple[str, ...]
    groups: tuple[SeedGroup, ...]
    axis: str
    spans: tuple[tuple[Span, ...], ...] = ()
    end: float = 1.0
    ticks: tuple[str, ...] = ()

    def height(self, width: float) -> float:
        """Panels in rows of three at most, below them a line of the legend for each run or group."""
        rows = -(-len(self.panels) // self._across(width))
        return rows * (PANEL_HEIGHT + (0.055 * max(map(len, self.ticks), default=0))) + 0.25 + ENTRY * self._entries()

    def _across(self, width: float) -> int:
        n = len(self.panels)
        return 1 if narrow(width) else 2 if n in (2, 4) else min(n, ACROSS)

    def _entries(self) -> int:
        return len(self.run_names) - sum(len(group.members) - 1 for group in self.groups)

    def draw(self, figure: Figure) -> None:
        """Draw the panels and one legend for all."""
        figure.set_layout_engine("constrained", w_pad=0.05, h_pad=0.05)
        across = self._across(figure.get_figwidth())
        rows = -(-len(self.panels) // across)
        grid = list(figure.subplots(rows, across, squeeze=False).ravel())
        for axes in grid[len(self.panels) :]:
            axes.set_axis_off()
        handles: dict[str, Artist] = {}
        for axes, panel in zip(grid, self.panels, strict=False):
            self._axes(axes, panel)
            self._lines(axes, panel)
            found, labels = axes.get_legend_handles_labels()
            handles |= {label: handle for handle, label in zip(found, labels, strict=True) if label not in handles}
        order = [*(group.name for group in self.groups), *self.run_names]
        entries = [(handles[name], name) for name in order if name in handles]
        figure.legend(
            [handle for handle, _ in entries], [name for _, name in entries], loc="outside lower center",
            ncols=1, handlelength=3.6,
        )  # fmt: skip

    def _axes(self, axes: Axes, panel: OverlayPanel) -> None:
        if self.axis == STEP:
            shared = common_phases(self.spans)
            time_axis(axes, shared, int(self.end), names=True)
            if not shared:
                for run, found in enumerate(self.spans):
                    look = look_of(run, "")
                    for span in found[1:]:
                        axes.axvline(span.start, color=look.light, ls=DASHES[look.dash], lw=0.6, alpha=0.7, zorder=1)
        elif self.axis == RADIUS:
            axes.set(xlim=(0, 1.02 * self.end), xlabel="radius of the ball")
        else:
            axes.set_xticks(range(len(self.ticks)), list(self.ticks), rotation=90)
            axes.set_xlim(-0.5, len(self.ticks) - 0.5)
        if panel.share:
            unit_axis(axes, panel.label)
        else:
            axes.set(ylim=panel.bounds(), ylabel=panel.label)

    def _lines(self, axes: Axes, panel: OverlayPanel) -> None:
        grouped = set()
        for group in self.groups:
            found = panel.mean(group)
            if found is None:
                continue
            look = look_of(group.members[0], group.name)
            grouped |= set(group.members)
            axes.fill_between(found.x, found.low, found.high, color=look.light, alpha=0.18, lw=0)
            for run in group.members:
                line = panel.line(run)
                assert line is not None  # else there were no mean
                axes.plot(line.x, line.y, color=look.light, lw=0.5, alpha=0.8)
            axes.plot(found.x, found.mean, label=group.name, lw=1.5, clip_on=False, **_style(look, len(found.x)))  # type: ignore[arg-type]
        for line in panel.lines:
            if line.run not in grouped:
                look = look_of(line.run, self.run_names[line.run])
                axes.fill_between(line.x, line.low, line.high, color=look.light, alpha=0.12, lw=0)
                axes.plot(line.x, line.y, label=look.label, clip_on=False, **_style(look, len(line.x)))  # type: ignore[arg-type]


def _style(look: Look, points: int) -> dict[str, object]:
    stride = max(1, points // MARKS)
    return {"color": look.light, "ls": DASHES[look.dash], "marker": MARKERS[look.marker], "markevery": stride}


def common_phases(spans: Sequence[tuple[Span, ...]]) -> tuple[Span, ...]:
    """The phases of the longest run, if all the others switched at the same steps as far as they went; else none."""
    longest = max(spans, key=lambda found: found[-1].end, default=())
    for found in spans:
        *before, last = found
        there = longest[: len(found)]
        same = [(s.start, s.objective) for s in found] == [(s.start, s.objective) for s in there]
        if not same or any(a.end != b.end for a, b in zip(before, there, strict=False)) or last.end > there[-1].end:
            return ()
    return longest


def overlay_tables(
    panels: Sequence[OverlayPanel], names: Sequence[str], groups: Sequence[SeedGroup], axis: str, ticks: Sequence[str]
) -> dict[str, Table]:
    """One line a value and run, with its protocol; and the means and ranges, if there are any."""
    rows = [(panel, line) for panel in panels for line in panel.lines]
    counts = [len(line.x) for _, line in rows]

    def repeated(texts: Sequence[str]) -> NDArray[np.str_]:
        return np.repeat(np.array(texts, np.str_), counts) if texts else np.empty(0, np.str_)

    def joined(parts: Sequence[Floats]) -> Floats:
        return np.concatenate(parts) if parts else np.empty(0)

    unit = "1" if all(panel.share for panel in panels) else "of the quantity"
    words = {p: p.text() for _, line in rows for p in line.used()}
    hows = [p for _, line in rows for p in (line.protocols or (None,) * len(line.x))]
    found: dict[str, Table] = {
        "": (
            Column("quantity", "name", repeated([panel.key for panel, _ in rows])),
            Column("run", "name", repeated([names[line.run] for _, line in rows])),
            _along(joined([line.x for _, line in rows]), axis, ticks),
            Column("value", unit, joined([line.y for _, line in rows])),
            Column("low", unit, joined([line.low for _, line in rows])),
            Column("high", unit, joined([line.high for _, line in rows])),
            Column("n", "samples", np.array([np.nan if p is None else p.n for p in hows], np.float64), whole=True),
            Column("protocol", "text", np.array(["" if p is None else words[p] for p in hows], np.str_)),
        )
    }
    means = [(panel, group, mean) for panel in panels for group in groups if (mean := panel.mean(group)) is not None]
    if means:
        sizes = [len(mean.x) for *_, mean in means]
        found["mean"] = (
            Column("quantity", "name", np.repeat([panel.key for panel, *_ in means], sizes)),
            Column("runs", "names", np.repeat([group.name for _, group, _ in means], sizes)),
            _along(joined([mean.x for *_, mean in means]), axis, ticks),
            Column("mean", unit, joined([mean.mean for *_, mean in means])),
            Column("least", unit, joined([mean.low for *_, mean in means])),
            Column("greatest", unit, joined([mean.high for *_, mean in means])),
            Column("count", "runs", np.repeat([len(mean.members) for *_, mean in means], sizes)),
        )
    return found


def _along(x: Floats, axis: str, ticks: Sequence[str]) -> Column:
    if axis == LAYER:
        return Column("layer", "name", np.array([ticks[int(each)] for each in x], np.str_))
    return Column("step", "steps", x.astype(np.int64)) if axis == STEP else Column("radius", "norm of the ball", x)


def panels_of_csv(path: Path, names: Sequence[str], labels: Mapping[str, str]) -> tuple[OverlayPanel, ...]:
    """The panels that the file of :func:`overlay_tables` holds, along the radius; of runs called ``names``.

    ``labels`` are those of the quantities. Raises :class:`StoreError` if it is no such file.
    """
    found: dict[str, dict[int, list[tuple[float, float, float, float]]]] = {}
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = csv.reader(file)
            next(rows)
            for quantity, run, *numbers in rows:
                x, y, low, high = (float(text) if text else np.nan for text in numbers[:4])
                found.setdefault(quantity, {}).setdefault(names.index(run), []).append((x, y, low, high))
    except (OSError, ValueError, StopIteration) as error:
        raise StoreError(f"{path} cannot be read: {error}") from None
    return tuple(
        OverlayPanel(key, labels.get(key, key), tuple(RunLine(run, *np.array(v).T) for run, v in runs.items()))
        for key, runs in found.items()
    )
