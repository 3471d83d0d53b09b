"""Principle 1 of every layer, overlaid."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

from engine.compare.base import ComparedCurves, ComparedRuns, comparisons
from engine.compare.overlay import LAYER, OverlayPanel, RunLine
from engine.core import metrics
from engine.figures.declare import COSINE_LOOKS
from engine.figures.layers import VIEW

PREFIX = metrics.layer("", "")[:-1]
QUANTITIES = {
    **{name: f"mean cos {COSINE_LOOKS[name].label}" for name in COSINE_LOOKS},
    metrics.LAYER_ACTIVE_SHARE: "share of positive outputs",
}


@comparisons.register(VIEW.name, order=VIEW.order)
class ComparedLayers(ComparedCurves):
    """The means over units that were recorded last, layer by layer."""

    view = VIEW
    axis = LAYER

    def wants(self, metric: str) -> bool:
        """What is recorded of layers."""
        return metric.startswith(PREFIX)

    def ticks(self, compared: ComparedRuns) -> tuple[str, ...]:
        """The layers of all runs by name; the logits', which have no activity, come last."""
        found = {layer_of(name): False for run in compared.runs for name in run.metrics}
        for run in compared.runs:
            found |= {layer_of(n): True for n in run.metrics if n == metrics.layer(layer_of(n), "active_share")}
        return tuple(sorted(found, key=lambda layer: (not found[layer], _natural(layer))))

    def panels(self, compared: ComparedRuns, options: Mapping[str, str]) -> tuple[OverlayPanel, ...]:
        """One panel a quantity."""
        layers = self.ticks(compared)
        found = [
            OverlayPanel(n, label, _lines(compared, layers, n), n == metrics.LAYER_ACTIVE_SHARE)  # a cosine may be < 0
            for n, label in QUANTITIES.items()
        ]
        return tuple(panel for panel in found if panel.lines)

    def shown(self, options: Mapping[str, str]) -> str:
        """What the curves are."""
        return (
            "By layer, as recorded last: mean cosine over the units alive after clean training, w⁰ the weights at the "
            "start, w after clean training, w′ now; and the share of positive outputs on the live evaluation's images."
        )


def layer_of(metric: str) -> str:
    """The layer of a recorded metric, e.g. ``conv1`` of ``layer/conv1/share``."""
    return metric.removeprefix(PREFIX).rpartition("/")[0]


def _natural(layer: str) -> list[tuple[int, str]]:
    """So that ``layer10`` comes after ``layer9``."""
    return [(int(part), "") if part.isdecimal() else (0, part) for part in re.split(r"(\d+)", layer)]


def _lines(compared: ComparedRuns, layers: tuple[str, ...], quantity: str) -> tuple[RunLine, ...]:
    lines = []
    for i, run in enumerate(compared.runs):
        found = [run.series(metrics.layer(layer, quantity)) for layer in layers]
        x = np.array([at for at, series in enumerate(found) if len(series)], np.float64)
        y = np.array([series.values[-1] for series in found if len(series)], np.float64)
        if len(x):
            nothing = np.full(len(x), np.nan)
            lines.append(RunLine(i, x, y, nothing, nothing))
    return tuple(lines)
