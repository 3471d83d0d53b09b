"""The plots of the views: one way to set them up and to colour them, and pieces of curves for keys and tables."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyqtgraph as pg  # type: ignore[import-untyped]
from numpy.typing import ArrayLike, NDArray
from PySide6.QtCore import Qt
from PySide6.QtGui import QColor, QFontMetrics, QPainter, QPen, QPixmap

from engine.figures.declare import Look
from fp_gui.folding import LEAST_PLOT
from fp_gui.theme import Theme

# The looks that the engine declares (:class:`engine.figures.declare.Look`), in the words of pyqtgraph and Qt.
SYMBOLS = {
    "circle": "o", "square": "s", "diamond": "d", "triangle-up": "t1", "triangle-down": "t", "star": "star",
    "plus": "+", "cross": "x",
}  # fmt: skip
SIGNS = {"o": "●", "s": "■", "d": "◆", "t1": "▲", "t": "▼", "star": "★", "+": "+", "x": "×"}
DASHES = {
    "solid": Qt.PenStyle.SolidLine, "dashed": Qt.PenStyle.DashLine, "dotted": Qt.PenStyle.DotLine,
    "dash-dot": Qt.PenStyle.DashDotLine, "dash-dot-dot": Qt.PenStyle.DashDotDotLine, "none": Qt.PenStyle.NoPen,
}  # fmt: skip
Floats = NDArray[np.float64]
NONE: Floats = np.empty(0)
MARGINS = (2, 4, 12, 2)  # pixels left, above, right and below: numbers and labels of axes would lose their ends


class FittingAxis(pg.AxisItem):  # type: ignore[misc]
    """An axis whose label ends in an ellipsis where it would be longer than the axis."""

    def fitted(self) -> str:
        """The label as it is written."""
        length = self.height() if self.orientation in ("left", "right") else self.width()
        metrics, room = QFontMetrics(self.label.font()), max(0, int(length) - 4)
        text = self.labelText
        if metrics.horizontalAdvance(text) > room:  # the unit goes first
            text = text.partition(" (")[0]
        return metrics.elidedText(text, Qt.TextElideMode.ElideRight, room)

    def labelString(self) -> str:
        """The label as rich text, as short as it must be."""
        whole: str = super().labelString()
        self.setToolTip(self.labelText)
        return whole.replace(self.labelText, self.fitted()) if self.labelText else whole

    def resizeEvent(self, event: object = None) -> None:
        """Another length has room for another label."""
        if getattr(self, "label", None) is not None:
            self.label.setHtml(self.labelString())
        super().resizeEvent(event)


def axes() -> dict[str, pg.AxisItem]:
    """The axes of a plot, to be given to a plot of a class of its own."""
    return {side: FittingAxis(side) for side in ("left", "bottom")}


def new_plot(x: str = "", y: str = "", *, auto: bool = False) -> pg.PlotWidget:
    """An empty plot without menu and buttons that the mouse does not move; ``auto``: whether it finds its ranges."""
    plot = pg.PlotWidget(enableMenu=False, axisItems=axes())
    prepare_plot(plot, x, y, auto=auto)
    return plot


def prepare_plot(plot: pg.PlotWidget, x: str = "", y: str = "", *, auto: bool = False) -> None:
    """The same for a plot that exists, such as one of a class of its own; made with ``enableMenu=False``.

    To switch the menu off here would be too late: it would be made already, which takes long.
    """
    plot.setMinimumHeight(LEAST_PLOT)
    item = plot.getPlotItem()
    item.hideButtons()
    item.layout.setContentsMargins(*MARGINS)
    for axis, label in (("bottom", x), ("left", y)):
        if label:
            item.setLabel(axis, label)
        item.getAxis(axis).enableAutoSIPrefix(False)
    if not auto:
        item.getViewBox().disableAutoRange()
    item.getViewBox().setMouseEnabled(x=False, y=False)


def theme_plot(plot: pg.PlotWidget, theme: Theme) -> None:
    """Recolour ground and axes; the top axis, where there is one, is muted."""
    plot.setBackground(theme.base)
    for name in ("left", "bottom", "top"):
        axis = plot.getPlotItem().getAxis(name)
        axis.setPen(pg.mkPen(theme.grid))
        axis.setTextPen(pg.mkPen(theme.text if name != "top" else theme.muted))


def add_items(plot: pg.PlotWidget, items: Sequence[object]) -> None:
    """Put ``items`` into a plot, later ones over earlier ones, without any part in its ranges."""
    for item in items:
        plot.addItem(item, ignoreBounds=True)


def from_zero(values: ArrayLike) -> Floats:
    """Pairs (0, value) for stems drawn with ``connect="pairs"``; shape (2n,)."""
    found = np.asarray(values, np.float64)
    return np.stack([np.zeros(len(found)), found], axis=1).ravel()


def translucent(colour: str | QColor, alpha: int) -> QColor:
    """``colour`` with an opacity of ``alpha`` of 255."""
    found = QColor(colour)
    found.setAlpha(alpha)
    return found


def colour_of(look: Look, theme: Theme) -> QColor:
    """The colour of a quantity on this ground."""
    return QColor(look.colour(theme.dark))


def pen_of(look: Look, theme: Theme, width: int = 1, *, solid: bool = False) -> QPen:
    """The line of a quantity, with its dash or ``solid``."""
    pen: QPen = pg.mkPen(colour_of(look, theme), width=width, style=DASHES["solid" if solid else look.dash])
    return pen


def swatch(look: Look, theme: Theme, ratio: float) -> QPixmap:
    """A piece of a curve with its marker, as it looks in the plot, for a screen of ``ratio`` pixels a point."""
    pixmap = QPixmap(round(28 * ratio), round(14 * ratio))
    pixmap.setDevicePixelRatio(ratio)
    pixmap.fill(Qt.GlobalColor.transparent)
    painter = QPainter(pixmap)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(pen_of(look, theme))
    painter.drawLine(0, 7, 28, 7)
    painter.translate(14, 7)
    colour = colour_of(look, theme)
    drawn = pg.graphicsItems.ScatterPlotItem.Symbols[SYMBOLS[look.marker]]
    pg.graphicsItems.ScatterPlotItem.drawSymbol(painter, drawn, 9, pg.mkPen(colour), pg.mkBrush(colour))
    painter.end()
    return pixmap
