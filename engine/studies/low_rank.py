"""Robust accuracy against the rank of what an adversarial phase may change (SPEC.md section 7; claim 9).

From the weights at the end of clean training the adversarial phase is repeated once for each rank, on the same batches;
the change is merged into the weights, so what is measured is an ordinary network.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from engine.claims.base import Facts
from engine.claims.source import StoreSource
from engine.config.experiment import SPARSE_CODING, Config, with_value
from engine.core import metrics
from engine.core.arrays import frozen
from engine.core.errors import ConfigError
from engine.core.files import write_json
from engine.core.generators import seeded
from engine.core.measurement import Measurement
from engine.core.results import RankCurve
from engine.core.slices import finish
from engine.data.sparse_stream import SparseCoding
from engine.images.training import ImageTrainer, restrict
from engine.models.low_rank import Factors
from engine.probes.low_rank import low_rank
from engine.probes.robustness import Measured, accuracy
from engine.run.store import Store
from engine.studies.clean_end import CleanEnd, Progress, Stages, entry, not_ended, steps_of
from engine.studies.files import LOW_RANK
from engine.theory.config import SparseCodingConfig
from engine.theory.loading import TheoryNetwork
from engine.theory.training import retrain

TRAINING = 0.9  # share of the work that is training, for the progress only
RANKS = (1, 2, 4, 8, 16, 0)  # 0: unrestricted
NAME = "rank study"  # of the random generators: every rank sees the same batches

Pair = tuple[Measured, Measured]  # clean, robust


def rank_study(
    folder: Path,
    ranks: Sequence[int] = RANKS,
    *,
    layers: str = "all",
    steps: int | None = None,
    n: int = 1000,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Repeat the adversarial phase of the run in ``folder`` at each of ``ranks``, 0 being unrestricted.

    On images ``layers`` (``all``, or names separated by commas) are those whose change has that rank, or any at rank 0;
    the weights of the others are frozen meanwhile, biases and batch norms are free. ``steps`` are those of the run's
    second phase by default, radius, attack and rates the run's, and robust accuracy is measured as in its reports on
    ``n`` held-out samples, or as many as there are. ``progress`` hears the share done and what is under way. Writes
    ``low_rank.json``, records ``low_rank/robust@<r>`` and ``low_rank/clean@<r>`` at the newest checkpoint's step, and
    returns what it wrote. Raises :class:`ConfigError` for wrong ranks, layers or steps and for a run whose clean
    training has not ended, and :class:`StoreError` for the folder.
    """
    ranks = tuple(dict.fromkeys(ranks))
    if not ranks or any(not 0 <= rank <= 4096 for rank in ranks):
        raise ConfigError(f"--rank: got {', '.join(map(str, ranks)) or 'none'}; allowed: 1 to 4096, and 0 (full)")
    store = Store.open(folder, read_only=True)
    theory = store.config.kind == SPARSE_CODING
    clean_end = Facts(StoreSource(store)).clean_end
    store.close()
    if theory:
        found = _theory(folder, clean_end, ranks, layers, steps, n, progress)
    else:
        found = _images(folder, ranks, layers, steps, n, progress)
    step, clean_step, phase, before, pairs = found
    robust = before[1].protocol
    written = {
        "step": step,
        "clean_step": clean_step,
        "norm": robust.norm,
        "tau": robust.tau,
        "protocol": robust.text(),
        "n": robust.n,
        "layers": layers,
        "steps": phase,
        "before": _row(before),
        "ranks": [{"rank": rank, **_row(pair)} for rank, pair in zip(ranks, pairs, strict=True)],
    }
    store = Store.open(folder)
    try:
        record(store, step, ranks, pairs)
    finally:
        store.close()
    write_json(folder / LOW_RANK, written)
    if progress is not None:
        progress(1.0, "done")
    return written


# What a study found: newest step, steps behind the clean weights, steps of a phase, accuracies before and at each rank.
Found = tuple[int, int, int, Pair, list[Pair]]


