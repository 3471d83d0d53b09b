"""Schedules of knobs told: in the record's order of time, in figures, captions and tables, and on the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.cli.main import run_command_line
from engine.config.assignments import assigned
from engine.config.curves import Curve
from engine.config.experiment import from_dict, setting_of, to_dict, with_value, with_values
from engine.config.presets import load_preset
from engine.core.errors import ConfigError
from engine.figures import figures
from engine.figures.base import FigureData
from engine.figures.declare import KNOT_LOOK
from engine.run.snapshot import Event
from engine.run.store import Store
from engine.run.timeline import Knot, knots, plans
from tests.engine.test_cli import toml
from tests.tiny_runs import TINY, table, tiny_config

LR = [[0, 2.0], [40, 2.0], [41, 0.5], [80, 0.1]]
CONFIG = from_dict({**TINY, "schedule": {**TINY["schedule"], "knobs": {"training.lr": LR}}})
TAU = Curve(((20, 0.2), (70, 0.4)))


def ended(step: int, path: str, old: object) -> Event:
    return Event(step, 0.0, f"schedule.knobs.{path}", str(old), "None")


def test_plans_say_when_each_curve_was_in_force() -> None:
    lr = Curve(tuple((int(s), float(v)) for s, v in LR))
    later = Curve(((45, 2.0), (60, 0.2)))
    config = with_values(CONFIG, {"training.lr": [list(p) for p in later.points], "attack.tau": 0.3})
    events = [
        Event(20, 0.0, "schedule.knobs.attack.tau", "None", str(TAU)), Event(25, 0.0, "phase", "clean", "adversarial"),
        ended(30, "training.lr", lr), ended(35, "attack.tau", TAU), Event(35, 0.0, "attack.tau", "0.23", "0.3"),
        Event(45, 0.0, "schedule.knobs.training.lr", "None", str(later)),
    ]  # fmt: skip
    found = plans(config, events)
    told = [(plan.path, plan.curve, plan.start, plan.end) for plan in found]
    assert told == [
        ("attack.tau", TAU, 20, 35), ("training.lr", lr, 0, 30), ("training.lr", later, 45, None),
    ]  # fmt: skip
    assert [(k.step, k.words) for k in knots(found)] == [
        (0, "training.lr 2"), (20, "attack.tau 0.2"), (45, "training.lr 2"), (60, "training.lr 2 → 0.2"),
    ]  # fmt: skip
    assert plans(tiny_config(), ()) == ()
    assert Knot(41, "training.lr", 6.5, 3.0).words == "training.lr 6.5 → 3"


def test_an_event_of_a_curve_is_told_in_words() -> None:
    assert ended(3, "training.lr", TAU).words == "training.lr: schedule ended by hand"
    assert Event(3, 0.0, "schedule.knobs.attack.tau", "None", str(TAU)).words == (
        "attack.tau: schedule [[20, 0.2], [70, 0.4]]"
    )
    long = Curve(tuple((step, 0.1) for step in range(100)))
    assert long.brief() == "[[0, 0.1], [1, 0.1], [2, 0.1], [3, 0.1], …, [99, 0.1]]"
    assert Event(1, 0.0, "attack.tau", "0.2", "0.3").words == "attack.tau 0.2 → 0.3"


def test_the_setting_is_the_curve_and_another_name_takes_the_curves_of_its_group_along() -> None:
    assert setting_of(CONFIG, "training.lr") == CONFIG.schedule.curve("training.lr")
    assert setting_of(CONFIG, "attack.tau") == CONFIG.attack.tau
    images = from_dict({"world": {"name": "digits"}})
    planned = with_value(images, "training.lr", [[0, 0.1], [5, 0.2]])
    assert with_value(planned, "model.name", "resnet").schedule.knobs == planned.schedule.knobs


def test_a_curve_and_a_number_of_one_knob_contradict_each_other() -> None:
    both = [("training.lr", "1.5"), ("schedule.knobs.training.lr", "[[0, 2]]")]
    for pairs in (both, both[::-1]):
        with pytest.raises(ConfigError, match=r"^training\.lr: is set twice, to .* and to "):
            assigned(CONFIG, pairs)
    assert assigned(CONFIG, [("lr", "[[0, 2]]"), ("training.lr", "[[0, 2]]")]) == {"training.lr": [[0, 2]]}


# --- the command line


@pytest.fixture(scope="module")
def presets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a preset that has a schedule."""
    folder = tmp_path_factory.mktemp("presets")
    data = to_dict(CONFIG)
    curves = data["schedule"].pop("knobs")
    path = toml(with_values(CONFIG, {"schedule.knobs.training.lr": None}), folder / "planned.toml")
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("knobs = ")]
    lines += ["[schedule.knobs]", *(f'"{name}" = {json.dumps(points)}' for name, points in curves.items())]
    path.write_text("\n".join(lines), encoding="utf-8")
    assert load_preset(str(path)) == CONFIG
    return folder


