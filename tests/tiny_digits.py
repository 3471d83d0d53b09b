"""A small convolutional network on scikit-learn's digits, trained in seconds; only to be read."""

from __future__ import annotations

from functools import cache

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

TRAINED = 1300  # samples; the others, fewer than 500, are held out


def net(seed: int = 0) -> nn.Sequential:
    """Batch norm and dropout among convolutions: (n, 1, 8, 8) → (n, 10)."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.Dropout(0.2), nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
            nn.Dropout(0.2), nn.Linear(128, 10),
        )  # fmt: skip


@cache
def digits() -> tuple[Tensor, Tensor]:
    """All pictures (1797, 1, 8, 8) in [0, 1] and labels, shuffled."""
    x, y = load_digits(return_X_y=True)
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(0))
    return torch.tensor(x, dtype=torch.float32).view(-1, 1, 8, 8)[order] / 16, torch.tensor(y)[order].long()


def held_out(n: int) -> tuple[Tensor, Tensor]:
    """n pictures and labels that the network has not seen."""
    x, y = digits()
    return x[TRAINED : TRAINED + n], y[TRAINED : TRAINED + n]


@cache
def trained() -> nn.Sequential:
    """The network after eight passes, in *training* mode."""
    module, (x, y) = net(), digits()
    optimiser = torch.optim.Adam(module.parameters(), lr=3e-3)
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(1)
        for _ in range(8):
            for rows in torch.randperm(TRAINED).split(100):
                optimiser.zero_grad()
                nn.functional.cross_entropy(module(x[rows]), y[rows]).backward()
                optimiser.step()
    module.zero_grad()
    return module
