"""A new part of the window and a new panel are one file each: registered, they are there."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from PySide6.QtWidgets import QApplication, QLabel, QSpinBox, QVBoxLayout
from pytestqt.qtbot import QtBot

from engine import worlds
from engine.run.snapshot import Snapshot
from fp_gui.main_window import MainWindow
from fp_gui.parts.base import Part, parts
from fp_gui.shell import Shell
from fp_gui.theme import Theme
from fp_gui.tools.base import Tool, tools
from tests.gui.test_main_window import open_window
from tests.tiny_runs import tiny_config


class Counter(Part):
    """Counts what the window tells it."""

    def __init__(self, window: Shell) -> None:
        super().__init__(window)
        self.heard: list[str] = []

    def set_theme(self, theme: Theme) -> None:
        self.heard.append("dark" if theme.dark else "light")

    def save(self) -> None:
        self.heard.append("save")

    def close(self) -> None:
        self.heard.append("close")


class StepPanel(Tool):
    """Shows the step of the run."""

    name, title, place = "steps", "Steps", "lower"

    def __init__(self, window: Shell) -> None:
        super().__init__(window)
        self.label, self.box, self.closed = QLabel(), QSpinBox(), False
        line = QVBoxLayout(self)
        line.addWidget(self.label)
        line.addWidget(self.box)
        window.controller.snapshot_rendered.connect(self.show_snapshot)

    def show_snapshot(self, snapshot: Snapshot) -> None:
        self.label.setText(str(snapshot.step))

    def close_down(self) -> None:
        self.closed = True


@pytest.fixture
def window(qapp: QApplication, qtbot: QtBot) -> Iterator[MainWindow]:
    parts.register("counter")(Counter)
    tools.register("steps")(StepPanel)
    try:
        made = open_window(worlds, qapp, types=(), config=tiny_config())
        qtbot.waitUntil(lambda: made.controller.last is not None, timeout=20_000)
        yield made
        made.close()
        made.deleteLater()
    finally:
        parts.remove("counter")
        tools.remove("steps")


def test_a_part_hears_of_theme_and_end(window: MainWindow) -> None:
    part = window.parts["counter"]
    assert isinstance(part, Counter)
    assert part.heard == ["light"]
    window.themes.set_mode("dark")
    window.close()
    assert part.heard == ["light", "dark", "save", "close"]


def test_a_tool_is_made_when_it_is_seen_and_follows_the_run(window: MainWindow, qtbot: QtBot) -> None:
    dock = window.panels.docks["steps"]
    assert dock.windowTitle() == "Steps"
    window.panels.bring("steps")
    panel = dock.widget()
    assert isinstance(panel, StepPanel)
    window.controller.step_once()
    qtbot.waitUntil(lambda: panel.label.text() == "1")
    window.reset()  # a new run: the panel stays
    qtbot.waitUntil(lambda: panel.label.text() == "0")
    assert not dock.isHidden()
    window.close()
    assert panel.closed
