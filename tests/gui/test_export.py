"""Export from the window: one request, one process, one checkpoint; the dialog; and every way it can go wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QApplication, QFileDialog
from pytestqt.qtbot import QtBot

from engine.config.experiment import with_value
from engine.run.commands import SaveCheckpoint
from fp_gui import export
from fp_gui.bridge.requests import Answer
from fp_gui.export import Exporter, ExportProgress, ExportRequest, arguments, failures
from fp_gui.export_dialog import ExportDialog
from fp_gui.main_window import MainWindow
from tests.gui.fakes import FakeFactory
from tests.gui.test_main_window import SMALL, open_window

SLEEP = "import time; print('progress 0.25 neurons: drawing', flush=True); time.sleep(60)"


@pytest.fixture
def factory() -> FakeFactory:
    return FakeFactory()


@pytest.fixture
def window(factory: FakeFactory, qapp: QApplication, qtbot: QtBot) -> Iterator[MainWindow]:
    made = open_window(factory, qapp)
    qtbot.waitUntil(lambda: made.controller.last is not None)
    yield made
    made.close()
    made.deleteLater()


def pretend(monkeypatch: pytest.MonkeyPatch, code: str) -> list[tuple[Path, int, ExportRequest]]:
    """Run ``code`` in place of the engine; the list fills with what each process was started for."""
    started: list[tuple[Path, int, ExportRequest]] = []

    def line(run: Path, step: int, request: ExportRequest) -> list[str]:
        started.append((run, step, request))
        return ["-c", code]

    monkeypatch.setattr(export, "arguments", line)
    return started


def saved(folder: Path, step: int = 5) -> Callable[[Callable[[Answer], None]], None]:
    return lambda then: then(Answer(1, SaveCheckpoint(), folder=folder, step=step))


# --- the command line


def test_command_line(tmp_path: Path) -> None:
    request = ExportRequest({"neurons": {"sort": "purity", "count": "9"}, "claims": {}}, tmp_path / "out", ("png",))
    assert arguments(tmp_path, 70, request) == [
        "-m", "engine", "export", str(tmp_path), "--checkpoint", "70", "--view", "neurons", "--view", "claims",
        "--option", "neurons.count=9", "--option", "neurons.sort=purity", "--format", "png",
        "--width", "6.75", "--out", str(tmp_path / "out"),
    ]  # fmt: skip


def test_failures_are_the_lines_that_name_a_view() -> None:
    errors = "a warning\nerror: race: race.json does not exist\nclaims: no such thing\nother: no view\n"
    assert failures(errors, {"race": {}, "claims": {}}) == [
        "race: race.json does not exist",
        "claims: no such thing",
    ]


# --- one process


def test_one_process_for_all_views_at_the_step_that_was_saved(
    window: MainWindow, factory: FakeFactory, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    started = pretend(monkeypatch, "print('progress 0.5 half')")
    request = ExportRequest({"neurons": {"sort": "norm"}, "mixtures": {}}, tmp_path)
    for _ in range(3):
        window.controller.step_once()
    with qtbot.waitSignal(window.exporter.done, timeout=10_000):
        window.exporter.request(request)
    assert started == [(factory.last.folder, 3, request)]
    assert str(tmp_path) in window.banner.text
    assert not window.exporter.busy


def test_progress_follows_the_process_and_cancel_ends_it(
    window: MainWindow, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pretend(monkeypatch, SLEEP)
    (progress,) = window.status.findChildren(ExportProgress)
    assert progress.isHidden()
    window.exporter.request(ExportRequest({"neurons": {}}, tmp_path))
    qtbot.waitUntil(lambda: "neurons: drawing" in progress.bar.toolTip(), timeout=10_000)
    assert progress.isVisible()
    assert progress.bar.value() / progress.bar.maximum() == 0.25
    window.controller.play()  # training goes on meanwhile
    qtbot.waitUntil(lambda: window.controller.last is not None and window.controller.last.step > 3)
    window.actions_["export"].trigger()
    assert "under way" in window.banner.text
    with qtbot.waitSignal(window.exporter.failed) as met:
        progress.cancel.click()
    assert "cancelled" in met.args[0]
    assert progress.isHidden()
    assert not window.exporter.busy


def test_views_that_failed_are_named_and_the_others_are_said_to_be_written(
    qtbot: QtBot, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    errors = "race: race.json does not exist\\nfilters: odd\\n"
    pretend(monkeypatch, f"import sys; sys.stderr.write('{errors}'); sys.exit(1)")
    exporter = Exporter(saved(tmp_path))
    views: dict[str, dict[str, str]] = {"race": {}, "neurons": {}, "filters": {}}
    with qtbot.waitSignal(exporter.failed, timeout=10_000) as met:
        exporter.request(ExportRequest(views, tmp_path))
    assert met.args[0].splitlines() == [
        "Not exported: race: race.json does not exist",
        "Not exported: filters: odd",
        f"The other figures are in {tmp_path}",
    ]
    views.pop("neurons")
    with qtbot.waitSignal(exporter.failed, timeout=10_000) as met:
        exporter.request(ExportRequest(views, tmp_path))
    assert "other figures" not in met.args[0]


def test_failure_of_the_whole_is_said(qtbot: QtBot, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pretend(monkeypatch, "import sys; sys.exit('error: out: cannot be written')")
    exporter = Exporter(saved(tmp_path))
    with qtbot.waitSignal(exporter.failed, timeout=10_000) as met:
        exporter.request(ExportRequest({"neurons": {}, "mixtures": {}}, tmp_path))
    assert met.args[0] == "Export failed: out: cannot be written"
    with qtbot.waitSignal(exporter.failed, timeout=10_000) as met:
        exporter.request(ExportRequest({"neurons": {}}, tmp_path))
    assert met.args[0] == "Not exported: neurons: out: cannot be written"


# --- its own checkpoint


def test_a_failed_save_ends_the_export(
    window: MainWindow, factory: FakeFactory, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    started = pretend(monkeypatch, "")
    factory.last.fail_save = "the disk is full"
    with qtbot.waitSignal(window.exporter.failed) as met:
        window.exporter.request(ExportRequest({"neurons": {}}, tmp_path))
    assert "Nothing was exported" in met.args[0]
    assert "the disk is full" in met.args[0]
    assert not window.exporter.busy
    factory.last.fail_save = ""
    with qtbot.waitSignal(window.controller.run_changed):
        window.begin(SMALL, "small")
    answers: list[Answer] = []
    window.controller.save_checkpoint(answers.append)
    qtbot.waitUntil(lambda: bool(answers))
    assert started == []


def test_another_run_opened_meanwhile_is_not_what_is_exported(
    window: MainWindow, factory: FakeFactory, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    started = pretend(monkeypatch, "")
    first = factory.last.folder
    window.controller.step_once()
    window.exporter.request(ExportRequest({"neurons": {}}, tmp_path))
    window.begin(with_value(SMALL, "model.m", 99), "small")  # before the answer to the save is here
    with qtbot.waitSignal(window.exporter.done, timeout=10_000):
        pass
    assert [(run, step) for run, step, _ in started] == [(first, 1)]
    assert factory.last.folder != first
    assert first.is_dir()


def test_cancelled_while_saving_starts_nothing(
    window: MainWindow, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    started = pretend(monkeypatch, "")
    window.exporter.request(ExportRequest({"neurons": {}}, tmp_path))
    window.exporter.cancel()
    assert "cancelled" in window.banner.text
    answers: list[Answer] = []
    window.controller.save_checkpoint(answers.append)
    qtbot.waitUntil(lambda: bool(answers))
    assert started == []


# --- the dialog


def test_dialog_gives_what_was_chosen(qtbot: QtBot, tmp_path: Path) -> None:
    titles = {"neurons": "Neurons", "mixtures": "Mixtures", "race": "Race"}
    dialog = ExportDialog(titles, ["neurons", "race"], {"race": "Not measured"}, tmp_path)
    qtbot.addWidget(dialog)
    assert dialog.chosen == ["neurons"]
    assert not dialog.views["race"].isEnabled()
    dialog.formats["pdf"].setChecked(False)
    assert (dialog.chosen_formats, dialog.out) == (("png", "svg"), tmp_path)
    dialog.views["neurons"].setChecked(False)
    assert not dialog.export_button.isEnabled()


@pytest.mark.parametrize("focus", ["as it opens", "folder", "a view", "browse"])
def test_return_exports(window: MainWindow, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch, focus: str) -> None:
    asked: list[object] = []
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *a: asked.append(a) or "")
    started = pretend(monkeypatch, "")
    window.activateWindow()
    qtbot.keyClick(window, Qt.Key.Key_E, Qt.KeyboardModifier.ControlModifier)
    (dialog,) = window.findChildren(ExportDialog)
    qtbot.waitUntil(dialog.isVisible)
    widgets = {"folder": dialog.folder, "a view": dialog.views["neurons"], "browse": dialog.browse}
    if focus in widgets:
        widgets[focus].setFocus()
    with qtbot.waitSignal(window.exporter.done, timeout=10_000):
        qtbot.keyClick(dialog.focusWidget() or dialog, Qt.Key.Key_Return)
    assert asked == []
    ((run, _, request),) = started
    assert request.views == {view.name: view.options() for view in window.views}
    assert request.out == run / "figures"


def test_the_dialog_chooses_all_views_and_a_width(qtbot: QtBot, tmp_path: Path) -> None:
    titles = {"neurons": "Neurons", "mixtures": "Mixtures", "race": "Race"}
    dialog = ExportDialog(titles, ["neurons"], {"race": "not measured"}, tmp_path)
    qtbot.addWidget(dialog)
    assert (dialog.chosen, dialog.chosen_width) == (["neurons"], 6.75)
    dialog.everything.click()
    assert dialog.chosen == ["neurons", "mixtures"]  # what has nothing to draw stays out
    dialog.everything.click()
    assert dialog.chosen == ["neurons"]
    dialog.width_.setCurrentIndex(1)
    assert dialog.chosen_width == 3.25
    line = arguments(tmp_path, 1, ExportRequest({"neurons": {}}, tmp_path, ("png",), dialog.chosen_width))
    assert line[line.index("--width") + 1] == "3.25"
