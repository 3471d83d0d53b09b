"""Perturbation anatomy: what an attack adds to an input, seen in the dictionary (SPEC.md section 4)."""

from __future__ import annotations

import torch
from torch import Tensor

from engine.attacks.base import Classifier
from engine.core import metrics
from engine.core.arrays import frozen
from engine.core.generators import seeded
from engine.core.measurement import Measurement
from engine.core.results import CleanPerturbations, Perturbations
from engine.core.slices import finish
from engine.data.sparse_stream import SparseCoding
from engine.probes.certificate import Slices
from engine.probes.robustness import CHUNK, build

EXAMPLES = 12  # inputs that are kept with their perturbations
ENERGY = 0.9
SIZE = 256  # held-out inputs of a snapshot: one gradient
TINY = 1e-12


def perturb(
    model: Classifier, world: SparseCoding, x: Tensor, y: Tensor, protocol: Measurement, seed: int = 0
) -> Slices[Tensor]:
    """δ (n, d) of the first ``protocol.n`` of x (n, d), y (n,), right or wrong, as ``protocol`` says; yields between.

    ``protocol.attack`` is any that :func:`engine.probes.robustness.build` knows, ``clean`` excepted (``ValueError``).
    """
    attack = build(protocol, world.dense_direction)
    if attack is None:
        raise ValueError("the anatomy of a perturbation needs an attack")
    generator = seeded(seed, f"anatomy {protocol.text()}", x.device)
    x, y = x[: protocol.n], y[: protocol.n]
    parts = []
    for start in range(0, len(y), CHUNK):
        rows = slice(start, start + CHUNK)
        delta = yield from attack.slices(model, x[rows], y[rows], generator)
        parts.append(delta.clone())  # it may live in the model's memory
    return torch.cat(parts)


def anatomy(
    model: Classifier, world: SparseCoding, x: Tensor, y: Tensor, delta: Tensor, protocol: Measurement
) -> Perturbations:
    """What the perturbations ``delta`` (n, d) of x (n, d), y (n,) are, which ``protocol`` made on ``model``."""
    cosine, count = measure(delta, y[: len(delta)], world)
    few = slice(0, EXAMPLES)
    return Perturbations(
        protocol=protocol,
        cosine=frozen(cosine),
        coordinates90=frozen(count),
        x=frozen(x[few]),
        delta=frozen(delta[few]),
        y=frozen(y[few]),
        before=frozen(model.margin(x[few], y[few])),
        after=frozen(model.margin(x[few] + delta[few], y[few])),
        coefficients=frozen(delta[few] @ world.dictionary),
        target=frozen(world.dense_coefficients),
    )


def perturbations(
    model: Classifier, world: SparseCoding, x: Tensor, y: Tensor, protocol: Measurement, seed: int = 0
) -> Slices[Perturbations]:
    """:func:`perturb`, and the :func:`anatomy` of that."""
    delta = yield from perturb(model, world, x, y, protocol, seed)
    return anatomy(model, world, x[: len(delta)], y[: len(delta)], delta, protocol)


def beside(step: int, clean: Perturbations, clean_delta: Tensor, now_delta: Tensor) -> CleanPerturbations:
    """The clean net's perturbations beside those of now, both (n, d), on the same inputs."""
    between = torch.nn.functional.cosine_similarity(clean_delta, now_delta, dim=1, eps=TINY)
    return CleanPerturbations(step, clean, frozen(between))


def measure(delta: Tensor, y: Tensor, world: SparseCoding) -> tuple[Tensor, Tensor]:
    """Of perturbations δ (n, d): cosines with −y·M w_star (n,), coordinates that carry 90% of the energy (n,) int64."""
    size = torch.linalg.vector_norm(delta, dim=1)
    cosine = (delta @ world.dense_direction) * -y / size.clamp_min(TINY)
    energy = (delta @ world.dictionary).square_().sort(dim=1, descending=True).values.cumsum(1)
    count = (energy < ENERGY * energy[:, -1:]).sum(1) + (size > 0)
    return cosine, count


def of_fgm(
    model: Classifier, world: SparseCoding, x: Tensor, y: Tensor, norm: str, tau: float
) -> tuple[Tensor, Perturbations]:
    """FGM on x (n, d), y (n,) in one go, δ (n, d) and its anatomy: what a snapshot shows."""
    protocol = Measurement("fgm", norm, tau, 1, 1, len(y), estimate=True)
    delta = finish(perturb(model, world, x, y, protocol))
    return delta, anatomy(model, world, x, y, delta, protocol)


def scalars(model: Classifier, world: SparseCoding, x: Tensor, y: Tensor) -> dict[str, float]:
    """Mean number of coordinates of the ℓ2 FGM perturbation of x (n, d); it does not depend on the radius.

    Its mean cosine is :func:`engine.probes.robustness.alignment`.
    """
    count = 0
    for start in range(0, len(y), CHUNK):
        rows = slice(start, start + CHUNK)
        count += int(measure(model.input_gradient(x[rows], y[rows]), y[rows], world)[1].sum())
    return {metrics.COORDINATES90: count / len(y)}
