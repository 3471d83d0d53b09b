"""The plain loop that a user would write in an afternoon: closed-form gradients, no framework, nothing recorded."""

from __future__ import annotations

import math

import torch

from engine.config.experiment import Config


class PlainLoop:
    """The same world, network, objective and update as a Session's, straight from the formulas."""

    def __init__(self, c: Config) -> None:
        self.c, d, m = c, c.world.d, c.model.m
        self.M = torch.linalg.qr(torch.randn(d, d))[0]
        self.w_star = torch.randint(0, 2, (d,)).float() * 2 - 1
        self.W = torch.randn(m, d) * c.model.sigma_0
        self.b = c.model.b_end

    def batch(self) -> tuple[torch.Tensor, torch.Tensor]:
        w, n = self.c.world, self.c.training.batch_size
        while True:
            u = torch.rand(int(n * 1.4), w.d)
            sign = torch.randint(0, 2, u.shape) * 2 - 1
            small = torch.where(torch.rand(u.shape) < w.k / w.d, 1 / math.sqrt(w.k), 0.0)
            z = torch.where(u < w.p_large / w.d, 1.0, small) * sign
            z = z[(z @ self.w_star).abs() > 1e-3][:n]
            if len(z) == n:
                return z @ self.M.T + w.sigma_x / math.sqrt(w.d) * torch.randn(n, w.d), torch.sign(z @ self.w_star)

    def step(self, adversarial: bool) -> None:
        c, W, b = self.c, self.W, self.b
        x, y = self.batch()
        rho = c.model.sigma_rho * torch.randn(len(x), len(W))
        if adversarial:
            u = x @ W.T
            slope = -y[:, None] * (((u + rho > b).float() + (-u + rho > b).float()) @ W)
            x = x + c.attack.tau * slope / slope.norm(dim=1, keepdim=True)
        u = x @ W.T
        up, down = torch.relu(u + rho - b), torch.relu(-u + rho - b)
        f = (up - down).sum(1)
        gates = (up > 0).float() + (down > 0).float()
        pull = -y * torch.sigmoid(-y * f) / len(x)
        decay = c.model.lambda_ * (1 + W.norm(dim=1, keepdim=True)) * W
        self.W = W - c.training.lr * (gates.T @ (pull[:, None] * x) + decay)


class AutogradLoop(PlainLoop):
    """The same loop with the gradients left to autograd."""

    def loss(self, x: torch.Tensor, y: torch.Tensor, rho: torch.Tensor, W: torch.Tensor) -> torch.Tensor:
        u = x @ W.T
        f = (torch.relu(u + rho - self.b) - torch.relu(-u + rho - self.b)).sum(1)
        return torch.nn.functional.softplus(-y * f).mean()

    @torch.enable_grad()
    def step(self, adversarial: bool) -> None:
        c = self.c
        x, y = self.batch()
        rho = c.model.sigma_rho * torch.randn(len(x), len(self.W))
        if adversarial:
            x.requires_grad_()
            slope = torch.autograd.grad(self.loss(x, y, rho, self.W), x)[0]
            x = x.detach() + c.attack.tau * slope / slope.norm(dim=1, keepdim=True)
        W = self.W.detach().requires_grad_()
        size = W.norm(dim=1)
        loss = self.loss(x, y, rho, W) + c.model.lambda_ * (size**2 / 2 + size**3 / 3).sum()
        self.W = W.detach() - c.training.lr * torch.autograd.grad(loss, W)[0]
