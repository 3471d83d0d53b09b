"""The session trains exactly what SPEC.md writes down: a plain loop without it ends at the same weights."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from engine import worlds
from engine.config.experiment import Config
from engine.core.generators import seeded
from engine.data.sparse_stream import SparseCoding, Stream
from tests.tiny_runs import advance, tiny_config

STEPS = 60
RUNS: dict[str, dict[str, object]] = {
    "clean": {},
    "clean, no decay, no noise": {"lambda": 0.0, "sigma_rho": 0.0},
    "clean, strong decay": {"lambda": 0.01},
    "adversarial, FGM l2": {"second": "adversarial"},
    "adversarial, FGM linf": {"second": "adversarial", "norm": "linf", "tau": 0.05},
    "adversarial, PGD l2": {"second": "adversarial", "attack.steps": 3, "random_start": True},
    "adversarial, PGD linf": {
        "second": "adversarial", "norm": "linf", "tau": 0.05, "attack.steps": 3, "random_start": True,
    },
    "gaussian noise": {"second": "gaussian_noise", "training.noise": 0.4},
}  # fmt: skip


class Plain:
    """World, batches and noise of the run, drawn from the same named generators; everything else is done by hand."""

    def __init__(self, config: Config) -> None:
        self.config = config
        cpu = torch.device("cpu")
        self.g = {name: seeded(config.seed, name) for name in ("pool", "input_noise", "rho", "attack")}
        world = SparseCoding.draw(config.world, seeded(config.seed, "world"), cpu)
        self.stream = Stream(world, self.g["pool"], self.g["input_noise"])
        size = (config.model.m, config.world.d)
        self.W = torch.empty(size).normal_(0, config.model.sigma_0, generator=seeded(config.seed, "weight"))

    def bias(self, t: int) -> float:
        c = self.config
        first = c.model.sigma_0 * math.sqrt(2 * math.log(c.world.d))
        return first + (c.model.b_end - first) * min(1, t / (c.model.bias_ramp * c.schedule.clean_steps))

    def batch(self) -> tuple[Tensor, Tensor, Tensor]:
        n, model = self.config.training.batch_size, self.config.model
        x, y = torch.empty(n, self.config.world.d), torch.empty(n)
        self.stream.fill(x, y, self.config.world.sigma_x)
        rho = torch.zeros(n, model.m)
        if model.sigma_rho:
            rho.normal_(0, model.sigma_rho, generator=self.g["rho"])
        return x, y, rho

    def perturbed(self, x: Tensor, slope: Callable[[Tensor], Tensor]) -> Tensor:
        """The batch as the second phase trains on it; ``slope(x)`` is −y ∂f/∂x."""
        c, g = self.config, self.g["attack"]
        if c.schedule.second == "gaussian_noise":
            return x + torch.randn(x.shape, generator=g) * c.training.noise / math.sqrt(x.shape[1])
        tau, steps, l2 = c.attack.tau, c.attack.steps, c.attack.norm == "l2"
        delta = torch.zeros_like(x)
        if c.attack.random_start and l2:
            delta = torch.randn(x.shape, generator=g)
            delta *= tau * torch.rand(len(x), 1, generator=g) ** (1 / x.shape[1]) / delta.norm(dim=1, keepdim=True)
        elif c.attack.random_start:
            delta = torch.rand(x.shape, generator=g) * 2 * tau - tau
        for _ in range(steps):
            s = slope(x + delta)
            s = s / s.norm(dim=1, keepdim=True).clamp_min(1e-12) if l2 else s.sign()
            delta = delta + s * (2.5 * tau / steps if steps > 1 or c.attack.random_start else tau)
            if l2:
                delta = delta * (tau / delta.norm(dim=1, keepdim=True).clamp_min(1e-12)).clamp_max(1)
            else:
                delta = delta.clamp(-tau, tau)
        return x + delta


def closed_form(config: Config) -> Tensor:
    """SPEC.md section 2, gradients in closed form."""
    p = Plain(config)
    lr, decay = config.training.lr, config.model.lambda_
    for t in range(STEPS):
        b = p.bias(t)
        x, y, rho = p.batch()

        def gates(x: Tensor, b: float = b, rho: Tensor = rho) -> Tensor:
            u = x @ p.W.T
            return (u + rho > b).float() + (-u + rho > b).float()

        if t >= config.schedule.clean_steps:
            x = p.perturbed(x, lambda x, y=y, gates=gates: -y[:, None] * (gates(x) @ p.W))
        u = x @ p.W.T
        f = (torch.relu(u + rho - b) - torch.relu(-u + rho - b)).sum(1)
        pull = -y * torch.sigmoid(-y * f) / len(y)
        gradient = gates(x).T @ (pull[:, None] * x) + decay * p.W * (1 + p.W.norm(dim=1, keepdim=True))
        p.W = p.W - lr * gradient
    return p.W


def autograd(config: Config) -> Tensor:
    """The same with gradients by automatic differentiation of the loss as it is written."""
    p = Plain(config)
    with torch.enable_grad():
        for t in range(STEPS):
            b = p.bias(t)
            x, y, rho = p.batch()
            W = p.W.detach().requires_grad_()

            def loss(x: Tensor, y: Tensor = y, b: float = b, rho: Tensor = rho, W: Tensor = W) -> Tensor:
                u = x @ W.T
                f = (torch.relu(u + rho - b) - torch.relu(-u + rho - b)).sum(1)
                return torch.nn.functional.softplus(-y * f)

            def slope(x: Tensor, y: Tensor = y, b: float = b, rho: Tensor = rho, W: Tensor = W) -> Tensor:
                x = x.detach().requires_grad_()
                u = x @ W.detach().T
                f = (torch.relu(u + rho - b) - torch.relu(-u + rho - b)).sum(1)
                return torch.autograd.grad((-y * f).sum(), x)[0]

            if t >= config.schedule.clean_steps:
                x = p.perturbed(x, slope).detach()
            norms = W.norm(dim=1)
            total = loss(x).mean() + config.model.lambda_ * (norms**2 / 2 + norms**3 / 3).sum()
            (gradient,) = torch.autograd.grad(total, W)
            p.W = (W - config.training.lr * gradient).detach()
    return p.W


@pytest.mark.parametrize("loop", [closed_form, autograd])
@pytest.mark.parametrize("knobs", RUNS.values(), ids=RUNS)
def test_the_session_is_the_plain_loop(
    knobs: dict[str, object], loop: Callable[[Config], Tensor], tmp_path: Path
) -> None:
    config = tiny_config(**{"schedule.clean_steps": 30 if "second" in knobs else 100, **knobs})
    session = worlds.create(config, tmp_path / "run")
    start = session.model.weight.clone()
    advance(session, STEPS)
    session.close()
    weight, plain = session.model.weight, loop(config)
    assert session.phase == (config.schedule.second if "second" in knobs else "clean")
    assert float((weight - start).norm() / weight.norm()) > 0.5  # it has learnt something
    assert float((weight - plain).norm() / plain.norm()) < 1e-5
    assert torch.allclose(weight, plain, rtol=1e-4, atol=1e-5 * float(plain.abs().max()))
