"""The comparison of objectives in the window: what it asks for, and what it shows of its file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtWidgets import QTableWidget
from pytestqt.qtbot import QtBot

from engine.studies.questions.objectives import ObjectivesStudy
from fp_gui.tasks import TaskState
from fp_gui.views.base import views
from fp_gui.views.objectives import COLUMNS, FIELDS, ObjectivesView
from tests.gui.test_study_views import PROTOCOL, make, shown, write


def interval(value: float) -> dict[str, float]:
    return {"value": value, "low": round(value - 0.03, 3), "high": round(value + 0.03, 3)}


def row(objective: str, robust: float, **others: Any) -> dict[str, Any]:
    return {
        "objective": objective, "clean": interval(0.9), "robust": interval(robust), "certified": interval(robust / 2),
        "purity": robust / 4 + 0.5, "kept": 0.8, "held": 12, "dense_alignment": 0.3, "alignment": -0.2, "cosine": 0.7,
        "how": f"How: {objective}.",
    } | others  # fmt: skip


OBJECTIVES: dict[str, Any] = {
    "step": 600, "clean_step": 400, "norm": "l2", "tau": 0.5, "protocol": PROTOCOL, "certificate": "certified, n = 500",
    "n": 500, "steps": 200, "features": 16, "before": row("before", 0.2, how=""),
    "objectives": [row("clean", 0.16), row("trades", 0.6), row("gone", 0.4)],
}  # fmt: skip
NOTHING = {"certified": None, "purity": None, "kept": None, "held": None, "dense_alignment": None, "alignment": None}
ON_IMAGES = OBJECTIVES | {
    "features": 0, "certificate": "", "before": row("before", 0.2, **NOTHING),
    "objectives": [row("trades", 0.6, **NOTHING)],
}  # fmt: skip


def cells(table: QTableWidget, index: int) -> list[str]:
    found = [table.item(index, c) for c in range(table.columnCount()) if not table.isColumnHidden(c)]
    return [cell.text() for cell in found if cell is not None]


def test_it_asks_for_all_with_the_chosen_steps(qtbot: QtBot, tmp_path: Path) -> None:
    assert views["objectives"] is ObjectivesView
    assert ObjectivesView.title == "Objectives"
    view = ObjectivesView()
    asked = shown(qtbot, view, make(tmp_path))
    assert view.pages.empty
    assert "Can Gaussian noise do it?" in view.pages.message.text()
    (button,) = view.task_bar.buttons
    button.click()
    view.steps.setValue(50)
    button.click()
    assert [(t.command, t.options) for t in asked] == [("objectives", ()), ("objectives", ("--steps", "50"))]
    view.show_task(TaskState(asked[1], "running", 0.25, "TRADES training", tmp_path))
    assert "25%" in view.task_bar.text.text()
    with qtbot.waitSignal(view.cancel_requested, timeout=1000):
        view.task_bar.cancel.click()


def test_it_shows_each_network_and_says_how_it_was_measured(qtbot: QtBot, tmp_path: Path) -> None:
    write(tmp_path, ObjectivesStudy.file, OBJECTIVES)
    view = ObjectivesView()
    shown(qtbot, view, make(tmp_path, 700))
    assert view.verdict.text() == "Most robust: TRADES training, 0.200 → 0.600; mean purity 0.550 → 0.650."
    assert len(COLUMNS) == len(FIELDS) + 2
    assert cells(view.table, 2) == [
        "TRADES", "0.900 [0.870, 0.930]", "0.600 [0.570, 0.630]", "0.300 [0.270, 0.330]", "0.650", "0.800", "12/16",
        "0.300", "-0.200", "0.700", "How: trades.",
    ]  # fmt: skip
    assert cells(view.table, 3)[0] == "gone"  # an objective that is no more
    names = [(3, "before"), (2, "clean"), (1, "TRADES"), (0, "gone")]
    for plot in view.plots:
        assert plot.getPlotItem().getAxis("left")._tickLevels[0] == names
        assert plot.height() >= 140
    caption = view.protocol.text()
    assert f"200 steps of each objective, on the same batches; robust accuracy: {PROTOCOL}; certified" in caption
    assert "(step 400). Measured at step 600; the run is at step 700 now." in caption


def test_on_images_it_leaves_out_what_they_have_not(qtbot: QtBot, tmp_path: Path) -> None:
    write(tmp_path, ObjectivesStudy.file, OBJECTIVES)
    view = ObjectivesView()
    shown(qtbot, view, make(tmp_path))
    write(tmp_path, ObjectivesStudy.file, ON_IMAGES)
    view.refresh()
    assert cells(view.table, 1) == ["TRADES", "0.900 [0.870, 0.930]", "0.600 [0.570, 0.630]", "0.700", "How: trades."]
    assert view.verdict.text() == "Most robust: TRADES training, 0.200 → 0.600."
    assert not view.protocol.text().endswith("; .")


@pytest.mark.parametrize("content", ["{", json.dumps(OBJECTIVES | {"steps": "many"})])
def test_a_bad_file_does_no_harm(qtbot: QtBot, tmp_path: Path, content: str) -> None:
    (tmp_path / ObjectivesStudy.file).write_text(content, encoding="utf-8")
    view = ObjectivesView()
    shown(qtbot, view, make(tmp_path))
    assert view.pages.empty
    assert "objectives.json is damaged" in view.problem.text()
