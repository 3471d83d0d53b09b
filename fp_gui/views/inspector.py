"""One neuron from close by: its weights, its coefficients in the dictionary, its history since it was chosen."""

from __future__ import annotations

import numpy as np
import pyqtgraph as pg  # type: ignore[import-untyped]
from PySide6.QtCore import QSignalBlocker, Qt, Signal
from PySide6.QtGui import QColor
from PySide6.QtWidgets import QFrame, QHBoxLayout, QToolButton, QVBoxLayout, QWidget

from engine.core.results import FloatArray, Mixture, Weights
from engine.figures.declare import BLUE, BRIGHT_VERMILION, DARK_GREEN, GREEN, ORANGE, SKY, VERMILION, Look, round_up
from fp_gui.number_boxes import WholeBox
from fp_gui.theme import LIGHT, Theme
from fp_gui.views.curves import decimate
from fp_gui.views.gallery import Grid, TileGallery
from fp_gui.views.plots import add_items, from_zero, new_plot, pen_of, theme_plot
from fp_gui.views.widgets import line, tint

HISTORY = {
    "purity": Look("purity, solid", BLUE, SKY),
    "mixture": Look("mixture ‖v‖, dashed", VERMILION, BRIGHT_VERMILION, dash="dashed"),
    "norm": Look("norm ‖w‖, dotted", DARK_GREEN, GREEN, dash="dotted"),
}
FEATURE = Look("feature", VERMILION, ORANGE)
TIPS = (
    "feature j: the dictionary column with the largest |C_ij|\n"
    "pure: |C_ij|; mixture v: all other coordinates, its size ‖v‖; relative: ‖v‖/‖C‖; purity: |C_ij|/‖C‖\n"
    "dense alignment: |⟨v,w*⟩|/(‖w*‖·‖C‖), how much of the neuron is the dense mixture\n"
    "alive: ‖w‖ above 0.3 of the largest"
)


