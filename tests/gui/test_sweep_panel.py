"""The panel Sweep in the real window: planning, a real sweep, its figure and its runs, pausing and closing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from engine import worlds
from engine.sweeps.planning import plan, read_grid
from engine.sweeps.record import read_sweep
from engine.sweeps.results import results
from fp_gui.main_window import MainWindow
from fp_gui.tools.sweep import SweepPanel
from tests.gui.test_main_window import edit, open_window
from tests.tiny_runs import tiny_config

SHORT = {"schedule.clean_steps": 20, "schedule.second_steps": 20, "evaluation.certify_every": 0}


@pytest.fixture
def window(qapp: QApplication, qtbot: QtBot) -> Iterator[MainWindow]:
    made = open_window(worlds, qapp, types=(), config=tiny_config(seed=5, **SHORT))
    qtbot.waitUntil(lambda: made.controller.last is not None, timeout=20_000)
    yield made
    made.close()
    made.deleteLater()


@pytest.fixture
def panel(window: MainWindow) -> SweepPanel:
    found = window.bring_tool("sweep")
    assert isinstance(found, SweepPanel)
    return found


def test_a_plan_is_judged_as_it_is_typed(window: MainWindow, panel: SweepPanel, qtbot: QtBot) -> None:
    planner = panel.planner
    window.form.parameters["attack.tau"].sweep_asked.emit("attack.tau")
    row = planner.rows.row("attack.tau")
    assert row is not None
    row.field.setText("0.1, 0.2, 0.3")
    planner.seeds.setText("0-3")
    planner.jobs.setValue(2)
    qtbot.waitUntil(lambda: planner.start.isEnabled())
    print(planner.words.text())
    row.field.setText("0.1, many")
    qtbot.waitUntil(lambda: bool(row.wrong.text()))
    print(row.wrong.text(), "|", planner.words.text())
    assert not planner.start.isEnabled()
    row.field.setText("0.1")
    planner.seeds.setText("0-")
    qtbot.waitUntil(lambda: bool(planner.seeds_wrong.text()))
    print(planner.seeds_wrong.text(), "|", planner.words.text(), '|', row.wrong.text())
    print(planner.folder.text())


def test_a_real_sweep(window: MainWindow, panel: SweepPanel, qtbot: QtBot, tmp_path: Path) -> None:
    planner = panel.planner
    planner.sweep_knob("attack.tau")
    planner.sweep_knob("schedule.second")
    planner.rows.row("attack.tau").field.setText("0.1, 0.2")
    planner.rows.row("schedule.second").field.setText("adversarial, gaussian_noise")
    planner.jobs.setValue(1)
    qtbot.waitUntil(lambda: planner.start.isEnabled())
    planner.start.click()
    print(panel.folder, panel.words.text())
    qtbot.waitUntil(lambda: not panel.training.busy, timeout=60000)
    print(panel.words.text(), window.banner.text)
    qtbot.waitUntil(lambda: bool(panel.page.heatmap.tables), timeout=10000)
    qtbot.wait(300)
    for t in panel.page.heatmap.tables:
        print(t.accessibleName(), [[t.item(r, c).text() for c in range(2)] for r in range(2)])
    print(panel.page.caption.text())
    window.grab().save("/tmp/t-panel/a.png")
