"""APGD and Square; what holds for every attack, and what each promises beyond that."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
import torch
from torch import Tensor

from engine.attacks.apgd import Apgd, checkpoints
from engine.attacks.base import Attack
from engine.attacks.pgd import Pgd
from engine.attacks.square import Square
from engine.attacks.threat import Threat, threats
from engine.core.measurement import Measurement
from engine.models.symmetric_relu import SymmetricRelu
from engine.probes import robustness

D, N = 12, 150

# One row an attack.
ATTACKS: dict[str, Callable[[Threat, float], Attack]] = {
    "apgd": lambda threat, tau: Apgd(threat, tau, steps=20),
    "apgd restarts": lambda threat, tau: Apgd(threat, tau, steps=10, restarts=3),
    "apgd random": lambda threat, tau: Apgd(threat, tau, steps=20, random_start=True),
    "square": lambda threat, tau: Square(threat, tau, queries=100),
}
every_attack = pytest.mark.parametrize("build", ATTACKS.values(), ids=ATTACKS)
every_norm = pytest.mark.parametrize("norm", ["l2", "linf"])


@dataclass
class Linear:
    """f(x) = <w, x> + c, counting what is asked of it."""

    w: Tensor
    c: float = 0.0
    margins: list[int] = field(default_factory=list)

    def margin(self, x: Tensor, y: Tensor) -> Tensor:
        self.margins.append(len(x))
        return (x.flatten(1) @ self.w + self.c) * y

    def input_gradient(self, x: Tensor, y: Tensor) -> Tensor:
        return (-y.unsqueeze(1) * self.w).view_as(x)


class Blind(Linear):
    """No gradient to be had."""

    def input_gradient(self, x: Tensor, y: Tensor) -> Tensor:
        raise AssertionError("looked at a gradient")


class Flat(Linear):
    """A gradient that is zero everywhere."""

    def input_gradient(self, x: Tensor, y: Tensor) -> Tensor:
        return torch.zeros_like(x)


def seed(value: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(value)


@pytest.fixture
def batch() -> tuple[Tensor, Tensor]:
    g = seed(4)
    return torch.randn(N, D, generator=g), torch.randint(0, 2, (N,), generator=g).float() * 2 - 1


@pytest.fixture
def model() -> SymmetricRelu:
    return SymmetricRelu(torch.randn(30, D, generator=seed(5)), 0.3)


@every_norm
@every_attack
def test_inside_the_ball_deterministic_in_slices_and_harmless(
    build: Callable[[Threat, float], Attack], norm: str, batch: tuple[Tensor, Tensor], model: SymmetricRelu
) -> None:
    x, _ = batch
    y = model.logits(x).sign()
    before = x.clone(), y.clone(), model.weight.clone()
    delta = build(threats[norm], 0.1)(model, x, y, seed()).clone()
    assert delta.shape == x.shape
    assert (threats[norm].size(delta) <= 0.1 * (1 + 1e-6)).all()
    assert (model.margin(x + delta, y) <= model.margin(x, y).clone() + 1e-5).all()
    assert float(model.margin(x + delta, y).mean()) < float(model.margin(x, y).mean()) - 0.05
    assert all(torch.equal(a, b) for a, b in zip(before, (x, y, model.weight), strict=True))
    slices = build(threats[norm], 0.1).slices(model, x, y, seed())
    count = 0
    while True:
        try:
            next(slices)
        except StopIteration as stop:
            found = stop.value
            break
        count += 1
    assert torch.equal(found, delta)
    assert count >= 20
    given_up = build(threats[norm], 0.1).slices(model, x, y, seed())
    next(given_up)
    given_up.close()


@every_norm
@every_attack
def test_no_radius_no_perturbation(
    build: Callable[[Threat, float], Attack], norm: str, batch: tuple[Tensor, Tensor], model: SymmetricRelu
) -> None:
    assert torch.equal(build(threats[norm], 0.0)(model, *batch, seed()), torch.zeros(N, D))


@every_norm
@every_attack
def test_pictures_keep_their_shape(build: Callable[[Threat, float], Attack], norm: str) -> None:
    x, y = torch.randn(6, 3, 2, 2, generator=seed(1)), torch.ones(6)
    delta = build(threats[norm], 0.3)(Linear(torch.ones(12)), x, y, seed())
    assert delta.shape == x.shape
    assert (threats[norm].size(delta) <= 0.3 * (1 + 1e-6)).all()


@every_norm
def test_apgd_finds_the_optimum_of_a_linear_classifier(norm: str, batch: tuple[Tensor, Tensor]) -> None:
    x, y = batch
    model = Linear(torch.randn(D, generator=seed(8)))
    damage = model.margin(x, y) - model.margin(x + Apgd(threats[norm], 0.3, steps=10)(model, x, y, seed()), y)
    best = 0.3 * float(model.w.norm() if norm == "l2" else model.w.abs().sum())
    assert damage == pytest.approx(torch.full((N,), best).numpy(), abs=1e-4)


@every_norm
def test_apgd_is_not_weaker_than_pgd_with_the_same_budget(
    norm: str, batch: tuple[Tensor, Tensor], model: SymmetricRelu
) -> None:
    x, _ = batch
    y, threat = model.logits(x).sign(), threats[norm]
    for tau in (0.1, 0.3, 0.8) if norm == "l2" else (0.03, 0.1, 0.3):
        pgd = model.margin(x + Pgd(threat, tau, steps=40, random_start=False)(model, x, y, seed()), y).clone()
        apgd = model.margin(x + Apgd(threat, tau, steps=40)(model, x, y, seed()), y).clone()
        assert float(apgd.mean()) <= float(pgd.mean()) + 1e-3
        assert int((apgd > 0).sum()) <= int((pgd > 0).sum()) + 2


def test_apgd_checkpoints() -> None:
    """Croce and Hein 2020, section 3: p = 0, 0.22, 0.41, 0.57, 0.70, 0.80, 0.87, 0.93, 0.99."""
    assert checkpoints(10_000) == [2200, 4100, 5700, 7000, 8000, 8700, 9300, 9900]
    assert checkpoints(100) == [22, 41, 57, 70, 80, 87, 93, 99]
    assert checkpoints(1) == [1] * 8


@every_norm
def test_apgd_without_a_gradient_stays_and_restarts_help(norm: str, batch: tuple[Tensor, Tensor]) -> None:
    x, y = batch
    flat = Flat(torch.randn(D, generator=seed(8)))
    delta = Apgd(threats[norm], 0.3, steps=20)(flat, x, y, seed())
    assert torch.equal(delta, torch.zeros_like(x))
    restarted = Apgd(threats[norm], 0.3, steps=5, restarts=4)(flat, x, y, seed())
    assert torch.isfinite(restarted).all()
    assert (flat.margin(x + restarted, y) <= flat.margin(x, y)).all()
    assert float(flat.margin(x + restarted, y).mean()) < float(flat.margin(x, y).mean())
    silent = SymmetricRelu(torch.randn(20, D, generator=seed(3)) * 1e-3, 5.0)  # no neuron is active: f = 0
    assert torch.isfinite(Apgd(threats[norm], 0.3, steps=10)(silent, x, y, seed())).all()


@every_norm
def test_square_never_looks_at_a_gradient_and_nears_the_optimum(norm: str, batch: tuple[Tensor, Tensor]) -> None:
    x, y = batch
    model = Blind(torch.randn(D, generator=seed(8)), 0.0)
    x = x + 5 * y.unsqueeze(1) * model.w / model.w.norm() ** 2  # right by far: nobody is fooled and left alone
    x = x[model.margin(x, y) > 2][:50]
    y = torch.sign(x @ model.w)
    best = 0.3 * float(model.w.norm() if norm == "l2" else model.w.abs().sum())
    delta = Square(threats[norm], 0.3, queries=600)(model, x, y, seed())
    damage = model.margin(x, y) - model.margin(x + delta, y)
    assert float(damage.min()) >= 0.85 * best
    assert float(damage.max()) <= best + 1e-4
    few = Square(threats[norm], 0.3, queries=20)(model, x, y, seed())
    assert float(model.margin(x + few, y).mean()) > float(model.margin(x + delta, y).mean())


@every_norm
def test_square_keeps_to_its_queries_and_leaves_fooled_samples_alone(norm: str, batch: tuple[Tensor, Tensor]) -> None:
    x, y = batch
    model = Blind(torch.randn(D, generator=seed(8)))
    Square(threats[norm], 0.3, queries=30)(model, x, y, seed())
    assert len(model.margins) <= 31  # and one at x itself
    assert model.margins[-1] < N
    wrong = Blind(model.w)
    Square(threats[norm], 0.3, queries=30)(wrong, x, -torch.sign(x @ model.w), seed())
    assert len(wrong.margins) == 2


@pytest.mark.parametrize("attack", ["apgd", "square"])
def test_named_by_a_protocol(attack: str, batch: tuple[Tensor, Tensor], model: SymmetricRelu) -> None:
    protocol = Measurement(attack, "l2", 0.3, 15, 2, N)
    built = robustness.build(protocol, None)
    assert isinstance(built, Apgd if attack == "apgd" else Square)
    assert {"apgd": "APGD-15 × 2 restarts", "square": "Square (15 queries, no gradient)"}[attack] in protocol.text()
