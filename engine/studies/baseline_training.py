"""Training and measuring the baselines on the network's world, at its radius (SPEC.md section 6).

Offline: :func:`run_baselines` trains each with every objective and a rate that was searched for. Together, on the same
batches: :class:`JointTraining`. All work comes in slices; every generator is the baselines' own, so the network's
history is untouched. (Some are still named after ``rivals`` and ``race``: a name is part of a generator's seed.)
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import torch

from engine.config.experiment import Config, with_value
from engine.config.objectives import objectives
from engine.core.device import choose
from engine.core.errors import ConfigError
from engine.core.generators import seeded
from engine.core.measurement import Measurement
from engine.core.quoting import quote
from engine.core.slices import mapped
from engine.data.sparse_stream import SparseCoding, Stream
from engine.models.symmetric_relu import SymmetricRelu
from engine.probes.robustness import Measured, accuracy
from engine.studies.baseline_models import NTK_NOW, Baseline, Linear, baselines, ntk_now
from engine.theory.config import SparseCodingConfig
from engine.theory.evaluation import HeldOut

STEPS = {
    "linear": 300,
    "quadratic": 300,
    "cubic": 1000,
    "ntk": 600,
    NTK_NOW: 600,
}  # further steps gain less than 0.01 at d = 144
OBJECTIVES = ("clean", "fgm", "pgd")
PGD_TRAINING = 5  # steps of the attack inside PGD training
SEARCH_STEPS = 100  # each of a baseline's rates is tried for this long
SEARCH_TAIL = 30  # of which the last ones' loss is compared
ATTACK_STEPS = 30  # PGD steps of the evaluation
FIT_SIZE = 1000  # samples that scales and gates are chosen on; none of them is measured on
RETREAT, LOWEST = 4, 1e-9  # a training that diverges is started again with a quarter of the rate, down to this one
PAUSE = 0.015  # seconds of work after which a slice ends, at the next whole step
EXACT = "exact (linear: margin − tau · dual norm of w)"
DECAY = 0.0  # the baselines get no weight decay: it would only cost them

T = TypeVar("T")
C = TypeVar("C", bound=Config)


@dataclass(frozen=True, slots=True)
class UnderWay:
    """How far a long computation is: ``fraction`` in [0, 1], and what is under way."""

    fraction: float
    text: str


Slices = Generator[UnderWay, None, T]


@dataclass(frozen=True, slots=True)
class BaselineResult:
    """One baseline, trained in one way, and measured.

    ``clean`` and ``robust`` carry their protocols; ``exact`` is the robust accuracy without any attack, for the linear
    classifier only. ``features`` says what the model is; ``steps`` and ``lr`` (the first; it falls linearly to 0, and
    stays constant in joint training) how it was trained.
    """

    name: str
    trained_by: str
    clean: Measured
    robust: Measured
    exact: Measured | None
    features: str
    steps: int
    lr: float


def best(results: Iterable[BaselineResult]) -> dict[str, BaselineResult]:
    """The most robust result of each baseline, by name. Chosen on the sample reported: in favour of the baselines."""
    found: dict[str, BaselineResult] = {}
    for result in results:
        if result.name not in found or result.robust.right > found[result.name].robust.right:
            found[result.name] = result
    return found


def objective_config(config: C, name: str) -> tuple[C, str]:
    """The config and the name in :data:`engine.config.objectives.objectives` for ``name``.

    ``fgm`` and ``pgd`` are adversarial training with these attacks; other names are those of
    :data:`engine.config.objectives.objectives` whose loss is that of one batch. Raises :class:`ConfigError` for others.
    """
    if name not in ("fgm", "pgd"):
        alone = [each for each in objectives if objectives[each].pair is None]  # their loss is that of one batch
        if name not in alone:
            raise ConfigError(f"baselines' objective: got {quote(name)}; allowed: fgm, pgd, {', '.join(alone)}")
        return config, name
    config = with_value(config, "attack.steps", PGD_TRAINING if name == "pgd" else 1)
    config = with_value(with_value(config, "attack.restarts", 1), "attack.random_start", False)
    return config, "adversarial"


class _Clock:
    """Says when a slice has lasted long enough. What is computed never depends on it."""

    def __init__(self) -> None:
        self.since = time.perf_counter()

    def due(self) -> bool:
        return time.perf_counter() - self.since > PAUSE

    def restart(self) -> None:
        self.since = time.perf_counter()


def _stream(world: SparseCoding, seed: int, name: str) -> Stream:
    device = world.target.device
    return Stream(world, seeded(seed, f"{name} pool", device), seeded(seed, f"{name} input noise", device))


def train(
    baseline: Baseline,
    config: SparseCodingConfig,
    world: SparseCoding,
    objective: str,
    *,
    steps: int,
    lr: float,
    data: str = "rivals",
) -> Generator[float, None, float]:
    """Train in place, the rate falling linearly from ``lr`` to 0; yields the share done between slices.

    The batches depend on seed and ``data`` alone: every baseline sees the same. Returns the mean loss of the last
    ``SEARCH_TAIL`` steps, on the perturbed batches.
    """
    config, name = objective_config(config, objective)
    perturb, sigma_x = objectives[name].perturb, config.world.sigma_x
    stream = _stream(world, config.seed, data)
    attack = seeded(config.seed, f"{data} attack", world.target.device)
    x = world.target.new_empty(config.training.batch_size, config.world.d)
    y = x.new_empty(len(x))
    losses = []
    clock = _Clock()
    for step in range(steps):
        stream.fill(x, y, sigma_x)
        perturb(config, baseline, x, y, attack)
        margin = baseline.sgd_step(x, y, lr * (1 - step / steps), DECAY)
        if step >= steps - SEARCH_TAIL:
            losses.append(torch.nn.functional.softplus(margin.neg_()).mean())
        if clock.due():
            yield step / steps
            clock.restart()
    return float(torch.stack(losses).mean()) if losses else 0.0


def measure(
    name: str,
    baseline: Baseline,
    trained_by: str,
    config: SparseCodingConfig,
    held_out: HeldOut,
    *,
    steps: int,
    lr: float,
    n: int,
) -> Generator[float, None, BaselineResult]:
    """Clean and PGD accuracy of ``baseline`` on the first ``n`` held-out samples; yields the share done."""
    x, y = held_out.take(n, config.world.sigma_x)
    norm, tau = config.attack.norm, config.attack.tau
    found = []
    total, count = (ATTACK_STEPS + 2) * -(-n // 256), itertools.count(1)
    for protocol in (Measurement("clean", norm, 0.0, 0, 0, n), Measurement("pgd", norm, tau, ATTACK_STEPS, 1, n)):
        generator = seeded(config.seed, f"rivals {name} {protocol.text()}", x.device)
        slices = accuracy(baseline, x, y, protocol, None, generator)
        found.append((yield from mapped(slices, lambda _: min(1.0, next(count) / total))))
    exact = None
    if isinstance(baseline, Linear):
        right = int((baseline.worst_margin(x, y, norm, tau) > 0).sum())
        exact = Measured(right, Measurement(EXACT, norm, tau, 0, 0, n))
    return BaselineResult(name, trained_by, found[0], found[1], exact, baseline.features, steps, lr)


def draw_world(config: SparseCodingConfig) -> SparseCoding:
    """The world of ``config``, the same as its run's."""
    return SparseCoding.draw(config.world, seeded(config.seed, "world"), choose(config.device))


