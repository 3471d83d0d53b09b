from __future__ import annotations

import pytest
import torch
from torch import Tensor

from engine.models.symmetric_relu import NoisyRelu, SymmetricRelu

M, D, N = 20, 7, 33
BIAS, DECAY, LR = 0.4, 0.01, 0.7


def definition(weight: Tensor, bias: float, x: Tensor, rho: Tensor | float = 0.0) -> Tensor:
    """SPEC.md section 2, as it stands there."""
    u = x @ weight.T
    return (torch.relu(u + rho - bias) - torch.relu(-u + rho - bias)).sum(1)


@pytest.fixture
def data() -> tuple[Tensor, Tensor, Tensor]:
    g = torch.Generator().manual_seed(1)
    weight = torch.randn(M, D, generator=g, dtype=torch.float64)
    x = torch.randn(N, D, generator=g, dtype=torch.float64)
    return weight, x, torch.randint(0, 2, (N,), generator=g).double() * 2 - 1


def noisy(weight: Tensor, sigma: float) -> tuple[NoisyRelu, Tensor]:
    """The network with one draw of its noise, and the ρ that was drawn."""
    net = NoisyRelu(SymmetricRelu(weight.clone(), BIAS))
    net.draw(N, sigma, torch.Generator().manual_seed(2))
    return net, net.model.buffers(N).noise + BIAS


def test_logits_are_the_definition(data: tuple[Tensor, Tensor, Tensor]) -> None:
    weight, x, y = data
    net = SymmetricRelu(weight, BIAS)
    f = definition(weight, BIAS, x)
    assert torch.allclose(net.logits(x), f)
    assert torch.allclose(net.margin(x, y), y * f)
    assert torch.equal(net.active(x), ((x @ weight.T).abs() > BIAS).double())
    assert torch.allclose(net.logits(-x), -f)  # the network is odd


def test_without_a_bias_the_network_is_linear(data: tuple[Tensor, Tensor, Tensor]) -> None:
    weight, x, _ = data
    assert torch.allclose(SymmetricRelu(weight, 0.0).logits(x), (x @ weight.T).sum(1))


