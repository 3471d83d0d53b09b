"""Accuracy without and under attack, in slices (SPEC.md sections 3 and 4)."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from engine.attacks.apgd import Apgd, ApgdTargeted
from engine.attacks.base import Attack, Box, Classifier
from engine.attacks.dense import DenseDirection
from engine.attacks.fgm import Fgm
from engine.attacks.losses import cross_entropy
from engine.attacks.pgd import Pgd
from engine.attacks.square import Square, SquareImages
from engine.attacks.threat import threats
from engine.core import metrics
from engine.core.measurement import Measurement, figure

CHUNK = 256  # samples in one slice: small enough that a slice stays within a few milliseconds


@dataclass(frozen=True, slots=True)
class Measured:
    """An accuracy (``right`` of ``protocol.n`` samples) and how it was measured; ``which`` (n,) are right, if known."""

    right: int
    protocol: Measurement
    which: Tensor | None = field(default=None, compare=False, repr=False)

    @property
    def accuracy(self) -> float:
        """Share of samples that are still right."""
        return self.right / self.protocol.n

    @property
    def figure(self) -> dict[str, Any]:
        """Value, 95% Wilson interval and protocol, ready for JSON."""
        return figure(self.accuracy, self.protocol)


def build(protocol: Measurement, direction: Tensor | None, box: Box | None = None) -> Attack | None:
    """The attack that ``protocol`` describes; None for ``clean``. ``direction`` (d,) is needed for ``dense``.

    With a ``box`` x + δ stays in it, and samples are pictures (n, C, H, W): ``square`` is then the version for them.
    ``apgd_ce`` and ``apgd_t`` start at random points and are for models with K logits. Raises ``ValueError`` for an
    attack that there is none of.
    """
    threat, tau, steps, restarts = threats[protocol.norm], protocol.tau, protocol.steps, protocol.restarts
    if protocol.attack == "fgm":
        return Fgm(threat, tau, box=box)
    if protocol.attack == "pgd":
        return Pgd(threat, tau, steps=steps, restarts=restarts, random_start=False, box=box)
    if protocol.attack == "apgd":
        return Apgd(threat, tau, steps=steps, restarts=restarts, box=box)
    if protocol.attack == "apgd_ce":
        return Apgd(threat, tau, steps=steps, restarts=restarts, random_start=True, loss=cross_entropy, box=box)
    if protocol.attack == "apgd_t":
        return ApgdTargeted(threat, tau, steps=steps, targets=restarts, box=box)
    if protocol.attack == "square":
        return (Square if box is None else SquareImages)(threat, tau, queries=steps, box=box)
    if protocol.attack == "dense" and direction is not None:
        return DenseDirection(threat, tau, direction)
    if protocol.attack == "clean":
        return None
    raise ValueError(f"no such attack: {protocol.attack}")


def accuracy(
    model: Classifier,
    x: Tensor,
    y: Tensor,
    protocol: Measurement,
    direction: Tensor | None,
    generator: torch.Generator,
    *,
    box: Box | None = None,
    chunk: int = CHUNK,
) -> Generator[None, None, Measured]:
    """Count the samples of x (n, ...), y (n,) that are right without *and* under the attack of ``protocol``.

    Samples that are wrong already are not attacked. ``box`` is that of :func:`build`, ``chunk`` the number of samples
    in one slice. Yields between slices; returns a :class:`Measured`.
    """
    attack = build(protocol, direction, box)
    which = torch.zeros(protocol.n, dtype=torch.bool, device=x.device)
    for start in range(0, protocol.n, chunk):
        rows = slice(start, min(start + chunk, protocol.n))
        cx, cy = x[rows], y[rows]
        sound = model.margin(cx, cy) > 0
        if attack is not None and bool(sound.any()):
            cx, cy = cx[sound], cy[sound]
            delta = yield from attack.slices(model, cx, cy, generator)
            sound[sound.clone()] = model.margin(cx + delta, cy) > 0
        which[rows] = sound
        yield
    return Measured(int(which.sum()), protocol, which)


def alignment(model: Classifier, x: Tensor, y: Tensor, direction: Tensor) -> float:
    """Mean cosine of the ℓ2 FGM perturbation with −y·M w_star, for x (n, d); ``direction`` (d,) a unit vector.

    The cosine is the same in pixels and in the dictionary, whose columns are orthonormal.
    """
    total = 0.0
    for start in range(0, len(y), CHUNK):
        rows = slice(start, start + CHUNK)
        unit = threats["l2"].steepest(model.input_gradient(x[rows], y[rows]))
        total += float(((unit @ direction) * -y[rows]).sum())
    return total / len(y)


def standard_protocols(
    norm: str, tau: float, *, steps: int, restarts: int, n: int, estimate: bool
) -> dict[str, Measurement]:
    """The four accuracies that every evaluation measures, by metric name."""
    return {
        metrics.CLEAN: Measurement("clean", norm, 0.0, 0, 0, n, estimate),
        metrics.FGM: Measurement("fgm", norm, tau, 1, 1, n, estimate),
        metrics.PGD: Measurement("pgd", norm, tau, steps, restarts, n, estimate),
        metrics.DENSE: Measurement("dense", norm, tau, 0, 0, n, estimate),
    }


def slice_count(protocols: Iterable[Measurement], chunk: int = CHUNK) -> int:
    """An upper bound on the slices that measuring these accuracies takes, with ``chunk`` samples in one."""
    return sum((p.steps * p.restarts + 2) * -(-p.n // chunk) for p in protocols)


def protocols_of(
    attacks: Sequence[str], norm: str, radii: Sequence[float], steps: int, restarts: int, n: int
) -> list[Measurement]:
    """The protocols of clean accuracy, and of each attack (``fgm``, ``pgd``, ``dense``) at each radius."""
    protocols = [Measurement("clean", norm, 0.0, 0, 0, n)]
    for tau in radii:
        for attack in attacks:
            size = (steps, restarts) if attack == "pgd" else (1, 1) if attack == "fgm" else (0, 0)
            protocols.append(Measurement(attack, norm, tau, *size, n))
    return protocols
