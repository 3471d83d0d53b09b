"""Neurons of a network on images, its home view: first filters in colour, deeper units by feature visualisation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QVBoxLayout, QWidget

from engine.core.results import FeatureRequest, Features, Filters, FloatArray, IntArray
from engine.figures.declare import ViewDeclaration
from engine.figures.filters import VIEW, scaled_each
from engine.figures.order import UnitFacts
from engine.run.commands import Visualise
from engine.run.snapshot import Snapshot
from fp_gui.folding import ControlRow
from fp_gui.theme import Theme
from fp_gui.views.base import views
from fp_gui.views.feature_visualisation import FeatureControls, protocol_text
from fp_gui.views.gallery import Grid
from fp_gui.views.gallery_view import MOMENTS, NOT_YET, GalleryView, missing, row_of
from fp_gui.views.layer_choice import LayerChoice
from fp_gui.views.pictures import PictureGallery, WeightBar, image_colours, signed_colours, weight_colours
from fp_gui.views.unit_text import layer_text, means_text, unit_text
from fp_gui.views.widgets import Pages, Switch, line, moment_name

FIRST = ""  # the first layer, whatever its name
PRESS_START = "Press Start to make the pictures of these units."


@views.register(VIEW.name, order=VIEW.order)
class FiltersView(GalleryView[PictureGallery]):
    """Three galleries of the same units in the same places: weights on one scale, or pictures that activate them."""

    declaration: ClassVar[ViewDeclaration] = VIEW
    wants: frozenset[type] = frozenset({Filters})

    def __init__(self, parent: QWidget | None = None) -> None:
        start, clean, now = (PictureGallery(title, NOT_YET) for title in MOMENTS.values())
        self.weight_bar = WeightBar()
        super().__init__((start, clean, now), self.weight_bar, parent)
        layer = VIEW.option("layer")
        self.layer = LayerChoice(layer.choices, layer.doc, layer_text, one_is_first=True)
        self.layer.setMinimumContentsLength(12)
        self.scaled = Switch.of("Each filter scaled", VIEW.option("scaled"))
        self.signed = Switch.of("Blue–orange", VIEW.option("signed"))
        self.controls |= {"scaled": self.scaled, "signed": self.signed}
        self.feature_controls = FeatureControls()
        self.rule.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.status.setAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignTop)
        self._first_controls = [
            line("by", wrap=False), self.sort, line("first", wrap=False), self.count, self.resort,
        ]  # fmt: skip
        self._build()

        self.filters: Filters | None = None
        self.facts: UnitFacts | None = None
        self.features: Features | None = None  # those shown
        self._snapshot: Snapshot | None = None
        self._key: tuple[object, ...] = ()
        self._seen: Features | None = None  # the newest
        self._selected = -1
        self.layer.currentIndexChanged.connect(self._switch_layer)
        self.feature_controls.requested.connect(self._ask)
        self.connect_all()
        self.set_theme(self.theme)
        self._switch_layer()

    def _build(self) -> None:
        top = ControlRow()
        top.add(line("Layer", wrap=False), self.layer, stretch=1)
        by, sort, first, count, resort = self._first_controls
        top.add(by, sort)
        top.add(first, count)
        top.add(resort)
        self.pages = Pages(row_of(*self.galleries))
        scale = ControlRow()
        scale.add(self.bar)
        scale.add(self.rule, stretch=1)
        bottom = ControlRow()
        bottom.add(self.scaled)
        bottom.add(self.signed)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 6, 8, 6)
        layout.addWidget(self.caption)
        layout.addWidget(top)
        layout.addWidget(self.feature_controls)
        layout.addWidget(self.pages, 1)
        layout.addWidget(scale)
        layout.addWidget(bottom)
        layout.addWidget(self.status)

    @property
    def deep(self) -> bool:
        """Whether a layer is chosen whose weights are no pictures."""
        return self.layer.value != FIRST

    @property
    def linked(self) -> bool:
        """Others mean the units of the first layer."""
        return not self.deep

    def render(self, snapshot: Snapshot) -> None:  # type: ignore[override]
        """Show what ``snapshot`` has of the chosen layer; nothing if that is shown already."""
        self.turn_to(snapshot)
        filters, features = snapshot.get(Filters), snapshot.get(Features)
        if filters is None:
            return
        key = (snapshot.run, snapshot.step, snapshot.phase, filters.clean is None)
        if key == self._key and (features is None or features is self._seen):
            return
        changed = key != self._key
        self._key, self._snapshot, self.filters = key, snapshot, filters
        self.feature_controls.set_images(filters.held_out)
        if self.layer.show_layers(filters.layers):
            self._switch_layer()
        self._take(features)
        if changed and not self.deep:
            self._measure(filters)
        self.pages.show_content()
        self.redraw()

    def forget(self) -> None:
        """No filters, no pictures of features; the layers may be others."""
        super().forget()
        self._key = ()
        self.layer.forget()
        self._snapshot = self.filters = self.features = self._seen = self.facts = None
        self.weight_bar.set_signed(False)
        self._selected = -1
        self.feature_controls.set_images(0)
        self.feature_controls.forget()

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
        self.facts = UnitFacts.of({moment: w for moment, w in moments_of(filters).items() if w is not None})
        self.renew_order()

    def find_order(self, sort: str, count: int) -> IntArray | None:
        """The first units by ``sort``."""
        return None if self.facts is None else self.facts.order(sort, count)

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
        if self.layer.chosen is not None:
            self.feature_controls.set_layer(self.layer.chosen)
        if self.filters is not None and not deep:
            self._measure(self.filters)
        self.signed.setVisible(not deep and self.filters is not None and self.filters.now.shape[1] == 1)
        self.redraw()

    def _ask(self, request: FeatureRequest) -> None:
        self.command_requested.emit(Visualise(request))
        self.redraw()

    # -- drawing -------------------------------------------------------------------------------------------------

    def basis(self) -> str:
        """The weights themselves, or each filter divided by its own largest."""
        return "scaled" if self.scaled.isChecked() else ""

    def in_basis(self, weights: FloatArray, basis: str) -> FloatArray:
        """Some units' weights (n, C, h, w), each filter divided by its own largest if so chosen."""
        return scaled_each(weights) if basis else weights

    def redraw(self) -> None:
        """Draw the first layer's weights, or the pictures of a deeper one."""
        if self.filters is None or self._snapshot is None:
            return
        if self.deep:
            self._draw_features(self._snapshot)
        elif self.facts is not None:
            self._draw_filters(self.filters, self._snapshot)
        self.mark(self._neuron)

    def _draw_filters(self, filters: Filters, snapshot: Snapshot) -> None:
        moments, basis = moments_of(filters), self.basis()
        self.grow(moments, np.arange(len(filters.now)), basis)
        h, w = filters.now.shape[2:]
        self.draw_moments(moments, self.grid(self.order, (h, w)), (basis, self.scale(), self.signed.value, self.theme))
        self.galleries[2].title.setText(moment_name(snapshot))
        if basis:
            self.bar.set_scale(self.scale(), " largest")
            self.rule.setText("Each filter divided by its own largest weight: sizes cannot be compared.")
        else:
            self.bar.set_scale(self.scale())
            self.rule.setText("One contrast for all three; it only grows.")
            self.rule.setToolTip("Its end is the 99.5% quantile of the weights at each of the three, rounded up.")
        self.weight_bar.set_signed(self._signed)

    @property
    def _signed(self) -> bool:
        """Whether weights are drawn from blue to orange, which takes one channel."""
        return self.signed.isChecked() and self.filters is not None and self.filters.now.shape[1] == 1

    def show_moment(self, gallery: PictureGallery, moment: str, weights: FloatArray, grid: Grid) -> None:
        """Weights (n, C, h, w) as pictures."""
        shown = self.in_basis(weights, self.basis())
        if self._signed:
            gallery.show_pictures(signed_colours(shown, self.scale(), self.theme), grid)
        else:
            gallery.show_pictures(weight_colours(shown, self.scale()), grid)

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
        h, w = features.origin.shape[1:]
        grid = self.grid(units, (h, w), gap=max(2, round(0.24 * h)))
        for gallery, moment in zip(self.galleries, MOMENTS, strict=True):
            pictures = features.pictures.get(moment)
            if pictures is None:
                gallery.placeholder.setText(missing(moment))
                gallery.show_placeholder()
            else:
                values = features.activations[moment]
                captions = [
                    (f"{unit} · {_number(value)}", f"{unit}") for unit, value in zip(units, values, strict=True)
                ]
                gallery.show_pictures(image_colours(pictures), grid, captions)
        self.galleries[2].title.setText(moment_name(snapshot, features.step))
        told = features.share >= 1 or self.feature_controls.live is not None  # by the progress bar
        share = "" if told else f" {features.share:.0%} done."
        self.rule.setText(protocol_text(features, snapshot.config.seed) + share)
        self.rule.setToolTip(
            "Under each picture: the unit, and its activation on it: before the ReLU, the mean over its positions.\n"
            "Pictures are shown as they are: a pixel of 0 is black, one of 1 is white."
        )

    @property
    def kept(self) -> int:
        """The first layer's chosen unit."""
        return -1 if self.deep else self._selected

    # -- one unit ------------------------------------------------------------------------------------------------

    @property
    def selected(self) -> int:
        """The unit that was clicked."""
        return self._selected

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
            told = [f"{MOMENTS[m].lower()} {_number(a[i])}" for m, a in features.activations.items()]
            return f"unit {unit}: activation {', '.join(told)}"
        if facts is None:
            return ""
        units = len(facts.norms["now"])
        if 0 <= unit < units:
            return unit_text(facts, unit)
        return f"{len(self.order):,} of {units:,} units · {means_text(facts)}"

    def mark(self, unit: int) -> None:
        """Frame one unit in the three pictures and tell its values, here and beside the mouse."""
        super().mark(unit)
        if unit < 0 <= self._selected:
            self.status.setText(self.unit_text(self._selected))
        for gallery in self.galleries:
            gallery.plot.setToolTip(self.status.text() if unit >= 0 else "")

    def choose(self, unit: int) -> None:
        """Keep a unit framed."""
        self._selected = unit
        self.mark(self._neuron)
        if self.linked:
            self.neuron_selected.emit(unit)

    def select(self, neuron: int) -> None:
        """Keep a unit of the first layer framed and in sight, because it was clicked in another view."""
        if not self.linked or (self.facts is not None and neuron >= len(self.facts.norms["now"])):
            return
        if neuron != self._selected:
            self._selected = neuron
            self.keep_in_sight()
            self.redraw()
        self.mark(neuron)

    def set_theme(self, theme: Theme) -> None:
        """Recolour pictures and the message of the controls, too."""
        super().set_theme(theme)
        self.feature_controls.set_theme(theme)
        self.redraw()

    def options(self) -> dict[str, str]:
        """``layer`` (empty: the first), the choices of the first layer, and those of feature visualisation."""
        return {"layer": self.layer.value} | super().options() | self.feature_controls.options()

    def set_options(self, options: dict[str, str]) -> None:
        """Inverse of :meth:`options`. Which layers there are is known with the first snapshot only."""
        self.feature_controls.set_options(options)
        self.layer.value = options.get("layer", self.layer.value)
        super().set_options(options)


def moments_of(filters: Filters) -> Mapping[str, FloatArray | None]:
    """The first layer's weights by moment."""
    return {"start": filters.start, "clean": filters.clean, "now": filters.now}


def _number(value: float) -> str:
    return f"{value:.2f}".replace("-", "−")
