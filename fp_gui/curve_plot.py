"""A knob's curve in a plot: its points are dragged, added and taken away with the mouse."""

from __future__ import annotations

from math import floor, log10
from typing import Any

import numpy as np
import pyqtgraph as pg  # type: ignore[import-untyped]
from PySide6.QtCore import QPointF, Qt, Signal
from PySide6.QtWidgets import QVBoxLayout, QWidget

from engine.config.curves import Curve
from engine.config.experiment import KnobInfo
from engine.figures.declare import KNOT_LOOK
from fp_gui.curve_field import outline
from fp_gui.theme import Theme
from fp_gui.views.plots import SYMBOLS, add_items, colour_of, new_plot, theme_plot

REACH = 10  # pixels: a double-click so near to a point means that point


class Handles(pg.ScatterPlotItem):  # type: ignore[misc]
    """Points that tell where they are dragged to; the plot decides where they go."""

    dragged = Signal(int, QPointF)  # which point, and the mouse in the plot's coordinates
    dropped = Signal()

    def __init__(self) -> None:
        super().__init__(symbol=SYMBOLS[KNOT_LOOK.marker], size=13)
        self._held: int | None = None

    def mouseDragEvent(self, event: Any) -> None:
        """Hold the point that the mouse was pressed on, as long as the button is down."""
        if event.button() != Qt.MouseButton.LeftButton:
            event.ignore()
            return
        if event.isStart():
            hit = self.pointsAt(event.buttonDownPos())
            self._held = int(hit[0].index()) if len(hit) else None
        if self._held is None:
            event.ignore()
            return
        event.accept()
        self.dragged.emit(self._held, QPointF(event.pos()))
        if event.isFinish():
            self._held = None
            self.dropped.emit()


class CurvePlot(QWidget):
    """The curve of ``knob`` over a run. It changes nothing itself: it says what the user asks for."""

    moved = Signal(int, int, object)  # which point, its new step and value
    dropped = Signal()  # the drag is over
    added = Signal(int, object)  # a point at this step with this value
    removed = Signal(int)
    chosen = Signal(int)

    def __init__(self, knob: KnobInfo) -> None:
        super().__init__()
        self.knob = knob
        self.plot = new_plot("training step", f"{knob.path} ({knob.unit})" if knob.unit else knob.path)
        self.box: pg.ViewBox = self.plot.getViewBox()
        self.line = pg.PlotCurveItem()
        self.handles = Handles()
        self.now = pg.InfiniteLine(angle=90)
        self.now_name = pg.TextItem("now", anchor=(0, 0))
        add_items(self.plot, (self.line, self.now, self.now_name, self.handles))
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.plot)
        self.curve = Curve(((0, 0.0),))
        self._total = 1
        self._range = (0.0, 1.0)
        self.handles.dragged.connect(self._drag)
        self.handles.dropped.connect(self._drop)
        self.plot.scene().sigMouseClicked.connect(self._click)

    def show_curve(self, curve: Curve, total: int, *, fit: bool = True) -> None:
        """Draw ``curve`` over ``total`` steps; with ``fit`` the value axis takes it in."""
        self.curve, self._total = curve, max(total, 1)
        x, y = np.array(outline(curve, self._total)).T
        self.line.setData(x, y)
        steps, values = np.array(curve.points, float).T
        self.handles.setData(steps, values)
        if fit:
            self._fit(values)

    def show_step(self, step: int) -> None:
        """Mark the present step."""
        self.now.setPos(step)
        self.now_name.setPos(step, self._range[1])

    def set_theme(self, theme: Theme) -> None:
        """Take new colours."""
        theme_plot(self.plot, theme)
        self.line.setPen(pg.mkPen(theme.accent, width=2))
        self.handles.setPen(pg.mkPen(colour_of(KNOT_LOOK, theme), width=2))
        self.handles.setBrush(pg.mkBrush(theme.base))
        self.now.setPen(pg.mkPen(theme.muted, width=1))
        self.now_name.setColor(theme.muted)

    def rounded(self, value: float) -> float:
        """``value`` within the knob's range, to as many digits as the mouse can tell apart."""
        low, high = self._range
        value = round(value, -floor(log10((high - low) / 500)))
        low, high = self.knob.low, self.knob.high  # type: ignore[assignment]
        value = max(value, low) if low is not None else value
        value = min(value, high) if high is not None else value
        return round(value) if self.knob.kind == "int" else value

    def _fit(self, values: np.ndarray[Any, Any]) -> None:
        low, high = float(values.min()), float(values.max())
        room = 0.25 * (high - low) or 0.5 * abs(high) or 0.5
        at_least = self.knob.low if self.knob.low is not None else -np.inf
        at_most = self.knob.high if self.knob.high is not None else np.inf
        self._range = max(low - room, min(at_least, low)), min(high + room, max(at_most, high))
        if self._range[0] == self._range[1]:  # a knob that has one value alone
            self._range = self._range[0] - 0.5, self._range[1] + 0.5
        self.box.setYRange(*self._range, padding=0.06)
        self.box.setXRange(0, self._total, padding=0.04)
        self.now_name.setPos(self.now.value(), self._range[1])

    def _drag(self, index: int, mouse: QPointF) -> None:
        points = self.curve.points
        first = points[index - 1][0] + 1 if index else 0
        last = points[index + 1][0] - 1 if index + 1 < len(points) else self._total
        step = min(max(round(mouse.x()), first), max(first, last))
        self.moved.emit(index, step, self.rounded(mouse.y()))

    def _drop(self) -> None:
        self._fit(np.array([value for _, value in self.curve.points]))
        self.dropped.emit()

    def _near(self, place: QPointF) -> int | None:
        """The point under the mouse at ``place`` of the scene, if there is one."""
        for index, (step, value) in enumerate(self.curve.points):
            there = self.box.mapViewToScene(QPointF(step, value))
            if (there - place).manhattanLength() <= REACH:
                return index
        return None

    def _click(self, event: Any) -> None:
        if event.button() != Qt.MouseButton.LeftButton or not self.box.sceneBoundingRect().contains(event.scenePos()):
            return
        near = self._near(event.scenePos())
        if not event.double():
            if near is not None:
                self.chosen.emit(near)
        elif near is not None:
            self.removed.emit(near)
        else:
            at = self.box.mapSceneToView(event.scenePos())
            self.added.emit(min(max(round(at.x()), 0), self._total), self.rounded(at.y()))
