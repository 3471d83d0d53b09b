from __future__ import annotations

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from engine.attacks.threat import threats

NORMS = ("l2", "linf")
vectors = st.lists(st.lists(st.floats(-1e3, 1e3, width=32), min_size=3, max_size=3), min_size=1, max_size=5)
radii = st.floats(0, 100)


def tensor(rows: list[list[float]]) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.float64)


@pytest.mark.parametrize("norm", NORMS)
@settings(max_examples=60, deadline=None)
@example(rows=[[0.0, 0.0, 2.220446049250313e-16]], tau=2.220446049250313e-16)
@given(rows=vectors, tau=radii)
def test_projection_is_inside_idempotent_and_leaves_the_inside_alone(
    norm: str, rows: list[list[float]], tau: float
) -> None:
    threat, delta = threats[norm], tensor(rows)
    original = delta.clone()
    projected = threat.project(delta, tau)
    assert projected.data_ptr() == delta.data_ptr()  # in place
    assert (threat.size(projected) <= tau * (1 + 1e-9) + 1e-12).all()
    assert torch.allclose(threat.project(projected.clone(), tau), projected, rtol=1e-9, atol=1e-12)
    inside = threat.size(original) <= tau
    assert torch.equal(projected[inside], original[inside])


@pytest.mark.parametrize("norm", NORMS)
@settings(max_examples=60, deadline=None)
@given(rows=vectors, tau=st.floats(1e-3, 100), seed=st.integers(0, 1000))
def test_projection_is_the_nearest_point(norm: str, rows: list[list[float]], tau: float, seed: int) -> None:
    threat, delta = threats[norm], tensor(rows)
    projected = threat.project(delta.clone(), tau)
    g = torch.Generator().manual_seed(seed)
    for _ in range(10):
        other = threat.project(torch.randn(delta.shape, generator=g, dtype=torch.float64) * tau, tau)
        assert ((delta - projected).norm(dim=1) <= (delta - other).norm(dim=1) + 1e-9).all()
    if norm == "l2":  # and it lies on the ray of the point itself
        assert torch.allclose((projected * delta).sum(1), projected.norm(dim=1) * delta.norm(dim=1), rtol=1e-9)


@pytest.mark.parametrize("norm", NORMS)
@settings(max_examples=60, deadline=None)
@given(rows=vectors, seed=st.integers(0, 1000))
def test_steepest_is_the_best_point_of_the_unit_ball(norm: str, rows: list[list[float]], seed: int) -> None:
    threat, gradient = threats[norm], tensor(rows)
    best = threat.steepest(gradient.clone())
    assert (threat.size(best) <= 1 + 1e-9).all()
    reached = (best * gradient).sum(1)
    dual = gradient.norm(dim=1) if norm == "l2" else gradient.abs().sum(1)
    assert torch.allclose(reached, dual, rtol=1e-6, atol=1e-9)
    g = torch.Generator().manual_seed(seed)
    for _ in range(10):
        other = threat.project(torch.randn(gradient.shape, generator=g, dtype=torch.float64), 1.0)
        assert ((other * gradient).sum(1) <= reached + 1e-6).all()


@pytest.mark.parametrize("norm", NORMS)
def test_a_zero_gradient_gives_no_step(norm: str) -> None:
    assert torch.equal(threats[norm].steepest(torch.zeros(2, 5)), torch.zeros(2, 5))


@pytest.mark.parametrize("tau", [0.0, 0.2, 3.0])
@pytest.mark.parametrize("norm", NORMS)
def test_starts_are_uniform_points_of_the_ball(norm: str, tau: float, generator: torch.Generator) -> None:
    n, d = 20_000, 5
    threat = threats[norm]
    delta = threat.start(torch.empty(n, d), tau, generator)
    assert (threat.size(delta) <= tau * (1 + 1e-6)).all()
    if tau == 0:
        assert torch.equal(delta, torch.zeros(n, d))
        return
    # Of a uniform point of any ball, (‖δ‖/tau)^d is uniform on [0, 1], and every coordinate is symmetric.
    share = (threat.size(delta) / tau).double().pow(d).sort().values
    assert float((share - torch.linspace(0, 1, n, dtype=torch.float64)).abs().max()) < 1.95 / n**0.5
    assert float((delta / tau).mean(0).abs().max()) < 4.5 * 0.6 / n**0.5
    assert len(delta.unique(dim=0)) == n


@pytest.mark.parametrize("norm", NORMS)
def test_pictures_are_flattened(norm: str, generator: torch.Generator) -> None:
    threat = threats[norm]
    pictures = torch.randn(6, 3, 4, 4, generator=generator)
    flat = pictures.flatten(1)
    assert torch.allclose(threat.size(pictures), threat.size(flat))
    projected = threat.project(pictures.clone(), 0.5)
    assert projected.shape == pictures.shape
    assert torch.allclose(projected.flatten(1), threat.project(flat.clone(), 0.5))
    assert torch.allclose(threat.steepest(pictures.clone()).flatten(1), threat.steepest(flat.clone()))
    assert (threat.size(threat.start(pictures, 0.5, generator)) <= 0.5 + 1e-6).all()
