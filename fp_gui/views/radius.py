"""Radius: accuracy against the radius of the ball, bounded from both sides, now and after clean training."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
import pyqtgraph as pg  # type: ignore[import-untyped]
from PySide6.QtCore import QEvent, QObject, QPointF, Qt
from PySide6.QtGui import QPainterPath, QPen
from PySide6.QtWidgets import QGraphicsPathItem, QGridLayout, QLabel, QVBoxLayout, QWidget

from engine.config.experiment import IMAGES
from engine.core.measurement import NORM_SIGN, Measurement, wilson_bounds
from engine.core.results import RadiusCurves
from engine.figures.declare import Look, ViewDeclaration
from engine.figures.radius import VIEW
from engine.run.snapshot import Snapshot
from fp_gui.folding import ControlRow, Figures, FiguresTable, FoldingLabel
from fp_gui.theme import Theme
from fp_gui.views.base import Place, View, views
from fp_gui.views.plots import (
    NONE,
    SYMBOLS,
    Floats,
    add_items,
    colour_of,
    new_plot,
    pen_of,
    swatch,
    theme_plot,
    translucent,
)
from fp_gui.views.widgets import Pages, Switch, aged, line, restore, tint

TOP = 1.07  # of the y axis: room for the name of tau above the curves
MEASURING = (
    "Accuracy against the radius is being measured: an attack and a certificate at several radii.\n"
    "It takes a few seconds, and goes on between the training steps."
)
MEASURING_IMAGES = (
    "Accuracy against the radius is being measured: an attack at several radii.\n"
    "It takes a while, and goes on between the training steps."
)
BETWEEN = "The true robust accuracy lies between the attack (▼, above) and the certificate (▲, below)."
BELOW = "The true robust accuracy lies at or below the attack's (▼); these networks have no certificate."
LINF_BOUND = "by the ℓ2 ball around the ℓ∞ ball, or linear relaxation"
TERMS = (
    "Under attack (▼, PGD): the share that PGD did not fool. A better attack may fool more: an upper bound.\n"
    "Certified (▲): the share that provably no perturbation of the ball fools: a lower bound.\n"
    "True robust accuracy lies between the two, in the filled area.\n"
    "Ideal network: knows the dictionary and the rule of the labels; the ceiling of this world.\n"
    "tau: the radius that this run trains and is evaluated with."
)
TERMS_IMAGES = (
    "Under attack (▼, PGD): the share that PGD did not fool. A better attack may fool more: an upper bound.\n"
    "tau: the radius that this run trains and is evaluated with."
)
CURVES = VIEW.looks
# Without areas between bounds the curve after clean training has another marker and dash to tell it by.
UNBOUNDED_CLEAN = replace(CURVES["pgd_clean"], marker="square", dash="dashed")
# Rows of the table: (name, curve from above, curve from below).
STATES = {
    "now": ("now", "pgd", "certified"),
    "clean": ("after clean training", "pgd_clean", "certified_clean"),
    "oracle": ("ideal network", "oracle", ""),
}


@dataclass(slots=True)
class RadiusCurve:
    """One curve with the items that draw it, and its values with 95% Wilson intervals."""

    line: pg.PlotCurveItem
    marks: pg.ScatterPlotItem
    bars: pg.PlotCurveItem
    y: Floats = field(default_factory=lambda: NONE)
    low: Floats = field(default_factory=lambda: NONE)
    high: Floats = field(default_factory=lambda: NONE)

    def text(self, i: int) -> str:
        """The value at the ``i``-th radius with its interval; a dash where there is none."""
        return f"{self.y[i]:.3f} [{self.low[i]:.3f}, {self.high[i]:.3f}]" if 0 <= i < len(self.y) else "–"


class Cell:
    """A cell of the table: a piece of the curve, and its value."""

    def __init__(self, grid: QGridLayout, row: int, column: int) -> None:
        self.swatch, self.value = QLabel(), line("–", wrap=False)
        self.value.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        grid.addWidget(self.swatch, row, column)
        grid.addWidget(self.value, row, column + 1)

    def set_visible(self, visible: bool) -> None:
        """Show or hide it."""
        self.swatch.setVisible(visible)
        self.value.setVisible(visible)


@views.register(VIEW.name, order=VIEW.order)
class RadiusView(View):
    """Accuracy against radius. Drawn only when the curves have been measured anew."""

    declaration: ClassVar[ViewDeclaration] = VIEW
    place: ClassVar[Place] = "lower"
    wants: frozenset[type] = frozenset({RadiusCurves})

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.caption = line(BETWEEN)
        self.clean = Switch.of("After clean", VIEW.option("clean"))
        self.intervals = Switch.of("95% bars", VIEW.option("intervals"))
        self.plot = new_plot(y="accuracy (share right)")
        self.box: pg.ViewBox = self.plot.getViewBox()
        self.plot.setToolTip("Hover for the values at a radius.")
        self.plot.setAccessibleName("Accuracy against radius")
        self.tau = pg.InfiniteLine(angle=90)
        self.tau_name = pg.TextItem(anchor=(0.0, 0.15))
        self.cross = pg.InfiniteLine(angle=90)
        self.cross.hide()
        self.areas = {"now": QGraphicsPathItem(), "clean": QGraphicsPathItem()}
        for z, area in zip((2, 1), self.areas.values(), strict=True):
            area.setPen(QPen(Qt.PenStyle.NoPen))
            area.setZValue(z)
            self.box.addItem(area, ignoreBounds=True)
        self.curves: dict[str, RadiusCurve] = {}
        for z, key in enumerate(reversed(tuple(CURVES)), start=5):
            curve = RadiusCurve(pg.PlotCurveItem(), pg.ScatterPlotItem(size=10), pg.PlotCurveItem(connect="pairs"))
            for each in (curve.bars, curve.line, curve.marks):
                each.setZValue(z)
                self.plot.addItem(each, ignoreBounds=True)
            self.curves[key] = curve
        add_items(self.plot, (self.tau, self.cross, self.tau_name))

        figures = FiguresTable()
        table = QGridLayout(figures)
        table.setContentsMargins(0, 0, 0, 0)
        table.setHorizontalSpacing(8)
        table.setVerticalSpacing(1)
        table.setColumnStretch(0, 1)
        self.at = FoldingLabel(folds=False, wraps=False)
        self.heads = line("under attack, at most", wrap=False), line("certified, at least", wrap=False)
        table.addWidget(self.at, 0, 0)
        for head, column in zip(self.heads, (1, 3), strict=True):
            table.addWidget(head, 0, column, 1, 2)
        self.names: dict[str, QLabel] = {}
        self.cells: dict[str, Cell] = {}
        for row, (state, (name, above, below)) in enumerate(STATES.items(), start=1):
            self.names[state] = FoldingLabel(name, folds=False, wraps=False)
            table.addWidget(self.names[state], row, 0)
            for key, column in ((above, 1), (below, 3)):
                if key:
                    self.cells[key] = Cell(table, row, column)
        self.protocol = line()
        self.protocol.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        body = QWidget()
        inner = QVBoxLayout(body)
        inner.setContentsMargins(0, 0, 0, 0)
        inner.setSpacing(4)
        inner.addWidget(self.plot, 1)
        self.figures = Figures(figures, self.figures_text)
        self.folding.tables.append(self.figures)
        inner.addWidget(self.figures)
        inner.addWidget(self.protocol)
        self.pages = Pages(body)
        top = ControlRow()
        top.add(self.caption, stretch=1)
        top.add(self.clean)
        top.add(self.intervals)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 6, 8, 6)
        layout.addWidget(top)
        layout.addWidget(self.pages, 1)

        self.bounded = True  # whether there are a certificate and an ideal network
        self.result: RadiusCurves | None = None
        self._tau = 0.0
        self._pointed = -1  # the radius under the mouse, −1 for tau
        self.clean.toggled.connect(self._show)
        self.intervals.toggled.connect(self._show)
        self.plot.scene().sigMouseMoved.connect(self._move)
        self.plot.viewport().installEventFilter(self)
        self.set_theme(self.theme)
        self._set_bounded(True)

    def render(self, snapshot: Snapshot) -> None:  # type: ignore[override]
        """Draw the curves of ``snapshot`` if they are not those that are shown already."""
        if snapshot.run != self.run:
            self.turn_to(snapshot)
            self._set_bounded(snapshot.config.kind != IMAGES)
        result, tau = snapshot.get(RadiusCurves), snapshot.config.attack.tau
        if result is None and self.result is None:
            measuring = MEASURING if self.bounded else MEASURING_IMAGES
            self.pages.message.setText(self.failure(snapshot, RadiusCurves) or measuring)
            self.pages.show_content(False)
            return
        self.pages.show_content()
        if tau != self._tau or self.result is None:
            self._tau = tau
            self._draw_tau()
        if result is not None and result is not self.result:
            self.result = result
            self._draw(result)
        if self.result is not None:
            self.names["now"].setText(f"now ({aged(self.result.step, snapshot.step)})")

    def forget(self) -> None:
        """No curves, and no radius to read them at."""
        super().forget()
        self.result, self._pointed, self._tau = None, -1, 0.0
        for curve in self.curves.values():
            curve.y = curve.low = curve.high = NONE
            for item in (curve.line, curve.marks, curve.bars):
                item.setData([], [])
        for area in self.areas.values():
            area.setPath(QPainterPath())
        for cell in self.cells.values():
            cell.value.setText("–")
        for state, (name, _, _) in STATES.items():
            self.names[state].setText(name)
        for label in (self.at, self.protocol):
            label.setText("")
        self.cross.hide()
        self._draw_tau()
        self._set_bounded(True)
        self.pages.forget()

    def _set_bounded(self, bounded: bool) -> None:
        """Show what belongs to the certificate and the ideal network, or nothing of it: nets on images have none."""
        self.bounded = bounded
        self.caption.setText(BETWEEN if bounded else BELOW)
        for label in (self.caption, *self.heads, *self.names.values(), self.protocol):
            label.setToolTip(TERMS if bounded else TERMS_IMAGES)
        for part in (self.heads[1], self.names["oracle"]):
            part.setVisible(bounded)
        for key in ("certified", "certified_clean", "oracle"):
            self.cells[key].set_visible(bounded)
        self._colour()

    def _draw(self, result: RadiusCurves) -> None:
        radii = result.radii
        for key, curve in self.curves.items():
            values = getattr(result, key)
            curve.y = NONE if values is None else np.asarray(values, np.float64)
            curve.low, curve.high = wilson_bounds(curve.y * result.n, np.full(len(curve.y), result.n))
            x = radii[: len(curve.y)]
            curve.line.setData(x, curve.y)
            curve.marks.setData(x, curve.y)
            curve.bars.setData(np.repeat(x, 2), np.stack([curve.low, curve.high], axis=1).ravel())
        for state, area in self.areas.items():
            _, above, below = STATES[state]
            top, bottom = self.curves[above].y, self.curves[below].y
            path = QPainterPath()
            if len(top) and len(top) == len(bottom):
                outline = np.concatenate([top, bottom[::-1]])
                path.addPolygon(pg.functions.arrayToQPolygonF(np.concatenate([radii, radii[::-1]]), outline))
            area.setPath(path)
        self.plot.setLabel("bottom", f"radius of the ball around the input ({NORM_SIGN[result.norm]} norm)")
        self._range()
        self.heads[1].setText("certified, at least" + ("" if result.norm == "l2" else " *"))
        self.protocol.setText(protocol_text(result))
        self._show()

    def _range(self) -> None:
        radii = NONE if self.result is None else self.result.radii
        end = max(float(radii.max(initial=0.0)), 1e-9)
        self.box.setRange(xRange=(0.0, end), yRange=(0.0, TOP), padding=0.02)

    def _draw_tau(self) -> None:
        self.tau.setValue(self._tau)
        self.tau_name.setText(f"tau = {self._tau:g}")
        self.tau_name.setPos(self._tau, TOP)

    def _show(self) -> None:
        """Show what is switched on and exists."""
        for key, curve in self.curves.items():
            shown = bool(len(curve.y)) and (self.clean.isChecked() or not key.endswith("_clean"))
            for item in (curve.line, curve.marks):
                item.setVisible(shown)
            curve.bars.setVisible(shown and self.intervals.isChecked())
        self.areas["clean"].setVisible(self.clean.isChecked())
        self._tell()

    def _tell(self) -> None:
        """The table: every value at the hovered radius, or at the one nearest to tau."""
        result = self.result
        if result is None:
            return
        i = self._pointed if 0 <= self._pointed < len(result.radii) else int(np.abs(result.radii - self._tau).argmin())
        radius = float(result.radii[i])
        self.at.setText(f"at radius {radius:.3g}" + (" = tau" if np.isclose(radius, self._tau) else ""))
        for key, cell in self.cells.items():
            cell.value.setText(self.curves[key].text(i))
        missing = not len(self.curves["pgd_clean"].y)
        self.names["clean"].setText("after clean training" + (": not yet" if missing else ""))
        self.names["oracle"].setText("ideal network" + ("" if len(self.curves["oracle"].y) else ": being measured"))

    def nearest(self, radius: float) -> int:
        """The index of the measured radius nearest to ``radius``; −1 if nothing was measured."""
        return -1 if self.result is None else int(np.abs(self.result.radii - radius).argmin())

    def _move(self, position: QPointF) -> None:
        if self.result is None or not self.box.sceneBoundingRect().contains(position):
            return
        self._pointed = self.nearest(float(self.box.mapSceneToView(position).x()))
        self.cross.setPos(float(self.result.radii[self._pointed]))
        self.cross.show()
        self._tell()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Back to tau when the mouse leaves."""
        if event.type() == QEvent.Type.Leave and self._pointed >= 0:
            self._pointed = -1
            self.cross.hide()
            self._tell()
        return super().eventFilter(watched, event)

    def look(self, key: str) -> Look:
        """How a curve is drawn."""
        return UNBOUNDED_CLEAN if key == "pgd_clean" and not self.bounded else CURVES[key]

    def figures_text(self) -> str:
        """The table in words, a line a row."""
        rows = []
        for state, name in self.names.items():
            told = [
                f"{head.text()} {self.cells[key].value.text()}"
                for head, key in zip(self.heads, STATES[state][1:], strict=True)
                if key and (self.bounded or key not in ("certified", "certified_clean", "oracle"))
            ]
            rows += [f"{name.text()}: {', '.join(told)}"] if told else []
        return "\n".join([self.at.text(), *rows])

    def set_theme(self, theme: Theme) -> None:
        """Recolour plot, table and texts."""
        super().set_theme(theme)
        self.pages.set_theme(theme)
        theme_plot(self.plot, theme)
        self.tau.setPen(pg.mkPen(theme.text, width=1, style=Qt.PenStyle.DotLine))
        self.tau_name.setColor(theme.text)
        self.cross.setPen(pg.mkPen(theme.muted, width=1))
        self._colour()
        for state, area in self.areas.items():
            area.setBrush(translucent(colour_of(self.look(STATES[state][1]), theme), 70 if theme.dark else 50))
        for label in (self.caption, self.protocol, self.at, *self.heads):
            tint(label, theme.muted)
        for label in self.names.values():
            tint(label, theme.text)

    def _colour(self) -> None:
        for key, curve in self.curves.items():
            look = self.look(key)
            curve.line.setPen(pen_of(look, self.theme))
            curve.bars.setPen(pen_of(look, self.theme, solid=True))
            curve.marks.setSymbol(SYMBOLS[look.marker])
            curve.marks.setPen(pg.mkPen(self.theme.base, width=1))
            curve.marks.setBrush(pg.mkBrush(colour_of(look, self.theme)))
            self.cells[key].swatch.setPixmap(swatch(look, self.theme, self.devicePixelRatioF()))
            tint(self.cells[key].value, self.theme.text)

    def options(self) -> dict[str, str]:
        """``clean``: whether the weights after clean training are drawn; ``intervals``: whether the bars are."""
        return {"clean": self.clean.value, "intervals": self.intervals.value}

    def set_options(self, options: dict[str, str]) -> None:
        """Inverse of :meth:`options`."""
        restore({"clean": self.clean, "intervals": self.intervals}, options)
        self._show()


def protocol_text(result: RadiusCurves) -> str:
    """How the curves were measured, in one sentence or two."""
    end = float(result.radii.max(initial=0.0))
    attack = Measurement("pgd", result.norm, end, result.steps, result.restarts, result.n, estimate=True).text()
    attack = attack.replace(
        f"{NORM_SIGN[result.norm]} radius {end:g}", f"{NORM_SIGN[result.norm]} radii 0 to {end:.3g}"
    )
    if result.certified is None:
        return f"Step {result.step:,}: {attack}."
    bound = "any perturbation of the ball" if result.norm == "l2" else f"* {LINF_BOUND}"
    return f"Step {result.step:,}: {attack}. Certificate: {bound}, same samples. Ideal network: the same attack."
