"""A plot over training steps: raw curves with bands, the phases shaded, every change marked.

Nothing is smoothed. A long series is thinned for drawing only, by keeping the least and the greatest value of each
group of neighbours, so that no dip or peak disappears; zooming in brings every point back.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pyqtgraph as pg  # type: ignore[import-untyped]
from numpy.typing import ArrayLike, NDArray
from PySide6.QtCore import QEvent, QObject, QPointF, QRectF, Qt, QTimer, Signal
from PySide6.QtGui import QColor, QCursor, QPainterPath, QPen
from PySide6.QtWidgets import (
    QApplication,
    QGraphicsItem,
    QGraphicsPathItem,
    QGraphicsRectItem,
    QToolTip,
    QVBoxLayout,
    QWidget,
)

from engine.config.experiment import Config
from engine.config.knobs import Origin
from engine.figures.declare import KNOT_LOOK, KNOT_PLACE, SHADE, Look
from engine.figures.declare import phase as phase_look
from engine.run.snapshot import Event
from engine.run.timeline import Knot, Span, knots, plans
from fp_gui.folding import FoldingLabel
from fp_gui.theme import LIGHT, Theme
from fp_gui.views.event_marks import KEY, SHOWN, EventMarks
from fp_gui.views.inherited import Inherited
from fp_gui.views.plots import NONE, SYMBOLS, Floats, add_items, colour_of, new_plot, pen_of, theme_plot, translucent
from fp_gui.views.widgets import tint

# Painting a band costs far more than computing it: an outline of many spikes is slow to fill.
CURVE_POINTS, BAND_POINTS, MARKS = 2000, 160, 10
NAME_WIDTH = 90  # pixels a phase must be wide to carry its name
HINT = "Hover for values · a click looks at that step · wheel zooms time, drag pans, double-click shows all\n" + KEY


def event_text(event: Event) -> str:
    """An event in words."""
    return f"step {event.step:,}: {event.words}"


def knot_text(knot: Knot, now: int) -> str:
    """A point of a knob's curve in words, e.g. ``step 1,651: training.lr 6.5 → 3, by schedule``."""
    return f"step {knot.step:,}: {knot.words}, {'to come ' if knot.step > now else ''}by schedule"


