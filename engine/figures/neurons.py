"""The gallery: hidden weights as pictures at the start, after clean training and now, on one shared scale."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from engine.config.experiment import SPARSE_CODING
from engine.core.results import ALIVE, BoolArray, Mixture
from engine.figures.base import (
    Array,
    Drawer,
    alive_rule,
    figures,
    measure,
    neuron_table,
    provenance,
    training,
)
from engine.figures.declare import Contrast, Option, ViewDeclaration, phase, switch
from engine.figures.meaning import Meaning
from engine.figures.order import COUNTS, MOST, SORTS, count_of, neuron_order
from engine.figures.panels import PicturePanels, as_pictures
from engine.figures.pictures import AFTER_CLEAN, now_name

if TYPE_CHECKING:
    from engine.run.store import Checkpoint, Store

VIEW = ViewDeclaration(
    "neurons", "Neurons", 10,
    "Weights of the hidden neurons as pictures, the same neurons in the same order at each moment.",
    (SPARSE_CODING,),
    options=(
        Option("space", "pixel", {"pixel": "Pixels", "dictionary": "Dictionary"},
               "Pixels: the weights w_i. Dictionary: their coefficients C = W M."),
        Option("sort", "norm", SORTS,
               "Order, by the current weights. Purity, mixture and norm: largest first.\n"
               "Purity: |C_ij|/‖C_i‖. Mixture: ‖v_i‖, all but the largest coefficient. Norm: ‖w_i‖."),
        Option("count", "64", COUNTS, f"How many neurons to show (all: at most {MOST:,}).", number=True),
        switch("alive", True, f"Only neurons with ‖w_i‖ above {ALIVE:g} of the largest."),
        switch("normalise", False,
               "Divide every neuron by its own norm, at each moment. Sizes can no longer be compared: a neuron that "
               "shrinks looks unchanged,\nand one that loses its mixture looks brighter."),
    ),
    contrast=Contrast(0.995, ("clean", "now")),
    meaning=Meaning(
        drawn="Each square is one hidden neuron: its weights w_i arranged as a picture, blue below zero, "
        "orange above, on one scale for all moments. Beside each other are the start, the end of "
        "clean training and now.",
        formula="f(x) = Σ_i [ReLU(⟨w_i,x⟩ − b) − ReLU(−⟨w_i,x⟩ − b)], i = 1 … {model.m}; w_i has {world.d} "
        "numbers. In the dictionary M ({world.dictionary}) it is C_i = w_i M.",
        place="Section 3 has the network; the abstract says what is seen: small dense mixtures pile up in "
        "hidden weights and adversarial training removes them.",
        surprise="Patterns that get noisier under adversarial training, or neurons that become other patterns "
        "than they were after clean training: purification keeps the feature and takes away what is "
        "mixed in.",
    ),
)  # fmt: skip
KEYS = {"start": "weight_init", "clean": "weight_clean", "now": "weight"}  # moment → array of a checkpoint


def space_name(space: str) -> str:
    """The basis in which weights are shown, within a sentence."""
    return "pixel space" if space == "pixel" else "the dictionary"


def level_of(arrays: Mapping[str, Array], alive: BoolArray, options: Mapping[str, str]) -> float:
    """The view's contrast for the neurons ``alive`` (m,) of a checkpoint's arrays; 0 where all weights are."""
    contrast = VIEW.contrast
    assert contrast is not None
    rows = contrast.sample(np.flatnonzero(alive) if alive.any() else np.arange(len(alive)))
    keys = [key for moment in contrast.moments if (key := KEYS[moment]) in arrays]
    return contrast.level(*(contrast.size(shown(arrays[k][rows], arrays["dictionary"], options)) for k in keys))


def shown(weights: Array, dictionary: Array, options: Mapping[str, str]) -> Array:
    """The weights (n, d) as the options ``space`` and ``normalise`` show them."""
    found = weights @ dictionary if options["space"] == "dictionary" else weights
    if options["normalise"] == "true":
        norms = np.linalg.norm(found, axis=1, keepdims=True)
        found = found / np.maximum(norms, np.finfo(np.float32).tiny)
    return np.asarray(found, np.float32)


@figures.register(VIEW.name, order=VIEW.order)
class Neurons(Drawer):
    """Weights of the hidden neurons as pictures, the same neurons in the same order at each moment."""

    view = VIEW

    def collect(self, store: Store, checkpoint: Checkpoint, options: Mapping[str, str]) -> PicturePanels:
        """Read the weights of the checkpoint, choose and order the neurons, find the shared level."""
        arrays = checkpoint.arrays
        found = measure(arrays["weight"], arrays["dictionary"], arrays["target"])
        count, alive = count_of(options["count"]), options["alive"] == "true"
        order = neuron_order(found, options["sort"], count=count, alive=alive)
        now = now_name(checkpoint)
        titles = {"start": "start", "clean": AFTER_CLEAN, "now": now}
        panels = {
            titles[moment]: as_pictures(shown(arrays[key][order], arrays["dictionary"], options))
            for moment, key in KEYS.items()
            if key in arrays
        }
        level = level_of(arrays, found.alive, options) or 1.0
        keep = ("weight", "weight_init", "weight_clean", "bias", "dictionary", "target")
        kind = "weight / neuron's norm" if options["normalise"] == "true" else "weight"
        return PicturePanels(
            tables={"": neuron_table(order, found)},
            arrays={k: arrays[k] for k in keep if k in arrays},
            caption=self._caption(store, checkpoint, options, found, len(order), level),
            panels=panels,
            level=level,
            label=f"{kind} in {space_name(options['space'])}",
            signed=True,
        )

    @staticmethod
    def _caption(
        store: Store, checkpoint: Checkpoint, options: Mapping[str, str], found: Mixture, n: int, level: float
    ) -> str:
        contrast = VIEW.contrast.quantile if VIEW.contrast is not None else 1.0
        alive, m = int(found.alive.sum()), len(found.alive)
        which = "alive neurons" if options["alive"] == "true" else "neurons, alive or not"
        clean = ", after clean training" if "weight_clean" in checkpoint.arrays else ""
        scaled = " Every neuron is divided by its own norm." if options["normalise"] == "true" else ""
        descending = "" if options["sort"] in ("feature", "index") else ", largest first"
        moment = phase(checkpoint.phase).name
        return (
            f"Hidden weights in {space_name(options['space'])} at the start{clean} and now (step {checkpoint.step}, "
            f"{moment} phase). n = {n} {which} (m = {m}, {alive} alive now; {alive_rule()}), "
            f"sorted by {options['sort']} now{descending}; the same order in every panel, read line by line. "
            f"One colour scale for all panels, from −{level:.3g} (blue) over zero (white) to +{level:.3g} (orange); "
            f"{100 * contrast:g}% of the weights of the alive neurons lie within.{scaled}\n"
            f"Protocol: weights as stored, no attack and no data enter. {training(store, checkpoint)}\n"
            f"{provenance(store, checkpoint)}"
        )
