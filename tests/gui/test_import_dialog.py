"""File → Import…: fields, what is refused stays at its field, cancelling leaves nothing, and the run is then open."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from PySide6.QtCore import QProcess, QSettings
from PySide6.QtWidgets import QApplication, QFileDialog
from pytestqt.qtbot import QtBot

from engine.cli.main import run_command_line
from engine.config.experiment import from_dict
from engine.images.config import images
from engine.images.data import describe, load
from engine.images.training import start
from fp_gui import import_dialog
from fp_gui.bridge.requests import Worlds
from fp_gui.import_dialog import LABELS, ImportDialog
from fp_gui.main_window import MainWindow
from fp_gui.parts.importing import Importing
from fp_gui.parts.watching import IMPORTED, Watching
from fp_gui.views.base import views
from fp_gui.views.gallery_view import NO_START
from tests.gui.test_main_window import open_window
from tests.tiny_imports import KNOBS
from tests.tiny_runs import tiny_config

WAIT = 20_000
SETS = " ".join(f"{name}={value}" for name, value in (KNOBS | {"model.width": "8"}).items())


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The state dict of a small network on digits."""
    config = images(from_dict({"world": {"name": "digits"}, "model": {"name": "two_layer", "width": 8}}), "a test")
    path = tmp_path_factory.mktemp("weights") / "net.pt"
    torch.save(start(config, describe(load(config)), torch.device("cpu")).state_dict(), path)
    return path


@pytest.fixture
def dialog(qtbot: QtBot, tmp_path: Path) -> Iterator[ImportDialog]:
    made = ImportDialog(QSettings(str(tmp_path / "import.ini"), QSettings.Format.IniFormat))
    qtbot.addWidget(made)
    made.present(tmp_path / "run")
    yield made
    made.shut()
    assert not [p for p in made.findChildren(QProcess) if p.state() != QProcess.ProcessState.NotRunning]


def fill(dialog: ImportDialog, weights: Path) -> None:
    dialog.choices["--model"].setCurrentText("two_layer")
    dialog.choices["--data"].setCurrentText("digits")
    for option in ("--clean", "--robust"):
        dialog.texts[option].setText(str(weights))
    dialog.texts["--set"].setText(SETS)


def printing(monkeypatch: pytest.MonkeyPatch, code: str) -> list[list[str]]:
    """The command runs ``code`` instead; the words that it was asked with."""
    asked: list[list[str]] = []

    def line(words: list[str]) -> list[str]:
        asked.append(words)
        return ["-c", f"import sys, time\n{code}"]

    monkeypatch.setattr(import_dialog, "arguments", line)
    return asked


