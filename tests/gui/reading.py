"""Reads back from a view's items what it has drawn: data, colours, dashes, symbols, and where an area is filled."""

from __future__ import annotations

import numpy as np
import pytest
from PySide6.QtCore import QPointF, Qt
from PySide6.QtGui import QColor

# Colour on light and on dark ground.
BLUE, GREEN, ORANGE = ("#0072b2", "#56b4e9"), ("#007a5a", "#009e73"), ("#e69f00", "#e69f00")
VERMILION, PURPLE, INK = ("#d55e00", "#ff7a33"), ("#a9517f", "#cc79a7"), ("#3b4149", "#f0e442")
GREY, DARK_ORANGE, RED_ORANGE = ("#5b6570", "#9aa3ad"), ("#b37a00", "#e69f00"), ("#d55e00", "#e69f00")
GROUND = {False: "#ffffff", True: "#15171b"}
TEXT, MUTED = ("#1b1f24", "#e6e8eb"), ("#5b6570", "#9aa3ad")
SOLID, DASHED, DOTTED = Qt.PenStyle.SolidLine, Qt.PenStyle.DashLine, Qt.PenStyle.DotLine
DASH_DOT, DASH_DOT_DOT = Qt.PenStyle.DashDotLine, Qt.PenStyle.DashDotDotLine


def luminance(colour: str) -> float:
    """Relative luminance as WCAG 2 defines it."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    r, g, b = (c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def contrast(one: str, other: str) -> float:
    a, b = sorted((luminance(one), luminance(other)))
    return (b + 0.05) / (a + 0.05)


class Reader:
    """Compares items with numbers and literal colours on one ground."""

    def __init__(self, view, theme) -> None:
        self.view, self.dark = view, theme.dark

    def colour(self, pair) -> str:
        return pair[self.dark]

    def is_(self, colour: QColor, pair) -> None:
        assert colour.name() == self.colour(pair)

    def data(self, item, x, y) -> None:
        found_x, found_y = item.getData()
        np.testing.assert_allclose(found_x, x, rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(found_y, y, rtol=1e-5, atol=1e-7)

    def line(self, item, x, y, pair, dash=SOLID) -> None:
        self.data(item, x, y)
        pen = item.opts["pen"]
        assert (pen.color().name(), pen.style()) == (self.colour(pair), dash)
        assert pen.color().alpha() == 255
        assert item.isVisible()

    def marks(self, item, x, y, pair, symbol) -> None:
        self.data(item, x, y)
        self.is_(item.opts["brush"].color(), pair)
        assert item.opts["symbol"] == symbol
        assert item.isVisible()

    def hollow(self, item, x, y, pair, symbol) -> None:
        self.data(item, x, y)
        self.is_(item.opts["pen"].color(), pair)
        assert item.opts["symbol"] == symbol

    def area(self, item, x, low, high, pair) -> None:
        """The filled path lies between the curves and nowhere else; its colour shines through."""
        path, brush = item.path(), item.brush().color()
        self.is_(brush, pair)
        assert 20 <= brush.alpha() <= 128
        for i in range(len(x)):
            if 0 < i < len(x) - 1 and high[i] - low[i] > 1e-3:
                assert path.contains(QPointF(x[i], (low[i] + high[i]) / 2))
                assert path.contains(QPointF(x[i], high[i] - 0.05 * (high[i] - low[i])))
                assert path.contains(QPointF(x[i], low[i] + 0.05 * (high[i] - low[i])))
            assert not path.contains(QPointF(x[i], high[i] + 0.01))
            assert not path.contains(QPointF(x[i], low[i] - 0.01))

    def level(self, item, value, pair, dash=SOLID) -> None:
        assert item.value() == pytest.approx(value, abs=1e-6)
        assert (item.pen.color().name(), item.pen.style()) == (self.colour(pair), dash)

    def label(self, plot, side) -> str:
        return plot.getPlotItem().getAxis(side).labelText

    def plots(self, item):
        """The data items of a plot: (x, y, pen colour or None, dash, symbol, symbol's brush)."""
        out = []
        for each in item.listDataItems():
            x, y = (np.empty(0) if part is None else part for part in each.getData())
            pen = each.opts["pen"]
            style = None if pen is None or pen.style() == Qt.PenStyle.NoPen else (pen.color().name(), pen.style())
            brush = each.opts["symbolBrush"]
            filled = (
                None if each.opts["symbol"] is None else QColor(getattr(brush, "color", lambda b=brush: b)()).name()
            )
            out.append((np.round(x, 6).tolist(), np.round(y, 6).tolist(), style, each.opts["symbol"], filled))
        return out


def wilson(p, n):
    """Wilson 1927, written out."""
    p, z2 = np.asarray(p, float), 1.959963984540054**2
    half = np.sqrt(z2 * (p * (1 - p) / n + z2 / (4 * n * n))) / (1 + z2 / n)
    centre = (p + z2 / (2 * n)) / (1 + z2 / n)
    return np.maximum(centre - half, 0), np.minimum(centre + half, 1)
