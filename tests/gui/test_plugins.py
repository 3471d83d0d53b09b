"""Plugins in the window: named on its command line, their views shown, their faults said, their runs explained."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import QSettings
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

import fp_gui.__main__ as program
from engine import worlds
from engine.core import plugins
from fp_gui import app
from fp_gui.bridge.controller import Controller
from fp_gui.bridge.requests import Worlds
from fp_gui.main_window import MainWindow
from fp_gui.run_table import standing_text
from fp_gui.tasks import EngineProcess
from fp_gui.theme import ThemeManager
from fp_gui.views.base import View, view_types
from tests.plugin_files import example, loaded, none_left
from tests.tiny_runs import run as train
from tests.tiny_runs import tiny_config


@pytest.fixture(autouse=True)
def _none_left() -> Iterator[None]:
    with none_left():
        yield


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, ...]]:
    """What the command line asks a window to open, instead of the window."""
    found: list[tuple[object, ...]] = []
    monkeypatch.setattr(app, "run_app", lambda *args, **how: found.append(args) or 0)
    return found


def window_of(qapp: QApplication, runs: Path) -> MainWindow:
    """A window with all views that there are now; no run is open yet."""
    controller = Controller(Worlds(), runs)
    return MainWindow(controller, view_types(), ThemeManager(qapp, "light"), "tiny", tiny_config(), QSettings())


def test_a_probe_with_a_view_is_shown_and_what_fails_is_said(
    opened: list[tuple[object, ...]], qapp: QApplication, qtbot: QtBot, tmp_path: Path
) -> None:
    file = example("probe_with_view.py", tmp_path / "own")
    text = file.read_text(encoding="utf-8")
    guard = '        if snapshot.step == 2:\n            raise ValueError("no second step")\n'
    place = "        found = snapshot.get(WeightNorms)\n"
    file.write_text(text.replace(place, guard + place), encoding="utf-8")
    line = text[: text.index(place)].count("\n") + 2
    assert program.main(["small", "--plugin", str(file)]) == 0
    assert [each.name for each in plugins.loaded()] == ["probe_with_view.py"]
    (asked,) = opened
    assert asked[0] == "small"
    window = window_of(qapp, tmp_path / "runs")
    try:
        window.show()
        with qtbot.waitSignal(window.controller.run_changed):
            window.controller.reset(tiny_config(), "tiny")
        window.panels.bring("weight_norms")
        view = window.shelf.get("weight_norms")
        assert isinstance(view, View)
        qtbot.waitUntil(lambda: view.curve.yData.sum() == 24)  # type: ignore[attr-defined]
        window.controller.step_once()
        with qtbot.waitSignal(window.controller.error, timeout=5000) as said:
            window.controller.step_once()
        assert said.args[0] == (f"A view could not be drawn: ValueError: no second step (plugin {file}, line {line})")
        before = view.curve.xData[-1]  # type: ignore[attr-defined]
        window.controller.step_once()
        qtbot.waitUntil(lambda: view.curve.xData[-1] != before)  # type: ignore[attr-defined]
    finally:
        window.close()
        window.deleteLater()


def test_an_objective_that_fails_stops_training_and_names_its_file(
    qapp: QApplication, qtbot: QtBot, tmp_path: Path
) -> None:
    file = example("objective.py", tmp_path / "own")
    place = "    from engine.attacks.threat import threats\n"
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace(place, "    raise ValueError('no noise')\n" + place), encoding="utf-8")
    line = text[: text.index(place)].count("\n") + 1
    with loaded(file):
        window = window_of(qapp, tmp_path / "runs")
        try:
            window.show()
            with qtbot.waitSignal(window.controller.run_changed):
                window.controller.reset(tiny_config(**{"schedule.second": "uniform_noise"}), "tiny")
            window.controller.switch_phase("uniform_noise")
            with qtbot.waitSignal(window.controller.error, timeout=5000) as said:
                window.controller.step_once()
            assert said.args[0] == (
                f"Training stopped: ValueError: no noise (plugin {file}, line {line}). The run stays open at step 0; "
                "Reset starts a new one."
            )
        finally:
            window.close()
            window.deleteLater()


def test_what_cannot_be_loaded_is_one_line_and_no_window(
    opened: list[tuple[object, ...]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "bad.py"
    file.write_text("1 / 0\n", encoding="utf-8")
    assert program.main(["small", "--plugin", str(file)]) == 2
    said = capsys.readouterr().err
    assert said == f"fp-gui: --plugin: {file}, line 1: ZeroDivisionError: division by zero\n"
    assert opened == []


def test_a_run_says_which_it_needs_on_the_command_line_in_the_window_and_in_the_list(
    opened: list[tuple[object, ...]], qapp: QApplication, qtbot: QtBot, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    file, folder = example("objective.py", tmp_path / "own"), tmp_path / "runs" / "mine"
    with loaded(file):
        train(tiny_config(**{"schedule.second": "uniform_noise"}), folder, until=2)
    needs = f"{folder}: this run needs the plugin objective.py (sha256 "
    assert program.main([str(folder)]) == 2
    assert capsys.readouterr().err.startswith(f"fp-gui: {needs}")
    window = window_of(qapp, tmp_path / "runs")
    try:
        window.show()
        with qtbot.waitSignal(window.controller.run_changed):
            window.controller.reset(tiny_config(), "tiny")
        window.open_run(folder)
        assert needs in window.banner.text
        panel = window.bring_tool("runs")
        runs = panel.model.runs  # type: ignore[attr-defined]
        qtbot.waitUntil(lambda: "mine" in [run.name for run in runs])
        (found,) = (run for run in runs if run.name == "mine")
        assert standing_text(found) == "needs a plugin"
        assert needs in found.entry.reason
        panel.choose(folder)  # type: ignore[attr-defined]
        assert not panel.actions_["open"].isEnabled()  # type: ignore[attr-defined]
    finally:
        window.close()
        window.deleteLater()
    assert program.main([str(folder), "--plugin", str(file)]) == 0
    assert opened[0][2] == folder


def test_a_run_whose_plugin_only_measured_is_opened_with_a_remark(
    qapp: QApplication, qtbot: QtBot, tmp_path: Path
) -> None:
    folder = tmp_path / "runs" / "mine"
    with loaded(example("attack.py", tmp_path / "own")):
        train(tiny_config(), folder, until=2)
    controller = Controller(worlds, tmp_path / "runs")
    try:
        with qtbot.waitSignal(controller.run_changed) as opened:
            controller.load(folder)
        (warning,) = opened.args[0].warnings
        assert warning.startswith(f"{folder} was made with the plugin attack.py (sha256 ")
    finally:
        controller.close()


def test_its_commands_have_the_same_plugins(qapp: QApplication, qtbot: QtBot, tmp_path: Path) -> None:
    """A study of a plugin is a command in the process beside the window, too."""
    process = EngineProcess()
    with loaded(example("study.py", tmp_path / "own")), qtbot.waitSignal(process.succeeded, timeout=20_000):
        process.start(["-m", "engine", "noise", "--help"])
    assert "under Gaussian noise" in " ".join(process.output.split())


def test_without_a_screen_they_go_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines: list[list[str]] = []
    monkeypatch.setattr(program, "run_child", lambda line, env: lines.append(line) or 0)
    monkeypatch.setattr(program.screen, "obstacle", lambda: "no screen")
    monkeypatch.chdir(tmp_path)
    file = example("attack.py", tmp_path / "own")
    assert program.main(["small", "--plugin", str(file)]) == 0
    assert [line[-2:] for line in lines] == [["--plugin", str(file)]] * 2
