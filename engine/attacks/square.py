"""A random search that never looks at a gradient."""

from __future__ import annotations

import torch
from torch import Tensor

from engine.attacks.base import Attack, Classifier, Slices
from engine.threat import TINY, Threat

SHARE = 0.8  # share of the coordinates that the first proposals change
HALVINGS = (0.001, 0.005, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8)  # of the queries: there the share is halved
FRESH = 0.5  # ℓ2: how much of a random direction is added to the direction that a set of coordinates has
LEAST = 4  # ℓ2: coordinates changed at least; one alone has nothing to exchange its share with


class Square(Attack):
    """Square Attack, Andriushchenko et al. 2020 (arXiv 1912.00049), for vectors: ``queries`` margins, no gradient.

    A proposal changes a set of coordinates, ever fewer, and is kept where the margin falls; fooled samples are left
    alone. R^d has no neighbourhoods, so a set of coordinates drawn at random stands in the place of the square window.
    For ℓ∞ its coordinates become ±tau at random, as in the paper. The paper's ℓ2 windows, too, are made for pictures;
    here the share of tau² that the set holds, and what is not spent yet, is spread over it in a new direction: the old
    one and a random one, mixed.

    Shape: x (n, ...), y (n,) → δ like x.

    Example::

        delta = Square(threats["linf"], 0.05, queries=500)(model, x, y, generator)
    """

    def __init__(self, threat: Threat, tau: float, *, queries: int) -> None:
        super().__init__(threat, tau)
        self.queries = queries

    def run(self, model: Classifier, x: Tensor, y: Tensor, generator: torch.Generator) -> Slices:
        """One slice a query."""
        flat = x.flatten(1)
        best = self._first(flat, generator)
        margin = model.margin((flat + best).view_as(x), y).clone()
        worse = margin > (here := model.margin(x, y))
        best[worse] = 0.0  # a start that helps the defender is none
        margin = torch.minimum(margin, here)
        yield
        for query in range(1, self.queries):
            rows = (margin > 0).nonzero().squeeze(1)
            if not len(rows):
                break
            share = SHARE / 2 ** sum(query >= part * self.queries for part in HALVINGS)
            least = LEAST if self.threat.norm == "l2" else 1
            count = min(flat.shape[1], max(least, round(share * flat.shape[1])))
            delta = self._propose(best[rows], count, generator)
            new = model.margin((flat[rows] + delta).view(-1, *x.shape[1:]), y[rows])
            better = new < margin[rows]
            best[rows[better]] = delta[better]
            margin[rows[better]] = new[better]
            yield
        return best.view_as(x)

    def _first(self, like: Tensor, generator: torch.Generator) -> Tensor:
        """A random point of the boundary: a corner for ℓ∞, a direction for ℓ2."""
        delta = torch.empty_like(like).normal_(0, 1, generator=generator)
        return self.threat.steepest(delta).mul_(self.tau)

    def _propose(self, delta: Tensor, count: int, generator: torch.Generator) -> Tensor:
        """``delta`` (n, d) with ``count`` coordinates of each row changed."""
        draw = torch.empty_like(delta)
        chosen = draw.uniform_(0, 1, generator=generator).topk(count, dim=1).indices
        fresh = delta.new_empty(chosen.shape).normal_(0, 1, generator=generator)
        if self.threat.norm == "linf":
            return delta.scatter(1, chosen, fresh.sign_().mul_(self.tau))
        old, emptied = delta.gather(1, chosen), delta.scatter(1, chosen, 0.0)
        budget = (self.tau**2 - emptied.square().sum(1, keepdim=True)).clamp_min_(0).sqrt_()
        mixed = _unit(old).add_(_unit(fresh), alpha=FRESH)
        return emptied.scatter(1, chosen, _unit(mixed).mul_(budget))


def _unit(rows: Tensor) -> Tensor:
    size: Tensor = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    return rows / size.clamp_min_(TINY)
