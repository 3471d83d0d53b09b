"""A new objective in one file: uniform noise in the ball, which needs no label and no gradient."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from engine.config.objectives import objective

if TYPE_CHECKING:
    import torch
    from torch import Tensor


def _how(config: Any) -> str:
    return f"Training noise at this step: uniform, {config.attack.norm} radius {config.attack.tau:g}."


@objective(
    "uniform_noise",
    label="uniform noise",
    button="Uniform",
    doc="Train on samples moved to a random point of the ball ‖δ‖ ≤ tau",
    colour="#F0E442",
    how=_how,
)
def uniform_noise(
    config: Any, model: Any, x: Tensor, y: Tensor, generator: torch.Generator, box: tuple[float, float] | None = None
) -> None:
    """Add a uniform point of the ball of ``attack.norm`` and ``attack.tau`` to x (n, ...)."""
    from engine.attacks.threat import threats

    x.add_(threats[config.attack.norm].start(x.clone(), config.attack.tau, generator))
    if box is not None:
        x.clamp_(*box)
