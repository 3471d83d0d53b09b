"""Principle 1 and activation sparsity of every layer of a network on images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from textwrap import fill
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from engine.config.experiment import IMAGES
from engine.core import metrics
from engine.core.errors import ConfigError
from engine.core.results import ALIVE, LayerInfo, Principle1
from engine.figures.base import Array, Column, Drawer, FigureData, Table, figures, provenance, training
from engine.figures.declare import COSINE_LOOKS, MOMENT_LOOKS, Option, TextOption, ViewDeclaration
from engine.figures.meaning import Meaning
from engine.figures.pictures import layer_named, moments_of, network_of, not_compared
from engine.figures.style import MARKERS, diagonal, legend_above, narrow, panels, unit_axis

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from engine.images.loading import ImageNetwork
    from engine.run.store import Checkpoint, Store

LARGEST = 20_000  # test images
VIEW = ViewDeclaration(
    "layers", "Mixtures", 40, "Principle 1 layer by layer, kernels as rows.", (IMAGES,),
    options=(
        TextOption("layer", "", {"": "first layer"}, "Whose units are drawn: a layer by name, or by number from 1.",
                   meaning="a layer's name or number"),
        Option("n", "500", {}, "Test images on which activity is measured.", number=True),
    ),
    looks={**COSINE_LOOKS, **MOMENT_LOOKS},
    meaning=Meaning(
        drawn="How far every unit of a layer moved, layer by layer: the three cosines between its weights "
        "at the start, after clean training and now, and how much of the clean weights the purified "
        "ones explain.",
        formula="w⁰, w, w′: a unit's weights at the start, after clean training ({schedule.clean_steps} "
        "steps), now; β = ⟨w,w′⟩/‖w′‖², v = w − βw′. Principle 1 counts the units with ‖βw′‖ > ‖v‖.",
        place="The feature purification principle (section 1): clean training already finds most of what "
        "adversarial training keeps.",
        surprise="A cosine (w⁰,w) near 1, so that nothing was learned in this layer, or (w,w′) near 0, so that "
        "adversarial training learned something else altogether.",
    ),
)  # fmt: skip
NAMES = 22  # of layers that find room below an axis; of more, every second or third is named
QUANTILES = (0.5, 0.1, 0.9)
PER_UNIT = ("cos_start_clean", "cos_start_now", "cos_clean_now", "beta", "pure_part", "rest", "alive")


@dataclass(frozen=True)
class Layers(FigureData):
    """``of``: principle 1 by layer (None where there is nothing to compare, ``why`` not), of which ``chosen`` is drawn
    unit by unit.

    ``active``: moment → layer → share of positive outputs on ``n`` images; ``titles``: moment → its name.
    """

    layers: tuple[LayerInfo, ...]
    of: Mapping[str, Principle1] | None
    why: str
    chosen: LayerInfo
    active: Mapping[str, Mapping[str, float]]
    titles: Mapping[str, str]
    n: int

    def height(self, width: float) -> float:
        """Three panels in a row, or stacked in a narrow figure; longer names of layers need more."""
        names = 0.055 * max(len(layer.name) for layer in self.layers)
        return 3 * (2.0 + names) if narrow(width) else 2.5 + names

    def draw(self, figure: Figure) -> None:
        """Draw cosines, scatter of the chosen layer, and activity."""
        cosines, scatter, activity = panels(figure, 3)
        self._cosines(cosines)
        self._scatter(scatter)
        self._activity(activity)

    def _cosines(self, axes: Axes) -> None:
        self._names(axes, self.layers)
        if self.of is None:
            axes.set_ylabel("cosine")
            self._none(axes)
            return
        at, lowest = np.arange(len(self.layers)), 0.0
        for i, (name, look) in enumerate(COSINE_LOOKS.items()):
            median, low, high = np.array([summary(self.of[layer.name], name) for layer in self.layers]).T
            place = at + 0.16 * (i - 1)
            axes.errorbar(
                place, median, (median - low, high - median), color=look.light, marker=MARKERS[look.marker],
                ls="none", elinewidth=0.9, label=f"cos {look.label}", clip_on=False,
            )  # fmt: skip
            lowest = min(lowest, float(np.nanmin(low)))
        axes.set(ylim=(1.1 * lowest, 1.02), ylabel="cosine: median, 10–90%")
        axes.grid(axis="y", color="0.85", lw=0.5)
        axes.set_axisbelow(True)
        legend_above(axes)

    def _scatter(self, axes: Axes) -> None:
        x, y = "kept ‖βw′‖", "dropped ‖w − βw′‖"
        if self.of is None:
            axes.set(xlabel=x, ylabel=y, xticks=[], yticks=[])
            self._none(axes)
            return
        found = self.of[self.chosen.name]
        kept, dropped = found.pure_part[found.alive], found.rest[found.alive]
        style = {"s": 9, "c": VIEW.looks["now"].light, "alpha": 0.6, "linewidths": 0, "rasterized": len(kept) > 3000}
        axes.scatter(kept, dropped, label=f"{self.chosen.name}, n = {len(kept)} units", **style)  # type: ignore[arg-type]
        diagonal(axes, max(float(kept.max(initial=0)), float(dropped.max(initial=0))), x, y)

    def _activity(self, axes: Axes) -> None:
        hidden = self.layers[:-1]
        self._names(axes, hidden)
        for moment, shares in self.active.items():
            look = VIEW.looks[moment]
            values = [shares[layer.name] for layer in hidden]
            axes.plot(
                values, color=look.light, marker=MARKERS[look.marker], lw=0.7, label=self.titles[moment], clip_on=False
            )
        unit_axis(axes, f"share positive, n = {self.n} images")
        axes.set_ylim(0, 1)
        legend_above(axes)

    @staticmethod
    def _names(axes: Axes, layers: tuple[LayerInfo, ...]) -> None:
        rotation = 0 if sum(len(layer.name) for layer in layers) < 24 else 90
        every = -(-len(layers) // NAMES)
        axes.set_xticks(range(0, len(layers), every), [layer.name for layer in layers[::every]], rotation=rotation)
        axes.set_xlim(-0.5, len(layers) - 0.5)

    def _none(self, axes: Axes) -> None:
        axes.text(0.5, 0.5, fill(self.why, 20), transform=axes.transAxes, ha="center", va="center", size=7)


def summary(found: Principle1, name: str) -> NDArray[np.float64]:
    """Median, 10% and 90% quantile of a per-unit quantity over the units alive after clean training."""
    values = getattr(found, name)[found.alive]
    if not len(values):
        return np.full(len(QUANTILES), np.nan)
    return np.asarray(np.quantile(values.astype(np.float64), QUANTILES))


@figures.register(VIEW.name, order=VIEW.order)
class LayersDrawer(Drawer):
    """Principle 1 layer by layer, convolution kernels as rows (SPEC.md sections 4 and 8)."""

    view = VIEW

    def collect(self, store: Store, checkpoint: Checkpoint, options: Mapping[str, str]) -> Layers:
        """Compare the weights of the checkpoint with those before, and measure activity; imports torch."""
        network = network_of(store, checkpoint)
        layers, titles = network.layers, moments_of(network, checkpoint)
        chosen = layer_named(options["layer"] or layers[0].name, layers)
        if (asked := int(options["n"])) > LARGEST:
            raise ConfigError(f"n: got {asked}; allowed: a whole number from 1 to {LARGEST}")
        found, active, n = measure(network, tuple(titles), asked)
        tables = {"": _table(layers, found, active)}
        if found is not None:
            tables["units"] = _units(layers, found)
        return Layers(
            tables=tables, caption=_caption(store, checkpoint, found, chosen, n),
            layers=layers, of=found, why=not_compared(checkpoint.config), chosen=chosen, active=active,
            titles=titles, n=n,
        )  # fmt: skip


def measure(
    network: ImageNetwork, moments: tuple[str, ...], n: int
) -> tuple[dict[str, Principle1] | None, dict[str, dict[str, float]], int]:
    """Principle 1 by layer, activity by moment and layer, and on how many images the latter was measured."""
    from engine.core.slices import finish
    from engine.models.layers import layers
    from engine.probes.layers import activity, chunk_of, principle1_of

    x, _ = network.held_out(n)
    networks = {moment: network.network(moment) for moment in moments}  # type: ignore[arg-type]
    active = {moment: finish(activity(each, x, chunk_of(x.shape))) for moment, each in networks.items()}
    weights = {m: {layer.name: layer.matrix for layer in layers(each)} for m, each in networks.items()}
    found = None
    if {"start", "clean"} <= weights.keys():
        found = principle1_of(weights["start"], weights["clean"], weights["now"])
    return found, active, len(x)


def _table(
    layers: tuple[LayerInfo, ...], found: Mapping[str, Principle1] | None, active: Mapping[str, Mapping[str, float]]
) -> Table:
    """One line a layer."""
    columns = [
        Column("layer", "text", np.array([layer.name for layer in layers], np.str_)),
        Column("units", "units", np.array([layer.units for layer in layers], np.int64)),
    ]
    if found is not None:
        each = [found[layer.name] for layer in layers]
        columns.append(Column("alive", "units", np.array([int(p.alive.sum()) for p in each], np.int64)))
        for name in COSINE_LOOKS:
            rows = np.array([summary(p, name) for p in each])
            columns += [
                Column(f"{name} {q}", "1", rows[:, i]) for i, q in enumerate(("median", "10%", "90%"))
            ]  # fmt: skip
        kept = [float(np.mean((p.pure_part > p.rest)[p.alive])) if p.alive.any() else np.nan for p in each]
        columns.append(Column("share kept above dropped", "1", np.array(kept)))
    for moment, shares in active.items():
        values = [shares.get(layer.name, np.nan) for layer in layers]
        columns.append(Column(f"{metrics.LAYER_ACTIVE_SHARE} {moment}", "1", np.array(values)))
    return tuple(columns)


def _units(layers: tuple[LayerInfo, ...], found: Mapping[str, Principle1]) -> Table:
    """One line a unit of every layer."""

    def joined(part: str) -> Array:
        return np.concatenate([getattr(found[layer.name], part) for layer in layers])

    units = {"beta": "1", "pure_part": "weight", "rest": "weight"}
    return (
        Column("layer", "text", np.repeat([layer.name for layer in layers], [layer.units for layer in layers])),
        Column("unit", "index", np.concatenate([np.arange(layer.units) for layer in layers])),
        *(Column(part, units.get(part, "1"), joined(part)) for part in PER_UNIT[:-1]),
        Column("alive", "0 or 1", joined("alive").astype(np.int64)),
    )


def _caption(
    store: Store, checkpoint: Checkpoint, found: Mapping[str, Principle1] | None, chosen: LayerInfo, n: int
) -> str:  # fmt: skip
    if found is None:
        shown = f"There is nothing to compare at this step ({not_compared(checkpoint.config)})."
    else:
        alive = int(found[chosen.name].alive.sum())
        shown = (
            "Principle 1 layer by layer, w⁰ the weights of a unit at the start, w after clean training, w′ now (a "
            "convolution's kernel is one vector): cosines, median and 10–90% over the units alive after clean training "
            f"(norm above {ALIVE:g} of the layer's largest); what adversarial training keeps, ‖βw′‖, against what it "
            f"drops, ‖w − βw′‖, with β = ⟨w, w′⟩/‖w′‖², for n = {alive} of {chosen.units} units of {chosen.name}."
        )
    return "\n".join(
        [
            f"{shown} Right: share of positive outputs (after batch norm, if there is one) of each layer but the last, "
            f"over units, positions and n = {n} test images.",
            "Protocol: weights as stored; no attack enters, and data only into the activity. "
            f"{training(store, checkpoint)}",
            provenance(store, checkpoint),
        ]
    )
