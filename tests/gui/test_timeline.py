"""The timeline in the window: what is chosen there is what every view shows, while training goes on or not."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from engine import worlds
from engine.core import metrics
from engine.core.results import Weights
from engine.run.snapshot import Snapshot
from fp_gui.main_window import MainWindow
from fp_gui.parts.timeline import Timeline
from fp_gui.views.base import View, views
from fp_gui.views.curves import TimePlot
from tests.gui.test_main_window import open_window
from tests.tiny_runs import run, tiny_config

LONG = 100_000


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that stands in its second phase, which every window opens a copy of."""
    folder = tmp_path_factory.mktemp("timeline") / "run"
    grad = torch.is_grad_enabled()
    run(tiny_config(clean_steps=20, second_steps=LONG, every=10), folder, 65)
    torch.set_grad_enabled(grad)
    return folder


@pytest.fixture
def window(qapp: QApplication, qtbot: QtBot, trained: Path, tmp_path: Path) -> Iterator[MainWindow]:
    types = tuple(views[name] for name in ("neurons", "mixtures", "robustness"))
    folder = Path(shutil.copytree(trained, tmp_path / "run"))
    made = open_window(worlds, qapp, types=types, folder=folder)
    qtbot.waitUntil(lambda: made.controller.last is not None and last(made).get(Weights) is not None, timeout=20_000)
    yield made
    made.close()
    made.deleteLater()


def last(window: MainWindow) -> Snapshot:
    found = window.controller.last
    assert found is not None
    return found


def timeline(window: MainWindow) -> Timeline:
    part = window.parts["timeline"]
    assert isinstance(part, Timeline)
    return part


def wait_step(window: MainWindow, qtbot: QtBot, step: int) -> Weights:
    qtbot.waitUntil(lambda: last(window).looking and last(window).step == step, timeout=10_000)
    qtbot.waitUntil(lambda: last(window).get(Weights) is not None, timeout=10_000)
    weights = last(window).get(Weights)
    assert weights is not None
    return weights


def test_all_views_follow_a_click_and_now_returns(window: MainWindow, qtbot: QtBot) -> None:
    bar, canvas = timeline(window).bar, timeline(window).bar.canvas
    newest = last(window).newest
    assert {span.objective for span in canvas.spans} == {"clean", "adversarial"}
    assert canvas.steps == [each.step for each in last(window).stored]
    assert len(canvas.steps) > 20
    QTest.mouseClick(canvas, Qt.MouseButton.LeftButton, pos=QPoint(round(canvas.x_of(0)), 12))
    weights = wait_step(window, qtbot, 0)
    assert np.array_equal(weights.now, weights.start)
    assert weights.clean is None  # there was none yet
    assert "Step 0" in window.shelf.get("neurons").galleries[2].title.text()
    plot = window.shelf.get("robustness").findChild(TimePlot)
    assert plot.looked.isVisible()
    assert plot.looked.value() == 0
    assert len(plot.curves[metrics.CLEAN].x) >= 4  # the curves are the whole run's
    assert not window.controller.playing
    window.actions_["now"].trigger()
    qtbot.waitUntil(lambda: not last(window).looking, timeout=10_000)
    assert last(window).step == newest
    assert "Now" in window.shelf.get("neurons").galleries[2].title.text()
    assert not plot.looked.isVisible()
    assert bar.label.text() == "now"


def test_brackets_go_back_and_forth(window: MainWindow, qtbot: QtBot) -> None:
    steps, newest = timeline(window).bar.canvas.steps, last(window).newest
    before = [step for step in steps if step < newest]
    QTest.keyClick(window, Qt.Key.Key_BracketLeft)
    wait_step(window, qtbot, before[-1])
    QTest.keyClick(window, Qt.Key.Key_BracketLeft)
    wait_step(window, qtbot, before[-2])
    QTest.keyClick(window, Qt.Key.Key_BracketRight)
    wait_step(window, qtbot, before[-1])


def test_training_goes_on_while_the_past_is_looked_at(window: MainWindow, qtbot: QtBot) -> None:
    timeline(window).look(20)
    wait_step(window, qtbot, 20)
    newest = last(window).newest
    window.controller.play()
    qtbot.waitUntil(lambda: last(window).newest > newest + 20, timeout=20_000)
    assert (last(window).step, last(window).looking) == (20, True)
    plot = window.shelf.get("robustness").findChild(TimePlot)
    qtbot.waitUntil(lambda: plot.curves[metrics.CLEAN].x[-1] > newest, timeout=10_000)
    window.controller.pause()


def test_of_many_steps_chosen_the_last_one_stays(window: MainWindow, qtbot: QtBot) -> None:
    steps = timeline(window).bar.canvas.steps
    asked: list[object] = []
    window.controller._look.connect(lambda run, step: asked.append(step))
    for step in steps[:20]:
        timeline(window).look(step)
    wait_step(window, qtbot, steps[19])
    assert len(asked) < 20  # not each of them was drawn
    assert timeline(window).looked_at == steps[19]


@pytest.mark.parametrize("name", ["robustness", "mixtures"])
def test_a_click_on_a_plot_over_steps_shows_that_step(window: MainWindow, qtbot: QtBot, name: str) -> None:
    window.panels.bring(name)
    view: View = window.shelf.get(name)
    plot = view.findChild(TimePlot)
    qtbot.waitUntil(lambda: plot.x_end > 1 and not plot.visibleRegion().isEmpty(), timeout=5000)
    qtbot.wait(50)  # texts fold, by which plots change their sizes
    plot.box.setXRange(0, 80, padding=0)
    at = plot.plot.mapFromScene(plot.box.mapViewToScene(QPointF(20, sum(plot.y_range) / 2)))
    QTest.mouseMove(plot.plot.viewport(), at)
    QTest.mouseClick(plot.plot.viewport(), Qt.MouseButton.LeftButton, pos=at)
    qtbot.waitUntil(lambda: last(window).looking, timeout=5000)
    assert abs(last(window).step - 20) <= 1


def test_playing_the_run_once_more(window: MainWindow, qtbot: QtBot) -> None:
    seen: list[int] = []
    window.controller.snapshot_rendered.connect(lambda snapshot: seen.append(snapshot.step))
    bar = timeline(window).bar
    bar.speed.setCurrentIndex(3)
    timeline(window).look(bar.canvas.steps[-6])
    wait_step(window, qtbot, bar.canvas.steps[-6])
    seen.clear()
    window.actions_["play_forth"].trigger()
    qtbot.waitUntil(lambda: not bar.playing, timeout=20_000)
    qtbot.waitUntil(lambda: last(window).step == bar.canvas.steps[-1], timeout=5000)
    assert sorted(set(seen)) == sorted(seen)  # forwards alone
    assert set(seen) <= set(bar.canvas.steps)


def test_another_run_is_shown_as_it_is(window: MainWindow, qtbot: QtBot) -> None:
    timeline(window).look(0)
    wait_step(window, qtbot, 0)
    run = last(window).run
    window.reset()
    qtbot.waitUntil(lambda: window.controller.last is not None and last(window).run != run, timeout=20_000)
    assert not last(window).looking
    assert timeline(window).bar.label.text() == "now"
