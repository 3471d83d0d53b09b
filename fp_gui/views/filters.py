"""Neurons of a network on images, its home view: first filters in colour, deeper units by feature visualisation."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from PySide6.QtCore import QRectF, QSignalBlocker, Qt, QTimer
from PySide6.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget

from engine.config.experiment import IMAGES
from engine.core.results import FeatureRequest, Features, Filters, FloatArray, IntArray, LayerInfo
from engine.run.commands import Visualise
from engine.run.snapshot import Snapshot
from fp_gui.theme import Theme
from fp_gui.views.base import View, views
from fp_gui.views.feature_visualisation import FeatureControls, protocol_text
from fp_gui.views.gallery import Grid, columns_for
from fp_gui.views.pictures import PictureGallery, WeightBar, image_colours, signed_colours, weight_colours
from fp_gui.views.unit_text import UnitFacts, layer_text
from fp_gui.views.widgets import Choice, Pages, Switch, ceiling, line, restore, tint

SORTS = {"index": "index", "norm": "norm", "change": "change"}
COUNTS = {"64": "64", "144": "144", "256": "256", "all": "all"}
MOST = 4096  # tiles in one gallery
RESORT_MS = 1000
FIRST = ""  # the first layer, whatever its name
MOMENTS = {"start": "Start", "clean": "After clean", "now": "Now"}
NOT_YET = "Appears when clean training ends\n(press T, or let the schedule switch)."
PRESS_START = "Press Start to make the pictures of these units."
TERMS = (
    "w⁰, w, w′: a unit's weights at the start, after clean training, now.\n"
    "Norm: ‖w′‖, largest first. Change: the cosine (w, w′), or (w⁰, w′) before clean training has ended; "
    "what turned most comes first."
)


@views.register("filters")
class FiltersView(View):
    """Three galleries of the same units in the same places: weights on one scale, or pictures that activate them."""

    name: ClassVar[str] = "filters"
    title: ClassVar[str] = "Neurons"
    wants: frozenset[type] = frozenset({Filters})
    kinds: ClassVar[tuple[str, ...]] = (IMAGES,)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.caption = line()
        self.layer = Choice(
            {FIRST: "first layer"}, FIRST, "Layer. The first layer's weights are pictures themselves; of the others, "
            "pictures that activate a unit most are made.",
        )  # fmt: skip
        self.layer.setMinimumContentsLength(12)
        self.sort = Choice(SORTS, "index", "Order of the units, renewed once a second at most.\n" + TERMS)
        self.count = Choice(COUNTS, "64", f"How many units to show (all: at most {MOST:,}).")
        self.scaled = Switch(
            "Each filter scaled",
            "Divide every picture by its own largest weight. Sizes can no longer be compared:\na filter that shrinks "
            "looks unchanged, and noise that is left looks stronger than it is.",
        )
        self.signed = Switch("Blue–orange", "Draw weights of one channel in blue below and orange above zero.")
        self.feature_controls = FeatureControls()
        self.bar = WeightBar()
        self.rule = line()
        self.rule.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.status = line()
        self.status.setAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignTop)
        self.status.setMinimumHeight(2 * self.fontMetrics().lineSpacing())  # room for two lines: tiles must not jump
        self.galleries = (
            PictureGallery("Start", NOT_YET), PictureGallery("After clean", NOT_YET), PictureGallery("Now", NOT_YET)
        )  # fmt: skip
        self._first_controls = [line("by", wrap=False), self.sort, line("first", wrap=False), self.count]
        self._build()

        self.filters: Filters | None = None
        self.facts: UnitFacts | None = None
        self.features: Features | None = None  # those shown
        self.order: IntArray = np.empty(0, np.int64)
        self._layers: tuple[LayerInfo, ...] = ()
        self._stored = FIRST  # a layer chosen before it is known whether it exists
        self._snapshot: Snapshot | None = None
        self._key: tuple[object, ...] = ()
        self._seen: Features | None = None  # the newest
        self._scales: dict[str, float] = {}
        self._drawn: tuple[object, ...] = ()
        self._kept: tuple[FloatArray | None, ...] = ()
        self._neuron = self._selected = -1
        self._sorting = 0  # counts the changes of the order
        self._stale = False
        self._timer = QTimer(self, singleShot=True, interval=RESORT_MS)
        self._timer.timeout.connect(self._resort)
        self._connect()
        self.set_theme(self.theme)
        self._switch_layer()

    def _build(self) -> None:
        top = QHBoxLayout()
        top.setSpacing(6)
        top.addWidget(line("Layer", wrap=False))
        top.addWidget(self.layer, 1)
        for part in self._first_controls:
            top.addWidget(part)
        top.addStretch(0)
        body = QWidget()
        row = QHBoxLayout(body)
        row.setContentsMargins(0, 0, 0, 0)
        for gallery in self.galleries:
            row.addWidget(gallery, 1)
        self.pages = Pages(body)
        scale = QHBoxLayout()
        scale.addWidget(self.bar)
        scale.addWidget(self.rule, 1)
        bottom = QHBoxLayout()
        bottom.addWidget(self.scaled)
        bottom.addWidget(self.signed)
        bottom.addStretch(1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 6, 8, 6)
        layout.addWidget(self.caption)
        layout.addLayout(top)
        layout.addWidget(self.feature_controls)
        layout.addWidget(self.pages, 1)
        layout.addLayout(scale)
        layout.addLayout(bottom)
        layout.addWidget(self.status)

    def _connect(self) -> None:
        self._controls: dict[str, Choice | Switch] = {
            "sort": self.sort, "count": self.count, "scaled": self.scaled, "signed": self.signed
        }  # fmt: skip
        self.layer.currentIndexChanged.connect(self._switch_layer)
        for choice in (self.sort, self.count):
            choice.currentIndexChanged.connect(self._changed)
        for box in (self.scaled, self.signed):
            box.toggled.connect(self._changed)
        self.feature_controls.requested.connect(self._ask)
        for gallery in self.galleries:
            gallery.hovered.connect(self._hover)
            gallery.clicked.connect(self._select)
            gallery.moved.connect(self._follow)
        self.galleries[0].resized.connect(self._redraw)

    @property
    def deep(self) -> bool:
        """Whether a layer is chosen whose weights are no pictures."""
        return self.layer.value != FIRST

    def render(self, snapshot: Snapshot) -> None:  # type: ignore[override]
        """Show what ``snapshot`` has of the chosen layer; nothing if that is shown already."""
        filters, features = snapshot.get(Filters), snapshot.get(Features)
        if filters is None:
            return
        key = (snapshot.run, snapshot.step, snapshot.phase, filters.clean is None)
        if key == self._key and (features is None or features is self._seen):
            return
        if not self._key or self._key[0] != snapshot.run:
            self._forget()
        changed = key != self._key
        self._key, self._snapshot, self.filters = key, snapshot, filters
        self._know(filters.layers)
        self._take(features)
        if changed and not self.deep:
            self._measure(filters)
        self.pages.show_content()
        self._redraw()

    def _forget(self) -> None:
        """A new run: nothing of the old one holds any more."""
        self._stored = self.options()["layer"]
        self._scales.clear()
        self._drawn, self._layers = (), ()
        self.features = self._seen = self.facts = None
        self.order = np.empty(0, np.int64)
        self._selected = -1
        self.feature_controls.forget()

    def _know(self, layers: tuple[LayerInfo, ...]) -> None:
        """Fill the chooser with a network's layers; a stored choice that it does not have is dropped."""
        if layers == self._layers:
            return
        self._layers = layers
        with QSignalBlocker(self.layer):
            self.layer.clear()
            for i, each in enumerate(layers):
                self.layer.addItem(layer_text(each), each.name if i else FIRST)
            self.layer.setCurrentIndex(max(0, self.layer.findData(self._stored)))
        self._stored = FIRST
        self._switch_layer()

    def _take(self, features: Features | None) -> None:
        """New pictures. A complete set stays until its renewal is complete, too: nothing goes back to the origin."""
        if features is None or not features.request.units:
            return
        self._seen = features
        shown = self.features
        if shown is None or shown.request != features.request or shown.share < 1 or features.share >= 1:
            self.features = features
        if features.request == self.feature_controls.live:
            self.feature_controls.show_progress(features)

    def _measure(self, filters: Filters) -> None:
        self.facts = UnitFacts.of(filters)
        if not len(self.order) or not self._timer.isActive():
            self._sort()
        else:
            self._stale = True

    def _sort(self) -> None:
        if self.facts is None:
            return
        count = MOST if self.count.value == "all" else int(self.count.value)
        order = self.facts.order(self.sort.value)[:count]
        if not np.array_equal(order, self.order):
            self.order = order
            self._sorting += 1
        self._stale = False
        self._timer.start()

    def _resort(self) -> None:
        """A second has passed since the last sorting; the weights may have changed after it."""
        if self._stale:
            self._sort()
            self._redraw()

    def _changed(self) -> None:
        """Another choice of order, number or colours."""
        self._drawn = ()
        self._sort()
        self._redraw()

    def _switch_layer(self) -> None:
        """Another layer was chosen: other controls, and other results are needed."""
        deep = self.deep
        self.wants = frozenset({Filters, Features}) if deep else frozenset({Filters})
        for part in (*self._first_controls, self.bar, self.scaled):
            part.setVisible(not deep)
        self.feature_controls.setVisible(deep)
        self.caption.setText(
            "Each tile is a picture that activates one unit as much as a small change allows."
            if deep
            else "Each tile is one unit's weights. Same unit, same place, same contrast in all three."
        )
        self._drawn = ()
        self._neuron = self._selected = -1
        chosen = next((each for each in self._layers if each.name == self.layer.value), None)
        if chosen is not None:
            self.feature_controls.set_layer(chosen)
        elif self.filters is not None and not deep:
            self._measure(self.filters)
        self.signed.setVisible(not deep and self.filters is not None and self.filters.now.shape[1] == 1)
        self._redraw()

    def _ask(self, request: FeatureRequest) -> None:
        self.command_requested.emit(Visualise(request))
        self._redraw()

    # -- drawing -------------------------------------------------------------------------------------------------

    def scale(self) -> float:
        """The weight at the ends of the colours: the largest of all three moments, rounded up; it only grows."""
        return max(self._scales.get("weights", 0.0), 1e-6)

    def _grow(self, filters: Filters) -> None:
        kept = (filters.start, filters.clean)
        if len(self._kept) != 2 or any(a is not b for a, b in zip(self._kept, kept, strict=True)):
            self._kept = kept
            self._scales["kept"] = max(_largest(a) for a in kept)
            self._drawn = ()
        found = max(self._scales.get("kept", 0.0), _largest(filters.now))
        if found > self._scales.get("weights", 0.0):
            self._scales["weights"] = ceiling(found)

    def _redraw(self) -> None:
        if self.filters is None or self._snapshot is None:
            return
        if self.deep:
            self._draw_features(self._snapshot)
        elif self.facts is not None:
            self._draw_filters(self.filters, self._snapshot)
        self._mark(self._neuron)

    def _draw_filters(self, filters: Filters, snapshot: Snapshot) -> None:
        self._grow(filters)
        grid = self._grid(self.order, filters.now.shape[2:], 0)
        drawn = (self._sorting, self.scale(), grid.columns, self.scaled.value, self.signed.value, self.theme)
        # Start and after clean change only with what is chosen.
        changing = (0, 1, 2) if drawn != self._drawn else (2,)
        self._drawn = drawn
        for i, values in enumerate((filters.start, filters.clean, filters.now)):
            if i not in changing:
                continue
            if values is None:
                self.galleries[i].placeholder.setText(NOT_YET)
                self.galleries[i].show_placeholder()
            else:
                self.galleries[i].show_pictures(self._colours(values[self.order]), grid)
        self.galleries[2].title.setText(f"Now: step {snapshot.step:,}")
        if self.scaled.isChecked():
            self.bar.set_scale(1.0, " largest")
            self.rule.setText("Each filter divided by its own largest weight: sizes cannot be compared.")
        else:
            self.bar.set_scale(self.scale())
            self.rule.setText("One contrast for all three; it only grows.")
            self.rule.setToolTip("Its end is the largest absolute weight of all units and all three, rounded up.")
        signed = self.signed.isChecked() and filters.now.shape[1] == 1
        self.bar.set_signed(signed)

    def _colours(self, weights: FloatArray) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
        scale = self.scale()
        if self.scaled.isChecked():
            largest = np.abs(weights).max(axis=(1, 2, 3), keepdims=True, initial=0.0)
            weights, scale = weights / np.maximum(largest, np.float32(1e-12)), 1.0
        if self.signed.isChecked() and weights.shape[1] == 1:
            return signed_colours(weights, scale, self.theme)
        return weight_colours(weights, scale)

    def _draw_features(self, snapshot: Snapshot) -> None:
        features = self.features
        if features is None or features.request.layer != self.layer.value:
            waiting = "Making the pictures." if self.feature_controls.live is not None else PRESS_START
            for gallery in self.galleries:
                gallery.placeholder.setText(waiting)
                gallery.show_placeholder()
            self.rule.setText("")
            return
        units = np.array(features.request.units, np.int64)
        shape = features.origin.shape[1:]
        grid = self._grid(units, shape, max(2, round(0.24 * shape[0])))
        for gallery, moment in zip(self.galleries, MOMENTS, strict=True):
            pictures = features.pictures.get(moment)
            if pictures is None:
                gallery.placeholder.setText(NOT_YET)
                gallery.show_placeholder()
            else:
                values = features.activations[moment]
                captions = [
                    (f"{unit} · {_signed(value)}", f"{unit}") for unit, value in zip(units, values, strict=True)
                ]
                gallery.show_pictures(image_colours(pictures), grid, captions)
        self.galleries[2].title.setText(f"Now: step {features.step:,}")
        told = features.share >= 1 or self.feature_controls.live is not None  # by the progress bar
        share = "" if told else f" {features.share:.0%} done."
        self.rule.setText(protocol_text(features, snapshot.config.seed) + share)
        self.rule.setToolTip(
            "Under each picture: the unit, and its activation on it: before the ReLU, the mean over its positions.\n"
            "Pictures are shown as they are: a pixel of 0 is black, one of 1 is white."
        )

    def _grid(self, order: IntArray, shape: tuple[int, ...], gap: int) -> Grid:
        width, height = self.galleries[0].area()
        cell = shape[0] + 1 + gap, shape[1] + 1
        return Grid(order, columns_for(len(order), cell, width, height), 0, (shape[0], shape[1]), gap)

    # -- one unit ------------------------------------------------------------------------------------------------

    def unit_text(self, unit: int) -> str:
        """What is known of a unit; of all units for −1."""
        features, facts = self.features, self.facts
        if self.deep:
            if features is None or features.request.layer != self.layer.value:
                return ""
            if unit not in features.request.units:
                total = self.feature_controls.layer.units
                return f"{len(features.request.units)} of {total:,} units, each with its activation"
            i = features.request.units.index(unit)
            told = [f"{MOMENTS[m].lower()} {_signed(a[i])}" for m, a in features.activations.items()]
            return f"unit {unit}: activation {', '.join(told)}"
        if facts is None:
            return ""
        if 0 <= unit < len(facts.norm):
            return facts.text(unit)
        return f"{len(self.order):,} of {len(facts.norm):,} units · {facts.means()}"

    def highlight(self, neuron: int) -> None:
        """Frame one unit in the three pictures and tell its values, if the first layer is shown, which others mean."""
        if not self.deep:
            self._mark(neuron)

    def _mark(self, neuron: int) -> None:
        self._neuron = neuron
        for gallery in self.galleries:
            gallery.mark(neuron, self._selected)
        text = self.unit_text(neuron if neuron >= 0 else self._selected)
        self.status.setText(text)
        for gallery in self.galleries:
            gallery.plot.setToolTip(text if neuron >= 0 else "")

    def _hover(self, neuron: int) -> None:
        if neuron != self._neuron:
            self._mark(neuron)
            if not self.deep:
                self.neuron_hovered.emit(neuron)

    def _select(self, neuron: int) -> None:
        self._selected = neuron
        self._mark(self._neuron)
        if not self.deep:
            self.neuron_selected.emit(neuron)

    def _follow(self, area: QRectF) -> None:
        for gallery in self.galleries:
            if gallery is not self.sender():
                gallery.fit() if area.isNull() else gallery.set_area(area)

    def set_theme(self, theme: Theme) -> None:
        """Recolour pictures, bar and texts."""
        super().set_theme(theme)
        for part in (*self.galleries, self.bar, self.pages, self.feature_controls):
            part.set_theme(theme)
        for label in (self.caption, self.rule):
            tint(label, theme.muted)
        tint(self.status, theme.text)
        self._redraw()

    def options(self) -> dict[str, str]:
        """``layer`` (empty: the first), ``sort``, ``count``, ``scaled``, ``signed``, and feature visualisation's."""
        layer = self.layer.value if self._layers else self._stored
        return {"layer": layer} | {n: c.value for n, c in self._controls.items()} | self.feature_controls.options()

    def set_options(self, options: dict[str, str]) -> None:
        """Inverse of :meth:`options`. Which layers there are is known with the first snapshot only."""
        restore(self._controls, options)
        self.feature_controls.set_options(options)
        if "layer" in options:
            if self._layers:
                self.layer.value = options["layer"]
            else:
                self._stored = options["layer"]
        self._changed()


def _largest(values: FloatArray | None) -> float:
    return 0.0 if values is None else float(np.abs(values).max(initial=0.0))


def _signed(value: float) -> str:
    return f"{value:.2f}".replace("-", "−")
