from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from engine.attacks.base import Attack
from engine.attacks.dense import DenseDirection
from engine.attacks.fgm import Fgm
from engine.attacks.pgd import Pgd
from engine.attacks.threat import Threat, threats
from engine.core.slices import finish
from engine.models.symmetric_relu import NoisyRelu, SymmetricRelu

D, N = 12, 200
DIRECTION = torch.nn.functional.normalize(torch.randn(D, generator=torch.Generator().manual_seed(9)), dim=0)

# One row an attack.
ATTACKS: dict[str, Callable[[Threat, float], Attack]] = {
    "fgm": Fgm,
    "pgd from x": lambda threat, tau: Pgd(threat, tau, steps=7, random_start=False),
    "pgd": lambda threat, tau: Pgd(threat, tau, steps=7),
    "pgd restarts": lambda threat, tau: Pgd(threat, tau, steps=5, restarts=3),
    "pgd restarts, all rows": lambda threat, tau: Pgd(threat, tau, steps=5, restarts=3, skip_fooled=False),
    "dense": lambda threat, tau: DenseDirection(threat, tau, DIRECTION),
}
every_attack = pytest.mark.parametrize("build", ATTACKS.values(), ids=ATTACKS)
every_norm = pytest.mark.parametrize("norm", ["l2", "linf"])


@dataclass
class Linear:
    """f(x) = <w, x> + c: what no attack can do better than is known."""

    w: Tensor
    c: float = 0.0

    def margin(self, x: Tensor, y: Tensor) -> Tensor:
        return (x @ self.w + self.c) * y

    def input_gradient(self, x: Tensor, y: Tensor) -> Tensor:
        return -y.unsqueeze(1) * self.w


@pytest.fixture
def batch() -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(4)
    return torch.randn(N, D, generator=g), torch.randint(0, 2, (N,), generator=g).float() * 2 - 1


@pytest.fixture
def model() -> SymmetricRelu:
    return SymmetricRelu(torch.randn(30, D, generator=torch.Generator().manual_seed(5)), 0.3)


def labels(model: SymmetricRelu, x: Tensor) -> Tensor:
    return model.logits(x).sign()


