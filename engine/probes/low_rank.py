"""The change of the weights since clean training: singular values, and what a low rank can do (SPEC.md section 7)."""

from __future__ import annotations

from collections.abc import Generator, Sequence

import torch
from torch import Tensor

from engine import metrics
from engine.config import SparseCodingConfig
from engine.data.sparse_coding import SparseCoding
from engine.errors import ConfigError
from engine.generators import seeded
from engine.models.low_rank import Factors
from engine.probes.arrays import frozen
from engine.probes.robustness import accuracy
from engine.protocol import Protocol
from engine.results import LowRank, RankCurve
from engine.training import retrain

TRAINING = 0.9  # share of the work that is training, for the progress only


def low_rank(now: Tensor, clean: Tensor, direction: Tensor, rank: int) -> LowRank:
    """Singular values of ``now`` − ``clean``, both (m, d), and its first right singular vector beside ``direction``.

    ``direction`` (d,) is M w_star/‖w_star‖. By the eigenvalues of the smaller Gram matrix, in float64: singular values
    below about 1e-8 of the largest one are rounding.
    """
    change = (now - clean).to("cpu", torch.float64)
    wide = change.shape[0] < change.shape[1]
    values, vectors = torch.linalg.eigh(change @ change.T if wide else change.T @ change)
    sigma = values.clamp_min(0).sqrt().flip(0)
    first = change.T @ vectors[:, -1] / sigma[0] if wide and sigma[0] > 0 else vectors[:, -1]
    if sigma[0] == 0:
        first = torch.zeros_like(change[0])
    cosine = float(first @ direction.to("cpu", torch.float64))
    return LowRank(frozen(sigma.float()), frozen((first if cosine >= 0 else -first).float()), abs(cosine), rank)


def scalars(result: LowRank) -> dict[str, float]:
    """Cosine and largest singular value, by the names of :mod:`engine.metrics`."""
    return {
        metrics.LOW_RANK_COSINE: result.cosine,
        metrics.LOW_RANK_SIGMA1: float(result.singular_values[0]),
    }


def robust_vs_rank(
    config: SparseCodingConfig, world: SparseCoding, clean: Tensor, clean_step: int, x: Tensor, y: Tensor,
    ranks: Sequence[int], protocol: Protocol,
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
