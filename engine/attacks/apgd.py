"""Auto-PGD: projected gradient descent that chooses its own steps."""

from __future__ import annotations

import math
from collections.abc import Generator
from typing import TYPE_CHECKING

from engine.attacks.base import Attack, AttackKind, Box, Classifier, Loss, Setting, Slices, attacks, differentiable
from engine.attacks.losses import cross_entropy, dlr_targeted, margins
from engine.attacks.threat import Threat
from engine.config.experiment import IMAGES, SPARSE_CODING
from engine.core.lazy_torch import torch

if TYPE_CHECKING:
    from torch import Tensor

MOMENTUM = 0.75  # share of the gradient step; the rest repeats the step before
PROGRESS = 0.75  # halve the step where fewer than this share of the steps since the last checkpoint did damage
TARGETS = 9  # wrong classes that the targeted attack tries


def checkpoints(steps: int) -> list[int]:
    """The steps after which the step size may be halved: ⌈p·steps⌉ for p = 0.22, 0.41, 0.57, …, ever denser."""
    shares = [0.0, 0.22]
    while shares[-1] < 1:
        shares.append(shares[-1] + max(shares[-1] - shares[-2] - 0.03, 0.06))
    return [math.ceil(share * steps - 1e-9) for share in shares[1:] if share < 1]


class Apgd(Attack):
    """Auto-PGD, Croce and Hein 2020 (arXiv 2003.01690, algorithm 1), on the loss −margin or on ``loss``.

    The cross-entropy of one logit is a falling function of its margin: on the theory's networks this is APGD-CE.

    Momentum, a first step of 2·tau, and a halving of the step size, sample by sample, where progress has stopped; the
    search then goes on from the best point so far. The first start is x itself, or a random point with
    ``random_start``; further restarts are always random, and leave out samples that are fooled already. A loss
    without gradient leaves the point where it is.

    Progress and the best point follow the loss. With ``loss`` (:mod:`engine.attacks.losses`) the model must be
    :class:`engine.attacks.base.Differentiable` (else ``TypeError``), and each step costs one forward and one backward
    pass. The point returned for a sample is then the one with the smallest margin if it was fooled on the way, else the
    one with the largest loss; the search ends early when the whole batch is fooled.

    Shape: x (n, ...), y (n,) → δ like x.

    Example::

        delta = Apgd(threats["l2"], 0.2, steps=100)(model, x, y, generator)
    """

    def __init__(
        self,
        threat: Threat,
        tau: float,
        *,
        steps: int,
        restarts: int = 1,
        random_start: bool = False,
        loss: Loss | None = None,
        box: Box | None = None,
    ) -> None:
        super().__init__(threat, tau, box=box)
        self.steps = steps
        self.restarts = restarts
        self.random_start = random_start
        self.loss = loss

    def run(self, model: Classifier, x: Tensor, y: Tensor, generator: torch.Generator) -> Slices:
        """One slice a gradient, each with one margin."""
        best, margin = torch.zeros_like(x), model.margin(x, y).clone()
        for restart in range(self.restarts):
            rows = (margin > 0).nonzero().squeeze(1) if restart else torch.arange(len(y), device=y.device)
            if not len(rows):
                break
            random = generator if restart or self.random_start else None
            yield from self._improve(model, x, y, rows, random, self.loss, best, margin)
        return best

    def _improve(
        self,
        model: Classifier,
        x: Tensor,
        y: Tensor,
        rows: Tensor,
        random: torch.Generator | None,
        loss: Loss | None,
        best: Tensor,
        margin: Tensor,
    ) -> Generator[None, None, None]:
        """Search once more for the samples ``rows``; overwrite ``best`` and ``margin`` where that did more damage."""
        x, y = x[rows], y[rows]
        delta = torch.zeros_like(x)
        if random is not None:
            self.clip(x, self.threat.start(delta, self.tau, random))
        found = yield from self._once(model, x, y, delta, loss)
        damage = model.margin(x + found, y)
        better = damage < margin[rows]
        best[rows[better]] = found[better]
        margin[rows[better]] = damage[better]

    def _once(self, model: Classifier, x: Tensor, y: Tensor, delta: Tensor, loss: Loss | None) -> Slices:
        column = (-1, *[1] * (x.dim() - 1))
        size = x.new_full((len(y),), 2 * self.tau)
        previous = delta.clone()
        value, margin, slope = _look(model, x + delta, y, loss)
        best, best_value, best_slope = delta, value, slope
        fooling, lowest = delta, margin
        successes = torch.zeros_like(size)
        halved = torch.zeros_like(size, dtype=torch.bool)
        at_checkpoint, last = best_value, 0
        marks = set(checkpoints(self.steps))
        for step in range(1, self.steps + 1):
            # Overwritten by the next step, and for a classifier without a loss of its own in the model's memory.
            ascent = model.input_gradient(x + delta, y) if slope is None else slope.clone()
            direction = self.threat.steepest(ascent).mul(size.view(column))
            target = self.feasible(x, direction.add_(delta))
            if step > 1:
                drift = (1 - MOMENTUM) * (delta - previous)
                target = self.feasible(x, delta + MOMENTUM * (target - delta) + drift)
            previous, delta = delta, target
            new, margin, slope = _look(model, x + delta, y, loss, slope=step < self.steps)
            successes += new > value
            better = new > best_value
            best = torch.where(better.view(column), delta, best)
            best_value = torch.where(better, new, best_value)
            value = new
            if slope is not None and best_slope is not None:
                best_slope = torch.where(better.view(column), slope, best_slope)
            if loss is not None:
                lower = margin < lowest
                fooling = torch.where(lower.view(column), delta, fooling)
                lowest = torch.where(lower, margin, lowest)
            yield
            if loss is not None and bool((lowest <= 0).all()):
                break
            if step in marks:
                stalled = successes < PROGRESS * (step - last)
                stalled |= ~halved & (best_value <= at_checkpoint)
                size = torch.where(stalled, size / 2, size)
                delta = torch.where(stalled.view(column), best, delta)
                previous = torch.where(stalled.view(column), best, previous)
                value = torch.where(stalled, best_value, value)
                if slope is not None and best_slope is not None:
                    slope = torch.where(stalled.view(column), best_slope, slope)
                halved, at_checkpoint, last = stalled, best_value, step
                successes.zero_()
        return best if loss is None else torch.where((lowest <= 0).view(column), fooling, best)


