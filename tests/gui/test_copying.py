"""A view is copied and dragged out: its picture, and the numbers that it draws."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

import numpy as np
import pytest
from PySide6.QtCore import QPoint, QRect, Qt
from PySide6.QtGui import QImage
from PySide6.QtTest import QTest
from PySide6.QtWidgets import (
    QAbstractButton,
    QAbstractItemView,
    QAbstractSlider,
    QAbstractSpinBox,
    QApplication,
    QCheckBox,
    QComboBox,
    QLineEdit,
    QWidget,
)
from pytestqt.qtbot import QtBot

from engine import worlds
from engine.core import metrics
from fp_gui.copying import DragHandle, content, plotted
from fp_gui.folding import ViewArea
from fp_gui.main_window import MainWindow
from fp_gui.views.base import View, views
from fp_gui.views.widgets import Pages
from tests.gui.test_main_window import open_window
from tests.tiny_runs import tiny_config

ACTIVE = (QAbstractButton, QComboBox, QLineEdit, QAbstractSpinBox, QAbstractSlider, QAbstractItemView)


@pytest.fixture
def window(qapp: QApplication, qtbot: QtBot) -> Iterator[MainWindow]:
    types = tuple(views[name] for name in ("robustness", "mixtures", "neurons"))
    made = open_window(worlds, qapp, types=types, config=tiny_config(clean_steps=20, second_steps=10, every=5))
    qtbot.waitUntil(lambda: made.controller.last is not None, timeout=20_000)
    made.controller.play()
    qtbot.waitUntil(lambda: made.controller.last is not None and made.controller.last.finished, timeout=30_000)
    made.panels.bring("robustness")
    view = made.shelf.get("robustness")
    qtbot.waitUntil(lambda: view.run == made.controller.run.run, timeout=5000)
    yield made
    QApplication.clipboard().clear()  # Qt's offscreen platform would free it after Python has ended
    made.close()
    made.deleteLater()


def test_the_numbers_are_those_of_the_history(window: MainWindow) -> None:
    text = plotted(window.shelf.get("robustness"))
    rows = list(csv.reader(io.StringIO(text.split("\n\n")[0])))
    assert rows[0] == ["curve", "step", "accuracy (share right)", "low", "high"]
    last = window.controller.last
    assert last is not None
    clean = last.history[metrics.CLEAN]
    drawn = [(float(step), float(value)) for curve, step, value, _, _ in rows[1:] if curve.lower().startswith("clean")]
    assert len(drawn) == len(clean) > 3
    assert np.allclose([value for _, value in drawn], clean.values)
    assert [step for step, _ in drawn] == list(clean.steps)


def test_ctrl_c_copies_the_view_that_has_the_keys(window: MainWindow, qtbot: QtBot) -> None:
    view = window.shelf.get("robustness")
    window.actions_["copy_view"].trigger()
    clipboard = QApplication.clipboard().mimeData()
    assert clipboard.text() == plotted(view)
    image = QImage(clipboard.imageData())
    assert image.width() >= 2 * view.width()
    colours = {image.pixel(x, y) for x in range(0, image.width(), 7) for y in range(0, image.height(), 7)}
    assert len(colours) > 5  # something is drawn
    assert "Copied Robustness: picture and the numbers" in window.banner.text


def test_a_handle_appears_with_the_mouse_and_drags_a_file(window: MainWindow, qtbot: QtBot) -> None:
    view = window.shelf.get("robustness")
    area = window.panels.docks["robustness"].widget()
    (handle,) = area.findChildren(DragHandle)
    area.visited.emit(False)
    assert handle.isHidden()
    area.visited.emit(True)
    assert handle.isVisible()
    assert area.rect().contains(handle.geometry())
    drag = handle.drag()
    (url,) = drag.mimeData().urls()
    assert QImage(url.toLocalFile()).size() == QImage(content(view).imageData()).size()
    assert drag.mimeData().text() == plotted(view)
    drag.deleteLater()


def test_a_press_alone_is_no_drag(window: MainWindow, monkeypatch: pytest.MonkeyPatch) -> None:
    area = window.panels.docks["robustness"].widget()
    (handle,) = area.findChildren(DragHandle)
    area.visited.emit(True)
    begun: list[int] = []
    monkeypatch.setattr(handle, "drag", lambda: begun.append(1))
    QTest.mousePress(handle, Qt.MouseButton.LeftButton)
    QTest.mouseRelease(handle, Qt.MouseButton.LeftButton)
    assert begun == []


@pytest.mark.parametrize("name", list(views))
def test_the_handle_covers_no_control(qtbot: QtBot, name: str) -> None:
    view = views[name]()
    area = ViewArea(view, view.folding)
    qtbot.addWidget(area)
    area.resize(900, 420)
    area.show()
    for pages in view.findChildren(Pages):
        pages.show_content()
    for each in view.findChildren(QWidget):
        if isinstance(each, ACTIVE) and each.parentWidget().isVisible() and not each.window().isHidden():
            each.setVisible(True)  # whatever the run would have to show it
    handle = DragHandle(area, view)
    for width in (900, 560, 500, 440, 340):
        area.resize(width, 420)
        QApplication.processEvents()
        area.visited.emit(True)
        assert handle.isVisible()
        assert area.rect().contains(handle.geometry())
        for each in area.findChildren(QWidget):
            if isinstance(each, ACTIVE) and each.isVisible():
                place = QRect(each.mapTo(area, QPoint()), each.size())
                assert not place.intersects(handle.geometry()), f"{type(each).__name__} {width}"


def test_the_handle_makes_way_for_a_control_that_comes(qtbot: QtBot) -> None:
    view = View()
    area = ViewArea(view, view.folding)
    qtbot.addWidget(area)
    area.resize(300, 200)
    area.show()
    handle = DragHandle(area, view)
    area.visited.emit(True)
    before = handle.geometry()
    assert before.right() > 270
    box = QCheckBox("FGM alignment", view)
    box.setGeometry(180, 0, 120, 24)
    box.show()
    qtbot.waitUntil(lambda: not handle.geometry().intersects(box.geometry()), timeout=2000)
    assert handle.isVisible()
    box.setGeometry(0, 0, 300, 200)  # no place at all
    qtbot.waitUntil(handle.isHidden, timeout=2000)
    box.hide()
    qtbot.waitUntil(lambda: handle.geometry() == before and handle.isVisible(), timeout=2000)
    area.visited.emit(False)
    assert handle.isHidden()
