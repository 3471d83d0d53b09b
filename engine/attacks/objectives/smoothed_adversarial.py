"""Adversarial training of the smoothed network: Gaussian noise and an attack together (Salman et al. 2019).

arXiv 1906.04584 (SmoothAdv), with one draw of the noise a sample: the attack sees the same noise as the update.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from engine.attacks.objectives.adversarial import adversarial
from engine.attacks.objectives.gaussian_noise import gaussian_noise
from engine.config.knobs import AttackKnobs
from engine.config.objectives import objective
from engine.core.measurement import NORM_SIGN

if TYPE_CHECKING:
    import torch
    from torch import Tensor


def _how(config: Any) -> str:
    knobs: AttackKnobs = config.attack
    attack = f"{knobs.trained_by()}, {NORM_SIGN[knobs.norm]} radius {knobs.tau:g}"
    return f"Training samples at this step: Gaussian noise of norm about {config.training.noise:g}, then {attack}."


@objective(
    "smoothed_adversarial",
    label="smoothed adversarial",
    button="Smoothed",
    doc="Train on samples with Gaussian noise, perturbed inside the ball ‖δ‖ ≤ tau around it",
    colour="#D55E00",
    how=_how,
    order=4,
)
def smoothed_adversarial(
    config: Any, model: Any, x: Tensor, y: Tensor, generator: torch.Generator, box: tuple[float, float] | None = None
) -> None:
    """Add noise of norm about ``training.noise`` to x (n, ...), then the perturbation of the current network there.

    Without noise it is adversarial training, without a radius Gaussian-noise training, bit by bit.
    """
    if config.training.noise > 0:  # noise of size 0 would still draw numbers, which random starts then lack
        gaussian_noise(config, model, x, y, generator, box)
    adversarial(config, model, x, y, generator, box)
