"""Histograms of principle 1's three cosines over the neurons of a layer."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from textwrap import fill
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from engine.core.results import ALIVE, LayerInfo, Principle1
from engine.figures.base import Column, Drawer, FigureData, Table, figures, provenance, training
from engine.figures.declare import COSINE_LOOKS, ViewDeclaration
from engine.figures.layers import summary
from engine.figures.meaning import Meaning
from engine.figures.pictures import layer_named, not_compared
from engine.figures.style import DASHES, MARKERS, legend_above, narrow
from engine.figures.weights import layer_option, weights_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from engine.run.store import Checkpoint, Store

VIEW = ViewDeclaration(
    "cosines", "Cosines", 45, "Histograms over neurons of the cosines of principle 1.",
    options=(layer_option("Whose units are counted"),), looks=COSINE_LOOKS,
    meaning=Meaning(
        drawn="How many units have which cosine: between start and clean weights, start and present ones, "
        "clean and present ones.",
        formula="cos(a,b) = ⟨a,b⟩/(‖a‖‖b‖) for (w⁰,w), (w⁰,w′), (w,w′), one count for each unit alive after "
        "{schedule.clean_steps} clean steps. Two random directions of many dimensions have a cosine "
        "near 0.",
        place="The feature purification principle (section 1): clean training already finds most of what "
        "adversarial training keeps.",
        surprise="(w,w′) no larger than (w⁰,w′): then adversarial training did not build on what clean "
        "training found.",
    ),
)  # fmt: skip
BINS = np.linspace(-1.0, 1.0, 51)
# Heights above the highest bar, as shares of it: where each median is marked, where the reference is named, the end.
STRIPS = {"cos_start_clean": 1.2, "cos_start_now": 1.13, "cos_clean_now": 1.06}
NAMED, TOP = 1.36, 1.46


def counts(found: Principle1, cosine: str) -> NDArray[np.int64]:
    """How many of the units alive after clean training have a cosine within each of :data:`BINS` (50,)."""
    values = getattr(found, cosine)[found.alive].astype(np.float64)
    return np.histogram(values.clip(-1.0, 1.0), BINS)[0].astype(np.int64)  # rounding may lead beyond 1


def dimension(layer: LayerInfo) -> int:
    """d, the number of weights of one unit."""
    return math.prod(layer.shape[1:])


def spread(layer: LayerInfo) -> float:
    """1/√d, the standard deviation of the cosine of two independent random directions in R^d (its mean is 0)."""
    return 1.0 / math.sqrt(dimension(layer))


def reference(layer: LayerInfo) -> str:
    """What the reference is, in the few words that a plot has room for."""
    return f"±1/√{dimension(layer)}, random directions (theoretical)"


def median_text(found: Principle1, cosine: str) -> str:
    """E.g. ``(w, w′): 0.86 [0.71, 0.93]``: median and 10–90%."""
    middle, low, high = summary(found, cosine)
    return f"{COSINE_LOOKS[cosine].label}: {middle:.2f} [{low:.2f}, {high:.2f}]".replace("-", "−")


@dataclass(frozen=True)
class Cosines(FigureData):
    """The units of ``layer``; ``found`` is None where there is nothing to compare, ``why`` not, in a few words."""

    layer: LayerInfo
    found: Principle1 | None
    why: str

    def height(self, width: float) -> float:
        """One panel below a legend of four lines."""
        return 3.2 if narrow(width) else 3.4

    def draw(self, figure: Figure) -> None:
        """Draw the histograms, the medians above them, and the spread of random directions behind."""
        figure.set_layout_engine("constrained", w_pad=0.05, h_pad=0.05)
        axes = figure.subplots()
        axes.set(xlim=(-1, 1), xlabel="cosine", ylabel=f"alive units of {self.layer.name}")
        end = spread(self.layer)
        axes.axvspan(-end, end, color="0.88", lw=0, zorder=0, label=reference(self.layer))
        if self.found is None:
            axes.text(0.5, 0.5, fill(self.why, 20), transform=axes.transAxes, ha="center", va="center")
            axes.set_yticks([])
            legend_above(axes)
            return
        heights = {name: counts(self.found, name) for name in COSINE_LOOKS}
        top = max(1, max(int(h.max()) for h in heights.values()))
        for name, look in COSINE_LOOKS.items():
            style = {"color": look.light, "ls": DASHES[look.dash]}
            axes.stairs(heights[name], BINS, lw=1.1, **style)  # type: ignore[arg-type]
            axes.stairs(heights[name], BINS, fill=True, color=look.light, alpha=0.18)
            middle, low, high = summary(self.found, name)
            place = top * STRIPS[name]
            axes.plot([low, high], [place, place], color=look.light, lw=1.6, solid_capstyle="butt")
            label = f"cos {median_text(self.found, name)}"
            axes.plot([middle], [place], color=look.light, marker=MARKERS[look.marker], ls="none", label=label)
        axes.set_ylim(0, TOP * top)
        axes.axvline(0, color="0.6", lw=0.6, zorder=1)
        legend_above(axes)


@figures.register(VIEW.name, order=VIEW.order)
class CosinesDrawer(Drawer):
    """Histograms over neurons of the cosines of principle 1 (SPEC.md section 4)."""

    view = VIEW

    def collect(self, store: Store, checkpoint: Checkpoint, options: Mapping[str, str]) -> Cosines:
        """Compare the weights of the checkpoint with those before; imports torch."""
        weights = weights_of(store, checkpoint)
        from engine.probes.principle1 import principle1

        layer = layer_named(options["layer"], weights.layers)
        found = None
        if {"start", "clean"} <= weights.of.keys():
            found = principle1(*(weights.of[moment][layer.name] for moment in ("start", "clean", "now")))
        tables = {"": _histogram(found)}
        if found is not None:
            tables |= {"units": _units(found), "medians": _medians(layer, found)}
        why = not_compared(checkpoint.config)
        return Cosines(
            tables=tables, caption=_caption(store, checkpoint, layer, found), layer=layer, found=found, why=why
        )


def _histogram(found: Principle1 | None) -> Table:
    """One line a bar."""
    columns = [Column("from", "1", BINS[:-1]), Column("to", "1", BINS[1:])]
    if found is not None:
        columns += [Column(name, "alive units", counts(found, name)) for name in COSINE_LOOKS]
    return tuple(columns)


def _units(found: Principle1) -> Table:
    """One line a unit."""
    return (
        Column("unit", "index", np.arange(len(found.alive))),
        *(Column(name, "1", getattr(found, name)) for name in COSINE_LOOKS),
        Column("alive", "0 or 1", found.alive.astype(np.int64)),
    )


def _medians(layer: LayerInfo, found: Principle1) -> Table:
    """One line a cosine, and the theoretical spread beside it."""
    rows = np.array([summary(found, name) for name in COSINE_LOOKS])
    n = len(COSINE_LOOKS)
    return (
        Column("cosine", "name", np.array(list(COSINE_LOOKS), np.str_)),
        *(Column(name, "1", rows[:, i]) for i, name in enumerate(("median", "10%", "90%"))),
        Column("alive", "units", np.full(n, int(found.alive.sum()))),
        Column("1/√d of random directions", "1, theoretical", np.full(n, spread(layer))),
    )


def _caption(store: Store, checkpoint: Checkpoint, layer: LayerInfo, found: Principle1 | None) -> str:
    if found is None:
        shown = (
            f"There is nothing to compare at this step ({not_compared(checkpoint.config)}; n = 0 of "
            f"{layer.units} units of {layer.name})."
        )
    else:
        shown = (
            "Histograms of the cosines between a unit's weights at the start (w⁰), after clean training (w) and now "
            f"(w′), n = {int(found.alive.sum())} alive of {layer.units} units of {layer.name} (alive after clean "
            f"training: norm above {ALIVE:g} of the largest). Above them the medians, with bars from the 10% to the "
            "90% quantile."
        )
    return "\n".join(
        [
            f"{shown} Grey: ±1/√d = ±{spread(layer):.3g}, the standard deviation of the cosine of two random "
            f"directions in d = {dimension(layer)} dimensions; theoretical, not measured.",
            f"Protocol: weights as stored; no attack and no data enter. {training(store, checkpoint)}",
            provenance(store, checkpoint),
        ]
    )
