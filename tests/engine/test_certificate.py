from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from engine.attacks.apgd import Apgd
from engine.attacks.pgd import Pgd
from engine.attacks.threat import threats
from engine.core.slices import finish
from engine.models.symmetric_relu import SymmetricRelu
from engine.probes import certificate
from engine.probes.certificate import bounds, certified, certified_radius, lower_bounds

NORMS = ("l2", "linf")
N = 12


def seed(value: int) -> torch.Generator:
    return torch.Generator().manual_seed(value)


def orthogonal(d: int, value: int) -> Tensor:
    return torch.linalg.qr(torch.randn(d, d, generator=seed(value), dtype=torch.float64))[0]


def network(kind: str, m: int, d: int, scale: float, value: int) -> Tensor:
    """Weights (m, d): any, with one feature each, those with a dense mixture, near copies, or with dead neurons."""
    g = seed(value)
    weight = torch.randn(m, d, generator=g, dtype=torch.float64) / math.sqrt(d)
    if kind == "any":
        return weight * scale
    features = orthogonal(d, value + 1)[torch.arange(m) % d]
    if kind == "mixture":
        features = features + 0.4 * orthogonal(d, value + 2)[0]
    elif kind == "copies":
        features = features[0] + 0.01 * weight
    elif kind == "dead":
        features = torch.where(torch.rand(m, 1, generator=g) < 0.5, 0.0, features)
    return features * scale


