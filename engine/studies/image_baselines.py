"""Training and measuring the baselines on a run's images, at its radius (SPEC.md sections 6 and 8; claim 6).

They are trained by the network's own step on the run's training images, with every objective and a rate that was
searched for, and attacked by PGD inside [0, 1] as the network is.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from engine.config.experiment import with_values
from engine.core.generators import number, seeded
from engine.core.measurement import Measurement
from engine.core.slices import Progress, finish
from engine.data.augment import pixels
from engine.data.images import BOX, Images
from engine.images.config import ImageConfig
from engine.images.layout import GENERATORS
from engine.images.loading import ImageNetwork
from engine.images.training import ImageTrainer
from engine.models.classifier import ImageClassifier
from engine.models.layers import build
from engine.models.networks.two_layer import TwoLayerModel
from engine.probes.layers import chunk_of
from engine.probes.robustness import Measured, accuracy
from engine.studies.base import part
from engine.studies.baseline_training import (
    ATTACK_STEPS,
    FIT_SIZE,
    LOWEST,
    OBJECTIVES,
    RETREAT,
    BaselineResult,
    objective_config,
)
from engine.studies.image_baseline_models import RATES, Make, makers

STEPS = 300  # of each training
SEARCH_STEPS, SEARCH_TAIL = 50, 20  # each rate is tried for so long; the mean loss of the last ones is compared
TWO_LAYER = "two_layer"
TRAINING = {  # the run's training, but for what belongs to its network
    "training.lr_schedule": "one_cycle", "training.momentum": 0.9, "training.weight_decay": 0.0,
}  # fmt: skip


def measure_network(found: ImageNetwork, n: int) -> tuple[Measured, Measured]:
    """Clean accuracy of the run's network, and that under the attack that measures the baselines."""
    x, y = found.held_out(n)
    return _measure(found, "network", found.classifier(), x, y)


def run_image_baselines(found: ImageNetwork, n: int, progress: Progress) -> tuple[BaselineResult, ...]:
    """Train each baseline with each objective, and measure all of them on ``n`` held-out images.

    The NTK of the start is that of the run's network if that has two layers and its start is known, and else of a
    two-layer network of the default size; only a network of two layers has an NTK of now.
    """
    config = with_values(found.config, TRAINING)
    data = found.data.to(found.device, channels_last=config.training.channels_last)
    fit = pixels(data.train_x[:FIT_SIZE])
    own = config.model.name == TWO_LAYER
    start = (
        found.network("start")
        if own and found.has_start
        else build(TwoLayerModel(), found.facts, config.seed).to(found.device)
    )
    made = makers(fit, len(data.classes), config.seed, start, found.network("now") if own else None)
    x, y = found.held_out(n)
    results: list[BaselineResult] = []
    each = 1 / (len(made) * len(OBJECTIVES))
    for name, (make, features) in made.items():
        lr = math.nan
        for objective in OBJECTIVES:
            done = len(results) * each
            tell = part(progress, done, done + each, f"{name}: {objective} training ")
            if math.isnan(lr):
                lr = _search(make, config, data, part(tell, 0.0, 0.3))
            loss, rate = math.inf, lr
            while not math.isfinite(loss):  # it can still diverge where the search did not
                model, used = make(), rate
                loss = _train(model, config, data, objective, STEPS, used, "baselines", part(tell, 0.3, 0.8))
                rate /= RETREAT
                if used < LOWEST:
                    break
            clean, robust = _measure(found, f"{name} {objective}", ImageClassifier(model), x, y)
            results.append(BaselineResult(name, objective, clean, robust, None, features, STEPS, used))
    progress(1.0, "baselines")
    return tuple(results)


def _search(make: Make, config: ImageConfig, data: Images, tell: Progress) -> float:
    """The rate with the lowest loss in a short training by FGM, on batches of its own."""
    losses = []
    for index, rate in enumerate(RATES):
        at = part(tell, index / len(RATES), (index + 1) / len(RATES))
        losses.append(_train(make(), config, data, "fgm", SEARCH_STEPS, rate, "baselines search", at))
    return RATES[min(range(len(RATES)), key=lambda i: losses[i])]


def _train(
    model: nn.Module, config: ImageConfig, data: Images, objective: str, steps: int, lr: float, name: str,
    tell: Progress,
) -> float:  # fmt: skip
    """Train in place; every baseline sees the same batches. Returns the mean loss of the last steps, ∞ for none.

    ∞ stands for a loss that is no number, too: that rate diverged.
    """
    config, objective = objective_config(with_values(config, {"training.lr": lr}), objective)
    generators = {kind: seeded(config.seed, f"{name} {kind}", data.train_x.device) for kind in GENERATORS}
    trainer = ImageTrainer(model, data, generators, config)
    loss, right = torch.zeros((2,), device=data.train_x.device)
    losses = []
    for step in range(steps):
        trainer.step(config, objective, step / steps, number(config.seed, f"{name} {step}"), loss, right)
        if step >= steps - SEARCH_TAIL:
            losses.append(float(loss))
        tell((step + 1) / steps, "")
    mean = sum(losses) / len(losses) if losses else math.inf
    return mean if math.isfinite(mean) else math.inf


def _measure(found: ImageNetwork, name: str, model: ImageClassifier, x: Tensor, y: Tensor) -> tuple[Measured, Measured]:
    attack, seed = found.config.attack, found.config.seed
    rows = []
    for protocol in protocols(attack.norm, attack.tau, len(y)):
        generator = seeded(seed, f"baselines {name} {protocol.text()}", x.device)
        work = accuracy(model, x, y, protocol, None, generator, box=BOX, chunk=chunk_of(x.shape))
        rows.append(finish(work))
    return rows[0], rows[1]


def protocols(norm: str, tau: float, n: int) -> tuple[Measurement, Measurement]:
    """How all are measured: without an attack, and by PGD."""
    return Measurement("clean", norm, 0.0, 0, 0, n), Measurement("pgd", norm, tau, ATTACK_STEPS, 1, n)
