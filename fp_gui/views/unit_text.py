"""What is told of the units of a network on images: norms, cosines, and their order by them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from engine.core.results import ALIVE, BoolArray, Filters, FloatArray, IntArray, LayerInfo

COSINES = ("cos_start_clean", "cos_start_now", "cos_clean_now")
COSINE_NAMES = ("(w⁰, w)", "(w⁰, w′)", "(w, w′)")


def layer_text(layer: LayerInfo) -> str:
    """A layer in the chooser, e.g. ``conv1 · conv, 64 of 3×9×9``."""
    return f"{layer.name} · {layer.kind}, {layer.units} of {'×'.join(map(str, layer.shape[1:]))}"


@dataclass(frozen=True)
class UnitFacts:
    """Of the first layer's units: ``norm`` ‖w′‖ (units,) and the ``cosines`` (units,) by the names of ``COSINES``.

    ``alive`` (units,) are those alive at the end of clean training, or now before that, over which means are taken.
    """

    norm: FloatArray
    cosines: dict[str, FloatArray]
    alive: BoolArray

    @classmethod
    def of(cls, filters: Filters) -> UnitFacts:
        """Measure them."""
        flat = [None if a is None else a.reshape(len(a), -1) for a in (filters.start, filters.clean, filters.now)]
        norms = [None if a is None else np.linalg.norm(a, axis=1) for a in flat]
        cosines = {}
        for name, (i, j) in zip(COSINES, ((0, 1), (0, 2), (1, 2)), strict=True):
            a, b, p, q = flat[i], flat[j], norms[i], norms[j]
            if a is not None and b is not None and p is not None and q is not None:
                cosines[name] = np.einsum("ij,ij->i", a, b) / np.maximum(p * q, np.float32(1e-12))
        _, clean, now = norms
        assert now is not None
        counted = now if clean is None else clean
        return cls(now, cosines, counted > ALIVE * counted.max())

    def means(self) -> str:
        """The mean cosines over alive units, in words."""
        parts = [
            f"{words} {np.mean(self.cosines[name][self.alive]):.2f}"
            for name, words in zip(COSINES, COSINE_NAMES, strict=True)
            if name in self.cosines and self.alive.any()
        ]
        return f"mean cos over {self.alive.sum():,} alive: " + ", ".join(parts).replace("-", "−")

    def order(self, sort: str) -> IntArray:
        """All units in the order of display."""
        if sort == "norm":
            keys = np.argsort(-self.norm, kind="stable")
        elif sort == "change":
            keys = np.argsort(self.cosines.get("cos_clean_now", self.cosines["cos_start_now"]), kind="stable")
        else:
            keys = np.arange(len(self.norm))
        return keys.astype(np.int64)

    def text(self, unit: int) -> str:
        """The facts of a unit in words."""
        parts = [f"unit {unit}: norm {self.norm[unit]:.3g}"]
        for name, words in zip(COSINES, COSINE_NAMES, strict=True):
            if name in self.cosines:
                parts.append(f"cos {words} {self.cosines[name][unit]:.2f}".replace("-", "−"))
        return " · ".join(parts)
