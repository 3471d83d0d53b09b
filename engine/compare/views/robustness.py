"""Accuracies over steps, overlaid."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from engine.compare.base import ComparedCurves, ComparedRuns, comparisons
from engine.compare.overlay import OverlayPanel, RunLine
from engine.figures.base import bounded
from engine.figures.declare import Option
from engine.figures.robustness import SHARES, VIEW


@comparisons.register(VIEW.name, order=VIEW.order)
class ComparedRobustness(ComparedCurves):
    """Accuracies over steps with their 95% Wilson intervals, the live estimates."""

    view = VIEW
    options = (
        Option(
            "quantity", "all",
            {"all": "all accuracies", **{n.rpartition("/")[2]: f"{VIEW.looks[n].label} accuracy" for n in SHARES}},
            "Which accuracy is drawn.",
        ),
    )  # fmt: skip

    def wants(self, metric: str) -> bool:
        """The accuracies' live estimates."""
        return metric in SHARES

    def panels(self, compared: ComparedRuns, options: Mapping[str, str]) -> tuple[OverlayPanel, ...]:
        """One panel an accuracy."""
        chosen = [n for n in SHARES if options["quantity"] in ("all", n.rpartition("/")[2])]
        found = [OverlayPanel(name, f"{VIEW.looks[name].label} accuracy", _lines(compared, name)) for name in chosen]
        return tuple(panel for panel in found if panel.lines)

    def shown(self, options: Mapping[str, str]) -> str:
        """What the curves are."""
        return "Accuracy on held-out samples over training: live estimates, raw, bands are 95% Wilson intervals."


def _lines(compared: ComparedRuns, name: str) -> tuple[RunLine, ...]:
    lines = []
    for i, run in enumerate(compared.runs):
        if len(series := run.series(name)):
            curve = bounded(name, series, run.protocols_of(name))
            x = curve.steps.astype(np.float64)
            lines.append(RunLine(i, x, curve.values, curve.low, curve.high, curve.protocols))
    return tuple(lines)
