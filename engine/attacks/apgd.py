"""Auto-PGD: projected gradient descent that chooses its own steps."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from engine.attacks.base import Attack, Classifier, Slices
from engine.threat import Threat

MOMENTUM = 0.75  # share of the gradient step; the rest repeats the step before
PROGRESS = 0.75  # halve the step where fewer than this share of the steps since the last checkpoint did damage


def checkpoints(steps: int) -> list[int]:
    """The steps after which the step size may be halved: ⌈p·steps⌉ for p = 0.22, 0.41, 0.57, …, ever denser."""
    shares = [0.0, 0.22]
    while shares[-1] < 1:
        shares.append(shares[-1] + max(shares[-1] - shares[-2] - 0.03, 0.06))
    return [math.ceil(share * steps - 1e-9) for share in shares[1:] if share < 1]


class Apgd(Attack):
    """Auto-PGD, Croce and Hein 2020 (arXiv 2003.01690, algorithm 1), on the loss −margin.

    Momentum, a first step of 2·tau, and a halving of the step size, sample by sample, where progress has stopped; the
    search then goes on from the best point so far. The first start is x itself, or a random point with
    ``random_start``; further restarts are always random, and leave out samples that are fooled already. A margin
    without gradient leaves the point where it is.

    Shape: x (n, ...), y (n,) → δ like x.

    Example::

        delta = Apgd(threats["l2"], 0.2, steps=100)(model, x, y, generator)
    """

    def __init__(
        self, threat: Threat, tau: float, *, steps: int, restarts: int = 1, random_start: bool = False
    ) -> None:
        super().__init__(threat, tau)
        self.steps = steps
        self.restarts = restarts
        self.random_start = random_start

    def run(self, model: Classifier, x: Tensor, y: Tensor, generator: torch.Generator) -> Slices:
        """One slice a gradient, each with one margin."""
        best, margin = torch.zeros_like(x), model.margin(x, y).clone()
        for restart in range(self.restarts):
            rows = (margin > 0).nonzero().squeeze(1) if restart else torch.arange(len(y), device=y.device)
            if not len(rows):
                break
            delta = torch.zeros_like(x[rows])
            if restart or self.random_start:
                self.threat.start(delta, self.tau, generator)
            found = yield from self._once(model, x[rows], y[rows], delta)
            damage = model.margin(x[rows] + found, y[rows])
            better = damage < margin[rows]
            best[rows[better]] = found[better]
            margin[rows[better]] = damage[better]
        return best

    def _once(self, model: Classifier, x: Tensor, y: Tensor, delta: Tensor) -> Slices:
        threat, tau = self.threat, self.tau
        column = (-1, *[1] * (x.dim() - 1))
        size = x.new_full((len(y),), 2 * tau)
        previous = delta.clone()
        best, best_margin = delta.clone(), model.margin(x + delta, y).clone()
        margin = best_margin.clone()
        successes = torch.zeros_like(size)
        halved = torch.zeros_like(size, dtype=torch.bool)
        at_checkpoint, last = best_margin.clone(), 0
        marks = set(checkpoints(self.steps))
        for step in range(1, self.steps + 1):
            direction = threat.steepest(model.ascent(x + delta, y)).mul(size.view(column))
            target = threat.project(direction.add_(delta), tau)
            if step > 1:
                target = threat.project(delta + MOMENTUM * (target - delta) + (1 - MOMENTUM) * (delta - previous), tau)
            previous, delta = delta, target
            new = model.margin(x + delta, y)
            successes += new < margin
            better = new < best_margin
            best[better] = delta[better]
            best_margin = torch.minimum(best_margin, new)
            margin = new.clone()
            yield
            if step in marks:
                stalled = successes < PROGRESS * (step - last)
                stalled |= ~halved & (best_margin >= at_checkpoint)
                size = torch.where(stalled, size / 2, size)
                delta = torch.where(stalled.view(column), best, delta)
                previous = torch.where(stalled.view(column), best, previous)
                margin = torch.where(stalled, best_margin, margin)
                halved, at_checkpoint, last = stalled, best_margin.clone(), step
                successes.zero_()
        return best
