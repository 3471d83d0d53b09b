"""Training on samples with Gaussian noise."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from engine.config.objectives import objective

if TYPE_CHECKING:
    import torch
    from torch import Tensor


def _how(config: Any) -> str:
    return f"Training noise at this step: Gaussian, norm about {config.training.noise:g}."


@objective(
    "gaussian_noise",
    label="Gaussian noise",
    button="Noise",
    doc="Train on samples with Gaussian noise, the cheap baseline",
    colour="#009E73",
    how=_how,
    order=2,
)
def gaussian_noise(
    config: Any, model: Any, x: Tensor, y: Tensor, generator: torch.Generator, box: tuple[float, float] | None = None
) -> None:
    """Add N(0, noise²/d) to every coordinate of x (n, ...): a perturbation of norm about ``training.noise``."""
    import torch

    noise = torch.empty_like(x).normal_(0, 1, generator=generator)
    x.add_(noise, alpha=config.training.noise / math.sqrt(x[0].numel()))
    if box is not None:
        x.clamp_(*box)
