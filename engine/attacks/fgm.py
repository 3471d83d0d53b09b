"""The fast gradient method."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.attacks.base import Attack, AttackKind, Box, Classifier, Slices, attacks
from engine.attacks.threat import Threat
from engine.config.experiment import SPARSE_CODING
from engine.core.lazy_torch import torch

if TYPE_CHECKING:
    from torch import Tensor

RANDOM_STEP = 1.25  # after a random start the step is RANDOM_STEP · tau


class Fgm(Attack):
    """Fast gradient method: one step to the boundary of the ball, along the steepest direction.

    Goodfellow, Shlens, Szegedy 2014 (arXiv 1412.6572), for ℓ2 along the normalised gradient. Where the gradient is
    zero, δ is zero.

    With ``random_start`` it is the method of Wong, Rice, Kolter 2020 (arXiv 2001.03994): from a uniform point of the
    ball one step of size ``step`` (in the units of x; 1.25·tau unless given), then back onto the ball. They have ℓ∞
    alone; for ℓ2 the same is done with the uniform point of the ℓ2 ball and the normalised gradient. Where the gradient
    is zero, δ is the start. Without a random start ``step`` is tau unless given.

    Shape: x (n, ...), y (n,) → δ like x.

    Example::

        delta = Fgm(threats["l2"], tau=0.2)(model, x, y, generator)
    """

    def __init__(
        self,
        threat: Threat,
        tau: float,
        *,
        random_start: bool = False,
        step: float | None = None,
        box: Box | None = None,
    ) -> None:
        super().__init__(threat, tau, box=box)
        self.random_start = random_start
        self.step = step if step is not None else RANDOM_STEP * tau if random_start else tau

    def run(self, model: Classifier, x: Tensor, y: Tensor, generator: torch.Generator) -> Slices:
        """One gradient, one slice."""
        if not self.random_start:
            delta = self.threat.steepest(model.input_gradient(x, y)).mul_(self.step)
        else:
            delta = self.clip(x, self.threat.start(torch.empty_like(x), self.tau, generator))
            delta.add_(self.threat.steepest(model.input_gradient(x + delta, y)), alpha=self.step)
        yield
        return delta


attacks.register("fgm", order=0)(
    AttackKind(
        plain="FGM",
        text="FGM (1 step)",
        short="FGM",
        build=lambda to: Fgm(to.threat, to.protocol.tau, box=to.box),
        size=lambda steps, restarts: (1, 1),
        verified={SPARSE_CODING: (1, 1)},
    )
)