class Inspector(QFrame):
    """Shows neuron ``neuron``; :meth:`show_neuron` gives it new weights. The user may step to another or close it."""

    chosen = Signal(int)
    closed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setFrameShape(QFrame.Shape.StyledPanel)
        self.neuron = -1
        self.number = WholeBox()
        self.number.setPrefix("neuron ")
        self.number.setToolTip("The neuron that is inspected; step through them with the arrow keys.")
        self.facts = line()
        self.facts.setToolTip(TIPS)
        self.facts.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        close = QToolButton()
        close.setText("✕")
        close.setAutoRaise(True)
        close.setToolTip("Close the inspector")
        close.setAccessibleName("Close the inspector")
        self.pictures = (TileGallery("start"), TileGallery("after clean", "not yet"), TileGallery("now"))
        self.bars = new_plot("feature j", "C_ij · w*_j", auto=True)
        self.bars.setToolTip(
            "The neuron's coefficients, each times the sign of w*_j. One tall bar is its feature; a common shift\n"
            "of all the other bars (dashed line: their mean, ⟨v,w*⟩/D) is the dense mixture.\n"
            "Circles: after clean training."
        )
        self.zero = pg.InfiniteLine(angle=0)
        self.mean = pg.InfiniteLine(angle=0)
        self.stems = pg.PlotCurveItem(connect="pairs")
        self.top = pg.PlotCurveItem(connect="pairs")
        self.before = pg.ScatterPlotItem(symbol="o", size=5)
        add_items(self.bars, (self.zero, self.before, self.stems, self.top, self.mean))
        self.history = new_plot("training step, since chosen", "purity, ℓ2 norms", auto=True)
        self.lines = {name: pg.PlotCurveItem() for name in HISTORY}
        for item in self.lines.values():
            self.history.addItem(item)
        self.legend = line(" · ".join(look.label for look in HISTORY.values()))
        self.record: list[tuple[float, float, float, float]] = []
        self._limit = 0.0

        head = QHBoxLayout()
        head.addWidget(self.number)
        head.addStretch(1)
        left = QVBoxLayout()
        left.addLayout(head)
        left.addWidget(self.facts, 1, Qt.AlignmentFlag.AlignTop)
        right = QVBoxLayout()
        right.setSpacing(2)
        right.addWidget(self.history, 1)
        right.addWidget(self.legend)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(6, 6, 6, 6)
        layout.addLayout(left, 3)
        for picture in self.pictures:
            layout.addWidget(picture, 2)
        layout.addWidget(self.bars, 6)
        layout.addLayout(right, 4)
        layout.addWidget(close, 0, Qt.AlignmentFlag.AlignTop)
        close.clicked.connect(self.closed)
        self.number.valueChanged.connect(self.chosen)
        self.set_theme(LIGHT)

    def select(self, neuron: int) -> None:
        """Turn to another neuron: its history begins anew."""
        if neuron != self.neuron:
            self.neuron = neuron
            self.record.clear()
            self._limit = 0.0

    def forget(self) -> None:
        """Another run: nothing is known of the neuron."""
        self.record.clear()
        self._limit = 0.0
        self.facts.setText("")
        for picture in self.pictures:
            picture.forget()
        for curve in (self.stems, self.top, self.before, *self.lines.values()):
            curve.setData([], [])
        self.mean.setValue(0.0)

    def show_neuron(self, weights: Weights, mixture: Mixture, step: int, scale: float) -> None:
        """Show the chosen neuron at ``step``, in pixels with the shared colour ``scale``."""
        m, d = weights.now.shape
        i = self.neuron
        if not 0 <= i < m:
            return
        with QSignalBlocker(self.number):
            self.number.setRange(0, m - 1)
            self.number.setValue(i)
        grid = Grid(np.array([i]), 1, d)
        for picture, values in zip(self.pictures, (weights.start, weights.clean, weights.now), strict=True):
            if values is None:
                picture.show_placeholder()
            else:
                picture.show_tiles(values[i : i + 1], grid, scale)
        self._show_facts(mixture, i)
        self._show_coefficients(weights, int(mixture.feature[i]))
        self._show_history(mixture, step)

    def _show_facts(self, mixture: Mixture, i: int) -> None:
        self.facts.setText(
            f"feature j = {mixture.feature[i]}\n"
            f"pure {mixture.pure[i]:.3f} · mixture {mixture.mixture[i]:.3f}\n"
            f"purity {mixture.purity[i]:.3f} · relative {mixture.relative[i]:.3f}\n"
            f"dense alignment {mixture.dense_alignment[i]:.3f}\n"
            f"norm {mixture.norm[i]:.3f} · {'alive' if mixture.alive[i] else 'not alive'}"
        )

    def _show_coefficients(self, weights: Weights, feature: int) -> None:
        now = self._coefficients(weights.now[self.neuron], weights)
        at = np.arange(len(now), dtype=np.float64)
        others = np.delete(at, feature).astype(int)
        self.stems.setData(np.repeat(at[others], 2), from_zero(now[others]))
        self.top.setData(np.repeat(at[feature : feature + 1], 2), from_zero(now[feature : feature + 1]))
        self.mean.setValue(float(now[others].sum() / len(now)))
        largest = float(np.abs(now).max())
        if weights.clean is None:
            self.before.setData([], [])
        else:
            clean = self._coefficients(weights.clean[self.neuron], weights)
            self.before.setData(at, clean)
            largest = max(largest, float(np.abs(clean).max()))
        if largest > self._limit:  # only grows while one looks at the same neuron
            self._limit = round_up(1.05 * largest)
            self.bars.setRange(xRange=(-0.5, len(now) - 0.5), yRange=(-self._limit, self._limit), padding=0.01)

    @staticmethod
    def _coefficients(row: FloatArray, weights: Weights) -> FloatArray:
        found: FloatArray = (row @ weights.dictionary) * np.sign(weights.target)
        return found

    def _show_history(self, mixture: Mixture, step: int) -> None:
        if self.record and step < self.record[-1][0]:
            self.record.clear()  # somebody went back in time
        if not self.record or step > self.record[-1][0]:
            i = self.neuron
            values = float(mixture.purity[i]), float(mixture.mixture[i]), float(mixture.norm[i])
            self.record.append((float(step), *values))
        table = np.array(self.record)
        for column, item in enumerate(self.lines.values(), start=1):
            item.setData(*decimate(table[:, 0], table[:, column], 500))

    def set_theme(self, theme: Theme) -> None:
        """Take new colours."""
        for picture in self.pictures:
            picture.set_theme(theme)
        for plot in (self.bars, self.history):
            theme_plot(plot, theme)
        for name, look in HISTORY.items():
            self.lines[name].setPen(pen_of(look, theme))
        self.zero.setPen(pg.mkPen(theme.grid, width=1))
        self.mean.setPen(pg.mkPen(theme.text, width=1, style=Qt.PenStyle.DashLine))
        self.stems.setPen(pen_of(HISTORY["purity"], theme))
        self.top.setPen(pen_of(FEATURE, theme, 3))
        self.before.setPen(pg.mkPen(QColor(theme.muted)))
        self.before.setBrush(None)
        tint(self.facts, theme.text)
        tint(self.legend, theme.muted)
