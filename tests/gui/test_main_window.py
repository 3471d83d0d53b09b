"""The window over a session: actions, undo, layout, export, and closing."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import QSettings, Qt
from PySide6.QtWidgets import QApplication, QLineEdit
from pytestqt.qtbot import QtBot

from engine.commands import SetKnob, SwitchPhase
from engine.config import load_preset, with_value
from fp_gui import export
from fp_gui.bridge.controller import Controller
from fp_gui.export import ExportDialog, ExportJob, arguments
from fp_gui.main_window import MainWindow
from fp_gui.theme import DARK, LIGHT, ThemeManager
from tests.gui.fakes import VIEWS, FakeFactory, FakeView

SMALL = with_value(load_preset("small"), "schedule.clean_steps", 1_000_000)


@pytest.fixture
def factory() -> FakeFactory:
    return FakeFactory()


def open_window(factory: FakeFactory, qapp: QApplication) -> MainWindow:
    window = MainWindow(Controller(factory), VIEWS, ThemeManager(qapp, "light"), "small", SMALL, QSettings())
    window.begin(SMALL, "small")
    window.show()
    return window


@pytest.fixture
def window(factory: FakeFactory, qapp: QApplication, qtbot: QtBot) -> Iterator[MainWindow]:
    made = open_window(factory, qapp)
    qtbot.waitUntil(lambda: made.controller.last is not None)
    yield made
    made.close()
    made.deleteLater()


def views(window: MainWindow) -> list[FakeView]:
    return [v for v in window.views if isinstance(v, FakeView)]


def edit(window: MainWindow, path: str, text: str) -> None:
    row = next(iter(window.form.parameters[path].items.keys()))
    assert isinstance(row.field.control, QLineEdit)
    row.field.control.setText(text)
    row.field.control.editingFinished.emit()


def field(window: MainWindow, path: str) -> str:
    row = next(iter(window.form.parameters[path].items.keys()))
    assert isinstance(row.field.control, QLineEdit)
    return row.field.control.text()


def test_all_views_are_seen_at_once(window: MainWindow, qtbot: QtBot) -> None:
    qtbot.waitUntil(lambda: all(v.seen for v in views(window)))
    for dock in window.panels.docks.values():
        assert not dock.visibleRegion().isEmpty()


def test_play_pause_step(window: MainWindow, factory: FakeFactory, qtbot: QtBot) -> None:
    play = window.actions_["play"]
    play.trigger()
    qtbot.waitUntil(lambda: factory.last.steps_done > 3 and play.text() == "Pause")
    play.trigger()
    qtbot.waitUntil(lambda: play.text() == "Play")
    steps = factory.last.steps_done
    window.actions_["step"].trigger()
    qtbot.waitUntil(lambda: window.controller.last is not None and window.controller.last.step == steps + 1)
    assert f"step {steps + 1}" in window.status.step.text()


def test_phase_switch_shows_what_is_in_force(window: MainWindow, factory: FakeFactory, qtbot: QtBot) -> None:
    assert window.toolbar.objectives["clean"].isChecked()
    window.actions_["toggle_phase"].trigger()
    qtbot.waitUntil(lambda: window.toolbar.objectives["adversarial"].isChecked())
    assert window.status.phase.text() == "Adversarial"
    window.toolbar.objectives["gaussian_noise"].click()
    qtbot.waitUntil(lambda: window.status.phase.text() == "Gaussian noise")
    assert factory.last.commands() == [SwitchPhase("adversarial"), SwitchPhase("gaussian_noise")]


def test_undo_and_redo_send_the_values_and_the_form_follows(
    window: MainWindow, factory: FakeFactory, qtbot: QtBot
) -> None:
    edit(window, "attack.tau", "0.3")
    qtbot.waitUntil(lambda: factory.last.config.attack.tau == 0.3)
    window.undo_stack.undo()
    qtbot.waitUntil(lambda: field(window, "attack.tau") == "0.2")
    window.undo_stack.redo()
    qtbot.waitUntil(lambda: field(window, "attack.tau") == "0.3")
    qtbot.wait(50)
    sent = [c.value for c in factory.last.commands() if isinstance(c, SetKnob)]
    assert sent == [0.3, 0.2, 0.3]


def test_bad_value_shows_a_message_and_the_run_goes_on(window: MainWindow, factory: FakeFactory, qtbot: QtBot) -> None:
    window.controller.play()
    edit(window, "attack.tau", "99")
    assert "attack.tau" in window.banner.text
    assert window.banner.isVisible()
    assert field(window, "attack.tau") == "0.2"
    steps = factory.last.steps_done
    qtbot.waitUntil(lambda: factory.last.steps_done > steps + 3)
    window.banner.close_button.click()
    assert not window.banner.isVisible()


def test_pending_edit_applies_with_reset(window: MainWindow, factory: FakeFactory, qtbot: QtBot) -> None:
    window.controller.step_once()
    qtbot.waitUntil(lambda: factory.last.steps_done == 1)
    edit(window, "model.m", "123")
    with qtbot.waitSignal(window.controller.run_changed):
        window.actions_["reset"].trigger()
    assert factory.last.config.model.m == 123
    assert not window.form.pending
    assert "stays on disk" in window.banner.text
    assert len(factory.made) == 2


def test_choosing_a_preset_starts_a_new_run(window: MainWindow, factory: FakeFactory, qtbot: QtBot) -> None:
    with qtbot.waitSignal(window.controller.run_changed):
        window.choose_preset("standard")
    assert factory.last.config == load_preset("standard")
    assert window.toolbar.preset.currentText() == "standard"
    assert factory.last.folder.name.endswith("-standard")
    assert field(window, "world.d") == str(load_preset("standard").world.d)


def test_space_plays_right_after_a_number_was_entered(window: MainWindow, factory: FakeFactory, qtbot: QtBot) -> None:
    control = next(iter(window.form.parameters["attack.tau"].items.keys())).field.control
    window.activateWindow()
    control.setFocus()
    qtbot.keyClicks(control, "1")
    qtbot.keyClick(control, Qt.Key.Key_Return)
    qtbot.keyClick(control, Qt.Key.Key_Space)
    qtbot.waitUntil(lambda: factory.last.steps_done > 3)
    assert " " not in control.text()


def test_hover_reaches_every_view(window: MainWindow) -> None:
    window.views[0].neuron_hovered.emit(5)
    assert [v.highlighted for v in views(window)] == [[5], [5], [5]]


def test_open_run_refuses_what_is_no_run(window: MainWindow, tmp_path: Path) -> None:
    window.open_run(tmp_path / "nowhere")
    assert "nowhere" in window.banner.text
    assert "kept" in window.banner.text


def test_error_with_details_and_a_notice_does_not_cover_it(window: MainWindow) -> None:
    window.banner.error("It broke", "Traceback …")
    window.banner.notice("by the way")
    assert window.banner.text == "It broke"
    assert window.banner.details_button.isVisible()


def test_theme_switches_live(window: MainWindow, qapp: QApplication) -> None:
    window.actions_.themes["dark"].trigger()
    assert all(v.theme is DARK for v in window.views)
    assert qapp.palette().window().color().name() == DARK.window
    window.actions_.themes["light"].trigger()
    assert qapp.palette().window().color().name() == LIGHT.window


def test_layout_and_view_options_are_remembered(
    window: MainWindow, factory: FakeFactory, qapp: QApplication, qtbot: QtBot
) -> None:
    window.panels.docks["mixtures"].hide()
    views(window)[0].chosen = {"sort": "norm"}
    window.close()
    again = open_window(factory, qapp)
    try:
        assert again.panels.docks["mixtures"].isHidden()
        assert not again.panels.docks["neurons"].isHidden()
        assert views(again)[0].chosen == {"sort": "norm"}
        again.actions_["reset_layout"].trigger()
        assert not again.panels.docks["mixtures"].isHidden()
    finally:
        again.close()
        again.deleteLater()


def test_number_keys_bring_a_closed_view_back(window: MainWindow, qtbot: QtBot) -> None:
    window.panels.docks["robustness"].hide()
    window.activateWindow()
    qtbot.keyClick(window, Qt.Key.Key_3)
    qtbot.waitUntil(lambda: not window.panels.docks["robustness"].isHidden())


def test_every_toolbar_control_has_a_tooltip_and_takes_focus(window: MainWindow) -> None:
    buttons = [window.toolbar.widgetForAction(a) for a in window.toolbar.actions() if a.text()]
    controls = [*buttons, *window.toolbar.objectives.values(), window.toolbar.preset, window.toolbar.device]
    for control in controls:
        assert control.toolTip(), control
        assert control.focusPolicy() & Qt.FocusPolicy.TabFocus, control


def test_export_runs_beside_the_training(
    window: MainWindow, factory: FakeFactory, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def pretend(run: Path, job: ExportJob) -> list[str]:
        return ["-c", f"import pathlib; pathlib.Path({str(tmp_path / job.view)!r}).write_text({str(run)!r})"]

    monkeypatch.setattr(export, "arguments", pretend)
    with qtbot.waitSignal(window.exporter.done, timeout=10_000):
        window.export([ExportJob("neurons", tmp_path), ExportJob("mixtures", tmp_path)])
    assert (tmp_path / "neurons").read_text() == str(factory.last.folder)
    assert (tmp_path / "mixtures").exists()
    assert str(tmp_path) in window.banner.text


def test_failed_and_cancelled_export_say_so(
    window: MainWindow, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    code = "import sys; sys.exit('export: no such view')"
    monkeypatch.setattr(export, "arguments", lambda run, job: ["-c", code])
    with qtbot.waitSignal(window.exporter.failed, timeout=10_000):
        window.export([ExportJob("neurons", tmp_path)])
    assert "no such view" in window.banner.text
    monkeypatch.setattr(export, "arguments", lambda run, job: ["-c", "import time; time.sleep(60)"])
    with qtbot.waitSignal(window.exporter.started):
        window.export([ExportJob("neurons", tmp_path)])
    with qtbot.waitSignal(window.exporter.failed) as met:
        window.exporter.cancel()
    assert "cancelled" in met.args[0]


def test_export_command_line_and_dialog(qtbot: QtBot, tmp_path: Path) -> None:
    dialog = ExportDialog({"neurons": "Neurons", "mixtures": "Mixtures"}, frozenset({"neurons"}), tmp_path)
    qtbot.addWidget(dialog)
    dialog.formats["pdf"].setChecked(False)
    (job,) = dialog.jobs({"neurons": {"sort": "purity"}})
    assert job == ExportJob("neurons", tmp_path, ("png", "svg"), (("sort", "purity"),))
    line = arguments(tmp_path / "run", job)
    assert line[:4] == ["-m", "engine", "export", str(tmp_path / "run")]
    assert "sort=purity" in line
    dialog.views["neurons"].setChecked(False)
    assert not dialog.export_button.isEnabled()


def test_no_heavy_import() -> None:
    import subprocess

    code = (
        "import sys, fp_gui.app; "
        "bad = {'matplotlib', 'torchvision', 'sklearn', 'engine.session'} & set(sys.modules); sys.exit(bool(bad))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# --- with the real session


def test_real_session_plays_switches_resets_and_closes(qapp: QApplication, qtbot: QtBot, tmp_path: Path) -> None:
    session = pytest.importorskip("engine.session").Session
    from fp_gui.views.catalogue import view_types

    config = with_value(load_preset("small"), "model.m", 40)
    settings = QSettings()
    window = MainWindow(Controller(session), view_types(), ThemeManager(qapp, "light"), "small", config, settings)
    window.begin(config, "small")
    window.show()
    controller = window.controller
    try:
        controller.play()
        qtbot.waitUntil(lambda: controller.last is not None and controller.last.step > 5, timeout=20_000)
        edit(window, "attack.tau", "0.25")
        window.actions_["toggle_phase"].trigger()
        qtbot.waitUntil(lambda: window.status.phase.text() == "Adversarial", timeout=20_000)
        qtbot.waitUntil(lambda: controller.last.config.attack.tau == 0.25, timeout=20_000)
        window.undo_stack.undo()
        qtbot.waitUntil(lambda: controller.last.config.attack.tau == 0.2, timeout=20_000)
        first = controller.run.folder
        with qtbot.waitSignal(controller.run_changed, timeout=20_000):
            window.actions_["reset"].trigger()
        assert first.is_dir()
        controller.play()
        qtbot.waitUntil(lambda: controller.last is not None and controller.last.step > 2, timeout=20_000)
        assert window.banner.level != "error", window.banner.text + window.banner.details
    finally:
        window.close()
        window.deleteLater()
