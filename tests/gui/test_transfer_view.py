"""The transfer view: what it asks for, the map and its tooltips, age, another run, and that a bad file does no harm."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from pytestqt.qtbot import QtBot

from engine.config.experiment import IMAGES, SPARSE_CODING
from engine.studies.questions.transfer import TransferStudy
from fp_gui.tasks import TaskState
from fp_gui.views.base import views
from fp_gui.views.transfer import TransferView
from tests.gui.test_study_views import PROTOCOL, make, shown

WITHOUT = (0.95, 0.9, 0.96)
MATRIX = ((0.1, 0.85, 0.3), (0.6, 0.5, 0.62), (0.35, 0.84, 0.0))
NETS = (("clean", 0), ("now", 0), ("other_clean", 1))


def interval(value: float) -> dict[str, float]:
    return {"value": value, "low": max(0.0, value - 0.04), "high": min(1.0, value + 0.03)}


STUDY: dict[str, Any] = {
    "step": 600, "clean_step": 400, "norm": "l2", "tau": 0.5, "protocol": PROTOCOL, "n": 500,
    "nets": [{"key": k, "seed": s, "without": interval(v)} for (k, s), v in zip(NETS, WITHOUT, strict=True)],
    "accuracy": [[interval(v) for v in row] for row in MATRIX],
}  # fmt: skip


def write(folder: Path) -> None:
    (folder / TransferStudy.file).write_text(json.dumps(STUDY), encoding="utf-8")


def test_it_is_for_both_worlds() -> None:
    assert views["transfer"] is TransferView
    assert set(TransferView.kinds) == {IMAGES, SPARSE_CODING}


def test_it_asks_for_the_chosen_seed_and_can_be_cancelled(qtbot: QtBot, tmp_path: Path) -> None:
    view = TransferView()
    asked = shown(qtbot, view, make(tmp_path))
    assert view.pages.empty
    assert "Measure transfer" in view.pages.message.text()
    (button,) = view.task_bar.buttons
    assert "as long as the run itself" in button.toolTip()
    button.click()
    view.seed.setValue(7)
    button.click()
    assert [(t.command, t.options) for t in asked] == [("transfer", ()), ("transfer", ("--other-seed", "7"))]
    view.show_task(TaskState(asked[0], "running", 0.4, "seed 1: clean training", tmp_path))
    assert "40%" in view.task_bar.text.text()
    with qtbot.waitSignal(view.cancel_requested, timeout=1000):
        view.task_bar.cancel.click()


def test_the_map_holds_every_number_with_its_interval(qtbot: QtBot, tmp_path: Path) -> None:
    write(tmp_path)
    view = TransferView()
    shown(qtbot, view, make(tmp_path, 700))
    assert not view.pages.empty
    cell = view.map.item(1, 2)  # made on the clean net, measured on the other seed's
    assert cell is not None
    assert cell.text() == "0.30"
    assert cell.toolTip().splitlines() == [
        "Accuracy of “seed 1, clean” on perturbations made on “clean”: 0.300 [0.260, 0.330]", PROTOCOL,
    ]  # fmt: skip
    first = view.map.item(0, 0)
    assert first is not None
    assert first.toolTip().startswith("Accuracy of “clean” without perturbation: 0.950 [0.910, 0.980]")
    assert view.verdict.text() == (
        "Under perturbations made on the clean net, accuracy is 0.100 on that net, 0.300 on another seed's clean net, "
        "0.850 on the net now."
    )
    caption = view.protocol.text()
    assert PROTOCOL in caption
    assert "The run's nets: seed 0, clean: step 400. Seed 1: the same config, as many steps." in caption
    assert "the diagonal is white-box accuracy" in view.axes.toolTip()
    assert "Measured at step 600; the run is at step 700 now." in caption
    view.render(dataclasses.replace(make(tmp_path), run="b", folder=tmp_path / "nowhere"))
    assert view.pages.empty
    assert view.map.rowCount() == 0
    assert view.verdict.text() == ""


@pytest.mark.parametrize("size", [(300, 300), (760, 720)])
def test_it_fits_small_screens(qtbot: QtBot, tmp_path: Path, size: tuple[int, int]) -> None:
    write(tmp_path)
    view = TransferView()
    shown(qtbot, view, make(tmp_path))
    view.resize(*size)
    qtbot.wait(1)
    assert view.width() == size[0]
    assert view.map.height() >= 140
    for column in range(3):
        cell = view.map.item(3, column)
        assert cell is not None
        assert view.map.visualItemRect(cell).width() >= view.map.fontMetrics().horizontalAdvance(cell.text())


@pytest.mark.parametrize("text", ["", "[]", '{"tau": 0.2}', json.dumps(STUDY | {"accuracy": []})])
def test_a_damaged_file_is_a_message(qtbot: QtBot, tmp_path: Path, text: str) -> None:
    (tmp_path / TransferStudy.file).write_text(text)
    view = TransferView()
    shown(qtbot, view, make(tmp_path))
    assert view.pages.empty
    assert "transfer.json is damaged" in view.problem.text()