def sample(weight: Tensor, bias: float, value: int) -> tuple[Tensor, Tensor]:
    """Samples (N, d) labelled as the network answers, but for the last, which it gets wrong."""
    d = weight.shape[1]
    x = torch.randn(N, d, generator=seed(value + 3), dtype=torch.float64)
    x[: N // 2] *= 0.3
    y = torch.where(SymmetricRelu(weight, bias).logits(x) >= 0, 1.0, -1.0).double()
    y[-1] *= -1
    return x, y


def attacked(weight: Tensor, bias: float, x: Tensor, y: Tensor, tau: float, norm: str) -> Tensor:
    """The smallest margin (N,) that many attacks find."""
    model, threat = SymmetricRelu(weight, bias), threats[norm]
    dense = weight.sum(0, keepdim=True).expand_as(x).clone()
    starts = [torch.zeros_like(x), tau * threat.steepest(dense), -tau * threat.steepest(dense)]
    for i in range(30):
        point = threat.start(torch.empty_like(x), tau, seed(i))
        starts += [point, tau * threat.steepest(point.clone())]
    for attack in (
        Pgd(threat, tau, steps=15, random_start=False),
        Pgd(threat, tau, steps=15, restarts=3, skip_fooled=False),
        Apgd(threat, tau, steps=25),
    ):
        starts.append(attack(model, x, y, seed(5)).clone())
    return torch.stack([model.margin(x + threat.project(s, tau), y).clone() for s in starts]).amin(0)


# --- one neuron


@settings(max_examples=300, deadline=None)
@given(h=st.floats(-3, 3), r=st.floats(0, 4), b=st.one_of(st.just(0.0), st.floats(0, 1.5)))
def test_minorants_are_minorants(h: float, r: float, b: float) -> None:
    t = torch.linspace(-r, r, 401, dtype=torch.float64)
    kinks = torch.tensor([b - h, -b - h, -2 * h, 0.0], dtype=torch.float64).clamp(-r, r)
    t = torch.cat([t, kinks])
    truth = certificate.soft_threshold(h + t, b)
    for build in (certificate.quadratic_minorant, certificate.linear_minorant):
        below = build(torch.tensor([h], dtype=torch.float64), torch.tensor([r], dtype=torch.float64), b)
        assert below.curvature >= 0
        assert below.curvature <= 0.25 / certificate.SHARPEST + 1
        assert (below.value + below.slope * t - below.curvature * t * t <= truth + 1e-9).all()


@pytest.mark.parametrize("b", [0.0, 1e-9, 0.3])
@pytest.mark.parametrize("offset", [0.0, 1e-12, -1e-12, 1e-7, -1e-7, 2e-6, -2e-6])
@pytest.mark.parametrize("kink", [-1, 1])
@pytest.mark.parametrize("r", [0.0, 1e-12, 1e-6, 0.2, 5.0])
def test_minorants_at_the_kinks(b: float, offset: float, kink: int, r: float) -> None:
    h = torch.tensor([kink * b + offset], dtype=torch.float64)
    t = torch.cat(
        [
            torch.linspace(-r, r, 2001, dtype=torch.float64),
            torch.linspace(-min(r, 5e-6), min(r, 5e-6), 2001, dtype=torch.float64),
        ]
    )
    for build in (certificate.quadratic_minorant, certificate.linear_minorant):
        below = build(h, torch.tensor([r], dtype=torch.float64), b)
        parabola = below.value + below.slope * t - below.curvature * t * t
        assert torch.isfinite(parabola).all()
        assert (parabola <= certificate.soft_threshold(h + t, b) + 1e-12).all()


def test_the_quadratic_of_the_specification() -> None:
    """SPEC.md section 5, case by case."""
    b = 0.3
    for h, r, slope, curvature in (
        (0.5, 2.0, 1.0, 0.0),  # active on the right side: S_b itself is convex from there
        (0.1, 0.4, 0.0, 0.0),  # silent, the kink out of reach
        (0.1, 0.6, 0.0, 0.2 / 0.36),
        (0.1, 0.9, 0.0, 1 / 1.6),
        (-0.7, 0.3, 1.0, 0.0),
        (-0.7, 0.6, 1.0, 0.2 / 0.36),
        (-0.7, 9.0, 1.0, 1 / 1.6),
        (-1.7, 9.0, 1.0, 0.6 / 4.0),  # the flat part ends before twice the gap
    ):
        found = certificate.quadratic_minorant(
            torch.tensor([h], dtype=torch.float64), torch.tensor([r], dtype=torch.float64), b
        )
        assert float(found.slope) == slope
        assert float(found.curvature) == pytest.approx(curvature, abs=1e-12)
        assert float(found.value) == pytest.approx(math.copysign(max(abs(h) - b, 0), h))


@settings(max_examples=100, deadline=None)
@given(value=st.integers(0, 10_000), tau=st.floats(1e-3, 5), k=st.integers(1, 6), flat=st.booleans())
def test_the_trust_region_minimum_is_exact(value: int, tau: float, k: int, flat: bool) -> None:
    """Against the boundary point that the optimality conditions give, the hard case among them."""
    g = seed(value)
    q = torch.rand(1, k, generator=g, dtype=torch.float64).sort().values * (0 if flat else 3)
    c = torch.randn(1, k, generator=g, dtype=torch.float64)
    if value % 3 == 0:
        c[:, -1] = 0.0  # no slope along the direction that curves most
    found = float(certificate.ball_minimum(q, c.square(), torch.tensor([tau], dtype=torch.float64)))
    multipliers = q.max() + torch.logspace(-9, 4, 4000, dtype=torch.float64).unsqueeze(1)
    delta = -c / (2 * (multipliers - q))  # (4000, k): a point a multiplier
    size = delta.norm(dim=1, keepdim=True)
    if c[0, -1] == 0:
        delta[:, -1] += (tau**2 - size.square()).clamp_min(0).sqrt().squeeze(1)
    delta = torch.where(size > tau, delta * (tau / size), delta)
    best = min(0.0, float((c * delta - q * delta * delta).sum(1).min()))
    assert found <= best + 1e-9
    assert found >= best - 1e-3 * (1 + abs(best))


# --- all neurons


@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from(["any", "pure", "mixture", "copies", "dead"]),
    m=st.integers(1, 24),
    d=st.integers(1, 12),
    b=st.sampled_from([0.0, 1e-3, 0.1, 0.3, 1.0]),
    scale=st.sampled_from([0.05, 1.0, 3.0, 30.0]),
    tau=st.sampled_from([0.0, 0.05, 0.3, 1.0, 4.0]),
    norm=st.sampled_from(NORMS),
    value=st.integers(0, 10_000),
)
def test_never_above_any_attack(
    kind: str, m: int, d: int, b: float, scale: float, tau: float, norm: str, value: int
) -> None:
    weight = network(kind, m, d, scale, value)
    x, y = sample(weight, b, value)
    found = finish(bounds(weight, b, x, y, tau, norm))
    worst = attacked(weight, b, x, y, tau, norm)
    slack = 1e-9 * (1 + found.scale)
    assert torch.isfinite(found.best).all()
    assert (found.best <= worst + slack).all()
    assert (found.best <= found.margin + slack).all()
    assert (found.best >= found.linear).all()
    assert (found.best >= found.quadratic).all()
    assert not (found.certified & (worst <= 0)).any()


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize(("h", "tau"), [(0.7, 0.2), (0.2, 0.3), (0.2, 0.9), (-0.5, 0.1), (-0.5, 0.35), (2.0, 9.0)])
def test_exact_for_one_neuron(norm: str, h: float, tau: float) -> None:
    """S_b is monotone, so the minimum over the ball is S_b(h − r), r the reach of the neuron."""
    w = torch.tensor([[0.6, -0.8]], dtype=torch.float64)
    x = w * h
    for y in (1.0, -1.0):
        found = finish(bounds(w, 0.3, x * y, torch.tensor([y], dtype=torch.float64), tau, norm))
        reach = tau * float(w.norm() if norm == "l2" else w.abs().sum())
        exact = math.copysign(max(abs(h - reach) - 0.3, 0.0), h - reach)
        assert float(found.linear) == pytest.approx(exact, abs=1e-9)
        assert float(found.quadratic) <= exact + 1e-9
        # The parabola touches S_b at the far end, too, where that lies this side of twice the gap.
        one_kink = reach <= 2 * (h + 0.3) if -0.3 < h < 0.3 else h - reach >= 0.3
        if norm == "l2" and one_kink:
            assert float(found.quadratic) == pytest.approx(exact, abs=1e-9)


