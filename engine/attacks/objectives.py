"""What a training step trains on: the batch as it is, with noise, or perturbed by the attack."""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import Tensor

from engine.attacks.base import Attack, Box, Classifier
from engine.attacks.fgm import Fgm
from engine.attacks.pgd import Pgd
from engine.attacks.threat import threats
from engine.config.experiment import Config
from engine.config.knobs import Attack as AttackKnobs
from engine.core.registry import Registry


class Perturb(Protocol):
    """Change the batch x (n, ...), y (n,) in place into what is trained on; with ``box`` x stays in it."""

    def __call__(
        self,
        config: Config,
        model: Classifier,
        x: Tensor,
        y: Tensor,
        generator: torch.Generator,
        box: Box | None = None,
    ) -> None:
        """Nothing is returned: ``x`` is overwritten."""


objectives: Registry[Perturb] = Registry("objective")


def training_attack(knobs: AttackKnobs, box: Box | None = None) -> Attack:
    """The attack of adversarial training: FGM for one step from x itself (on images also from a random start),
    else PGD.

    ``box`` holds x + δ; it is given for images.
    """
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


@objectives.register("clean")
def clean(
    config: Config, model: Classifier, x: Tensor, y: Tensor, generator: torch.Generator, box: Box | None = None
) -> None:
    """Leave the batch x (n, ...) as it is."""


@objectives.register("adversarial")
def adversarial(
    config: Config, model: Classifier, x: Tensor, y: Tensor, generator: torch.Generator, box: Box | None = None
) -> None:
    """Add the perturbation of the current network to x (n, ...)."""
    if config.attack.tau > 0:
        x.add_(training_attack(config.attack, box)(model, x, y, generator))


@objectives.register("gaussian_noise")
def gaussian_noise(
    config: Config, model: Classifier, x: Tensor, y: Tensor, generator: torch.Generator, box: Box | None = None
) -> None:
    """Add N(0, noise²/d) to every coordinate of x (n, ...): a perturbation of norm about ``training.noise``."""
    noise = torch.empty_like(x).normal_(0, 1, generator=generator)
    x.add_(noise, alpha=config.training.noise / math.sqrt(x[0].numel()))
    if box is not None:
        x.clamp_(*box)
