"""Spectrum: the singular values of a layer's weights and of what they changed by, and how many count over time."""

from __future__ import annotations

from math import ceil, floor, log10
from typing import ClassVar

import numpy as np
import pyqtgraph as pg  # type: ignore[import-untyped]
from PySide6.QtCore import Qt
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QGridLayout, QLabel, QSplitter, QVBoxLayout, QWidget

from engine.core.spectra import LayersSpectrum, Spectrum
from engine.figures.declare import ViewDeclaration, round_up
from engine.figures.spectrum import (
    DISPUTED,
    FEATURES_DOC,
    MOMENTS,
    OVER_TIME,
    PARTICIPATION_DOC,
    RANK_DOC,
    VIEW,
    metric,
    rank_text,
    shown,
)
from engine.run.snapshot import Snapshot
from engine.run.timeline import spans
from fp_gui.folding import ControlRow
from fp_gui.theme import Theme
from fp_gui.views.base import Place, View, views
from fp_gui.views.curves import TimePlot
from fp_gui.views.layer_choice import LayerChoice
from fp_gui.views.plots import SYMBOLS, add_items, colour_of, new_plot, pen_of, swatch, theme_plot
from fp_gui.views.unit_text import layer_text
from fp_gui.views.widgets import EMPTY, Choice, Pages, aged, line, restore, tint

NARROW = 560  # pixels under which the plots stand one below the other
MEASURING = "The singular values are being measured."
NOT_HERE = "This layer is too large to be measured beside training; an exported figure has it."
MARKS = 8  # on a curve
TICKS = 5  # named on the logarithmic axis
CURVES = tuple(name for names in OVER_TIME.values() for name in names)
TERMS = f"{RANK_DOC}\n{PARTICIPATION_DOC}\n{FEATURES_DOC}\n{DISPUTED}"