def test_exact_for_orthogonal_pure_neurons() -> None:
    """Where all are active, or silent within reach, S_b is a line; where one bends, the ball is searched."""
    d, b, tau = 6, 0.3, 0.25
    weight = orthogonal(d, 1) * torch.linspace(0.8, 1.5, d, dtype=torch.float64).unsqueeze(1)
    active = torch.tensor([0.6, 0.9, -0.9, 1.2, 0.7, 0.7], dtype=torch.float64)
    x = torch.linalg.solve(weight, active).unsqueeze(0)
    y = torch.ones(1, dtype=torch.float64)
    margin = certificate.soft_threshold(active, b).sum()
    found = finish(bounds(weight, b, x, y, tau))
    assert float(found.best) == pytest.approx(float(margin - tau * weight.sum(0).norm()), abs=1e-9)
    silent = torch.tensor([0.6, 0.0, 0.0, 0.0, 0.0, 0.9], dtype=torch.float64)
    moved = finish(bounds(weight, b, torch.linalg.solve(weight, silent).unsqueeze(0), y, 0.2)).best
    exact = certificate.soft_threshold(silent, b).sum() - 0.2 * (weight[0] + weight[-1]).norm()
    assert float(moved) == pytest.approx(float(exact), abs=1e-9)


def test_close_to_the_exact_minimum_of_an_orthogonal_net_that_bends() -> None:
    """Two orthogonal neurons, their ball searched point by point: the bound is below the minimum, and near it."""
    b, angle = 0.3, torch.linspace(0, 2 * math.pi, 20_001, dtype=torch.float64)
    circle = torch.stack([angle.cos(), angle.sin()], 1)
    for h0, h1, tau in ((0.9, 0.1, 0.5), (0.9, -0.1, 0.4), (1.0, 0.0, 0.6), (0.8, -0.5, 0.4)):
        x = torch.tensor([[h0, h1]], dtype=torch.float64)
        exact = float(certificate.soft_threshold(x + tau * circle, b).sum(1).min())
        found = float(lower_bounds(torch.eye(2, dtype=torch.float64), b, x, torch.ones(1), tau))
        assert exact - 0.1 <= found <= exact + 1e-9


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("kind", ["any", "pure", "mixture"])
def test_at_radius_zero_the_margin_and_falling_from_there(norm: str, kind: str) -> None:
    weight = network(kind, 20, 8, 1.0, 3)
    x, y = sample(weight, 0.2, 3)
    zero = finish(bounds(weight, 0.2, x, y, 0.0, norm))
    assert torch.allclose(zero.best, SymmetricRelu(weight, 0.2).margin(x, y), atol=1e-6)
    before = zero
    for tau in (0.01, 0.03, 0.1, 0.2, 0.4, 0.8, 2.0):
        now = finish(bounds(weight, 0.2, x, y, tau, norm))
        assert (now.quadratic <= before.quadratic + 1e-6).all()
        assert (now.best <= before.best + 1e-6).all()
        before = now


def test_the_label_turns_everything_round() -> None:
    weight = network("mixture", 20, 8, 1.0, 4)
    x, y = sample(weight, 0.2, 4)
    assert torch.allclose(
        lower_bounds(weight, 0.2, x, y, 0.2), lower_bounds(weight, 0.2, -x, -y, 0.2), rtol=1e-9, atol=1e-9
    )


def test_each_sample_may_have_its_own_radius_and_blocks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    weight = network("mixture", 30, 8, 1.0, 5)
    x, y = sample(weight, 0.2, 5)
    radii = torch.linspace(0, 0.5, N, dtype=torch.float64)
    together = lower_bounds(weight, 0.2, x, y, 0.3)
    each = finish(bounds(weight, 0.2, x, y, radii)).best
    for row in (0, 5, N - 1):
        one = slice(row, row + 1)
        assert torch.allclose(each[one], lower_bounds(weight, 0.2, x[one], y[one], float(radii[row])), atol=1e-9)
    monkeypatch.setattr(certificate, "BLOCK", 5)
    monkeypatch.setattr(certificate, "ENTRIES", 1)
    assert torch.allclose(lower_bounds(weight, 0.2, x, y, 0.3), together, atol=1e-9)


