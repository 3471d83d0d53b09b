"""Mixtures: what each hidden neuron consists of, now and over time."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pyqtgraph as pg  # type: ignore[import-untyped]
from numpy.typing import NDArray
from PySide6.QtCore import QEvent, QObject, QPointF, Qt
from PySide6.QtGui import QColor
from PySide6.QtWidgets import QHBoxLayout, QSplitter, QVBoxLayout, QWidget

from engine.config.experiment import SPARSE_CODING
from engine.core import metrics
from engine.core.results import CleanMixture, Mixture
from engine.run.snapshot import Snapshot
from engine.run.timeline import spans
from fp_gui.theme import BLUE, ORANGE, SKY, Theme
from fp_gui.views.base import View, views
from fp_gui.views.curves import TimePlot
from fp_gui.views.plots import add_items, new_plot, theme_plot
from fp_gui.views.widgets import Choice, Pages, Switch, ceiling, line, restore, tint

QUANTITIES = {
    "purity": "purity  |C_ij|/‖C_i‖",
    "pure": "pure magnitude  |C_ij|",
    "magnitude": "mixture magnitude  ‖v_i‖",
    "relative": "relative mixture  ‖v_i‖/‖C_i‖",
    "dense_alignment": "dense alignment  |⟨v_i,w*⟩|/(‖w*‖·‖C_i‖)",
}
UNBOUNDED = ("pure", "magnitude")  # in weight units; the others lie in 0..1
PURITIES = (0.2, 0.4, 0.6, 0.8, 0.95)
BINS = np.linspace(0.0, 1.0, 41)
AMBER = "#B87E00"  # Okabe and Ito's orange, darker for thin lines on white
TERMS = (
    "C = W M: each neuron written in the dictionary. Its feature j is where |C_ij| is largest.\n"
    "Pure magnitude: |C_ij|. Mixture v_i: all the other coordinates, magnitude ‖v_i‖ (ℓ2).\n"
    "Purity: |C_ij|/‖C_i‖; the rays are neurons of equal purity.\n"
    "Dense alignment: how much of the neuron is the dense mixture M w*.\n"
    "Alive: ‖w_i‖ above 0.3 of the largest."
)


@views.register("mixtures")
class MixturesView(View):
    """Scatter of pure against mixture magnitude, a quantity over time, and the dense alignments now."""

    name: ClassVar[str] = "mixtures"
    title: ClassVar[str] = "Mixtures"
    wants: frozenset[type] = frozenset({Mixture, CleanMixture})
    kinds: ClassVar[tuple[str, ...]] = (SPARSE_CODING,)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.caption = line("Each point is a hidden neuron: right is its one feature, up is everything else mixed in.")
        self.caption.setToolTip(TERMS)
        self.count = line(wrap=False)
        self.count.setToolTip("Alive: ‖w_i‖ above 0.3 of the largest. Summaries are taken over alive neurons.")
        self.quantity = Choice(QUANTITIES, "purity", "What is drawn over time, over alive neurons.\n" + TERMS)
        self.show_clean = Switch("After clean", "Draw where the neurons were after clean training, faintly.", on=True)

        self.scatter = new_plot("pure magnitude |C_ij| (weight units)", "mixture ‖v_i‖ (ℓ2, weight units)")
        self.rays = pg.PlotCurveItem(connect="pairs")
        self.clean_points = pg.ScatterPlotItem(symbol="o", size=5)
        self.dead = pg.ScatterPlotItem(symbol="x", size=6)
        self.alive = pg.ScatterPlotItem(symbol="o", size=6)
        self.ring = pg.ScatterPlotItem(symbol="o", size=15)
        add_items(self.scatter, (self.rays, self.clean_points, self.dead, self.alive, self.ring))
        self.ray_names = [pg.TextItem(f"purity {p:g}" if p > 0.9 else f"{p:g}") for p in PURITIES]
        add_items(self.scatter, self.ray_names)
        self.key = line()
        self.time = TimePlot("purity")
        self.time.add_curve("median", "median", BLUE, SKY, "o")
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
        top = QHBoxLayout()
        top.addWidget(self.count)
        top.addStretch(1)
        top.addWidget(self.show_clean)
        top.addWidget(line("Over time", wrap=False))
        top.addWidget(self.quantity)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 6, 8, 6)
        layout.addWidget(self.caption)
        layout.addLayout(top)
        layout.addWidget(self.pages, 1)

        self.mixture: Mixture | None = None
        self.clean: Mixture | None = None  # after clean training
        self._snapshot: Snapshot | None = None
        self._key: tuple[object, ...] = ()
        self._time_key: tuple[object, ...] = ()
        self._limits = [0.0, 0.0, 0.0]  # largest pure, mixture and bar so far in this run: axes only grow
        self._neuron = -1
        self.quantity.currentIndexChanged.connect(self._redraw_time)
        self.show_clean.toggled.connect(self._draw_clean)
        self.scatter.scene().sigMouseMoved.connect(self._move)
        self.scatter.scene().sigMouseClicked.connect(self._click)
        self.scatter.viewport().installEventFilter(self)
        self.set_theme(self.theme)

    def render(self, snapshot: Snapshot) -> None:  # type: ignore[override]
        """Show the mixtures of ``snapshot`` and its history."""
        if self._snapshot is not None and snapshot.run != self._snapshot.run:
            self.mixture = self.clean = None
            self._key = self._time_key = ()
            self._limits = [0.0, 0.0, 0.0]
            self.time.clear()
            self._draw_clean()
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

    def _take_clean(self, found: CleanMixture | None) -> None:
        """What was measured after clean training, if anything was; the session measures it once."""
        clean = None if found is None else found.mixture
        if clean is not self.clean:
            self.clean = clean
            self._draw_clean()

    def _draw_now(self, mixture: Mixture) -> None:
        alive = mixture.alive
        self.alive.setData(mixture.pure[alive], mixture.mixture[alive])
        self.dead.setData(mixture.pure[~alive], mixture.mixture[~alive])
        n = int(np.count_nonzero(alive))
        self.count.setText(f"n alive = {n:,} of {len(alive):,}")
        counts = np.histogram(mixture.dense_alignment[alive], BINS)[0]
        self.bars.setData(BINS, counts)
        self._grow(mixture, counts)
        self._ring()

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
        words = "" if clean is None else "  ○ and outline: after clean training"
        self.key.setText(f"● alive  × not alive  rays: equal purity{words}")

    def _grow(self, mixture: Mixture, counts: NDArray[np.int64]) -> None:
        """Let the axes hold all neurons and bars: they only grow."""
        tops = (float(mixture.pure.max(initial=0)), float(mixture.mixture.max(initial=0)), float(counts.max(initial=1)))
        if any(top > limit for top, limit in zip(tops, self._limits, strict=True)):
            self._limits = [max(ceiling(1.04 * t, 1), limit) for t, limit in zip(tops, self._limits, strict=True)]
            self._set_limits()

    def _redraw_time(self) -> None:
        self._time_key = ()
        if self._snapshot is not None:
            self._draw_time(self._snapshot)

    def _draw_time(self, snapshot: Snapshot) -> None:
        quantity, history = self.quantity.value, snapshot.history
        names = [metrics.mixture(quantity, s) for s in ("median", "q10", "q90")]
        found = [history[n] for n in names if n in history]
        length = min((len(s) for s in found), default=0) if len(found) == len(names) else 0
        total = snapshot.config.schedule.total if snapshot.scheduled else 0
        phases = spans(snapshot.events, snapshot.phase, snapshot.step)
        self.time.set_time(snapshot.step, total, phases, snapshot.events)
        if (quantity, length) == self._time_key:
            return
        self._time_key = quantity, length
        if length:
            median, low, high = (s.values[:length] for s in found)
            self.time.set_curve("median", found[0].steps[:length], median, low, high)
            top = 1.0 if quantity not in UNBOUNDED else ceiling(float(high.max()), 2)
        else:
            self.time.set_curve("median", [], [])
            top = 1.0
        label = QUANTITIES[quantity].partition("  ")[0] + (" (weight units)" if quantity in UNBOUNDED else "")
        self.time.curves["median"].label = f"median {quantity.replace('_', ' ')} [10%, 90%]"
        self.time.set_y(0.0, max(top, 1e-6), label)

    def highlight(self, neuron: int) -> None:
        """Ring the point of one neuron."""
        if neuron != self._neuron:
            self._neuron = neuron
            self._ring()

    def _ring(self) -> None:
        mixture, i = self.mixture, self._neuron
        if mixture is None or not 0 <= i < len(mixture.pure):
            self.ring.setData([], [])
        else:
            self.ring.setData([float(mixture.pure[i])], [float(mixture.mixture[i])])

    def neuron_at(self, position: QPointF, reach: float = 8.0) -> int:
        """The neuron within ``reach`` pixels of a scene position, or −1."""
        box = self.scatter.getViewBox()
        if self.mixture is None or not box.sceneBoundingRect().contains(position):
            return -1
        point = box.mapSceneToView(position)
        dx, dy = box.viewPixelSize()
        away = np.hypot((self.mixture.pure - point.x()) / dx, (self.mixture.mixture - point.y()) / dy)
        nearest = int(away.argmin())
        return nearest if away[nearest] <= reach else -1

    def _move(self, position: QPointF) -> None:
        neuron, mixture = self.neuron_at(position), self.mixture
        if neuron != self._neuron:
            self.highlight(neuron)
            self.neuron_hovered.emit(neuron)
        if neuron >= 0 and mixture is not None:
            self.scatter.setToolTip(
                f"neuron {neuron}, feature {mixture.feature[neuron]}: purity {mixture.purity[neuron]:.3f}, "
                f"dense alignment {mixture.dense_alignment[neuron]:.3f}"
            )

    def _click(self, event: pg.GraphicsScene.mouseEvents.MouseClickEvent) -> None:
        neuron = self.neuron_at(event.scenePos())
        if neuron >= 0 and event.button() == Qt.MouseButton.LeftButton:
            self.neuron_selected.emit(neuron)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Unmark when the mouse leaves the scatter."""
        if event.type() == QEvent.Type.Leave and self._neuron >= 0:
            self.highlight(-1)
            self.neuron_hovered.emit(-1)
        return super().eventFilter(watched, event)

    def set_theme(self, theme: Theme) -> None:
        """Recolour the plots and texts."""
        super().set_theme(theme)
        self.time.set_theme(theme)
        self.pages.set_theme(theme)
        main, other = QColor(SKY if theme.dark else BLUE), QColor(ORANGE if theme.dark else AMBER)
        for plot in (self.scatter, self.histogram):
            theme_plot(plot, theme)
        faint = QColor(other)
        faint.setAlpha(110)
        self.rays.setPen(pg.mkPen(theme.grid, width=1))  # dots would take ten times as long to paint
        for text in self.ray_names:
            text.setColor(theme.muted)
        self.clean_points.setPen(pg.mkPen(faint))
        self.clean_points.setBrush(None)
        self.dead.setPen(pg.mkPen(theme.muted))
        self.alive.setPen(None)
        fill = QColor(main)
        fill.setAlpha(170)
        self.alive.setBrush(pg.mkBrush(fill))
        self.ring.setPen(pg.mkPen(theme.text, width=2))
        self.ring.setBrush(None)
        self.bars.setPen(pg.mkPen(main, width=1))
        self.bars.setBrush(pg.mkBrush(fill))
        self.clean_bars.setPen(pg.mkPen(other, width=1))
        for label in (self.caption, self.key):
            tint(label, theme.muted)
        tint(self.count, theme.text)

    def options(self) -> dict[str, str]:
        """``quantity``: what is drawn over time."""
        return {"quantity": self.quantity.value}

    def set_options(self, options: dict[str, str]) -> None:
        """Inverse of :meth:`options`."""
        restore({"quantity": self.quantity}, options)
        self._redraw_time()
