from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch

from engine import worlds
from engine.config.experiment import Config, with_value
from engine.core.errors import ConfigError
from engine.core.measurement import Measurement
from engine.studies.baseline_training import OBJECTIVES, BaselineResult, JointTraining, best, draw_world, run_baselines
from engine.studies.dimension_sweep import at_dimension, sweep, train_network
from tests.tiny_runs import advance, tiny_config
from tests.tiny_runs import run as whole_run


def finish(slices):  # type: ignore[no-untyped-def]
    said = []
    while True:
        try:
            said.append(next(slices))
        except StopIteration as stop:
            return stop.value, said


@pytest.fixture(scope="module")
def results() -> tuple[tuple[BaselineResult, ...], list[object]]:
    found: tuple[tuple[BaselineResult, ...], list[object]] = finish(run_baselines(tiny_config(), steps=60, n=300))
    return found


def test_every_baseline_with_every_objective(results: tuple[tuple[BaselineResult, ...], list[object]]) -> None:
    found, _ = results
    names = ("linear", "quadratic", "cubic", "ntk")
    assert [(r.name, r.trained_by) for r in found] == list(itertools.product(names, OBJECTIVES))
    for result in found:
        assert result.robust.protocol == Measurement("pgd", "l2", 0.2, 30, 1, 300)
        assert result.clean.protocol == Measurement("clean", "l2", 0.0, 0, 0, 300)
        assert result.robust.accuracy <= result.clean.accuracy
        assert (result.steps, result.lr > 0) == (60, True)
        assert (result.exact is not None) == (result.name == "linear")
    clean = {r.name: r for r in found if r.trained_by == "clean"}
    assert clean["linear"].clean.accuracy > 0.8  # it is accurate, and not robust
    assert clean["cubic"].clean.accuracy > 0.8


def test_the_linear_figure_is_exact(results: tuple[tuple[BaselineResult, ...], list[object]]) -> None:
    for result in (r for r in results[0] if r.name == "linear"):
        assert result.exact is not None
        assert abs(result.exact.right - result.robust.right) <= 1  # but for rounding


def test_progress_rises_to_one(results: tuple[tuple[BaselineResult, ...], list[object]]) -> None:
    fractions = [p.fraction for p in results[1]]  # type: ignore[attr-defined]
    assert fractions == sorted(fractions)
    assert all(0 <= f <= 1 for f in fractions)


def test_the_best_of_each(results: tuple[tuple[BaselineResult, ...], list[object]]) -> None:
    chosen = best(results[0])
    for result in results[0]:
        assert chosen[result.name].robust.right >= result.robust.right


def test_deterministic_and_cancellable(monkeypatch: pytest.MonkeyPatch) -> None:
    def job():  # type: ignore[no-untyped-def]
        return run_baselines(tiny_config(), steps=10, n=50, baselines=("cubic",), objectives=("pgd",))

    first = finish(job())[0]
    monkeypatch.setattr("engine.studies.baseline_training.PAUSE", 0.0)  # other slices, the same figures
    assert finish(job())[0] == first
    cancelled = job()
    for _ in range(5):
        next(cancelled)
    cancelled.close()


def test_unknown_names() -> None:
    with pytest.raises(ConfigError, match="fgm, pgd, clean"):
        finish(run_baselines(tiny_config(), objectives=("best",)))
    with pytest.raises(ConfigError, match="baseline: got"):
        finish(run_baselines(tiny_config(), baselines=("deep",)))


def test_race_beside_the_network_leaves_its_history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.studies.baseline_training.PAUSE", 0.0)
    alone = worlds.create(tiny_config(), tmp_path / "alone")
    advance(alone, 30)
    beside = worlds.create(tiny_config(), tmp_path / "beside")
    together = JointTraining(beside.config, beside.world)
    for step in range(30):
        beside.step()
        finish(together.advance(beside.config, "clean" if step < 15 else "adversarial", 1))
    assert torch.equal(alone.model.weight, beside.model.weight)
    found, said = finish(together.measure(beside.config, 100))
    assert said
    assert [r.name for r in found] == ["linear", "quadratic", "cubic", "ntk"]
    assert {(r.steps, r.trained_by, r.robust.protocol.n) for r in found} == {(30, "clean, then adversarial", 100)}
    alone.close()
    beside.close()


def test_a_race_given_up_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.studies.baseline_training.PAUSE", 0.0)
    config = tiny_config()
    whole, parts = JointTraining(config, draw_world(config)), JointTraining(config, draw_world(config))
    finish(whole.advance(config, "fgm", 6))
    given_up = parts.advance(config, "fgm", 6)
    next(given_up)
    given_up.close()
    finish(parts.advance(config, "fgm", 6 - parts.steps_done))
    assert finish(whole.measure(config, 50))[0] == finish(parts.measure(config, 50))[0]


def test_the_sweep_trains_the_run_s_own_network(tmp_path: Path) -> None:
    config = tiny_config()
    network, _ = finish(train_network(config, draw_world(config)))
    record = whole_run(config, tmp_path / "run")
    assert torch.equal(network.weight, torch.from_numpy(record.arrays["weight"]))
    assert network.bias == pytest.approx(float(record.arrays["bias"]))


def test_dimensions_scale_width_and_rate() -> None:
    config: Config = with_value(tiny_config(), "training.lr", 1.0)
    changed = at_dimension(config, 64)
    assert (changed.world.d, changed.model.m, changed.training.lr) == (64, 96, 4.0)
    with pytest.raises(ConfigError, match="square"):
        at_dimension(config, 50)


def test_a_tiny_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.probes.oracle.FIT_SIZE", 100)
    points, said = finish(
        sweep(tiny_config(), (16, 36), steps=20, n=100, objectives=("fgm",), baselines=("linear", "cubic"))
    )
    assert [p.d for p in points] == [16, 36]
    for point in points:
        protocols = {point.network.protocol, point.oracle.protocol, *(r.robust.protocol for r in point.baselines)}
        assert protocols == {Measurement("pgd", "l2", 0.2, 30, 1, 100)}
        assert [r.name for r in point.baselines] == ["linear", "cubic"]
    fractions = [p.fraction for p in said]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1


def test_a_training_that_diverges_is_started_again_slower(monkeypatch: pytest.MonkeyPatch) -> None:
    def wild(*_: object):  # type: ignore[no-untyped-def]
        yield 1.0
        return 1e6

    monkeypatch.setattr("engine.studies.baseline_training.search", wild)
    (result,), _ = finish(
        run_baselines(
            with_value(tiny_config(), "world.d", 64), steps=40, n=100, baselines=("cubic",), objectives=("fgm",)
        )
    )
    assert result.lr < 1e6
    assert result.clean.accuracy > 0
