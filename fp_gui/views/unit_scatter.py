"""A scatter of units, one point each: alive and other ones, and a ring around the one that is pointed at."""

from __future__ import annotations

import numpy as np
import pyqtgraph as pg  # type: ignore[import-untyped]
from PySide6.QtCore import QEvent, QObject, QPointF, Qt, Signal

from engine.core.results import BoolArray, FloatArray
from engine.figures.declare import Look
from fp_gui.theme import Theme
from fp_gui.views.plots import NONE, add_items, axes, colour_of, prepare_plot, theme_plot, translucent

REACH = 8.0  # pixels within which a point is meant
FILL = 170  # of 255: points that lie on each other are seen


class UnitScatter(pg.PlotWidget):  # type: ignore[misc]
    """The plot; ``pointed`` tells the unit under the mouse, −1 for none, ``picked`` the one that is clicked."""

    pointed = Signal(int)
    picked = Signal(int)

    def __init__(self, x: str, y: str, look: Look) -> None:
        super().__init__(enableMenu=False, axisItems=axes())
        prepare_plot(self, x, y)
        self.look = look
        self.dead = pg.ScatterPlotItem(symbol="x", size=6)
        self.alive = pg.ScatterPlotItem(symbol="o", size=6)
        self.ring = pg.ScatterPlotItem(symbol="o", size=15)
        self.x: FloatArray = np.empty(0, np.float32)
        self.y: FloatArray = np.empty(0, np.float32)
        self.unit = -1  # that is ringed
        self._under = -1  # that is under the mouse
        add_items(self, (self.dead, self.alive, self.ring))
        self.scene().sigMouseMoved.connect(self._move)
        self.scene().sigMouseClicked.connect(self._click)
        self.viewport().installEventFilter(self)

    def show_points(self, x: FloatArray, y: FloatArray, alive: BoolArray) -> None:
        """Draw a point for each unit; ``x``, ``y`` and ``alive`` (units,)."""
        self.x, self.y = x, y
        self.alive.setData(x[alive], y[alive])
        self.dead.setData(x[~alive], y[~alive])
        self._ring()

    def clear_points(self) -> None:
        """There are no units."""
        self.unit = self._under = -1
        none = np.empty(0, np.float32)
        self.show_points(none, none, np.empty(0, bool))
        self.setToolTip("")

    def mark(self, unit: int) -> None:
        """Ring the point of one unit; −1 for none."""
        if unit != self.unit:
            self.unit = unit
            self._ring()

    def _ring(self) -> None:
        there = 0 <= self.unit < len(self.x)
        at = ([float(self.x[self.unit])], [float(self.y[self.unit])]) if there else (NONE, NONE)
        self.ring.setData(*at)

    def unit_at(self, position: QPointF) -> int:
        """The unit within reach of a scene position, or −1."""
        box = self.getViewBox()
        if not len(self.x) or not box.sceneBoundingRect().contains(position):
            return -1
        point, (dx, dy) = box.mapSceneToView(position), box.viewPixelSize()
        away = np.hypot((self.x - point.x()) / dx, (self.y - point.y()) / dy)
        nearest = int(away.argmin())
        return nearest if away[nearest] <= REACH else -1

    def set_theme(self, theme: Theme) -> None:
        """Recolour ground, axes and points."""
        theme_plot(self, theme)
        self.alive.setPen(None)
        self.alive.setBrush(pg.mkBrush(translucent(colour_of(self.look, theme), FILL)))
        self.dead.setPen(pg.mkPen(theme.muted))
        self.ring.setPen(pg.mkPen(theme.text, width=2))
        self.ring.setBrush(None)

    def _move(self, position: QPointF) -> None:
        unit = self.unit_at(position)
        if unit != self._under:
            self._under = unit
            self.mark(unit)
            self.pointed.emit(unit)

    def _click(self, event: pg.GraphicsScene.mouseEvents.MouseClickEvent) -> None:
        unit = self.unit_at(event.scenePos())
        if unit >= 0 and event.button() == Qt.MouseButton.LeftButton:
            self.picked.emit(unit)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Unmark when the mouse leaves the points."""
        if event.type() == QEvent.Type.Leave and self._under >= 0:
            self._under = -1
            self.mark(-1)
            self.pointed.emit(-1)
        return bool(super().eventFilter(watched, event))
