"""The attack that needs no network."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.attacks.base import Attack, AttackKind, Classifier, Setting, Slices, attacks
from engine.attacks.threat import Threat
from engine.config.experiment import SPARSE_CODING

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class DenseDirection(Attack):
    """Move every x along −y · M w_star, to the boundary of the ball (SPEC.md section 3; paper, section 4).

    ``direction`` (d,) is M w_star; the steepest step along it is its unit vector for ℓ2, its sign for ℓ∞.

    Shape: x (n, d), y (n,) → δ like x.

    Example::

        delta = DenseDirection(threats["l2"], 0.2, world.dense_direction)(model, x, y, generator)
    """

    def __init__(self, threat: Threat, tau: float, direction: Tensor) -> None:
        super().__init__(threat, tau)
        self.step = threat.steepest(direction.clone().unsqueeze(0)).mul_(tau)

    def run(self, model: Classifier, x: Tensor, y: Tensor, generator: torch.Generator) -> Slices:
        """No gradient, one slice."""
        yield
        return self.step * y.neg().unsqueeze(1)


def _dense(to: Setting) -> DenseDirection:
    if to.direction is None:
        raise ValueError("the dense direction is that of a world, and none is given")
    return DenseDirection(to.threat, to.protocol.tau, to.direction)


attacks.register("dense", order=1)(
    AttackKind(
        plain="the dense direction",
        text="dense direction (no network)",
        short="dense direction",
        build=_dense,
        kinds=(SPARSE_CODING,),
        directed=True,
        size=lambda steps, restarts: (0, 0),
        verified={SPARSE_CODING: (0, 0)},
    )
)
