"""Neurons, the home view: hidden weights as pictures, at the start, after clean training and now."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from PySide6.QtCore import QRectF, Qt, QTimer
from PySide6.QtWidgets import QDoubleSpinBox, QHBoxLayout, QPushButton, QSplitter, QVBoxLayout, QWidget

from engine.config.experiment import SPARSE_CODING
from engine.core.results import FloatArray, IntArray, Mixture, Weights
from engine.run.snapshot import Snapshot
from fp_gui.theme import Theme
from fp_gui.views.base import View, views
from fp_gui.views.gallery import ColourBar, Grid, TileGallery, best_columns, contrast, neuron_order
from fp_gui.views.inspector import Inspector
from fp_gui.views.widgets import Choice, Pages, Switch, ceiling, line, restore, tint

SPACES = {"pixel": "Pixels", "dictionary": "Dictionary"}
SORTS = {"purity": "purity", "mixture": "mixture", "norm": "norm", "feature": "feature", "index": "index"}
COUNTS = {"64": "64", "144": "144", "256": "256", "all": "all"}
MOST = 4096  # tiles in one gallery
AMPLIFY = 10
SAMPLE = 256  # neurons that the contrast is taken from: enough for a quantile, cheap at any m
RESORT_MS = 1000


@views.register("neurons")
class NeuronsView(View):
    """Three galleries of the same neurons in the same places, with one colour scale for all."""

    name: ClassVar[str] = "neurons"
    title: ClassVar[str] = "Neurons"
    wants: frozenset[type] = frozenset({Weights, Mixture})
    kinds: ClassVar[tuple[str, ...]] = (SPARSE_CODING,)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.caption = line(
            "Each tile is one hidden neuron's weights. Same neuron, same place, same colours in all three."
        )
        self.space = Choice(SPACES, "pixel", "Pixels: the weights w_i. Dictionary: their coefficients C = W M.")
        self.sort = Choice(
            SORTS, "norm", "Order, by the current weights, renewed once a second at most. Purity, mixture and norm: "
            "largest first.\nPurity: |C_ij|/‖C_i‖. Mixture: ‖v_i‖, all but the largest coefficient. Norm: ‖w_i‖.",
        )  # fmt: skip
        self.count = Choice(COUNTS, "64", f"How many neurons to show (all: at most {MOST:,}).")
        self.alive = Switch("Alive", "Only neurons with ‖w_i‖ above 0.3 of the largest.", on=True)
        self.freeze = Switch("Freeze", "Keep every neuron in its tile, whatever its values become.")
        self.amplify = Switch(
            f"Start × {AMPLIFY}", "Draw the small start weights ten times stronger; the title says so."
        )
        self.normalise = Switch(
            "Normalise each neuron",
            "Divide every neuron by its own norm, at each moment. Sizes can no longer be compared: a neuron that "
            "shrinks looks unchanged,\nand one that loses its mixture looks brighter.",
        )
        self.fixed = Switch("Fixed scale", "Set the colour scale by hand instead of letting it grow with the weights.")
        self.limit = QDoubleSpinBox()
        self.limit.setRange(0.001, 100.0)
        self.limit.setDecimals(3)
        self.limit.setValue(1.0)
        self.limit.setEnabled(False)
        self.limit.setToolTip("Weight at the end of the colour scale.")
        self.inspect = QPushButton("Inspect")
        self.inspect.setCheckable(True)
        self.inspect.setToolTip("Look at one neuron from close by; clicking a tile does the same.")
        self.bar = ColourBar()
        self.rule = line()
        self.status = line()
        self.status.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        self.galleries = (
            TileGallery("Start"),
            TileGallery(
                "After clean training", "Appears when clean training ends\n(press T, or let the schedule switch)."
            ),
            TileGallery("Now"),
        )
        self.inspector = Inspector()
        self.inspector.hide()
        self._build()

        self.weights: Weights | None = None
        self.mixture: Mixture | None = None
        self.order: IntArray = np.empty(0, np.int64)
        self._snapshot: Snapshot | None = None
        self._key: tuple[object, ...] = ()
        self._scales: dict[str, float] = {}
        self._clean_scale: dict[str, float] = {}
        self._clean: FloatArray | None = None
        self._drawn: tuple[object, ...] = ()
        self._neuron = -1
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(RESORT_MS)
        self._timer.timeout.connect(self._resort)
        self._stale = False
        self._sorting = 0  # counts the changes of the order
        self._connect()
        self.set_theme(self.theme)

    def _build(self) -> None:
        top = QHBoxLayout()
        top.setSpacing(8)
        for label, control in (("Show", self.space), ("by", self.sort), ("first", self.count)):
            top.addWidget(line(label, wrap=False))
            top.addWidget(control)
        top.addWidget(self.alive)
        top.addWidget(self.freeze)
        top.addStretch(1)
        top.addWidget(self.inspect)
        pictures = QWidget()
        row = QHBoxLayout(pictures)
        row.setContentsMargins(0, 0, 0, 0)
        for gallery in self.galleries:
            row.addWidget(gallery, 1)
        self.split = QSplitter(Qt.Orientation.Vertical)
        self.split.addWidget(pictures)
        self.split.addWidget(self.inspector)
        self.split.setSizes([500, 210])
        self.split.setStretchFactor(0, 1)
        self.split.setCollapsible(0, False)
        self.pages = Pages(self.split)
        scale = QHBoxLayout()
        scale.addWidget(self.bar)
        scale.addWidget(self.rule, 1)
        scale.addWidget(self.status, 1)
        bottom = QHBoxLayout()
        for part in (self.amplify, self.normalise, self.fixed, self.limit):
            bottom.addWidget(part)
        bottom.addStretch(1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 6, 8, 6)
        layout.addWidget(self.caption)
        layout.addLayout(top)
        layout.addWidget(self.pages, 1)
        layout.addLayout(scale)
        layout.addLayout(bottom)

    def _connect(self) -> None:
        self._controls: dict[str, Choice | Switch] = {
            "space": self.space, "sort": self.sort, "count": self.count,
            "alive": self.alive, "normalise": self.normalise,
        }  # fmt: skip
        for choice in (self.space, self.sort, self.count):
            choice.currentIndexChanged.connect(self._changed)
        for box in (self.alive, self.amplify, self.normalise, self.fixed):
            box.toggled.connect(self._changed)
        self.freeze.toggled.connect(self._resort)
        self.limit.valueChanged.connect(self._changed)
        self.inspect.toggled.connect(self._toggle)
        self.inspector.closed.connect(lambda: self.inspect.setChecked(False))
        self.inspector.chosen.connect(self._select)
        for gallery in self.galleries:
            gallery.hovered.connect(self._hover)
            gallery.clicked.connect(self._select)
            gallery.moved.connect(self._follow)
        self.galleries[0].resized.connect(self._redraw)

    def render(self, snapshot: Snapshot) -> None:  # type: ignore[override]
        """Show the weights of ``snapshot``; nothing if they are those already shown."""
        weights, mixture = snapshot.get(Weights), snapshot.get(Mixture)
        if weights is None or mixture is None:
            return
        key = (snapshot.run, snapshot.step, snapshot.phase, weights.clean is None)
        if key == self._key:
            return
        if not self._key or self._key[0] != snapshot.run:
            self._forget()
        self._key = key
        self._snapshot, self.weights, self.mixture = snapshot, weights, mixture
        if weights.clean is None or self._clean is None or not _same(weights.clean, self._clean):
            self._clean = weights.clean
            self._clean_scale.clear()
            self._drawn = ()
        if not len(self.order):
            self._sort()
        elif self._timer.isActive():
            self._stale = True
        elif not self.freeze.isChecked():
            self._sort()
        self.pages.show_content()
        self._redraw()

    def _forget(self) -> None:
        """A new run: nothing of the old one holds any more."""
        self._scales.clear()
        self._clean_scale.clear()
        self._clean = None
        self._drawn = ()
        self.order = np.empty(0, np.int64)
        self.inspector.record.clear()

    def _sort(self) -> None:
        if self.mixture is None:
            return
        count = MOST if self.count.value == "all" else int(self.count.value)
        order = neuron_order(self.mixture, self.sort.value, count=count, alive=self.alive.isChecked())
        if not np.array_equal(order, self.order):
            self.order = order
            self._sorting += 1
        self._stale = False
        self._timer.start()

    def _resort(self) -> None:
        """A second has passed since the last sorting; the weights may have changed after it."""
        if self._stale and not self.freeze.isChecked():
            self._sort()
            self._redraw()

    def _changed(self) -> None:
        """Another choice: sort and draw at once. What is chosen by hand beats a frozen order."""
        self.limit.setEnabled(self.fixed.isChecked() and not self.normalise.isChecked())
        self._sort()
        self._redraw()

    def scale(self) -> float:
        """The weight at the end of the colour scale: set by hand, or held and only growing within a run."""
        if self.fixed.isChecked() and not self.normalise.isChecked():
            return self.limit.value()
        return max(self._scales.get(self._basis(), 0.0), 1e-6)

    def _basis(self) -> str:
        """What the tiles show; each basis has its own scale."""
        return self.space.value + (" / norm" if self.normalise.isChecked() else "")

    def _grow(self, weights: Weights, mixture: Mixture, basis: str) -> None:
        alive = np.flatnonzero(mixture.alive) if mixture.alive.any() else np.arange(len(mixture.alive))
        alive = alive[:: -(-len(alive) // SAMPLE)]
        if weights.clean is not None and basis not in self._clean_scale:
            self._clean_scale[basis] = contrast(self._in(weights.clean[alive], weights, basis))
        found = max(self._clean_scale.get(basis, 0.0), contrast(self._in(weights.now[alive], weights, basis)))
        if found > self._scales.get(basis, 0.0):
            self._scales[basis] = ceiling(found)

    @staticmethod
    def _in(rows: FloatArray, weights: Weights, basis: str) -> FloatArray:
        found = rows @ weights.dictionary if basis.startswith("dictionary") else rows
        if basis.endswith("norm"):
            found = found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), np.float32(1e-12))
        return np.asarray(found, np.float32)

    def _redraw(self) -> None:
        weights, mixture, snapshot = self.weights, self.mixture, self._snapshot
        if weights is None or mixture is None or snapshot is None:
            return
        basis = self._basis()
        for name in {basis, "pixel"} if self.inspector.isVisibleTo(self) else {basis}:
            self._grow(weights, mixture, name)
        scale = self.scale()
        n = len(self.order)
        d = weights.now.shape[1] if self.space.value == "pixel" else weights.dictionary.shape[1]
        width, height = self.galleries[0].area()
        grid = Grid(self.order, best_columns(n, d, width, height), d)
        amplify = AMPLIFY if self.amplify.isChecked() and not self.normalise.isChecked() else 1
        drawn = (self._sorting, basis, scale, amplify, grid.columns, weights.clean is None)
        if drawn != self._drawn:  # start and after clean change only with what is chosen
            self._drawn = drawn
            self._show(0, weights.start, grid, scale / amplify)
            self._show(1, weights.clean, grid, scale)
        self._show(2, weights.now, grid, scale)
        self._write(snapshot, mixture, scale, amplify)
        if self.inspector.isVisibleTo(self):
            pixel = self.limit.value() if self.fixed.isChecked() else self._scales["pixel"]
            self.inspector.show_neuron(weights, mixture, snapshot.step, pixel)

    def _show(self, which: int, values: FloatArray | None, grid: Grid, scale: float) -> None:
        gallery, weights = self.galleries[which], self.weights
        if values is None or weights is None:
            gallery.show_placeholder()
            return
        gallery.show_tiles(self._in(values[self.order], weights, self._basis()), grid, scale)

    def _write(self, snapshot: Snapshot, mixture: Mixture, scale: float, amplify: int) -> None:
        normalise = self.normalise.isChecked()
        factor = "" if normalise else f" × {amplify}"
        self.galleries[0].title.setText(f"Start{factor}" + (", drawn stronger than it is" if amplify > 1 else ""))
        self.galleries[2].title.setText(f"Now: step {snapshot.step:,}, {snapshot.phase.replace('_', ' ')}")
        self.bar.set_scale(scale, " norm" if normalise else "")
        if normalise:
            rule = "Each neuron divided by its own norm: sizes cannot be compared."
        elif self.fixed.isChecked():
            rule = "One scale for all three, set by hand."
        else:
            rule = "One scale for all three; it only grows."
            self.rule.setToolTip("Its end is the 99.5% quantile of the weights after clean training and now.")
        self.rule.setText(rule)
        self._say(mixture)

    def _say(self, mixture: Mixture) -> None:
        i = self._neuron
        if 0 <= i < len(mixture.norm):
            text = (
                f"neuron {i}: feature {mixture.feature[i]}, purity {mixture.purity[i]:.3f}, "
                f"mixture {mixture.mixture[i]:.3f}, norm {mixture.norm[i]:.3f}"
            )
        else:
            alive = int(np.count_nonzero(mixture.alive))
            text = f"{len(self.order):,} shown · n alive = {alive:,} of {len(mixture.alive):,}"
        self.status.setText(text)

    def highlight(self, neuron: int) -> None:
        """Frame one neuron in the three pictures and tell its values."""
        self._neuron = neuron
        chosen = self.inspector.neuron if self.inspector.isVisibleTo(self) else -1
        for gallery in self.galleries:
            gallery.mark(neuron, chosen)
        if self.mixture is not None:
            self._say(self.mixture)

    def _hover(self, neuron: int) -> None:
        if neuron != self._neuron:
            self.highlight(neuron)
            self.neuron_hovered.emit(neuron)

    def _select(self, neuron: int) -> None:
        self.inspector.select(neuron)
        self.inspect.setChecked(True)
        self.inspector.show()
        self.highlight(self._neuron)
        self._redraw()
        self.neuron_selected.emit(neuron)

    def select(self, neuron: int) -> None:
        """Open the inspector on one neuron, because it was clicked in another view."""
        if neuron != self.inspector.neuron or not self.inspect.isChecked():
            self._select(neuron)

    def _toggle(self, shown: bool) -> None:
        if shown and self.inspector.neuron < 0 and len(self.order):
            self.inspector.select(int(self.order[0]))
        self.inspector.setVisible(shown)
        self.highlight(self._neuron)
        self._redraw()

    def _follow(self, area: QRectF) -> None:
        for gallery in self.galleries:
            if gallery is not self.sender():
                gallery.fit() if area.isNull() else gallery.set_area(area)

    def set_theme(self, theme: Theme) -> None:
        """Recolour pictures, bar and texts."""
        super().set_theme(theme)
        for part in (*self.galleries, self.bar, self.inspector, self.pages):
            part.set_theme(theme)
        for label in (self.caption, self.rule):
            tint(label, theme.muted)
        tint(self.status, theme.text)

    def options(self) -> dict[str, str]:
        """``space``, ``sort``, ``count``, ``alive``, ``normalise``."""
        return {name: control.value for name, control in self._controls.items()}

    def set_options(self, options: dict[str, str]) -> None:
        """Inverse of :meth:`options`."""
        restore(self._controls, options)
        self._changed()


def _same(a: FloatArray, b: FloatArray) -> bool:
    return a is b or np.array_equal(a, b)
