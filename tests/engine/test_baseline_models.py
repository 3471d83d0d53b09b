from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from engine.attacks.pgd import Pgd
from engine.attacks.threat import threats
from engine.config.experiment import with_value
from engine.core.errors import ConfigError
from engine.core.generators import seeded
from engine.models.symmetric_relu import SymmetricRelu
from engine.studies import baseline_models
from engine.studies.baseline_models import (
    Baseline,
    FactorisedCubic,
    Linear,
    Ntk,
    Polynomial,
    baselines,
    ntk_now,
)
from tests.tiny_runs import tiny_config

D, N = 5, 17
LR, DECAY = 0.3, 0.05
RATES = (1.0, 2.0, 3.0)


def randn(*shape: int, name: str = "x") -> Tensor:
    return torch.randn(*shape, generator=seeded(1, name), dtype=torch.float64)


def symmetric(*shape: int) -> Tensor:
    full = randn(*shape, name="tensor")
    orders = list(itertools.permutations(range(len(shape))))
    return sum(full.permute(o) for o in orders) / len(orders)  # type: ignore[return-value]


def make(kind: str) -> Baseline:
    model: Baseline
    if kind == "linear":
        model = Linear(randn(D), RATES)
    elif kind in ("degree 2", "degree 3"):
        polynomial = Polynomial(randn(1), D, int(kind[-1]), RATES)
        polynomial.weight.copy_(randn(D, name="w"))
        polynomial.square.copy_(symmetric(D, D))
        if polynomial.cube is not None:
            polynomial.cube.copy_(symmetric(D, D, D))
        model = polynomial
    elif kind == "factorised":
        cubic = FactorisedCubic(randn(7, D, name="u"), RATES)
        cubic.weight.copy_(randn(D, name="w"))
        model = cubic
    else:
        kernel = Ntk(randn(11, D, name="w0"), 0.8, RATES)
        kernel.theta.copy_(randn(11, D, name="theta"))
        model = kernel
    model.constant.fill_(0.3)  # type: ignore[attr-defined]
    return model


def parameters(model: Baseline) -> dict[str, Tensor]:
    names = ("weight", "square", "cube", "factors", "theta")
    return {k: v for k in names if (v := getattr(model, k, None)) is not None}


def definition(model: Baseline, p: dict[str, Tensor], c: Tensor, x: Tensor) -> Tensor:
    """SPEC.md section 6, written out."""
    f = c.expand(len(x))
    if "weight" in p:
        f = f + x @ p["weight"]
    if "square" in p:
        f = f + torch.einsum("ni,nj,ij->n", x, x, p["square"])
    if "cube" in p:
        f = f + torch.einsum("ni,nj,nk,ijk->n", x, x, x, p["cube"])
    if "factors" in p:
        f = f + ((x @ p["factors"].T) ** 3).sum(1)
    if "theta" in p:
        assert isinstance(model, Ntk)
        f = f + torch.einsum("nm,md,nd->n", ((x @ model.start.T).abs() > model.bias).double(), p["theta"], x)
    return f


KINDS = ["linear", "degree 2", "degree 3", "factorised", "ntk"]


@pytest.fixture
def data() -> tuple[Tensor, Tensor]:
    return randn(N, D), randn(N, name="y").sign()


