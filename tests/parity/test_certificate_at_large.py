"""The certificate is never above an attack: a million samples of networks drawn at random (``make verify``).

Dimension, width, bias, scale, norm and radius are drawn, and how pure the neurons are: from one feature each to dense
mixtures that dominate, or no structure at all. Each sample has a radius near the distance at which it is lost.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import pytest
import torch
from torch import Tensor

from engine.attacks.base import Attack
from engine.attacks.fgm import Fgm
from engine.attacks.pgd import Pgd
from engine.attacks.threat import Threat, threats
from engine.core.slices import finish
from engine.models.symmetric_relu import SymmetricRelu
from engine.probes import certificate

GROUPS, GROUP = 4, 500  # of samples of one network, each group with a radius of its own
WIDEST = 24  # dimensions of almost all networks: an eigenvalue problem a sample is what costs
RARELY = 40  # one network in so many is up to six times as wide, with fewer samples


@dataclass
class Tally:
    """What became of the samples: ``right`` of ``drawn`` without attack, of them ``certified`` and ``broken``."""

    drawn: int = 0
    right: int = 0
    certified: int = 0
    broken: int = 0
    contradicted: int = 0  # certified and broken
    above: int = 0  # bounds above the smallest margin found by more than float64 rounds

    def add(self, other: Tally) -> None:
        for each in fields(self):
            setattr(self, each.name, getattr(self, each.name) + getattr(other, each.name))


class Draw:
    """Random choices of one network; all depend on its number alone."""

    def __init__(self, number: int) -> None:
        self.g = torch.Generator().manual_seed(number)

    def uniform(self, low: float, high: float) -> float:
        return low + (high - low) * float(torch.rand((), generator=self.g, dtype=torch.float64))

    def log_uniform(self, low: float, high: float) -> float:
        return math.exp(self.uniform(math.log(low), math.log(high)))

    def whole(self, low: int, high: int) -> int:
        return round(self.log_uniform(low, high))

    def of(self, *choices: str) -> str:
        return choices[int(torch.randint(len(choices), (), generator=self.g))]

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(*shape, generator=self.g, dtype=torch.float64)

    def orthogonal(self, d: int) -> Tensor:
        return torch.linalg.qr(self.normal(d, d))[0]

    def network(self, m: int, d: int) -> Tensor:
        """Weights (m, d), the norms of their rows about 1."""
        kind = self.of("pure", "mixed", "dense", "shapeless")
        if kind == "shapeless":
            return self.normal(m, d) / math.sqrt(d)
        signs = self.normal(d).sign()  # w_star
        features = self.orthogonal(d) * signs.unsqueeze(1)
        owned = torch.randint(d, (m,), generator=self.g)
        size = {"pure": 0.0, "mixed": self.uniform(0, 1), "dense": self.uniform(1, 4)}[kind]
        amounts = size * (1 + 0.5 * self.normal(m, 1))
        dense = features.sum(0, keepdim=True) / math.sqrt(d)
        weight = features[owned] + amounts * dense + self.uniform(0, 0.3) * self.normal(m, d) / math.sqrt(d)
        weight *= self.log_uniform(0.3, 1) ** self.normal(m, 1)  # unequal neurons
        if self.uniform(0, 1) < 0.3:
            weight[torch.rand(m, generator=self.g) < 0.2] = 0.0  # dead ones
        return weight

    def samples(self, n: int, weight: Tensor, bias: float) -> Tensor:
        """(n, d): dense, or sparse with noise; of a size at which many neurons are near the bend at ``bias``."""
        x = self.normal(n, weight.shape[1])
        if self.uniform(0, 1) < 0.5:
            x = x * (torch.rand(x.shape, generator=self.g) < self.uniform(0.1, 0.5)) + 0.1 * self.normal(*x.shape)
        typical = float((x @ weight.T).abs().mean()) or 1.0
        return x * ((bias or 1.0) * self.log_uniform(0.5, 5) / typical)


def distances(model: SymmetricRelu, x: Tensor, y: Tensor, norm: str) -> Tensor:
    """How far the nearest wrong point would be if the network were linear: (n,)."""
    slope = torch.linalg.vector_norm(model.input_gradient(x, y), ord=2 if norm == "l2" else 1, dim=1)
    return model.margin(x, y) / slope.clamp_min(1e-9)


def smallest_margin(model: SymmetricRelu, x: Tensor, y: Tensor, threat: Threat, tau: float, number: int) -> Tensor:
    """Of x itself and what FGM and PGD make of it: (n,)."""
    attacks: tuple[Attack, ...] = (
        Fgm(threat, tau),
        Pgd(threat, tau, steps=8, random_start=False),
        Pgd(threat, tau, steps=5, random_start=True),
    )
    found = [model.margin(x, y)]
    for attack in attacks:
        delta = attack(model, x, y, torch.Generator().manual_seed(number))
        assert float(threat.size(delta).max()) <= tau * (1 + 1e-9)
        found.append(model.margin(x + delta, y))
    return torch.stack(found).amin(0)


def one_network(number: int) -> Tally:
    draw = Draw(number)
    rare = number % RARELY == RARELY - 1
    d, group = (draw.whole(WIDEST, 6 * WIDEST), GROUP // 20) if rare else (draw.whole(2, WIDEST), GROUP)
    bias = 0.0 if draw.uniform(0, 1) < 0.1 else draw.log_uniform(0.01, 1)
    norm = draw.of("l2", "l2", "linf")
    weight = draw.network(draw.whole(1, 4 * d), d) * draw.log_uniform(0.1, 10)
    model = SymmetricRelu(weight, bias)
    x = draw.samples(GROUPS * group, weight, bias)
    y = torch.where(model.logits(x) >= 0, 1.0, -1.0).double()
    y[::50] *= -1  # some are wrong as they are
    order = distances(model, x, y, norm).argsort()
    tally = Tally()
    for rows in order.split(group):
        bx, by = x[rows], y[rows]
        reach = float(distances(model, bx, by, norm).median())
        tau = draw.uniform(0.1, 1.2) * reach if reach > 0 else draw.log_uniform(1e-3, 1)
        bound = finish(certificate.bounds(weight, bias, bx, by, tau, norm))
        worst = smallest_margin(model, bx, by, threats[norm], tau, number)
        right = model.margin(bx, by) > 0
        broken = right & (worst <= 0)
        tally.add(
            Tally(
                drawn=len(rows), right=int(right.sum()), certified=int(bound.certified.sum()), broken=int(broken.sum()),
                contradicted=int((bound.certified & (worst <= 0)).sum()),
                above=int((bound.best > worst + 1e-9 * (1 + bound.scale)).sum()),
            )
        )  # fmt: skip
    return tally


def search(samples: int) -> Tally:
    total, number = Tally(), 0
    while total.drawn < samples:
        total.add(one_network(number))
        number += 1
    print(f"{number} networks: {total}")  # noqa: T201 - shown by pytest -s
    return total


def assert_sound(found: Tally) -> None:
    assert (found.contradicted, found.above) == (0, 0)
    assert found.right > 0.7 * found.drawn
    assert found.certified > 0.2 * found.right  # both happen often: the test is not about nothing
    assert found.broken > 0.1 * found.right
    assert found.certified + found.broken <= found.right


@pytest.mark.timeout(60)
def test_a_few_networks() -> None:
    assert_sound(search(20_000))


@pytest.mark.verify
@pytest.mark.timeout(3000)
def test_a_million_samples(at_length: None) -> None:
    torch.set_num_threads(2)
    assert_sound(search(1_000_000))
