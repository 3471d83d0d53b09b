"""The gap between the network and the baselines as the dimension grows (SPEC.md section 6)."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from functools import partial

from engine.config.experiment import from_dict, to_dict
from engine.core.errors import ConfigError
from engine.core.generators import seeded
from engine.core.measurement import Measurement
from engine.core.slices import mapped
from engine.data.sparse_stream import SparseCoding, Stream
from engine.models.symmetric_relu import SymmetricRelu
from engine.probes import oracle
from engine.probes.robustness import Measured, accuracy
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
from engine.theory.config import SparseCodingConfig, bias_at, sparse_coding
from engine.theory.evaluation import HeldOut
from engine.theory.layout import GENERATORS
from engine.theory.training import Trainer, initial_weight

SLICE = 4  # training steps of the network in one slice


@dataclass(frozen=True, slots=True)
class Scaling:
    """How sparsity and radius follow the dimension: k ∝ d^``k_power``, tau ∝ 1/√k · d^−``tau_power`` (the paper's).

    Both are 0 for a world whose k and tau stay as they are.
    """

    k_power: float = 0.0
    tau_power: float = 0.0

    def __post_init__(self) -> None:
        """Raise :class:`ConfigError` for a power that no world has."""
        for name, value in (("--k-power", self.k_power), ("--tau-power", self.tau_power)):
            if not 0 <= value <= 1:
                raise ConfigError(f"{name}: got {value:g}; allowed: 0 to 1")


UNSCALED = Scaling()


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


def at_dimension(config: SparseCodingConfig, d: int, scaling: Scaling = UNSCALED) -> SparseCodingConfig:
    """``config`` in dimension d. Width m and learning rate grow with d, as SPEC.md section 9's presets do.

    Where k grows, a feature's size 1/√k falls, and bias and noise of the neurons fall with it, as they are thresholds
    for it. A curve that a knob follows is scaled as the knob is. Raises :class:`ConfigError` where the dictionary needs
    another d, or a scaled knob leaves its range.
    """
    data = to_dict(config)
    ratio = d / config.world.d
    size = ratio ** (-scaling.k_power / 2)
    factors = {
        "world.k": ratio**scaling.k_power, "attack.tau": size * ratio**-scaling.tau_power, "training.lr": ratio,
        "model.bias": size, "model.b_end": size, "model.sigma_rho": size,
    }  # fmt: skip
    for path, factor in factors.items():
        group, _, leaf = path.partition(".")
        data[group][leaf] = data[group][leaf] * factor
        if points := data["schedule"]["knobs"].get(path):
            data["schedule"]["knobs"][path] = [[step, value * factor] for step, value in points]
    data["world"]["d"] = d
    data["world"]["atoms"] = round(config.world.atoms * ratio)
    data["model"]["m"] = max(1, round(config.model.m * ratio))
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
    baselines: Sequence[str] | None = None,
    with_oracle: bool = True,
    scaling: Scaling = UNSCALED,
) -> Slices[tuple[Dimension, ...]]:
    """Train network and baselines in each dimension and measure them by the same PGD on the same held-out sample.

    ``steps``, ``objectives`` and ``baselines`` as in :func:`run_baselines`, the NTK of now among them by default;
    ``scaling`` says how k and tau follow d. Yields progress between slices; closing the
    generator cancels. Raises :class:`ConfigError` before any work.
    """
    configs = [at_dimension(config, d, scaling) for d in dims]
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
        training = run_baselines(
            each, world=world, steps=steps, n=n, objectives=objectives, baselines=baselines, network=network
        )
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