@pytest.mark.parametrize("kind", KINDS)
def test_margin_and_ascent(kind: str, data: tuple[Tensor, Tensor]) -> None:
    x, y = data
    model = make(kind)
    with torch.enable_grad():
        leaf = x.clone().requires_grad_()
        f = definition(model, parameters(model), model.constant, leaf)  # type: ignore[attr-defined]
        (gradient,) = torch.autograd.grad((-y * f).sum(), leaf)
    assert torch.allclose(model.margin(x, y), y * f.detach(), rtol=1e-12, atol=1e-12)
    assert torch.allclose(model.input_gradient(x, y), gradient, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("decay", [0.0, DECAY])
@pytest.mark.parametrize("kind", KINDS)
def test_descend_is_one_step_of_sgd(kind: str, decay: float, data: tuple[Tensor, Tensor]) -> None:
    x, y = data
    model = make(kind)
    with torch.enable_grad():
        leaves = {k: v.clone().requires_grad_() for k, v in parameters(model).items()}
        constant = model.constant.clone().requires_grad_()  # type: ignore[attr-defined]
        f = definition(model, leaves, constant, x)
        loss = torch.nn.functional.softplus(-y * f).mean() + decay / 2 * sum((v**2).sum() for v in leaves.values())
        gradients = torch.autograd.grad(loss, [*leaves.values(), constant])
    places = {k: v.data_ptr() for k, v in parameters(model).items()}
    labels = y.clone()
    margin = model.sgd_step(x.clone(), y, LR, decay)
    assert torch.allclose(margin, y * f.detach(), rtol=1e-12, atol=1e-12)
    for (name, before), gradient in zip(leaves.items(), gradients, strict=False):
        assert torch.allclose(parameters(model)[name], before.detach() - LR * gradient, rtol=1e-12, atol=1e-12)
    assert float(model.constant) == pytest.approx(0.3 - LR * float(gradients[-1]))  # type: ignore[attr-defined]
    assert places == {k: v.data_ptr() for k, v in parameters(model).items()}
    assert torch.equal(y, labels)


@pytest.mark.parametrize("degree", [2, 3])
def test_all_monomials_by_brute_force(degree: int) -> None:
    """SGD on the tensors is SGD on every monomial, each scaled by the root of the number of its orderings."""
    d = 3
    x, y = randn(N, d), randn(N, name="y").sign()
    columns = []
    for p in range(1, degree + 1):
        for index in itertools.combinations_with_replacement(range(d), p):
            orderings = len(set(itertools.permutations(index)))
            columns.append(math.sqrt(orderings) * x[:, list(index)].prod(1))
    features = torch.stack([torch.ones(N, dtype=torch.float64), *columns], 1)
    assert features.shape[1] == baseline_models.monomials(d, degree)
    model, theta = Polynomial(x, d, degree, RATES), torch.zeros(features.shape[1], dtype=torch.float64)
    for _ in range(5):
        margin = model.sgd_step(x.clone(), y, LR, 0.0)
        expected = y * (features @ theta)
        assert torch.allclose(margin, expected, rtol=1e-10, atol=1e-12)
        theta += LR / N * features.T @ (torch.sigmoid(-expected) * y)


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_pgd_reaches_the_exact_worst_margin_of_a_linear_classifier(norm: str, data: tuple[Tensor, Tensor]) -> None:
    x, y = data
    model = make("linear")
    assert isinstance(model, Linear)
    attack = Pgd(threats[norm], 0.3, steps=10, random_start=False)
    found = model.margin(x + attack(model, x, y, seeded(0, "a")), y)
    assert torch.allclose(found, model.worst_margin(x, y, norm, 0.3), rtol=1e-9, atol=1e-9)


def fit(name: str, label: Callable[[Tensor], Tensor], d: int) -> float:
    """Accuracy on fresh Gaussian data after a short training with the baseline's middle rate."""
    config = with_value(tiny_config(**{"world.dictionary": "random"}), "world.d", d)
    x = torch.randn(4000, d, generator=seeded(2, "fit"))
    model = baselines[name](config, x)
    for step in range(400):
        batch = torch.randn(200, d, generator=seeded(step, "batch"))
        model.sgd_step(batch.clone(), label(batch), model.rates[1], 0.0)
    return float((model.margin(x, label(x)) > 0).float().mean())


def parity(x: Tensor, degree: int) -> Tensor:
    return x[:, :degree].prod(1).sign()


def test_each_baseline_learns_what_it_can(monkeypatch: pytest.MonkeyPatch) -> None:
    assert fit("linear", lambda x: parity(x, 1), 8) > 0.97
    assert fit("quadratic", lambda x: parity(x, 2), 8) > 0.95
    assert fit("cubic", lambda x: parity(x, 3), 5) > 0.9
    assert fit("ntk", lambda x: parity(x, 1), 8) > 0.9
    monkeypatch.setattr(baseline_models, "EXACT_FEATURES", 0)
    assert fit("cubic", lambda x: (x**3).sum(1).sign(), 5) > 0.9


def test_what_is_beyond_a_baseline_stays_beyond_it() -> None:
    assert fit("linear", lambda x: parity(x, 2), 8) < 0.6
    assert fit("quadratic", lambda x: parity(x, 3), 8) < 0.6


def test_built_for_the_run() -> None:
    config = tiny_config()
    x = torch.randn(500, config.world.d, generator=seeded(0, "x"))
    for name in baselines:
        model = baselines[name](config, x)
        assert list(model.rates) == sorted(model.rates)
        assert model.features
    kernel = baselines["ntk"](config, x)
    assert isinstance(kernel, Ntk)
    start = torch.empty(config.model.m, config.world.d)
    start.normal_(0, config.model.sigma_0, generator=seeded(config.seed, "weight"))
    assert torch.equal(kernel.start, start)
    assert float(kernel.gates(x).mean()) == pytest.approx(baseline_models.NTK_SHARE, abs=0.01)
    assert "exact" in baselines["cubic"](config, x).features
    assert "factorised" in baselines["cubic"](config, torch.randn(9, 64)).features
    with pytest.raises(ConfigError, match="linear, quadratic, cubic, ntk"):
        baselines["deep"]


def test_the_ntk_of_now_has_the_networks_gates() -> None:
    x = randn(200, D)
    model = SymmetricRelu(randn(12, D, name="now"), 1.5)
    model.weight[3] = 0.0  # a neuron that no input opens
    kernel = ntk_now(model)(tiny_config(), x)
    assert isinstance(kernel, Ntk)
    assert len(kernel.start) == 11
    assert torch.equal(kernel.gates(x), model.active(x)[:, torch.arange(12) != 3])
    size = float((model.active(x).sum(1) * x.square().sum(1)).mean())
    assert kernel.rates == pytest.approx([1 / size, 4 / size, 16 / size])
    assert "of 11 neurons as they are now (of 12)" in kernel.features
    before = model.weight.clone()
    kernel.sgd_step(x.clone(), randn(200, name="y").sign(), 0.1, 0.0)
    assert torch.equal(model.weight, before)
    model.weight.zero_()  # the kernel is that of the moment at which it was made
    assert float(kernel.gates(x).sum()) > 0


def test_the_ntk_of_now_of_a_network_that_is_silent_is_a_constant() -> None:
    x = randn(50, D)
    kernel = ntk_now(SymmetricRelu(torch.zeros(4, D, dtype=torch.float64), 0.1))(tiny_config(), x)
    assert float(kernel.margin(x, torch.ones(50, dtype=torch.float64)).abs().max()) == 0
