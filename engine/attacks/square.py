"""A random search that never looks at a gradient."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.attacks.base import Attack, AttackKind, Box, Classifier, Setting, Slices, attacks
from engine.attacks.threat import TINY, Threat
from engine.config.experiment import IMAGES, SPARSE_CODING
from engine.core.lazy_torch import torch

if TYPE_CHECKING:
    from torch import Tensor

QUERIES = 1000  # of an evaluation that says no other number
SHARE = 0.8  # share of the coordinates that the first proposals change
HALVINGS = (0.001, 0.005, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8)  # of the queries: there the share is halved
FRESH = 0.5  # ℓ2: how much of a random direction is added to the direction that a set of coordinates has
LEAST = 4  # ℓ2: coordinates changed at least; one alone has nothing to exchange its share with
LEAST_SIDE = 3  # pictures, ℓ2: the least side of a window, two halves of opposite sign
TILES = 5  # pictures, ℓ2: the first perturbation has about so many tiles along the shorter side


class Square(Attack):
    """Square Attack, Andriushchenko et al. 2020 (arXiv 1912.00049), for vectors: ``queries`` margins, no gradient.

    A proposal changes a set of coordinates, ever fewer, and is kept where the margin falls; fooled samples are left
    alone. R^d has no neighbourhoods, so a set of coordinates drawn at random stands in the place of the square window.
    For ℓ∞ its coordinates become ±tau at random, as in the paper. The paper's ℓ2 windows, too, are made for pictures;
    here the share of tau² that the set holds, and what is not spent yet, is spread over it in a new direction: the old
    one and a random one, mixed. For pictures there is :class:`SquareImages`.

    Shape: x (n, ...), y (n,) → δ like x.

    Example::

        delta = Square(threats["linf"], 0.05, queries=500)(model, x, y, generator)
    """

    def __init__(self, threat: Threat, tau: float, *, queries: int, box: Box | None = None) -> None:
        super().__init__(threat, tau, box=box)
        self.queries = queries

    def run(self, model: Classifier, x: Tensor, y: Tensor, generator: torch.Generator) -> Slices:
        """One slice a query."""
        best = self.clip(x, self._first(x, generator))
        margin = model.margin(x + best, y).clone()
        worse = margin > (here := model.margin(x, y))
        best[worse] = 0.0  # a start that helps the defender is none
        margin = torch.minimum(margin, here)
        yield
        for query in range(1, self.queries):
            rows = (margin > 0).nonzero().squeeze(1)
            if not len(rows):
                break
            share = SHARE / 2 ** sum(query >= part * self.queries for part in HALVINGS)
            tried = x[rows]
            delta = self.clip(tried, self._propose(tried, best[rows], share, generator))
            new = model.margin(tried + delta, y[rows])
            better = new < margin[rows]
            best[rows[better]] = delta[better]
            margin[rows[better]] = new[better]
            yield
        return best

    def _first(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """A random point of the boundary, like x: a corner for ℓ∞, a direction for ℓ2."""
        return self.threat.steepest(torch.empty_like(x).normal_(0, 1, generator=generator)).mul_(self.tau)

    def _propose(self, x: Tensor, delta: Tensor, share: float, generator: torch.Generator) -> Tensor:
        """``delta`` (n, ...), like x, with ``share`` of the coordinates of each row changed."""
        shape, delta = delta.shape, delta.flatten(1)
        least = LEAST if self.threat.norm == "l2" else 1
        count = min(delta.shape[1], max(least, round(share * delta.shape[1])))
        draw = torch.empty_like(delta)
        chosen = draw.uniform_(0, 1, generator=generator).topk(count, dim=1).indices
        fresh = delta.new_empty(chosen.shape).normal_(0, 1, generator=generator)
        if self.threat.norm == "linf":
            return delta.scatter(1, chosen, fresh.sign_().mul_(self.tau)).view(shape)
        old, emptied = delta.gather(1, chosen), delta.scatter(1, chosen, 0.0)
        budget = (self.tau**2 - emptied.square().sum(1, keepdim=True)).clamp_min_(0).sqrt_()
        mixed = _unit(old).add_(_unit(fresh), alpha=FRESH)
        return emptied.scatter(1, chosen, _unit(mixed).mul_(budget)).view(shape)


class SquareImages(Square):
    """Square Attack as Andriushchenko et al. 2020 (arXiv 1912.00049) made it for pictures, ℓ∞ and ℓ2.

    The windows of a proposal are squares at random places, each sample its own, and cover a share of the picture that
    starts at 0.8 and is halved on the paper's schedule, rescaled to ``queries``. Progress is a smaller margin.

    - ℓ∞ (algorithm 2): the start is vertical stripes of ±tau; a proposal sets a window to ±tau, one sign a channel.
      Where that changes nothing the opposite signs are tried, so that no query is wasted.
    - ℓ2 (algorithm 3): the start is a grid of profiles η: squares whose halves, of opposite sign, fall off from their
      centres. A proposal empties one window and adds an η, one sign a channel, to the direction that δ has in another;
      there it spends what both windows held of tau², and what was not spent yet.

    Shape: x (n, C, H, W), y (n,) → δ like x.

    Example::

        delta = SquareImages(threats["linf"], 8 / 255, queries=1000, box=(0.0, 1.0))(classifier, x, y, generator)
    """

    def _first(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Stripes for ℓ∞, a grid of tiles for ℓ2: like x."""
        n, channels, height, width = x.shape
        if self.threat.norm == "linf":
            return torch.empty_like(x).copy_(_signs((n, channels, 1, width), x, generator).mul_(self.tau))
        side = max(1, min(height, width) // TILES)
        down, across = height // side, width // side
        tile = _profile(side, x)
        turned = _signs((n, 1, down, 1, across, 1), x, generator) > 0
        signs = _signs((n, channels, down, 1, across, 1), x, generator)
        tiles = torch.where(turned, tile.T[:, None, :], tile[:, None, :]) * signs
        delta = torch.zeros_like(x)
        top, left = (height - down * side) // 2, (width - across * side) // 2
        grid = tiles.reshape(n, channels, down * side, across * side)
        delta[:, :, top : top + down * side, left : left + across * side] = grid
        return self.threat.steepest(delta).mul_(self.tau)

    def _propose(self, x: Tensor, delta: Tensor, share: float, generator: torch.Generator) -> Tensor:
        """``delta`` (n, C, H, W) with one window of each sample changed, for ℓ2 with two."""
        n, channels, height, width = x.shape
        side = min(height, width, max(1, round((share * height * width) ** 0.5)))
        signs = _signs((n, channels, 1, 1), x, generator)
        if self.threat.norm == "linf":
            window, _ = self._window(x, side, generator)
            proposal = self.clip(x, torch.where(window, signs * self.tau, delta))
            opposite = self.clip(x, torch.where(window, -signs * self.tau, delta))
            idle = (proposal == delta).flatten(1).all(1)
            return torch.where(idle.view(-1, 1, 1, 1), opposite, proposal)
        side = min(height, width, max(LEAST_SIDE, side + (side + 1) % 2))
        window, profile = self._window(x, side, generator)
        emptied, _ = self._window(x, side, generator)
        inside = delta * window
        mixed = inside / _size(inside, (2, 3)) + signs * profile
        unspent = (self.tau**2 - delta.square().sum((1, 2, 3), keepdim=True)).clamp_min_(0) / channels
        spend = ((delta * (window | emptied)).square().sum((2, 3), keepdim=True) + unspent).sqrt_()
        proposal = torch.where(window, mixed * (spend / _size(mixed, (2, 3))), delta * ~emptied)
        return self.feasible(x, proposal)

    def _window(self, x: Tensor, side: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """A square at a random place of each picture (n, 1, H, W) bool, and η in it, half the times turned, else 0."""
        n, _, height, width = x.shape
        top, left = (
            torch.randint(0, length - side + 1, (n, 1), generator=generator, device=x.device)
            for length in (height, width)
        )
        row = torch.arange(height, device=x.device) - top
        column = torch.arange(width, device=x.device) - left
        inside = ((row >= 0) & (row < side)).unsqueeze(2) & ((column >= 0) & (column < side)).unsqueeze(1)
        if self.threat.norm == "linf":
            return inside.unsqueeze(1), inside.unsqueeze(1)
        turned = _signs((n, 1, 1), x, generator) > 0
        row, column = row.clamp(0, side - 1).unsqueeze(2), column.clamp(0, side - 1).unsqueeze(1)
        tile = _profile(side, x)
        placed = torch.where(turned, tile[column, row], tile[row, column]) * inside
        return inside.unsqueeze(1), placed.unsqueeze(1)


def _profile(side: int, like: Tensor) -> Tensor:
    """η of the paper's section 3.3 (side, side), of ℓ2 norm 1: an upper half and, of opposite sign, a lower half.

    In each half the value at Chebyshev distance k from its centre is Σ_{j>k} 1/j², up to the largest distance there is.
    """
    halves = []
    for sign, height in ((1.0, side // 2), (-1.0, side - side // 2)):
        row = (torch.arange(height, device=like.device) - height // 2).abs().unsqueeze(1)
        column = (torch.arange(side, device=like.device) - side // 2).abs().unsqueeze(0)
        reach = max(height // 2, side // 2)
        # tail[k] = Σ_{j=k+1}^{reach+1} 1/j²
        terms = torch.arange(1, reach + 2, device=like.device, dtype=like.dtype).square().reciprocal()
        tail = terms.flip(0).cumsum(0).flip(0)
        half = tail[torch.maximum(row, column)]
        halves.append(half * (sign / _size(half, (0, 1))))
    both = torch.cat(halves)
    return both / _size(both, (0, 1))


def _signs(shape: tuple[int, ...], like: Tensor, generator: torch.Generator) -> Tensor:
    """Independent ±1 of the type of ``like``."""
    coins = torch.randint(0, 2, shape, generator=generator, device=like.device)
    return coins.to(like.dtype).mul_(2).sub_(1)


def _size(values: Tensor, dims: tuple[int, ...]) -> Tensor:
    size: Tensor = torch.linalg.vector_norm(values, dim=dims, keepdim=True)
    return size.clamp_min_(TINY)


def _unit(rows: Tensor) -> Tensor:
    size: Tensor = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    return rows / size.clamp_min_(TINY)


def _square(to: Setting) -> Square:
    return (Square if to.box is None else SquareImages)(
        to.threat, to.protocol.tau, queries=to.protocol.steps, box=to.box
    )


attacks.register("square", order=6)(
    AttackKind(
        plain="Square",
        text="Square ({steps} queries, no gradient)",
        short="Square-{steps}",
        effort="Square ({steps} queries)",
        build=_square,
        size=lambda steps, restarts: (QUERIES, 1),
        verified={SPARSE_CODING: (500, 1), IMAGES: (QUERIES, 1)},
        black_box=True,
    )
)