class ApgdTargeted(Apgd):
    """APGD-T of AutoAttack, Croce and Hein 2020 (arXiv 2003.01690): :class:`Apgd` on the targeted DLR loss.

    One random start of ``steps`` steps for each of the ``targets`` wrong classes (at most K − 1) that are most likely
    for x itself, the likeliest first; a sample that is fooled is left out of the classes that follow. Any wrong answer
    counts, not only the target.

    Shape: x (n, ...), y (n,) int64 → δ like x. ``TypeError`` for a model without K logits.

    Example::

        delta = ApgdTargeted(threats["l2"], 0.5, steps=100, box=(0.0, 1.0))(classifier, x, y, generator)
    """

    def __init__(
        self, threat: Threat, tau: float, *, steps: int, targets: int = TARGETS, box: Box | None = None
    ) -> None:
        super().__init__(threat, tau, steps=steps, random_start=True, box=box)
        self.targets = targets

    def run(self, model: Classifier, x: Tensor, y: Tensor, generator: torch.Generator) -> Slices:
        """One slice a gradient."""
        logits = differentiable(model).logits(x)
        wrong = logits.scatter(1, y.unsqueeze(1), -torch.inf)
        likely = wrong.topk(min(self.targets, logits.shape[1] - 1), dim=1).indices
        best, margin = torch.zeros_like(x), margins(logits, y)
        for target in likely.T:
            rows = (margin > 0).nonzero().squeeze(1)
            if not len(rows):
                break
            yield from self._improve(model, x, y, rows, generator, dlr_targeted(target[rows]), best, margin)
        return best


def _look(
    model: Classifier, point: Tensor, y: Tensor, loss: Loss | None, *, slope: bool = True
) -> tuple[Tensor, Tensor, Tensor | None]:
    """What is to be maximised (n,), the margin (n,), and, with ``slope``, its gradient if the same pass gives it."""
    if loss is None:
        margin = model.margin(point, y)
        return margin.neg(), margin, None
    network = differentiable(model)
    if not slope:
        logits = network.logits(point)
        return loss(logits, y), margins(logits, y), None
    value, logits, gradient = network.gradient(point, y, loss)
    return value, margins(logits, y), gradient


def _apgd(to: Setting) -> Apgd:
    return Apgd(to.threat, to.protocol.tau, steps=to.protocol.steps, restarts=to.protocol.restarts, box=to.box)


def _apgd_ce(to: Setting) -> Apgd:
    how = to.protocol
    return Apgd(
        to.threat, how.tau, steps=how.steps, restarts=how.restarts, random_start=True, loss=cross_entropy, box=to.box
    )


def _apgd_t(to: Setting) -> ApgdTargeted:
    return ApgdTargeted(to.threat, to.protocol.tau, steps=to.protocol.steps, targets=to.protocol.restarts, box=to.box)


attacks.register("apgd", order=3)(
    AttackKind(
        plain="APGD",
        text="APGD-{steps} × {all_restarts}",
        short="APGD-{steps} × {restarts}",
        build=_apgd,
        verified={SPARSE_CODING: (100, 1)},
    )
)
attacks.register("apgd_ce", order=4)(
    AttackKind(
        plain="APGD-CE",
        text="APGD-CE, {all_steps} × {all_restarts}",
        short="APGD-CE-{steps} × {restarts}",
        build=_apgd_ce,
        kinds=(IMAGES,),
        verified={IMAGES: (100, 1)},
    )
)
attacks.register("apgd_t", order=5)(
    AttackKind(
        plain="APGD-T",
        text="APGD-T (targeted DLR, {all_restarts}), {all_steps}",
        short="APGD-T-{steps} × {restarts}",
        outcome="after APGD-T, too",
        unit="target",
        build=_apgd_t,
        kinds=(IMAGES,),
        size=lambda steps, restarts: (steps, TARGETS),
        verified={IMAGES: (100, TARGETS)},
    )
)
