"""The units of a network on images: the first layer's filters in one contrast, pictures made for deeper layers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from engine.config.experiment import IMAGES
from engine.core.results import IntArray
from engine.figures.base import Array, Column, Drawer, FigureData, Table, figures, provenance, training
from engine.figures.declare import Contrast, Option, TextOption, ViewDeclaration, switch
from engine.figures.features import ASCENT, feature_rows
from engine.figures.meaning import Meaning
from engine.figures.order import COUNTS, MOST, UNIT_SORTS, UnitFacts, count_of
from engine.figures.panels import PicturePanels
from engine.figures.pictures import layer_named, moments_of, network_of

if TYPE_CHECKING:
    from engine.images.loading import ImageNetwork
    from engine.run.store import Checkpoint, Store

VIEW = ViewDeclaration(
    "filters", "Neurons", 30,
    "The first layer's weights as pictures, the same units in the same order at each moment; of a deeper layer the "
    "pictures that activate its units most.",
    (IMAGES,),
    options=(
        TextOption("layer", "", {"": "first layer"}, "Layer. The first layer's weights are pictures themselves; of the "
                   "others, pictures that activate a unit most are made.", meaning="a layer's name or number"),
        Option("sort", "index", UNIT_SORTS,
               "Order of the units.\nNorm: ‖w′‖, largest first. Change: the cosine (w, w′), or (w⁰, w′) before clean "
               "training has ended; what turned most comes first."),
        Option("count", "64", COUNTS, f"How many units to show (all: at most {MOST:,}).", number=True),
        switch("scaled", False,
               "Divide every picture by its own largest weight. Sizes can no longer be compared:\na filter that "
               "shrinks looks unchanged, and noise that is left looks stronger than it is."),
        switch("signed", False, "Draw weights of one channel in blue below and orange above zero."),
        *ASCENT,
    ),
    contrast=Contrast(0.995, ("start", "clean", "now")),
    meaning=Meaning(
        drawn="The first layer's weights as pictures, the same units in the same places at each moment, on "
        "one scale. Of deeper layers: pictures that excite a unit most.",
        formula="Unit i computes ReLU(⟨w_i, patch⟩ + b_i), w_i one of {model.width} filters ({model.name} on "
        "{world.name}), drawn at {model.init_scale} of the usual scale. Shown as w_i / level, the "
        "level the same for start, clean and now.",
        place="Section 1 and the experiments on CIFAR-10: filters of clean nets are the purified ones under "
        "noise.",
        surprise="Filters that look alike at the start and at the end: then the start was drawn so large "
        "(model.init_scale) that it hides what was learned.",
    ),
)  # fmt: skip


@figures.register(VIEW.name, order=VIEW.order)
class FiltersDrawer(Drawer):
    """The first layer's weights, or the features of a deeper one."""

    view = VIEW

    def collect(self, store: Store, checkpoint: Checkpoint, options: Mapping[str, str]) -> FigureData:
        """Read the first layer of the checkpoint, choose and order its units, find the shared level."""
        network = network_of(store, checkpoint)
        if layer_named(options["layer"], network.layers) != network.layers[0]:
            return feature_rows(store, checkpoint, options)
        weights = first_weights(network)
        facts = UnitFacts.of(weights)
        order = facts.order(options["sort"], count_of(options["count"]))
        channels, scaled = weights["now"].shape[1], options["scaled"] == "true"
        level = 1.0 if scaled else level_of(weights) or 1.0
        unit = "share of the filter's largest weight" if scaled else "weight"
        return PicturePanels(
            tables={"": _table(facts, order)},
            arrays={f"weight_{moment}": each for moment, each in weights.items()},
            caption=_caption(store, checkpoint, network, len(order), level, options),
            panels={
                title: scaled_each(weights[moment][order]) if scaled else weights[moment][order]
                for moment, title in moments_of(network, checkpoint).items()
            },
            level=level,
            label=f"{unit}, in each of red, green and blue" if channels >= 3 else unit,
            signed=channels < 3 and options["signed"] == "true",
        )


def scaled_each(pictures: Array) -> Array:
    """Pictures (n, …), each divided by its own largest size."""
    largest = np.abs(pictures).reshape(len(pictures), -1).max(1).reshape(-1, *(1,) * (pictures.ndim - 1))
    return np.asarray(pictures / np.maximum(largest, np.float32(1e-12)), np.float32)


def level_of(weights: Mapping[str, Array]) -> float:
    """The view's contrast for the first layer's ``weights`` by moment."""
    contrast = VIEW.contrast
    assert contrast is not None
    rows = contrast.sample(np.arange(len(weights["now"])))
    return contrast.level(*(contrast.size(weights[moment][rows]) for moment in contrast.moments if moment in weights))


def first_weights(network: ImageNetwork) -> dict[str, Array]:
    """Moment → the first layer's weights as pictures (units, C, h, w)."""
    from engine.images.live import picture_shape
    from engine.images.loading import PREFIX
    from engine.models.layers import layers

    first = layers(network.network("now"))[0]
    shape, arrays = picture_shape(first, network.facts.shape), network.checkpoint.arrays
    stored = {moment: f"{PREFIX[moment]}{first.name}.weight" for moment in moments_of(network, network.checkpoint)}
    return {moment: np.asarray(arrays[name].reshape(shape), np.float32) for moment, name in stored.items()}


def _table(facts: UnitFacts, order: IntArray) -> Table:
    return (
        Column("unit", "index", order),
        *(Column(f"norm {moment}", "weight", norm[order]) for moment, norm in facts.norms.items()),
        *(Column(name, "1", cosine[order]) for name, cosine in facts.cosines.items()),
        Column("alive", "0 or 1", facts.alive[order].astype(np.int64)),
    )


def _caption(
    store: Store, checkpoint: Checkpoint, network: ImageNetwork, n: int, level: float, options: Mapping[str, str]
) -> str:  # fmt: skip
    first, contrast = network.layers[0], VIEW.contrast
    when = " and ".join(filter(None, (", ".join(list(moments_of(network, checkpoint).values())[:-1]), "now")))
    sort = {"norm": "largest norm now first", "change": "those that turned most first"}.get(options["sort"], "by index")
    colours = f"−{level:.3g} is dark (or blue), zero in the middle, +{level:.3g} bright (or orange)"
    if options["scaled"] == "true":
        shown = f"Every filter is divided by its own largest weight, at each moment: {colours}."
    else:
        share = f"{100 * contrast.quantile:g}%" if contrast is not None else "all"
        shown = (
            f"One contrast for all panels: {colours}; {share} of the weights at each moment lie within, the others "
            "have the colour of the end."
        )
    return "\n".join(
        [
            f"Weights of the first layer ({first.name}) at the {when} (step {checkpoint.step}). n = {n} of "
            f"{first.units} units, {sort}; the same order in every panel, read line by line. {shown}",
            f"Protocol: weights as stored, no attack and no data enter. {training(store, checkpoint)}",
            provenance(store, checkpoint),
        ]
    )
