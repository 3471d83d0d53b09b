"""Transfer between a run's networks and one from another start, which is trained here (SPEC.md sections 4 and 9)."""

from __future__ import annotations

from collections.abc import Generator

from torch import Tensor

from engine.core.errors import ConfigError
from engine.core.measurement import Measurement
from engine.core.results import Transfer
from engine.core.slices import mapped
from engine.data.sparse_stream import SparseCoding
from engine.models.symmetric_relu import SymmetricRelu
from engine.probes.transfer import transfer
from engine.theory.config import SparseCodingConfig
from engine.theory.training import initial_weight, retrain

CLEAN, NOW, OTHER = "after clean training", "now", "clean, another start"
TRAINING = 0.8  # share of the work that training the other network is, for the progress only


def other_start(
    config: SparseCodingConfig, world: SparseCoding, steps: int, seed: int | None = None
) -> Generator[float, None, SymmetricRelu]:
    """Train a clean network in the same ``world`` by the same recipe for ``steps`` steps, from another start.

    Its weights and batches come from ``seed``, by default the one after the run's; its dictionary and target are the
    run's. Yields the share done. Raises :class:`ConfigError` for ``steps`` = 0: without clean training there is
    nothing to compare.
    """
    if steps < 1:
        raise ConfigError(f"schedule.clean_steps: got {steps}; a clean network from another start needs at least 1")
    seed = (config.seed + 1) % 2**31 if seed is None else seed
    weight = initial_weight(config, seed).to(world.target.device)
    return (yield from retrain(config, world, weight, "clean", 0, steps, "another start ", seed))


def between_phases_and_starts(
    config: SparseCodingConfig, world: SparseCoding, clean: SymmetricRelu, now: SymmetricRelu, clean_step: int,
    x: Tensor, y: Tensor, protocol: Measurement,
) -> Generator[float, None, Transfer]:  # fmt: skip
    """The matrix of a run: its net after clean training, its net now, and a clean one from another start.

    The third is trained here, for ``clean_step`` steps. Yields the share done.
    """
    training = other_start(config, world, clean_step)
    other = yield from mapped(training, lambda share: TRAINING * share)
    measuring = transfer({CLEAN: clean, NOW: now, OTHER: other}, x, y, protocol, world.dense_direction, config.seed)
    return (yield from mapped(measuring, lambda share: TRAINING + (1 - TRAINING) * share))
