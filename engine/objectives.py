"""What a training step trains on: the batch as it is, with noise, or perturbed by the attack."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from engine.attacks.base import Attack, Classifier
from engine.attacks.fgm import Fgm
from engine.attacks.pgd import Pgd
from engine.config import Attack as AttackKnobs
from engine.config import Config
from engine.registry import Registry
from engine.threat import threats

Perturb = Callable[[Config, Classifier, Tensor, Tensor, torch.Generator], None]

objectives: Registry[Perturb] = Registry("objective")


def training_attack(knobs: AttackKnobs) -> Attack:
    """The attack of adversarial training: FGM for one step from x itself, else PGD."""
    threat = threats[knobs.norm]
    if knobs.steps == 1 and knobs.restarts == 1 and not knobs.random_start:
        return Fgm(threat, knobs.tau)
    return Pgd(
        threat,
        knobs.tau,
        steps=knobs.steps,
        restarts=knobs.restarts,
        random_start=knobs.random_start,
        skip_fooled=False,
    )


@objectives.register("clean")
def clean(config: Config, model: Classifier, x: Tensor, y: Tensor, generator: torch.Generator) -> None:
    """Leave the batch x (n, d) as it is."""


@objectives.register("adversarial")
def adversarial(config: Config, model: Classifier, x: Tensor, y: Tensor, generator: torch.Generator) -> None:
    """Add the perturbation of the current network to x (n, d)."""
    if config.attack.tau > 0:
        x.add_(training_attack(config.attack)(model, x, y, generator))


@objectives.register("gaussian_noise")
def gaussian_noise(config: Config, model: Classifier, x: Tensor, y: Tensor, generator: torch.Generator) -> None:
    """Add N(0, noise²/d) to every coordinate of x (n, d): a perturbation of norm about ``training.noise``."""
    noise = torch.empty_like(x).normal_(0, 1, generator=generator)
    x.add_(noise, alpha=config.training.noise / math.sqrt(x[0].numel()))
