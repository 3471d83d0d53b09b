"""The race in the window: what it shows of race.json, and that a bad file does no harm."""

from __future__ import annotations

import dataclasses
from itertools import pairwise
from pathlib import Path

import pyqtgraph as pg  # type: ignore[import-untyped]
import pytest
from pytestqt.qtbot import QtBot

from engine.config.presets import load_preset
from engine.run.snapshot import Snapshot
from fp_gui.folding import ViewArea
from fp_gui.tasks import Task
from fp_gui.theme import DARK, LIGHT
from fp_gui.views.base import views
from fp_gui.views.race import RaceView
from tests.engine.test_race_figure import RACE, write
from tests.gui.test_claims_view import make


def shown(qtbot: QtBot, snapshot: Snapshot) -> RaceView:
    view = RaceView()
    qtbot.addWidget(view)
    view.resize(700, 800)
    view.show()
    view.render(snapshot)
    return view


def rows(view: RaceView) -> list[list[str]]:
    table = view.table
    return [
        [item.text() if (item := table.item(r, c)) is not None else "" for c in range(table.columnCount())]
        for r in range(table.rowCount())
    ]


def test_without_a_race_it_says_how_to_run_one(qtbot: QtBot, tmp_path: Path) -> None:
    assert views["race"] is RaceView
    view = shown(qtbot, make(tmp_path))
    assert view.pages.empty
    assert "Run the race" in view.pages.message.text()
    assert not view.problem.isVisible()
    asked: list[Task] = []
    view.task_requested.connect(asked.append)
    for button in view.task_bar.buttons:
        button.click()
    assert [(t.command, t.options) for t in asked] == [("race", ()), ("race", ("--sweep",))]


def test_the_best_of_each_baseline_beside_network_and_oracle(qtbot: QtBot, tmp_path: Path) -> None:
    write(tmp_path, RACE)
    view = shown(qtbot, make(tmp_path, 2500))
    assert not view.pages.empty
    ticks = view.dots.getPlotItem().getAxis("left")._tickLevels[0]
    assert [text for _, text in reversed(ticks)] == ["ideal network", "this network", "NTK", "linear"]
    found = rows(view)
    assert found[0] == ["this network", "", "0.990", "0.880 [0.860, 0.900]", "", ""]
    assert ["NTK", "PGD (best)", "0.800", "0.660 [0.630, 0.690]", "900", "exact features"] in found
    assert ["NTK", "clean", "0.850", "0.300", "", ""] in found
    assert ["linear", "FGM (best)", "0.700", "0.490 [0.460, 0.520]", "", ""] in found
    assert "0.220 above the best baseline's (NTK: 0.660)" in view.verdict.text()
    assert view.protocol.text() == "Network of step 2,000; now at step 2,500. PGD-30 × 1 restart, n = 1000"
    assert "ℓ2 radius 0.2" in view.dots.getPlotItem().getAxis("bottom").labelText
    dots = [item.getData()[0][0] for item in view.dots.getPlotItem().listDataItems() if item.opts["symbol"]]
    assert sorted(dots) == [0.3, 0.49, 0.66, 0.88, 0.9]


def test_a_network_that_loses_is_said_to_lose(qtbot: QtBot, tmp_path: Path) -> None:
    write(tmp_path, RACE | {"network": {"robust": 0.4}})
    assert "0.260 below the best baseline's" in shown(qtbot, make(tmp_path)).verdict.text()


def test_steps_and_sweep_appear_where_measured(qtbot: QtBot, tmp_path: Path) -> None:
    write(tmp_path, RACE)
    view = shown(qtbot, make(tmp_path))
    assert view.steps.isVisible()
    assert view.sweep.isVisible()
    (line, *_) = view.steps.getPlotItem().listDataItems()
    assert line.getData()[1].tolist() == [0.1, 0.5, 0.66]  # the training that was best
    ticks = view.sweep.getPlotItem().getAxis("bottom")._tickLevels[0]
    assert [text for _, text in ticks] == ["36", "64"]
    write(tmp_path, RACE | {"curves": [], "sweep": [], "oracle": None})
    view.refresh()
    assert not view.steps.isVisible()
    assert not view.sweep.isVisible()
    assert [r[0] for r in rows(view)] == ["this network", "NTK", "NTK", "linear"]


