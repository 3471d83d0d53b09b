"""The marks of what was changed in a run, at the foot of a plot over steps: ticks, squares and short names."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyqtgraph as pg  # type: ignore[import-untyped]
from PySide6.QtGui import QFontMetricsF

from engine.run.snapshot import Event
from fp_gui.theme import Theme
from fp_gui.views.plots import add_items

SHOWN, NAMES = 500, 8  # at most so many marks, the newest ones, and so many names
TICK, SQUARE = 0.06, 0.03  # heights in parts of the plot
NAME_SIZE = 8  # points
KEY = "Ticks: changes and switches · ▫ checkpoint saved by hand · ☆ points of schedules"


class EventMarks:
    """A tick for every change of a knob or phase, a hollow square for every saved checkpoint, with short names.

    Names of newer events come first; one that would run into another is left out: hovering tells every event.
    """

    def __init__(self, plot: pg.PlotWidget) -> None:
        self._box: pg.ViewBox = plot.getViewBox()
        self.ticks = pg.PlotCurveItem(connect="pairs")
        self.saved = pg.ScatterPlotItem(symbol="s", size=7)
        self.names = [pg.TextItem() for _ in range(NAMES)]
        add_items(plot, (self.ticks, self.saved, *self.names))
        font = plot.font()
        font.setPointSize(NAME_SIZE)
        self._metrics = QFontMetricsF(font)
        for name in self.names:
            name.setFont(font)
            name.hide()
        self._events: Sequence[Event] = ()
        self._foot, self._height = 0.0, 1.0

    def show(self, events: Sequence[Event], low: float, high: float) -> None:
        """Mark ``events`` at the foot of a plot from ``low`` to ``high``."""
        self._events, self._foot, self._height = events[-SHOWN:], low, high - low
        changed = np.array([e.step for e in self._events if e.name != "checkpoint"], float)
        saved = np.array([e.step for e in self._events if e.name == "checkpoint"], float)
        self.ticks.setData(np.repeat(changed, 2), np.tile([low, low + TICK * self._height], len(changed)))
        self.saved.setData(saved, np.full(len(saved), low + SQUARE * self._height))
        self.place_names()

    def place_names(self) -> None:
        """Name the newest events that are in sight, each with room of its own; after a zoom others have it."""
        left, right = self._box.viewRange()[0]
        pixel = (right - left) / max(self._box.width(), 1.0)
        taken: list[tuple[float, float]] = []
        free = iter(self.names)
        for event in reversed(self._events):
            width = (self._metrics.horizontalAdvance(event.brief) + 12) * pixel
            inside = left <= event.step <= right
            turned = event.step + width > right  # a name to the right would leave the plot
            start, end = (event.step - width, event.step) if turned else (event.step, event.step + width)
            if not inside or start < left or any(start < b and a < end for a, b in taken):
                continue
            name = next(free, None)
            if name is None:
                break
            taken.append((start, end))
            name.setText(event.brief)
            name.setAnchor((1.0 if turned else 0.0, 1.0))
            name.setPos(event.step, self._foot + TICK * self._height)
            name.show()
        for name in free:
            name.hide()

    def set_theme(self, theme: Theme) -> None:
        """Take new colours."""
        self.ticks.setPen(pg.mkPen(theme.text, width=1))
        self.saved.setPen(pg.mkPen(theme.muted, width=1.5))
        self.saved.setBrush(pg.mkBrush(theme.base))
        for name in self.names:
            name.setColor(theme.muted)
