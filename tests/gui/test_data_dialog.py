"""The data dialog: what is installed, choosing a folder, downloading and stopping that, and a run on what is there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import QProcess, QSettings
from PySide6.QtWidgets import QApplication, QFileDialog, QMessageBox
from pytestqt.qtbot import QtBot

from engine.config.experiment import Config, from_dict, value_of, with_value
from engine.core.errors import ConfigError
from engine.data.images import sources
from fp_gui import data_dialog
from fp_gui.bridge.controller import Controller
from fp_gui.data_dialog import DataDialog, chosen_folder, rows_of, size_text
from fp_gui.main_window import MainWindow
from fp_gui.runs import folder_open, with_data, with_folder
from fp_gui.theme import DARK, ThemeManager
from tests.gui.fakes import BOTH_KINDS, FakeFactory
from tests.gui.test_main_window import SMALL

NOTE = "download: 162 MB, from https://example.org"


def row(name: str, title: str, installed: bool, where: str, size: int, note: str) -> dict[str, object]:
    return {
        "name": name, "title": title, "installed": installed, "where": where, "size_bytes": size,
        "images": "many", "note": note,
    }  # fmt: skip


ROWS = [
    row("cifar10", "CIFAR-10", False, "/default", 0, NOTE),
    row("digits", "Digits", True, "/lib/digits.csv.gz", 57_523, "part of scikit-learn"),
    row("image_folder", "Images of a folder", False, "/default/images", 0, "choose a folder"),
]


class Fake:
    """The command ``engine data``: prints rows, downloads by sleeping."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.asked: list[tuple[str, ...]] = []
        self.survey = f"print({json.dumps(json.dumps(ROWS))})"
        self.download = "print('progress 0.25 downloading CIFAR-10: 40 of 162 MB', flush=True); time.sleep(60)"

    def __call__(self, *words: str) -> list[str]:
        self.asked.append(words)
        if "--download" in words:
            return ["-c", f"import time\n{self.download}"]
        if "--folder" in words:
            name, _, folder, _ = words
            one = row(name, name, True, folder, 184_000_000, "binary version")
            return ["-c", f"print({json.dumps(json.dumps([one], indent=1))}, end='')"]
        return ["-c", self.survey]


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Fake:
    made = Fake(tmp_path)
    monkeypatch.setattr(data_dialog, "arguments", made)
    monkeypatch.setattr(QMessageBox, "question", lambda *a: QMessageBox.StandardButton.Yes)
    return made


@pytest.fixture
def dialog(fake: Fake, qtbot: QtBot, tmp_path: Path) -> Iterator[DataDialog]:
    made = DataDialog(QSettings(str(tmp_path / "data.ini"), QSettings.Format.IniFormat))
    qtbot.addWidget(made)
    made.present()
    looked(made, qtbot)
    yield made
    made.shut()
    assert not [p for p in made.findChildren(QProcess) if p.state() != QProcess.ProcessState.NotRunning]


def looked(dialog: DataDialog, qtbot: QtBot) -> None:
    qtbot.waitUntil(lambda: bool(dialog.rows) and dialog.again.isEnabled(), timeout=10_000)


def pick(dialog: DataDialog, name: str) -> None:
    dialog.table.selectRow([r["name"] for r in dialog.rows].index(name))


def cells(dialog: DataDialog, name: str) -> list[str]:
    i = [r["name"] for r in dialog.rows].index(name)
    return [dialog.table.item(i, j).text() for j in range(dialog.table.columnCount())]


def test_table_and_buttons_say_what_there_is(dialog: DataDialog) -> None:
    assert cells(dialog, "digits") == ["Digits", "yes", "58 kB", "many", "/lib/digits.csv.gz"]
    assert cells(dialog, "cifar10") == ["CIFAR-10", "no", "–", "many", "/default"]
    enabled = {}
    for name in ("digits", "cifar10", "image_folder"):
        pick(dialog, name)
        buttons = (dialog.use, dialog.folder, dialog.zip, dialog.default, dialog.download)
        enabled[name] = "".join("x" if button.isEnabled() else "." for button in buttons)
    assert enabled == {"digits": "x....", "cifar10": ".x..x", "image_folder": ".xx.."}
    assert dialog.note.text() == "choose a folder"
    assert not dialog.cancel.isVisible()
    dialog.set_theme(DARK)