def test_the_ntk_of_now_is_shown_and_is_not_the_best_that_cannot(qtbot: QtBot, tmp_path: Path) -> None:
    now = {"name": "ntk_now", "trained_by": "fgm", "clean": 0.95, "robust": 0.8, "low": 0.77, "high": 0.83}
    write(tmp_path, RACE | {"rivals": [*RACE["rivals"], now]})
    view = shown(qtbot, make(tmp_path))
    ticks = view.dots.getPlotItem().getAxis("left")._tickLevels[0]
    assert [text for _, text in reversed(ticks)][2:] == ["NTK of now", "NTK", "linear"]
    assert "0.220 above the best baseline's (NTK: 0.660)" in view.verdict.text()
    assert "The NTK of now, with learned features: 0.800." in view.verdict.text()
    assert ["NTK of now", "FGM (best)", "0.950", "0.800 [0.770, 0.830]", "", ""] in rows(view)


def test_a_scaled_sweep_is_said(qtbot: QtBot, tmp_path: Path) -> None:
    sweep = [
        {"d": 36, "n": 9, "k": 3.0, "tau": 0.2, "network": 0.9},
        {"d": 64, "n": 9, "k": 4.0, "tau": 0.1, "ntk": 0.5},
    ]
    write(tmp_path, RACE | {"sweep": sweep})
    view = shown(qtbot, make(tmp_path))
    assert "In the sweep k and tau go with d: d 36: k 3, tau 0.2, d 64: k 4, tau 0.1" in view.protocol.text()
    drawn = [item for item in view.sweep.getPlotItem().listDataItems() if item.opts["symbol"] is None]
    assert [item.getData()[1].tolist() for item in drawn] == [[0.9], [0.5]]  # k and tau are no models


def test_on_images_there_is_no_sweep_over_d(qtbot: QtBot, tmp_path: Path) -> None:
    write(tmp_path, {key: value for key, value in RACE.items() if key != "oracle"} | {"sweep": [], "curves": []})
    snapshot = dataclasses.replace(make(tmp_path), config=load_preset("digits"))
    view = shown(qtbot, snapshot)
    assert [b.isVisible() for b in view.task_bar.buttons] == [True, False]
    ticks = view.dots.getPlotItem().getAxis("left")._tickLevels[0]
    assert [text for _, text in reversed(ticks)] == ["this network", "NTK", "linear"]
    view.render(dataclasses.replace(make(tmp_path), run="b"))
    assert all(b.isVisible() for b in view.task_bar.buttons)


@pytest.mark.parametrize("text", ["", "[]", '{"tau": 0.2}', '{"tau": "much"}'])
def test_damaged_file_is_a_message(qtbot: QtBot, tmp_path: Path, text: str) -> None:
    (tmp_path / "race.json").write_text(text)
    view = shown(qtbot, make(tmp_path))
    assert view.pages.empty
    assert "race.json is damaged" in view.problem.text()
    assert view.problem.isVisible()


def test_drawn_once_and_again_only_for_another_race(
    qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, RACE)
    view = shown(qtbot, make(tmp_path, 2500))
    calls: list[int] = []
    monkeypatch.setattr(view, "draw", lambda race: calls.append(race.step))
    view._pause.stop()
    view.render(make(tmp_path, 2600))
    assert calls == []
    assert "now at step 2,600" in view.protocol.text()
    write(tmp_path, RACE | {"step": 25000})
    view.refresh()
    assert calls == [25000]
    view.render(dataclasses.replace(make(tmp_path, 10), run="b", folder=tmp_path / "nowhere"))
    assert view.pages.empty


def test_themes(qtbot: QtBot, tmp_path: Path) -> None:
    write(tmp_path, RACE)
    view = shown(qtbot, make(tmp_path))
    for theme in (DARK, LIGHT):
        view.set_theme(theme)
        assert not view.grab().isNull()


def test_texts_of_many_baselines_lie_over_no_other_in_a_low_panel(qtbot: QtBot, tmp_path: Path) -> None:
    many = [RACE["rivals"][0] | {"name": name, "robust": 0.5, "low": 0.45, "high": 0.55}
            for name in ("linear", "linear_noise", "quadratic", "cubic", "ntk", "ntk_now")]  # fmt: skip
    write(tmp_path, RACE | {"rivals": many})
    view = RaceView()
    area = ViewArea(view, view.folding)  # as in its panel
    qtbot.addWidget(area)
    area.resize(500, 330)  # what is left for it in a window of 860 × 560
    area.show()
    view.render(make(tmp_path))
    qtbot.wait(50)
    item = view.dots.getPlotItem()
    texts = [each for each in item.items if isinstance(each, pg.TextItem)]
    assert len(texts) == len(many) + 2
    margin = texts[0].textItem.document().documentMargin()
    boxes = [text.mapRectToScene(text.boundingRect().adjusted(0, margin, 0, -margin)) for text in texts]
    boxes.sort(key=lambda box: box.top())
    assert boxes[0].top() >= 0
    assert all(above.bottom() <= below.top() + 1 for above, below in pairwise(boxes))
