"""Animate… in the window: what is asked, and the file that the task writes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from engine import worlds
from fp_gui.main_window import MainWindow
from fp_gui.parts.animating import AnimationDialog
from tests.gui.test_main_window import open_window
from tests.tiny_runs import tiny_config


@pytest.fixture
def window(qapp: QApplication, qtbot: QtBot) -> Iterator[MainWindow]:
    made = open_window(worlds, qapp, types=(), config=tiny_config(clean_steps=6, second_steps=4, every=5))
    qtbot.waitUntil(lambda: made.controller.last is not None, timeout=20_000)
    made.controller.play()
    qtbot.waitUntil(lambda: made.controller.last is not None and made.controller.last.finished, timeout=30_000)
    yield made
    made.close()
    made.deleteLater()


def test_the_present_run_is_animated(window: MainWindow, qtbot: QtBot, tmp_path: Path) -> None:
    window.actions_["animate"].trigger()
    (dialog,) = window.findChildren(AnimationDialog)
    assert Path(dialog.file.text()).parent.parent == window.controller.run.folder
    out = tmp_path / "melting.gif"
    dialog.file.setText(str(out))
    dialog.frames.setValue(5)
    dialog.button.click()
    qtbot.waitUntil(lambda: bool(window.tasks.states) and not window.tasks.under_way, timeout=60_000)
    assert [state.state for state in window.tasks.states] == ["done"]
    with Image.open(out) as image:
        assert image.n_frames == 5


def test_what_is_chosen_is_the_command(qtbot: QtBot, tmp_path: Path) -> None:
    dialog = AnimationDialog("images", tmp_path)
    qtbot.addWidget(dialog)
    dialog.video.setChecked(True)
    assert dialog.file.text().endswith("purify.mp4")
    dialog.fps.setValue(25)
    assert dialog.task.options == (
        "--view", "filters", "--out", str(tmp_path / "figures" / "purify.mp4"), "--frames", "60", "--fps", "25",
        "--beside",
    )  # fmt: skip
    dialog.view.setCurrentText("Filters")
    assert "--beside" not in dialog.task.options
    dialog.file.setText(" ")
    assert not dialog.button.isEnabled()
