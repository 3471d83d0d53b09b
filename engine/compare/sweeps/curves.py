"""Curves over a knob: every seed a thin line, their mean thick, the range a band; one seed with its interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from engine.compare.naming import SeedGroup
from engine.compare.overlay import MOST_LOOKS, Floats, MeanLine, Overlay, OverlayPanel, RunLine, look_of
from engine.compare.sweeps.declare import SweptQuantity
from engine.compare.sweeps.places import KnobAxis, SweepLayout
from engine.compare.sweeps.values import SeedCell, Values, cell_of, matrix
from engine.core.errors import ConfigError
from engine.figures.style import DASHES, MARKERS, unit_axis
from engine.sweeps.results import SweepRow, SweptFigure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MARGIN = 0.06  # of an axis of names or numbers, left free at either end
ABOVE = 1.03  # of an axes' height: where places without a value are marked


@dataclass(frozen=True)
class SeedMean(MeanLine):
    """The mean over the seeds that have a value at each ``x``, NaN where none has; how many these are: ``count`` (t,).

    Where there is one, ``low`` and ``high`` are its 95% Wilson interval. ``planned`` (t,) are the seeds of the sweep.
    """

    count: Floats
    planned: Floats


@dataclass(frozen=True)
class SweptPanel(OverlayPanel):
    """A quantity over a knob: the mean of each group, and the ``cells`` (groups, places) that it rests on."""

    means: tuple[SeedMean, ...] = ()
    cells: tuple[tuple[SeedCell, ...], ...] = ()

    def mean(self, group: SeedGroup) -> SeedMean | None:
        """Mean and range of a group; None if it has no value anywhere."""
        return next((mean for mean in self.means if mean.members == group.members and mean.count.any()), None)


@dataclass(frozen=True)
class SweepCurves(Overlay):
    """Curves over the knob ``over``: a group is a combination of the other knobs, a run of it is a seed.

    ``axis`` is the knob's label and ``ticks`` its values' texts; lines stand at :attr:`KnobAxis.x`.
    """

    over: KnobAxis | None = None

    def _axes(self, axes: Axes, panel: OverlayPanel) -> None:
        over = self.over
        assert over is not None
        x = over.x
        if over.scale == "log":
            axes.set_xscale("log")
            spread = (x[-1] / x[0]) ** MARGIN
            axes.set_xlim(x[0] / spread, x[-1] * spread)
        else:
            spread = 0.4 if over.scale == "named" else MARGIN * (x[-1] - x[0] or 1.0)
            axes.set_xlim(x[0] - spread, x[-1] + spread)
        long = max(map(len, over.texts)) * len(x) > 28
        axes.set_xticks(x, list(over.texts), rotation=90 if long else 0)
        axes.set_xticks([], minor=True)
        axes.set_xlabel(over.label)
        if panel.share:
            unit_axis(axes, panel.label)
        else:
            axes.set(ylim=panel.bounds(), ylabel=panel.label)

    def _lines(self, axes: Axes, panel: OverlayPanel) -> None:
        assert isinstance(panel, SweptPanel)
        for group, mean in zip(self.groups, panel.means, strict=True):
            look = look_of(group.members[0], group.name)
            style: dict[str, object] = {"color": look.light, "ls": DASHES[look.dash], "label": group.name}
            alone = mean.count == 1
            axes.fill_between(
                mean.x, np.where(alone, mean.mean, mean.low), np.where(alone, mean.mean, mean.high), color=look.light,
                alpha=0.18, lw=0,
            )  # fmt: skip
            for run in group.members if len(group.members) > 1 else ():
                if (line := panel.line(run)) is not None:
                    axes.plot(line.x, line.y, color=look.light, lw=0.5, alpha=0.8, marker=".", ms=2)
            axes.plot(mean.x, mean.mean, lw=1.5, clip_on=False, marker=MARKERS[look.marker], markevery=[], **style)  # type: ignore[arg-type]
            short = mean.count < mean.planned
            for which, fill in ((~short, look.light), (short, "white")):
                if not which.any():  # an empty line that is not clipped would confuse the layout
                    continue
                axes.plot(
                    mean.x[which], mean.mean[which], ls="none", marker=MARKERS[look.marker], mfc=fill, mec=look.light,
                    color=look.light, clip_on=False, zorder=4,
                )  # fmt: skip
            single = alone & np.isfinite(mean.low)
            if single.any():
                sides = np.stack([mean.mean - mean.low, mean.high - mean.mean])[:, single]
                axes.errorbar(
                    mean.x[single], mean.mean[single], np.maximum(sides, 0), fmt="none", ecolor=look.light,
                    elinewidth=0.9, capsize=2,
                )  # fmt: skip
            missing = mean.count == 0
            if missing.any():
                axes.plot(
                    mean.x[missing], np.full(int(missing.sum()), ABOVE), transform=axes.get_xaxis_transform(),
                    ls="none", marker="x", ms=4, color=look.light, clip_on=False,
                )  # fmt: skip


def curves_of(
    layout: SweepLayout, found: Mapping[SweptQuantity, Values]
) -> tuple[tuple[SweptPanel, ...], tuple[str, ...], tuple[SeedGroup, ...]]:
    """Panels, the names of the runs, and the groups. Raises :class:`ConfigError` for more than can be told apart."""
    over = layout.over
    assert over is not None
    named = layout.groups()
    if len(named) > MOST_LOOKS:
        raise ConfigError(f"by: {len(named)} curves; allowed: {MOST_LOOKS} at most; where=knob=value leaves some out")
    seeds = sorted({row.seed for row in layout.rows})
    groups = named_groups([name for name, _ in named], seeds)
    names = [", ".join(filter(None, (name, f"seed {seed}"))) for seed in seeds for name, _ in named]
    panels = []
    for quantity, values in found.items():
        cells = [_cells(over, rows, values) for _, rows in named]
        lines = [
            line
            for i, rows in enumerate(cells)
            for j, seed in enumerate(seeds)
            if (line := _line(groups[i].members[j], seed, over, rows)) is not None
        ]
        means = [_mean(group, over, rows) for group, rows in zip(groups, cells, strict=True)]
        panels.append(
            SweptPanel(quantity.key, quantity.label, tuple(lines), quantity.share, tuple(means), tuple(cells))
        )
    return tuple(panels), tuple(names), groups


def named_groups(names: Sequence[str], seeds: Sequence[int]) -> tuple[SeedGroup, ...]:
    """A group for each of ``names``, of a run for each of ``seeds``.

    The first runs are those of the first seed, so that every group begins with a run, and a look, of its own.
    """
    members = [tuple(range(i, len(names) * len(seeds), len(names))) for i in range(len(names))]
    words = seeds_words(seeds)
    return tuple(
        SeedGroup(runs, ", ".join(filter(None, (name, words)))) for runs, name in zip(members, names, strict=True)
    )


def seeds_words(seeds: Sequence[int]) -> str:
    """E.g. ``seeds 0, 1, 2``, or ``seeds 0–19`` where they follow one another."""
    if len(seeds) == 1:
        return f"seed {seeds[0]}"
    if len(seeds) > 3 and list(seeds) == list(range(seeds[0], seeds[-1] + 1)):
        return f"seeds {seeds[0]}–{seeds[-1]}"
    return f"seeds {', '.join(map(str, seeds))}"


def _cells(over: KnobAxis, rows: Sequence[SweepRow], values: Values) -> tuple[SeedCell, ...]:
    return tuple(
        cell_of([row for row in rows if over.place(row) == place], values) for place in range(len(over.values))
    )


def _line(run: int, seed: int, over: KnobAxis, cells: Sequence[SeedCell]) -> RunLine | None:
    """One seed over the knob, NaN where it has no value; None if it has none at all."""
    of_seed = [
        next((f for row, f in zip(cell.rows, cell.figures, strict=True) if row.seed == seed), None) for cell in cells
    ]
    if all(figure is None for figure in of_seed):
        return None
    y, low, high = np.array([_numbers(figure) for figure in of_seed]).T
    hows = tuple(None if figure is None else figure.protocol for figure in of_seed)
    return RunLine(run, over.x, y, low, high, hows if any(hows) else ())


def _numbers(figure: SweptFigure | None) -> tuple[float, float, float]:
    """Value and interval, NaN for what there is not."""
    if figure is None:
        return np.nan, np.nan, np.nan
    low, high = (np.nan if end is None else end for end in (figure.low, figure.high))
    return figure.value, low, high


def _mean(group: SeedGroup, over: KnobAxis, cells: Sequence[SeedCell]) -> SeedMean:
    mean, low, high, count, planned = (matrix([cells], part)[0] for part in ("mean", "low", "high", "n", "planned"))
    return SeedMean(group.members, over.x, mean, low, high, count, planned)
