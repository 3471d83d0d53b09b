"""Networks of another seed beside those of a run: the same knobs, another start, other batches (SPEC.md section 4).

They go through the phases that the run has gone through, for as many steps each. In the world of the theory dictionary
and target stay the run's; on images the training images do. Knobs are those of the run now, with what is scheduled
ahead; changes that were made by hand on the way are not repeated.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from engine.config.experiment import at_step, with_value
from engine.config.knobs import Objective
from engine.config.objectives import objectives
from engine.core.errors import ConfigError, ExplorerError
from engine.core.generators import number, seeded
from engine.core.slices import finish
from engine.data.sparse_stream import SparseCoding
from engine.images.config import ImageConfig
from engine.images.layout import GENERATORS
from engine.images.training import ImageTrainer, restrict, start
from engine.models.classifier import ImageClassifier
from engine.models.low_rank import Factors
from engine.models.symmetric_relu import SymmetricRelu
from engine.run.timeline import Span
from engine.studies.clean_end import CleanEnd, Stages, Tell
from engine.studies.transfer import other_start
from engine.theory.config import SparseCodingConfig
from engine.theory.training import retrain

NAME = "another start "  # of the random generators


def other_theory_nets(
    config: SparseCodingConfig, world: SparseCoding, clean_step: int, later: Sequence[Span], seed: int,
    stages: Stages,
) -> tuple[SymmetricRelu, SymmetricRelu]:  # fmt: skip
    """The net of ``seed`` after ``clean_step`` clean steps, and after the phases ``later`` that followed them.

    Each phase is one of ``stages``.
    """
    tell = stages.begin(doing(seed, "clean"))
    clean = now = finish(other_start(config, world, clean_step, seed), tell)
    for span in later:
        rank = config.low_rank.rank if span.objective != "clean" else 0
        factors = Factors.begin(now.weight, rank, seed, span.start)
        objective: Objective = span.objective
        work = retrain(
            config, world, now.weight.clone(), objective, span.start, span.end - span.start, f"{NAME}{span.start} ",
            seed, factors,
        )  # fmt: skip
        now = finish(work, stages.begin(doing(seed, objective)))
    return clean, now


def other_image_nets(
    found: CleanEnd, later: Sequence[Span], seed: int, stages: Stages
) -> tuple[ImageClassifier, ImageClassifier]:
    """The same on the run's images. Raises :class:`ConfigError` for a run that draws one layer again.

    Raises :class:`ExplorerError` if training diverges.
    """
    config = with_value(found.config, "seed", seed)
    if config.local.layer:
        raise ConfigError(
            f"local.layer: got {config.local.layer!r}; transfer needs a run that draws no layer again while it trains"
        )
    device = found.network.device
    network = start(config, found.network.facts, device)
    generators = {kind: seeded(seed, f"{NAME}{kind}", device) for kind in GENERATORS}
    trainer = ImageTrainer(network, found.placed, generators, config)
    _train(trainer, config, Span(0, found.clean_step, "clean"), stages.begin(doing(seed, "clean")))
    clean = trainer.classifier.copy()
    for span in later:
        rank = config.low_rank.rank if span.objective != "clean" else 0
        trainer.begin(restrict(network, config, rank, seed, span.start) if rank else None)
        _train(trainer, config, span, stages.begin(doing(seed, span.objective)))
    return clean, trainer.classifier


def _train(trainer: ImageTrainer, config: ImageConfig, span: Span, tell: Tell) -> None:
    """One phase, the learning rate running through the schedule that the phase has in ``config``."""
    schedule, device = config.schedule, next(trainer.network.parameters()).device
    loss, right = torch.empty((), device=device), torch.empty((), device=device)
    length = schedule.clean_steps if span.objective == "clean" else schedule.second_steps
    objective: Objective = span.objective
    steps = span.end - span.start
    for done in range(steps):
        dropout = number(config.seed, f"{NAME}dropout {span.start + done}")
        share = done / length if length else 1.0
        trainer.step(at_step(config, span.start + done), objective, share, dropout, loss, right)
        tell((done + 1) / steps)
    if not bool(loss.isfinite()):
        raise ExplorerError(f"seed {config.seed}: {objective} training diverged after {span.end} steps")


def doing(seed: int, objective: str) -> str:
    """What is under way, for the progress."""
    return f"seed {seed}: {objectives[objective].label} training"
