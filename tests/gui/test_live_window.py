"""In the window, too, the newest live point is never old, whether training runs, rests or goes on by single steps."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pytestqt.qtbot import QtBot

from engine import worlds
from engine.core import metrics
from engine.run.snapshot import Snapshot
from fp_gui.bridge.controller import Controller
from tests.tiny_image_runs import tiny_images
from tests.tiny_runs import tiny_config

LONG_REPORT = {"evaluation.report_steps": 30, "evaluation.report_size": 300, "evaluation.report_restarts": 2}
CONFIGS = {
    "theory": tiny_config(**{"schedule.clean_steps": 60, "schedule.second_steps": 90, **LONG_REPORT}),
    "images": tiny_images(
        **{
            "model.width": 4,
            "training.batch_size": 8,
            "evaluation.every": 6,
            **LONG_REPORT,
            "evaluation.report_size": 128,
        }
    ),
}


def age(snapshot: Snapshot) -> int:
    found = snapshot.history.get(metrics.ACTIVE_SHARE)  # the last that an evaluation records
    return snapshot.step - (int(found.steps[-1]) if found is not None else 0)


@pytest.fixture
def controller(qtbot: QtBot, tmp_path: Path) -> Iterator[Controller]:
    made = Controller(worlds, tmp_path / "runs")
    yield made
    made.close()


@pytest.mark.parametrize("world", CONFIGS)
def test_no_snapshot_shows_old_curves(controller: Controller, world: str, qtbot: QtBot) -> None:
    config, seen, old = CONFIGS[world], list[Snapshot](), list[int]()

    def look(snapshot: Snapshot) -> None:
        seen.append(snapshot)
        if age(snapshot) > 2 * config.evaluation.every:
            old.append(snapshot.step)

    controller.snapshot_rendered.connect(look)
    with qtbot.waitSignal(controller.run_changed, timeout=60_000):
        controller.reset(config, "test")
    switch = config.schedule.clean_steps
    for _ in range(switch + 3):  # by single steps across the switch, the report begun
        controller.step_once()
    qtbot.waitUntil(lambda: bool(seen) and seen[-1].step == switch + 3, timeout=60_000)
    controller.play()
    qtbot.waitUntil(lambda: seen[-1].finished, timeout=120_000)
    assert old == []
    assert seen[-1].phase == "adversarial"
