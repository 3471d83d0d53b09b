"""Bars of neurons by what became of them between two moments; each neuron has its own place in each bar."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyqtgraph as pg  # type: ignore[import-untyped]
from PySide6.QtCore import QEvent, QObject, QPointF, Qt, Signal

from engine.core.results import FATES, IntArray
from engine.figures.fate_counts import Transition
from engine.figures.feature_fates import VIEW
from fp_gui.theme import LIGHT, Theme
from fp_gui.views.plots import NONE, add_items, colour_of, prepare_plot, theme_plot, translucent

THICK = 0.44  # of a bar, whose row is 1 high
FILL = 190  # of 255


class FateBars(pg.PlotWidget):  # type: ignore[misc]
    """One bar a transition, the first on top; ``pointed`` tells the neuron under the mouse, −1 for none, ``picked``
    the one that is clicked.

    In a bar the neurons stand by fate, in a fate by their present feature, so that those of a feature are neighbours.
    """

    pointed = Signal(int)
    picked = Signal(int)

    def __init__(self) -> None:
        super().__init__(enableMenu=False)
        prepare_plot(self)
        self.setAccessibleName("What became of the neurons' features")
        for axis in ("left", "bottom"):
            self.getPlotItem().hideAxis(axis)
        self.parts = {name: pg.BarGraphItem(x0=[], y=[], width=[], height=THICK) for name in FATES}
        self.ticks = pg.PlotCurveItem(connect="pairs")
        self.texts = [pg.TextItem(anchor=(0.0, 1.0)) for _ in range(3)]
        add_items(self, (*self.parts.values(), self.ticks, *self.texts))
        self.transitions: tuple[Transition, ...] = ()
        self._order: list[IntArray] = []  # by transition: the neuron at each place
        self._place: list[IntArray] = []  # by transition: the place of each neuron
        self._marked: list[int] = []
        self._neuron = -1
        self.theme = LIGHT
        self.scene().sigMouseMoved.connect(self._move)
        self.scene().sigMouseClicked.connect(self._click)
        self.viewport().installEventFilter(self)

    def show_transitions(self, shown: Sequence[Transition], feature: IntArray) -> None:
        """Draw a bar for each of ``shown``, at most three; ``feature`` (m,) are the neurons' present ones."""
        self.transitions = tuple(shown)
        self._order, self._place = [], []
        for each in shown:
            order = np.lexsort((feature, each.fate)).astype(np.int64)
            place = np.empty_like(order)
            place[order] = np.arange(len(order))
            self._order.append(order)
            self._place.append(place)
        rows = self.rows()
        counts = np.array([each.counts for each in shown], float).reshape(len(shown), len(FATES))
        ends = counts.cumsum(axis=1)
        for i, name in enumerate(FATES):
            self.parts[name].setOpts(x0=ends[:, i] - counts[:, i], y=rows, width=counts[:, i], height=THICK)
        for text, row, each in zip(self.texts, rows, shown, strict=False):
            text.setText(each.text)
            text.setPos(0.0, row + THICK / 2)
        for text in self.texts[len(shown) :]:
            text.setText("")
        m = max(len(feature), 1)
        self.getViewBox().setRange(xRange=(0, m), yRange=(-0.3, max(len(shown), 1) - 0.1), padding=0.01)
        self._draw_ticks()

    def rows(self) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        """The middle of each bar on the y axis."""
        return np.arange(len(self.transitions), dtype=np.float64)[::-1]

    def clear_bars(self) -> None:
        """There are no neurons."""
        self._neuron, self._marked = -1, []
        self.show_transitions((), np.empty(0, np.int64))

    def mark(self, neurons: Sequence[int]) -> None:
        """Draw a tick through every bar at the place of each of ``neurons``."""
        if list(neurons) != self._marked:
            self._marked = list(neurons)
            self._draw_ticks()

    def _draw_ticks(self) -> None:
        known = [n for n in self._marked if self._place and n < len(self._place[0])]
        if not known:
            self.ticks.setData(NONE, NONE)
            return
        reach = THICK / 2 + 0.07
        x = np.concatenate([place[known] + 0.5 for place in self._place])
        y = np.repeat(self.rows(), len(known))
        self.ticks.setData(np.repeat(x, 2), np.stack([y - reach, y + reach], axis=1).ravel())

    def neuron_at(self, position: QPointF) -> int:
        """The neuron under a scene position, or −1."""
        box = self.getViewBox()
        if not self.transitions or not box.sceneBoundingRect().contains(position):
            return -1
        point = box.mapSceneToView(position)
        row = len(self.transitions) - 1 - round(point.y())
        inside = 0 <= row < len(self.transitions) and abs(point.y() - round(point.y())) <= THICK / 2
        place = int(np.floor(point.x()))
        if not inside or not 0 <= place < len(self._order[row]):
            return -1
        return int(self._order[row][place])

    def set_theme(self, theme: Theme) -> None:
        """Recolour ground, bars and texts."""
        self.theme = theme
        theme_plot(self, theme)
        for name, part in self.parts.items():
            colour = colour_of(VIEW.looks[name], theme)
            hollow = name == "dead"
            part.setOpts(pen=pg.mkPen(colour), brush=pg.mkBrush(None if hollow else translucent(colour, FILL)))
        self.ticks.setPen(pg.mkPen(theme.text, width=2))
        for text in self.texts:
            text.setColor(theme.text)

    def _move(self, position: QPointF) -> None:
        neuron = self.neuron_at(position)
        if neuron != self._neuron:
            self._neuron = neuron
            self.pointed.emit(neuron)

    def _click(self, event: pg.GraphicsScene.mouseEvents.MouseClickEvent) -> None:
        neuron = self.neuron_at(event.scenePos())
        if neuron >= 0 and event.button() == Qt.MouseButton.LeftButton:
            self.picked.emit(neuron)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Point at nothing when the mouse leaves."""
        if event.type() == QEvent.Type.Leave and self._neuron >= 0:
            self._neuron = -1
            self.pointed.emit(-1)
        return bool(super().eventFilter(watched, event))