def _images(
    folder: Path, ranks: Sequence[int], layers: str, steps: int | None, n: int, progress: Progress | None
) -> Found:
    found = CleanEnd.load(folder, n)
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
    return found.network.step, found.clean_step, phase, before, pairs


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
    folder: Path, clean_end: int | None, ranks: Sequence[int], layers: str, steps: int | None, n: int,
    progress: Progress | None,
) -> Found:  # fmt: skip
    if clean_end is None:
        raise not_ended(folder)
    if layers != "all":
        raise ConfigError(f"--layers: got {layers!r}; allowed: all (this network has one layer)")
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
    pairs = [
        (Measured(sound, plain), Measured(right, robust))
        for sound, right in zip(curve.clean.tolist(), curve.right.tolist(), strict=True)
    ]
    return network.step, clean_end, phase, (before[0], before[1]), pairs


def protocols(config: Config, n: int) -> tuple[Measurement, Measurement]:
    """How clean and robust accuracy are measured: as in the run's reports, on ``n`` samples."""
    attack, knobs = config.attack, config.evaluation
    return (
        Measurement("clean", attack.norm, 0.0, 0, 0, n),
        Measurement("pgd", attack.norm, attack.tau, knobs.report_steps, knobs.report_restarts, n),
    )


def record(store: Store, step: int, ranks: Sequence[int], pairs: Sequence[Pair]) -> None:
    """Record the accuracies at each rank by the names of :func:`engine.core.metrics.rank`, with their protocols."""
    for rank, pair in zip(ranks, pairs, strict=True):
        for kind, measured in zip(("clean", "robust"), pair, strict=True):
            store.record([(step, metrics.rank(kind, rank), measured.accuracy)])
            store.set_protocol(step, metrics.rank(kind, rank), measured.protocol)


def _row(pair: Pair) -> dict[str, float]:
    clean, robust = entry(pair[0]), entry(pair[1])
    return {
        "robust": robust["value"],
        "low": robust["low"],
        "high": robust["high"],
        "clean": clean["value"],
        "clean_low": clean["low"],
        "clean_high": clean["high"],
    }


def table(found: dict[str, Any]) -> str:
    """The content of ``low_rank.json`` as text."""

    def line(name: str, row: dict[str, Any]) -> str:
        return (
            f"  {name:<12}robust {row['robust']:.3f} [{row['low']:.3f}, {row['high']:.3f}]  "
            f"clean {row['clean']:.3f} [{row['clean_low']:.3f}, {row['clean_high']:.3f}]"
        )

    lines = [
        f"{found['protocol']}; {found['steps']} adversarial steps from the clean weights of step "
        f"{found['clean_step']}, layers: {found['layers']}",
        line("before", found["before"]),
    ]
    lines += [line(f"rank {row['rank']}" if row["rank"] else "full", row) for row in found["ranks"]]
    return "\n".join(lines)


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
        while True:
            try:
                yield (index + TRAINING * next(training)) / len(ranks)
            except StopIteration as stop:
                model = stop.value
                break
        measured = accuracy(model, x, y, protocol, world.dense_direction, seeded(config.seed, "rank attack", x.device))
        while True:
            try:
                next(measured)
            except StopIteration as stop:
                right = stop.value.right
                break
            yield (index + TRAINING) / len(ranks)
        found = low_rank(model.weight, clean, world.dense_direction, rank)
        sound = int((model.margin(x[: protocol.n], y[: protocol.n]) > 0).sum())
        rows.append((right, sound, found.cosine, float(found.singular_values[0])))
        yield (index + 1) / len(ranks)
    rights, cleans, cosines, sigmas = zip(*rows, strict=True)
    return RankCurve(
        tuple(ranks), frozen(torch.tensor(rights)), frozen(torch.tensor(cleans)), frozen(torch.tensor(cosines)),
        frozen(torch.tensor(sigmas)), protocol,
    )  # fmt: skip
