"""Figures of a sweep: what is drawn is what its runs recorded, and what is missing is never a number."""

from __future__ import annotations

import csv
import json
import runpy
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.cli.main import run_command_line
from engine.compare.overlay import Overlay
from engine.compare.sweeps.collect import collect
from engine.compare.sweeps.curves import SweepCurves
from engine.compare.sweeps.declare import VIEW
from engine.compare.sweeps.heatmap import SweepHeatmap
from engine.compare.sweeps.places import layout_of
from engine.core.errors import ConfigError
from engine.core.measurement import wilson
from engine.figures.style import STYLE
from engine.studies.base import NotMeasured
from engine.sweeps.planning import plan, read_grid
from engine.sweeps.record import ENDS, EndsFile, run_folder, write_sweep
from engine.sweeps.results import SweepResults, results
from tests.tiny_runs import TINY, run, table

TAUS, SECONDS, SEEDS = ("0.1", "0.3"), ("adversarial", "gaussian_noise"), (0, 1)
PGD, CERTIFIED, PURITY = "report/accuracy/pgd", "report/accuracy/certified", "report/mixture/purity/mean"


def settings(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from settings(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", str(value)


SHORT = list(settings(TINY | {"schedule": {"clean_steps": 10, "second_steps": 10}}))


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep of two knobs and two seeds, trained."""
    folder = tmp_path_factory.mktemp("sweeps") / "finished"
    folder.mkdir()
    sweep = plan("small", read_grid([f"tau={','.join(TAUS)}", f"schedule.second={','.join(SECONDS)}"]), SEEDS, SHORT)
    write_sweep(folder, sweep)
    ends = EndsFile(folder)
    for each in sweep.runs:
        run(sweep.config_of(each), run_folder(folder, each.name))
        ends.add(each.name, "finished", "", 0.1, verified=False)
    return folder


@pytest.fixture(scope="session")
def broken(finished: Path) -> Path:
    """The same: at tau 0.1 a run of FGM failed and both of noise diverged, at 0.3 those of FGM wait."""
    folder = finished.with_name("broken")
    shutil.copytree(finished, folder)
    names = [each.name for each in results(folder).rows]
    for gone in (names[0], names[4], names[5]):
        shutil.rmtree(run_folder(folder, gone))
    lines = (folder / ENDS).read_text().splitlines(keepends=True)
    (folder / ENDS).write_text("".join(line for line in lines if names[4] not in line and names[5] not in line))
    ends = EndsFile(folder)
    ends.add(names[0], "failed", "the disk is full", 0.1, verified=False)
    for diverged in names[2:4]:
        ends.add(diverged, "diverged", "the loss is not finite", 0.1, verified=False)
    return folder


def recorded(folder: Path, tau: str, second: str, metric: str, step: int = 20) -> list[float]:
    """What the runs of all seeds have in their databases."""
    query = f"SELECT value FROM metrics WHERE name = '{metric}' AND step = {step}"
    runs = [run_folder(folder, f"tau={tau}-second={second}-seed={seed}") for seed in SEEDS]
    return [value for each in runs if each.exists() for (value,) in table(each, query)]


def figure(found: SweepResults, **options: str) -> SweepHeatmap | SweepCurves | Overlay:
    return collect(found, VIEW.complete(options))


def drawn(data: SweepHeatmap | SweepCurves | Overlay) -> Any:
    """The axes that hold the data."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(STYLE):
        page = Figure(figsize=(6.75, data.height(6.75)))
        data.draw(page)
        page.canvas.draw()
    return page.axes


def test_two_knobs_are_a_heatmap_of_the_means_of_the_records(finished: Path) -> None:
    data = figure(results(finished))
    assert isinstance(data, SweepHeatmap)
    assert [panel.quantity.key for panel in data.panels] == ["purity", "pgd", "certified", "clean"]
    assert (data.columns.texts, data.rows.texts) == (TAUS, SECONDS)
    for panel, metric, axes in zip(data.panels, (PURITY, PGD, CERTIFIED), drawn(data), strict=False):
        expected = [[np.mean(recorded(finished, tau, second, metric)) for tau in TAUS] for second in SECONDS]
        assert np.allclose(panel.mean, expected)
        least = [[min(recorded(finished, tau, second, metric)) for tau in TAUS] for second in SECONDS]
        assert panel.low.tolist() == least
        assert np.allclose(axes.collections[0].get_array(), expected)  # the colours
        shown = [text.get_text() for text in axes.texts]
        assert shown == [f"{value:.2f}" for line in expected for value in line]
        assert axes.collections[0].get_cmap().name == "cividis"
        low, high = panel.scale
        assert low <= np.min(expected) <= np.max(expected) <= high
    assert "Each cell rests on 2 seeds (0, 1).\n8 runs: 8 finished." in data.caption
    assert "attack.tau 0.3: PGD-4 × 2 restarts, ℓ2 radius 0.3, n = 48, 95% Wilson interval" in data.caption


def test_values_without_room_side_by_side_are_turned_in_every_panel(finished: Path) -> None:
    data = figure(results(finished), over="second", by="tau", quantity="pgd,purity")
    for axes in drawn(data)[:2]:
        shown = [(text.get_text(), text.get_rotation()) for text in axes.get_xticklabels()]
        assert shown == [(second, 90.0) for second in SECONDS]


def test_what_failed_is_hatched_what_waits_is_blank_and_neither_is_a_number(broken: Path) -> None:
    data = figure(results(broken), quantity="pgd")
    assert isinstance(data, SweepHeatmap)
    (panel,) = data.panels
    alone = recorded(broken, "0.1", "adversarial", PGD)
    assert len(alone) == 1
    assert np.isnan(panel.mean).tolist() == [[False, True], [True, False]]
    assert panel.mean[0, 0] == alone[0]
    assert (panel.low[0, 0], panel.high[0, 0]) == wilson(alone[0] * 48, 48)
    axes = drawn(data)[0]
    assert [text.get_text() for text in axes.texts] == [
        f"{alone[0]:.2f}\n1/2", "waiting", "diverged", f"{panel.mean[1, 1]:.2f}"
    ]  # fmt: skip
    assert {patch.get_xy(): bool(patch.get_hatch()) for patch in axes.patches} == {
        (0.5, -0.5): False, (-0.5, 0.5): True
    }  # fmt: skip
    assert "attack.tau=0.1, schedule.second=adversarial: 1 of 2 (1 failed)" in data.caption
    assert "3 finished, 1 failed, 2 diverged, 2 waiting" in data.caption
    assert "seed=0: the disk is full" in data.caption
    rows = data.tables[""]
    values = next(column for column in rows if column.name == "value").texts()
    states = next(column for column in rows if column.name == "state").texts()
    assert [state for state, value in zip(states, values, strict=True) if not value] == [
        "failed", "diverged", "diverged", "waiting", "waiting"
    ]  # fmt: skip
    clean = figure(results(broken), quantity="pgd", phase="clean")  # that they had reached before they diverged
    assert isinstance(clean, SweepHeatmap)
    assert clean.panels[0].mean[1, 0] == np.mean(recorded(broken, "0.1", "gaussian_noise", PGD, 10))


def test_curves_over_a_knob_are_seeds_mean_and_range(finished: Path) -> None:
    data = figure(results(finished), kind="curves", quantity="pgd")
    assert isinstance(data, SweepCurves)
    (panel,) = data.panels
    assert [group.name for group in data.groups] == [f"second {second}, seeds 0, 1" for second in SECONDS]
    (axes,) = drawn(data)
    lines = [(line.get_xdata().tolist(), line.get_ydata().tolist(), line.get_linewidth()) for line in axes.lines]
    for group, second in zip(data.groups, SECONDS, strict=True):
        seeds = np.array([recorded(finished, tau, second, PGD) for tau in TAUS])
        mean = panel.mean(group)
        assert mean is not None
        assert (mean.mean.tolist(), mean.low.tolist()) == (seeds.mean(1).tolist(), seeds.min(1).tolist())
        assert mean.high.tolist() == seeds.max(1).tolist()
        for seed in seeds.T:
            assert ([0.1, 0.3], seed.tolist(), 0.5) in lines
        assert ([0.1, 0.3], seeds.mean(1).tolist(), 1.5) in lines
    assert axes.get_xlabel() == "attack.tau"


def test_one_seed_has_its_interval_and_a_missing_place_a_cross(broken: Path) -> None:
    data = figure(results(broken), kind="curves", quantity="pgd", where="schedule.second=adversarial")
    assert isinstance(data, SweepCurves)
    (axes,) = drawn(data)
    value = recorded(broken, "0.1", "adversarial", PGD)[0]
    crosses = [line for line in axes.lines if line.get_marker() == "x"]
    assert [line.get_xdata().tolist() for line in crosses] == [[0.3]]
    (bar,) = [each for each in axes.collections if hasattr(each, "get_segments")]
    assert np.allclose(bar.get_segments()[0], [[0.1, end] for end in wilson(value * 48, 48)])
    assert "hollow: the mean of fewer seeds than planned; crosses above" in data.caption


def test_values_that_span_decades_have_a_logarithmic_axis_and_names_stand_side_by_side(tmp_path: Path) -> None:
    for grid, scale, texts in (
        ("training.lr=1,0.01,0.1", "log", ("0.01", "0.1", "1")),
        ("training.lr=0.2,0.1", "linear", ("0.1", "0.2")),
        ("attack.tau=1,0,0.05", "named", ("0", "0.05", "1")),
        ("schedule.second=trades,adversarial", "named", ("trades", "adversarial")),
    ):
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        write_sweep(folder, plan("small", read_grid([grid]), (0,), SHORT))
        over = layout_of(results(folder), VIEW.complete({})).over
        assert over is not None
        assert (over.scale, over.texts) == (scale, texts)


def test_over_steps_the_mean_is_that_of_the_records(finished: Path) -> None:
    data = figure(results(finished), kind="steps", quantity="pgd", where="tau=0.1;schedule.second=adversarial")
    assert isinstance(data, Overlay)
    (panel,), (group,) = data.panels, data.groups
    mean = panel.mean(group)
    assert mean is not None
    for step, value in zip(mean.x.tolist(), mean.mean.tolist(), strict=True):
        assert value == np.mean(recorded(finished, "0.1", "adversarial", "accuracy/pgd", int(step)))
    assert mean.x.tolist() == [0, 10, 20]
    assert "(live estimate)" in data.caption


def test_seeds_alone_are_drawn_over_steps(finished: Path, tmp_path: Path) -> None:
    folder = tmp_path / "seeds"
    folder.mkdir()
    sweep = plan("small", {}, SEEDS, [*SHORT, ("attack.tau", "0.1")])
    write_sweep(folder, sweep)
    for each in sweep.runs:
        name = f"tau=0.1-second=adversarial-seed={each.seed}"
        shutil.copytree(run_folder(finished, name), run_folder(folder, each.name))
    data = figure(results(folder))
    assert isinstance(data, Overlay)
    assert [group.name for group in data.groups] == ["seeds 0, 1"]


def test_any_recorded_scalar_is_drawn(finished: Path) -> None:
    name = "mixture/relative/median"
    data = figure(results(finished), quantity=name, by="tau", over="second")
    assert isinstance(data, SweepHeatmap)
    expected = [[np.mean(recorded(finished, tau, s, f"report/{name}")) for s in SECONDS] for tau in TAUS]
    assert np.allclose(data.panels[0].mean, expected)
    with pytest.raises(NotMeasured, match="no run has any of mixture/nothing"):
        figure(results(finished), quantity="mixture/nothing")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"over": "training.lr"}, "over: got 'training.lr'; allowed: auto, attack.tau, schedule.second"),
        ({"over": "tau", "by": "attack.tau"}, "by: got 'attack.tau'; allowed: another knob"),
        ({"kind": "heatmap", "where": "tau=0.1"}, "kind: got 'heatmap'; allowed for 1 swept knob: curves, steps"),
        ({"where": "tau=7"}, "where: got 'tau=7'; allowed for attack.tau: 0.1, 0.3"),
        ({"quantity": "pgd,"}, "quantity: got ''"),
        ({"kind": "bars"}, "kind: got 'bars'; allowed: auto, curves, heatmap, steps"),
    ],
)
def test_wrong_options_are_named(finished: Path, options: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        figure(results(finished), **options)
    assert message in str(error.value)


def test_the_command_writes_figures_data_recipe_and_what_trains_it_again(finished: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    line = ["export", str(finished), "--view", "sweep", "--out", str(out), "--option", "sweep.quantity=pgd,purity"]
    assert run_command_line([*line, "--format", "svg"]) == 0
    files = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    names = ("sweep.svg", "sweep.csv", "sweep.mean.csv", "caption.txt")
    assert files == {"recipe.json", "reproduce.py", *(f"sweep/{name}" for name in names)}
    with (out / "sweep" / "sweep.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 16
    for row in rows:
        tau, second = row["attack.tau [of the knob]"], row["schedule.second [of the knob]"]
        metric = {"pgd": PGD, "purity": PURITY}[row["quantity [name]"]]
        values = recorded(finished, tau, second, metric)
        assert float(row["value [of the quantity]"]) == values[int(row["seed [number]"])]
    recipe = json.loads((out / "recipe.json").read_text())
    written = json.loads((finished / "sweep.json").read_text())
    assert recipe["sweep"] == written
    assert recipe["figures"]["views"]["sweep"]["quantity"] == "pgd,purity"
    assert recipe["command"].startswith(
        "python -m engine sweep small --grid attack.tau=0.1,0.3 --grid schedule.second="
    )


def test_the_exported_script_compares_a_sweep_trained_again(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out, again = tmp_path / "out", tmp_path / "again"
    line = ["--view", "sweep", "--format", "svg", "--option", "quantity=pgd,purity"]
    assert run_command_line(["export", str(finished), "--out", str(out), *line]) == 0
    shutil.copytree(finished, again)  # as if it had been trained: the same runs
    data = out / "sweep" / "sweep.csv"
    text = data.read_text(encoding="utf-8")
    wrong = text.replace(",purity,0.", ",purity,0.1", 1)
    monkeypatch.setattr(sys, "argv", ["reproduce.py", str(again)])
    for content, said, code in ((text, "16 of 16", 0), (wrong, "15 of 16", 1)):
        data.write_text(content, encoding="utf-8")
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(out / "reproduce.py"), run_name="__main__")
        assert (ended.value.code, f"{said} values are the same" in capsys.readouterr().out) == (code, True)


def test_a_sweep_and_a_run_have_views_of_their_own(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_of_it = run_folder(finished, "tau=0.1-second=adversarial-seed=0")
    for folder, view, more, message in (
        (finished, "robustness", [], f"view: got 'robustness', and {finished} holds a sweep; allowed: sweep"),
        (run_of_it, "sweep", [], f"{run_of_it / 'sweep.json'} does not exist: {run_of_it} holds no sweep"),
        (finished, "sweep", ["--checkpoint", "10"], "--checkpoint: is for the folder of a run"),
        (finished, "sweep", ["--option", "sweep.sort=norm"], "option: got 'sweep.sort'; allowed: quantity, kind, over"),
    ):
        line = ["export", str(folder), "--view", view, "--out", str(tmp_path / "out"), *more]
        assert run_command_line(line) == 2
        assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
