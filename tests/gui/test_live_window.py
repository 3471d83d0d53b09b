"""In the window, too, the newest live point is never old, whether training runs, rests or goes on by single steps."""

from __future__ import annotations

import pytest
from PySide6.QtCore import QSettings
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from engine import worlds
from engine.config.experiment import with_values
from engine.config.presets import load_preset
from engine.core import metrics
from engine.run.snapshot import Snapshot
from fp_gui.bridge.controller import Controller
from fp_gui.main_window import MainWindow
from fp_gui.theme import ThemeManager
from fp_gui.views.base import view_types
from tests.tiny_image_runs import tiny_images

# The evaluations of the theory's run are the preset's; what trains is small, so that a step costs little.
QUICK = {"model.m": 64, "world.d": 36, "training.batch_size": 64}
CONFIGS = {
    "theory": with_values(load_preset("small"), QUICK | {"schedule.clean_steps": 160, "schedule.second_steps": 440}),
    "images": tiny_images(
        **{
            "model.width": 4,
            "training.batch_size": 8,
            "evaluation.every": 6,
            "evaluation.report_steps": 30,
            "evaluation.report_size": 128,
            "evaluation.report_restarts": 2,
        }
    ),
}
PICTURES = {"theory": 4, "images": 1}  # after the switch, at least
LIVE = (metrics.CLEAN, metrics.PGD, metrics.ACTIVE_SHARE)  # the last is what an evaluation records last


def age(snapshot: Snapshot) -> int:
    """Steps since the newest point that all the live curves have."""
    return snapshot.step - min(
        int(snapshot.history[name].steps[-1]) if name in snapshot.history else 0 for name in LIVE
    )


@pytest.mark.parametrize("world", CONFIGS)
def test_no_picture_shows_old_curves(world: str, qapp: QApplication, qtbot: QtBot) -> None:
    config, ages = CONFIGS[world], dict[int, int]()
    switch, total = config.schedule.clean_steps, config.schedule.total

    def look(snapshot: Snapshot) -> None:
        ages[snapshot.step] = max(age(snapshot), ages.get(snapshot.step, 0))

    controller = Controller(worlds)
    window = MainWindow(controller, view_types(), ThemeManager(qapp, "light"), "test", config, QSettings())
    try:
        controller.share = 1.0  # as many pictures as there can be
        controller.snapshot_rendered.connect(look)
        window.begin(config, "test")
        window.show()
        for _ in range(switch + 3):  # by single steps across the switch, the report begun
            controller.step_once()
        qtbot.waitUntil(lambda: switch + 3 in ages, timeout=60_000)
        controller.play()
        qtbot.waitUntil(lambda: total in ages, timeout=120_000)
        assert controller.last is not None
        assert controller.last.phase == "adversarial"
        assert window.banner.level != "error", window.banner.text + window.banner.details
    finally:
        window.close()
        window.deleteLater()
    assert len([step for step in ages if step > switch + 3]) >= PICTURES[world], ages
    assert max(ages.values()) <= 2 * config.evaluation.every, ages
