"""Real keys and wheel turns in the window: each is the control's with the focus or the window's, never both."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import QPoint, QPointF, QSettings, Qt
from PySide6.QtGui import QWheelEvent
from PySide6.QtWidgets import (
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QDockWidget,
    QLabel,
    QLineEdit,
    QSpinBox,
    QWidget,
)
from pytestqt.qtbot import QtBot

from engine.run.commands import Command, EvaluateNow, SetKnob, SwitchPhase
from fp_gui.actions import KeySheet
from fp_gui.bridge.controller import Controller
from fp_gui.focus import RULES
from fp_gui.main_window import MainWindow
from fp_gui.theme import ThemeManager
from fp_gui.tools.compare import ComparePanel
from fp_gui.undo import MERGE_SECONDS, KnobChange
from fp_gui.views.base import view_types
from tests.gui.conftest import _no_thread_left, isolated  # noqa: F401 - fixtures for all tests here
from tests.gui.fakes import BOTH_KINDS, FakeFactory, LayersFake
from tests.gui.test_main_window import DIGITS, SMALL, begin, open_window

CTRL = Qt.KeyboardModifier.ControlModifier


class Boxed(LayersFake):
    """A view of image runs with a number field, which takes the focus and digits."""

    def __init__(self) -> None:
        super().__init__()
        self.number = QSpinBox(self)


TYPES = (*(each for each in BOTH_KINDS if each is not LayersFake), Boxed)


@pytest.fixture
def factory() -> FakeFactory:
    return FakeFactory()


@pytest.fixture
def window(factory: FakeFactory, qapp: QApplication, qtbot: QtBot) -> Iterator[MainWindow]:
    made = open_window(factory, qapp, TYPES)
    qtbot.waitUntil(lambda: made.controller.last is not None)
    made.activateWindow()
    qtbot.waitUntil(made.isActiveWindow)
    yield made
    made.close()
    made.deleteLater()


def knob(window: MainWindow, path: str) -> QWidget:
    return next(iter(window.form.parameters[path].items.keys())).field.control  # type: ignore[no-any-return]


def focus(qtbot: QtBot, widget: QWidget) -> None:
    widget.setFocus(Qt.FocusReason.TabFocusReason)
    qtbot.waitUntil(widget.hasFocus)


def press(qtbot: QtBot, *keys: Qt.Key, modifier: Qt.KeyboardModifier = Qt.KeyboardModifier.NoModifier) -> None:
    """Keys as the window system gives them: to whatever has the focus."""
    for key in keys:
        qtbot.keyClick(QApplication.focusWidget() or QApplication.activeWindow(), key, modifier)


def did(factory: FakeFactory) -> list[Command]:
    return [each for each in factory.last.log if isinstance(each, (SetKnob, SwitchPhase, EvaluateNow))]


def test_a_window_that_just_opened_has_the_keys(window: MainWindow, qtbot: QtBot) -> None:
    assert QApplication.focusWidget() is window
    press(qtbot, Qt.Key.Key_Space)
    qtbot.waitUntil(lambda: window.controller.playing)


@pytest.mark.parametrize("where", ["text", "number", "filter"])
def test_letters_typed_into_a_field_do_nothing_else(
    window: MainWindow, factory: FakeFactory, qtbot: QtBot, where: str
) -> None:
    if where == "text":
        begin(window, qtbot, DIGITS)
    field = {"text": "world.folder", "number": "attack.tau"}.get(where, "")
    present = [path for path in (field, "attack.tau") if path in window.form.parameters]
    control = knob(window, present[0]) if field else window.form.search
    assert isinstance(control, QLineEdit)
    focus(qtbot, control)
    made = len(factory.made)
    control.selectAll()
    qtbot.keyClicks(control, "trau1?")
    qtbot.wait(50)
    assert control.text() == "trau1?"
    assert did(factory) == []
    assert len(factory.made) == made
    assert not window.findChildren(KeySheet)


def test_the_window_takes_back_a_knob_right_after_it_was_edited(
    window: MainWindow, factory: FakeFactory, qtbot: QtBot
) -> None:
    control = knob(window, "attack.tau")
    assert isinstance(control, QLineEdit)
    focus(qtbot, control)
    control.selectAll()
    qtbot.keyClicks(control, "0.3")
    press(qtbot, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: factory.last.config.attack.tau == 0.3)
    press(qtbot, Qt.Key.Key_Z, modifier=CTRL)
    qtbot.waitUntil(lambda: factory.last.config.attack.tau == 0.2 and control.text() == "0.2")
    qtbot.keyClick(control, Qt.Key.Key_Z, CTRL | Qt.KeyboardModifier.ShiftModifier)
    qtbot.waitUntil(lambda: factory.last.config.attack.tau == 0.3)
    control.selectAll()
    qtbot.keyClicks(control, "9")
    press(qtbot, Qt.Key.Key_Z, modifier=CTRL)  # what is being typed is the field's to take back
    qtbot.wait(30)
    assert factory.last.config.attack.tau == 0.3
    assert control.text() == "0.3"


def test_only_quick_edits_of_the_same_knob_are_one_change(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("fp_gui.undo.time.monotonic", lambda: now[0])

    def change(path: str, old: float, new: float, later: float) -> KnobChange:
        now[0] += later
        return KnobChange(path, old, new, lambda *_: None)

    first = change("attack.tau", 0.1, 0.2, 0)
    assert first.mergeWith(change("attack.tau", 0.2, 0.3, 0.9 * MERGE_SECONDS))
    assert (first.old, first.new) == (0.1, 0.3)
    assert not first.mergeWith(change("attack.eta", 1.0, 2.0, 0))
    assert not first.mergeWith(change("attack.tau", 0.3, 0.4, 1.1 * MERGE_SECONDS))
    assert not first.mergeWith(change("attack.tau", 0.3, 0.5, 3600))
    assert (first.old, first.new) == (0.1, 0.3)
    assert MERGE_SECONDS < 2


def test_two_edits_with_time_between_are_two_steps_of_undo(
    window: MainWindow, factory: FakeFactory, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr("fp_gui.undo.time.monotonic", lambda: now[0])
    control = knob(window, "attack.tau")
    assert isinstance(control, QLineEdit)
    focus(qtbot, control)
    for text in ("0.3", "0.4"):
        control.selectAll()
        qtbot.keyClicks(control, text)
        press(qtbot, Qt.Key.Key_Return)
        now[0] += 5
    press(qtbot, Qt.Key.Key_Z, modifier=CTRL)
    qtbot.waitUntil(lambda: factory.last.config.attack.tau == 0.3)
    press(qtbot, Qt.Key.Key_Z, modifier=CTRL)
    qtbot.waitUntil(lambda: factory.last.config.attack.tau == 0.2)


def test_space_presses_the_button_with_the_focus_and_does_not_play(
    window: MainWindow, factory: FakeFactory, qtbot: QtBot
) -> None:
    focus(qtbot, window.toolbar.objectives["adversarial"])
    press(qtbot, Qt.Key.Key_Space)
    qtbot.waitUntil(lambda: did(factory) == [SwitchPhase("adversarial")])
    press(qtbot, Qt.Key.Key_Right)  # along the row of objectives, no training step
    qtbot.wait(50)
    assert factory.last.steps_done == 0
    assert not window.controller.playing
    focus(qtbot, window.toolbar.play)
    press(qtbot, Qt.Key.Key_Space)
    qtbot.waitUntil(lambda: window.controller.playing)
    qtbot.wait(50)
    assert window.controller.playing  # once, not play and pause at once
    press(qtbot, Qt.Key.Key_Space)
    qtbot.waitUntil(lambda: not window.controller.playing)


def test_keys_of_a_chooser_choose_and_the_preset_asks_with_its_list(
    window: MainWindow, factory: FakeFactory, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    lists: list[QComboBox] = []
    monkeypatch.setattr(QComboBox, "showPopup", lambda box: lists.append(box))
    made = len(factory.made)
    focus(qtbot, window.toolbar.preset)
    press(qtbot, Qt.Key.Key_Space, Qt.Key.Key_Down, Qt.Key.Key_Right, Qt.Key.Key_T, Qt.Key.Key_R)
    assert lists == [window.toolbar.preset] * 5
    qtbot.wait(50)
    assert (len(factory.made), did(factory), factory.last.steps_done) == (made, [], 0)
    assert not window.controller.playing


def test_the_phase_switched_twice_in_a_breath_is_switched_twice(
    window: MainWindow, factory: FakeFactory, qtbot: QtBot
) -> None:
    """Each press counts from what was asked for before it, not from a picture that is older than that."""
    qtbot.waitUntil(lambda: window.controller.last is not None)
    for _ in range(3):
        press(qtbot, Qt.Key.Key_T)
    there, back = SwitchPhase("adversarial"), SwitchPhase("clean")
    qtbot.waitUntil(lambda: did(factory)[-3:] == [there, back, there])


def test_a_click_on_a_button_leaves_the_keys_with_the_window(
    window: MainWindow, factory: FakeFactory, qtbot: QtBot
) -> None:
    focus(qtbot, knob(window, "attack.tau"))
    window.keys.release()
    qtbot.mouseClick(window.toolbar.buttons[1], Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: factory.last.steps_done == 1)
    press(qtbot, Qt.Key.Key_Space)
    qtbot.waitUntil(lambda: window.controller.playing)


@pytest.mark.parametrize("goes", ["closed", "behind", "another run"])
def test_keys_work_whatever_hidden_field_had_the_focus(
    window: MainWindow, factory: FakeFactory, qtbot: QtBot, goes: str
) -> None:
    begin(window, qtbot, DIGITS)
    view = window.shelf.get("layers")
    assert isinstance(view, Boxed)
    window.panels.bring("layers")
    focus(qtbot, view.number)
    if goes == "closed":
        window.panels.docks["layers"].hide()
    elif goes == "behind":
        window.tabifyDockWidget(window.panels.docks["layers"], window.panels.docks["robustness"])
        window.panels.bring("robustness")
        window.panels.docks["robustness"].raise_()
        qtbot.waitUntil(lambda: view.visibleRegion().isEmpty())
    else:
        dialog = QDockWidget()  # what asks for the folder takes the focus meanwhile
        dialog.setWindowFlag(Qt.WindowType.Window)
        dialog.show()
        dialog.activateWindow()
        qtbot.waitUntil(dialog.isActiveWindow)
        begin(window, qtbot, SMALL)
        dialog.close()
        window.activateWindow()
        qtbot.waitUntil(window.isActiveWindow)
    qtbot.wait(100)
    press(qtbot, Qt.Key.Key_T)
    qtbot.waitUntil(lambda: did(factory)[-1:] == [SwitchPhase("adversarial")])
    press(qtbot, Qt.Key.Key_A)
    qtbot.waitUntil(lambda: did(factory)[-1:] == [EvaluateNow()])
    press(qtbot, Qt.Key.Key_Space)
    qtbot.waitUntil(lambda: window.controller.playing)
    window.panels.docks["robustness"].hide()
    number = window.shelf.names(window._config.kind).index("robustness") + 1
    press(qtbot, Qt.Key(int(Qt.Key.Key_0) + number))
    qtbot.waitUntil(lambda: not window.panels.docks["robustness"].isHidden())
    assert view.number.value() == 0


def test_the_key_sheet_shows_the_table(window: MainWindow, qtbot: QtBot) -> None:
    qtbot.keyClick(window, Qt.Key.Key_F1)
    (sheet,) = window.findChildren(KeySheet)
    texts = {label.text() for label in sheet.findChildren(QLabel)}
    assert all({f"<b>{rule.where}</b>", rule.what} <= texts for rule in RULES)
    sheet.close()


# --- the wheel


def turn(widget: QWidget) -> None:
    middle = QPointF(widget.width() / 2, widget.height() / 2)
    for notches in (1, -1, -1):
        event = QWheelEvent(
            middle, widget.mapToGlobal(middle), QPoint(0, 0), QPoint(0, 120 * notches),
            Qt.MouseButton.NoButton, Qt.KeyboardModifier.NoModifier, Qt.ScrollPhase.NoScrollPhase, False,
        )  # fmt: skip
        QApplication.sendEvent(widget, event)


def test_no_chooser_anywhere_reacts_to_the_wheel(factory: FakeFactory, qapp: QApplication, qtbot: QtBot) -> None:
    window = MainWindow(Controller(factory), view_types(), ThemeManager(qapp, "light"), "small", SMALL, QSettings())
    window.begin(SMALL, "small")
    try:
        for name in window.shelf.types:
            window.shelf.get(name)
        choosers = [
            each
            for root in (window, *window.shelf._made.values())
            for each in root.findChildren(QWidget)
            if isinstance(each, (QComboBox, QAbstractSpinBox))
        ]
        assert {"Preset", "Device"} <= {each.accessibleName() for each in choosers}
        assert len(choosers) > 15
        before = [each.currentIndex() if isinstance(each, QComboBox) else each.text() for each in choosers]
        for each in choosers:
            turn(each)
            assert not each.hasFocus()
            assert not each.focusPolicy().value & Qt.FocusPolicy.WheelFocus.value & ~Qt.FocusPolicy.StrongFocus.value
        after = [each.currentIndex() if isinstance(each, QComboBox) else each.text() for each in choosers]
        assert after == before
        qtbot.wait(50)
        assert len(factory.made) <= 1
    finally:
        window.close()
        window.deleteLater()


def test_a_list_keeps_its_arrows_and_space_where_it_has_boxes(
    window: MainWindow, factory: FakeFactory, tmp_path: Path, qtbot: QtBot
) -> None:
    window.panels.bring("compare")
    panel = window.panels.docks["compare"].widget()
    assert isinstance(panel, ComparePanel)
    panel.chooser.show_runs([tmp_path / name for name in "abc"], None, [])
    focus(qtbot, panel.chooser)
    press(qtbot, Qt.Key.Key_Down, Qt.Key.Key_Space, Qt.Key.Key_Right)
    assert [each.name for each in panel.chooser.chosen()] == ["b"]
    assert not window.controller.playing
    assert window.controller.last is not None
    assert window.controller.last.step == 0
    press(qtbot, Qt.Key.Key_Space)
    assert panel.chooser.chosen() == ()
