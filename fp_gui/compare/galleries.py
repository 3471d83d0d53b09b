"""Galleries of several runs side by side, on one contrast, with the same neuron marked in all of one start."""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import QEvent, Signal, SignalInstance
from PySide6.QtWidgets import QGridLayout, QWidget

from engine.compare.galleries import GalleriesData
from fp_gui.folding import LEAST_PLOT
from fp_gui.theme import LIGHT, Theme
from fp_gui.views.gallery import Bytes, Grid, columns_for
from fp_gui.views.pictures import PictureGallery, WeightBar, signed_colours, weight_colours

LEAST_WIDTH = 180  # pixels of a gallery before another one stands beside it


class GalleryRow(QWidget):
    """The galleries of :class:`GalleriesData`.

    ``hovered`` and ``clicked`` tell the run's place and the neuron, −1 for none.
    """

    hovered = Signal(int, int)
    clicked = Signal(int, int)

    def __init__(self) -> None:
        super().__init__()
        self.theme: Theme = LIGHT
        self.data: GalleriesData | None = None
        self.galleries: list[PictureGallery] = []
        self.bar = WeightBar()
        self.grid = QGridLayout(self)
        self.grid.setContentsMargins(0, 0, 0, 0)
        self._marked = -1, -1

    def show_galleries(self, data: GalleriesData) -> None:
        """Draw them; what was marked stays marked."""
        self.data = data
        while len(self.galleries) < len(data.runs):
            gallery = PictureGallery("")
            place = len(self.galleries)
            gallery.hovered.connect(lambda neuron, at=place: self._tell(self.hovered, at, neuron))
            gallery.clicked.connect(lambda neuron, at=place: self._tell(self.clicked, at, neuron))
            gallery.resized.connect(self._draw)
            gallery.set_theme(self.theme)
            gallery.setMinimumHeight(LEAST_PLOT + 40)
            self.galleries.append(gallery)
        for i, gallery in enumerate(self.galleries):
            gallery.setVisible(i < len(data.runs))
        for gallery, title in zip(self.galleries, data.panels, strict=False):
            gallery.title.setText(title)
        self.bar.signed = data.signed
        self.bar.set_scale(data.level)
        self.bar.setToolTip(f"Colour of a {data.label}: the same in all runs.")
        self._lay()
        self._draw()
        self.mark(*self._marked)

    def clear(self) -> None:
        """Nothing is compared."""
        self.data, self._marked = None, (-1, -1)
        for gallery in self.galleries:
            gallery.forget()
            gallery.hide()

    def mark(self, run: int, neuron: int) -> None:
        """Frame ``neuron`` of the run at place ``run`` there and wherever the same neuron is shown; −1 for none."""
        self._marked = run, neuron
        if self.data is None:
            return
        places = self.data.places(neuron, run)
        for each, gallery in zip(self.data.runs, self.galleries, strict=False):
            gallery.mark(neuron if each in places else -1, -1)

    def _tell(self, signal: SignalInstance, place: int, neuron: int) -> None:
        if self.data is not None and place < len(self.data.runs):
            signal.emit(self.data.runs[place], neuron)

    def _columns(self) -> int:
        n = len(self.data.runs) if self.data is not None else 1
        return max(1, min(n, self.width() // LEAST_WIDTH))

    def _lay(self) -> None:
        if self.data is None:
            return
        columns = self._columns()
        for column in range(max(columns, self.grid.columnCount())):
            self.grid.setColumnStretch(column, int(column < columns))
        for widget in (*self.galleries, self.bar):
            self.grid.removeWidget(widget)
        shown = self.galleries[: len(self.data.runs)]
        for i, gallery in enumerate(shown):
            self.grid.addWidget(gallery, *divmod(i, columns))
        self.grid.addWidget(self.bar, -(-len(shown) // columns), 0, 1, columns)

    def _draw(self) -> None:
        if self.data is None:
            return
        panels = list(self.data.panels.values())
        for gallery, pictures, order in zip(self.galleries, panels, self.data.order, strict=False):
            shape = pictures.shape[2:]
            empty = Grid(order, 1, shape[0] * shape[1], shape)
            columns = columns_for(len(order), empty.cell, *gallery.area())
            grid = Grid(order, columns, shape[0] * shape[1], shape)
            if gallery.grid is None or gallery.grid.columns != columns or not np.array_equal(gallery.grid.order, order):
                gallery.grid = None  # so that it is fitted
            gallery.show_pictures(self._colours(pictures[: len(order)]), grid)

    def _colours(self, pictures: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> Bytes:
        assert self.data is not None
        known = np.nan_to_num(pictures[:, :3] if pictures.shape[1] >= 3 else pictures[:, :1])
        if self.data.signed:
            found = signed_colours(known, self.data.level, self.theme)
        else:
            found = weight_colours(np.broadcast_to(known, (len(known), 3, *known.shape[2:])), self.data.level)
        found[np.isnan(pictures[:, 0])] = 0  # no weight: as between the tiles
        return found

    def event(self, event: QEvent) -> bool:
        """Another width may have room for another number of columns."""
        done = super().event(event)
        if event.type() == QEvent.Type.Resize and getattr(self, "data", None) is not None:
            self._lay()
        return done

    def set_theme(self, theme: Theme) -> None:
        """Take new colours."""
        self.theme = theme
        self.bar.set_theme(theme)
        for gallery in self.galleries:
            gallery.set_theme(theme)
        self._draw()
