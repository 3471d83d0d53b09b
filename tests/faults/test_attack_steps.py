"""The attacks step by step, beside a plain reference of the papers' algorithms: one sample, plain numbers, no torch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.attacks.apgd import Apgd
from engine.attacks.fgm import Fgm
from engine.attacks.pgd import Pgd
from engine.attacks.threat import threats

Row = NDArray[np.float64]
D, N = 5, 20  # among so many, each of the rules by which a step is halved decides somewhere
CURVED = np.array([1.7, -0.8, 0.5, -1.3, 0.9])  # of the margin along each coordinate
TILT = np.array([0.4, 0.3, -0.6, 0.2, -0.1])


def margin_of(x: Row) -> float:
    """A margin whose gradient turns as x moves, with some ripple, so that steps overshoot."""
    return float(1.0 + TILT @ x + 0.5 * CURVED @ x**2 + 0.3 * np.sin(4 * x).sum())


def ascent_of(x: Row) -> Row:
    """Minus the margin's gradient."""
    return -(TILT + CURVED * x + 1.2 * np.cos(4 * x))


class Curved:
    """That margin for batches; keeps the points whose margin was asked for."""

    def __init__(self) -> None:
        self.seen: list[Row] = []

    def margin(self, x: Tensor, y: Tensor) -> Tensor:
        self.seen.append(x.numpy().copy())
        return torch.tensor([margin_of(row) for row in x.numpy()], dtype=torch.float64)

    def input_gradient(self, x: Tensor, y: Tensor) -> Tensor:
        return torch.from_numpy(np.stack([ascent_of(row) for row in x.numpy()]))


def unit(norm: str, g: Row) -> Row:
    return g / np.sqrt(g @ g) if norm == "l2" else np.sign(g)


def ball(norm: str, delta: Row, tau: float) -> Row:
    if norm == "linf":
        return np.clip(delta, -tau, tau)
    size = float(np.sqrt(delta @ delta))
    return delta * min(1.0, tau / size) if size > 0 else delta


def apgd_points(norm: str, x: Row, start: Row, tau: float, steps: int, marks: list[int]) -> list[Row]:
    """Croce and Hein 2020, algorithm 1: all points x⁽⁰⁾ … x⁽ˢᵗᵉᵖˢ⁾, momentum 0.75, first step 2·tau, rho 0.75."""
    eta, alpha, rho = 2 * tau, 0.75, 0.75
    points, values = [start], [-margin_of(x + start)]
    best, best_value = start, values[0]
    now, before = start, start
    value, rises, reduced, best_at_mark, last = values[0], 0, False, values[0], 0
    for k in range(steps):
        z = ball(norm, now + eta * unit(norm, ascent_of(x + now)), tau)
        new = z if k == 0 else ball(norm, now + alpha * (z - now) + (1 - alpha) * (now - before), tau)
        before, now = now, new
        found = -margin_of(x + now)
        rises += found > value
        value = found
        points.append(now)
        if found > best_value:
            best, best_value = now, found
        if k + 1 in marks:
            stuck = rises < rho * (k + 1 - last) or (not reduced and best_value <= best_at_mark)
            if stuck:
                eta, now, before, value = eta / 2, best, best, best_value
            reduced, best_at_mark, last, rises = stuck, best_value, k + 1, 0
    return [*points, best]


def batch() -> tuple[Tensor, Tensor]:
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(N, D)))
    return x, torch.ones(N, dtype=torch.float64)


def seed() -> torch.Generator:
    return torch.Generator().manual_seed(8)


@pytest.mark.parametrize("norm", ["l2", "linf"])
@pytest.mark.parametrize("random", [False, True])
@pytest.mark.parametrize(("steps", "marks"), [(1, [1]), (3, [1, 2, 3]), (20, [5, 9, 12, 14, 16, 18, 19])])
def test_apgd_goes_where_the_algorithm_goes(norm: str, random: bool, steps: int, marks: list[int]) -> None:
    tau, (x, y), model = 0.6, batch(), Curved()
    attack = Apgd(threats[norm], tau, steps=steps, random_start=random)
    delta = attack(model, x, y, seed())
    start = threats[norm].start(torch.empty_like(x), tau, seed()) if random else torch.zeros_like(x)
    asked = np.stack(model.seen)[1 : steps + 2] - x.numpy()  # the first question is about x itself
    for i in range(N):
        *points, best = apgd_points(norm, x[i].numpy(), start[i].numpy(), tau, steps, marks)
        np.testing.assert_allclose(asked[:, i], np.stack(points), atol=1e-9)
        expected = best if margin_of(x[i].numpy() + best) < margin_of(x[i].numpy()) else np.zeros(D)
        np.testing.assert_allclose(delta[i].numpy(), expected, atol=1e-9)


@pytest.mark.parametrize("norm", ["l2", "linf"])
@pytest.mark.parametrize("steps", [1, 2, 7])
@pytest.mark.parametrize("box", [None, (-0.5, 0.5)])
def test_pgd_goes_where_the_algorithm_goes(norm: str, steps: int, box: tuple[float, float] | None) -> None:
    """Steps of 2.5·tau/steps, each followed by the ball and then the box."""
    tau, (x, y) = 0.6, batch()
    x = x.clamp(*box) if box is not None else x
    delta = Pgd(threats[norm], tau, steps=steps, random_start=False, box=box)(Curved(), x, y, seed())
    for i in range(N):
        at, moved = x[i].numpy(), np.zeros(D)
        for _ in range(steps):
            moved = ball(norm, moved + 2.5 * tau / steps * unit(norm, ascent_of(at + moved)), tau)
            moved = np.clip(at + moved, *box) - at if box is not None else moved
        np.testing.assert_allclose(delta[i].numpy(), moved, atol=1e-9)


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_fgm_is_one_step_to_the_boundary(norm: str) -> None:
    tau, (x, y) = 0.6, batch()
    plain = Fgm(threats[norm], tau)(Curved(), x, y, seed()).numpy()
    random = Fgm(threats[norm], tau, random_start=True)(Curved(), x, y, seed()).numpy()
    start = threats[norm].start(torch.empty_like(x), tau, seed()).numpy()
    for i in range(N):
        at = x[i].numpy()
        np.testing.assert_allclose(plain[i], tau * unit(norm, ascent_of(at)), atol=1e-9)
        moved = start[i] + 1.25 * tau * unit(norm, ascent_of(at + start[i]))
        np.testing.assert_allclose(random[i], ball(norm, moved, tau), atol=1e-9)
