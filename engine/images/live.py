"""What the live views show of a network on images, measured in spare time: examples, layers, accuracy by radius."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from engine.config.knobs import AttackKnobs
from engine.core.arrays import frozen
from engine.core.generators import seeded
from engine.core.measurement import Measurement
from engine.core.results import Examples, LayersPrinciple1, RadiusCurves
from engine.data.images import BOX
from engine.models.classifier import ImageClassifier
from engine.models.layers import Layer, layers
from engine.probes import robustness
from engine.probes.layers import CHUNK, Weights, activity, matrices, principle1_of
from engine.probes.radius import POINTS, REACH, RESTARTS, STEPS, Cache, Values

EXAMPLES = 12  # test images that are shown with their perturbations
RADIUS_SIZE = 64  # test images of accuracy against radius


def picture_shape(first: Layer, image: tuple[int, int, int]) -> tuple[int, int, int, int]:
    """Shape (units, C, h, w) in which the first layer's weights are pictures; ``image`` is that of the data."""
    units, *rest = first.module.weight.shape
    c, h, w = rest if len(rest) == 3 else image
    return units, c, h, w


def examples(
    model: ImageClassifier, x: Tensor, y: Tensor, classes: Sequence[str], attack: AttackKnobs, steps: int, step: int,
    seed: int,
) -> Generator[None, None, Examples]:  # fmt: skip
    """PGD on the images x (k, C, H, W), right or wrong, at the radius of ``attack``."""
    protocol = Measurement("pgd", attack.norm, attack.tau, steps, 1, len(y), True)
    built = robustness.build(protocol, None, BOX)
    assert built is not None  # only ``clean`` has no attack
    delta = (yield from built.slices(model, x, y, seeded(seed, "examples", x.device))).clone()
    before, after = (torch.softmax(model.logits(each), 1) for each in (x, x + delta))
    return Examples(
        step, protocol, tuple(classes), frozen(x), frozen(delta), frozen(y), frozen(before), frozen(after)
    )  # fmt: skip


def layers_principle1(
    start: Weights, clean: Weights, model: ImageClassifier, x: Tensor, step: int
) -> Generator[None, None, LayersPrinciple1]:
    """Principle 1 of every layer, and the activity on the images x (n, C, H, W)."""
    found = principle1_of(start, clean, matrices(model))
    yield
    active = yield from activity(model, x, CHUNK)
    return LayersPrinciple1(step, tuple(each.info for each in layers(model.module)), found, active, len(x))


def radius_curves(
    model: ImageClassifier, clean: ImageClassifier | None, clean_step: int, x: Tensor, y: Tensor, norm: str, tau: float,
    step: int, seed: int, cache: Cache,
) -> Generator[None, None, RadiusCurves]:  # fmt: skip
    """Accuracy under PGD against the radius, of ``model`` and once of ``clean``; there is no certificate."""
    radii = np.linspace(0.0, REACH * tau, POINTS)
    now = yield from _under_pgd(model, x, y, norm, radii, seed)
    before = None
    if clean is not None:
        key = ("clean", clean_step, norm, tau)
        if key not in cache:
            cache[key] = yield from _under_pgd(clean, x, y, norm, radii, seed)
        before = cache[key]
    return RadiusCurves(step, norm, STEPS, RESTARTS, len(y), radii, now, None, before, None, None)


def _under_pgd(
    model: ImageClassifier, x: Tensor, y: Tensor, norm: str, radii: Values, seed: int
) -> Generator[None, None, Values]:
    found = []
    for radius in radii:
        protocol = Measurement("pgd", norm, float(radius), STEPS, RESTARTS, len(y), True)
        generator: Any = seeded(seed, f"radius {radius}", x.device)
        measured = yield from robustness.accuracy(model, x, y, protocol, None, generator, box=BOX, chunk=CHUNK)
        found.append(measured.accuracy)
    return np.array(found)
