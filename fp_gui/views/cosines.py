"""Cosines: how principle 1's three cosines are spread over the neurons of a layer, in both kinds of world."""

from __future__ import annotations

from typing import ClassVar

import pyqtgraph as pg  # type: ignore[import-untyped]
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QGridLayout, QHBoxLayout, QLabel, QVBoxLayout, QWidget

from engine.core.results import LayersPrinciple1, Principle1
from engine.figures.cosines import BINS, NAMED, STRIPS, TOP, VIEW, counts, dimension, median_text, reference, spread
from engine.figures.declare import COSINE_LOOKS, ViewDeclaration, round_up
from engine.figures.layers import summary
from engine.figures.pictures import not_compared
from engine.run.snapshot import Snapshot
from fp_gui.theme import Theme
from fp_gui.views.base import Place, View, views
from fp_gui.views.layer_choice import LayerChoice
from fp_gui.views.plots import SYMBOLS, add_items, colour_of, new_plot, pen_of, swatch, theme_plot, translucent
from fp_gui.views.unit_text import layer_text
from fp_gui.views.widgets import EMPTY, Pages, aged, line, tint

WAITING = (
    "A cosine compares a neuron's weights at two of three moments: the start (w⁰), the end of clean training (w) "
    "and now (w′).\nThey appear when clean training has ended (press T, or let the schedule switch)."
)
MEASURING = "The cosines are being measured in every layer."
TERMS = (
    "w⁰, w, w′: a unit's weights at the start, after clean training, now; a convolution's kernel is one row.\n"
    "Counted are the units alive after clean training: norm above 0.3 of the layer's largest.\n"
    "Above the bars: the median, and a bar from the 10% to the 90% quantile.\n"
    "Grey: ±1/√d, the standard deviation of the cosine of two random directions in d dimensions; this is theory, not "
    "measured."
)


