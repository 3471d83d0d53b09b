"""Every warning is provoked, and none is given for a sound network."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from engine.core.measurement import Measurement
from engine.core.slices import finish
from engine.models.symmetric_relu import SymmetricRelu
from engine.probes.robustness import Measured
from engine.studies import sanity
from engine.studies.verify import verify

D, N = 8, 200
QUICK = {"pgd": (10, 1), "apgd": (10, 1), "square": (150, 1)}


class Linear:
    """f(x) = <w, x>."""

    def __init__(self) -> None:
        self.w = torch.linspace(0.5, 1.5, D)

    def margin(self, x: Tensor, y: Tensor) -> Tensor:
        return (x @ self.w) * y

    def input_gradient(self, x: Tensor, y: Tensor) -> Tensor:
        return -y.unsqueeze(1) * self.w


class Masked(Linear):
    """Its gradient is zero, as behind a step function: fragile, but not to be attacked along a gradient."""

    def input_gradient(self, x: Tensor, y: Tensor) -> Tensor:
        return torch.zeros_like(x)


class Reversed(Linear):
    """Its gradient points away from the boundary."""

    def input_gradient(self, x: Tensor, y: Tensor) -> Tensor:
        return y.unsqueeze(1) * self.w


class Restless(Linear):
    """Answers differently every time it is asked, as a network with dropout left on."""

    def __init__(self) -> None:
        super().__init__()
        self.generator = torch.Generator().manual_seed(3)

    def margin(self, x: Tensor, y: Tensor) -> Tensor:
        return (x @ self.w) * y * (torch.rand(len(y), generator=self.generator) - 0.2).sign()


@pytest.fixture
def sample() -> tuple[Tensor, Tensor]:
    x = torch.randn(N, D, generator=torch.Generator().manual_seed(1))
    return x, torch.sign(x @ Linear().w)


def measured(right: int, attack: str = "pgd", tau: float = 0.1, steps: int = 10, n: int = 1000) -> Measured:
    return Measured(right, Measurement(attack, "l2", tau, steps, 1, n))


def ids(model: Linear, sample: tuple[Tensor, Tensor], *, radii: tuple[float, ...] = (0.1, 0.3, 0.6)) -> list[str]:
    verified = finish(verify(model, None, *sample, "l2", radii, 0, sizes=QUICK))
    probes = finish(sanity.probe(model, *sample, "l2", 0.3, 0))
    warnings = sanity.check(verified, probes)
    assert all(w.text.endswith(".") and "n = 200" in w.evidence for w in warnings)
    return [w.id for w in warnings]


def test_nothing_is_said_of_a_sound_network(sample: tuple[Tensor, Tensor]) -> None:
    assert ids(Linear(), sample) == []
    assert sanity.check(None, None) == ()


def test_with_a_certificate(sample: tuple[Tensor, Tensor]) -> None:
    x, _ = sample
    model = SymmetricRelu(torch.randn(20, D, generator=torch.Generator().manual_seed(2)), 0.1)
    verified = finish(verify(model, None, x, model.logits(x).sign(), "l2", (0.05, 0.2), 0, sizes=QUICK))
    assert verified.radii[0].certified is not None
    assert sanity.check(verified, None) == ()


def test_a_masked_gradient(sample: tuple[Tensor, Tensor]) -> None:
    found = ids(Masked(), sample)
    assert {"zero gradients", "huge radius", "black box"} <= set(found)


def test_a_gradient_that_points_the_wrong_way(sample: tuple[Tensor, Tensor]) -> None:
    assert {"huge radius", "black box"} <= set(ids(Reversed(), sample))


def test_a_random_network(sample: tuple[Tensor, Tensor]) -> None:
    probes = finish(sanity.probe(Restless(), *sample, "l2", 0.3, 0))
    assert "zero radius" in [w.id for w in sanity.check(None, probes)]


def test_radius_zero() -> None:
    assert sanity.zero_radius(measured(950, "clean", 0.0), measured(950, tau=0.0)) is None
    warning = sanity.zero_radius(measured(950, "clean", 0.0), measured(949, tau=0.0))
    assert warning is not None
    assert "0.950 (no attack" in warning.evidence


def test_falling_with_the_radius() -> None:
    assert sanity.falls_with_radius([measured(500, tau=0.2), measured(900, tau=0.1)]) is None
    assert sanity.falls_with_radius([measured(900, tau=0.1), measured(905, tau=0.2)]) is None  # within the interval
    assert sanity.falls_with_radius([measured(900, tau=0.2), measured(500, tau=0.1)]) is not None


def test_more_steps() -> None:
    assert sanity.more_steps(measured(600), measured(590, steps=40)) is None
    assert sanity.more_steps(measured(600), measured(610, steps=40)) is None
    warning = sanity.more_steps(measured(600), measured(700, steps=40))
    assert warning is not None
    assert "PGD-40" in warning.evidence


def test_huge_radius() -> None:
    assert sanity.huge_radius(measured(3, tau=10)) is None
    assert sanity.huge_radius(measured(300, tau=10)) is not None


def test_black_box() -> None:
    assert sanity.black_box(measured(700, "square"), measured(600)) is None
    assert sanity.black_box(measured(590, "square"), measured(600)) is None
    assert sanity.black_box(measured(300, "square"), measured(600)) is not None


def test_certificate() -> None:
    assert sanity.certificate(measured(600, "certified"), measured(600)) is None
    assert sanity.certificate(measured(60, "certified", n=100), measured(600)) is None
    assert sanity.certificate(measured(601, "certified"), measured(600)) is not None


def test_zero_gradients() -> None:
    assert sanity.zero_gradients(measured(10)) is None
    assert sanity.zero_gradients(measured(200)) is not None


def test_catastrophic_overfitting() -> None:
    assert sanity.catastrophic_overfitting(measured(500, "fgm"), measured(450)) is None
    warning = sanity.catastrophic_overfitting(measured(900, "fgm"), measured(100))
    assert warning is not None
    assert "FGM" in warning.text


def test_the_checks_go_through_all_radii(sample: tuple[Tensor, Tensor]) -> None:
    found = ids(Masked(), sample, radii=(0.3, 0.6))
    assert found.count("black box") == 2
