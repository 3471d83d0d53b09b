"""The plain PyTorch loop on images that a user would write in an afternoon: nothing of the engine, nothing recorded."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from engine.images.config import ImageConfig
from engine.models.networks.alexnet import AlexNetModel


class Normalise(nn.Module):
    def __init__(self, x: Tensor) -> None:
        super().__init__()
        pixels = x.float() / 255
        self.mean, self.std = pixels.mean((0, 2, 3))[:, None, None], pixels.std((0, 2, 3))[:, None, None]

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean) / self.std


class PlainImageLoop:
    """The AlexNet-like network of SPEC.md section 8, its data, optimiser, schedule and attack."""

    def __init__(self, c: ImageConfig, x: Tensor, y: Tensor) -> None:
        assert isinstance(c.model, AlexNetModel)
        m, self.c, self.x, self.y = c.model, c, x, y
        first = nn.Conv2d(3, m.width, m.kernel, stride=m.stride, padding=m.padding)
        first.weight.data.mul_(m.init_scale)
        self.net = nn.Sequential(
            Normalise(x), first, nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(m.width, 2 * m.width, 3, padding=1), nn.BatchNorm2d(2 * m.width), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(2 * m.width, 3 * m.width, 3, padding=1), nn.BatchNorm2d(3 * m.width), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(3 * m.width, 256), nn.ReLU(), nn.Linear(256, 10),
        )  # fmt: skip
        if c.training.channels_last:
            self.net = self.net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            self.x = x.contiguous(memory_format=torch.channels_last)
        self.begin(c.schedule.clean_steps)

    def begin(self, steps: int) -> None:
        t = self.c.training
        self.optimiser = torch.optim.SGD(self.net.parameters(), t.lr, t.momentum, weight_decay=t.weight_decay)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(
            self.optimiser, lambda s: float(np.interp(s / steps, [0, 0.3, 1], [0, 1, 0.1]))
        )
        self.order, self.place = torch.randperm(len(self.x)), 0

    def batch(self) -> tuple[Tensor, Tensor]:
        n = self.c.training.batch_size
        if self.place + n > len(self.order):
            self.order, self.place = torch.randperm(len(self.x)), 0
        rows = self.order[self.place : self.place + n]
        self.place += n
        x = self.x[rows].float() / 255
        return torch.where(torch.rand(n, 1, 1, 1) < 0.5, x.flip(3), x), self.y[rows]

    def pgd(self, x: Tensor, y: Tensor, steps: int, random_start: bool) -> Tensor:
        tau = self.c.attack.tau
        self.net.eval()
        delta = torch.zeros_like(x)
        if random_start:
            delta = torch.randn_like(x)
            delta *= (
                tau
                * torch.rand(len(x), 1, 1, 1) ** (1 / x[0].numel())
                / delta.flatten(1).norm(dim=1)[:, None, None, None]
            )
            delta = (x + delta).clamp(0, 1) - x
        for _ in range(steps):
            delta.requires_grad_()
            (slope,) = torch.autograd.grad(nn.functional.cross_entropy(self.net(x + delta), y, reduction="sum"), delta)
            with torch.no_grad():
                slope /= slope.flatten(1).norm(dim=1).clamp_min(1e-12)[:, None, None, None]
                delta = delta + 2.5 * tau / steps * slope
                delta *= (tau / delta.flatten(1).norm(dim=1).clamp_min(tau))[:, None, None, None]
                delta = (x + delta).clamp(0, 1) - x
        self.net.train()
        return delta.detach()

    @torch.enable_grad()
    def step(self, adversarial: bool) -> None:
        x, y = self.batch()
        if adversarial:
            x = x + self.pgd(x, y, self.c.attack.steps, self.c.attack.random_start)
        self.optimiser.zero_grad()
        nn.functional.cross_entropy(self.net(x), y).backward()
        self.optimiser.step()
        self.schedule.step()

    @torch.enable_grad()
    def accuracies(self, x: Tensor, y: Tensor, steps: int) -> tuple[float, float]:
        """Clean and PGD accuracy."""
        right = fooled = 0
        for i in range(0, len(y), 250):
            cx, cy = x[i : i + 250], y[i : i + 250]
            delta = self.pgd(cx, cy, steps, random_start=False)
            self.net.eval()
            with torch.no_grad():
                right += int((self.net(cx).argmax(1) == cy).sum())
                fooled += int((self.net(cx + delta).argmax(1) == cy).sum())
            self.net.train()
        return right / len(y), fooled / len(y)
