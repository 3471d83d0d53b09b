"""Training with every objective from a run's clean weights, on the same batches, and what has become of the network."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from engine.config.experiment import Config
from engine.config.objectives import objectives
from engine.core import metrics
from engine.core.errors import ConfigError, ExplorerError
from engine.core.generators import seeded
from engine.core.quoting import quote
from engine.core.results import FeatureFates
from engine.core.slices import Progress, finish
from engine.models.layers import layers
from engine.models.symmetric_relu import SymmetricRelu
from engine.probes import certificate
from engine.probes.feature_fates import feature_of
from engine.probes.mixture import mixture
from engine.probes.mixture import scalars as of_mixture
from engine.probes.principle1 import principle1
from engine.probes.principle1 import scalars as of_principle1
from engine.probes.robustness import Measured, accuracy, alignment
from engine.studies.clean_end import CleanEnd, Stages, Tell, clean_end_of, protocols, steps_of
from engine.sweeps.executor import Job
from engine.sweeps.together import together
from engine.theory.loading import TheoryNetwork
from engine.theory.training import retrain

NAME = "objectives"  # of the random generators: every objective sees the same batches
BOUNDING = 60.0  # what a certificate costs, in gradients of a sample


@dataclass(frozen=True)
class Outcome:
    """A network that was measured; the figures are those of :class:`engine.studies.questions.objectives.ObjectiveRow`.

    None is what its world has not.
    """

    clean: Measured
    robust: Measured
    certified: Measured | None = None
    purity: float | None = None
    kept: float | None = None
    held: int | None = None
    dense_alignment: float | None = None
    alignment: float | None = None
    cosine: float | None = None
    how: str = ""


@dataclass(frozen=True)
class ObjectivePhases:
    """Each objective's :class:`Outcome` ``after`` ``steps`` steps from the clean weights of step ``clean_step``.

    ``step`` is the run's newest, ``features`` the size of its dictionary, 0 where there is none.
    """

    step: int
    clean_step: int
    steps: int
    features: int
    before: Outcome
    after: Mapping[str, Outcome]


def train_objectives(
    folder: Path, names: Sequence[str], steps: int | None, n: int, progress: Progress, jobs: int = 1
) -> ObjectivePhases:
    """Train the clean weights of the run in ``folder`` with each of the objectives ``names``, ``jobs`` at a time.

    The arguments and errors are those of :class:`engine.studies.questions.objectives.ObjectivesStudy`.
    """
    names = tuple(dict.fromkeys(names))
    unknown = [name for name in names if name not in objectives]
    if unknown or not names:
        got = quote(unknown[0]) if unknown else "none"
        raise ConfigError(f"--objective: got {got}; allowed: {', '.join(objectives)}")
    if jobs == 1:
        return _phases(folder, names, steps, n, progress)
    clean_end_of(folder)  # what cannot be asked is said before any work
    shared = {"folder": str(folder), "steps": steps, "n": n}
    work = [Job(name, f"{__name__}:after_objective", {**shared, "name": name}) for name in names]
    found = [_read(each) for each in together(work, jobs, progress)]
    return replace(found[0], after={name: each.after[name] for name, each in zip(names, found, strict=True)})


def after_objective(
    *, folder: str, name: str, steps: int | None, n: int, tell: Progress, stopped: Callable[[], bool]
) -> dict[str, Any]:
    """The job of one objective: :func:`train_objectives` as JSON. It stops in ``tell``, without a result."""
    return _written(_phases(Path(folder), (name,), steps, n, tell))


def _written(found: ObjectivePhases) -> dict[str, Any]:
    def outcome(each: Outcome) -> dict[str, Any]:
        return {k: v.to_json() if isinstance(v, Measured) else v for k, v in vars(each).items()}

    after = {name: outcome(each) for name, each in found.after.items()}
    return vars(found) | {"before": outcome(found.before), "after": after}


def _read(found: Mapping[str, Any]) -> ObjectivePhases:
    def outcome(each: Mapping[str, Any]) -> Outcome:
        fields: dict[str, Any] = {k: Measured.from_json(v) if isinstance(v, dict) else v for k, v in each.items()}
        return Outcome(**fields)

    after = {name: outcome(each) for name, each in found["after"].items()}
    return ObjectivePhases(**{**found, "before": outcome(found["before"]), "after": after})


def _phases(folder: Path, names: Sequence[str], steps: int | None, n: int, progress: Progress) -> ObjectivePhases:
    theory, clean_end = clean_end_of(folder)
    if theory:
        return _theory(folder, clean_end, names, steps, n, progress)
    return _images(folder, names, steps, n, progress)


def _after_each(
    names: Sequence[str], stages: Stages, config: Config, one: Callable[[str, Tell], Callable[[Tell], Outcome]]
) -> dict[str, Outcome]:
    """Train and measure with each objective: ``one`` trains, and what it returns measures."""
    found = {}
    for name in names:
        label, say = objectives[name].label, objectives[name].how
        measure = one(name, stages.begin(f"{label} training"))
        outcome = measure(stages.begin(f"{label} training: measuring"))
        found[name] = outcome if say is None else replace(outcome, how=say(config))
    return found


def _images(folder: Path, names: Sequence[str], steps: int | None, n: int, progress: Progress) -> ObjectivePhases:
    found = CleanEnd.load(folder, n)
    found.expect_trained("objectives")
    config = found.config
    phase = steps_of(steps, config.schedule.second_steps, "--steps", "schedule.second_steps")
    _, training, measuring = found.costs(0, phase)
    stages = Stages(progress, [measuring, *[training, measuring] * len(names)])
    clean = layers(found.network.network("clean"))[0].matrix

    def one(name: str, tell: Tell) -> Callable[[Tell], Outcome]:
        trainer = found.trainer(NAME)
        found.train(trainer, name, phase, NAME, tell)

        def measure(tell: Tell) -> Outcome:
            plain, robust = found.measure(trainer.classifier, NAME, tell)
            now = layers(trainer.network)[0].matrix.detach()
            return Outcome(plain, robust, cosine=_cosine(clean, now))

        return measure

    plain, robust = found.measure(found.network.classifier("clean"), NAME, stages.begin("clean network: measuring"))
    before = Outcome(plain, robust, cosine=_cosine(clean, clean))
    after = _after_each(names, stages, config, one)
    return ObjectivePhases(found.network.step, found.clean_step, phase, 0, before, after)


def _theory(
    folder: Path, clean_end: int, names: Sequence[str], steps: int | None, n: int, progress: Progress
) -> ObjectivePhases:
    network, clean = TheoryNetwork.load(folder), TheoryNetwork.load(folder, clean_end)
    config, world = network.config, network.held_out.world
    attack, knobs = config.attack, config.evaluation
    phase = steps_of(steps, config.schedule.second_steps, "--steps", "schedule.second_steps")
    training = phase * config.training.batch_size * (1.0 + attack.steps * attack.restarts)
    measuring = n * (2.0 + BOUNDING + knobs.report_steps * knobs.report_restarts)
    stages = Stages(progress, [measuring, *[training, measuring] * len(names)])
    start = clean.model.weight

    def one(name: str, tell: Tell) -> Callable[[Tell], Outcome]:
        work = retrain(config, world, start.clone(), name, clean_end, phase, f"{NAME} ", config.seed)
        model = finish(work, tell)
        if not bool(torch.isfinite(model.weight).all()):
            raise ExplorerError(f"{NAME}: {name} training diverged after {phase} steps: the weights are no numbers")
        return lambda tell: _of_theory(network, start, model, n, tell)

    before = _of_theory(network, start, clean.model, n, stages.begin("clean network: measuring"))
    after = _after_each(names, stages, config, one)
    return ObjectivePhases(network.step, clean_end, phase, world.dictionary.shape[1], before, after)


def _of_theory(network: TheoryNetwork, start: Tensor, model: SymmetricRelu, n: int, tell: Tell) -> Outcome:
    """Measure ``model``, whose weights were ``start`` (m, d) after clean training, with the knobs of ``network``."""
    config, world = network.config, network.held_out.world
    x, y = network.held_out.take(n, config.world.sigma_x)
    found = []
    for protocol in protocols(config, n):
        generator = seeded(config.seed, f"{NAME} {protocol.text()}", x.device)
        found.append(finish(accuracy(model, x, y, protocol, world.dense_direction, generator)))
        tell(len(found) / 3)
    plain, robust = found
    values = of_mixture(mixture(model.weight, world.dictionary, world.target))
    clean, now = (feature_of(weight, world.dictionary) for weight in (start, model.weight))
    fates = FeatureFates(clean, clean, now)
    outcome = Outcome(
        plain,
        robust,
        _certified(model, x, y, robust, config),
        _known(values[metrics.mixture("purity", "mean")]),
        _known(fates.kept_share),
        now.held,
        _known(values[metrics.mixture("dense_alignment", "mean")]),
        alignment(model, x, y, world.dense_direction),
        _cosine(start, model.weight),
    )
    tell(1.0)
    return outcome


def _certified(model: SymmetricRelu, x: Tensor, y: Tensor, robust: Measured, config: Config) -> Measured:
    """Of the samples of ``robust`` those that provably no perturbation of the ball fools."""
    assert robust.which is not None
    rows = robust.which.nonzero().squeeze(1)  # what an attack fooled cannot be certified
    norm, tau = config.attack.norm, config.attack.tau
    (sure,) = finish(certificate.certified(model.weight, model.bias, x[rows], y[rows], [tau], norm))
    return Measured(sure.right, certificate.protocol(norm, tau, len(y)))


def _cosine(clean: Tensor, now: Tensor) -> float | None:
    """Mean cosine (w, w′) of the rows alive after clean training; ``clean`` and ``now`` (m, d)."""
    return _known(of_principle1(principle1(clean, clean, now))["principle1/cos_clean_now"])


def _known(value: float) -> float | None:
    """None for the mean of nothing."""
    return value if math.isfinite(value) else None
