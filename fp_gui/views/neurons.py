"""Neurons, the home view: hidden weights as pictures, at the start, after clean training and now."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QPushButton, QSplitter, QVBoxLayout, QWidget

from engine.core.results import FloatArray, IntArray, Mixture, Weights
from engine.figures.declare import ViewDeclaration, phase
from engine.figures.neurons import VIEW
from engine.figures.order import neuron_order
from engine.figures.panels import picture_size
from engine.run.snapshot import Snapshot
from fp_gui.folding import ControlRow
from fp_gui.number_boxes import DecimalBox
from fp_gui.theme import Theme
from fp_gui.views.base import views
from fp_gui.views.gallery import ColourBar, Grid, TileGallery
from fp_gui.views.gallery_view import NOT_YET, GalleryView, row_of
from fp_gui.views.inspector import Inspector
from fp_gui.views.widgets import Choice, Pages, Switch, line, moment_name

AMPLIFY = 10
INSPECTOR_HEIGHT = 210  # pixels, at first


@views.register(VIEW.name, order=VIEW.order)
class NeuronsView(GalleryView[TileGallery]):
    """Three galleries of the same neurons in the same places, with one colour scale for all."""

    declaration: ClassVar[ViewDeclaration] = VIEW
    wants: frozenset[type] = frozenset({Weights, Mixture})

    def __init__(self, parent: QWidget | None = None) -> None:
        galleries = TileGallery("Start"), TileGallery("After clean training", NOT_YET), TileGallery("Now")
        super().__init__(galleries, ColourBar(), parent)
        self.caption.setText(
            "Each tile is one hidden neuron's weights. Same neuron, same place, same colours in all three."
        )
        self.space = Choice.of(VIEW.option("space"))
        self.alive = Switch.of("Alive", VIEW.option("alive"))
        self.normalise = Switch.of("Normalise each neuron", VIEW.option("normalise"))
        self.controls |= {"space": self.space, "alive": self.alive, "normalise": self.normalise}
        self.freeze = Switch("Freeze", "Keep every neuron in its tile, whatever its values become.")
        self.amplify = Switch(
            f"Enlarge start × {AMPLIFY}", "Draw the small start weights ten times stronger; the title says so."
        )
        self.fixed = Switch("Fixed scale", "Set the colour scale by hand instead of letting it grow with the weights.")
        self.limit = DecimalBox()
        self.limit.setRange(0.001, 100.0)
        self.limit.setDecimals(3)
        self.limit.setValue(1.0)
        self.limit.setEnabled(False)
        self.limit.setToolTip("Weight at the end of the colour scale.")
        self.limit.setAccessibleName("Weight at the end of the colour scale")
        self.inspect = QPushButton("Inspect")
        self.inspect.setCheckable(True)
        self.inspect.setToolTip("Look at one neuron from close by; clicking a tile does the same.")
        self.status.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        self._inspector: Inspector | None = None
        self._build()
        self.weights: Weights | None = None
        self.mixture: Mixture | None = None
        self._snapshot: Snapshot | None = None
        self._key: tuple[object, ...] = ()
        self.connect_all()
        self._connect()
        self.set_theme(self.theme)

    def _build(self) -> None:
        top = ControlRow(8)
        for label, control in (("Show", self.space), ("by", self.sort), ("first", self.count)):
            top.add(line(label, wrap=False), control)
        for part in (self.alive, self.freeze, self.resort):
            top.add(part)
        top.add_stretch()
        top.add(self.inspect)
        self.split = QSplitter(Qt.Orientation.Vertical)
        self.split.addWidget(row_of(*self.galleries))
        self.split.setStretchFactor(0, 1)
        self.split.setCollapsible(0, False)
        self.pages = Pages(self.split)
        scale = ControlRow()
        scale.add(self.bar)
        scale.add(self.rule, stretch=1)
        scale.add(self.status, stretch=1)
        for part in (self.amplify, self.normalise):
            scale.add(part)
        scale.add(self.fixed, self.limit)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 6, 8, 6)
        layout.addWidget(self.caption)
        layout.addWidget(top)
        layout.addWidget(self.pages, 1)
        layout.addWidget(scale)

    def _connect(self) -> None:
        for box in (self.amplify, self.fixed):
            box.toggled.connect(self.changed)
        self.freeze.toggled.connect(self._thaw)
        self.limit.valueChanged.connect(self.changed)
        self.inspect.toggled.connect(self._toggle)

    @property
    def inspector(self) -> Inspector:
        """One neuron from close by; made when it is first asked for, because its plots take long to make."""
        if self._inspector is None:
            self._inspector = made = Inspector()
            made.hide()
            made.set_theme(self.theme)
            made.closed.connect(lambda: self.inspect.setChecked(False))
            made.chosen.connect(self.choose)
            self.split.addWidget(made)
            self.split.setSizes([max(self.split.height() - INSPECTOR_HEIGHT, 0), INSPECTOR_HEIGHT])
        return self._inspector

    @property
    def inspecting(self) -> bool:
        """Whether one neuron is looked at from close by."""
        return self._inspector is not None and not self._inspector.isHidden()

    def render(self, snapshot: Snapshot) -> None:  # type: ignore[override]
        """Show the weights of ``snapshot``; nothing if they are those already shown."""
        self.turn_to(snapshot)
        weights, mixture = snapshot.get(Weights), snapshot.get(Mixture)
        if weights is None or mixture is None:
            return
        key = (snapshot.run, snapshot.step, snapshot.phase, weights.clean is None)
        if key == self._key:
            return
        self._key = key
        self._snapshot, self.weights, self.mixture = snapshot, weights, mixture
        if self.inspecting and self.inspector.neuron >= len(weights.now):
            self.inspector.select(-1)  # this network has no such neuron
        self.renew_order()
        if self.inspecting and self.inspector.neuron < 0 and len(self.order):
            self.inspector.select(int(self.order[0]))
        self.pages.show_content()
        self.redraw()

    def forget(self) -> None:
        """The inspector stays with its neuron, if the next network has such a one."""
        super().forget()
        self._key = ()
        self._snapshot = self.weights = self.mixture = None
        if self._inspector is not None:
            self._inspector.forget()
            if not self.inspecting:
                self._inspector.select(-1)

    def _thaw(self) -> None:
        """No longer frozen: sort at once."""
        if not self.frozen:
            self._resort()

    @property
    def frozen(self) -> bool:
        """Whether every neuron stays in its tile."""
        return self.freeze.isChecked()

    def find_order(self, sort: str, count: int) -> IntArray | None:
        """The first neurons by ``sort``, alive ones alone if so chosen."""
        if self.mixture is None:
            return None
        return neuron_order(self.mixture, sort, count=count, alive=self.alive.isChecked())

    def changed(self) -> None:
        """Another choice."""
        self.limit.setEnabled(self.fixed.isChecked() and not self.normalise.isChecked())
        super().changed()

    def scale(self) -> float:
        """The weight at the end of the colour scale: set by hand, or held and only growing within a run."""
        if self.fixed.isChecked() and not self.normalise.isChecked():
            return self.limit.value()
        return super().scale()

    def basis(self) -> str:
        """Pixels or dictionary, each divided by the neuron's norm or not."""
        return self.space.value + (" / norm" if self.normalise.isChecked() else "")

    def in_basis(self, weights: FloatArray, basis: str) -> FloatArray:
        """Rows (n, d) of weights in a basis."""
        assert self.weights is not None
        found = weights @ self.weights.dictionary if basis.startswith("dictionary") else weights
        if basis.endswith("norm"):
            found = found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), np.float32(1e-12))
        return np.asarray(found, np.float32)

    def redraw(self) -> None:
        """Draw the galleries, and the inspector if it is open."""
        weights, mixture, snapshot = self.weights, self.mixture, self._snapshot
        if weights is None or mixture is None or snapshot is None:
            return
        basis, moments = self.basis(), {"start": weights.start, "clean": weights.clean, "now": weights.now}
        alive = np.flatnonzero(mixture.alive) if mixture.alive.any() else np.arange(len(mixture.alive))
        for name in {basis, "pixel"} if self.inspecting else {basis}:
            self.grow(moments, alive, name)
        d = weights.now.shape[1] if self.space.value == "pixel" else weights.dictionary.shape[1]
        self.draw_moments(moments, self.grid(self.order, picture_size(d), d), (basis, self.scale(), self._factor))
        self._write(snapshot, mixture)
        if self.inspecting:
            pixel = self.limit.value() if self.fixed.isChecked() else self._levels["pixel"]
            self.inspector.show_neuron(weights, mixture, snapshot.step, pixel)

    def show_moment(self, gallery: TileGallery, moment: str, weights: FloatArray, grid: Grid) -> None:
        """Rows of weights as tiles, those of the start stronger if so chosen."""
        scale = self.scale() / (self._factor if moment == "start" else 1)
        gallery.show_tiles(self.in_basis(weights, self.basis()), grid, scale)

    @property
    def _factor(self) -> int:
        return AMPLIFY if self.amplify.isChecked() and not self.normalise.isChecked() else 1

    def _write(self, snapshot: Snapshot, mixture: Mixture) -> None:
        normalise, amplify = self.normalise.isChecked(), self._factor
        self.galleries[0].title.setText(f"Start × {amplify}, drawn stronger than it is" if amplify > 1 else "Start")
        self.galleries[2].title.setText(f"{moment_name(snapshot)}, {phase(snapshot.phase).name}")
        self.bar.set_scale(self.scale(), " norm" if normalise else "")
        if normalise:
            rule = "Each neuron divided by its own norm: sizes cannot be compared."
        elif self.fixed.isChecked():
            rule = "One scale for all three, set by hand."
        else:
            rule = "One scale for all three; it only grows."
            self.rule.setToolTip("Its end is the 99.5% quantile of the weights after clean training and now.")
        self.rule.setText(rule)
        self.mark(self._neuron)

    @property
    def selected(self) -> int:
        """The neuron that is inspected."""
        return self.inspector.neuron if self.inspecting else -1

    def unit_text(self, unit: int) -> str:
        """The values of a neuron, or how many are alive."""
        mixture = self.mixture
        if mixture is None:
            return ""
        if 0 <= unit < len(mixture.norm):
            return (
                f"neuron {unit}: feature {mixture.feature[unit]}, purity {mixture.purity[unit]:.3f}, "
                f"mixture {mixture.mixture[unit]:.3f}, norm {mixture.norm[unit]:.3f}"
            )
        alive = int(np.count_nonzero(mixture.alive))
        return f"{len(self.order):,} shown · n alive = {alive:,} of {len(mixture.alive):,}"

    def choose(self, unit: int) -> None:
        """Open the inspector on one neuron, because it was clicked."""
        self.inspector.select(unit)
        self.inspect.setChecked(True)
        self.inspector.show()
        self.keep_in_sight()
        self.redraw()
        self.neuron_selected.emit(unit)

    def select(self, neuron: int) -> None:
        """Open the inspector on one neuron, because it was clicked in another view; −1 closes it."""
        if neuron < 0:
            self.inspect.setChecked(False)
        elif self.weights is not None and neuron >= len(self.weights.now):
            return  # this network has no such neuron
        elif not self.inspect.isChecked() or neuron != self.inspector.neuron:
            self.choose(neuron)
        self.highlight(neuron)

    def _toggle(self, shown: bool) -> None:
        if shown and self.inspector.neuron < 0 and len(self.order):
            self.inspector.select(int(self.order[0]))
        if shown or self._inspector is not None:
            self.inspector.setVisible(shown)
        self.redraw()
        if self._snapshot is not None:
            self.neuron_selected.emit(self.selected)

    def set_theme(self, theme: Theme) -> None:
        """Recolour the inspector, too."""
        super().set_theme(theme)
        if self._inspector is not None:
            self._inspector.set_theme(theme)
