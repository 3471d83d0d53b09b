"""Whatever the keyboard reaches says what it is: to a screen reader by a name, to the eye by its focus."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from PySide6.QtCore import QSettings, Qt
from PySide6.QtGui import QAccessible
from PySide6.QtWidgets import QApplication, QDockWidget, QLabel, QMainWindow, QSpinBox, QTabBar, QWidget
from pytestqt.qtbot import QtBot

from engine.config.experiment import IMAGES, SPARSE_CODING, Config
from fp_gui.bridge.controller import Controller
from fp_gui.main_window import MainWindow
from fp_gui.theme import ThemeManager
from fp_gui.tools.base import Tool, tools
from fp_gui.views.base import View, view_types
from tests.gui.fakes import FakeFactory
from tests.gui.test_main_window import DIGITS, SMALL

CONTAINERS = (QMainWindow, QDockWidget, View, Tool)  # their title is their name; a label's text is


def says(widget: QWidget) -> str:
    """What a screen reader says of a widget."""
    interface = QAccessible.queryAccessibleInterface(widget)
    return interface.text(QAccessible.Text.Name).strip() if interface is not None else ""


def above(widget: QWidget) -> Iterator[QWidget]:
    around: QWidget | None = widget
    while around is not None:
        yield around
        around = around.parentWidget()


def is_popup(widget: QWidget) -> bool:
    return widget.windowType() == Qt.WindowType.Popup


def reached(root: QWidget) -> list[QWidget]:
    """What the keyboard or a click gives the focus to, without the insides of controls."""
    return [
        each
        for each in root.findChildren(QWidget)
        if each.focusPolicy() != Qt.FocusPolicy.NoFocus
        and not isinstance(each, (*CONTAINERS, QLabel))
        and each.focusProxy() is None
        and not any(map(is_popup, above(each)))  # the list of a chooser: the chooser has the name
        and not (isinstance(each.parentWidget(), (QSpinBox,)) or each.objectName().startswith("qt_"))
    ]


@pytest.fixture(params=[SMALL, DIGITS], ids=[SPARSE_CODING, IMAGES])
def window(request: pytest.FixtureRequest, qapp: QApplication, qtbot: QtBot) -> Iterator[MainWindow]:
    config: Config = request.param
    factory = FakeFactory()
    made = MainWindow(Controller(factory), view_types(), ThemeManager(qapp, "light"), "x", config, QSettings())
    made.begin(config, "x")
    made.show()
    qtbot.waitUntil(lambda: made.controller.last is not None)
    yield made
    made.close()
    made.deleteLater()


def test_all_that_takes_the_keys_has_a_name(window: MainWindow, qtbot: QtBot) -> None:
    for name in window.shelf.names(window.panels.kind):
        window.shelf.get(name)
    for name in tools:
        window.tool_shelf.get(name)
    qtbot.waitUntil(lambda: all(map(says, window.findChildren(QTabBar))))
    controls = reached(window)
    assert len(controls) > 60
    nameless = [
        f"{type(each).__name__} {each.objectName()} {each.toolTip()[:40]!r} in "
        f"{type(each.parentWidget()).__name__}/{type(each.parentWidget().parentWidget()).__name__}"
        for each in controls
        if not says(each)
    ]
    assert nameless == []


def test_the_focus_can_be_seen(window: MainWindow, qtbot: QtBot) -> None:
    """Whatever Tab goes to looks otherwise than before and after."""
    window.activateWindow()
    qtbot.waitUntil(window.isActiveWindow)
    unseen, kinds = [], set()
    for _ in range(30):
        qtbot.keyClick(QApplication.focusWidget() or window, Qt.Key.Key_Tab)
        control = QApplication.focusWidget()
        assert control is not None
        focused = control.grab().toImage()
        qtbot.keyClick(control, Qt.Key.Key_Tab)
        if control.grab().toImage() == focused:
            unseen.append(f"{type(control).__name__} {says(control)}")
        kinds.add(type(control).__name__)
    assert unseen == []
    assert len(kinds) >= 4
