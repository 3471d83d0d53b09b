"""A view as a picture with the numbers that it draws, to be pasted or dragged into another program."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyqtgraph as pg  # type: ignore[import-untyped]
from PySide6.QtCore import QMimeData, QPoint, QRect, QSize, Qt, QTemporaryDir, QTimer, QUrl
from PySide6.QtGui import QDrag, QImage, QMouseEvent, QPixmap
from PySide6.QtWidgets import (
    QAbstractButton,
    QAbstractItemView,
    QAbstractSlider,
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QLabel,
    QLineEdit,
    QTableView,
    QWidget,
)

from fp_gui.folding import ViewArea
from fp_gui.views.base import View
from fp_gui.views.curves import TimePlot

Rows = list[tuple[object, ...]]


def plotted(view: QWidget) -> str:
    """What the visible plots and tables of ``view`` show, as CSV: one block a plot, with a line of names first.

    Curves over steps are given raw, as they are before they are thinned for drawing. Pictures have no block: their
    numbers are in the folder that an export writes.
    """
    others = [plot for plot in view.findChildren(pg.PlotWidget) if not isinstance(plot.parent(), TimePlot)]
    blocks: list[Rows] = [_curves(time) for time in view.findChildren(TimePlot) if time.isVisible()]
    blocks += [_items(plot) for plot in others if plot.isVisible()]
    blocks += [_cells(table) for table in view.findChildren(QTableView) if table.isVisible()]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for block in blocks:
        if len(block) > 1:
            if text.tell():
                text.write("\n")
            writer.writerows(block)
    return text.getvalue()


def _curves(plot: TimePlot) -> Rows:
    unit = plot.plot.getPlotItem().getAxis("left").labelText
    rows: Rows = [("curve", "step", unit or "value", "low", "high")]
    for curve in plot.curves.values():
        if curve.line.isVisible():
            low = curve.low if curve.low is not None else [""] * len(curve.x)
            high = curve.high if curve.high is not None else [""] * len(curve.x)
            rows += [(curve.label, *values) for values in zip(curve.x, curve.y * curve.unit, low, high, strict=True)]
    return rows


def _items(plot: pg.PlotWidget) -> Rows:
    """The points of a plot's curves and clouds in the order in which they are drawn."""
    item = plot.getPlotItem()
    names = [item.getAxis(side).labelText or side for side in ("bottom", "left")]
    rows: Rows = [("series", *names)]
    for number, drawn in enumerate(item.items):
        if isinstance(drawn, (pg.PlotCurveItem, pg.ScatterPlotItem, pg.PlotDataItem)) and drawn.isVisible():
            x, y = drawn.getData()
            if x is not None and y is not None:
                rows += [(number, *pair) for pair in zip(np.asarray(x), np.asarray(y), strict=False)]
    return rows


def _cells(table: QTableView) -> Rows:
    model = table.model()
    columns = range(model.columnCount())
    rows: Rows = [tuple(model.headerData(c, Qt.Orientation.Horizontal) for c in columns)]
    return rows + [
        tuple(model.data(model.index(r, c)) for c in columns)
        for r in range(model.rowCount())
        if not table.isRowHidden(r)
    ]


def picture(view: QWidget) -> QImage:
    """What the view looks like, with at least two pixels a point."""
    ratio = max(2.0, view.devicePixelRatioF())
    pixmap = QPixmap(view.size() * ratio)
    pixmap.setDevicePixelRatio(ratio)
    pixmap.fill(view.palette().color(view.palette().ColorRole.Window))
    QWidget.render(view, pixmap)  # a view's own `render` shows snapshots
    return pixmap.toImage()


def content(view: QWidget) -> QMimeData:
    """Picture and numbers for the clipboard or a drag."""
    found, numbers = QMimeData(), plotted(view)
    found.setImageData(picture(view))
    if numbers:
        found.setText(numbers)
        found.setData("text/csv", numbers.encode())
    return found


def copy(view: QWidget) -> bool:
    """Put the view into the clipboard; whether there were numbers in it, too."""
    found = content(view)
    QApplication.clipboard().setMimeData(found)
    return found.hasText()


