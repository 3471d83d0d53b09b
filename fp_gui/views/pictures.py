"""Pictures of networks on images: weights and images as colours, tiled, and the gallery that shows them.

Everything is turned into colours here, with a scale given from outside, so that nothing can look at its own range: a
weight of zero is mid grey in every channel, −scale is black and +scale white (or full red, green, blue).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyqtgraph as pg  # type: ignore[import-untyped]
from PySide6.QtCore import QPointF
from PySide6.QtGui import QFont, QFontMetrics

from engine.core.results import FloatArray
from fp_gui.theme import Theme
from fp_gui.views.gallery import Bytes, ColourBar, Grid, TileGallery, diverging, quantise

SMALLEST = 7.0  # points of the numbers under a picture
LARGEST = 9.0
GREYS: Bytes = np.stack([np.arange(1.0, 256.0)] * 3 + [np.full(255, 255.0)], axis=1).astype(np.uint8)


def image_colours(images: FloatArray) -> Bytes:
    """Images (n, C, h, w) in [0, 1], of one channel (grey) or three, as colours (n, h, w, 4)."""
    n, _, h, w = images.shape
    found = np.full((n, h, w, 4), 255, np.uint8)
    found[..., :3] = np.rint(np.clip(images, 0, 1) * np.float32(255)).astype(np.uint8).transpose(0, 2, 3, 1)
    return found


def weight_colours(weights: FloatArray, scale: float) -> Bytes:
    """Signed weights (n, C, h, w) as colours (n, h, w, 4): 0 is mid grey (128), −scale is 1, +scale 255, clipped."""
    n, _, h, w = weights.shape
    found = np.full((n, h, w, 4), 255, np.uint8)
    found[..., :3] = quantise(weights, scale).transpose(0, 2, 3, 1)
    return found


def signed_colours(weights: FloatArray, scale: float, theme: Theme) -> Bytes:
    """Signed weights (n, 1, h, w) of one channel as colours (n, h, w, 4) from blue over neutral to orange."""
    return diverging(theme)[quantise(weights[:, 0], scale)]


def tile_colours(pictures: Bytes, grid: Grid) -> Bytes:
    """Lay ``pictures`` (n, h, w, 4) out as ``grid`` says; lines, room and empty places are transparent."""
    n, h = pictures.shape[:2]
    height, width = grid.cell
    cells = np.zeros((grid.rows * grid.columns, height, width, 4), np.uint8)
    cells[:n, 1 : h + 1, 1:] = pictures
    rows = cells.reshape(grid.rows, grid.columns, height, width, 4).swapaxes(1, 2)
    return np.pad(rows.reshape(grid.rows * height, grid.columns * width, 4), ((0, 1), (0, 1), (0, 0)))


class PictureGallery(TileGallery):
    """A gallery of pictures in their own colours, with a few words under each where the grid leaves room."""

    def __init__(self, title: str, placeholder: str = "") -> None:
        self._captions: list[pg.TextItem] = []
        self._texts: list[tuple[str, str]] = []
        super().__init__(title, placeholder)
        self.box.sigRangeChanged.connect(self._write)

    def show_pictures(self, pictures: Bytes, grid: Grid, captions: Sequence[tuple[str, str]] = ()) -> None:
        """Show ``pictures`` (n, h, w, 4), with ``captions`` under them: each in full, and in short for small tiles."""
        self.show_image(tile_colours(pictures, grid), grid)
        self._texts = list(captions)
        while len(self._captions) < len(self._texts):
            caption = pg.TextItem(color=self._colour, anchor=(0.0, 0.0))
            caption.textItem.document().setDocumentMargin(0)
            self.box.addItem(caption, ignoreBounds=True)
            self._captions.append(caption)
        self._write()

    def show_placeholder(self) -> None:
        """Show the text that stands for pictures that do not exist yet."""
        super().show_placeholder()
        self._texts = []
        self._write()

    def captions(self) -> list[str]:
        """The words under the pictures as they are written."""
        return [c.toPlainText() for c in self._captions[: len(self._texts)] if c.isVisible()]

    def _write(self) -> None:
        grid = self.grid
        unit = self.box.viewPixelSize()[1] if self._texts else 1.0  # rows of the image in a pixel of the screen
        room = grid.gap / unit if grid is not None and unit > 0 else 0.0
        for i, caption in enumerate(self._captions):
            shown = grid is not None and i < len(self._texts) and room >= SMALLEST * 1.3
            caption.setVisible(shown)
            if not shown or grid is None:
                continue
            font = QFont(self.font())
            font.setPointSizeF(min(LARGEST, max(SMALLEST, room * 0.55)))
            (height, width), (row, column) = grid.cell, divmod(i, grid.columns)
            full, short = self._texts[i]
            fits = QFontMetrics(font).horizontalAdvance(full) <= (width - 1) / unit
            caption.setFont(font)
            caption.setText(full if fits else short)
            caption.setPos(QPointF(column * width + 1, (row + 1) * height - grid.gap))

    def set_theme(self, theme: Theme) -> None:
        """Take new colours; those of the pictures are their own."""
        self._colour = theme.text
        super().set_theme(theme)
        self.image.setLookupTable(None)
        for caption in self._captions:
            caption.setColor(theme.text)


class WeightBar(ColourBar):
    """The numbers of a weight's colours: grey levels, the same in each channel, or blue to orange."""

    def __init__(self) -> None:
        super().__init__()
        self.signed = False
        self.setToolTip("Colour of a weight, in each channel alike: mid grey is 0. The same for the three pictures.")

    def set_signed(self, signed: bool) -> None:
        """Whether colours run from blue to orange instead of from black to white."""
        if signed != self.signed:
            self.signed = signed
            self.update()

    def colours(self) -> Bytes:
        """The 255 colours (255, 4) from −scale to +scale."""
        return super().colours() if self.signed else GREYS