def names_of(network: SymmetricRelu | None) -> tuple[str, ...]:
    """All baselines; the NTK of now needs the ``network`` that it is of."""
    return (*baselines, *([] if network is None else [NTK_NOW]))


def build_baseline(
    name: str, config: SparseCodingConfig, world: SparseCoding, network: SymmetricRelu | None = None
) -> Baseline:
    """An untrained baseline; the NTK of now is that of ``network``. Raises :class:`ConfigError` for an unknown name."""
    x, _ = world.sample(FIT_SIZE, seeded(config.seed, "rivals fit", world.target.device), config.world.sigma_x)
    build = ntk_now(network) if name == NTK_NOW and network is not None else baselines[name]
    return build(config, x)


def run_baselines(
    config: SparseCodingConfig,
    *,
    world: SparseCoding | None = None,
    steps: int | None = None,
    n: int = 1000,
    objectives: Sequence[str] = OBJECTIVES,
    baselines: Sequence[str] | None = None,
    network: SymmetricRelu | None = None,
) -> Slices[tuple[BaselineResult, ...]]:
    """Train each baseline with each objective and measure all of them; :func:`best` picks from what is returned.

    ``world`` is the run's own by default, ``steps`` those of ``STEPS``; ``baselines`` are all that there are, with the
    NTK of now where a ``network`` is given that it is of. Each baseline's rate is the one of three with
    the lowest loss after ``SEARCH_STEPS`` steps of FGM training (of the first objective, where FGM is not among them),
    on batches of its own. Yields :class:`UnderWay`, after 15 ms and one training step at most; closing the generator
    cancels. Raises :class:`ConfigError` for an unknown baseline or objective.
    """
    world = world or draw_world(config)
    baselines = names_of(network) if baselines is None else baselines
    for objective in objectives:
        objective_config(config, objective)
    held_out = HeldOut(world, config.seed)
    results: list[BaselineResult] = []
    jobs = len(baselines) * (1 + len(objectives))
    done = 0

    def one(name: str, objective: str, lr: float) -> Generator[float, None, BaselineResult]:
        count = STEPS[name] if steps is None else steps
        loss = math.nan
        while not math.isfinite(loss):  # it can still diverge where the search did not
            baseline = build_baseline(name, config, world, network)
            training = train(baseline, config, world, objective, steps=count, lr=lr)
            loss = yield from mapped(training, lambda share: 0.8 * share)
            used, lr = lr, lr / RETREAT
            if used < LOWEST:
                break
        measuring = measure(name, baseline, objective, config, held_out, steps=count, lr=used, n=n)
        return (yield from mapped(measuring, lambda share: 0.8 + 0.2 * share))

    def report(text: str) -> Callable[[float], UnderWay]:
        before = done
        return lambda share: UnderWay((before + share) / jobs, text)

    first = "fgm" if "fgm" in objectives else objectives[0]
    for name in baselines:
        lr = yield from mapped(search(name, config, world, first, network), report(f"{name}: learning rate"))
        done += 1
        for objective in objectives:
            result = yield from mapped(one(name, objective, lr), report(f"{name}: {objective} training"))
            results.append(result)
            done += 1
    return tuple(results)


