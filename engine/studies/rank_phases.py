"""Adversarial phases whose change of the weights has a small rank (SPEC.md section 7; claim 9).

From the weights at the end of clean training the adversarial phase is repeated once for each rank, on the same batches;
the change is merged into the weights, so what is measured is an ordinary network.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from engine.config.experiment import with_value
from engine.core.arrays import frozen
from engine.core.errors import ConfigError
from engine.core.generators import seeded
from engine.core.measurement import Measurement
from engine.core.quoting import quote
from engine.core.results import RankCurve
from engine.core.slices import Progress, finish, mapped
from engine.data.sparse_stream import SparseCoding
from engine.images.training import ImageTrainer, restrict
from engine.models.low_rank import Factors
from engine.probes.low_rank import low_rank
from engine.probes.robustness import Measured, accuracy
from engine.studies.clean_end import CleanEnd, Stages, clean_end_of, protocols, steps_of
from engine.theory.config import SparseCodingConfig
from engine.theory.loading import TheoryNetwork
from engine.theory.training import retrain

TRAINING = 0.9  # share of the work that is training, for the progress only
HIGHEST = 4096  # rank that may be asked for
NAME = "rank study"  # of the random generators: every rank sees the same batches

Pair = tuple[Measured, Measured]  # clean, robust


@dataclass(frozen=True)
class RankPhases:
    """Phases of ``steps`` steps from the clean weights of step ``clean_step``, one for each of ``ranks``.

    Accuracies (clean, robust) ``before`` them and ``after`` each; ``step`` is the run's newest.
    """

    step: int
    clean_step: int
    steps: int
    ranks: tuple[int, ...]
    before: Pair
    after: tuple[Pair, ...]


def train_ranks(
    folder: Path, ranks: Sequence[int], layers: str, steps: int | None, n: int, progress: Progress
) -> RankPhases:
    """Repeat the adversarial phase of the run in ``folder`` at each of ``ranks``, 0 being unrestricted.

    The arguments and errors are those of :class:`engine.studies.questions.low_rank.RankStudy`.
    """
    ranks = tuple(dict.fromkeys(ranks))
    if not ranks or any(not 0 <= rank <= HIGHEST for rank in ranks):
        raise ConfigError(f"--rank: got {', '.join(map(str, ranks)) or 'none'}; allowed: 1 to {HIGHEST}, and 0 (full)")
    theory, clean_end = clean_end_of(folder)
    if theory:
        return _theory(folder, clean_end, ranks, layers, steps, n, progress)
    return _images(folder, ranks, layers, steps, n, progress)


def _images(
    folder: Path, ranks: tuple[int, ...], layers: str, steps: int | None, n: int, progress: Progress
) -> RankPhases:
    found = CleanEnd.load(folder, n)
    found.expect_trained("low-rank")
    config = with_value(found.config, "low_rank.layers", layers)
    phase = steps_of(steps, config.schedule.second_steps, "--steps", "schedule.second_steps")
    try:
        restrict(found.network.network("clean"), config, 0, config.seed, 0)
    except ConfigError as error:
        raise ConfigError(str(error).replace("low_rank.layers", "--layers")) from None
    _, training, measuring = found.costs(0, phase)
    stages = Stages(progress, [measuring, *[training, measuring] * len(ranks)])
    before = found.measure(
        found.network.classifier("clean"), f"{NAME} before", stages.begin("clean network: measuring")
    )
    pairs = []
    for rank in ranks:
        what = f"rank {rank}" if rank else "full rank"
        trainer = adversarial_phase(found, rank, layers, phase, stages.begin(f"{what}: adversarial training"))
        pairs.append(found.measure(trainer.classifier, NAME, stages.begin(f"{what}: measuring")))
    return RankPhases(found.network.step, found.clean_step, phase, ranks, before, tuple(pairs))


def adversarial_phase(
    found: CleanEnd, rank: int, layers: str, steps: int, tell: Callable[[float], None]
) -> ImageTrainer:
    """Train adversarially from the clean weights with the change of ``layers`` restricted to ``rank``.

    The network that the trainer returned holds the change merged into its weights.
    """
    config = with_value(found.config, "low_rank.layers", layers)
    trainer = found.trainer(NAME)
    trainer.begin(restrict(trainer.network, config, rank, config.seed, found.clean_step))
    found.train(trainer, "adversarial", steps, NAME, tell)
    return trainer


def _theory(
    folder: Path, clean_end: int, ranks: tuple[int, ...], layers: str, steps: int | None, n: int, progress: Progress
) -> RankPhases:
    if layers != "all":
        raise ConfigError(f"--layers: got {quote(layers)}; allowed: all (this network has one layer)")
    network, clean = TheoryNetwork.load(folder), TheoryNetwork.load(folder, clean_end)
    config = network.config
    phase = steps_of(steps, config.schedule.second_steps, "--steps", "schedule.second_steps")
    config = with_value(with_value(config, "schedule.second", "adversarial"), "schedule.second_steps", phase)
    world = network.held_out.world
    x, y = network.held_out.take(n, config.world.sigma_x)
    plain, robust = protocols(config, len(y))
    stages = Stages(progress, [1.0, 9.0])
    stages.begin("clean network: measuring")
    before = [
        finish(accuracy(clean.model, x, y, how, world.dense_direction, seeded(config.seed, f"{NAME} {how.text()}")))
        for how in (plain, robust)
    ]
    tell = stages.begin("adversarial training at each rank")
    curve = finish(robust_vs_rank(config, world, clean.model.weight, clean_end, x, y, ranks, robust), tell)
    pairs = tuple(
        (Measured(sound, plain), Measured(right, robust))
        for sound, right in zip(curve.clean.tolist(), curve.right.tolist(), strict=True)
    )
    return RankPhases(network.step, clean_end, phase, ranks, (before[0], before[1]), pairs)


def _share(index: int, count: int, share: float, _: object = None) -> float:
    """Of all the work, when ``share`` of the training at one rank is done."""
    return (index + TRAINING * share) / count


def robust_vs_rank(
    config: SparseCodingConfig, world: SparseCoding, clean: Tensor, clean_step: int, x: Tensor, y: Tensor,
    ranks: Sequence[int], protocol: Measurement,
) -> Generator[float, None, RankCurve]:  # fmt: skip
    """Train the second phase of ``config`` from ``clean`` (m, d) once for each of ``ranks`` (0: unrestricted).

    All ranks see the same batches, which the run itself has not seen. ``clean_step`` is the number of steps behind the
    clean weights; x (n, d), y (n,) are held out. Yields the share done. Raises :class:`ConfigError` for a schedule
    without a second phase other than clean.
    """
    schedule = config.schedule
    if not schedule.second_steps or schedule.second == "clean":
        raise ConfigError("schedule.second_steps: accuracy by rank needs a second phase other than clean")
    rows: list[tuple[int, int, float, float]] = []
    for index, rank in enumerate(ranks):
        factors = Factors.begin(clean, rank, config.seed, clean_step)
        training = retrain(
            config, world, clean.clone(), schedule.second, clean_step, schedule.second_steps, "rank ", config.seed,
            factors,
        )  # fmt: skip
        model = yield from mapped(training, partial(_share, index, len(ranks)))
        measuring = accuracy(model, x, y, protocol, world.dense_direction, seeded(config.seed, "rank attack", x.device))
        right = (yield from mapped(measuring, partial(_share, index, len(ranks), 1.0))).right
        found = low_rank(model.weight, clean, world.dense_direction, rank)
        sound = int((model.margin(x[: protocol.n], y[: protocol.n]) > 0).sum())
        rows.append((right, sound, found.cosine, float(found.singular_values[0])))
        yield (index + 1) / len(ranks)
    rights, cleans, cosines, sigmas = zip(*rows, strict=True)
    return RankCurve(
        tuple(ranks), frozen(torch.tensor(rights)), frozen(torch.tensor(cleans)), frozen(torch.tensor(cosines)),
        frozen(torch.tensor(sigmas)), protocol,
    )  # fmt: skip