def test_what_the_fields_ask_for_is_what_the_command_takes(dialog: ImportDialog, weights: Path, tmp_path: Path) -> None:
    fill(dialog, weights)
    dialog.choices["--normalisation"].setCurrentText("inside")
    dialog.texts["--start"].setText(str(weights))
    assert not dialog.texts["--mean"].isEnabled()
    assert not dialog.texts["world.folder"].isEnabled()
    assert run_command_line(["import", *dialog.words(), "--device", "cpu"]) == 0
    assert (tmp_path / "run" / "config.json").is_file()


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--clean", "", "Clean weights: none was given; allowed: a file"),
        ("--out", " ", "Run folder: none was given; allowed: a folder"),
        ("--set", "model.widht=8", "model.widht: no knob has this name"),
        ("--set", "attack.tau", "Other knobs: got 'attack.tau'; allowed: key=value"),
        ("--set", "schedule.clean_steps=0", "schedule.clean_steps: got 0; allowed: at least 1"),
    ],
)
def test_what_is_wrong_is_said_at_its_field_at_once(
    dialog: ImportDialog, weights: Path, option: str, value: str, words: str, qtbot: QtBot,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    asked = printing(monkeypatch, "")
    fill(dialog, weights)
    dialog.texts[option].setText(value)
    dialog.go.click()
    assert words in dialog.problem.text()
    assert dialog.focusWidget() is dialog.texts[option]
    assert dialog.isVisible()
    assert not asked


def test_what_the_command_refuses_is_said_at_its_field_and_can_be_corrected(
    dialog: ImportDialog, weights: Path, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    printing(monkeypatch, "sys.stderr.write('warning: slow\\nerror: --robust: net.pt does not exist\\n'); sys.exit(2)")
    fill(dialog, weights)
    dialog.go.click()
    assert not dialog.go.isEnabled()
    qtbot.waitUntil(dialog.go.isEnabled, timeout=WAIT)
    assert dialog.problem.text() == "Robust weights: net.pt does not exist"
    assert dialog.focusWidget() is dialog.texts["--robust"]
    assert dialog.isVisible()


def test_progress_is_shown_and_cancelling_keeps_the_dialog(
    dialog: ImportDialog, weights: Path, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    printing(monkeypatch, "print('progress 0.25 clean network: report', flush=True); time.sleep(60)")
    fill(dialog, weights)
    dialog.go.click()
    qtbot.waitUntil(lambda: dialog.progress.text() == "25% · clean network: report", timeout=WAIT)
    dialog.cancel.click()
    qtbot.waitUntil(dialog.go.isEnabled, timeout=WAIT)
    assert dialog.problem.text() == "The import was cancelled: no run was made."
    assert dialog.isVisible()


def test_files_are_browsed_for_and_every_field_has_a_name(
    dialog: ImportDialog, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *a: (str(weights), ""))
    dialog._browse("--robust")
    assert dialog.texts["--robust"].text() == str(weights)
    for option, widget in (dialog.choices | dialog.texts).items():
        assert widget.accessibleName() == LABELS[option]


@pytest.fixture
def window(qapp: QApplication, qtbot: QtBot) -> Iterator[MainWindow]:
    made = open_window(Worlds(), qapp, types=(views["filters"], views["cosines"]), config=tiny_config())  # type: ignore[arg-type]
    qtbot.waitUntil(lambda: made.controller.last is not None, timeout=WAIT)
    yield made
    made.close()
    made.deleteLater()


def test_the_run_that_was_made_is_open_and_only_read(
    window: MainWindow, weights: Path, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    window.actions_["import"].trigger()
    part, watching = window.parts["importing"], window.parts["watching"]
    assert isinstance(part, Importing)
    assert isinstance(watching, Watching)
    dialog = part.dialog
    assert dialog is not None
    assert dialog.isVisible()
    fill(dialog, weights)
    assert run_command_line(["import", *dialog.words(), "--device", "cpu"]) == 0  # what the other process would do
    printing(monkeypatch, "sys.stderr.write('warning: it is no better than guessing\\n')")
    folder = Path(dialog.texts["--out"].text())
    dialog.go.click()
    controller = window.controller
    qtbot.waitUntil(lambda: controller.run is not None and controller.run.folder == folder, timeout=WAIT)
    qtbot.waitUntil(lambda: controller.last is not None, timeout=WAIT)
    assert not dialog.isVisible()
    assert window.windowTitle().startswith(f"{folder.name} (imported)")
    assert "Imported, but it is no better than guessing" in window.banner.text
    assert watching.words.text() == f"Looking at {folder.name}, read-only: imported from net.pt, net.pt"
    assert not watching.train.isEnabled()
    assert watching.train.toolTip() == IMPORTED
    assert not window.actions_["play"].isEnabled()
    filters = next(view for view in window.views if view.name == "filters")
    qtbot.waitUntil(lambda: filters.galleries[0].placeholder.text() == NO_START, timeout=WAIT)
    window.open_run(folder)  # by any way it is opened to be read
    qtbot.waitUntil(lambda: controller.run is not None, timeout=WAIT)
    assert controller.run is not None
    assert controller.run.watched
