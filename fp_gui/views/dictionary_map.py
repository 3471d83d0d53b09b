"""The dictionary as a picture: one cell a feature, coloured by how many neurons have it; a sign where none has."""

from __future__ import annotations

from functools import cache

import numpy as np
import pyqtgraph as pg  # type: ignore[import-untyped]
from numpy.typing import NDArray
from PySide6.QtCore import QEvent, QObject, QPointF, QRectF, Qt, Signal
from PySide6.QtGui import QImage, QPen, QPixmap
from PySide6.QtWidgets import QGraphicsRectItem

from engine.core.results import FeatureOf
from engine.figures.fate_counts import lost_and_gained, shade
from engine.figures.feature_fates import COLOURS, VIEW
from engine.figures.panels import picture_size
from fp_gui.theme import LIGHT, Theme
from fp_gui.views.plots import NONE, SYMBOLS, add_items, colour_of, prepare_plot, theme_plot

Bytes = NDArray[np.uint8]


@cache
def colours() -> Bytes:
    """The 256 colours (256, 4) from one neuron to the most."""
    table: Bytes = pg.colormap.get(COLOURS).getLookupTable(nPts=256, alpha=True)
    return table


def ramp(width: int = 48, height: int = 10) -> QPixmap:
    """These colours as a bar of so many pixels."""
    row = colours()[np.linspace(0, 255, width).astype(int)]
    cells = np.ascontiguousarray(np.broadcast_to(row, (height, width, 4)))
    return QPixmap.fromImage(QImage(cells.tobytes(), width, height, 4 * width, QImage.Format.Format_RGBA8888).copy())


class DictionaryMap(pg.PlotWidget):  # type: ignore[misc]
    """The picture; ``pointed`` tells the feature under the mouse, −1 for none, ``picked`` the one that is clicked.

    Features stand row by row, those of a dictionary of pictures by their two frequencies or places.
    """

    pointed = Signal(int)
    picked = Signal(int)

    def __init__(self) -> None:
        super().__init__(enableMenu=False)
        prepare_plot(self)
        self.setAccessibleName("How many neurons have each feature of the dictionary")
        for axis in ("left", "bottom"):
            self.getPlotItem().hideAxis(axis)
        box = self.getViewBox()
        box.setAspectLocked(True)
        box.invertY(True)
        self.image = pg.ImageItem(axisOrder="row-major")
        self.lines = pg.PlotCurveItem(connect="pairs")
        self.none = pg.ScatterPlotItem(symbol="x", size=7)
        self.signs = {
            name: pg.ScatterPlotItem(symbol=SYMBOLS[VIEW.looks[name].marker], size=10) for name in ("lost", "gained")
        }
        self.ring = QGraphicsRectItem()
        self.ring.setZValue(20)
        self.ring.hide()
        add_items(self, (self.image, self.lines, self.none, *self.signs.values(), self.ring))
        self.present: FeatureOf | None = None
        self._feature = self._marked = -1
        self.theme = LIGHT
        self.scene().sigMouseMoved.connect(self._move)
        self.scene().sigMouseClicked.connect(self._click)
        self.viewport().installEventFilter(self)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of cells."""
        return (0, 0) if self.present is None else picture_size(self.present.total)

    def show_map(self, present: FeatureOf, before: FeatureOf | None, mark: str, top: int) -> tuple[int, int]:
        """Draw ``present``, with what is lost or gained since ``before`` by the option ``mark``; ``top`` neurons have
        the last colour. How many features are lost and gained.
        """
        changed = self.present is None or self.present.total != present.total
        self.present = present
        (rows, columns), counts = self.shape, present.neurons
        cells = np.zeros((rows * columns, 4), np.uint8)
        cells[: present.total] = colours()[np.rint(255 * shade(counts, top)).astype(int)]
        cells[: present.total][counts == 0] = 0  # clear: the ground is seen
        self.image.setImage(cells.reshape(rows, columns, 4), autoLevels=False, levels=(0, 255))
        lost, gained = lost_and_gained(present, before)
        shown = {"lost": lost & (mark in ("both", "lost")), "gained": gained & (mark in ("both", "gained"))}
        for name, which in shown.items():
            self.signs[name].setData(*self._middles(np.flatnonzero(which)))
        self.none.setData(*self._middles(np.flatnonzero((counts == 0) & ~shown["lost"])))
        if changed:
            x, y = np.arange(columns + 1.0), np.arange(rows + 1.0)
            across = np.stack([np.tile([0.0, columns], rows + 1), np.repeat(y, 2)])
            down = np.stack([np.repeat(x, 2), np.tile([0.0, rows], columns + 1)])
            self.lines.setData(*np.concatenate([across, down], axis=1))
            self.getViewBox().setRange(QRectF(0, 0, columns, rows), padding=0.02)
        self._place()
        return int(lost.sum()), int(gained.sum())

    def _middles(self, features: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        y, x = np.divmod(features, max(self.shape[1], 1))
        return x + 0.5, y + 0.5

    def clear_map(self) -> None:
        """There is no dictionary yet."""
        self.present = None
        self._feature = self._marked = -1
        self.image.clear()
        for item in (self.lines, self.none, *self.signs.values()):
            item.setData(NONE, NONE)
        self._place()

    def mark(self, feature: int) -> None:
        """Frame one feature; −1 for none."""
        if feature != self._marked:
            self._marked = feature
            self._place()

    def _place(self) -> None:
        there = self.present is not None and 0 <= self._marked < self.present.total
        self.ring.setVisible(there)
        if there:
            y, x = divmod(self._marked, self.shape[1])
            self.ring.setRect(QRectF(x, y, 1, 1))

    def feature_at(self, position: QPointF) -> int:
        """The feature under a scene position, or −1."""
        box, (rows, columns) = self.getViewBox(), self.shape
        if self.present is None or not box.sceneBoundingRect().contains(position):
            return -1
        point = box.mapSceneToView(position)
        x, y = int(np.floor(point.x())), int(np.floor(point.y()))
        feature = y * columns + x
        return feature if 0 <= x < columns and 0 <= y < rows and feature < self.present.total else -1

    def set_theme(self, theme: Theme) -> None:
        """Recolour ground, lines and signs."""
        self.theme = theme
        theme_plot(self, theme)
        self.lines.setPen(pg.mkPen(theme.grid))
        self.none.setPen(pg.mkPen(theme.muted))
        for name, item in self.signs.items():
            item.setPen(pg.mkPen(theme.base))
            item.setBrush(pg.mkBrush(colour_of(VIEW.looks[name], theme)))
        pen = QPen(pg.mkPen(theme.accent, width=3))
        pen.setCosmetic(True)
        self.ring.setPen(pen)

    def _move(self, position: QPointF) -> None:
        feature = self.feature_at(position)
        if feature != self._feature:
            self._feature = feature
            self.pointed.emit(feature)

    def _click(self, event: pg.GraphicsScene.mouseEvents.MouseClickEvent) -> None:
        feature = self.feature_at(event.scenePos())
        if feature >= 0 and event.button() == Qt.MouseButton.LeftButton:
            self.picked.emit(feature)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Point at nothing when the mouse leaves."""
        if event.type() == QEvent.Type.Leave and self._feature >= 0:
            self._feature = -1
            self.pointed.emit(-1)
        return bool(super().eventFilter(watched, event))