def test_what_is_decided_already_is_left_out() -> None:
    weight = network("mixture", 30, 8, 1.0, 6)
    x, y = sample(weight, 0.2, 6)
    whole, quick = (finish(bounds(weight, 0.2, x, y, 0.1, decide=d)) for d in (False, True))
    assert torch.equal(whole.certified, quick.certified)
    assert torch.isinf(quick.quadratic[-1])  # wrong at x
    assert torch.isinf(quick.quadratic).sum() > 1
    assert torch.isfinite(whole.quadratic).all()


@pytest.mark.parametrize("norm", NORMS)
def test_certified_accuracy(norm: str) -> None:
    weight = network("mixture", 30, 8, 1.0, 7)
    x, y = sample(weight, 0.2, 7)
    radii = (0.3, 0.0, 0.1, 0.1, 0.6)
    found = finish(certified(weight, 0.2, x, y, radii, norm))
    assert [m.protocol.tau for m in found] == list(radii)
    for tau, measured in zip(radii, found, strict=True):
        alone = finish(bounds(weight, 0.2, x, y, tau, norm)).certified
        assert measured.right == int(alone.sum())
        assert measured.protocol.n == N
        assert measured.protocol.text().startswith("certified (no perturbation fools")
    assert found[1].right == int((SymmetricRelu(weight, 0.2).margin(x, y) > 1e-3).sum())
    assert found[1].right > found[4].right
    assert ("ℓ2 ball around" in found[0].protocol.text()) == (norm == "linf")


def test_certified_radius() -> None:
    weight = network("pure", 12, 8, 1.0, 8)
    x, y = sample(weight, 0.2, 8)
    radius = finish(certified_radius(weight, 0.2, x, y, 1.0, halvings=8))
    assert radius[-1] == 0  # wrong at x
    assert (radius[:-1] > 0).any()
    assert bool(finish(bounds(weight, 0.2, x, y, radius)).certified[radius > 0].all())
    beyond = finish(bounds(weight, 0.2, x, y, radius + 1 / 2**7)).certified
    assert not beyond[radius < 1].any()
    for tau in (0.05, 0.2):
        direct = finish(certified(weight, 0.2, x, y, (tau,)))[0].right
        assert abs(int((radius >= tau).sum()) - direct) <= 1


def test_in_slices_that_can_be_given_up() -> None:
    weight = network("any", 40, 8, 1.0, 9)
    x, y = sample(weight, 0.2, 9)
    slices = bounds(weight, 0.2, x, y, 0.3)
    next(slices)
    slices.close()
    with pytest.raises(StopIteration):
        next(slices)


def test_no_samples() -> None:
    weight = network("any", 5, 3, 1.0, 1)
    assert lower_bounds(weight, 0.1, torch.empty(0, 3), torch.empty(0), 0.1).shape == (0,)


@pytest.mark.parametrize(
    ("tau", "bias", "norm"), [(-0.1, 0.1, "l2"), (math.nan, 0.1, "l2"), (0.1, -1, "l2"), (0.1, 0.1, "l1")]
)
def test_what_cannot_be_certified_is_refused(tau: float, bias: float, norm: str) -> None:
    with pytest.raises(ValueError, match="certificate"):
        lower_bounds(torch.ones(2, 3), bias, torch.ones(1, 3), torch.ones(1), tau, norm)


def test_the_weights_stay_as_they_are() -> None:
    weight = network("any", 20, 6, 1.0, 2).float()
    x, y = sample(weight.double(), 0.2, 2)
    copies = weight.clone(), x.clone(), y.clone()
    finish(bounds(weight, 0.2, x, y, 0.3))
    assert all(torch.equal(a, b) for a, b in zip(copies, (weight, x, y), strict=True))


@pytest.mark.parametrize(("norm", "length"), [("l2", 1.0), ("linf", 4.0)])
def test_one_neuron_is_certified_to_its_very_radius(norm: str, length: float) -> None:
    """⟨w, x⟩ moves by tau times the dual norm of w: 1 in ℓ2, 4 in ℓ∞ for w = (1/4, …) in 16 dimensions."""
    weight = torch.full((1, 16), 0.25)
    x, y, bias = weight.clone(), torch.ones(1), 0.2  # ⟨w, x⟩ = 1: right until it falls to the bias
    exact = (1 - bias) / length
    inside, outside = finish(certified(weight, bias, x, y, [0.99 * exact, 1.01 * exact], norm))
    assert (inside.right, outside.right) == (1, 0)
