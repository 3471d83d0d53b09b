"""The gap between the network and the baselines as the dimension grows (SPEC.md section 6)."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from functools import partial

from engine.config.experiment import from_dict, to_dict
from engine.core.generators import seeded
from engine.core.measurement import Measurement
from engine.core.slices import mapped
from engine.data.sparse_stream import SparseCoding, Stream
from engine.models.symmetric_relu import SymmetricRelu
from engine.probes import oracle
from engine.probes.robustness import Measured, accuracy
from engine.studies.baseline_models import baselines as known_baselines
from engine.studies.baseline_training import (
    ATTACK_STEPS,
    OBJECTIVES,
    BaselineResult,
    Slices,
    UnderWay,
    best,
    draw_world,
    run_baselines,
)
from engine.theory.config import SparseCodingConfig, sparse_coding
from engine.theory.evaluation import HeldOut
from engine.theory.layout import GENERATORS
from engine.theory.training import Trainer, bias_at, initial_weight

SLICE = 4  # training steps of the network in one slice


@dataclass(frozen=True, slots=True)
class Dimension:
    """One dimension: robust accuracies under the same protocol; ``baselines`` the best result of each.

    ``oracle`` is the ideal network of this world, if asked for. ``config`` is what the network was trained with.
    """

    d: int
    config: SparseCodingConfig
    network: Measured
    baselines: tuple[BaselineResult, ...]
    oracle: Measured | None


def at_dimension(config: SparseCodingConfig, d: int) -> SparseCodingConfig:
    """``config`` in dimension d. Width m and learning rate grow with d, as SPEC.md section 9's presets do.

    Raises :class:`ConfigError` where the dictionary needs another d.
    """
    data = to_dict(config)
    ratio = d / config.world.d
    data["world"]["d"] = d
    data["model"]["m"] = max(1, round(config.model.m * ratio))
    data["training"]["lr"] = config.training.lr * ratio
    return sparse_coding(from_dict(data), "a sweep")


def train_network(config: SparseCodingConfig, world: SparseCoding) -> Generator[float, None, SymmetricRelu]:
    """The network after its whole schedule, bit for bit that of a run; yields the share done between slices."""
    schedule, seed = config.schedule, config.seed
    weight = initial_weight(config, seed).to(world.target.device)
    generators = {name: seeded(seed, name, weight.device) for name in GENERATORS}
    network = SymmetricRelu(weight, bias_at(config, 0))
    trainer = Trainer(network, Stream(world, generators["pool"], generators["input_noise"]), generators)
    for step in range(schedule.total):
        trainer.step(config, "clean" if step < schedule.clean_steps else schedule.second, step)
        if step % SLICE == 0:
            yield step / schedule.total
    network.bias = bias_at(config, schedule.total)
    return network


def sweep(
    config: SparseCodingConfig,
    dims: Sequence[int],
    *,
    steps: int | None = None,
    n: int = 1000,
    objectives: Sequence[str] = OBJECTIVES,
    baselines: Sequence[str] = tuple(known_baselines),
    with_oracle: bool = True,
) -> Slices[tuple[Dimension, ...]]:
    """Train network and baselines in each dimension and measure them by the same PGD on the same held-out sample.

    ``steps``, ``objectives`` and ``baselines`` as in :func:`run_baselines`. Yields progress between slices; closing the
    generator cancels. Raises :class:`ConfigError` before any work.
    """
    configs = [at_dimension(config, d) for d in dims]
    points = []
    for index, each in enumerate(configs):
        d, world = each.world.d, draw_world(each)
        at = partial(_at, index, len(configs), d)
        network = yield from mapped(train_network(each, world), partial(at, "network", 0.0, 0.3))
        x, y = HeldOut(world, each.seed).take(n, each.world.sigma_x)
        protocol = Measurement("pgd", each.attack.norm, each.attack.tau, ATTACK_STEPS, 1, n)
        generator = seeded(each.seed, f"sweep {protocol.text()}", x.device)
        slices = accuracy(network, x, y, protocol, None, generator)
        measured = yield from mapped(slices, partial(at, "network under attack", 0.3, 0.0))
        training = run_baselines(each, world=world, steps=steps, n=n, objectives=objectives, baselines=baselines)
        results = yield from mapped(training, partial(at, "", 0.3, 0.6))
        ideal = None
        if with_oracle:
            searching = oracle.measure(world, each.seed, x, y, [protocol])
            found = yield from mapped(searching, partial(at, "oracle", 0.9, 0.0))
            ideal = found[0].measured
        points.append(Dimension(d, each, measured, tuple(best(results).values()), ideal))
        yield at("done", 1.0, 0.0, None)
    return tuple(points)


def _at(
    index: int, count: int, d: int, text: str, start: float, width: float, item: UnderWay | float | None
) -> UnderWay:
    """Progress of a part that makes up ``width`` of one dimension, from ``start`` on."""
    if isinstance(item, UnderWay):
        text, item = item.text, item.fraction
    return UnderWay((index + start + width * (item or 0.0)) / count, f"d = {d}: {text}")
