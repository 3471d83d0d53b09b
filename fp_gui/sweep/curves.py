"""Curves over a knob: every seed thin, their mean thick; a click tells at which of the knob's values."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyqtgraph as pg  # type: ignore[import-untyped]
from numpy.typing import ArrayLike
from PySide6.QtCore import QPointF, Qt, Signal
from PySide6.QtGui import QPainterPath

from engine.compare.naming import SeedGroup
from engine.compare.overlay import Overlay, OverlayPanel
from engine.compare.sweeps.curves import SweepCurves, SweptPanel
from engine.compare.sweeps.places import KnobAxis
from engine.sweeps.results import SweepRow
from fp_gui.compare.plots import OverlayPlot, OverlayPlots
from fp_gui.views.curves import TimeCurve

MARGIN = 0.06  # of the axis, left free at either end


class KnobPlot(OverlayPlot):
    """One quantity over the knob ``over``; where an axis is logarithmic, its place is the logarithm."""

    runs_chosen = Signal(object)  # tuple[SweepRow, ...]: those at the value that was clicked

    def __init__(
        self, panel: OverlayPanel, names: tuple[str, ...], groups: tuple[SeedGroup, ...], over: KnobAxis
    ) -> None:
        self.over = over
        self.panel = panel
        x = over.x
        self.places = np.log10(x) if over.scale == "log" else x
        super().__init__(panel, names, groups, over.label)
        bottom = self.plot.getPlotItem().getAxis("bottom")
        self.plot.getPlotItem().setLabel("bottom", over.label)
        bottom.setTicks([list(zip(self.places.tolist(), over.texts, strict=True))])
        self.plot.scene().sigMouseClicked.connect(self._pick)

    def show_panel(self, panel: OverlayPanel) -> None:
        """Draw the lines as they are now."""
        self.panel = panel
        super().show_panel(panel)

    def add_curve(self, key: str, look: Any) -> None:
        """A curve that is interrupted where there is no value."""
        super().add_curve(key, look)
        self.curves[key].line.opts["connect"] = "finite"

    def set_curve(
        self, key: str, x: ArrayLike, y: ArrayLike, low: ArrayLike | None = None, high: ArrayLike | None = None,
        unit: float = 1.0,
    ) -> None:  # fmt: skip
        """Give a curve its points, which stand at the places of the knob's values."""
        at = self.places if len(np.asarray(x)) else x
        super().set_curve(key, at, y, low, high, unit)

    def _draw(self, curve: TimeCurve) -> None:
        """All of it: there are few points, some perhaps without a value."""
        known = np.isfinite(curve.y)
        curve.line.setData(curve.x, curve.y)
        thin = any(curve is self.curves[key] for key in self._thin)
        curve.marks.setData(*((), ()) if thin else (curve.x[known], curve.y[known]))
        path = QPainterPath()
        if curve.low is not None and curve.high is not None and known.any():
            x, y = curve.x[known], curve.y[known]
            low, high = (np.where(np.isfinite(each[known]), each[known], y) for each in (curve.low, curve.high))
            outline = np.concatenate([x, x[::-1]]), np.concatenate([low, high[::-1]])
            path.addPolygon(pg.functions.arrayToQPolygonF(*outline))
        curve.band.setPath(path)

    def fit(self) -> None:
        """Show all values of the knob."""
        self.follow = True
        first, last = float(self.places[0]), float(self.places[-1])
        spread = 0.4 if self.over.scale == "named" else MARGIN * (last - first or 1.0)
        self.box.setXRange(first - spread, last + spread, padding=0)

    def show_ends(self, end: float, spans: Any, ticks: Any) -> None:
        """The axis holds the knob's values, whatever the runs have."""
        if self.follow:
            self.fit()

    def near(self, x: float) -> int:
        """Which of the knob's values stands next to ``x``."""
        return int(np.abs(self.places - x).argmin())

    def _move(self, position: QPointF) -> None:
        super()._move(position)
        if self.cross.isVisible():
            place = self.near(float(self.cross.value()))
            at = float(self.places[place])
            self.readout.setText(f"{self.over.texts[place]}: " + " · ".join(self.values_at(at)))

    def values_at(self, step: float) -> list[str]:
        """Those of what has a value there."""
        return [text for text in super().values_at(step) if " nan" not in text]

    def rows_at(self, place: int) -> tuple[SweepRow, ...]:
        """The runs that have a value of the knob."""
        cells = self.panel.cells if isinstance(self.panel, SweptPanel) else ()
        return tuple(row for line in cells for row in line[place].rows)

    def _pick(self, event: pg.GraphicsScene.mouseEvents.MouseClickEvent) -> None:
        if event.button() == Qt.MouseButton.LeftButton and not event.double():
            self.runs_chosen.emit(self.rows_at(self.near(float(self.box.mapSceneToView(event.scenePos()).x()))))


class KnobPlots(OverlayPlots):
    """The plots of curves over a knob, or of curves over steps."""

    runs_chosen = Signal(object)  # tuple[SweepRow, ...]

    def _plot(self, panel: OverlayPanel, data: Overlay) -> OverlayPlot:
        if not isinstance(data, SweepCurves) or data.over is None:
            return super()._plot(panel, data)
        plot = KnobPlot(panel, data.run_names, data.groups, data.over)
        plot.runs_chosen.connect(self.runs_chosen)
        return plot

    def _same(self, data: Overlay) -> tuple[object, ...]:
        over = data.over if isinstance(data, SweepCurves) else None
        return (*super()._same(data), None if over is None else (over.path, over.texts))
