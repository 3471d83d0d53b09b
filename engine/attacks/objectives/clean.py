"""Training on the samples as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from engine.config.objectives import objective

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@objective("clean", label="clean", button="Clean", doc="Train on clean samples", colour="#56B4E9", order=0)
def clean(
    config: Any, model: Any, x: Tensor, y: Tensor, generator: torch.Generator, box: tuple[float, float] | None = None
) -> None:
    """Leave the batch x (n, ...) as it is."""
