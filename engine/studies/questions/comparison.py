"""The comparison: the network against the baselines at the run's radius (SPEC.md sections 6 and 8; claim 6)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from engine.config.experiment import IMAGES, from_dict, to_dict
from engine.core.errors import ConfigError
from engine.core.labels import MODELS, TRAINED_BY
from engine.core.measurement import Measurement
from engine.core.slices import Progress, finish, silent
from engine.run.store import Store
from engine.studies.base import (
    Answer,
    Interval,
    Proportion,
    RunFolder,
    Samples,
    Scalars,
    Study,
    accuracies,
    part,
    studies,
)
from engine.sweeps.executor import Job
from engine.sweeps.together import together

if TYPE_CHECKING:
    from engine.probes.robustness import Measured
    from engine.studies.baseline_training import BaselineResult
    from engine.studies.dimension_sweep import Dimension
    from engine.theory.loading import TheoryNetwork

ACCURACIES = ("clean", "robust", "low", "high")  # of a model, in the file
CURVE_POINTS, CURVE_EVERY, CURVE_SIZE = 10, 60, 500  # of the curves over steps: points, steps between them, samples
OF_THE_WORLD = ("d", "n", "k", "tau")  # what a row of the sweep says beside accuracies
LEARNED = "ntk_now"  # the one baseline whose features are learned: the theory says nothing against it
SWEPT = (36, 64, 100, 144)  # dimensions d of the sweep: squares of even numbers, so that every dictionary exists


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One model. ``low``/``high`` are the 95% interval of ``robust``; None where it was not measured.

    A baseline has a ``name``, says by which objective it was ``trained_by``, and ``note`` what its features are.
    """

    name: str = ""
    trained_by: str = ""
    steps: int | None = None
    note: str = ""
    clean: Proportion | None = None
    robust: Proportion
    low: Proportion | None = None
    high: Proportion | None = None

    @classmethod
    def of(cls, clean: Measured | None, robust: Measured, **how: Any) -> Entry:
        """From measured accuracies, and ``how`` a baseline was trained: the other fields."""
        shown = Interval.of(robust)
        plain = None if clean is None else clean.accuracy
        return cls(clean=plain, robust=shown.value, low=shown.low, high=shown.high, **how)

    @model_serializer(mode="wrap")
    def _written(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """The network and the oracle have no name in the file, nor what follows it."""
        return {key: value for key, value in write(self).items() if self.name or key in ACCURACIES}

    def line(self, name: str, note: str = "") -> str:
        """The entry in the table."""
        clean = "" if self.clean is None else f"clean {self.clean:.3f}  "
        interval = "" if self.low is None or self.high is None else f" [{self.low:.3f}, {self.high:.3f}]"
        return f"  {name:<22}{clean:<14}robust {self.robust:.3f}{interval}  {note}".rstrip()


@dataclass(frozen=True)
class ComparisonCurve:
    """Robust accuracy of a baseline trained by ``objective`` over its training steps; both (t,)."""

    name: str
    objective: str
    steps: tuple[int, ...]
    robust: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """``race.json``. A row of ``sweep`` holds :data:`OF_THE_WORLD` and each model's robust accuracy under its name."""

    tau: float
    norm: str
    protocol: str
    n: int
    step: int
    network: Entry
    oracle: Entry | None = None
    baselines: Annotated[tuple[Entry, ...], Field(alias="rivals")]  # its name in the file
    curves: tuple[ComparisonCurve, ...] = ()
    sweep: tuple[dict[str, int | float | str | None], ...] = ()

    def best(self) -> dict[str, Entry]:
        """Each baseline's entry of highest robust accuracy, whichever objective trained it, the best baseline first."""
        found: dict[str, Entry] = {}
        for entry in sorted(self.baselines, key=lambda e: e.robust, reverse=True):
            found.setdefault(entry.name, entry)
        return found

    def rivals(self) -> dict[str, Entry]:
        """As :meth:`best`, without the NTK of now."""
        return {name: entry for name, entry in self.best().items() if name != LEARNED}

    def shown_curves(self) -> tuple[ComparisonCurve, ...]:
        """One curve a baseline: that of its best training if there is one, else the first that was recorded."""
        found: dict[str, ComparisonCurve] = {}
        best = {name: entry.trained_by for name, entry in self.best().items()}
        for curve in sorted(self.curves, key=lambda c: c.objective != best.get(c.name)):
            found.setdefault(curve.name, curve)
        return tuple(found.values())

    def curves_note(self) -> str:
        """By what each curve's baseline was trained, and which baselines have none and why; empty without curves."""
        shown = self.shown_curves()
        if not shown:
            return ""
        trained: dict[str, list[str]] = {}
        for curve in shown:
            trained.setdefault(TRAINED_BY.get(curve.objective, curve.objective), []).append(curve.name)
        parts = [f"{', '.join(MODELS.get(n, n) for n in names)} by {how} training" for how, names in trained.items()]
        without = [MODELS.get(name, name) for name in self.best() if name not in {curve.name for curve in shown}]
        none = f" No curve of {', '.join(without)}: not recorded over steps." if without else ""
        return f"Over steps: {'; '.join(parts)}.{none}"

    def swept(self) -> dict[str, tuple[list[float], list[float]]]:
        """Model → dimensions d and its robust accuracies at them, as far as they were measured."""
        found: dict[str, tuple[list[float], list[float]]] = {}
        for row in self.sweep:
            d = row.get("d")
            for name, value in row.items():
                if name in OF_THE_WORLD or not isinstance(value, float | int) or not isinstance(d, float | int):
                    continue
                if math.isfinite(value):
                    xs, ys = found.setdefault(name, ([], []))
                    xs.append(float(d))
                    ys.append(float(value))
        return found

    def scaling(self) -> str:
        """How k and tau go with d in the sweep, where k does not stay the same; else empty."""
        rows = [(row.get("d"), row.get("k"), row.get("tau")) for row in self.sweep]
        known = [(d, k, tau) for d, k, tau in rows if isinstance(k, float | int) and isinstance(tau, float | int)]
        if len({(k, tau) for _, k, tau in known}) < 2:
            return ""
        return "k and tau go with d: " + ", ".join(f"d {d}: k {k:.3g}, tau {tau:.3g}" for d, k, tau in known)


@studies.register("race")
class ComparisonStudy(Study[Comparison]):
    """Train the baselines (linear, polynomial, NTK) on the run's data and write race.json."""

    file = "race.json"
    made_by = "race {}"
    record = Comparison

    def ask(
        self,
        folder: RunFolder,
        *,
        sweep: Annotated[bool, "Also train network and baselines at several dimensions d."] = False,
        k_power: Annotated[float, "In the sweep k grows as d to this power; bias and noise fall as 1/√k."] = 0.0,
        tau_power: Annotated[float, "In the sweep tau falls as 1/√k · d to minus this power."] = 0.0,
        jobs: Annotated[int, "In the sweep, dimensions at a time, each in a process of its own."] = 1,
        n: Samples = 1000,
        progress: Progress = silent,
    ) -> Answer[Comparison]:
        """Train and measure all baselines, each with every objective, and measure the network of the newest checkpoint.

        With ``sweep`` network and baselines are also trained at the dimensions :data:`SWEPT`, where ``k_power`` and
        ``tau_power`` scale the world as the paper does. Raises :class:`ConfigError` for a sweep of a run on images,
        :class:`StoreError` for the folder.
        """
        with closing(Store.open(folder, read_only=True)) as store:
            if (k_power or tau_power) and not sweep:
                raise ConfigError("--k-power, --tau-power: got one without --sweep; allowed: with it")
            if jobs != 1 and not sweep:
                raise ConfigError("--jobs: got a number without --sweep; allowed: with it")
            if store.config.kind == IMAGES:
                if sweep:
                    raise ConfigError("--sweep: got a run on images; allowed: a run of the sparse-coding world")
                return _on_images(folder, n, progress)
        from engine.core.generators import seeded
        from engine.probes import oracle
        from engine.probes.robustness import accuracy
        from engine.studies.baseline_training import ATTACK_STEPS, run_baselines
        from engine.studies.dimension_sweep import Scaling, at_dimension
        from engine.theory.loading import TheoryNetwork

        network = TheoryNetwork.load(folder)
        config, world = network.config, network.held_out.world
        scaling = Scaling(k_power, tau_power)
        for d in SWEPT if sweep else ():
            at_dimension(config, d, scaling)  # what cannot be trained is said before any work
        attack, first = config.attack, 0.25 if sweep else 1.0
        x, y = network.held_out.take(n, config.world.sigma_x)
        plain = Measurement("clean", attack.norm, 0.0, 0, 0, n)
        robust = Measurement("pgd", attack.norm, attack.tau, ATTACK_STEPS, 1, n)
        results = finish(
            run_baselines(config, world=world, n=n, network=network.model),
            lambda at: progress(0.7 * first * at.fraction, at.text),
        )
        drawn = curves(network, min(n, CURVE_SIZE), lambda share: progress((0.7 + 0.2 * share) * first, "curves"))
        progress(0.9 * first, "network and ideal network")
        clean, right = (
            finish(accuracy(network.model, x, y, how, world.dense_direction, generator))
            for how in (plain, robust)
            for generator in [seeded(config.seed, f"race {how.text()}", x.device)]
        )
        (ideal,) = finish(oracle.measure(world, config.seed, x, y, [robust]))
        rows: list[dict[str, int | float | str | None]] = []
        if sweep:
            shared = {"config": to_dict(config), "n": n, "k_power": k_power, "tau_power": tau_power}
            work = [Job(f"d = {d}", f"{__name__}:swept_row", {**shared, "d": d}) for d in SWEPT]
            rows = together(work[::-1], jobs, part(progress, first, 1.0))[::-1]  # the largest take longest
        record = Comparison(
            tau=attack.tau,
            norm=attack.norm,
            protocol=robust.text(),
            n=n,
            step=network.step,
            network=Entry.of(clean, right),
            oracle=Entry.of(None, ideal.measured),
            baselines=_entries(results),
            curves=drawn,
            sweep=tuple(rows),
        )
        return Answer(record, network.step, baseline_scalars(results))

    @classmethod
    def check(cls, record: Comparison) -> str:
        """Each step of a curve has a value."""
        wrong = [curve.name for curve in record.curves if len(curve.steps) != len(curve.robust)]
        return f"curves: {wrong[0]} has steps without values" if wrong else ""

    def table(self, record: Comparison) -> str:
        """A line a model, and one a dimension."""
        lines = [f"{record.protocol}; network at step {record.step}", record.network.line("network")]
        if record.oracle is not None:
            lines.append(record.oracle.line("ideal network"))
        lines += [each.line(f"{each.name} ({each.trained_by})", each.note) for each in record.baselines]
        for row in record.sweep:
            values = "  ".join(f"{k} {v:.3f}" for k, v in row.items() if k not in OF_THE_WORLD and v is not None)
            lines.append(f"  d = {row['d']:<4}{values}")
        if record.scaling():
            lines.append(f"  {record.scaling()}")
        return "\n".join(lines)


def _entries(results: Iterable[BaselineResult]) -> tuple[Entry, ...]:
    return tuple(
        Entry.of(r.clean, r.robust, name=r.name, trained_by=r.trained_by, steps=r.steps, note=r.features)
        for r in results
    )


def _on_images(folder: Path, n: int, progress: Progress) -> Answer[Comparison]:
    """The answer of a run on images, on at most ``n`` held-out ones; an ideal network is not known there."""
    from engine.core.device import available
    from engine.images.loading import ImageNetwork
    from engine.studies.image_baselines import measure_network, run_image_baselines

    with closing(Store.open(folder, read_only=True)) as store:
        device = store.config.device
    found = ImageNetwork.load(folder, device=device if device in available() else "auto")
    clean, robust = measure_network(found, n)
    results = run_image_baselines(found, n, part(progress, 0.02, 1.0))
    how = robust.protocol
    record = Comparison(
        tau=how.tau, norm=how.norm, protocol=how.text(), n=how.n, step=found.step, network=Entry.of(clean, robust),
        baselines=_entries(results),
    )  # fmt: skip
    return Answer(record, found.step, baseline_scalars(results))


def curves(network: TheoryNetwork, n: int, tell: Callable[[float], object]) -> tuple[ComparisonCurve, ...]:
    """Robust accuracy of all baselines while they train by FGM at constant rates, on the same batches: one each."""
    from engine.studies.baseline_training import JointTraining

    config = network.config
    training = JointTraining(config, network.held_out.world, network.model)
    found: dict[str, list[float]] = {}
    for point in range(CURVE_POINTS):
        finish(training.advance(config, "fgm", CURVE_EVERY))
        for result in finish(training.measure(config, n)):
            found.setdefault(result.name, []).append(result.robust.accuracy)
        tell((point + 1) / CURVE_POINTS)
    steps = tuple(CURVE_EVERY * (i + 1) for i in range(CURVE_POINTS))
    return tuple(ComparisonCurve(name, "fgm", steps, tuple(values)) for name, values in found.items())


def baseline_scalars(results: Iterable[BaselineResult]) -> Scalars:
    """The best result of each baseline as ``rival/clean/<name>`` and ``rival/robust/<name>``."""
    from engine.studies.baseline_training import best

    for name, result in best(results).items():
        yield from accuracies((f"rival/clean/{name}", f"rival/robust/{name}"), (result.clean, result.robust))


def swept_row(
    *, config: Mapping[str, Any], d: int, n: int, k_power: float, tau_power: float, tell: Progress,
    stopped: Callable[[], bool],
) -> dict[str, int | float | str | None]:  # fmt: skip
    """A row of the sweep, at the dimension ``d``: a job, by :func:`engine.studies.dimension_sweep.sweep`.

    It stops where it is told to in ``tell``, without a result.
    """
    from engine.core.device import prepare_thread
    from engine.studies.dimension_sweep import Scaling, sweep
    from engine.theory.config import sparse_coding

    whole = sparse_coding(from_dict(config), "a sweep")
    prepare_thread(whole.threads)
    slices = sweep(whole, (d,), n=n, scaling=Scaling(k_power, tau_power))
    (point,) = finish(slices, lambda at: tell(at.fraction, at.text))
    return _swept(point, n)


def _swept(point: Dimension, n: int) -> dict[str, int | float | str | None]:
    ideal = None if point.oracle is None else point.oracle.accuracy
    named = {result.name: result.robust.accuracy for result in point.baselines}
    k, tau = point.config.world.k, point.config.attack.tau
    return {"d": point.d, "n": n, "k": k, "tau": tau, "network": point.network.accuracy, "oracle": ideal, **named}