def command(*arguments: object) -> int:
    return run_command_line([str(a) for a in arguments])


@pytest.fixture(scope="module")
def planned_run(presets: Path) -> Path:
    """A run that followed its preset's curve and one given on the command line, and after a stop two others."""
    folder = presets / "run"
    short = ("--set", "schedule.second_steps=20", "--set", "training.lr=[[0,2],[41,0.5],[60,0.1]]")
    assert (
        command("run", presets / "planned.toml", "--out", folder, *short, "--set", "attack.tau=[[0,0.1],[60,0.3]]") == 0
    )
    going_on = ("--resume", "--set", "schedule.knobs.training.lr=[[60, 0.1], [60, 0.2]]")
    assert command("run", "--out", folder, *going_on) == 2  # and nothing is changed
    going_on = ("--resume", "--set", "training.lr=[[0, 0.3], [60, 0.05]]", "--set", "attack.tau=0.25")
    assert command("run", "--out", folder, *going_on) == 0
    return folder


def test_a_preset_s_curve_can_be_ended_on_the_command_line(presets: Path, tmp_path: Path) -> None:
    preset, few = presets / "planned.toml", ("--set", "clean_steps=2", "--set", "second_steps=0")
    assert command("run", preset, "--out", tmp_path / "a", *few) == 2  # the preset's curve is longer than that
    assert command("run", preset, "--out", tmp_path / "a", *few, "--set", "lr=1.25") == 0
    store = Store.open(tmp_path / "a", read_only=True)
    assert store.config.schedule.knobs == ()
    assert store.load().config.training.lr == 1.25  # type: ignore[attr-defined]
    store.close()


def test_resume_changes_curves_from_there_on(planned_run: Path) -> None:
    events = table(planned_run, "SELECT step, name, old, new FROM events WHERE name NOT IN ('phase') ORDER BY id")
    assert events == [
        (60, "schedule.knobs.attack.tau", "[[0, 0.1], [60, 0.3]]", "None"), (60, "attack.tau", "0.3", "0.25"),
        (60, "schedule.knobs.training.lr", "[[0, 2.0], [41, 0.5], [60, 0.1]]", "[[0, 0.3], [60, 0.05]]"),
    ]  # fmt: skip