SIDE, EDGE, STEP = 18, 2, 10  # pixels: of the handle; between it and the panel's edges; between places tried
CONTROLS = (QAbstractButton, QComboBox, QLineEdit, QAbstractSpinBox, QAbstractSlider, QAbstractItemView)
LOOK_MS = 200  # between two looks for a free place, while the mouse is in the panel


def taken(area: QWidget) -> tuple[list[QRect], list[QRect]]:
    """Where visible controls and texts of ``area`` are."""
    found: tuple[list[QRect], list[QRect]] = ([], [])
    for each in area.findChildren(QWidget):
        if isinstance(each, (*CONTROLS, QLabel)) and each.isVisible() and not isinstance(each, DragHandle):
            found[isinstance(each, QLabel)].append(QRect(each.mapTo(area, QPoint()), each.size()))
    return found


def free_place(area: QWidget, controls: Sequence[QRect], texts: Sequence[QRect]) -> QPoint | None:
    """Where in ``area`` a handle covers no control and, if there is such a place, no text; None if there is none.

    Along the upper edge from the right, then down the right and the left edge, and anywhere else at last.
    """
    right, low = area.width() - SIDE - EDGE, area.height() - SIDE - EDGE
    xs, ys = range(right, EDGE - 1, -STEP), range(EDGE, low + 1, STEP)
    places = (
        [(x, EDGE) for x in xs] + [(right, y) for y in ys] + [(EDGE, y) for y in ys] + [(x, y) for y in ys for x in xs]
    )
    for covered in ((*controls, *texts), controls):
        for place in places:
            if not any(each.intersects(QRect(*place, SIDE, SIDE)) for each in covered):
                return QPoint(*place)
    return None


class DragHandle(QLabel):
    """In a view's panel while the mouse is there: the view is dragged out of the window by it.

    It stands near the upper right corner, where it covers no control; where there is no such place there is none.
    """

    def __init__(self, area: ViewArea, view: View) -> None:
        super().__init__("⠿", area)
        self._area, self._view = area, view
        self._pressed: QPoint | None = None
        self._files = QTemporaryDir()  # goes with the window: the other program may read late
        self.setToolTip("Drag this view's picture and numbers out of the window; Ctrl+C copies them")
        self.setCursor(Qt.CursorShape.OpenHandCursor)
        self.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.setAutoFillBackground(True)
        self.resize(SIDE, SIDE)
        self.hide()
        self._seen: tuple[QSize, tuple[list[QRect], list[QRect]]] | None = None  # that its place was chosen by
        self._looking = QTimer(self, interval=LOOK_MS)  # a view shows other controls at any time
        self._looking.timeout.connect(self._place)
        area.visited.connect(self._visited)

    def _visited(self, inside: bool) -> None:
        if inside:
            self._seen = None
            self._looking.start()
            self._place()
        else:
            self._looking.stop()
            self.hide()

    def _place(self) -> None:
        seen = self._area.size(), taken(self._area)
        if seen == self._seen:
            return
        self._seen = seen
        place = free_place(self._area, *seen[1])
        if place is not None and place != self.pos():
            self.move(place)
        if self.isHidden() == (place is not None):
            self.setVisible(place is not None)
            self.raise_()

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """A drag may begin here."""
        self._pressed = event.position().toPoint()

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """It begins once the mouse has moved far enough."""
        here = event.position().toPoint()
        if self._pressed is not None and (here - self._pressed).manhattanLength() >= QApplication.startDragDistance():
            self._pressed = None
            self.drag().exec(Qt.DropAction.CopyAction)

    def drag(self) -> QDrag:
        """The drag of the view, with its picture as a file for programs that take files alone."""
        found = content(self._view)
        image = picture(self._view)
        file = Path(self._files.filePath(f"{self._view.name}.png"))
        image.save(str(file))
        found.setUrls([QUrl.fromLocalFile(str(file))])
        drag = QDrag(self)
        drag.setMimeData(found)
        drag.setPixmap(QPixmap.fromImage(image.scaledToWidth(240, Qt.TransformationMode.SmoothTransformation)))
        return drag


def view_of(widget: QWidget | None, views: Sequence[View]) -> View | None:
    """The view that ``widget`` is in; None if it is in none of ``views``."""
    return next((v for v in views if widget is not None and (v is widget or v.isAncestorOf(widget))), None)
