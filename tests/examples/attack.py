"""A new attack in one file: random signs, a search that looks at no gradient."""

from __future__ import annotations

import torch
from torch import Tensor

from engine.attacks.base import Attack, AttackKind, Box, Classifier, Setting, Slices, attacks
from engine.attacks.threat import Threat
from engine.config.experiment import IMAGES, SPARSE_CODING


class RandomSigns(Attack):
    """Of ``tries`` perturbations of random signs at the boundary of the ball, keep the one that does most damage.

    Shape: x (n, ...), y (n,) → δ like x.
    """

    def __init__(self, threat: Threat, tau: float, *, tries: int, box: Box | None = None) -> None:
        super().__init__(threat, tau, box=box)
        self.tries = tries

    def run(self, model: Classifier, x: Tensor, y: Tensor, generator: torch.Generator) -> Slices:
        """One slice a try."""
        best, margin = torch.zeros_like(x), model.margin(x, y).clone()
        for _ in range(self.tries):
            signs = torch.empty_like(x).normal_(0, 1, generator=generator).sign_()
            delta = self.feasible(x, self.threat.steepest(signs).mul_(self.tau))
            found = model.margin(x + delta, y)
            better = found < margin
            best[better], margin[better] = delta[better], found[better]
            yield
        return best


def _build(to: Setting) -> RandomSigns:
    return RandomSigns(to.threat, to.protocol.tau, tries=to.protocol.steps, box=to.box)


attacks.register("random_signs", order=9)(
    AttackKind(
        plain="random signs",
        text="random signs ({steps} tries, no gradient)",
        short="random signs-{steps}",
        effort="random signs ({steps} tries)",
        build=_build,
        size=lambda steps, restarts: (steps, 1),
        verified={SPARSE_CODING: (7, 1), IMAGES: (7, 1)},
        black_box=True,
    )
)