def test_chosen_folder_is_looked_at_remembered_and_forgotten(
    dialog: DataDialog, fake: Fake, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    pick(dialog, "cifar10")
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *a: "/data/cifar")
    dialog.folder.click()
    qtbot.waitUntil(lambda: cells(dialog, "cifar10")[1:] == ["yes", "184 MB", "many", "/data/cifar"], timeout=10_000)
    assert fake.asked[-2:] == [("--json",), ("cifar10", "--folder", "/data/cifar", "--json")]
    assert chosen_folder(dialog.settings, "cifar10") == "/data/cifar"
    looked(dialog, qtbot)
    assert dialog.selected is not None
    assert dialog.selected["name"] == "cifar10"
    with qtbot.waitSignal(dialog.chosen) as met:
        dialog.use.click()
    assert met.args == ["cifar10", "/data/cifar"]
    assert not dialog.isVisible()
    dialog.present()
    looked(dialog, qtbot)
    dialog.default.click()
    qtbot.waitUntil(lambda: cells(dialog, "cifar10")[4] == "/default", timeout=10_000)
    assert chosen_folder(dialog.settings, "cifar10") == ""


def test_zip_is_chosen_and_a_dismissed_choice_changes_nothing(
    dialog: DataDialog, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    pick(dialog, "image_folder")
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *a: ("", ""))
    dialog.zip.click()
    assert chosen_folder(dialog.settings, "image_folder") == ""
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *a: ("/data/mine.zip", "*.zip"))
    dialog.zip.click()
    qtbot.waitUntil(lambda: cells(dialog, "image_folder")[4] == "/data/mine.zip", timeout=10_000)


