"""Weights as pictures: tiled, one panel a moment, in one contrast, with what the colours mean below."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, sqrt
from typing import TYPE_CHECKING

import numpy as np

from engine.core.arrays import picture_side
from engine.figures.base import Array, FigureData
from engine.figures.style import GREYS, narrow, signed_colours

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Sizes in inches of the parts around the pictures.
MARGIN, GUTTER, TITLE, KEY, BAR, BAR_WIDTH = 0.06, 0.10, 0.19, 0.52, 0.09, 2.6
TALLEST = 8.0


@dataclass(frozen=True)
class PicturePanels(FigureData):
    """``panels``: title → pictures of weights (n, C, h, w), C = 1 or at least 3, of which three are drawn.

    Colours run from −``level`` over zero to +``level``: from blue to orange if ``signed``, which takes C = 1, else from
    dark to bright, in every channel. ``label`` says what is drawn. NaN is no weight.
    """

    panels: Mapping[str, Array]
    level: float
    label: str
    signed: bool

    def height(self, width: float) -> float:
        """Height in inches of the panels, their titles and the key."""
        rows = len(self.panels) if narrow(width) else 1
        return MARGIN + rows * (self._panel_height(width) + TITLE) + (rows - 1) * GUTTER + KEY

    def draw(self, figure: Figure) -> None:
        """Draw the panels in a row (wide) or a column (narrow), and the key below."""
        width, height = figure.get_size_inches()
        panel_w, panel_h = self._panel_width(width), self._panel_height(width)
        look = {"cmap": signed_colours() if self.signed else GREYS, "vmin": -self.level, "vmax": self.level}
        for i, (title, pictures) in enumerate(self.panels.items()):
            left = MARGIN + (0 if narrow(width) else i * (panel_w + GUTTER))
            top = height - MARGIN - (i * (panel_h + TITLE + GUTTER) if narrow(width) else 0)
            axes = figure.add_axes((left / width, (top - TITLE - panel_h) / height, panel_w / width, panel_h / height))
            # "none": vector files hold one image pixel a weight, and nothing smooths between weights.
            axes.imshow(self._tiles(pictures, width), interpolation="none", aspect="auto", **look)  # type: ignore[arg-type]
            axes.set_axis_off()
            axes.set_title(title, pad=3)
        bar = min(BAR_WIDTH, width - 0.8)
        key = figure.add_axes(((width - bar) / 2 / width, (KEY - 0.06 - BAR) / height, bar / width, BAR / height))
        ramp = np.linspace(-self.level, self.level, 256)[None]
        extent = (-self.level, self.level, 0.0, 1.0)
        key.imshow(ramp, extent=extent, aspect="auto", interpolation="none", **look)  # type: ignore[arg-type]
        key.set(yticks=[], xticks=[-self.level, -self.level / 2, 0, self.level / 2, self.level])
        key.xaxis.set_major_formatter(lambda x, _: f"{x:.3g}".replace("-", "−"))
        key.set_xlabel(self.label, labelpad=1)

    def _panel_width(self, width: float) -> float:
        n = 1 if narrow(width) else len(self.panels)
        return (width - 2 * MARGIN - (n - 1) * GUTTER) / n

    def _panel_height(self, width: float) -> float:
        rows, columns = self._tiles(next(iter(self.panels.values())), width).shape[:2]
        return float(min(self._panel_width(width) * rows / columns, TALLEST))

    def _tiles(self, pictures: Array, width: float) -> Array:
        n, channels, h, w = pictures.shape
        columns = columns_for(n, (2.0 if narrow(width) else 1.0 if len(self.panels) > 2 else 1.5) * h / w)
        if channels < 3:
            return tile(pictures[:, 0], columns, np.nan)
        shown = np.clip(0.5 + np.moveaxis(pictures[:, :3], 1, -1) / (2 * self.level), 0, 1)
        return tile(shown, columns, 1.0)


def columns_for(n: int, aspect: float) -> int:
    """How many pictures in a line: near sqrt(aspect · n), where the last line has the fewest empty places."""
    aim = max(1, ceil(sqrt(aspect * n)))
    return min(range(max(1, aim * 3 // 4), aim * 3 // 2 + 1), key=lambda c: (-n % c, abs(c - aim)))


def tile(pictures: Array, columns: int, fill: float, gap: int = 1) -> Array:
    """Pictures (n, h, w, …) as one, ``columns`` in a line, with ``gap`` cells of ``fill`` around each."""
    n, h, w, *rest = pictures.shape
    columns = max(1, min(columns, n))
    lines = max(1, ceil(n / columns))
    out = np.full((lines * (h + gap) + gap, columns * (w + gap) + gap, *rest), fill, np.float32)
    for i, picture in enumerate(pictures):
        y, x = gap + i // columns * (h + gap), gap + i % columns * (w + gap)
        out[y : y + h, x : x + w] = picture
    return out


def picture_size(d: int) -> tuple[int, int]:
    """Rows and columns of the picture of a vector of R^d: a square if d is one, else near a square with room left."""
    width = picture_side(d) or ceil(sqrt(d))
    return -(-d // width), width


def as_pictures(rows: Array) -> Array:
    """Vectors (n, d) as pictures (n, 1, h, w), with NaN for the room left."""
    n, d = rows.shape
    h, w = picture_size(d)
    padded = np.full((n, h * w), np.nan, np.float32)
    padded[:, :d] = rows
    return padded.reshape(n, 1, h, w)
