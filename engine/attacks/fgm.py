"""The fast gradient method."""

from __future__ import annotations

import torch
from torch import Tensor

from engine.attacks.base import Attack, Classifier, Slices


class Fgm(Attack):
    """Fast gradient method: one step to the boundary of the ball, along the steepest direction.

    Goodfellow, Shlens, Szegedy 2014 (arXiv 1412.6572), for ℓ2 along the normalised gradient. Where the gradient is
    zero, δ is zero.

    Shape: x (n, ...), y (n,) → δ like x.

    Example::

        delta = Fgm(threats["l2"], tau=0.2)(model, x, y, generator)
    """

    def run(self, model: Classifier, x: Tensor, y: Tensor, generator: torch.Generator) -> Slices:
        """One gradient, one slice."""
        delta = self.threat.steepest(model.ascent(x, y)).mul_(self.tau)
        yield
        return delta