def test_ascent_is_the_gradient(data: tuple[Tensor, Tensor, Tensor]) -> None:
    weight, x, y = data
    net = SymmetricRelu(weight, BIAS)
    with torch.enable_grad():
        leaf = x.clone().requires_grad_()
        (gradient,) = torch.autograd.grad((-y * definition(weight, BIAS, leaf)).sum(), leaf)
    assert torch.allclose(net.input_gradient(x, y), gradient, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("sigma", [0.0, 0.5])
def test_noisy_margin_and_ascent(data: tuple[Tensor, Tensor, Tensor], sigma: float) -> None:
    weight, x, y = data
    net, rho = noisy(weight, sigma)
    assert float(rho.std()) == pytest.approx(sigma, rel=0.1)
    assert float(rho.mean()) == pytest.approx(0, abs=0.1)
    assert torch.allclose(net.margin(x, y), y * definition(weight, BIAS, x, rho), rtol=1e-12, atol=1e-12)
    with torch.enable_grad():
        leaf = x.clone().requires_grad_()
        (gradient,) = torch.autograd.grad((-y * definition(weight, BIAS, leaf, rho)).sum(), leaf)
    assert torch.allclose(net.input_gradient(x, y), gradient, rtol=1e-12, atol=1e-12)
    assert torch.allclose(net.margin(x, y), y * definition(weight, BIAS, x, rho), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("decay", [0.0, DECAY])
@pytest.mark.parametrize("sigma", [0.0, 0.5])
def test_descend_is_one_step_of_sgd(data: tuple[Tensor, Tensor, Tensor], sigma: float, decay: float) -> None:
    weight, x, y = data
    net, rho = noisy(weight, sigma)
    with torch.enable_grad():
        leaf = weight.clone().requires_grad_()
        norms = leaf.norm(dim=1)
        f = definition(leaf, BIAS, x, rho)
        loss = -torch.nn.functional.logsigmoid(y * f).mean() + decay * (norms**2 / 2 + norms**3 / 3).sum()
        (gradient,) = torch.autograd.grad(loss, leaf)
    margin = net.sgd_step(x.clone(), y, LR, decay).margin
    assert torch.allclose(margin, y * f.detach(), rtol=1e-12, atol=1e-12)
    assert torch.allclose(net.model.weight, weight - LR * gradient, rtol=1e-12, atol=1e-12)


def test_the_step_is_in_place_and_changes_no_labels(data: tuple[Tensor, Tensor, Tensor]) -> None:
    weight, x, y = data
    net, _ = noisy(weight, 0.5)
    where, labels = net.model.weight.data_ptr(), y.clone()
    net.sgd_step(x.clone(), y, LR, DECAY)
    assert net.model.weight.data_ptr() == where
    assert torch.equal(y, labels)


def test_a_copy_has_weights_of_its_own(data: tuple[Tensor, Tensor, Tensor]) -> None:
    net = SymmetricRelu(data[0].clone(), BIAS)
    other = net.copy()
    other.weight.zero_()
    assert float(net.weight.abs().sum()) > 0
    assert other.bias == net.bias


def test_batches_of_different_size_do_not_disturb_each_other(data: tuple[Tensor, Tensor, Tensor]) -> None:
    weight, x, y = data
    net = SymmetricRelu(weight, BIAS)
    for n in (5, N, 1, 12, N, 5):
        assert torch.allclose(net.logits(x[:n]), definition(weight, BIAS, x[:n]))
        assert torch.allclose(
            net.input_gradient(x[:n], y[:n]), SymmetricRelu(weight, BIAS).input_gradient(x[:n], y[:n])
        )
        assert net.active(x[:n]).shape == (n, M)
        noise = NoisyRelu(net)
        noise.draw(n, 0.5, torch.Generator().manual_seed(n))
        rho = net.buffers(n).noise.clone() + BIAS
        net.logits(x[: max(1, n - 1)])  # a smaller batch in between leaves the noise alone
        assert torch.allclose(noise.margin(x[:n], y[:n]), y[:n] * definition(weight, BIAS, x[:n], rho))


def test_margins_are_the_callers(data: tuple[Tensor, Tensor, Tensor]) -> None:
    weight, x, y = data
    net, _ = noisy(weight, 0.5)
    for classifier in (net.model, net):
        first = classifier.margin(x, y)
        kept = first.clone()
        classifier.margin(-x, y)
        classifier.input_gradient(x, y)
        assert torch.equal(first, kept)


def test_buffers_do_not_grow(data: tuple[Tensor, Tensor, Tensor]) -> None:
    weight, x, y = data
    net, _ = noisy(weight, 0.5)
    full = {b.untyped_storage().data_ptr() for b in (net.model.buffers(N).up, net.model.buffers(N).slope)}
    size = net.model.buffers(N).up.untyped_storage().nbytes()
    for n in (N, 3, 8, N, 1, N - 1):
        net.draw(n, 0.5, torch.Generator().manual_seed(0))
        net.sgd_step(x[:n].clone(), y[:n], 0.1, DECAY)
        buffers = net.model.buffers(n)
        assert {b.untyped_storage().data_ptr() for b in (buffers.up, buffers.slope)} == full
        assert buffers.up.untyped_storage().nbytes() == size


def test_no_autograd_in_the_step(data: tuple[Tensor, Tensor, Tensor]) -> None:
    weight, x, y = data
    with torch.enable_grad():
        net, _ = noisy(weight, 0.5)
        margin = net.sgd_step(x.clone(), y, LR, DECAY).margin
    assert not margin.requires_grad
    assert margin.grad_fn is None
    assert net.model.weight.grad_fn is None