def test_export_names_the_schedule_and_its_replay_is_bit_identical(planned_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    views = ("--view", "robustness", "--view", "mixtures", "--format", "svg")
    assert command("export", planned_run, "--out", out, *views) == 0
    for view in ("robustness", "mixtures"):
        caption = (out / view / "caption.txt").read_text(encoding="utf-8")
        assert "attack.tau until step 60 [[0, 0.1], [60, 0.3]]" in caption
        assert "training.lr until step 60 [[0, 2], [41, 0.5], [60, 0.1]]" in caption
        assert "training.lr from step 60 [[0, 0.3], [60, 0.05]]" in caption
        assert "Stars" in caption
        assert f"{view}.schedule.csv" in caption
        rows = (out / view / f"{view}.schedule.csv").read_text(encoding="utf-8").splitlines()
        assert rows[0] == "knob [text],step [steps],value [of the knob]"
        assert rows[1:] == ["attack.tau,0,0.1", "training.lr,0,2.0", "training.lr,41,0.5", "training.lr,60,0.05"]
    recipe = json.loads((out / "recipe.json").read_text(encoding="utf-8"))
    assert recipe["config"]["schedule"]["knobs"]["attack.tau"] == [[0, 0.1], [60, 0.3]]
    line = [sys.executable, str(out / "reproduce.py"), str(tmp_path / "again")]
    done = subprocess.run(line, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "bit-identical" in done.stdout


def collect(folder: Path, view: str) -> FigureData:
    store = Store.open(folder, read_only=True)
    try:
        drawer = figures[view]()
        return drawer.collect(store, store.load(), drawer.view.complete({}))
    finally:
        store.close()


@pytest.mark.parametrize("view", ["robustness", "mixtures"])
def test_figures_over_time_mark_the_points_that_were_reached(planned_run: Path, view: str) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.75, 3))
    collect(planned_run, view).draw(figure)
    marks = [
        line for axes in figure.axes for line in axes.lines
        if line.get_marker() == "*" and line.get_markeredgecolor() == KNOT_LOOK.light
    ]  # fmt: skip
    assert len(marks) == 1
    np.testing.assert_array_equal(marks[0].get_xdata(), [0, 41, 60])


def test_a_run_without_schedules_has_no_marks_and_no_table(finished_run: Path) -> None:
    data: Any = collect(finished_run, "robustness")
    assert data.knots == ()
    assert "schedule" not in data.tables
    assert "chedule" not in data.caption


def test_knobs_lists_the_curves_of_a_preset(capsys: pytest.CaptureFixture[str]) -> None:
    assert command("knobs", "theorem") == 0
    lines = capsys.readouterr().out.splitlines()
    place = next(i for i, line in enumerate(lines) if line.startswith("training.lr = 6.5 "))
    assert "    By schedule: [[0, 6.5], [1650, 6.5], [1651, 3.0]]" in lines[place : place + 4]
    assert any(line.startswith("model.bias = 0.1625 ") for line in lines)
    assert command("knobs", "small") == 0
    assert "By schedule" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("assignment", "parts"),
    [
        ("training.lr=[[0, 6.5], [1651, 300]]", ("training.lr: point 2: got 300 at step 1651", "from 0 to 100")),
        ("lr=[[0,6.5],[0,3]]", ("schedule.knobs.training.lr: point 2: step 0 comes after step 0", "rising steps")),
        ("schedule.knobs.training.lr=[[0,1],[9999,2]]", ("training.lr: point 2: got step 9999", "at most 2250")),
        ("schedule.knobs.model.m=[[0,1]]", ("schedule.knobs.model.m: is no live number", "training.lr")),
        ("training.lr=[[0,1],[5", ("schedule.knobs.training.lr", "[[0,1],[5", "[[step, value], …]")),
        ("schedule.knobs.training.lr=[[0, NaN]]", ("training.lr: point 1: got '[0, nan]'",)),
        ("schedule.knobs.lrr=[[0,1]]", ("lrr: no knob has this name",)),
        ("attack.norm=[[0,1]]", ("attack.norm", "allowed: l2, linf")),
    ],
)
def test_bad_points_are_refused_by_name(
    assignment: str, parts: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("run", "theorem", "--out", tmp_path / "run", "--set", assignment) == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    for part in parts:
        assert part in error
    assert not (tmp_path / "run").exists()


def test_the_real_command_refuses_a_bad_point_without_torch(tmp_path: Path) -> None:
    line = [sys.executable, "-X", "importtime", "-m", "engine", "run", "theorem", "--out", str(tmp_path / "run")]
    done = subprocess.run(
        [*line, "--set", "training.lr=[[0,6.5],[0,3]]"], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 2
    told = [text for text in done.stderr.splitlines() if not text.startswith("import time:")]
    assert len(told) == 1
    assert "schedule.knobs.training.lr: point 2" in told[0]
    assert not any(text.rpartition("|")[2].strip() == "torch" for text in done.stderr.splitlines())
