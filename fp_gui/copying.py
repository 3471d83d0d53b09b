"""A view as a picture with the numbers that it draws, to be pasted or dragged into another program."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyqtgraph as pg  # type: ignore[import-untyped]
from PySide6.QtCore import QMimeData, QPoint, Qt, QTemporaryDir, QUrl
from PySide6.QtGui import QDrag, QImage, QMouseEvent, QPixmap
from PySide6.QtWidgets import QApplication, QLabel, QTableView, QWidget

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
            rows += [(curve.label, *values) for values in zip(curve.x, curve.y, low, high, strict=True)]
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


class DragHandle(QLabel):
    """In the corner of a view's panel while the mouse is there: the view is dragged out of the window by it."""

    def __init__(self, area: ViewArea, view: View) -> None:
        super().__init__("⠿", area)
        self._area, self._view = area, view
        self._pressed: QPoint | None = None
        self._files = QTemporaryDir()  # goes with the window: the other program may read late
        self.setToolTip("Drag this view's picture and numbers out of the window; Ctrl+C copies them")
        self.setCursor(Qt.CursorShape.OpenHandCursor)
        self.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.setAutoFillBackground(True)
        self.resize(18, 18)
        self.hide()
        area.visited.connect(self._visited)

    def _visited(self, inside: bool) -> None:
        self.move(self._area.width() - self.width() - 2, 2)
        self.setVisible(inside)
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
