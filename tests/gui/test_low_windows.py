"""A low window: the timeline gives way or goes, messages hide no tabs, dialogs and rows of parameters fit."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from PySide6.QtCore import QSize, Qt
from PySide6.QtWidgets import QApplication, QDialog, QLabel, QTabBar
from pytestqt.qtbot import QtBot

from engine.config.presets import load_preset
from fp_gui.dialog_size import FRAME, open_size
from fp_gui.form import LEAST_WIDTH, Form
from fp_gui.main_window import MainWindow
from fp_gui.parts.timeline import Timeline
from fp_gui.theme import LIGHT, ThemeManager, stylesheet
from fp_gui.timeline_bar import HIGH, LOW
from tests.gui.fakes import FakeFactory
from tests.gui.test_main_window import open_window


@pytest.fixture
def window(qapp: QApplication, qtbot: QtBot) -> Iterator[MainWindow]:
    made = open_window(FakeFactory(), qapp)
    qtbot.waitUntil(lambda: made.controller.last is not None)
    yield made
    made.close()
    made.deleteLater()


def test_the_timeline_can_be_hidden_and_reset_layout_brings_it_back(window: MainWindow, qtbot: QtBot) -> None:
    part, action = window.parts["timeline"], window.actions_["timeline"]
    assert isinstance(part, Timeline)
    qtbot.waitUntil(action.isChecked)
    popup = window.createPopupMenu()
    assert popup is not None
    assert action in popup.actions()
    action.trigger()
    assert not part.toolbar.isVisible()
    assert not action.isChecked()
    state = window.saveState()
    window.actions_["reset_layout"].trigger()
    assert part.toolbar.isVisible()
    assert action.isChecked()
    window.restoreState(state)  # as a stored layout is taken up
    window.panels.looked.emit()
    assert not part.toolbar.isVisible()
    assert not action.isChecked()


def test_a_low_window_has_a_low_timeline(window: MainWindow, qtbot: QtBot) -> None:
    part = window.parts["timeline"]
    assert isinstance(part, Timeline)
    assert part.bar.canvas.height() == HIGH
    qtbot.wait(50)
    before = part.toolbar.height()
    window.resize(1200, 700)
    qtbot.waitUntil(lambda: part.bar.canvas.height() == LOW)
    qtbot.waitUntil(lambda: part.toolbar.height() <= before - (HIGH - LOW))
    window.resize(1200, 900)
    qtbot.waitUntil(lambda: part.toolbar.height() == before)


def test_a_message_lies_over_no_tabs(window: MainWindow, qtbot: QtBot) -> None:
    window.banner.error("Something went wrong.")
    tabs = window.findChildren(QTabBar, options=Qt.FindChildOption.FindDirectChildrenOnly)
    lowest = max((bar for bar in tabs if bar.isVisible()), key=lambda bar: bar.geometry().bottom())
    assert window.statusBar().y() - lowest.geometry().bottom() < 20  # they are where the message was
    assert all(not bar.geometry().intersects(window.banner.geometry()) for bar in tabs if bar.isVisible())


def test_a_dialog_opens_no_larger_than_its_screen(qtbot: QtBot) -> None:
    dialog = QDialog()
    qtbot.addWidget(dialog)
    room = dialog.screen().availableGeometry().size() - FRAME
    open_size(dialog, 5000, 5000)
    assert dialog.size() == room
    open_size(dialog, 300, 200)
    assert dialog.size() == QSize(300, 200)


def test_rows_of_parameters_keep_their_texts_in_larger_text(qapp: QApplication, qtbot: QtBot) -> None:
    ThemeManager(qapp, "light")
    form = Form(load_preset("small"))
    qtbot.addWidget(form)
    form.setStyleSheet(stylesheet(LIGHT))
    form.resize(350, 600)
    form.show()
    bar, header, viewport = form.tree.horizontalScrollBar(), form.tree.header(), form.tree.viewport()
    qtbot.waitUntil(lambda: header.sectionSize(0) + header.sectionSize(1) == viewport.width())
    assert bar.maximum() == 0
    own = qapp.font()
    larger = qapp.font()
    larger.setPointSizeF(own.pointSizeF() * 1.5)
    try:
        qapp.setFont(larger)
        form.setStyleSheet("")  # as the window does: what a sheet styles takes a font only with a new sheet
        form.setStyleSheet(stylesheet(LIGHT))
        qtbot.waitUntil(lambda: bar.maximum() > 0, timeout=3000)
        qtbot.wait(50)
        rows = [item.row for param in form.parameters.values() for item in list(param.items)]
        labels = [label for row in rows for label in row.findChildren(QLabel) if label.property("badge")]
        assert len(labels) == len(rows)
        for label in labels:
            assert label.width() >= label.fontMetrics().horizontalAdvance(label.text()), label.text()
    finally:
        qapp.setFont(own)


@pytest.mark.parametrize("times", [1, 2])
def test_badges_of_parameters_are_seen_whole_in_somewhat_larger_text(
    window: MainWindow, qtbot: QtBot, times: int
) -> None:
    bar, viewport = window.form.tree.horizontalScrollBar(), window.form.tree.viewport()
    window.resize(1800, 900)  # a fourth of a narrower one is no more than the form has anyway
    for _ in range(times):
        window.actions_["larger"].trigger()
    qtbot.wait(50)
    qtbot.waitUntil(lambda: bar.maximum() == 0)
    rows = [item.row for param in window.form.parameters.values() for item in list(param.items)]
    badges = [label for row in rows for label in row.findChildren(QLabel) if label.property("badge")]
    assert {"live", "restarts"} <= {label.text() for label in badges}
    for label in badges:
        assert label.width() >= label.fontMetrics().horizontalAdvance(label.text()), label.text()
        if label.isVisible():
            assert label.mapTo(viewport, label.rect().topRight()).x() < viewport.width(), label.text()
    window.actions_["normal"].trigger()
    qtbot.waitUntil(lambda: window.form.minimumWidth() == LEAST_WIDTH)
