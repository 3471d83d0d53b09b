"""The race: the network against the rivals at the run's radius, written as ``race.json`` and recorded in the store."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from engine.core.files import write_json
from engine.core.generators import seeded
from engine.core.measurement import Measurement, figure
from engine.core.slices import finish
from engine.data.sparse_stream import SparseCoding
from engine.probes import oracle
from engine.probes.robustness import Measured, accuracy
from engine.run.store import Store
from engine.studies.baselines import ATTACK_STEPS, BaselineResult, JointTraining, best, run_baselines
from engine.studies.dimensions import sweep as sweep_over
from engine.studies.files import RACE
from engine.theory.config import SparseCodingConfig
from engine.theory.loading import TheoryNetwork

Progress = Callable[[float, str], None]
CURVE_POINTS, CURVE_EVERY, CURVE_SIZE = 10, 60, 500  # of the curves over steps: points, steps between them, samples
SWEPT = (36, 64, 100, 144)  # dimensions d of the sweep: squares of even numbers, so that every dictionary exists


def compare(folder: Path, *, sweep: bool = False, n: int = 1000, progress: Progress | None = None) -> str:
    """Train and measure all rivals for the run in ``folder``; write and record the result, and return it as a table.

    The network is that of the newest checkpoint; with ``sweep`` network and rivals are also trained at the dimensions
    ``SWEPT``. ``progress`` hears the share done and what is under way.
    """
    tell = progress or (lambda share, text: None)
    network = TheoryNetwork.load(folder)
    config, world = network.config, network.held_out.world
    attack, part = config.attack, 0.25 if sweep else 1.0
    x, y = network.held_out.take(n, config.world.sigma_x)
    protocol = Measurement("pgd", attack.norm, attack.tau, ATTACK_STEPS, 1, n)
    results = finish(run_baselines(config, world=world, n=n), lambda at: tell(0.7 * part * at.fraction, at.text))
    tell(0.9 * part, "network and ideal network")
    measured = {
        name: finish(
            accuracy(
                network.model, x, y, how, world.dense_direction, seeded(config.seed, f"race {how.text()}", x.device)
            )
        )
        for name, how in (("clean", Measurement("clean", attack.norm, 0.0, 0, 0, n)), ("robust", protocol))
    }
    (ceiling,) = finish(oracle.measure(world, config.seed, x, y, [protocol]))
    points = (
        finish(sweep_over(config, SWEPT, n=n), lambda at: tell(part + (1 - part) * at.fraction, at.text))
        if sweep
        else ()
    )
    store = Store.open(folder)
    try:
        record(store, network.step, results)
    finally:
        store.close()
    found = {
        "tau": attack.tau,
        "norm": attack.norm,
        "protocol": protocol.text(),
        "n": n,
        "step": network.step,
        "network": entry(measured["clean"], measured["robust"]),
        "oracle": entry(None, ceiling.measured),
        "rivals": [
            {
                "name": r.name,
                "trained_by": r.trained_by,
                "steps": r.steps,
                "note": r.features,
                **entry(r.clean, r.robust),
            }
            for r in results
        ],
        "curves": curves(config, world, min(n, CURVE_SIZE), lambda share: tell((0.7 + 0.2 * share) * part, "curves")),
        "sweep": [
            {
                "d": point.d,
                "n": n,
                "network": point.network.accuracy,
                "oracle": point.oracle.accuracy if point.oracle is not None else None,
                **{r.name: r.robust_accuracy for r in point.baselines},
            }
            for point in points
        ],
    }
    write_json(folder / RACE, found)
    tell(1.0, "done")
    return table(found)


def curves(
    config: SparseCodingConfig, world: SparseCoding, n: int, tell: Callable[[float], object]
) -> list[dict[str, Any]]:
    """Robust accuracy of all rivals while they train by FGM at constant rates, on the same batches: one curve each."""
    racing = JointTraining(config, world)
    found: dict[str, list[float]] = {}
    for point in range(CURVE_POINTS):
        finish(racing.advance(config, "fgm", CURVE_EVERY))
        for result in finish(racing.measure(config, n)):
            found.setdefault(result.name, []).append(result.robust_accuracy)
        tell((point + 1) / CURVE_POINTS)
    steps = [CURVE_EVERY * (i + 1) for i in range(CURVE_POINTS)]
    return [{"name": name, "objective": "fgm", "steps": steps, "robust": values} for name, values in found.items()]


def entry(clean: Measured | None, robust: Measured) -> dict[str, Any]:
    """Accuracies with the robust one's interval, as ``race.json`` holds them."""
    shown = figure(robust.accuracy, robust.protocol)
    return {
        "clean": None if clean is None else clean.accuracy,
        "robust": robust.accuracy,
        "low": shown["low"],
        "high": shown["high"],
    }


def table(found: dict[str, Any]) -> str:
    """The content of ``race.json`` as text."""

    def line(name: str, row: dict[str, Any], note: str = "") -> str:
        clean = "" if row["clean"] is None else f"clean {row['clean']:.3f}  "
        return (
            f"  {name:<22}{clean:<14}robust {row['robust']:.3f} [{row['low']:.3f}, {row['high']:.3f}]  {note}".rstrip()
        )

    lines = [f"{found['protocol']}; network at step {found['step']}", line("network", found["network"])]
    lines.append(line("ideal network", found["oracle"]))
    lines += [line(f"{r['name']} ({r['trained_by']})", r, r["note"]) for r in found["rivals"]]
    for row in found["sweep"]:
        values = "  ".join(f"{k} {v:.3f}" for k, v in row.items() if k not in ("d", "n") and v is not None)
        lines.append(f"  d = {row['d']:<4}{values}")
    return "\n".join(lines)


def record(store: Store, step: int, results: Iterable[BaselineResult]) -> None:
    """Record the best result of each rival as ``rival/clean/<name>`` and ``rival/robust/<name>``."""
    for name, result in best(results).items():
        for kind, measured in (("clean", result.clean), ("robust", result.robust)):
            store.record([(step, f"rival/{kind}/{name}", measured.accuracy)])
            store.set_protocol(step, f"rival/{kind}/{name}", measured.protocol)