def log_ticks(low: float, high: float) -> list[tuple[float, str]]:
    """Places and names of a few round numbers between 10^low and 10^high, on an axis of logarithms."""
    powers, inside = range(floor(low), ceil(high) + 1), [low]
    for digits in ((1, 2, 5), (1,)):
        found = [log10(digit) + power for power in powers for digit in digits]
        inside = [at for at in found if low - 0.05 <= at <= high + 0.05]
        if len(inside) <= TICKS:
            break
    return [(at, f"{10.0**at:.3g}") for at in inside[:: -(-len(inside) // TICKS) or 1]]


@views.register(VIEW.name, order=VIEW.order)
class SpectrumView(View):
    """Singular values at the start, after clean training, now and of the change; effective ranks over steps."""

    declaration: ClassVar[ViewDeclaration] = VIEW
    place: ClassVar[Place] = "upper"
    wants: frozenset[type] = frozenset({LayersSpectrum})

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.caption = line("In how many directions the weights point, and in how many they changed.")
        self.caption.setToolTip(TERMS)
        option = VIEW.option("layer")
        self.layer = LayerChoice(option.choices, option.doc, layer_text, one_is_first=True)
        self.over_time = Choice.of(VIEW.option("over_time"), f"\n{DISPUTED}")
        self.values = new_plot("place by size", "singular value")
        self.values.setToolTip(TERMS)
        self.lines: dict[str, pg.PlotCurveItem] = {}
        self.marks: dict[str, pg.ScatterPlotItem] = {}
        for moment in MOMENTS:
            self.lines[moment] = pg.PlotCurveItem()
            self.marks[moment] = pg.ScatterPlotItem(symbol=SYMBOLS[VIEW.looks[moment].marker], size=8)
            add_items(self.values, (self.lines[moment], self.marks[moment]))
        self.swatches = {name: QLabel() for name in (*MOMENTS, *CURVES)}
        self.legend = {name: line(VIEW.looks[name].label) for name in (*MOMENTS, *CURVES)}
        for name in CURVES:
            self.legend[name].setToolTip(VIEW.looks[name].tip)
        self.time = TimePlot(VIEW.option("over_time").choices[self.over_time.value])
        self.time.clicked.connect(self.step_requested)
        for name in CURVES:
            self.time.add_curve(name, VIEW.looks[name])
        for plot in (self.values, self.time.plot):
            plot.setMinimumHeight(140)
        self.summary = line()
        self.summary.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.summary.setToolTip(TERMS)
        self.pages = Pages(self._body())
        top = ControlRow()
        self.chooser = line("Layer", wrap=False)
        self.chooser_of_time = line("Over time", wrap=False)
        top.add(self.chooser, self.layer, stretch=1)
        top.add(self.chooser_of_time, self.over_time)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 6, 8, 6)
        layout.addWidget(self.caption)
        layout.addWidget(top)
        layout.addWidget(self.pages, 1)

        self.result: LayersSpectrum | None = None
        self._snapshot: Snapshot | None = None
        self._lengths: tuple[object, ...] = ()
        self.layer.currentIndexChanged.connect(self._chosen)
        self.over_time.currentIndexChanged.connect(self._chosen)
        self.set_theme(self.theme)
        self.forget()

    def _body(self) -> QWidget:
        self.split = QSplitter(Qt.Orientation.Horizontal)
        for names, plot in ((MOMENTS, self.values), (CURVES, self.time)):
            half = QWidget()
            grid = QGridLayout(half)
            grid.setContentsMargins(0, 0, 0, 0)
            grid.setSpacing(2)
            for i, name in enumerate(names):
                grid.addWidget(self.swatches[name], i // 2, 2 * (i % 2))
                grid.addWidget(self.legend[name], i // 2, 2 * (i % 2) + 1)
            grid.setColumnStretch(1, 1)
            grid.setColumnStretch(3, 1)
            grid.addWidget(plot, len(names), 0, 1, 4)
            grid.setRowStretch(len(names), 1)
            self.split.addWidget(half)
        self.split.setSizes([500, 500])
        body = QWidget()
        inner = QVBoxLayout(body)
        inner.setContentsMargins(0, 0, 0, 0)
        inner.setSpacing(2)
        inner.addWidget(self.split, 1)
        inner.addWidget(self.summary)
        return body

    def render(self, snapshot: Snapshot) -> None:  # type: ignore[override]
        """Show the spectra of ``snapshot`` if they are others, and what its history holds."""
        self.turn_to(snapshot)
        self._snapshot = snapshot
        result = snapshot.get(LayersSpectrum)
        if result is None and self.result is None:
            self.pages.message.setText(
                self.failure(snapshot, LayersSpectrum) or (MEASURING if snapshot.step else EMPTY)
            )
        self.pages.show_content(result is not None or self.result is not None)
        if result is not None and result is not self.result:
            self.result = result
            self.layer.show_layers(result.layers)
            for widget in (self.chooser, self.layer):
                widget.setVisible(len(result.layers) > 1)
            self._draw()
        self._tell(snapshot.step)
        self._draw_time(snapshot)

    def forget(self) -> None:
        """No spectra: the next network may have other layers."""
        super().forget()
        self.result = self._snapshot = None
        self._lengths = ()
        self.layer.forget()
        for widget in (self.chooser, self.layer):
            widget.setVisible(False)
        self._draw()
        self.time.clear()
        self.time.set_y(0.0, 1.0, VIEW.option("over_time").choices[self.over_time.value])
        for name in CURVES:
            self._offer(name, False)
        self.summary.setText("")
        self.pages.forget()

    def spectra(self) -> dict[str, Spectrum]:
        """Moment → spectrum of the chosen layer, as far as they are known."""
        if self.result is None:
            return {}
        return dict(self.result.of.get(self.name_of_layer, {}))

    @property
    def name_of_layer(self) -> str:
        """The chosen layer's name; empty while the layers are unknown."""
        return "" if self.result is None else self.result.layers[max(0, self.layer.currentIndex())].name

    def _chosen(self) -> None:
        self._lengths = ()
        self._draw()
        if self._snapshot is not None:
            self._tell(self._snapshot.step)
            self._draw_time(self._snapshot)

    def _draw(self) -> None:
        found, ends = self.spectra(), [1.0]
        logs: list[float] = []
        for moment in MOMENTS:
            at, values = shown(found[moment]) if moment in found else (np.empty(0, np.int64), np.empty(0))
            heights = np.log10(values)
            self.lines[moment].setData(at.astype(np.float64), heights)
            every = max(1, -(-len(at) // MARKS))
            self.marks[moment].setData(at[::every], heights[::every])
            known = moment in found
            self.legend[moment].setText(f"{moment}: {found[moment].effective_rank:.1f}" if known else moment)
            self.legend[moment].setToolTip(rank_text(moment, found[moment]) if known else VIEW.looks[moment].label)
            if len(at):
                ends.append(float(at[-1]))
                logs += [float(heights[0]), float(heights[-1])]
        low, high = (min(logs), max(logs)) if logs else (-1.0, 0.0)
        self.values.getPlotItem().getAxis("left").setTicks([log_ticks(low, high)])
        self.values.getViewBox().setRange(xRange=(1, max(2.0, *ends)), yRange=(low, max(high, low + 0.1)), padding=0.03)

    def _tell(self, now: int) -> None:
        result = self.result
        if result is None:
            return
        found, layer = self.spectra(), result.layers[max(0, self.layer.currentIndex())]
        if not found:
            self.summary.setText(f"{layer.name}: {NOT_HERE}")
            return
        text = (
            f"{layer.name}, n = {layer.units:,} units: {aged(result.step, now)}, from the weights alone; key: "
            f"effective ranks. Directions of W (participation ratio) {found['now'].participation:.1f}."
        )
        features = result.features.get("now")
        if features is not None:
            text += (
                f" Features: {features.represented:.1f} effective of {len(features.energy)} in {layer.shape[1]} "
                f"dimensions, {features.per_neuron:.1f} in a neuron (median, n alive = {int(features.alive.sum()):,})."
            )
        self.summary.setText(text)

    def _draw_time(self, snapshot: Snapshot) -> None:
        history, chosen, layer = snapshot.history, self.over_time.value, self.name_of_layer
        total = snapshot.config.schedule.total if snapshot.scheduled else 0
        phases = spans(snapshot.events, snapshot.phase, snapshot.step)
        self.time.set_time(snapshot.step, total, phases, snapshot.events, snapshot.config)
        if not layer:
            return
        found = {q: history[metric(q, layer)] for q in OVER_TIME[chosen] if metric(q, layer) in history}
        lengths = (chosen, layer, *((q, len(series)) for q, series in found.items()))
        if lengths == self._lengths:
            return
        self._lengths = lengths
        top = 1.0
        for name in CURVES:
            series = found.get(name)
            self._offer(name, series is not None)
            if series is not None:
                self.time.set_curve(name, series.steps, series.values)
                top = max(top, float(np.nanmax(series.values, initial=1.0)))
        label = VIEW.option("over_time").choices[chosen]
        self.time.set_y(0.0, round_up(1.05 * top), label if found else f"{label} (not recorded of this layer)")

    def _offer(self, name: str, known: bool) -> None:
        """Show a curve over time with its key, or hide both."""
        for widget in (self.swatches[name], self.legend[name]):
            widget.setVisible(known)
        self.time.set_visible(name, known)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Side by side, or one below the other where that is too narrow."""
        super().resizeEvent(event)
        narrow = self.width() < min(NARROW, self.height())
        wanted = Qt.Orientation.Vertical if narrow else Qt.Orientation.Horizontal
        if self.split.orientation() != wanted:
            self.split.setOrientation(wanted)

    def set_theme(self, theme: Theme) -> None:
        """Recolour the plots and texts."""
        super().set_theme(theme)
        self.pages.set_theme(theme)
        self.time.set_theme(theme)
        theme_plot(self.values, theme)
        for moment in MOMENTS:
            look = VIEW.looks[moment]
            self.lines[moment].setPen(pen_of(look, theme))
            self.marks[moment].setPen(pg.mkPen(theme.base, width=1))
            self.marks[moment].setBrush(pg.mkBrush(colour_of(look, theme)))
        for name, picture in self.swatches.items():
            picture.setPixmap(swatch(VIEW.looks[name], theme, self.devicePixelRatioF()))
            tint(self.legend[name], theme.text)
        for label in (self.caption, self.summary, self.chooser, self.chooser_of_time):
            tint(label, theme.muted)

    def options(self) -> dict[str, str]:
        """``layer``: whose weights; ``over_time``: what is drawn over steps."""
        return {"layer": self.layer.value, "over_time": self.over_time.value}

    def set_options(self, options: dict[str, str]) -> None:
        """Inverse of :meth:`options`. Which layers there are is known with the first result only."""
        restore({"over_time": self.over_time}, options)
        self.layer.value = options.get("layer", self.layer.value)
        self._chosen()
