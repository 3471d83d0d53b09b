"""The window's share of time: a view that is dear to draw is drawn less often, so that training has the rest."""

from __future__ import annotations

import time

import pytest
from PySide6.QtCore import QTimer
from pytestqt.qtbot import QtBot

from engine.config.experiment import with_value
from engine.run.snapshot import Snapshot
from engine.theory.config import SparseCodingConfig
from fp_gui.bridge import controller as bridge
from fp_gui.bridge.controller import Controller
from tests.gui.fakes import FakeFactory

LONG = with_value(SparseCodingConfig(), "schedule.clean_steps", 1_000_000)


class Dear:
    """A view whose drawing takes ``cost`` seconds of the window's thread."""

    wants: frozenset[type] = frozenset()

    def __init__(self, cost: float) -> None:
        self.cost = cost
        self.drawn: list[float] = []  # when
        self.spent: list[float] = []  # the thread's time by then

    def render(self, snapshot: Snapshot) -> None:
        """Take the time."""
        self.drawn.append(time.perf_counter())
        end = time.thread_time() + self.cost
        while time.thread_time() < end:
            pass
        self.spent.append(time.thread_time())

    def isVisible(self) -> bool:  # noqa: N802
        """Always."""
        return True


def played(qtbot: QtBot, share: float, cost: float, pictures: int) -> tuple[Dear, Controller]:
    """A view of that cost after so many pictures, under a budget of ``share``."""
    controller, view = Controller(FakeFactory(), share=share), Dear(cost)
    try:
        controller.set_views([view])
        with qtbot.waitSignal(controller.run_changed):
            controller.reset(LONG, "test")
        controller.play()
        qtbot.waitUntil(lambda: controller.playing)
        first = len(view.drawn)
        qtbot.waitUntil(lambda: len(view.drawn) >= first + pictures, timeout=20_000)
        del view.drawn[: first + 3], view.spent[: first + 3]  # the first ones find out what a picture costs
    finally:
        controller.close()
    return view, controller


@pytest.mark.parametrize(("share", "cost"), [(0.1, 0.015), (0.25, 0.04)])
def test_no_more_than_the_share_is_spent_on_display(qtbot: QtBot, share: float, cost: float) -> None:
    view, _ = played(qtbot, share, cost, 8)
    gaps = [b - a for a, b in zip(view.drawn, view.drawn[1:], strict=False)]
    assert min(gaps) >= 0.9 * cost / share
    used = (view.spent[-1] - view.spent[0]) / (view.drawn[-1] - view.drawn[0])
    assert used <= 1.2 * share


def test_what_costs_nothing_is_drawn_often(qtbot: QtBot) -> None:
    view, _ = played(qtbot, 0.2, 0.0, 14)
    gaps = sorted(b - a for a, b in zip(view.drawn, view.drawn[1:], strict=False))
    assert gaps[0] >= 0.9 * bridge.FRAME  # but not more often than a screen has pictures to show
    assert gaps[len(gaps) // 2] < 0.015 / 0.1


def test_few_cores_leave_less_for_display(qtbot: QtBot, monkeypatch: pytest.MonkeyPatch) -> None:
    for cores, share in ((1, 0.07), (2, 0.07), (4, 0.20)):
        monkeypatch.setattr(bridge, "cores", lambda cores=cores: cores)
        controller = Controller(FakeFactory())
        assert controller.share == share
        controller.close()


def test_the_window_answers_between_two_views_while_training(qtbot: QtBot) -> None:
    controller, views = Controller(FakeFactory(), share=10), [Dear(0.01), Dear(0.01)]
    beats: list[float] = []
    beat = QTimer(interval=0)
    beat.timeout.connect(lambda: beats.append(time.perf_counter()))
    told: list[tuple[int, ...]] = []
    controller.snapshot_rendered.connect(lambda _: told.append(tuple(len(view.drawn) for view in views)))
    try:
        controller.set_views(views)
        with qtbot.waitSignal(controller.run_changed):
            controller.reset(LONG, "test")
        beat.start()
        controller.play()
        qtbot.waitUntil(lambda: controller.playing)
        first = len(views[1].drawn)
        qtbot.waitUntil(lambda: len(views[1].drawn) >= first + 6, timeout=20_000)
        controller.pause()
        qtbot.waitUntil(lambda: not controller.playing and len(views[0].drawn) == len(views[1].drawn))
    finally:
        controller.close()
    pairs = list(zip(*(view.drawn for view in views), strict=True))[first + 1 : first + 5]
    assert all(any(one < at < other for at in beats) for one, other in pairs)
    assert told  # by then every view shows it
    assert all(one == other for one, other in told)