def search(
    name: str, config: SparseCodingConfig, world: SparseCoding, objective: str, network: SymmetricRelu | None = None
) -> Generator[float, None, float]:
    """The learning rate with the lowest loss in a short training; yields the share done between slices."""
    rates = build_baseline(name, config, world, network).rates
    lowest, chosen = float("inf"), rates[0]
    for index, rate in enumerate(rates):
        baseline = build_baseline(name, config, world, network)
        trial = train(baseline, config, world, objective, steps=SEARCH_STEPS, lr=rate, data="rivals search")
        loss = yield from mapped(trial, partial(_share, index, len(rates)))
        if loss < lowest:  # false for a loss that is not a number: that rate diverged
            lowest, chosen = loss, rate
    return chosen


def _share(index: int, count: int, share: float) -> float:
    return (index + share) / count


def _part(index: int, count: int, text: str, share: float) -> UnderWay:
    return UnderWay(_share(index, count, share), text)


class JointTraining:
    """Baselines that train together, one step each on the same batches.

    Batches are fresh from a stream of their own. Rates are the lowest of each baseline's three and stay constant:
    joint training has no known end.
    """

    def __init__(self, config: SparseCodingConfig, world: SparseCoding, network: SymmetricRelu | None = None) -> None:
        self.world = world
        self.steps_done = 0
        self.trained_by: list[str] = []
        self._baselines = {name: build_baseline(name, config, world, network) for name in names_of(network)}
        self._stream = _stream(world, config.seed, "race")
        self._attack = seeded(config.seed, "race attack", world.target.device)
        self._held_out = HeldOut(world, config.seed)

    def advance(self, config: SparseCodingConfig, objective: str, steps: int) -> Slices[None]:
        """``steps`` steps of every baseline, by the knobs of ``config`` as they are now; yields between slices.

        Given up in the middle (closed), every baseline has still done as many steps as the others.
        """
        config, name = objective_config(config, objective)
        perturb = objectives[name].perturb
        x = self.world.target.new_empty(config.training.batch_size, config.world.d)
        y, point = x.new_empty(len(x)), torch.empty_like(x)
        if not self.trained_by or self.trained_by[-1] != objective:
            self.trained_by.append(objective)
        clock = _Clock()
        for step in range(steps):
            self._stream.fill(x, y, config.world.sigma_x)
            for baseline in self._baselines.values():
                point.copy_(x)
                perturb(config, baseline, point, y, self._attack)
                baseline.sgd_step(point, y, baseline.rates[0], DECAY)
            self.steps_done += 1
            if clock.due():
                yield UnderWay((step + 1) / steps, f"baselines: step {self.steps_done}")
                clock.restart()

    def measure(self, config: SparseCodingConfig, n: int) -> Slices[tuple[BaselineResult, ...]]:
        """Measure every baseline as it is now, on the held-out sample."""
        found = []
        by = ", then ".join(self.trained_by) or "nothing"
        for index, (name, baseline) in enumerate(self._baselines.items()):
            slices = measure(
                name, baseline, by, config, self._held_out, steps=self.steps_done, lr=baseline.rates[0], n=n
            )
            count, text = len(self._baselines), f"baselines: measuring {name}"
            found.append((yield from mapped(slices, partial(_part, index, count, text))))
        return tuple(found)