def seed(value: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(value)


@every_norm
@every_attack
def test_inside_the_ball_and_x_untouched(
    build: Callable[[Threat, float], Attack], norm: str, batch: tuple[Tensor, Tensor], model: SymmetricRelu
) -> None:
    x, y = batch
    before, labels_before, weight = x.clone(), y.clone(), model.weight.clone()
    delta = build(threats[norm], 0.3)(model, x, y, seed()).clone()
    assert delta.shape == x.shape
    assert (threats[norm].size(delta) <= 0.3 * (1 + 1e-6)).all()
    assert threats[norm].size(delta).mean() > 0.2
    assert torch.equal(x, before)
    assert torch.equal(y, labels_before)
    assert torch.equal(model.weight, weight)


@every_norm
@every_attack
def test_no_radius_no_perturbation(
    build: Callable[[Threat, float], Attack], norm: str, batch: tuple[Tensor, Tensor], model: SymmetricRelu
) -> None:
    assert torch.equal(build(threats[norm], 0.0)(model, *batch, seed()), torch.zeros(N, D))


@every_norm
@every_attack
def test_the_generator_decides(
    build: Callable[[Threat, float], Attack], norm: str, batch: tuple[Tensor, Tensor], model: SymmetricRelu
) -> None:
    first = build(threats[norm], 0.3)(model, *batch, seed(1)).clone()
    assert torch.equal(build(threats[norm], 0.3)(model, *batch, seed(1)), first)


@every_norm
@every_attack
def test_in_slices_or_at_once(
    build: Callable[[Threat, float], Attack], norm: str, batch: tuple[Tensor, Tensor], model: SymmetricRelu
) -> None:
    whole = build(threats[norm], 0.3)(model, *batch, seed()).clone()
    slices = build(threats[norm], 0.3).slices(model, *batch, seed())
    next(slices)  # at least one piece of work can be waited for
    assert torch.equal(finish(slices), whole)


@every_norm
@every_attack
def test_the_exact_optimum_on_a_linear_classifier(
    build: Callable[[Threat, float], Attack], norm: str, batch: tuple[Tensor, Tensor]
) -> None:
    x, y = batch
    model = Linear(3 * DIRECTION, 0.5)  # the dense attack knows this direction without looking
    attack = build(threats[norm], 0.3)
    best = 0.3 * (model.w.norm() if norm == "l2" else model.w.abs().sum())
    damage = model.margin(x, y) - model.margin(x + attack(model, x, y, seed()), y)
    assert (damage <= best + 2e-5).all()
    # A random start of the ℓ2 ball comes near the optimum in a path of 2.5 radii, the others reach it.
    slack = 0.08 * best if norm == "l2" and isinstance(attack, Pgd) and attack.random_start else 2e-5
    assert (damage >= best - slack).all()


@every_norm
def test_pgd_does_more_damage_than_fgm_and_restarts_never_less(
    norm: str, batch: tuple[Tensor, Tensor], model: SymmetricRelu
) -> None:
    x, _ = batch
    y, threat = labels(model, x), threats[norm]
    tau = 0.6 if norm == "l2" else 0.2

    def margin(attack: Attack) -> Tensor:
        return model.margin(x + attack(model, x, y, seed()), y)

    fgm = margin(Fgm(threat, tau))
    pgd = margin(Pgd(threat, tau, steps=20, random_start=False))
    more = margin(Pgd(threat, tau, steps=20, restarts=4, random_start=False, skip_fooled=False))
    skipping = margin(Pgd(threat, tau, steps=20, restarts=4, random_start=False))
    assert float(pgd.mean()) <= float(fgm.mean()) + 1e-3
    assert float((pgd > 0).float().mean()) <= float((fgm > 0).float().mean())
    assert (more <= pgd + 1e-4).all()
    assert (skipping <= pgd + 1e-4).all()
    assert float(more.mean()) < float(pgd.mean())
    assert not (skipping[pgd <= 0] != pgd[pgd <= 0]).any()  # fooled samples keep their first perturbation
    assert float((fgm > 0).float().mean()) < 1


def test_the_worst_of_all_restarts_is_kept(batch: tuple[Tensor, Tensor], model: SymmetricRelu) -> None:
    x, y = batch
    threat, tau = threats["l2"], 0.6
    kept = model.margin(x + Pgd(threat, tau, steps=3, restarts=3, skip_fooled=False)(model, x, y, seed(2)), y)
    g = seed(2)
    single = [model.margin(x + Pgd(threat, tau, steps=3)(model, x, y, g), y) for _ in range(3)]
    assert torch.allclose(kept, torch.stack(single).amin(0), atol=1e-5)


def test_all_rows_keep_their_noise(batch: tuple[Tensor, Tensor], model: SymmetricRelu) -> None:
    """With noise that belongs to the rows, each sample must be attacked with its own ρ in every restart."""
    x, _ = batch
    noisy = NoisyRelu(model)
    noisy.draw(N, 1.0, seed(7))
    rho = model.buffers(N).noise.clone()
    y = noisy.margin(x, torch.ones(N)).sign()
    attack = Pgd(threats["l2"], 0.6, steps=4, restarts=3, random_start=False, skip_fooled=False)
    together = attack(noisy, x, y, seed()).clone()
    assert torch.equal(model.buffers(N).noise, rho)
    base = Pgd(threats["l2"], 0.6, steps=4, random_start=False)(noisy, x, y, seed())
    assert (noisy.margin(x + together, y) <= noisy.margin(x + base, y) + 1e-4).all()
    # From x itself and without restarts nothing is random: a sample alone, with its own ρ, moves in the same way.
    for row in (0, 57, N - 1):
        alone = SymmetricRelu(model.weight, model.bias)
        alone.buffers(1).noise.copy_(rho[row : row + 1])
        one = slice(row, row + 1)
        delta = Pgd(threats["l2"], 0.6, steps=4, random_start=False)(NoisyRelu(alone), x[one], y[one], seed())
        assert torch.allclose(delta, base[one], atol=1e-5)


def test_no_attack_leaves_its_ball_whatever_it_returns(batch: tuple[Tensor, Tensor]) -> None:
    class Wild(Attack):
        def run(self, model, x, y, generator):  # type: ignore[no-untyped-def]
            yield
            return x * 100

    delta = Wild(threats["l2"], 0.1)(Linear(DIRECTION), *batch, seed())
    assert (delta.norm(dim=1) <= 0.1 * (1 + 1e-6)).all()


def test_an_attack_can_be_given_up(batch: tuple[Tensor, Tensor], model: SymmetricRelu) -> None:
    slices = Pgd(threats["l2"], 0.3, steps=50).slices(model, *batch, seed())
    next(slices)
    slices.close()
    with pytest.raises(StopIteration):
        next(slices)
    assert finish(Pgd(threats["l2"], 0.3, steps=2).slices(model, *batch, seed())).shape == (N, D)
