"""The two studies in the window: what they ask for, what they show of their files, and that a bad file does no harm."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from pytestqt.qtbot import QtBot

from engine.config.experiment import IMAGES, SPARSE_CODING, Config, from_dict
from engine.core.history import History
from engine.core.results import Filters, LayerInfo
from engine.run.snapshot import Snapshot
from engine.studies.questions.local import LocalStudy
from engine.studies.questions.low_rank import RankStudy
from engine.theory.config import SparseCodingConfig
from fp_gui.tasks import Task, TaskState
from fp_gui.theme import DARK, LIGHT
from fp_gui.views.base import views
from fp_gui.views.local import ALL, LocalView
from fp_gui.views.low_rank import LowRankView, ranks_of
from fp_gui.views.study_view import StudyView

INFOS = (LayerInfo("conv1", "conv", (4, 1, 3, 3)), LayerInfo("conv3", "conv", (6, 4, 3, 3)),
         LayerInfo("fc", "linear", (10, 24)))  # fmt: skip
PROTOCOL = "PGD-10 × 1 restart, ℓ2 radius 0.5, n = 500, 95% Wilson interval"
LAYER: dict[str, Any] = {
    "name": "conv1", "clean_steps": 200, "adversarial_steps": 100,
    "clean_before": {"value": 0.9, "low": 0.87, "high": 0.92}, "clean_after": {"value": 0.88, "low": 0.85, "high": 0.9},
    "robust_before": {"value": 0.2, "low": 0.17, "high": 0.24},
    "robust_after": {"value": 0.5, "low": 0.46, "high": 0.54},
    "cos_start_clean": 0.1, "cos_start_now": -0.05, "cos_clean_now": 0.8, "share": 0.75,
    "pure_part": [3.0, 2.0, 1.0, 0.1], "rest": [0.5, 0.4, 2.0, 0.1], "alive": [True, True, True, False],
}  # fmt: skip
STUDY: dict[str, Any] = {
    "step": 600, "clean_step": 400, "norm": "l2", "tau": 0.5, "protocol": PROTOCOL, "n": 500,
    "layers": [LAYER, LAYER | {"name": "conv3", "pure_part": [], "rest": [], "alive": []}],
}  # fmt: skip
ROW = {"robust": 0.4, "low": 0.36, "high": 0.44, "clean": 0.9, "clean_low": 0.87, "clean_high": 0.92}
RANKS: dict[str, Any] = {
    "step": 600, "clean_step": 400, "norm": "l2", "tau": 0.5, "protocol": PROTOCOL, "n": 500, "layers": "all",
    "steps": 200, "before": ROW | {"robust": 0.2, "low": 0.17},
    "ranks": [ROW | {"rank": 8, "robust": 0.43}, ROW | {"rank": 1}, ROW | {"rank": 0, "robust": 0.44}],
}  # fmt: skip


def make(folder: Path, step: int = 600, config: Config | None = None, *, layers: bool = True) -> Snapshot:
    results: dict[type, object] = {}
    if layers:
        results[Filters] = Filters(layers=INFOS, now=None, start=None, clean=None)  # type: ignore[arg-type]
    return Snapshot(
        "a",
        folder,
        step,
        "adversarial",
        True,
        False,
        "cpu",
        2,
        config or from_dict({"world": {"name": "digits"}}),
        History(),
        (),
        {},
        results,
    )


def write(folder: Path, name: str, content: dict[str, Any]) -> None:
    (folder / name).write_text(json.dumps(content), encoding="utf-8")


def shown(qtbot: QtBot, view: StudyView[Any], snapshot: Snapshot) -> list[Task]:
    """Show the view and keep the tasks that it asks for."""
    asked: list[Task] = []
    qtbot.addWidget(view)
    view.task_requested.connect(asked.append)
    view.resize(760, 720)
    view.show()
    view.render(snapshot)
    return asked


def test_each_shows_the_worlds_that_have_it() -> None:
    assert (views["local"], views["low_rank"]) == (LocalView, LowRankView)
    assert LocalView.kinds == (IMAGES,)
    assert set(LowRankView.kinds) == {IMAGES, SPARSE_CODING}
    assert (LocalView.title, LowRankView.title) == ("Local", "Low rank")


def test_local_asks_for_the_chosen_layers_and_steps(qtbot: QtBot, tmp_path: Path) -> None:
    view = LocalView()
    asked = shown(qtbot, view, make(tmp_path))
    assert view.pages.empty
    assert "Purify single layers" in view.pages.message.text()
    (button,) = view.task_bar.buttons
    button.click()
    view.layer.value = "conv3"
    view.clean_steps.setValue(50)
    view.adversarial_steps.setValue(70)
    button.click()
    view.layer.value = ALL
    view.clean_steps.setValue(0)
    button.click()
    assert [(t.command, t.options) for t in asked] == [
        ("local", ()),
        ("local", ("--layer", "conv3", "--clean-steps", "50", "--adversarial-steps", "70")),
        ("local", ("--layer", "conv1", "--layer", "conv3", "--layer", "fc", "--adversarial-steps", "70")),
    ]


def test_low_rank_asks_for_the_chosen_ranks_layers_and_steps(qtbot: QtBot, tmp_path: Path) -> None:
    view = LowRankView()
    asked = shown(qtbot, view, make(tmp_path))
    assert view.pages.empty
    (button,) = view.task_bar.buttons
    view.ranks.setText("4 2, full")
    view.layers.value = "fc"
    view.steps.setValue(30)
    button.click()
    options = ("--rank", "4", "--rank", "2", "--rank", "0", "--layers", "fc", "--steps", "30")
    assert [(t.command, t.options) for t in asked] == [("low-rank", options)]


def test_a_list_of_ranks_that_is_none_cannot_be_asked_for(qtbot: QtBot, tmp_path: Path) -> None:
    assert ranks_of("1, 2; 4 full 1") == (1, 2, 4, 0)
    view = LowRankView()
    asked = shown(qtbot, view, make(tmp_path))
    (button,) = view.task_bar.buttons
    for text in ("", "one", "-1", "5000", "1.5", "٣x"):
        assert ranks_of(text) is None
        view.ranks.setText(text)
        assert not button.isEnabled()
        assert view.wrong.isVisible()
        view.show_task(TaskState(Task("race", "Race"), "done", folder=tmp_path))
        assert not button.isEnabled()
        button.click()
    view.ranks.setText("3")
    assert button.isEnabled()
    assert not view.wrong.isVisible()
    assert asked == []


@pytest.mark.parametrize("kind", [LocalView, LowRankView])
def test_a_running_study_is_shown_and_cancelled(qtbot: QtBot, tmp_path: Path, kind: type[StudyView[Any]]) -> None:
    view = kind()
    shown(qtbot, view, make(tmp_path))
    (task, _), *_ = view.tasks
    chosen = dataclasses.replace(task, options=("--n", "500"))
    view.show_task(TaskState(chosen, "running", 0.25, "conv1: clean training", tmp_path))
    assert "25%" in view.task_bar.text.text()
    assert view.task_bar.cancel.isVisible()
    assert not view.task_bar.buttons[0].isEnabled()
    with qtbot.waitSignal(view.cancel_requested, timeout=1000):
        view.task_bar.cancel.click()
    view.show_task(TaskState(chosen, "cancelled", None, "Cancelled", tmp_path))
    assert view.task_bar.buttons[0].isEnabled()


def test_local_shows_cosines_accuracies_and_units(qtbot: QtBot, tmp_path: Path) -> None:
    write(tmp_path, LocalStudy.file, STUDY)
    view = LocalView()
    shown(qtbot, view, make(tmp_path, 700))
    assert not view.pages.empty
    ticks = view.cosines.getPlotItem().getAxis("bottom")._tickLevels[0]
    assert [text for _, text in ticks] == ["conv1", "conv3"]
    marks = [item.getData()[1].tolist() for item in view.cosines.getPlotItem().listDataItems() if item.opts["symbol"]]
    assert [0.8, 0.8] in marks
    bars = [i.getData()[1].tolist() for i in view.accuracies.getPlotItem().listDataItems() if not i.opts["symbol"]]
    assert [0.46, 0.54] in bars
    first, second = view.scatter.getPlotItem().listDataItems()
    x, y = first.getData()
    assert (x > y).tolist() == [True, True, False]  # the dead unit is left out
    assert second.getData()[0] is None or len(second.getData()[0]) == 0
    cells = [view.table.item(0, c) for c in range(view.table.columnCount())]
    texts = [cell.text() for cell in cells if cell is not None]
    assert texts[:3] == ["conv1", "200 + 100", "0.900 [0.870, 0.920]"]
    assert texts[-1] == "75% of 3 alive"
    assert "conv1 alone: robust accuracy 0.200 → 0.500" in view.verdict.text()
    caption = view.protocol.text()
    assert PROTOCOL in caption
    assert "(step 400)" in caption
    assert "Measured at step 600; the run is at step 700 now." in caption


def test_low_rank_shows_accuracy_against_rank(qtbot: QtBot, tmp_path: Path) -> None:
    write(tmp_path, RankStudy.file, RANKS)
    view = LowRankView()
    shown(qtbot, view, make(tmp_path))
    item = view.accuracy.getPlotItem()
    assert [text for _, text in item.getAxis("bottom")._tickLevels[0]] == ["1", "8"]
    curves = [i.getData() for i in item.listDataItems() if i.opts["symbol"]]
    assert [(x.tolist(), y.tolist()) for x, y in curves] == [([0.0, 3.0], [0.9, 0.9]), ([0.0, 3.0], [0.4, 0.43])]
    assert view.verdict.text() == "Robust accuracy 0.200 before, 0.400 at rank 1, 0.430 at rank 8, 0.440 in full."
    assert PROTOCOL in view.protocol.text()
    assert "200 adversarial steps at each rank" in view.protocol.text()
    assert "Measured at" not in view.protocol.text()
    write(tmp_path, RankStudy.file, RANKS | {"layers": "conv1, fc", "ranks": [ROW | {"rank": 0}]})
    view.refresh()
    assert "conv1, fc alone" in view.protocol.text()
    assert view.verdict.text() == "Robust accuracy 0.200 before, 0.400 in full."


def test_in_the_world_of_the_theory_there_are_no_layers_to_choose(qtbot: QtBot, tmp_path: Path) -> None:
    view = LowRankView()
    asked = shown(qtbot, view, make(tmp_path, config=SparseCodingConfig(), layers=False))
    assert not view.layers.isEnabled()
    view.task_bar.buttons[0].click()
    assert [t.options for t in asked] == [tuple(o for r in (1, 2, 4, 8, 16, 0) for o in ("--rank", str(r)))]


def test_another_network_has_other_layers(qtbot: QtBot, tmp_path: Path) -> None:
    view = LocalView()
    shown(qtbot, view, make(tmp_path))
    view.layer.value = "conv3"
    view.refresh()
    assert view.layer.value == "conv3"
    other = Filters(layers=INFOS[:1], now=None, start=None, clean=None)  # type: ignore[arg-type]
    view.render(dataclasses.replace(make(tmp_path), run="b", results={Filters: other}))
    assert view.layer.value == ""
    assert view.layer.findData("conv3") < 0


@pytest.mark.parametrize(("kind", "name"), [(LocalView, LocalStudy.file), (LowRankView, RankStudy.file)])
@pytest.mark.parametrize("text", ["", "[]", '{"tau": 0.2}'])
def test_damaged_file_is_a_message(
    qtbot: QtBot, tmp_path: Path, kind: type[StudyView[Any]], name: str, text: str
) -> None:
    (tmp_path / name).write_text(text)
    view = kind()
    shown(qtbot, view, make(tmp_path))
    assert view.pages.empty
    assert f"{name} is damaged" in view.problem.text()


def test_drawn_once_and_themes(qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, LocalStudy.file, STUDY)
    write(tmp_path, RankStudy.file, RANKS)
    for view in (LocalView(), LowRankView()):
        shown(qtbot, view, make(tmp_path))
        for theme in (DARK, LIGHT):
            view.set_theme(theme)
            assert not view.grab().isNull()
        calls: list[object] = []
        monkeypatch.setattr(view, "draw", calls.append)
        view._pause.stop()
        view.render(make(tmp_path, 650))
        assert calls == []
        view.render(dataclasses.replace(make(tmp_path), run="b", folder=tmp_path / "nowhere"))
        assert view.pages.empty
    assert LocalStudy.read(tmp_path).layers[0].name == "conv1"
    assert RankStudy.read(tmp_path).full() is not None
