"""The timeline's bar: what a click, a drag, a key and the clock look at."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QColor, QImage
from PySide6.QtTest import QTest
from pytestqt.qtbot import QtBot

from engine.run.snapshot import Event, StoredStep
from engine.run.timeline import Span
from fp_gui.timeline_bar import SPEEDS, TimelineBar, TimelineCanvas

STORED = tuple(StoredStep(step, step % 100 == 0) for step in (0, 10, 25, 50, 100, 150, 200))
SPANS = (Span(0, 100, "clean"), Span(100, 220, "adversarial"))
EVENTS = (
    Event(100, 0.0, "phase", "clean", "adversarial"), Event(150, 0.0, "attack.tau", "0.2", "0.3"),
    Event(200, 0.0, "checkpoint", "", ""),
)  # fmt: skip


class Looker:
    """Does what the controller does: shows what is chosen."""

    def __init__(self, bar: TimelineBar) -> None:
        self.bar = bar
        self.seen: list[int | None] = []
        bar.chosen.connect(self.look)
        bar.live.connect(lambda: self.look(None))

    def look(self, step: int | None) -> None:
        self.seen.append(step)
        self.bar.show_step(step)


@pytest.fixture
def bar(qtbot: QtBot) -> Iterator[TimelineBar]:
    made = TimelineBar()
    qtbot.addWidget(made)
    made.resize(1000, 40)
    made.canvas.show_run(220, 400, SPANS, EVENTS, STORED)
    made.show()
    qtbot.waitExposed(made)
    yield made
    made.play(0)


def point(canvas: TimelineCanvas, step: float) -> QPoint:
    return QPoint(round(canvas.x_of(step)), canvas.height() // 2)


def test_a_click_looks_at_the_nearest_stored_step(bar: TimelineBar) -> None:
    looker, canvas = Looker(bar), bar.canvas
    for step, found in ((0, 0), (20, 25), (60, 50), (90, 100), (180, 200), (215, None), (390, None)):
        QTest.mouseClick(canvas, Qt.MouseButton.LeftButton, pos=point(canvas, step))
        assert looker.seen[-1] == found, step
    assert bar.label.text() == "now"
    assert not bar.now.isEnabled()


def test_a_drag_names_each_step_once(bar: TimelineBar) -> None:
    looker, canvas = Looker(bar), bar.canvas
    QTest.mousePress(canvas, Qt.MouseButton.LeftButton, pos=point(canvas, 0))
    for step in range(0, 160, 4):
        QTest.mouseMove(canvas, point(canvas, step))
    QTest.mouseRelease(canvas, Qt.MouseButton.LeftButton, pos=point(canvas, 156))
    assert looker.seen == [0, 10, 25, 50, 100, 150]
    assert bar.label.text() == "step 150 · frame"
    assert bar.now.isEnabled()


def test_keys_go_from_one_stored_step_to_the_next(bar: TimelineBar) -> None:
    looker, canvas = Looker(bar), bar.canvas
    canvas.setFocus()
    for key, found in (
        (Qt.Key.Key_Left, 200), (Qt.Key.Key_Left, 150), (Qt.Key.Key_Right, 200), (Qt.Key.Key_Right, None),
        (Qt.Key.Key_Home, 0), (Qt.Key.Key_Right, 10), (Qt.Key.Key_End, None),
    ):  # fmt: skip
        QTest.keyClick(canvas, key)
        assert looker.seen[-1] == found
    count = len(looker.seen)
    QTest.keyClick(canvas, Qt.Key.Key_Right)  # from now there is nothing further
    assert len(looker.seen) == count


def test_playing_shows_every_stored_step_and_stops(bar: TimelineBar, qtbot: QtBot) -> None:
    looker = Looker(bar)
    bar.speed.setCurrentIndex(len(SPEEDS) - 1)
    bar.forth.click()
    qtbot.waitUntil(lambda: not bar.playing, timeout=5000)
    assert looker.seen == [each.step for each in STORED]
    assert not bar.forth.isChecked()
    bar.back.click()
    qtbot.waitUntil(lambda: not bar.playing, timeout=5000)
    assert looker.seen[len(STORED) :] == [each.step for each in reversed(STORED[:-1])]
    bar.forth.click()
    bar.canvas.chosen.emit(50)  # somebody takes over
    assert not bar.playing
    assert looker.seen[-1] == 50


def test_what_there_is_at_a_step_is_said(bar: TimelineBar) -> None:
    words = bar.canvas.words_at(100).splitlines()
    assert words == ["step 100 · clean training · checkpoint", "step 100: phase clean → adversarial"]
    assert bar.canvas.words_at(150).splitlines()[1:] == ["step 150: attack.tau 0.2 → 0.3"]
    bar.show_step(150)
    assert bar.canvas.accessibleDescription().startswith("step 150")


def test_checkpoints_frames_and_changes_look_different(bar: TimelineBar) -> None:
    canvas = bar.canvas

    def drawn(stored: tuple[StoredStep, ...], events: tuple[Event, ...]) -> bytes:
        canvas.show_run(220, 400, SPANS, events, stored)
        image = canvas.grab().toImage()
        return bytes(image.constBits())

    empty = drawn((), ())
    frame, checkpoint = drawn((StoredStep(50, False),), ()), drawn((StoredStep(50, True),), ())
    knob = drawn((), (EVENTS[1],))
    assert len({empty, frame, checkpoint, knob, drawn((), (EVENTS[0],))}) == 5
    assert drawn((), (EVENTS[2],)) == empty  # a saved checkpoint is no changed knob


def test_without_stored_steps_it_stays_at_now(bar: TimelineBar) -> None:
    bar.canvas.show_run(0, 400, (), (), ())
    looker = Looker(bar)
    QTest.mouseClick(bar.canvas, Qt.MouseButton.LeftButton, pos=point(bar.canvas, 200))
    bar.forth.click()
    assert looker.seen == [None]
    assert not bar.playing
    assert not bar.forth.isChecked()


def picture(bar: TimelineBar) -> QImage:
    return bar.canvas.grab().toImage()


def test_what_another_run_trained_is_dimmed_up_to_the_branch(bar: TimelineBar) -> None:
    canvas = bar.canvas
    before = picture(bar)
    branch = Event(60, 0.0, "branch", "", "parent")
    canvas.show_run(220, 400, SPANS, (*EVENTS, branch), STORED, 60)
    after = picture(bar)
    y = canvas.height() // 2 + 5  # beside what is drawn in the middle
    ratio = after.devicePixelRatio()

    def colours(step: int) -> tuple[str, str]:
        at = (round(canvas.x_of(step) * ratio), round(y * ratio))
        return before.pixelColor(*at).name(), after.pixelColor(*at).name()

    plain, dimmed = (QColor(name) for name in colours(30))
    base = QColor(canvas.theme.base)
    assert plain != dimmed
    assert abs(dimmed.green() - base.green()) < abs(plain.green() - base.green())  # what it is veiled with
    assert len(set(colours(80))) == 1
    line = [after.pixelColor(round(canvas.x_of(60) * ratio), row) for row in range(after.height())]
    dark = [colour.lightness() < 110 for colour in line]
    assert any(dark)
    assert not all(dark[round(8 * ratio) : round(22 * ratio)])  # dashed, not as a switch of phases
    words = canvas.words_at(60)
    assert "step 60: branched from parent" in words
    assert "inherited" in canvas.words_at(30)
    assert "inherited" not in canvas.words_at(80)


def test_the_step_looked_at_is_a_badge_beside_now(bar: TimelineBar) -> None:
    bar.show_step(150)
    assert bar.label.property("looking") is True
    assert "what is changed meanwhile changes the run as it is now" in bar.label.toolTip()
    bar.show_step(None)
    assert bar.label.property("looking") is False
    assert bar.label.toolTip() == ""
