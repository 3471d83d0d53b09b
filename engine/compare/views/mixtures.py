"""Purity of the neurons over steps, overlaid."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from engine.compare.base import ComparedCurves, ComparedRuns, comparisons
from engine.compare.overlay import OverlayPanel, RunLine
from engine.core import metrics
from engine.figures.declare import Option
from engine.figures.mixtures import UNBOUNDED, VIEW, quantity_name

QUANTITY = VIEW.option("quantity")
SHOWN = ("purity", "magnitude", "dense_alignment")


@comparisons.register(VIEW.name, order=VIEW.order)
class ComparedMixtures(ComparedCurves):
    """The per-neuron quantities over steps, median and 10–90% band over alive neurons."""

    view = VIEW
    options = (
        Option(
            "quantity", "all", {"all": "purity, mixture, alignment", **QUANTITY.choices}, "What is shown over time."
        ),
    )

    def wants(self, metric: str) -> bool:
        """The quantiles over neurons."""
        return metric.startswith("mixture/")

    def panels(self, compared: ComparedRuns, options: Mapping[str, str]) -> tuple[OverlayPanel, ...]:
        """One panel a quantity."""
        chosen = SHOWN if options["quantity"] == "all" else (options["quantity"],)
        found = [
            OverlayPanel(f"mixture/{name}", quantity_name(name), _lines(compared, name), name not in UNBOUNDED)
            for name in chosen
        ]
        return tuple(panel for panel in found if panel.lines)

    def shown(self, options: Mapping[str, str]) -> str:
        """What the curves are."""
        return (
            "Median over the neurons alive at each step, in the dictionary (C = W M); bands hold 10 to 90% of them "
            "(neurons of one run, no interval of its median)."
        )


def _lines(compared: ComparedRuns, quantity: str) -> tuple[RunLine, ...]:
    lines = []
    for i, run in enumerate(compared.runs):
        median, low, high = (run.series(metrics.mixture(quantity, part)) for part in ("median", "q10", "q90"))
        if len(median) and len(low) and len(high):
            n = min(map(len, (median, low, high)))  # one that goes on may have recorded the first of them alone
            x = median.steps[:n].astype(np.float64)
            lines.append(RunLine(i, x, median.values[:n], low.values[:n], high.values[:n]))
    return tuple(lines)
