"""Transfer: perturbations made on one network, accuracy of another (SPEC.md sections 4 and 9)."""

from __future__ import annotations

from collections.abc import Generator, Mapping

import numpy as np
import torch
from torch import Tensor

from engine.attacks.base import Classifier
from engine.config import SparseCodingConfig
from engine.data.sparse_coding import SparseCoding
from engine.errors import ConfigError
from engine.generators import seeded
from engine.models.symmetric_relu import SymmetricRelu
from engine.probes.arrays import frozen
from engine.probes.robustness import CHUNK, build
from engine.protocol import Protocol
from engine.results import Transfer
from engine.training import initial_weight, retrain

CLEAN, NOW, OTHER = "after clean training", "now", "clean, another start"
TRAINING = 0.8  # share of the work that training the other network is, for the progress only


def transfer(
    nets: Mapping[str, Classifier], x: Tensor, y: Tensor, protocol: Protocol, direction: Tensor, seed: int
) -> Generator[float, None, Transfer]:
    """Measure every net on the perturbations of every net, for held-out x (n, d), y (n,). Yields the share done.

    Each sample is perturbed on each net, also where that net is wrong without: another one may be right there.
    ``direction`` (d,) is M w_star/‖w_star‖, for the ``dense`` attack.
    """
    names = tuple(nets)
    right = np.zeros((len(names), len(names)), np.int64)
    chunks = range(0, protocol.n, CHUNK)
    sound = {name: _right(net, x[: protocol.n], y[: protocol.n]) for name, net in nets.items()}
    for index, (maker, net) in enumerate(nets.items()):
        generator = seeded(seed, f"transfer {maker}", x.device)
        other = seeded(seed, f"transfer {maker}, wrong without", x.device)
        for place, start in enumerate(chunks):
            rows = slice(start, min(start + CHUNK, protocol.n))
            cx, cy, here = x[rows], y[rows], sound[maker][rows]
            delta = torch.zeros_like(cx)
            # What is right goes first and alone, with draws of its own: exactly the white-box measurement.
            for members, draws in ((here, generator), (~here, other)):
                attack = build(protocol, direction)
                if attack is None or not bool(members.any()):
                    continue
                slices = attack.slices(net, cx[members], cy[members], draws)
                while True:
                    try:
                        next(slices)
                    except StopIteration as stop:
                        delta[members] = stop.value
                        break
                    yield (index + place / len(chunks)) / len(nets)
            for column, (name, answering) in enumerate(nets.items()):
                right[index, column] += int((sound[name][rows] & _right(answering, cx + delta, cy)).sum())
            yield (index + (place + 1) / len(chunks)) / len(nets)
    clean = np.array([int(sound[name].sum()) for name in names])
    return Transfer(names, frozen(torch.from_numpy(right)), frozen(torch.from_numpy(clean)), protocol)


def _right(net: Classifier, x: Tensor, y: Tensor) -> Tensor:
    parts = [net.margin(x[i : i + CHUNK], y[i : i + CHUNK]) > 0 for i in range(0, len(y), CHUNK)]
    return torch.cat(parts)


def other_start(config: SparseCodingConfig, world: SparseCoding, steps: int) -> Generator[float, None, SymmetricRelu]:
    """Train a clean network in the same ``world`` by the same recipe for ``steps`` steps, from another start.

    Its weights and batches come from a seed of their own, its dictionary and target are the run's. Yields the share
    done. Raises :class:`ConfigError` for ``steps`` = 0, without clean training there is nothing to compare.
    """
    if steps < 1:
        raise ConfigError(f"schedule.clean_steps: got {steps}; a clean network from another start needs at least 1")
    seed = (config.seed + 1) % 2**31
    weight = initial_weight(config, seed).to(world.target.device)
    return (yield from retrain(config, world, weight, "clean", 0, steps, "another start ", seed))


def between_phases_and_starts(
    config: SparseCodingConfig, world: SparseCoding, clean: SymmetricRelu, now: SymmetricRelu, clean_step: int,
    x: Tensor, y: Tensor, protocol: Protocol,
) -> Generator[float, None, Transfer]:  # fmt: skip
    """The matrix of a run: its net after clean training, its net now, and a clean one from another start.

    The third is trained here, for ``clean_step`` steps. Yields the share done.
    """
    training = other_start(config, world, clean_step)
    while True:
        try:
            yield TRAINING * next(training)
        except StopIteration as stop:
            other = stop.value
            break
    measuring = transfer({CLEAN: clean, NOW: now, OTHER: other}, x, y, protocol, world.dense_direction, config.seed)
    while True:
        try:
            yield TRAINING + (1 - TRAINING) * next(measuring)
        except StopIteration as stop:
            result: Transfer = stop.value
            return result
