"""Weights as pictures: tiling many neurons into one image, and the widget that shows it.

A gallery is a single :class:`pyqtgraph.ImageItem` of bytes: 0 is the line between two tiles, 1..255 are weights from
−scale to +scale with 128 for zero. The scale is always given from outside; nothing here looks at a picture's own range.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import ceil

import numpy as np
import pyqtgraph as pg  # type: ignore[import-untyped]
from numpy.typing import NDArray
from PySide6.QtCore import QEvent, QObject, QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QColor, QLinearGradient, QPainter, QPaintEvent, QPen, QResizeEvent
from PySide6.QtWidgets import QGraphicsRectItem, QSizePolicy, QStackedLayout, QVBoxLayout, QWidget

from engine.core.results import FloatArray, IntArray
from engine.figures.panels import picture_size
from fp_gui.folding import LEAST_PLOT, FoldingLabel
from fp_gui.theme import LIGHT, ORANGE, SKY, Theme
from fp_gui.views.widgets import tint

Bytes = NDArray[np.uint8]
ZERO = 128  # the byte of a weight of zero


def quantise(values: FloatArray, scale: float) -> Bytes:
    """Weights to bytes: −scale → 1, 0 → 128, +scale → 255, clipped."""
    factor = np.float32(127.0 / max(scale, 1e-12))
    found: Bytes = (np.clip(np.rint(values * factor), -127, 127) + ZERO).astype(np.uint8)
    return found


def tile(pictures: Bytes, columns: int) -> Bytes:
    """Lay ``pictures`` (n, d) out in rows of ``columns`` tiles, with lines of 0 around each; shape (H, W)."""
    n, d = pictures.shape
    h, w = picture_size(d)
    rows = max(1, ceil(n / columns))
    cells = np.zeros((rows * columns, h + 1, w + 1), np.uint8)
    padded = np.zeros((n, h * w), np.uint8)
    padded[:, :d] = pictures
    cells[:n, 1:, 1:] = padded.reshape(n, h, w)
    body = cells.reshape(rows, columns, h + 1, w + 1).swapaxes(1, 2).reshape(rows * (h + 1), columns * (w + 1))
    return np.pad(body, ((0, 1), (0, 1)))


def diverging(theme: Theme) -> Bytes:
    """The 256 colours (256, 4): the line between tiles, then blue – neutral – orange with the neutral one at zero."""
    if theme.dark:
        ramp = ["#d6ecff", SKY, "#1c6fb0", theme.base, "#b25a00", ORANGE, "#ffedc2"]
    else:
        ramp = ["#04294f", "#0072B2", "#8fc3e6", "#ffffff", "#f9b866", "#d66a00", "#5c2400"]
    stops = np.array([QColor(c).getRgb() for c in ramp], float)
    at = np.linspace(0, len(ramp) - 1, 255)
    colours = np.stack([np.interp(at, np.arange(len(ramp)), stops[:, k]) for k in range(4)], axis=1)
    return np.concatenate([np.array([QColor(theme.grid).getRgb()]), np.rint(colours)]).astype(np.uint8)


@dataclass(frozen=True)
class Grid:
    """Which neuron stands in which tile: ``order`` (n,) row by row, ``columns`` tiles a row, vectors in R^``d``.

    ``shape`` says rows and columns of a picture, else :func:`picture_size` does; under each are ``gap`` rows of room.
    """

    order: IntArray
    columns: int
    d: int
    shape: tuple[int, int] | None = None
    gap: int = 0

    @cached_property
    def cell(self) -> tuple[int, int]:
        """Height and width of a tile with its separating line and the room under it."""
        h, w = self.shape or picture_size(self.d)
        return h + 1 + self.gap, w + 1

    @property
    def rows(self) -> int:
        """Number of rows of tiles."""
        return max(1, ceil(len(self.order) / self.columns))

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the whole image."""
        return self.rows * self.cell[0] + 1, self.columns * self.cell[1] + 1

    @cached_property
    def _places(self) -> dict[int, int]:
        return {int(neuron): place for place, neuron in enumerate(self.order)}

    def neuron_at(self, x: float, y: float) -> int:
        """The neuron under image coordinates (x right, y down), or −1 outside and on an empty tile."""
        height, width = self.size
        if not (0 <= x < width - 1 and 0 <= y < height - 1):
            return -1
        place = int(y // self.cell[0]) * self.columns + int(x // self.cell[1])
        return int(self.order[place]) if place < len(self.order) else -1

    def rect(self, neuron: int) -> QRectF | None:
        """The tile of ``neuron`` in image coordinates, its lines included, or None if it is not shown."""
        place = self._places.get(neuron)
        if place is None:
            return None
        (h, w), (row, column) = self.cell, divmod(place, self.columns)
        return QRectF(column * w, row * h, w + 1, h + 1 - self.gap)


def columns_for(n: int, cell: tuple[int, int], width: float, height: float) -> int:
    """The number of columns that makes n tiles of ``cell`` (height, width) largest in ``width`` × ``height`` pixels."""
    columns = np.arange(1, max(n, 1) + 1)
    zoom = np.minimum(width / (columns * cell[1]), height / (np.ceil(max(n, 1) / columns) * cell[0]))
    return int(columns[int(np.argmax(zoom))])


class TileGallery(QWidget):
    """One image of tiles under a title. Hovering and clicking tell the neuron; wheel and drag zoom and pan."""

    hovered = Signal(int)
    clicked = Signal(int)
    resized = Signal()
    moved = Signal(QRectF)

    def __init__(self, title: str, placeholder: str = "") -> None:
        super().__init__()
        self.title = FoldingLabel(title, folds=False, wraps=False)
        self.title.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.placeholder = FoldingLabel(placeholder, folds=False)
        self.placeholder.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.plot = pg.GraphicsView()
        self.plot.setMinimumHeight(LEAST_PLOT)
        self.box = pg.ViewBox(lockAspect=True, invertY=True, enableMenu=False)
        self.plot.setCentralItem(self.box)
        self.image = pg.ImageItem(axisOrder="row-major")
        self.box.addItem(self.image)
        self.box.disableAutoRange()
        self._marks = QGraphicsRectItem(), QGraphicsRectItem()
        for z, mark in enumerate(self._marks):
            mark.setZValue(10 + z)
            mark.hide()
            self.box.addItem(mark, ignoreBounds=True)
        self._stack = QStackedLayout()
        self._stack.addWidget(self.placeholder)
        self._stack.addWidget(self.plot)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        layout.addWidget(self.title)
        layout.addLayout(self._stack, 1)
        self.grid: Grid | None = None
        self.scale = 0.0
        self._follow = True  # until the user zooms
        self._neurons = -1, -1
        self.plot.scene().sigMouseMoved.connect(self._move)
        self.plot.scene().sigMouseClicked.connect(self._click)
        self.box.sigRangeChangedManually.connect(self._zoomed)
        self.plot.viewport().installEventFilter(self)
        self.set_theme(LIGHT)

    def show_tiles(self, values: FloatArray, grid: Grid, scale: float) -> None:
        """Show ``values`` (n, d), the neurons ``grid.order``, with colours from −scale to +scale."""
        self.scale = scale
        self.show_image(tile(quantise(values, scale), grid.columns), grid)

    def show_image(self, image: Bytes, grid: Grid) -> None:
        """Show ``image``, already tiled as ``grid`` says: (H, W) bytes, or (H, W, 4) colours."""
        self.image.setImage(image, autoLevels=False, levels=(0, 255))
        self._stack.setCurrentIndex(1)
        moved = self.grid is None or self.grid.size != grid.size
        self.grid = grid
        if moved:
            self.fit()
        self._place()

    def show_placeholder(self) -> None:
        """Show the text that stands for a picture that does not exist yet."""
        self._stack.setCurrentIndex(0)
        self.image.clear()
        self.grid = None

    def forget(self) -> None:
        """Another run: no picture, no frame, no zoom."""
        self.mark(-1, -1)
        self.show_placeholder()
        self.fit()

    def area(self) -> tuple[int, int]:
        """Width and height in pixels that the image has (a layout that is still at work knows only the outer size)."""
        return self.width(), max(1, self.height() - self.title.sizeHint().height() - 2)

    def fit(self) -> None:
        """Show the whole image again."""
        self._follow = True
        if self.grid is not None:
            height, width = self.grid.size
            self.box.setRange(QRectF(0, 0, width, height), padding=0)

    def set_area(self, area: QRectF) -> None:
        """Show the same part of the image as another gallery."""
        self._follow = False
        self.box.setRange(area, padding=0)

    def mark(self, hovered: int, selected: int) -> None:
        """Frame the hovered and the selected neuron; −1 for none."""
        if (hovered, selected) != self._neurons:
            self._neurons = hovered, selected
            self._place()

    def set_theme(self, theme: Theme) -> None:
        """Take new colours."""
        self.plot.setBackground(theme.grid)  # as between the tiles
        self.image.setLookupTable(diverging(theme))
        tint(self.title, theme.text)
        tint(self.placeholder, theme.muted)
        for mark, colour, width in zip(self._marks, (theme.text, theme.accent), (2, 3), strict=True):
            pen = QPen(QColor(colour), width)
            pen.setCosmetic(True)
            mark.setPen(pen)

    def _place(self) -> None:
        for mark, neuron in zip(self._marks, self._neurons, strict=True):
            rect = self.grid.rect(neuron) if self.grid is not None else None
            mark.setVisible(rect is not None)
            if rect is not None:
                mark.setRect(rect)

    def _at(self, position: QPointF) -> int:
        point = self.box.mapSceneToView(position)
        return self.grid.neuron_at(point.x(), point.y()) if self.grid is not None else -1

    def _move(self, position: QPointF) -> None:
        self.hovered.emit(self._at(position))

    def _click(self, event: pg.GraphicsScene.mouseEvents.MouseClickEvent) -> None:
        if event.double():
            self.fit()
            self.moved.emit(QRectF())
        elif event.button() == Qt.MouseButton.LeftButton and (neuron := self._at(event.scenePos())) >= 0:
            self.clicked.emit(neuron)

    def _zoomed(self) -> None:
        self._follow = False
        self.moved.emit(self.box.viewRect())

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Unmark when the mouse leaves the picture."""
        if event.type() == QEvent.Type.Leave:
            self.hovered.emit(-1)
        return super().eventFilter(watched, event)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Keep the whole image in sight unless the user has zoomed."""
        super().resizeEvent(event)
        if self._follow:
            self.fit()
        self.resized.emit()


class ColourBar(QWidget):
    """The colours with their numbers: −scale, 0, +scale."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = 0.0
        self.unit = ""
        self.theme = LIGHT
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)
        self.setToolTip("Colour of a weight: blue below zero, orange above; the same for the three pictures.")

    def colours(self) -> Bytes:
        """The 255 colours (255, 4) from −scale to +scale."""
        return diverging(self.theme)[1:]

    def texts(self) -> tuple[str, str, str]:
        """The three numbers as printed."""
        return f"−{self.scale:.3g}{self.unit}", "0", f"+{self.scale:.3g}{self.unit}"

    def set_scale(self, scale: float, unit: str = "") -> None:
        """Print ``scale`` at the ends, with ``unit`` after it."""
        if (scale, unit) != (self.scale, self.unit):
            self.scale, self.unit = scale, unit
            self.update()

    def set_theme(self, theme: Theme) -> None:
        """Take new colours."""
        self.theme = theme
        self.update()

    def sizeHint(self) -> QSize:
        """Wide enough for the numbers, one line of text high under a thin bar."""
        return QSize(220, self.fontMetrics().height() + 14)

    def minimumSizeHint(self) -> QSize:
        """The numbers must not run into each other."""
        return self.sizeHint()

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw the bar and the numbers."""
        painter = QPainter(self)
        bar = QRectF(0.5, 0.5, self.width() - 1, 10)
        gradient = QLinearGradient(bar.topLeft(), bar.topRight())
        colours = self.colours()
        for at in range(0, 255, 6):
            gradient.setColorAt(at / 254, QColor(*(int(c) for c in colours[at])))
        gradient.setColorAt(1, QColor(*(int(c) for c in colours[254])))
        painter.fillRect(bar, gradient)
        painter.setPen(QColor(self.theme.grid))
        painter.drawRect(bar)
        painter.setPen(QColor(self.theme.text))
        below = QRectF(0, 12, self.width(), self.height() - 12)
        sides = Qt.AlignmentFlag.AlignLeft, Qt.AlignmentFlag.AlignHCenter, Qt.AlignmentFlag.AlignRight
        for text, side in zip(self.texts(), sides, strict=True):
            painter.drawText(below, side | Qt.AlignmentFlag.AlignVCenter, text)
        painter.end()
