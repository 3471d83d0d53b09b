"""Mixtures of a network on images: principle 1 in every layer, and how much of each layer is active."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pyqtgraph as pg  # type: ignore[import-untyped]
from PySide6.QtCore import Qt
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QGridLayout, QLabel, QSplitter, QVBoxLayout, QWidget

from engine.core.results import LayersPrinciple1, Principle1
from engine.figures.declare import COSINE_LOOKS, ViewDeclaration, round_up
from engine.figures.layers import VIEW
from engine.figures.pictures import not_compared
from engine.run.snapshot import Snapshot
from fp_gui.folding import ControlRow
from fp_gui.theme import Theme
from fp_gui.views.base import Place, View, views
from fp_gui.views.layer_choice import LayerChoice
from fp_gui.views.layer_plot import SHIFT, LayerPlot, Spread, share, share_text, short_names
from fp_gui.views.plots import SYMBOLS, add_items, colour_of, pen_of, swatch, translucent
from fp_gui.views.unit_scatter import UnitScatter
from fp_gui.views.widgets import EMPTY, Pages, aged, line, tint

NARROW = 560  # pixels under which the plots stand one below the other
WAITING = (
    "Principle 1 compares each unit's weights at three moments: the start (w⁰), the end of clean training (w) and now "
    "(w′).\nIt appears when clean training has ended (press T, or let the schedule switch)."
)
MEASURING = "Principle 1 is being measured in every layer."
TERMS = (
    "w⁰, w, w′: a unit's weights at the start, after clean training, now; a kernel is one row.\n"
    "Markers: the median over the units alive after clean training; bars: from the 10% to the 90% quantile.\n"
    "β w′ with β = ⟨w,w′⟩/‖w′‖² is the part of w that w′ explains; v = w − βw′ is the rest, the mixture.\n"
    "Below the diagonal ‖βw′‖ > ‖v‖: more of w is kept than was dropped.\n"
    "Active: the share of a layer's outputs that are above zero."
)


@views.register(VIEW.name, order=VIEW.order)
class LayersView(View):
    """Cosines and activity by layer, and the units of one layer: what stays of the clean weights against the rest."""

    declaration: ClassVar[ViewDeclaration] = VIEW
    place: ClassVar[Place] = "upper"
    wants: frozenset[type] = frozenset({LayersPrinciple1})

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.caption = line("How each layer's weights turned: medians over units, bars 10–90%.")
        self.caption.setToolTip(TERMS)
        layer = VIEW.option("layer")
        self.layer = LayerChoice(
            layer.choices, f"{layer.doc} A click on a layer in the plots chooses it, too.",
            lambda i, each: f"{i + 1} · {each.name} ({each.kind}, {each.units} units)", one_is_first=True,
        )  # fmt: skip
        self.cosines = LayerPlot("cosine", named=False)
        self.activity = LayerPlot("active")
        self.folding.secondary.append((self.activity, "Share of active outputs by layer"))
        self.zero = pg.InfiniteLine(angle=0)
        self.cosines.addItem(self.zero, ignoreBounds=True)
        for plot in (self.cosines, self.activity):
            plot.setToolTip(TERMS)
            plot.pointed.connect(self._tell)
            plot.picked.connect(self.layer.setCurrentIndex)
        self.lines: dict[str, pg.PlotCurveItem] = {}
        self.bars: dict[str, pg.PlotCurveItem] = {}
        self.marks: dict[str, pg.ScatterPlotItem] = {}
        for key, look in COSINE_LOOKS.items():
            self.lines[key] = pg.PlotCurveItem(connect="finite")
            self.bars[key] = pg.PlotCurveItem(connect="pairs")
            self.marks[key] = pg.ScatterPlotItem(symbol=SYMBOLS[look.marker], size=8)
            add_items(self.cosines, (self.bars[key], self.lines[key], self.marks[key]))
        self.active = pg.BarGraphItem(x=[], height=[], width=0.6)
        self.activity.addItem(self.active, ignoreBounds=True)
        self.swatches = {key: QLabel() for key in COSINE_LOOKS}
        self.legend = {key: line(look.label, wrap=False) for key, look in COSINE_LOOKS.items()}
        self.readout = line()
        self.scatter = UnitScatter("‖βw′‖, kept of w", "‖v‖ = ‖w − βw′‖, dropped", VIEW.looks["now"])
        self.scatter.setToolTip(TERMS)
        self.diagonal = pg.PlotCurveItem()
        self.diagonal.setZValue(-1)
        self.scatter.addItem(self.diagonal, ignoreBounds=True)
        self.scatter.pointed.connect(self._point)
        self.scatter.picked.connect(self._pick)
        self.key = line("● alive  × not  - - ‖v‖ = ‖βw′‖")
        self.words = line()
        self.summary = line()
        for label in (self.words, self.summary):
            label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
            label.setToolTip(TERMS)
        self.pages = Pages(self._body())
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 6, 8, 6)
        layout.addWidget(self.caption)
        layout.addWidget(self.pages, 1)

        self.result: LayersPrinciple1 | None = None
        self._counted = ""
        self._ends: dict[int, float] = {}  # of the scatter's axes, by layer
        self.layer.currentIndexChanged.connect(self._chosen)
        self.set_theme(self.theme)

    def _body(self) -> QWidget:
        legend = ControlRow()
        for key in COSINE_LOOKS:
            legend.add(self.swatches[key], self.legend[key])
        left = QWidget()
        column = QVBoxLayout(left)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(2)
        column.addWidget(legend)
        column.addWidget(self.cosines, 5)
        column.addWidget(self.activity, 3)
        right = QWidget()
        grid = QGridLayout(right)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setSpacing(2)
        grid.setRowStretch(1, 1)
        grid.setColumnStretch(1, 1)
        grid.addWidget(line("Layer", wrap=False), 0, 0)
        grid.addWidget(self.layer, 0, 1)
        grid.addWidget(self.scatter, 1, 0, 1, 2)
        grid.addWidget(self.key, 2, 0, 1, 2)
        self.split = QSplitter(Qt.Orientation.Horizontal)
        self.split.addWidget(left)
        self.split.addWidget(right)
        self.split.setSizes([500, 500])
        body = QWidget()
        inner = QVBoxLayout(body)
        inner.setContentsMargins(0, 0, 0, 0)
        inner.setSpacing(2)
        inner.addWidget(self.split, 1)
        for label in (self.words, self.readout, self.summary):
            inner.addWidget(label)
        return body

    def render(self, snapshot: Snapshot) -> None:  # type: ignore[override]
        """Show the layers of ``snapshot`` if they are not those that are shown already."""
        self.turn_to(snapshot)
        result = snapshot.get(LayersPrinciple1)
        if result is None and self.result is None:
            self.pages.message.setText(self.failure(snapshot, LayersPrinciple1) or self._missing(snapshot))
        self.pages.show_content(result is not None or self.result is not None)
        if result is None or result is self.result:
            self._tell_age(snapshot.step)
            return
        self.result = result
        if self.layer.show_layers(result.layers):
            for plot in (self.cosines, self.activity):
                plot.set_layers(short_names(result.layers))
        self._draw(result)
        self._tell_age(snapshot.step)

    def _tell_age(self, now: int) -> None:
        if self.result is not None:
            self.summary.setText(
                f"All layers: {self._counted} alive units. {aged(self.result.step, now).capitalize()}, measured on the "
                f"weights; active share on n = {self.result.n} held-out images, live estimate."
            )

    def forget(self) -> None:
        """No layers: the next network may have others."""
        super().forget()
        self.result = None
        self._ends.clear()
        self.layer.forget()
        for key in COSINE_LOOKS:
            for item in (self.lines[key], self.bars[key], self.marks[key]):
                item.setData([], [])
        self.active.setOpts(x=[], height=[], width=0.6)
        for plot in (self.cosines, self.activity):
            plot.set_layers([])
        self.scatter.clear_points()
        self.scatter.setToolTip(TERMS)
        self.diagonal.setData([], [])
        for label in (self.words, self.readout, self.summary):
            label.setText("")
        self.pages.forget()

    @staticmethod
    def _missing(snapshot: Snapshot) -> str:
        if not snapshot.config.start_known:
            return f"{not_compared(snapshot.config).capitalize()}."
        if snapshot.step == 0:
            return EMPTY
        return MEASURING if snapshot.clean_step else WAITING

    def _draw(self, result: LayersPrinciple1) -> None:
        at = np.arange(len(result.layers), dtype=np.float64)
        lowest = 0.0
        for shift, key in zip((-SHIFT, 0.0, SHIFT), COSINE_LOOKS, strict=True):
            found = Spread.of(result, key)
            self.lines[key].setData(at + shift, found.median)
            known = np.isfinite(found.median)
            self.marks[key].setData((at + shift)[known], found.median[known])
            pairs = np.stack([found.low[known], found.high[known]], axis=1).ravel()
            self.bars[key].setData(np.repeat((at + shift)[known], 2), pairs)
            lowest = min(lowest, float(found.low[known].min(initial=0.0)))
        self.cosines.getViewBox().setYRange(-round_up(-lowest, 1) if lowest < 0 else 0.0, 1.0, padding=0.05)
        places = [i for i, each in enumerate(result.layers) if each.name in result.active]
        shares = np.array([result.active[result.layers[i].name] for i in places])
        self.active.setOpts(x=np.array(places, float), height=shares, width=0.6)
        top = max(round_up(float(shares.max(initial=0.0)), 1), 0.1)
        self.activity.getViewBox().setYRange(0.0, min(1.0, top), padding=0.05)
        count = sum(share(result.of[each.name])[0] for each in result.layers)
        total = sum(share(result.of[each.name])[1] for each in result.layers)
        self._counted = f"{count:,} of {total:,}"
        self._chosen()

    # -- one layer -----------------------------------------------------------------------------------------------

    @property
    def at(self) -> int:
        """The chosen layer's place, 0 for the first."""
        return max(0, self.layer.currentIndex())

    def units(self) -> Principle1 | None:
        """Principle 1 of the chosen layer."""
        return None if self.result is None else self.result.of[self.result.layers[self.at].name]

    def _chosen(self) -> None:
        found = self.units()
        self._tell(-1)
        for plot in (self.cosines, self.activity):
            plot.choose(self.at)
        if found is None:
            return
        self.scatter.show_points(found.pure_part, found.rest, found.alive)
        end = round_up(1.04 * max(float(found.pure_part.max(initial=0)), float(found.rest.max(initial=0)), 1e-9))
        end = self._ends[self.at] = max(end, self._ends.get(self.at, 0.0))  # axes only grow in a run
        self.diagonal.setData([0.0, end], [0.0, end])
        self.scatter.getViewBox().setRange(xRange=(0, end), yRange=(0, end), padding=0.03)
        self.words.setText(share_text(found, self.layer.layers[self.at].name))

    def highlight(self, neuron: int) -> None:
        """Ring the point of one unit, if the first layer is chosen, whose numbers everybody means."""
        if self.at == 0:
            self.scatter.mark(neuron)

    def _point(self, unit: int) -> None:
        found, text = self.units(), TERMS
        if unit >= 0 and found is not None:
            told = ", ".join(f"cos {look.label} {getattr(found, k)[unit]:.2f}" for k, look in COSINE_LOOKS.items())
            text = f"unit {unit}: ‖βw′‖ {found.pure_part[unit]:.3g}, ‖v‖ {found.rest[unit]:.3g}, {told}"
        self.scatter.setToolTip(text.replace("-", "−") if unit >= 0 else text)
        if self.at == 0:
            self.neuron_hovered.emit(unit)

    def _pick(self, unit: int) -> None:
        if self.at == 0:
            self.neuron_selected.emit(unit)

    # -- the layers ----------------------------------------------------------------------------------------------

    def layer_text(self, place: int) -> str:
        """The figures of one layer in words."""
        result = self.result
        if result is None or not 0 <= place < len(result.layers):
            return ""
        name = result.layers[place].name
        parts = []
        for key, look in COSINE_LOOKS.items():
            found = Spread.of(result, key)
            parts.append(f"{look.label} {found.median[place]:.2f} [{found.low[place]:.2f}, {found.high[place]:.2f}]")
        active = result.active.get(name)
        told = "" if active is None else f" · active {active:.2f}"
        return f"{place + 1} · {name}: cos " + ", ".join(parts).replace("-", "−") + told

    def _tell(self, place: int) -> None:
        """The figures of the layer under the mouse, or of the chosen one."""
        self.readout.setText(self.layer_text(place) or self.layer_text(self.at))

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Side by side, or one below the other where that is too narrow."""
        super().resizeEvent(event)
        narrow = self.width() < min(NARROW, self.folding.room())
        wanted = Qt.Orientation.Vertical if narrow else Qt.Orientation.Horizontal
        if self.split.orientation() != wanted:
            self.split.setOrientation(wanted)

    def set_theme(self, theme: Theme) -> None:
        """Recolour the plots and texts."""
        super().set_theme(theme)
        self.pages.set_theme(theme)
        now = VIEW.looks["now"]
        for plot in (self.cosines, self.activity, self.scatter):
            plot.set_theme(theme)
        self.zero.setPen(pg.mkPen(theme.grid, width=1))
        for key, look in COSINE_LOOKS.items():
            self.lines[key].setPen(pen_of(look, theme))
            self.bars[key].setPen(pen_of(look, theme, 2, solid=True))
            self.marks[key].setPen(pg.mkPen(theme.base, width=1))
            self.marks[key].setBrush(pg.mkBrush(colour_of(look, theme)))
            self.swatches[key].setPixmap(swatch(look, theme, self.devicePixelRatioF()))
            tint(self.legend[key], theme.text)
        self.active.setOpts(pen=pen_of(now, theme), brush=pg.mkBrush(translucent(colour_of(now, theme), 170)))
        self.diagonal.setPen(pg.mkPen(theme.muted, width=1, style=Qt.PenStyle.DashLine))
        for label in (self.caption, self.key, self.readout, self.summary):
            tint(label, theme.muted)
        tint(self.words, theme.text)

    def options(self) -> dict[str, str]:
        """``layer``: whose units are drawn; empty for the first."""
        return {"layer": self.layer.value}

    def set_options(self, options: dict[str, str]) -> None:
        """Inverse of :meth:`options`. Which layers there are is known with the first result only."""
        self.layer.value = options.get("layer", self.layer.value)
