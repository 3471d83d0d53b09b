"""The order in which neurons and units are shown, on the screen as in figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from engine.core.results import ALIVE, BoolArray, FloatArray, IntArray, Mixture

MOST = 4096  # pictures in one gallery
SORTS = {"purity": "purity", "mixture": "mixture", "norm": "norm", "feature": "feature", "index": "index"}
UNIT_SORTS = {"index": "index", "norm": "norm", "change": "change"}
COUNTS = {"64": "64", "144": "144", "256": "256", "all": "all"}
COSINES = {"cos_start_clean": ("start", "clean"), "cos_start_now": ("start", "now"), "cos_clean_now": ("clean", "now")}


def count_of(count: str) -> int:
    """How many are shown, of an option's value."""
    return MOST if count == "all" else int(count)


def neuron_order(mixture: Mixture, sort: str, *, count: int | None, alive: bool) -> IntArray:
    """Neurons in the order of display: purity, mixture and norm fall; feature and index rise. At most ``count``."""
    neurons = np.flatnonzero(mixture.alive) if alive else np.arange(len(mixture.norm))
    if sort == "feature":
        keys = np.lexsort((-mixture.purity[neurons], mixture.feature[neurons]))
    elif sort == "index":
        keys = np.arange(len(neurons))
    else:
        by = {"purity": mixture.purity, "mixture": mixture.mixture, "norm": mixture.norm}[sort]
        keys = np.argsort(-by[neurons], kind="stable")
    return neurons[keys][:count].astype(np.int64)


@dataclass(frozen=True)
class UnitFacts:
    """Of a layer's units: ``norms`` (units,) by moment, and ``cosines`` (units,) by the names of :data:`COSINES`.

    ``alive`` (units,) are those alive at the end of clean training, or now before that, over which means are taken.
    """

    norms: Mapping[str, FloatArray]
    cosines: Mapping[str, FloatArray]
    alive: BoolArray

    @classmethod
    def of(cls, weights: Mapping[str, FloatArray]) -> UnitFacts:
        """Measure the weights (units, …) by moment: ``start``, ``clean`` once clean training has ended, ``now``."""
        flat = {moment: w.reshape(len(w), -1) for moment, w in weights.items()}
        norms = {moment: np.linalg.norm(w, axis=1) for moment, w in flat.items()}
        cosines = {
            name: np.einsum("ij,ij->i", flat[a], flat[b]) / np.maximum(norms[a] * norms[b], np.float32(1e-12))
            for name, (a, b) in COSINES.items()
            if a in flat and b in flat
        }
        counted = norms.get("clean", norms["now"])
        return cls(norms, cosines, counted > ALIVE * counted.max())

    def order(self, sort: str, count: int | None = None) -> IntArray:
        """Units in the order of display: the largest norm now first, or what turned most; at most ``count``."""
        if sort == "norm":
            keys = np.argsort(-self.norms["now"], kind="stable")
        elif sort == "change":
            keys = np.argsort(self.cosines.get("cos_clean_now", self.cosines["cos_start_now"]), kind="stable")
        else:
            keys = np.arange(len(self.norms["now"]))
        return keys[:count].astype(np.int64)
