"""What the two home views share: the weights of the same units at three moments, in the same places, in one contrast.

A subclass says where the pictures come from: the order of the units, the weights in the chosen basis, and how they are
shown. Drawing is lazy: the galleries of the start and of the end of clean training are drawn again only if something
that is seen of them has changed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Generic, TypeVar

import numpy as np
from PySide6.QtCore import QRectF
from PySide6.QtWidgets import QHBoxLayout, QPushButton, QWidget

from engine.core.results import FloatArray, IntArray
from engine.figures.order import count_of
from fp_gui.theme import Theme
from fp_gui.views.base import View
from fp_gui.views.gallery import ColourBar, Grid, TileGallery, columns_for
from fp_gui.views.widgets import Choice, Pages, Switch, line, restore, tint

MOMENTS = {"start": "Start", "clean": "After clean", "now": "Now"}
NOT_YET = "Appears when clean training ends\n(press T, or let the schedule switch)."
NO_START = "Not measured: this run was imported without its start."
G = TypeVar("G", bound=TileGallery)


class GalleryView(View, Generic[G]):
    """Three galleries, one a moment. Subclasses fill ``pages``, :meth:`find_order`, :meth:`basis`, … and draw."""

    pages: Pages

    def __init__(self, galleries: tuple[G, G, G], bar: ColourBar, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.galleries, self.bar = galleries, bar
        self.caption, self.rule, self.status = line(), line(), line()
        self.sort = Choice.of(self.declaration.option("sort"), "\nRenewed by Re-sort, and when training pauses.")
        self.count = Choice.of(self.declaration.option("count"))
        self.controls: dict[str, Choice | Switch] = {"sort": self.sort, "count": self.count}  # by name of the option
        self.order: IntArray = np.empty(0, np.int64)
        self._sorting = 0  # counts the changes of the order
        self._playing = False
        self.resort = QPushButton("Re-sort")
        self.resort.setToolTip(
            "Sort the tiles by the present values. While training goes on they keep their places; lit when others "
            "would come first."
        )
        self.resort.setEnabled(False)
        self.resort.clicked.connect(self._resort)
        self._levels: dict[str, float] = {}  # of the colours, by basis
        self._sizes: dict[tuple[str, str], tuple[FloatArray, IntArray, float]] = {}
        self._kept: tuple[FloatArray | None, ...] = ()
        self._drawn: tuple[object, ...] = ()
        self._neuron = self._under = -1  # that is marked; that is under the mouse

    def connect_all(self) -> None:
        """Connect controls and galleries; call it when all of them are there."""
        for control in self.controls.values():
            (control.toggled if isinstance(control, Switch) else control.currentIndexChanged).connect(self.changed)
        for gallery in self.galleries:
            gallery.hovered.connect(self._hover)
            gallery.clicked.connect(self.choose)
            gallery.moved.connect(self._follow)
        self.galleries[0].resized.connect(self.redraw)

    def forget(self) -> None:
        """No order, no contrast, no pictures; the units may be others."""
        super().forget()
        self._levels.clear()
        self._sizes.clear()
        self._kept, self._drawn = (), ()
        self.order = np.empty(0, np.int64)
        self._neuron = self._under = -1
        self.resort.setEnabled(False)
        for gallery, title in zip(self.galleries, MOMENTS.values(), strict=True):
            gallery.forget()
            gallery.title.setText(title)
            gallery.placeholder.setText(NOT_YET)
        self.bar.set_scale(0.0)
        for label in (self.status, self.rule):
            label.setText("")
        self.pages.forget()

    # -- order ---------------------------------------------------------------------------------------------------

    @property
    def frozen(self) -> bool:
        """Whether the order is kept, whatever the values become."""
        return False

    def find_order(self, sort: str, count: int) -> IntArray | None:
        """The first ``count`` units in the order of display by ``sort``; None if nothing is known of them."""
        raise NotImplementedError

    def renew_order(self) -> None:
        """The weights have changed: sort at a pause; while training goes on only say that the order is stale."""
        if not len(self.order) or not (self._playing or self.frozen):
            self.sort_now()
            return
        order = self._sorted()
        self.resort.setEnabled(order is not None and not np.array_equal(order, self.order))

    def sort_now(self) -> None:
        """Sort at once."""
        order = self._sorted()
        if order is None:
            return
        if not np.array_equal(order, self.order):
            self.order = order
            self._sorting += 1
        self.resort.setEnabled(False)

    def _sorted(self) -> IntArray | None:
        """The order by the present values; the chosen unit stays in sight, as the last one if it is not among them."""
        order = self.find_order(self.sort.value, count_of(self.count.value))
        if order is not None and len(order) and self.kept >= 0 and self.kept not in order:
            order = np.append(order[:-1], self.kept)
        return order

    @property
    def kept(self) -> int:
        """The unit that stays in sight whatever the order, −1 for none."""
        return self.selected

    def keep_in_sight(self) -> None:
        """Show the chosen unit in the last tile if it has none; the others stay where they are."""
        if len(self.order) and self.kept >= 0 and self.kept not in self.order:
            self.order = np.append(self.order[:-1], self.kept)
            self._sorting += 1

    def _resort(self) -> None:
        self.sort_now()
        self.redraw()

    def set_playing(self, playing: bool) -> None:
        """Tiles keep their places while training goes on, and are sorted when it pauses."""
        super().set_playing(playing)
        self._playing = playing
        if not playing and self.resort.isEnabled() and not self.frozen:
            self._resort()

    def changed(self) -> None:
        """Another choice: sort and draw at once. What is chosen by hand beats a frozen order."""
        self._drawn = ()
        self.sort_now()
        self.redraw()

    # -- contrast ------------------------------------------------------------------------------------------------

    def basis(self) -> str:
        """What the tiles show; each basis has a contrast of its own."""
        return ""

    def in_basis(self, weights: FloatArray, basis: str) -> FloatArray:
        """Some units' ``weights`` as they are shown in ``basis``."""
        return weights

    def scale(self) -> float:
        """The weight at the end of the colours, the same for all moments; it only grows within a run."""
        return max(self._levels.get(self.basis(), 0.0), 1e-6)

    def grow(self, weights: Mapping[str, FloatArray | None], rows: IntArray, basis: str) -> None:
        """Let the contrast of ``basis`` hold ``weights`` by moment, of which ``rows`` count."""
        contrast = self.declaration.contrast
        assert contrast is not None
        rows = contrast.sample(rows)
        sizes = []
        for moment in contrast.moments:
            values = weights.get(moment)
            if values is None:
                continue
            known = self._sizes.get((basis, moment))  # those before now never change, so they are measured once
            if known is None or not _same(known[0], values) or not np.array_equal(known[1], rows):
                known = values, rows, contrast.size(self.in_basis(values[rows], basis))
                self._sizes[basis, moment] = known
            sizes.append(known[2])
        self._levels[basis] = contrast.level(*sizes, before=self._levels.get(basis, 0.0))

    # -- drawing -------------------------------------------------------------------------------------------------

    def redraw(self) -> None:
        """Draw what there is."""
        raise NotImplementedError

    def show_moment(self, gallery: G, moment: str, weights: FloatArray, grid: Grid) -> None:
        """Show the ``weights`` of the units of the order at one moment."""
        raise NotImplementedError

    def draw_moments(self, weights: Mapping[str, FloatArray | None], grid: Grid, seen: Sequence[object]) -> None:
        """Draw ``weights`` by moment; those before now only if they, the order or what is ``seen`` have changed."""
        kept = (weights["start"], weights["clean"])
        drawn = (self._sorting, grid.columns, *seen)
        same = len(self._kept) == 2 and all(_same(a, b) for a, b in zip(self._kept, kept, strict=True))
        first = 2 if same and drawn == self._drawn else 0
        self._kept, self._drawn = kept, drawn
        for gallery, moment in tuple(zip(self.galleries, MOMENTS, strict=True))[first:]:
            values = weights[moment]
            if values is None:
                gallery.placeholder.setText(missing(moment))
                gallery.show_placeholder()
            else:
                self.show_moment(gallery, moment, values[self.order], grid)

    def grid(self, order: IntArray, shape: tuple[int, int], d: int = 0, gap: int = 0) -> Grid:
        """Places for pictures of ``shape`` with ``gap`` rows of room under each, as large as the galleries allow."""
        cell = shape[0] + 1 + gap, shape[1] + 1
        return Grid(order, columns_for(len(order), cell, *self.galleries[0].area()), d, shape, gap)

    # -- one unit ------------------------------------------------------------------------------------------------

    @property
    def linked(self) -> bool:
        """Whether the units shown are those that other views mean by their numbers."""
        return True

    @property
    def selected(self) -> int:
        """The unit that was clicked, −1 for none."""
        return -1

    def unit_text(self, unit: int) -> str:
        """What is known of a unit; of all units for −1."""
        raise NotImplementedError

    def mark(self, unit: int) -> None:
        """Frame one unit in the three pictures and tell its values."""
        self._neuron = unit
        for gallery in self.galleries:
            gallery.mark(unit, self.selected)
        self.status.setText(self.unit_text(unit))

    def highlight(self, neuron: int) -> None:
        """Frame one unit and tell its values, if units are shown that others mean."""
        if self.linked:
            self.mark(neuron)

    def choose(self, unit: int) -> None:
        """A unit was clicked."""
        raise NotImplementedError

    def _hover(self, unit: int) -> None:
        if unit != self._under:
            self._under = unit
            self.mark(unit)
            if self.linked:
                self.neuron_hovered.emit(unit)

    def _follow(self, area: QRectF) -> None:
        for gallery in self.galleries:
            if gallery is not self.sender():
                gallery.fit() if area.isNull() else gallery.set_area(area)

    def set_theme(self, theme: Theme) -> None:
        """Recolour pictures, bar and texts."""
        super().set_theme(theme)
        for part in (*self.galleries, self.bar, self.pages):
            part.set_theme(theme)
        for label in (self.caption, self.rule):
            tint(label, theme.muted)
        tint(self.status, theme.text)

    def options(self) -> dict[str, str]:
        """Those of the declaration that have a control."""
        return {name: control.value for name, control in self.controls.items()}

    def set_options(self, options: dict[str, str]) -> None:
        """Inverse of :meth:`options`."""
        restore(self.controls, options)
        self.changed()


def missing(moment: str) -> str:
    """What stands in the place of pictures that there are none of."""
    return NO_START if moment == "start" else NOT_YET


def _same(a: FloatArray | None, b: FloatArray | None) -> bool:
    return a is b or (a is not None and b is not None and np.array_equal(a, b))


def row_of(*widgets: QWidget) -> QWidget:
    """Widgets of equal width beside each other."""
    body = QWidget()
    row = QHBoxLayout(body)
    row.setContentsMargins(0, 0, 0, 0)
    for widget in widgets:
        row.addWidget(widget, 1)
    return body
