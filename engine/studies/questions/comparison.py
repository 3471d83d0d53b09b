"""The comparison: the network against the baselines at the run's radius (SPEC.md section 6; claim 6)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from engine.core.measurement import Measurement
from engine.core.slices import Progress, finish, silent
from engine.studies.base import Answer, Interval, Proportion, RunFolder, Samples, Scalars, Study, accuracies, studies

if TYPE_CHECKING:
    from engine.data.sparse_stream import SparseCoding
    from engine.probes.robustness import Measured
    from engine.studies.baseline_training import BaselineResult
    from engine.studies.dimension_sweep import Dimension
    from engine.theory.config import SparseCodingConfig

ACCURACIES = ("clean", "robust", "low", "high")  # of a model, in the file
CURVE_POINTS, CURVE_EVERY, CURVE_SIZE = 10, 60, 500  # of the curves over steps: points, steps between them, samples
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
    """``race.json``. A row of ``sweep`` holds ``d``, ``n`` and the robust accuracy of each model under its name."""

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

    def swept(self) -> dict[str, tuple[list[float], list[float]]]:
        """Model → dimensions d and its robust accuracies at them, as far as they were measured."""
        found: dict[str, tuple[list[float], list[float]]] = {}
        for row in self.sweep:
            d = row.get("d")
            for name, value in row.items():
                if name in ("d", "n") or not isinstance(value, float | int) or not isinstance(d, float | int):
                    continue
                if math.isfinite(value):
                    xs, ys = found.setdefault(name, ([], []))
                    xs.append(float(d))
                    ys.append(float(value))
        return found


@studies.register("race")
class ComparisonStudy(Study[Comparison]):
    """Train the baselines (linear, polynomial, NTK) on the run's world and write race.json."""

    file = "race.json"
    made_by = "race {}"
    record = Comparison

    def ask(
        self,
        folder: RunFolder,
        *,
        sweep: Annotated[bool, "Also train network and baselines at several dimensions d."] = False,
        n: Samples = 1000,
        progress: Progress = silent,
    ) -> Answer[Comparison]:
        """Train and measure all baselines, each with every objective, and measure the network of the newest checkpoint.

        With ``sweep`` network and baselines are also trained at the dimensions :data:`SWEPT`. Raises
        :class:`ConfigError` for a run of another world, :class:`StoreError` for the folder.
        """
        from engine.core.generators import seeded
        from engine.probes import oracle
        from engine.probes.robustness import accuracy
        from engine.studies.baseline_training import ATTACK_STEPS, run_baselines
        from engine.studies.dimension_sweep import sweep as sweep_over
        from engine.theory.loading import TheoryNetwork

        network = TheoryNetwork.load(folder)
        config, world = network.config, network.held_out.world
        attack, part = config.attack, 0.25 if sweep else 1.0
        x, y = network.held_out.take(n, config.world.sigma_x)
        plain = Measurement("clean", attack.norm, 0.0, 0, 0, n)
        robust = Measurement("pgd", attack.norm, attack.tau, ATTACK_STEPS, 1, n)
        results = finish(
            run_baselines(config, world=world, n=n), lambda at: progress(0.7 * part * at.fraction, at.text)
        )
        drawn = curves(config, world, min(n, CURVE_SIZE), lambda share: progress((0.7 + 0.2 * share) * part, "curves"))
        progress(0.9 * part, "network and ideal network")
        clean, right = (
            finish(accuracy(network.model, x, y, how, world.dense_direction, generator))
            for how in (plain, robust)
            for generator in [seeded(config.seed, f"race {how.text()}", x.device)]
        )
        (ideal,) = finish(oracle.measure(world, config.seed, x, y, [robust]))
        points: tuple[Dimension, ...] = ()
        if sweep:
            points = finish(
                sweep_over(config, SWEPT, n=n), lambda at: progress(part + (1 - part) * at.fraction, at.text)
            )
        record = Comparison(
            tau=attack.tau,
            norm=attack.norm,
            protocol=robust.text(),
            n=n,
            step=network.step,
            network=Entry.of(clean, right),
            oracle=Entry.of(None, ideal.measured),
            baselines=tuple(
                Entry.of(r.clean, r.robust, name=r.name, trained_by=r.trained_by, steps=r.steps, note=r.features)
                for r in results
            ),
            curves=drawn,
            sweep=tuple(_swept(point, n) for point in points),
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
            values = "  ".join(f"{k} {v:.3f}" for k, v in row.items() if k not in ("d", "n") and v is not None)
            lines.append(f"  d = {row['d']:<4}{values}")
        return "\n".join(lines)


def curves(
    config: SparseCodingConfig, world: SparseCoding, n: int, tell: Callable[[float], object]
) -> tuple[ComparisonCurve, ...]:
    """Robust accuracy of all baselines while they train by FGM at constant rates, on the same batches: one each."""
    from engine.studies.baseline_training import JointTraining

    training = JointTraining(config, world)
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


def _swept(point: Dimension, n: int) -> dict[str, int | float | str | None]:
    ideal = None if point.oracle is None else point.oracle.accuracy
    named = {result.name: result.robust.accuracy for result in point.baselines}
    return {"d": point.d, "n": n, "network": point.network.accuracy, "oracle": ideal, **named}
