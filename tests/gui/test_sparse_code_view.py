"""Sparse or dense in the window: what is asked for, what is drawn of the file, and that choices draw others."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from pytestqt.qtbot import QtBot

from engine.config.experiment import IMAGES
from fp_gui.theme import DARK, LIGHT
from fp_gui.views.base import views
from fp_gui.views.sparse_code import SparseCodeView
from tests.gui.test_study_views import make, shown, write

NUMBERS = {"image": 1, "clean": 3, "now": 2, "random": None}
SHIFT = {("now", "omp"): 0.0, ("now", "lasso"): 0.01, ("clean", "omp"): 0.02, ("clean", "lasso"): 0.03,
         ("start", "omp"): 0.04, ("start", "lasso"): 0.05}  # fmt: skip
SLOPE = {"image": 0.6, "clean": 0.3, "now": 0.4, "random": 0.1}


def curve(vectors: str, filters: str, method: str) -> dict[str, Any]:
    number = NUMBERS[vectors]
    values = [round(max(0.03, 1 - SLOPE[vectors] * k) + (SHIFT[filters, method] if k else 0), 6) for k in range(4)]
    count = {"median": number, "low": number, "high": None if number in (None, 3) else number + 1, "q10": number,
             "q90": None, "mean": None if number in (None, 3) else number + 0.25,
             "reached": 0.0 if number is None else 1.0}  # fmt: skip
    return {
        "vectors": vectors, "filters": filters, "method": method, "n": 200, "median": values,
        "q10": [1.0, *(v - 0.02 for v in values[1:])], "q90": [1.0, *(v + 0.03 for v in values[1:])], "count": count,
    }  # fmt: skip


CODES: dict[str, Any] = {
    "step": 600, "clean_step": 400, "norm": "l2", "tau": 0.5, "protocol": "PGD-10 × 1 restart, ℓ2 radius 0.5, n = 200",
    "n": 200, "layer": "conv1", "patches": 9, "values": 27, "error": 0.2, "atoms": {"now": 3, "clean": 4, "start": 5},
    "robust": {"clean": {"value": 0.2, "low": 0.15, "high": 0.26}, "now": {"value": 0.5, "low": 0.43, "high": 0.57}},
    "curves": [curve(v, f, m) for f, m in SHIFT for v in NUMBERS],
}  # fmt: skip


def test_it_is_of_runs_on_images_and_asks_for_the_study(qtbot: QtBot, tmp_path: Path) -> None:
    assert views["sparse_code"] is SparseCodeView
    assert (SparseCodeView.title, SparseCodeView.kinds) == ("Sparse or dense?", (IMAGES,))
    view = SparseCodeView()
    asked = shown(qtbot, view, make(tmp_path))
    assert view.pages.empty
    view.task_bar.buttons[0].click()
    assert [(t.command, t.options) for t in asked] == [("sparse", ())]


def test_it_says_numbers_protocol_and_age(qtbot: QtBot, tmp_path: Path) -> None:
    write(tmp_path, SparseCodeView.file, CODES)
    view = SparseCodeView()
    shown(qtbot, view, make(tmp_path, 700))
    assert not view.pages.empty
    words = view.verdict.text()
    assert "Filters for 20% error: images 1 [1, 2], the clean network's perturbations 3 [3, >3]" in words
    assert "random vectors >3 [>3, >3]" in words
    assert "As in the paper, images need fewer than the clean network's perturbations." in words
    caption = view.protocol.text()
    for part in (
        "Clean network: step 400; purified: step 600; the run is at step 700 now.", CODES["protocol"],
        "the 9 patches of an image that conv1 is given", "3 purified, 4 clean, 5 of the start", "0.200 [0.150, 0.260]",
        "200 inputs", "‖rest‖₂/‖vector‖₂",
    ):  # fmt: skip
        assert part in caption
    cells = [[view.table.item(r, c).text() for c in range(5)] for r in range(4)]  # type: ignore[union-attr]
    assert cells[0] == ["■ images", "1 [1, 2]", "1 to >3", "1.25", "100% of 200"]
    assert cells[3][1:] == [">3 [>3, >3]", ">3 to >3", "", "0% of 200"]


def medians(view: SparseCodeView) -> list[list[float]]:
    return [i.getData()[1].tolist() for i in view.errors.getPlotItem().listDataItems() if len(i.getData()[0]) == 4]


def test_another_dictionary_or_method_draws_its_curves(qtbot: QtBot, tmp_path: Path) -> None:
    write(tmp_path, SparseCodeView.file, CODES)
    view = SparseCodeView()
    shown(qtbot, view, make(tmp_path))
    for filters, method in SHIFT:
        view.set_options({"filters": filters, "method": method, "other": "x"})
        assert view.options() == {"filters": filters, "method": method}
        assert medians(view) == [curve(v, filters, method)["median"] for v in NUMBERS]
    assert "filters of the start" in view.errors.getPlotItem().getAxis("bottom").labelText
    view.method.value = "omp"
    assert medians(view) == [curve(v, "start", "omp")["median"] for v in NUMBERS]


def test_another_run_leaves_nothing_behind_but_the_choices(qtbot: QtBot, tmp_path: Path) -> None:
    write(tmp_path, SparseCodeView.file, CODES)
    view = SparseCodeView()
    shown(qtbot, view, make(tmp_path))
    view.set_options({"method": "lasso"})
    view.set_theme(DARK)
    assert len(medians(view)) == 4
    view.render(dataclasses.replace(make(tmp_path), run="b", folder=tmp_path / "nowhere"))
    assert view.pages.empty
    assert medians(view) == []
    assert view.table.rowCount() == 0
    assert view.verdict.text() == ""
    assert view.options() == {"filters": "now", "method": "lasso"}
    view.set_options({"method": "omp"})
    view.set_theme(LIGHT)
    assert medians(view) == []


@pytest.mark.parametrize("text", ["", "[]", '{"tau": 0.2}'])
def test_damaged_file_is_a_message(qtbot: QtBot, tmp_path: Path, text: str) -> None:
    (tmp_path / SparseCodeView.file).write_text(text)
    view = SparseCodeView()
    shown(qtbot, view, make(tmp_path))
    assert view.pages.empty
    assert "sparse_code.json is damaged" in view.problem.text()
