"""What a branch took over from its parent, on a plot over steps: dimmed up to a line that says where it began."""

from __future__ import annotations

from pathlib import Path

import pyqtgraph as pg  # type: ignore[import-untyped]
from PySide6.QtCore import QRectF, Qt
from PySide6.QtGui import QPen
from PySide6.QtWidgets import QGraphicsRectItem

from engine.config.knobs import Origin
from engine.figures.declare import DIMMED, branch_words
from fp_gui.theme import LIGHT, Theme
from fp_gui.views.plots import add_items, translucent


class Inherited:
    """The veil, the line and the words on ``plot``; nothing of it shows for a run that is no branch."""

    def __init__(self, plot: pg.PlotWidget) -> None:
        self.origin: Origin | None = None
        self._theme = LIGHT
        self.veil = QGraphicsRectItem()
        self.veil.setPen(QPen(Qt.PenStyle.NoPen))
        self.line = pg.InfiniteLine(angle=90)
        self.words = pg.TextItem()
        for z, item in enumerate((self.veil, self.line, self.words), 8):  # over curves and single points
            item.setZValue(z)
        add_items(plot, (self.veil, self.line, self.words))
        self.show(None, (0.0, 1.0), 1.0)

    def show(self, origin: Origin | None, y: tuple[float, float], end: float) -> None:
        """The run comes from ``origin``; the plot has the range ``y`` and reaches step ``end``."""
        self.origin = origin
        for item in (self.veil, self.line, self.words):
            item.setVisible(origin is not None)
        if origin is None:
            return
        (low, high), step = y, origin.step
        self.veil.setRect(QRectF(0, low - (high - low), step, 3 * (high - low)))
        self.line.setPos(step)
        self.words.setAnchor((1.0, 0.0) if step > end / 2 else (0.0, 0.0))  # towards the wider side
        self.words.setPos(step, high)
        self._word()

    def set_theme(self, theme: Theme) -> None:
        """Take new colours."""
        self._theme = theme
        self.veil.setBrush(translucent(theme.base, round(255 * DIMMED)))
        self.line.setPen(pg.mkPen(theme.muted, width=1, style=Qt.PenStyle.DashLine))
        self._word()

    def _word(self) -> None:
        if self.origin is not None:
            self.words.setText(branch_words(Path(self.origin.parent).name, self.origin.step), self._theme.muted)