def test_download_says_its_size_before_and_shows_progress(
    dialog: DataDialog, fake: Fake, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    pick(dialog, "cifar10")
    asked: list[str] = []

    def refuse(*words: object) -> QMessageBox.StandardButton:
        asked.append(str(words[2]))
        return QMessageBox.StandardButton.No

    with monkeypatch.context() as patch:
        patch.setattr(QMessageBox, "question", refuse)
        dialog.download.click()
    assert "162 MB" in asked[0]
    assert "/default" in asked[0]
    assert not any("--download" in words for words in fake.asked)
    dialog.download.click()
    assert fake.asked[-1] == ("cifar10", "--download")
    qtbot.waitUntil(lambda: "40 of 162 MB" in dialog.progress.text(), timeout=10_000)
    assert dialog.bar.value() / dialog.bar.maximum() == 0.25
    assert not dialog.download.isEnabled()
    dialog.cancel.click()
    qtbot.waitUntil(lambda: not dialog.cancel.isVisible(), timeout=10_000)
    looked(dialog, qtbot)
    assert dialog.problem.text() == ""
    assert dialog.download.isEnabled()


def test_a_cancelled_download_may_clean_up(dialog: DataDialog, fake: Fake, qtbot: QtBot, tmp_path: Path) -> None:
    fake.download = (
        "import signal, sys, pathlib\n"
        f"signal.signal(signal.SIGTERM, lambda *_: (pathlib.Path({str(tmp_path / 'clean')!r}).touch(), sys.exit(1)))\n"
        "print('progress 0.1 on it', flush=True); time.sleep(60)"
    )
    pick(dialog, "cifar10")
    dialog.download.click()
    qtbot.waitUntil(lambda: "on it" in dialog.progress.text(), timeout=10_000)
    dialog.cancel.click()
    qtbot.waitUntil((tmp_path / "clean").exists, timeout=10_000)
    qtbot.waitUntil(lambda: not dialog.cancel.isVisible(), timeout=10_000)


def test_failures_take_one_line(dialog: DataDialog, fake: Fake, qtbot: QtBot) -> None:
    fake.download = "import sys; sys.stderr.write('Traceback\\nerror: download: no network\\n'); sys.exit(1)"
    pick(dialog, "cifar10")
    dialog.download.click()
    qtbot.waitUntil(lambda: dialog.problem.text() == "download: no network", timeout=10_000)
    looked(dialog, qtbot)
    for survey, part in (("print('{}')", "no list"), ("print('what')", "cannot be read"), ("1/0", "ZeroDivision")):
        fake.survey = survey
        dialog.again.click()
        qtbot.waitUntil(lambda part=part: part in dialog.problem.text(), timeout=10_000)  # type: ignore[misc]
        qtbot.waitUntil(dialog.again.isEnabled, timeout=10_000)
        assert "\n" not in dialog.problem.text()


def test_closing_goes_on_and_shutting_down_ends_the_download(dialog: DataDialog, fake: Fake, qtbot: QtBot) -> None:
    pick(dialog, "cifar10")
    fake.download = "time.sleep(0.3)"
    dialog.download.click()
    with qtbot.waitSignal(dialog.notice, timeout=10_000) as met:
        dialog.close_button.click()
    assert "done" in met.args[0]
    fake.download = "time.sleep(60)"
    dialog.present()
    looked(dialog, qtbot)
    pick(dialog, "cifar10")
    dialog.download.click()
    (child,) = [p for p in dialog.findChildren(QProcess) if p.state() != QProcess.ProcessState.NotRunning]
    dialog.shut()
    assert child.state() == QProcess.ProcessState.NotRunning


def test_answers_are_checked_and_sizes_are_short() -> None:
    assert rows_of(json.dumps(ROWS)) == ROWS
    for text in ("", "[1]", '[{"name": "x"}]', json.dumps([ROWS[0] | {"size_bytes": "big"}])):
        with pytest.raises(ValueError, match=r".+"):
            rows_of(text)
    assert [size_text(n) for n in (0, 1, 57_523, 184_000_000, 2_500_000_000)] == [
        "–",
        "1 kB",
        "58 kB",
        "184 MB",
        "2.5 GB",
    ]


def test_data_of_similar_images_keep_the_experiment() -> None:
    cifar: Config = with_value(
        with_value(from_dict({"world": {"name": "digits"}}), "world.name", "cifar10"), "training.lr", 0.01
    )
    config, label = with_data(with_value(cifar, "world.folder", "/old"), "mine", "image_folder", "/data/my.zip")
    assert label == "mine"
    assert value_of(config, "training.lr") == 0.01
    assert (config.world.name, value_of(config, "world.folder")) == ("image_folder", "/data/my.zip")
    config, label = with_data(cifar, "mine", "cifar10", "")
    assert (config, label) == (cifar, "mine")
    for start in (cifar, SMALL):
        config, label = with_data(start, "mine", "digits", "")
        assert (config.world.name, label) == ("digits", sources["digits"].preset)
    with pytest.raises(ConfigError, match="nowhere"):
        with_data(SMALL, "mine", "nowhere", "")


def test_the_remembered_folder_fills_what_a_preset_leaves_open() -> None:
    cifar: Config = with_value(from_dict({"world": {"name": "digits"}}), "world.name", "cifar10")
    assert folder_open(cifar)
    assert value_of(with_folder(cifar, "/data"), "world.folder") == "/data"
    assert value_of(with_folder(with_value(cifar, "world.folder", "/own"), "/data"), "world.folder") == "/own"
    assert with_folder(SMALL, "/data") is SMALL
    assert with_folder(cifar, "") is cifar


# --- in the window


def test_window_starts_runs_on_the_data(fake: Fake, qapp: QApplication, qtbot: QtBot, tmp_path: Path) -> None:
    factory = FakeFactory()
    settings = QSettings(str(tmp_path / "window.ini"), QSettings.Format.IniFormat)
    window = MainWindow(Controller(factory), BOTH_KINDS, ThemeManager(qapp, "light"), "small", SMALL, settings)
    window.begin(SMALL, "small")
    window.show()
    try:
        qtbot.waitUntil(lambda: window.controller.last is not None)
        window.actions_["data"].trigger()
        dialog = window.parts["data"].dialog
        assert dialog is not None
        looked(dialog, qtbot)
        pick(dialog, "digits")
        with qtbot.waitSignal(window.controller.run_changed):
            dialog.use.click()
        assert factory.last.config.world.name == "digits"
        assert window.toolbar.preset.currentText() in ("digits", "")
        assert factory.last.folder.name.endswith("digits")
        settings.setValue("data/cifar10", "/data/cifar")
        cifar = with_value(from_dict({"world": {"name": "digits"}}), "world.name", "cifar10")
        with qtbot.waitSignal(window.controller.run_changed):
            window.begin(cifar, "cifar10-filters")
        assert value_of(factory.last.config, "world.folder") == "/data/cifar"
        control = next(iter(window.form.parameters["world.folder"].items.keys())).field.control
        control.setText("")
        control.editingFinished.emit()
        with qtbot.waitSignal(window.controller.run_changed):
            window.actions_["reset"].trigger()
        assert value_of(factory.last.config, "world.folder") == ""  # as the form says: the default place
        window.actions_["data"].trigger()
        assert window.parts["data"].dialog is dialog
        looked(dialog, qtbot)
        dialog.settings.remove("data/cifar10")
        fake.survey = f"print({json.dumps(json.dumps(ROWS[:1]))})"
        dialog.again.click()
        qtbot.waitUntil(lambda: len(dialog.rows) == 1, timeout=10_000)
        dialog.download.click()
        qtbot.waitUntil(lambda: "40 of 162" in dialog.progress.text(), timeout=10_000)
    finally:
        window.close()
        assert not [p for p in window.findChildren(QProcess) if p.state() != QProcess.ProcessState.NotRunning]
        window.deleteLater()
