"""Mixtures: what each hidden neuron consists of, now and over time."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pyqtgraph as pg  # type: ignore[import-untyped]
from numpy.typing import NDArray
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QSplitter, QVBoxLayout, QWidget

from engine.core import metrics
from engine.core.results import CleanMixture, Mixture
from engine.figures.declare import ViewDeclaration, round_up
from engine.figures.mixtures import UNBOUNDED, VIEW
from engine.run.snapshot import Snapshot
from engine.run.timeline import spans
from fp_gui.folding import ControlRow
from fp_gui.theme import Theme
from fp_gui.views.base import Place, View, views
from fp_gui.views.curves import TimePlot
from fp_gui.views.plots import SYMBOLS, add_items, colour_of, new_plot, theme_plot, translucent
from fp_gui.views.unit_scatter import UnitScatter
from fp_gui.views.widgets import Choice, Pages, Switch, line, restore, tint

PURITIES = (0.2, 0.4, 0.6, 0.8, 0.95)
BINS = np.linspace(0.0, 1.0, 41)
TERMS = (
    "C = W M: each neuron written in the dictionary. Its feature j is where |C_ij| is largest.\n"
    "Pure magnitude: |C_ij|. Mixture v_i: all the other coordinates, magnitude ‖v_i‖ (ℓ2).\n"
    "Purity: |C_ij|/‖C_i‖; the rays are neurons of equal purity.\n"
    "Dense alignment: how much of the neuron is the dense mixture M w*.\n"
    "Alive: ‖w_i‖ above 0.3 of the largest."
)


@views.register(VIEW.name, order=VIEW.order)
class MixturesView(View):
    """Scatter of pure against mixture magnitude, a quantity over time, and the dense alignments now."""

    declaration: ClassVar[ViewDeclaration] = VIEW
    place: ClassVar[Place] = "upper"
    wants: frozenset[type] = frozenset({Mixture, CleanMixture})

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.caption = line("Each point is a hidden neuron: right is its one feature, up is everything else mixed in.")
        self.caption.setToolTip(TERMS)
        self.count = line(wrap=False)
        self.count.setToolTip("Alive: ‖w_i‖ above 0.3 of the largest. Summaries are taken over alive neurons.")
        self.quantity = Choice.of(VIEW.option("quantity"), f"\n{TERMS}")
        self.show_clean = Switch.of("After clean", VIEW.option("clean"))

        self.scatter = UnitScatter(
            "pure magnitude |C_ij| (weight units)", "mixture ‖v_i‖ (ℓ2, weight units)", VIEW.looks["now"]
        )
        self.rays = pg.PlotCurveItem(connect="pairs")
        self.clean_points = pg.ScatterPlotItem(symbol=SYMBOLS[VIEW.looks["clean"].marker], size=6)
        for z, item in enumerate((self.rays, self.clean_points), start=-2):
            item.setZValue(z)
        add_items(self.scatter, (self.rays, self.clean_points))
        self.ray_names = [pg.TextItem(f"purity {p:g}" if p > 0.9 else f"{p:g}") for p in PURITIES]
        add_items(self.scatter, self.ray_names)
        self.key = line()
        self.time = TimePlot("purity")
        self.time.clicked.connect(self.step_requested)
        self.time.add_curve("median", VIEW.looks["now"])
        self.histogram = new_plot("dense alignment (1: the dense mixture)", "alive neurons")
        self.bars = pg.PlotCurveItem([0.0, 1.0], [0.0], stepMode="center", fillLevel=0)
        self.clean_bars = pg.PlotCurveItem([0.0, 1.0], [0.0], stepMode="center")
        add_items(self.histogram, (self.bars, self.clean_bars))

        left = QWidget()
        column = QVBoxLayout(left)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(2)
        column.addWidget(self.scatter, 1)
        column.addWidget(self.key)
        right = QSplitter(Qt.Orientation.Vertical)
        right.addWidget(self.time)
        right.addWidget(self.histogram)
        right.setSizes([300, 200])
        body = QSplitter(Qt.Orientation.Horizontal)
        body.addWidget(left)
        body.addWidget(right)
        body.setSizes([500, 500])
        self.pages = Pages(body)
        self.folding.secondary.append((self.histogram, "Dense alignments"))
        top = ControlRow()
        top.add(self.count)
        top.add_stretch()
        top.add(self.show_clean)
        top.add(line("Over time", wrap=False), self.quantity)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 6, 8, 6)
        layout.addWidget(self.caption)
        layout.addWidget(top)
        layout.addWidget(self.pages, 1)

        self.mixture: Mixture | None = None
        self.clean: Mixture | None = None  # after clean training
        self._snapshot: Snapshot | None = None
        self._key: tuple[object, ...] = ()
        self._time_key: tuple[object, ...] = ()
        self._limits = [0.0, 0.0, 0.0]  # largest pure, mixture and bar so far in this run: axes only grow
        self.quantity.currentIndexChanged.connect(self._redraw_time)
        self.show_clean.toggled.connect(self._draw_clean)
        self.scatter.pointed.connect(self._point)
        self.scatter.picked.connect(self.neuron_selected)
        self.set_theme(self.theme)
        self.forget()

    def render(self, snapshot: Snapshot) -> None:  # type: ignore[override]
        """Show the mixtures of ``snapshot`` and its history."""
        self.turn_to(snapshot)
        self._snapshot = snapshot
        mixture = snapshot.get(Mixture)
        self.pages.show_content(mixture is not None or self.mixture is not None)
        if mixture is not None:
            self._take_clean(snapshot.get(CleanMixture))
            key = (snapshot.run, snapshot.step)
            if key != self._key:
                self._key = key
                self.mixture = mixture
                self._draw_now(mixture)
        self._draw_time(snapshot)

    def forget(self) -> None:
        """Empty plots."""
        super().forget()
        self._snapshot = self.mixture = self.clean = None
        self._key = self._time_key = ()
        self._limits = [0.0, 0.0, 0.0]
        self.time.clear()
        self.scatter.clear_points()
        self.bars.setData([0.0, 1.0], [0.0])
        self.count.setText("")
        self._draw_clean()
        self._set_limits()
        self.pages.forget()

    def _take_clean(self, found: CleanMixture | None) -> None:
        """What was measured after clean training, if anything was; the session measures it once."""
        clean = None if found is None else found.mixture
        if clean is not self.clean:
            self.clean = clean
            self._draw_clean()

    def _draw_now(self, mixture: Mixture) -> None:
        alive = mixture.alive
        self.scatter.show_points(mixture.pure, mixture.mixture, alive)
        n = int(np.count_nonzero(alive))
        self.count.setText(f"n alive = {n:,} of {len(alive):,}")
        counts = np.histogram(mixture.dense_alignment[alive], BINS)[0]
        self.bars.setData(BINS, counts)
        self._grow(mixture, counts)

    def _set_limits(self) -> None:
        x, y, bar = self._limits
        self.scatter.getViewBox().setRange(xRange=(0, max(x, 1e-9)), yRange=(0, max(y, 1e-9)), padding=0.03)
        self.histogram.getViewBox().setRange(xRange=(0, 1), yRange=(0, max(bar, 1)), padding=0.03)
        ends = []
        for purity, text in zip(PURITIES, self.ray_names, strict=True):
            slope = np.sqrt(1 - purity**2) / purity
            end = (x, x * slope) if x * slope <= y else (y / slope, y)
            ends += [(0.0, 0.0), end]
            text.setPos(*end)
            text.setAnchor((1.1, 0.0) if end[1] == y else (1.0, 1.0))
        at = np.array(ends)
        self.rays.setData(at[:, 0], at[:, 1])

    def _draw_clean(self) -> None:
        """The neurons after clean training, faintly; nothing before it has ended or where it is switched off."""
        clean = self.clean if self.show_clean.isChecked() else None
        if clean is None:
            self.clean_points.setData([], [])
            self.clean_bars.setData([0.0, 1.0], [0])
        else:
            self.clean_points.setData(clean.pure[clean.alive], clean.mixture[clean.alive])
            counts = np.histogram(clean.dense_alignment[clean.alive], BINS)[0]
            self.clean_bars.setData(BINS, counts)
            self._grow(clean, counts)
        words = "" if clean is None else "  △ and outline: after clean training"
        self.key.setText(f"● alive  × not alive  rays: equal purity{words}")

    def _grow(self, mixture: Mixture, counts: NDArray[np.int64]) -> None:
        """Let the axes hold all neurons and bars: they only grow."""
        tops = (float(mixture.pure.max(initial=0)), float(mixture.mixture.max(initial=0)), float(counts.max(initial=1)))
        if any(top > limit for top, limit in zip(tops, self._limits, strict=True)):
            self._limits = [max(round_up(1.04 * t, 1), limit) for t, limit in zip(tops, self._limits, strict=True)]
            self._set_limits()

    def _redraw_time(self) -> None:
        self._time_key = ()
        if self._snapshot is not None:
            self._draw_time(self._snapshot)

    def _draw_time(self, snapshot: Snapshot) -> None:
        quantity, history = self.quantity.value, snapshot.history
        words = VIEW.option("quantity").choices[quantity]
        names = [metrics.mixture(quantity, s) for s in ("median", "q10", "q90")]
        found = [history[n] for n in names if n in history]
        length = min((len(s) for s in found), default=0) if len(found) == len(names) else 0
        total = snapshot.config.schedule.total if snapshot.scheduled else 0
        phases = spans(snapshot.events, snapshot.phase, snapshot.step)
        self.time.set_time(snapshot.step, total, phases, snapshot.events, snapshot.config)
        if (quantity, length) == self._time_key:
            return
        self._time_key = quantity, length
        if length:
            median, low, high = (s.values[:length] for s in found)
            self.time.set_curve("median", found[0].steps[:length], median, low, high)
            top = 1.0 if quantity not in UNBOUNDED else round_up(float(high.max()), 2)
        else:
            self.time.set_curve("median", [], [])
            top = 1.0
        label = words.partition("  ")[0] + (" (weight units)" if quantity in UNBOUNDED else "")
        self.time.curves["median"].label = f"median {quantity.replace('_', ' ')} [10%, 90%]"
        self.time.set_y(0.0, max(top, 1e-6), label)

    def highlight(self, neuron: int) -> None:
        """Ring the point of one neuron."""
        self.scatter.mark(neuron)

    def _point(self, neuron: int) -> None:
        mixture = self.mixture
        if neuron >= 0 and mixture is not None:
            self.scatter.setToolTip(
                f"neuron {neuron}, feature {mixture.feature[neuron]}: purity {mixture.purity[neuron]:.3f}, "
                f"dense alignment {mixture.dense_alignment[neuron]:.3f}"
            )
        self.neuron_hovered.emit(neuron)

    def set_theme(self, theme: Theme) -> None:
        """Recolour the plots and texts."""
        super().set_theme(theme)
        self.time.set_theme(theme)
        self.pages.set_theme(theme)
        now, clean = (colour_of(VIEW.looks[moment], theme) for moment in ("now", "clean"))
        self.scatter.set_theme(theme)
        theme_plot(self.histogram, theme)
        self.rays.setPen(pg.mkPen(theme.grid, width=1))  # dots would take ten times as long to paint
        for text in self.ray_names:
            text.setColor(theme.muted)
        self.clean_points.setPen(pg.mkPen(translucent(clean, 110)))
        self.clean_points.setBrush(None)
        self.bars.setPen(pg.mkPen(now, width=1))
        self.bars.setBrush(pg.mkBrush(translucent(now, 170)))
        self.clean_bars.setPen(pg.mkPen(clean, width=1))
        for label in (self.caption, self.key):
            tint(label, theme.muted)
        tint(self.count, theme.text)

    def options(self) -> dict[str, str]:
        """``quantity``: what is drawn over time; ``clean``: whether the neurons after clean training are drawn."""
        return {"quantity": self.quantity.value, "clean": self.show_clean.value}

    def set_options(self, options: dict[str, str]) -> None:
        """Inverse of :meth:`options`."""
        restore({"quantity": self.quantity, "clean": self.show_clean}, options)
        self._redraw_time()
        self._draw_clean()
