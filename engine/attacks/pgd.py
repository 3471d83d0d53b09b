"""Projected gradient descent on the ball."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.attacks.base import Attack, AttackKind, Box, Classifier, Setting, Slices, attacks
from engine.attacks.threat import Threat
from engine.config.experiment import SPARSE_CODING
from engine.core.lazy_torch import torch

if TYPE_CHECKING:
    from torch import Tensor

RELATIVE_STEP = 2.5  # a step is RELATIVE_STEP · tau / steps: enough to cross the ball


class Pgd(Attack):
    """Projected gradient descent, Madry et al. 2017 (arXiv 1706.06083).

    ``steps`` steps of size 2.5·tau/steps along the steepest direction, each followed by the projection. The first
    start is x itself, or a random point of the ball with ``random_start``; further restarts are always random. Of all
    restarts the one with the smallest margin is kept for each sample. With ``skip_fooled``, samples that are fooled
    already are left out of further restarts; not for a model whose noise belongs to the rows of the batch. With a
    ``box`` every step is followed by the way back into it.

    Shape: x (n, ...), y (n,) → δ like x.

    Example::

        delta = Pgd(threats["l2"], 0.2, steps=40, restarts=5, random_start=True)(model, x, y, generator)
    """

    def __init__(
        self,
        threat: Threat,
        tau: float,
        *,
        steps: int,
        restarts: int = 1,
        random_start: bool = True,
        skip_fooled: bool = True,
        box: Box | None = None,
    ) -> None:
        super().__init__(threat, tau, box=box)
        self.skip_fooled = skip_fooled
        self.steps = steps
        self.restarts = restarts
        self.random_start = random_start

    def run(self, model: Classifier, x: Tensor, y: Tensor, generator: torch.Generator) -> Slices:
        """One slice a gradient."""
        best = yield from self._once(model, x, y, generator, self.random_start)
        if self.restarts == 1:
            return best
        margin = model.margin(x + best, y)
        for _ in range(self.restarts - 1):
            rows = (margin > 0).nonzero().squeeze(1) if self.skip_fooled else torch.arange(len(y), device=y.device)
            if not len(rows):
                break
            delta = yield from self._once(model, x[rows], y[rows], generator, True)
            found = model.margin(x[rows] + delta, y[rows])
            better = found < margin[rows]
            best[rows[better]] = delta[better]
            margin[rows[better]] = found[better]
        return best

    def _once(self, model: Classifier, x: Tensor, y: Tensor, generator: torch.Generator, random: bool) -> Slices:
        delta = torch.empty_like(x)
        if random:
            self.clip(x, self.threat.start(delta, self.tau, generator))
        else:
            delta.zero_()
        size = RELATIVE_STEP * self.tau / self.steps
        point = torch.empty_like(x)
        for _ in range(self.steps):
            direction = self.threat.steepest(model.input_gradient(torch.add(x, delta, out=point), y))
            self.feasible(x, delta.add_(direction, alpha=size))
            yield
        return delta


def _pgd(to: Setting) -> Pgd:
    how = to.protocol
    return Pgd(to.threat, how.tau, steps=how.steps, restarts=how.restarts, random_start=False, box=to.box)


attacks.register("pgd", order=2)(
    AttackKind(
        plain="PGD",
        text="PGD-{steps} × {all_restarts}",
        short="PGD-{steps} × {restarts}",
        build=_pgd,
        verified={SPARSE_CODING: (40, 5)},
    )
)