@views.register(VIEW.name, order=VIEW.order)
class CosinesView(View):
    """One histogram a cosine over the alive units of a layer, their medians above, random directions behind."""

    declaration: ClassVar[ViewDeclaration] = VIEW
    place: ClassVar[Place] = "upper"
    wants: frozenset[type] = frozenset({LayersPrinciple1})

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.caption = line("How alike each neuron's weights are at two moments, over all neurons of a layer.")
        self.caption.setToolTip(TERMS)
        option = VIEW.option("layer")
        self.layer = LayerChoice(option.choices, option.doc, layer_text, one_is_first=True)
        self.plot = new_plot("cosine", "alive units")
        self.plot.setToolTip(TERMS)
        self.plot.setMinimumHeight(140)
        self.band = pg.LinearRegionItem(movable=False)
        self.band.setZValue(-10)
        for edge in self.band.lines:
            edge.setPen(pg.mkPen(None))
        self.zero = pg.InfiniteLine(0.0, angle=90)
        self.zero.setZValue(-5)
        self.named = pg.TextItem(anchor=(0.5, 0.5))
        add_items(self.plot, (self.band, self.zero, self.named))
        self.bars: dict[str, pg.PlotCurveItem] = {}
        self.ranges: dict[str, pg.PlotCurveItem] = {}
        self.medians: dict[str, pg.ScatterPlotItem] = {}
        self.rings: dict[str, pg.ScatterPlotItem] = {}  # the neuron that is pointed at, here or elsewhere
        for key, look in COSINE_LOOKS.items():
            self.bars[key] = pg.PlotCurveItem([0.0, 1.0], [0.0], stepMode="center", fillLevel=0)
            self.ranges[key] = pg.PlotCurveItem()
            self.medians[key] = pg.ScatterPlotItem(symbol=SYMBOLS[look.marker], size=9)
            self.rings[key] = pg.ScatterPlotItem(symbol="o", size=13, brush=None)
            add_items(self.plot, (self.bars[key], self.ranges[key], self.medians[key], self.rings[key]))
        self.swatches = {key: QLabel() for key in COSINE_LOOKS}
        self.legend = {key: line(look.label) for key, look in COSINE_LOOKS.items()}
        self.summary = line()
        self.summary.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.summary.setToolTip(TERMS)
        self.pages = Pages(self._body())
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 6, 8, 6)
        layout.addWidget(self.caption)
        layout.addWidget(self.pages, 1)

        self.result: LayersPrinciple1 | None = None
        self._key: tuple[object, ...] = ()
        self._tops: dict[str, float] = {}  # of the y axis by layer: it only grows in a run
        self._marked, self._now = -1, 0  # the neuron that is pointed at; the step of the last snapshot
        self.layer.currentIndexChanged.connect(self._draw)
        self.set_theme(self.theme)
        self.forget()

    def _body(self) -> QWidget:
        legend = QHBoxLayout()
        legend.setSpacing(4)
        for key in COSINE_LOOKS:
            legend.addWidget(self.swatches[key])
            legend.addWidget(self.legend[key], 1)
        body = QWidget()
        grid = QGridLayout(body)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setSpacing(2)
        grid.setRowStretch(2, 1)
        grid.setColumnStretch(1, 1)
        self.chooser = line("Layer", wrap=False)
        grid.addWidget(self.chooser, 0, 0)
        grid.addWidget(self.layer, 0, 1)
        grid.addLayout(legend, 1, 0, 1, 2)
        grid.addWidget(self.plot, 2, 0, 1, 2)
        grid.addWidget(self.summary, 3, 0, 1, 2)
        return body

    def render(self, snapshot: Snapshot) -> None:  # type: ignore[override]
        """Show the cosines of ``snapshot`` if they are not those that are shown already."""
        self.turn_to(snapshot)
        result = snapshot.get(LayersPrinciple1)
        if result is None and self.result is None:
            self.pages.message.setText(self.failure(snapshot, LayersPrinciple1) or self._missing(snapshot))
        self.pages.show_content(result is not None or self.result is not None)
        if result is not None and (key := (result.step, snapshot.clean_step, result.layers)) != self._key:
            self._key, self.result = key, result
            self.layer.show_layers(result.layers)
            for widget in (self.chooser, self.layer):
                widget.setVisible(len(result.layers) > 1)
            self._draw()
        self._now = snapshot.step
        self._tell()

    def forget(self) -> None:
        """No cosines: the next network may have other layers."""
        super().forget()
        self.result, self._key, self._marked = None, (), -1
        self._tops.clear()
        self.layer.forget()
        for widget in (self.chooser, self.layer):
            widget.setVisible(False)
        for key, look in COSINE_LOOKS.items():
            self.bars[key].setData([0.0, 1.0], [0.0])
            for item in (self.ranges[key], self.medians[key], self.rings[key]):
                item.setData([], [])
            self.legend[key].setText(look.label)
        self.summary.setText("")
        self.pages.forget()

    @staticmethod
    def _missing(snapshot: Snapshot) -> str:
        if not snapshot.config.start_known:
            return f"{not_compared(snapshot.config).capitalize()}."
        if snapshot.step == 0:
            return EMPTY
        return MEASURING if snapshot.clean_step else WAITING

    @property
    def at(self) -> int:
        """The chosen layer's place, 0 for the first."""
        return max(0, self.layer.currentIndex())

    def units(self) -> Principle1 | None:
        """Principle 1 of the chosen layer."""
        return None if self.result is None else self.result.of[self.result.layers[self.at].name]

    def _draw(self) -> None:
        found, result = self.units(), self.result
        if found is None or result is None:
            return
        layer = result.layers[self.at]
        heights = {key: counts(found, key) for key in COSINE_LOOKS}
        top = round_up(max(1.0, *(float(h.max()) for h in heights.values())))
        top = self._tops[layer.name] = max(top, self._tops.get(layer.name, 0.0))
        for key in COSINE_LOOKS:
            self.bars[key].setData(BINS, heights[key])
            middle, low, high = summary(found, key)
            place = STRIPS[key] * top
            self.ranges[key].setData([low, high], [place, place])
            self.medians[key].setData([middle], [place])
            self.legend[key].setText(median_text(found, key))
        end = spread(layer)
        self.band.setRegion((-end, end))
        self.named.setText(reference(layer))
        self.named.setPos(0.0, NAMED * top)
        self.plot.getViewBox().setRange(xRange=(-1, 1), yRange=(0, TOP * top), padding=0.01)
        self.highlight(self._marked)
        self._tell()

    def _tell(self) -> None:
        found, result = self.units(), self.result
        if found is None or result is None:
            return
        layer = result.layers[self.at]
        self.summary.setText(
            f"n = {int(found.alive.sum()):,} alive of {layer.units:,} units of {layer.name}; median [10%, 90%]. "
            f"{aged(result.step, self._now).capitalize()}, from the weights alone. ±1/√d = ±{spread(layer):.3g} "
            f"(d = {dimension(layer):,}) is theoretical."
        )

    def highlight(self, neuron: int) -> None:
        """Ring one neuron's cosines, if the first layer is chosen, whose numbers everybody means."""
        self._marked = neuron
        found, result = self.units(), self.result
        present = found is not None and self.at == 0 and 0 <= neuron < len(found.alive)
        for key, ring in self.rings.items():
            if not present or result is None:
                ring.setData([], [])
                continue
            place = STRIPS[key] * self._tops[result.layers[0].name]
            ring.setData([float(getattr(found, key)[neuron])], [place])

    def set_theme(self, theme: Theme) -> None:
        """Recolour the plot and the texts."""
        super().set_theme(theme)
        self.pages.set_theme(theme)
        theme_plot(self.plot, theme)
        self.band.setBrush(translucent(theme.muted, 60))
        self.zero.setPen(pg.mkPen(theme.grid, width=1))
        self.named.setColor(theme.muted)
        for key, look in COSINE_LOOKS.items():
            colour = colour_of(look, theme)
            self.bars[key].setPen(pen_of(look, theme))
            self.bars[key].setBrush(pg.mkBrush(translucent(colour, 50)))
            self.ranges[key].setPen(pen_of(look, theme, 2, solid=True))
            self.medians[key].setPen(pg.mkPen(theme.base, width=1))
            self.medians[key].setBrush(pg.mkBrush(colour))
            self.rings[key].setPen(pg.mkPen(theme.text, width=2))
            self.swatches[key].setPixmap(swatch(look, theme, self.devicePixelRatioF()))
            tint(self.legend[key], theme.text)
        for label in (self.caption, self.summary, self.chooser):
            tint(label, theme.muted)

    def options(self) -> dict[str, str]:
        """``layer``: whose units are counted; empty for the first."""
        return {"layer": self.layer.value}

    def set_options(self, options: dict[str, str]) -> None:
        """Inverse of :meth:`options`. Which layers there are is known with the first result only."""
        self.layer.value = options.get("layer", self.layer.value)