def decimate(x: Floats, y: Floats, limit: int = CURVE_POINTS) -> tuple[Floats, Floats]:
    """At most about ``limit`` points of the curve, with the least and greatest of each group and both ends."""
    n = len(x)
    if n <= limit:
        return x, y
    size = -(-2 * n // limit)
    full = n // size * size
    groups = y[:full].reshape(-1, size)
    base = np.arange(0, full, size)
    keep = [base + groups.argmin(1), base + groups.argmax(1), np.array([0, n - 1])]
    if full < n:
        keep.append(np.array([full + y[full:].argmin(), full + y[full:].argmax()]))
    index = np.unique(np.concatenate(keep))
    return x[index], y[index]


def envelope(x: Floats, low: Floats, high: Floats, limit: int = BAND_POINTS) -> tuple[Floats, Floats, Floats]:
    """At most about ``limit`` points of the band, which still covers the whole of it."""
    n = len(x)
    if n <= limit:
        return x, low, high
    starts = np.arange(0, n, -(-n // limit))
    lows, highs = np.minimum.reduceat(low, starts), np.maximum.reduceat(high, starts)
    return np.append(x[starts], x[-1]), np.append(lows, lows[-1]), np.append(highs, highs[-1])


@dataclass(slots=True)
class TimeCurve:
    """One curve: how it looks, its raw values, and the items that draw it."""

    label: str
    look: Look
    line: pg.PlotCurveItem
    marks: pg.ScatterPlotItem
    band: QGraphicsPathItem
    points: pg.ScatterPlotItem
    bars: pg.PlotCurveItem
    x: Floats = field(default_factory=lambda: NONE)
    y: Floats = field(default_factory=lambda: NONE)
    low: Floats | None = None
    high: Floats | None = None
    unit: float = 1.0  # what 1 on the axis means of the quantity, where curves of several share an axis


class TimePlot(QWidget):
    """Curves over steps. ``curves`` by key; the text under the plot tells the values under the mouse."""

    hovered = Signal(float)
    clicked = Signal(int)  # a step of the run, to be looked at

    def __init__(self, y_label: str) -> None:
        super().__init__()
        self.plot = new_plot("training step", y_label)
        self.box: pg.ViewBox = self.plot.getViewBox()
        item = self.plot.getPlotItem()
        item.showAxis("top")
        item.getAxis("top").setStyle(tickLength=0)
        item.getAxis("top").setTicks([[]])
        item.getAxis("top").setHeight(22)
        item.getAxis("bottom").setStyle(hideOverlappingLabels=False)  # the last step would lose its number
        item.layout.setContentsMargins(2, 0, 18, 2)
        self.box.setMouseEnabled(x=True, y=False)
        self.readout = FoldingLabel(folds=False, wraps=False)
        self.readout.setMinimumHeight(self.fontMetrics().height())  # the plot must not jump under the mouse
        self.plot.setToolTip(HINT)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        layout.addWidget(self.plot, 1)
        layout.addWidget(self.readout)
        self.theme = LIGHT
        self.curves: dict[str, TimeCurve] = {}
        self.shades: list[QGraphicsRectItem] = []
        self.phases: tuple[Span, ...] = ()
        self.events: tuple[Event, ...] = ()
        self.knots: tuple[Knot, ...] = ()  # of the knobs that follow a curve, those to come as well
        self._planned: object = None  # the curves that the knots are of
        self._step = 0
        self.marks = EventMarks(self.plot)
        self.stars = pg.ScatterPlotItem(symbol=SYMBOLS[KNOT_LOOK.marker], size=11)
        self.cross = pg.InfiniteLine(angle=90)
        self.cross.hide()
        self.looked = pg.InfiniteLine(angle=90)
        self.looked.hide()
        add_items(self.plot, (self.stars, self.looked, self.cross))
        self.inherited = Inherited(self.plot)
        self._origin: Origin | None = None
        self.y_range = (0.0, 1.0)
        self.x_end = 0.0
        self.follow = True
        self.set_y(0.0, 1.0)
        self.box.sigRangeChangedManually.connect(self._zoomed)
        self.plot.scene().sigMouseMoved.connect(self._move)
        self.plot.scene().sigMouseClicked.connect(self._click)
        self.plot.viewport().installEventFilter(self)
        self._clicked = 0
        self._single = QTimer(self, singleShot=True, interval=QApplication.doubleClickInterval())
        self._single.timeout.connect(self._tell_click)

    def add_curve(self, key: str, look: Look) -> None:
        """Declare a curve and how it looks: colour, dash and marker, never colour alone."""
        symbol = SYMBOLS[look.marker]
        curve = TimeCurve(
            look.label, look, pg.PlotCurveItem(), pg.ScatterPlotItem(symbol=symbol, size=8), QGraphicsPathItem(),
            pg.ScatterPlotItem(symbol=symbol, size=14), pg.PlotCurveItem(connect="pairs"),
        )  # fmt: skip
        # Cached, because everything in the plot is painted again when the crosshair or a shade moves.
        curve.band.setCacheMode(QGraphicsItem.CacheMode.DeviceCoordinateCache)
        self.curves[key] = curve
        layers: tuple[tuple[QObject | QGraphicsPathItem, int], ...] = (
            (curve.band, 1), (curve.line, 2), (curve.marks, 3), (curve.bars, 4), (curve.points, 5),
        )  # fmt: skip
        for item, z in layers:
            item.setZValue(z)  # type: ignore[union-attr]
            self.box.addItem(item, ignoreBounds=True)
        self._show_points(curve)
        self._colour(curve)

    def set_curve(
        self, key: str, x: ArrayLike, y: ArrayLike, low: ArrayLike | None = None, high: ArrayLike | None = None,
        unit: float = 1.0,
    ) -> None:  # fmt: skip
        """Give a curve its raw points, and a band around it; told are the values times ``unit``."""
        curve = self.curves[key]
        curve.unit = unit
        curve.x, curve.y = np.asarray(x, np.float64), np.asarray(y, np.float64)
        curve.low = None if low is None else np.asarray(low, np.float64)
        curve.high = None if high is None else np.asarray(high, np.float64)
        self._draw(curve)

    def set_points(self, key: str, x: ArrayLike, y: ArrayLike, low: ArrayLike, high: ArrayLike) -> None:
        """Single, larger, hollow markers with error bars in the colour of a curve."""
        curve = self.curves[key]
        at = np.asarray(x, np.float64)
        curve.points.setData(at, np.asarray(y, np.float64))
        curve.bars.setData(np.repeat(at, 2), np.stack([low, high], axis=1).ravel() if len(at) else NONE)
        self._show_points(curve)

    def clear(self) -> None:
        """Forget all curves, marks, phases and events, and the length of the run: another one begins."""
        for key in self.curves:
            self.set_curve(key, NONE, NONE)
            self.set_points(key, NONE, NONE, NONE, NONE)
        self.x_end, self.follow = 0.0, True
        self.phases, self.events, self.knots, self._planned = (), (), (), None
        self._origin = None
        self.cross.hide()
        self.looked.hide()
        self.readout.setText("")
        self.box.setXRange(0, 1, padding=0)
        self._draw_time()

    def set_visible(self, key: str, visible: bool) -> None:
        """Show or hide a curve with all that belongs to it."""
        curve = self.curves[key]
        for item in (curve.line, curve.marks, curve.band):
            item.setVisible(visible)
        self._show_points(curve)

    @staticmethod
    def _show_points(curve: TimeCurve) -> None:
        """Those of a hidden curve are hidden; so is what is empty, which would be asked for its place all the time."""
        shown = curve.line.isVisible() and len(curve.points.getData()[0]) > 0
        curve.points.setVisible(shown)
        curve.bars.setVisible(shown)

    def set_y(self, low: float, high: float, label: str | None = None) -> None:
        """The range of the y axis."""
        if label is not None:
            self.plot.getPlotItem().setLabel("left", label)
        self.y_range = (low, high)
        self.box.setYRange(low, high, padding=0.02)
        self._draw_time()

    def set_time(
        self, step: int, total: int, spans: tuple[Span, ...], events: tuple[Event, ...], config: Config
    ) -> None:
        """Where the run stands: the axis ends at ``total``, or somewhat beyond ``step`` once that has passed it.

        ``config`` says which curves knobs follow, and of what the run is a branch.
        """
        self._step = step
        end = float(total) if total >= step else (self.x_end if self.x_end >= step else step * 1.1)
        end = max(end, 1.0)
        changed = (events is not self.events and events != self.events) or self._differs(spans)
        if changed or self._planned is not config.schedule.knobs:
            changed, self._planned = True, config.schedule.knobs
            self.phases, self.events = spans, events
            self.knots = knots(plans(config, events))
        if config.branch != self._origin:
            changed, self._origin = True, config.branch
        if end != self.x_end:
            self.x_end = end
            if self.follow:
                self.fit()
        if changed:
            self._draw_time()

    def set_looked(self, step: int | None) -> None:
        """Mark the step whose weights the other views show; None: the newest, which needs no mark."""
        self.looked.setVisible(step is not None)
        if step is not None:
            self.looked.setPos(step)

    def _differs(self, spans: tuple[Span, ...]) -> bool:
        """Whether the shading must be drawn again: the current phase grows at every step, the eye needs 0.5% of it."""
        if [(p.start, p.objective) for p in spans] != [(p.start, p.objective) for p in self.phases]:
            return True
        grown = abs(spans[-1].end - self.phases[-1].end) if spans else 0
        return grown > 0.005 * self.x_end or (grown > 0 and spans[-1].end == self.x_end)

    def fit(self) -> None:
        """Show all steps."""
        self.follow = True
        self.box.setXRange(0, self.x_end, padding=0.02)
        self._redraw()

    def set_theme(self, theme: Theme) -> None:
        """Take new colours."""
        self.theme = theme
        theme_plot(self.plot, theme)
        self.inherited.set_theme(theme)
        self.marks.set_theme(theme)
        self.stars.setPen(pg.mkPen(colour_of(KNOT_LOOK, theme), width=1.5))
        self.stars.setBrush(pg.mkBrush(theme.base))
        self.cross.setPen(pg.mkPen(theme.muted, width=1))
        self.looked.setPen(pg.mkPen(theme.accent, width=2))
        tint(self.readout, theme.muted)
        for curve in self.curves.values():
            self._colour(curve)
        self._draw_time()

    def values_at(self, step: float) -> list[str]:
        """The raw values nearest to ``step``, with their intervals, as text."""
        found = []
        for curve in self.curves.values():
            if len(curve.x) and curve.line.isVisible():
                i = int(np.abs(curve.x - step).argmin())
                value = curve.y[i] * curve.unit
                text = f"{curve.label} {value:.3f}" if curve.unit == 1.0 else f"{curve.label} {value:.4g}"
                if curve.low is not None and curve.high is not None:
                    text += f" [{curve.low[i]:.3f}, {curve.high[i]:.3f}]"
                found.append(text)
        return found

    def colour(self, key: str) -> QColor:
        """The colour of a curve in the current theme."""
        return colour_of(self.curves[key].look, self.theme)

    def _colour(self, curve: TimeCurve) -> None:
        colour = colour_of(curve.look, self.theme)
        pen = pg.mkPen(colour, width=1)
        curve.line.setPen(pen_of(curve.look, self.theme))
        curve.bars.setPen(pen)
        curve.marks.setPen(pen)
        curve.marks.setBrush(pg.mkBrush(colour))
        curve.points.setPen(pg.mkPen(colour, width=2))
        curve.points.setBrush(pg.mkBrush(self.theme.base))
        curve.band.setPen(QPen(Qt.PenStyle.NoPen))
        curve.band.setBrush(translucent(colour, 60 if self.theme.dark else 45))

    def _draw(self, curve: TimeCurve) -> None:
        left, right = self.box.viewRange()[0]
        n = len(curve.x)
        first = max(0, int(np.searchsorted(curve.x, left)) - 1)
        last = min(n, int(np.searchsorted(curve.x, right, side="right")) + 1)
        part = slice(first, last)
        curve.line.setData(*decimate(curve.x[part], curve.y[part]))
        at = self._marked(curve.x, left, right)
        marked = curve.x[at], curve.y[at]
        if not all(map(np.array_equal, marked, curve.marks.getData())):  # few they are, and dear to draw
            curve.marks.setData(*marked)
        path = QPainterPath()
        if curve.low is not None and curve.high is not None and last > first:
            x, low, high = envelope(curve.x[part], curve.low[part], curve.high[part])
            outline = pg.functions.arrayToQPolygonF(np.concatenate([x, x[::-1]]), np.concatenate([low, high[::-1]]))
            path.addPolygon(outline)
        curve.band.setPath(path)

    @staticmethod
    def _marked(x: Floats, left: float, right: float) -> NDArray[np.intp]:
        """Indices of the few points that carry a marker: at fixed steps, so that they stay where they are."""
        if not len(x):
            return np.empty(0, np.intp)
        grid = np.linspace(left, right, MARKS + 2)[1:-1]
        at = np.searchsorted(x, grid[(grid >= x[0]) & (grid <= x[-1])])
        return at[np.diff(at, prepend=-1) > 0] if len(at) else np.array([len(x) - 1])

    def _redraw(self) -> None:
        for curve in self.curves.values():
            self._draw(curve)
        self.marks.place_names()

    def _draw_time(self) -> None:
        low, high = self.y_range
        span = high - low
        while len(self.shades) < len(self.phases):
            shade = QGraphicsRectItem()
            shade.setZValue(-20)
            shade.setPen(QPen(Qt.PenStyle.NoPen))
            self.box.addItem(shade, ignoreBounds=True)
            self.shades.append(shade)
        for i, shade in enumerate(self.shades):
            shade.setVisible(i < len(self.phases))
            if i < len(self.phases):
                phase = self.phases[i]
                shade.setRect(QRectF(phase.start, low - span, phase.end - phase.start, 3 * span))
                shade.setBrush(translucent(phase_look(phase.objective).colour, round(255 * SHADE)))
        names = [
            ((p.start + p.end) / 2, phase_look(p.objective).training)
            for p in self.phases
            if (p.end - p.start) / max(self.x_end, 1.0) * self.plot.width() > NAME_WIDTH  # else names would overlap
        ]
        self.plot.getPlotItem().getAxis("top").setTicks([names])
        self.marks.show(self.events, low, high)
        bends = np.array(sorted({knot.step for knot in self.knots}), float)
        self.stars.setData(bends, np.full(len(bends), low + KNOT_PLACE * span))
        self.inherited.show(self._origin, self.y_range, self.x_end)

    def _move(self, position: QPointF) -> None:
        if not self.plot.getPlotItem().sceneBoundingRect().contains(position):
            return
        step = float(self.box.mapSceneToView(position).x())
        self.cross.setPos(step)
        self.cross.show()
        self.readout.setText(f"step {max(0, round(step)):,}: " + " · ".join(self.values_at(step)))
        near = self.box.viewPixelSize()[0] * 5
        texts = [event_text(e) for e in self.events[-SHOWN:] if abs(e.step - step) <= near]
        texts += [knot_text(knot, self._step) for knot in self.knots if abs(knot.step - step) <= near]
        told = "\n".join(texts[-12:])
        self.plot.setToolTip(told or HINT)  # what Qt shows once the mouse rests
        if told:
            QToolTip.showText(QCursor.pos(), told, self.plot)
        self.hovered.emit(step)

    def _click(self, event: pg.GraphicsScene.mouseEvents.MouseClickEvent) -> None:
        if event.double():
            self._single.stop()
            self.fit()
        elif event.button() == Qt.MouseButton.LeftButton:
            self._clicked = round(float(self.box.mapSceneToView(event.scenePos()).x()))
            self._single.start()  # unless it becomes a double click

    def _tell_click(self) -> None:
        self.clicked.emit(max(0, self._clicked))

    def _zoomed(self) -> None:
        self.follow = False
        self._redraw()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Take the crosshair away when the mouse leaves."""
        if event.type() == QEvent.Type.Leave:
            self.cross.hide()
            self.readout.setText("")
        return super().eventFilter(watched, event)
