"""A run whose images are not where they were: the window asks, checks what is chosen, and says what is learned."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import QSettings, Qt
from PySide6.QtWidgets import QApplication, QFileDialog, QMessageBox
from pytestqt.qtbot import QtBot

from engine import worlds
from fp_gui.bridge.controller import Controller
from fp_gui.bridge.requests import Worlds
from fp_gui.main_window import MainWindow
from fp_gui.theme import ThemeManager
from tests.faults.test_data_moved import config, pictures, swap_classes


@pytest.fixture
def window(qapp: QApplication, tmp_path: Path, qtbot: QtBot) -> Iterator[MainWindow]:
    """A window with nothing open, beside a ``run`` whose images were moved to ``elsewhere``."""
    session = worlds.create(config(pictures(tmp_path / "pictures")), tmp_path / "run")
    session.step()
    session.close()
    (tmp_path / "pictures").rename(tmp_path / "elsewhere")
    made = MainWindow(Controller(Worlds()), (), ThemeManager(qapp, "light"), "x", session.config, QSettings())
    made.show()
    yield made
    made.close()
    made.deleteLater()


def asked(window: MainWindow, folder: Path, qtbot: QtBot) -> QMessageBox:
    window.open_run(folder)
    qtbot.waitUntil(lambda: window.moved_images.box is not None, timeout=30_000)
    box = window.moved_images.box
    assert box is not None
    assert box.isVisible()
    return box


def press(box: QMessageBox, text: str, qtbot: QtBot) -> None:
    (button,) = [each for each in box.buttons() if each.text().replace("&", "").startswith(text)]
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def test_the_window_asks_for_moved_images_and_opens_the_run_with_them(
    window: MainWindow, tmp_path: Path, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    box = asked(window, tmp_path / "run", qtbot)
    assert box.text() == "The images are not where they were; choose their folder."
    assert "pictures does not exist" in box.informativeText()
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(tmp_path / "elsewhere"))
    with qtbot.waitSignal(window.controller.run_changed, timeout=30_000):
        press(box, "Choose folder", qtbot)
    assert window.controller.config is not None
    assert window.controller.config.world.folder == str(tmp_path / "elsewhere")  # type: ignore[attr-defined]
    words = "2 classes (bright, dark), 32 images for training, 8 held out"
    assert words in window.banner.text  # whoever opens it sees what is learned
    assert words in window.status.folder.toolTip()
    assert window.moved_images.box is None
    window.controller.close()
    worlds.resume(tmp_path / "run").close()  # the run knows now where they are


def test_other_images_are_asked_for_again_and_cancel_leaves_the_window_as_it_was(
    window: MainWindow, tmp_path: Path, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    swap_classes(tmp_path / "elsewhere")
    first = asked(window, tmp_path / "run", qtbot)
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(tmp_path / "elsewhere"))
    press(first, "Choose folder", qtbot)
    qtbot.waitUntil(lambda: window.moved_images.box not in (None, first), timeout=30_000)
    again = window.moved_images.box
    assert again is not None
    assert "are not those that this run began with" in again.informativeText()
    before = (tmp_path / "run" / "run.sqlite").read_bytes()
    press(again, "Cancel", qtbot)
    qtbot.waitUntil(lambda: not again.isVisible())
    assert window.controller.run is None
    assert "are not those that this run began with" in window.banner.text
    assert (tmp_path / "run" / "run.sqlite").read_bytes() == before
