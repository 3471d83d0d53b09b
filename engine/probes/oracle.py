"""The oracle of a world: how robust a network is that knows it (SPEC.md section 4).

The oracle Σⱼ w*ⱼ S_b(⟨Mⱼ,x⟩) knows the dictionary and the labels' rule; only its b is left to choose. S_b is
odd, so it is a :class:`SymmetricRelu` with the rows w*ⱼMⱼ, and every attack, probe and certificate applies to it.
Where the |w*ⱼ| differ it is Σⱼ S_b(w*ⱼ⟨Mⱼ,x⟩), with the threshold b/|w*ⱼ| for feature j: these networks have one b.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.core.generators import seeded
from engine.core.measurement import Measurement
from engine.data.sparse_stream import SparseCoding
from engine.models.symmetric_relu import SymmetricRelu
from engine.probes.certificate import Slices, certified
from engine.probes.robustness import Measured, accuracy

FIT_SIZE = 500  # samples on which b is chosen; none of them is measured on
FIT_STEPS, FIT_RESTARTS = 40, 3  # of PGD while choosing, where the certificate cannot choose
GRID = 12  # intervals of [0, max |w*ⱼ|/√k], the size of a feature, that are tried first
REFINEMENTS = 2  # times the search goes on around the best, with a third of the distance


@dataclass(frozen=True, slots=True)
class Oracle:
    """The oracle's robust accuracy and the ``bias`` that was best on another sample."""

    bias: float
    measured: Measured


Cache = dict[str, float | Oracle]


def network(world: SparseCoding, bias: float) -> SymmetricRelu:
    """The oracle of ``world`` at this b: D neurons, each one feature with its sign."""
    return SymmetricRelu((world.dictionary * world.target).T.contiguous(), bias)


def best_bias(
    world: SparseCoding, seed: int, norm: str, tau: float, cache: Cache | None = None, size: int = FIT_SIZE
) -> Slices[float]:
    """The b with the highest robust accuracy at ``tau`` on a sample of its own, yielding between slices.

    In ℓ2 that is certified accuracy, nearly exact for these networks: an attack would be taken in by a small b, which
    hides gradients and is no more robust for it. In ℓ∞, where the certificate is weak, it is PGD accuracy. Of equally
    good ones the middle one is taken. ``cache`` is looked up and filled; its keys name world, seed, sample and ball.
    """
    name = key(world, seed, f"{norm} {size}", tau)
    known = cache.get(name) if cache is not None else None
    if isinstance(known, float):
        return known
    x, y = world.sample(size, seeded(seed, "oracle sample", world.target.device))
    protocol = Measurement("pgd", norm, tau, FIT_STEPS, FIT_RESTARTS, size)
    found: dict[float, int] = {}

    def best() -> float:
        ties = [b for b in sorted(found) if found[b] == max(found.values())]
        return ties[len(ties) // 2]

    highest = float(world.target.abs().max()) / math.sqrt(world.knobs.k)
    distance = highest / GRID
    candidates = [distance * i for i in range(GRID + 1)]
    for refinement in range(REFINEMENTS + 1):
        for bias in candidates:
            if bias not in found:
                model = network(world, bias)
                if norm == "l2":
                    (measured,) = yield from certified(model.weight, model.bias, x, y, [tau])
                else:
                    generator = seeded(seed, "oracle attack", x.device)  # the same for each: they differ in b alone
                    measured = yield from accuracy(model, x, y, protocol, None, generator)
                found[bias] = measured.right
        if refinement < REFINEMENTS:
            distance /= 3
            candidates = [b for i in (-2, -1, 1, 2) if 0 <= (b := best() + i * distance) <= highest]
    result = best()
    if cache is not None:
        cache[name] = result
    return result


def measure(
    world: SparseCoding, seed: int, x: Tensor, y: Tensor, protocols: Sequence[Measurement], cache: Cache | None = None,
    fit_size: int = FIT_SIZE,
) -> Slices[tuple[Oracle, ...]]:  # fmt: skip
    """The oracle under each of ``protocols`` on held-out x (n, d), y (n,); b is chosen on ``fit_size`` other samples.

    Yields between slices. What ``cache`` holds for the same world, seed, sample and protocol is not measured again.
    """
    out = []
    for protocol in protocols:
        name = key(world, seed, protocol.to_json(), 0.0, x, y)
        known = cache.get(name) if cache is not None else None
        if not isinstance(known, Oracle):
            bias = yield from best_bias(world, seed, protocol.norm, protocol.tau, cache, fit_size)
            generator = seeded(seed, f"oracle {protocol.text()}", x.device)
            model = network(world, bias)
            known = Oracle(bias, (yield from accuracy(model, x, y, protocol, world.dense_direction, generator)))
            if cache is not None:
                cache[name] = known
        out.append(known)
    return tuple(out)


def key(world: SparseCoding, seed: int, ball: str, tau: float, *sample: Tensor) -> str:
    """Everything that decides a result. The world goes in by content: its knobs do not say which seed drew it."""
    digest = hashlib.sha256()
    for tensor in (world.dictionary, world.target, *sample):
        digest.update(torch.as_tensor(tensor).cpu().contiguous().numpy().tobytes())
    return f"{world.knobs.model_dump_json()} {seed} {ball} {tau!r} {digest.hexdigest()}"
