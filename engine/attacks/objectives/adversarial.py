"""Training on samples perturbed by an attack on the network as it is (Madry et al. 2017, arXiv 1706.06083)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from engine.config.knobs import AttackKnobs
from engine.config.objectives import objective
from engine.core.measurement import NORM_SIGN

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from engine.attacks.base import Attack


def training_attack(knobs: AttackKnobs, box: tuple[float, float] | None = None) -> Attack:
    """The attack of adversarial training: FGM for one step from x itself (on images also from a random start),
    else PGD.

    ``box`` holds x + δ; it is given for images.
    """
    from engine.attacks.fgm import Fgm
    from engine.attacks.pgd import Pgd
    from engine.attacks.threat import threats

    threat = threats[knobs.norm]
    if knobs.steps == 1 and knobs.restarts == 1 and (box is not None or not knobs.random_start):
        return Fgm(threat, knobs.tau, random_start=knobs.random_start, box=box)
    return Pgd(
        threat,
        knobs.tau,
        steps=knobs.steps,
        restarts=knobs.restarts,
        random_start=knobs.random_start,
        skip_fooled=False,
        box=box,
    )


def _how(config: Any) -> str:
    knobs: AttackKnobs = config.attack
    name = f"{knobs.trained_by()}, {NORM_SIGN[knobs.norm]} radius {knobs.tau:g}"
    return f"Training perturbations at this step: {name}."


@objective(
    "adversarial",
    label="adversarial",
    button="Adversarial",
    doc="Train on samples perturbed inside the ball ‖δ‖ ≤ tau",
    colour="#E69F00",
    how=_how,
    order=1,
)
def adversarial(
    config: Any, model: Any, x: Tensor, y: Tensor, generator: torch.Generator, box: tuple[float, float] | None = None
) -> None:
    """Add the perturbation of the current network to x (n, ...)."""
    if config.attack.tau > 0:
        x.add_(training_attack(config.attack, box)(model, x, y, generator))
