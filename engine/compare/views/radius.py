"""Accuracy against the radius of the ball, overlaid: measured anew, at the same radii for all runs."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing

import numpy as np

from engine.compare.base import ComparedCurves, ComparedRuns, comparisons
from engine.compare.overlay import RADIUS, OverlayPanel, RunLine
from engine.config.experiment import IMAGES
from engine.core.errors import ConfigError
from engine.core.measurement import NORM_SIGN
from engine.figures.radius import LARGEST, VIEW, Bound, measure, measure_images
from engine.run.store import Store


@comparisons.register(VIEW.name, order=VIEW.order)
class ComparedRadius(ComparedCurves):
    """Accuracy under PGD and certified, of the weights of each run's checkpoint."""

    view = VIEW
    options = (VIEW.option("n"),)
    axis = RADIUS
    labels = {"pgd": "accuracy under PGD", "certified": "certified accuracy"}  # noqa: RUF012
    slow = True

    def panels(self, compared: ComparedRuns, options: Mapping[str, str]) -> tuple[OverlayPanel, ...]:
        """One panel a bound; imports torch. Raises :class:`ConfigError` for balls of different norms."""
        from engine.probes.radius import POINTS, REACH

        n, knobs = int(options["n"]), [run.config.attack for run in compared.runs]
        if n > LARGEST:
            raise ConfigError(f"n: got {n}; allowed: a whole number from 1 to {LARGEST}")
        norms = dict.fromkeys(NORM_SIGN[each.norm] for each in knobs)
        if len(norms) > 1:
            raise ConfigError(f"radius: these runs have balls of {' and '.join(norms)}; allowed: one norm for all")
        radii = np.linspace(0.0, REACH * max(each.tau for each in knobs), POINTS)
        lines: dict[str, list[RunLine]] = {name: [] for name in self.labels}
        for i, run in enumerate(compared.runs):
            with closing(Store.open(run.folder, read_only=True)) as store:
                checkpoint = run.load()
                if checkpoint.config.kind == IMAGES:
                    found = measure_images(store, checkpoint, radii, n, clean=False)
                else:
                    found = measure(checkpoint, radii, n, clean=False)
            for bound in found:
                if bound.name in lines:
                    lines[bound.name].append(_line(i, radii, bound))
        panels = [OverlayPanel(name, self.labels[name], tuple(lines[name])) for name in self.labels]
        return tuple(panel for panel in panels if panel.lines)

    def how(self, line: RunLine) -> str:
        """One protocol for all radii."""
        last = line.used()[-1]
        return last.text().replace(f"radius {last.tau:g}", f"radii 0 to {last.tau:.3g}")

    def shown(self, options: Mapping[str, str]) -> str:
        """What the curves are."""
        return (
            "Accuracy on held-out samples against the radius of the ball: under PGD, an upper bound of robust accuracy"
            ", and certified, a lower bound (where there is a certificate); bands are 95% Wilson intervals."
        )


def _line(run: int, radii: np.ndarray[tuple[int], np.dtype[np.float64]], bound: Bound) -> RunLine:
    return RunLine(run, radii, bound.values, bound.low, bound.high, bound.protocols)
