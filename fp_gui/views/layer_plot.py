"""What is drawn by layer: the spread of a quantity over a layer's units, and the plot with layers along x."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyqtgraph as pg  # type: ignore[import-untyped]
from PySide6.QtCore import QEvent, QObject, QPointF, Qt, Signal

from engine.core.results import LayerInfo, LayersPrinciple1, Principle1
from fp_gui.theme import Theme
from fp_gui.views.plots import Floats, axes, prepare_plot, theme_plot, translucent

SHIFT = 0.14  # between the three curves of a layer, so that their bars do not cover each other


@dataclass(frozen=True, slots=True)
class Spread:
    """Median and quantiles of a quantity over the alive units of each layer (k,); not a number where none is alive."""

    median: Floats
    low: Floats
    high: Floats

    @classmethod
    def of(cls, result: LayersPrinciple1, cosine: str) -> Spread:
        """Of a cosine, by its name in principle 1, in the layers of ``result``, in their order."""
        rows = []
        for each in result.layers:
            found = result.of[each.name]
            values = np.asarray(getattr(found, cosine)[found.alive], np.float64)
            rows.append(np.quantile(values, (0.5, 0.1, 0.9)) if len(values) else np.full(3, np.nan))
        table = np.array(rows).reshape(-1, 3)
        return cls(table[:, 0], table[:, 1], table[:, 2])


def share(found: Principle1) -> tuple[int, int]:
    """How many of the alive units have ‖βw′‖ > ‖w − βw′‖, and how many are alive."""
    alive = found.alive
    return int((found.pure_part[alive] > found.rest[alive]).sum()), int(alive.sum())


def share_text(found: Principle1, layer: str) -> str:
    """The same in words."""
    count, n = share(found)
    part = f"for {count:,} of {n:,} alive units ({count / n:.2f})" if n else "no unit alive"
    return f"{layer}: ‖βw′‖ > ‖v‖ {part}, of {len(found.alive):,} in all."


def short_names(layers: tuple[LayerInfo, ...]) -> list[str]:
    """The layers' names without what all of them begin with, e.g. ``net.``."""
    names = [each.name for each in layers]
    while len(names) > 1 and all("." in name for name in names) and len({n.split(".")[0] for n in names}) == 1:
        names = [name.partition(".")[2] for name in names]
    return names


class LayerPlot(pg.PlotWidget):  # type: ignore[misc]
    """A plot with layers along x, named where there is room, else numbered from 1. The chosen one is shaded."""

    pointed = Signal(int)  # the place under the mouse, −1 for none
    picked = Signal(int)

    def __init__(self, y: str, *, named: bool = True) -> None:
        super().__init__(enableMenu=False, axisItems=axes())
        self.names: list[str] = []
        self._named = named  # whether the axis says what it is
        self.chosen = pg.LinearRegionItem(movable=False)
        for edge in self.chosen.lines:
            edge.setPen(pg.mkPen(None))
        self.chosen.setZValue(-10)
        self.addItem(self.chosen, ignoreBounds=True)
        prepare_plot(self, y=y)
        self.getViewBox().sigResized.connect(self.write_names)
        self.scene().sigMouseMoved.connect(self._move)
        self.scene().sigMouseClicked.connect(self._click)
        self.viewport().installEventFilter(self)

    def set_layers(self, names: list[str]) -> None:
        """Name the places 0, 1, … along x."""
        self.names = names
        self.getViewBox().setXRange(-0.5, max(len(names), 1) - 0.5, padding=0)
        self.write_names()

    def write_names(self) -> None:
        """Names if all fit, else numbers; of those as many as fit."""
        axis, count = self.getPlotItem().getAxis("bottom"), max(len(self.names), 1)
        room = self.getViewBox().width() / count
        widths = [self.fontMetrics().horizontalAdvance(name) + 6 for name in self.names]
        fits = max(widths, default=0) <= room
        every = 1 if fits else max(1, int(np.ceil(self.fontMetrics().horizontalAdvance("00") * 1.5 / max(room, 1))))
        shown = [(i, name if fits else str(i + 1)) for i, name in enumerate(self.names) if i % every == 0]
        axis.setTicks([shown])
        if self._named:
            axis.setLabel(None if fits else "layer, by its number in the list")

    def choose(self, place: int) -> None:
        """Shade the layer at ``place``."""
        self.chosen.setRegion((place - 0.5, place + 0.5))

    def place_at(self, position: QPointF) -> int:
        """The place under a scene position, or −1."""
        box = self.getViewBox()
        if not box.sceneBoundingRect().contains(position):
            return -1
        place = int(np.floor(box.mapSceneToView(position).x() + 0.5))
        return place if 0 <= place < len(self.names) else -1

    def _move(self, position: QPointF) -> None:
        self.pointed.emit(self.place_at(position))

    def _click(self, event: pg.GraphicsScene.mouseEvents.MouseClickEvent) -> None:
        place = self.place_at(event.scenePos())
        if place >= 0 and event.button() == Qt.MouseButton.LeftButton:
            self.picked.emit(place)

    def set_theme(self, theme: Theme) -> None:
        """Recolour ground, axes and the chosen layer."""
        theme_plot(self, theme)
        self.chosen.setBrush(translucent(theme.accent, 40 if theme.dark else 26))

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """No layer when the mouse leaves."""
        if event.type() == QEvent.Type.Leave:
            self.pointed.emit(-1)
        return bool(super().eventFilter(watched, event))
