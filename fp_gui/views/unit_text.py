"""What is told of the units of a network on images in words: layers, norms and cosines."""

from __future__ import annotations

import numpy as np

from engine.core.results import LayerInfo
from engine.figures.declare import COSINE_LOOKS
from engine.figures.order import UnitFacts


def layer_text(place: int, layer: LayerInfo) -> str:
    """A layer in the chooser, e.g. ``conv1 · conv, 64 units of 3×9×9``, whatever its ``place``."""
    return f"{layer.name} · {layer.kind}, {layer.units} units of {'×'.join(map(str, layer.shape[1:]))}"


def means_text(facts: UnitFacts) -> str:
    """The mean cosines over alive units."""
    parts = [
        f"{COSINE_LOOKS[name].label} {np.mean(cosine[facts.alive]):.2f}"
        for name, cosine in facts.cosines.items()
        if facts.alive.any()
    ]
    return f"mean cos over {facts.alive.sum():,} alive: " + ", ".join(parts).replace("-", "−")


def unit_text(facts: UnitFacts, unit: int) -> str:
    """The norm and the cosines of a unit."""
    parts = [f"unit {unit}: norm {facts.norms['now'][unit]:.3g}"]
    parts += [f"cos {COSINE_LOOKS[name].label} {cosine[unit]:.2f}" for name, cosine in facts.cosines.items()]
    return " · ".join(parts).replace("-", "−")
