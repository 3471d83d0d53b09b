"""Perturbation: an input, what the attack adds to it, their sum; and the perturbation in the dictionary."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pyqtgraph as pg  # type: ignore[import-untyped]
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget

from engine.core.measurement import NORM_SIGN
from engine.core.results import Perturbations
from engine.figures.declare import ViewDeclaration, amplification, round_up
from engine.figures.perturbation import BINS, VIEW, reference
from fp_gui.theme import Theme
from fp_gui.views.base import Place, views
from fp_gui.views.gallery import ColourBar, Grid
from fp_gui.views.plots import add_items, colour_of, from_zero, new_plot, theme_plot, translucent
from fp_gui.views.sample_view import SampleView, measured
from fp_gui.views.widgets import Pages, line, tint

MEASURING = "The perturbations of a few held-out inputs are being measured."
TERMS = (
    "x: a held-out input; δ: what the attack adds to it; both as pictures in pixel space.\n"
    "Margin: y·f(x). Above 0 the network is right.\n"
    "Mᵀδ: the perturbation in the dictionary, one coefficient for each feature.\n"
    "Dense mixture −y·M w*: every feature a little, against the label. The circles mark it at the length of δ.\n"
    "Cosine: 1 means that δ is the dense mixture, 0 that it has nothing of it.\n"
    "90% of the energy: the smallest number of coefficients whose squares add up to 90% of ‖δ‖²."
)


def shared_scale(found: Perturbations) -> float:
    """One end of the colours for all the inputs, before and after."""
    largest = max(float(np.abs(a).max(initial=0.0)) for a in (found.x, found.x + found.delta))
    return max(round_up(largest), 1e-9)


def length(found: Perturbations, sample: int) -> str:
    """The size of a perturbation in the norm of its ball."""
    norm = found.protocol.norm
    size = float(np.linalg.norm(found.delta[sample], ord=2 if norm == "l2" else np.inf))
    return f"‖δ‖ = {size:.3g} ({NORM_SIGN[norm]})"


def verdict(margin: float) -> str:
    """A margin and what it means."""
    return f"{margin:+.3f} ({'right' if margin > 0 else 'wrong'})".replace("-", "−")


@views.register(VIEW.name, order=VIEW.order)
class PerturbationView(SampleView[Perturbations]):
    """One of the first held-out inputs with its perturbation, and the cosines of many."""

    declaration: ClassVar[ViewDeclaration] = VIEW
    place: ClassVar[Place] = "upper"
    wants: frozenset[type] = frozenset({Perturbations})
    result: ClassVar[type] = Perturbations
    noun: ClassVar[str] = "input"
    measuring: ClassVar[str] = MEASURING
    terms: ClassVar[str] = TERMS

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.bar = ColourBar()
        self.bar.setToolTip("Colour of a pixel, the same for the three pictures: blue below zero, orange above.")
        self.stems = new_plot("feature (dictionary coordinate)", "Mᵀδ")
        self.zero = pg.InfiniteLine(angle=0)
        self.dense = pg.ScatterPlotItem(symbol="o", size=6)
        self.coefficients = pg.PlotCurveItem(connect="pairs")
        add_items(self.stems, (self.zero, self.coefficients, self.dense))
        self.key = line(f"| {VIEW.looks['delta'].label}   ○ {VIEW.looks['dense'].label}")
        self.histogram = new_plot("cosine of δ with −y·M w*", "inputs")
        self.bars = pg.PlotCurveItem([0.0, 1.0], [0.0], stepMode="center", fillLevel=0)
        self.mean = pg.InfiniteLine(angle=90)
        self.this = pg.InfiniteLine(angle=90)
        add_items(self.histogram, (self.bars, self.mean, self.this))
        self.mean_key = line()
        for widget in (self.stems, self.histogram, self.key, self.mean_key):
            widget.setToolTip(TERMS)
        self.pages = Pages(self._body())
        self._scale = 0.0  # of the colours
        self._limits = 0.0, 0.0  # of the coefficients and the counts: axes only grow in a run
        top = self.controls()
        top.add(self.facts, stretch=1)
        top.add(self.factor)
        self.fill(top, self.pages)

    def _body(self) -> QWidget:
        upper = QHBoxLayout()
        for picture in self.pictures:
            upper.addWidget(picture, 1)
        left, right = QVBoxLayout(), QVBoxLayout()
        for column, plot, key in ((left, self.stems, self.key), (right, self.histogram, self.mean_key)):
            column.setSpacing(1)
            column.addWidget(plot, 1)
            column.addWidget(key)
        below = QWidget()
        lower = QHBoxLayout(below)
        lower.setContentsMargins(0, 0, 0, 0)
        lower.addLayout(left, 3)
        lower.addLayout(right, 2)
        body = QWidget()
        inner = QVBoxLayout(body)
        inner.setContentsMargins(0, 0, 0, 0)
        inner.setSpacing(4)
        inner.addLayout(upper, 5)
        inner.addWidget(self.bar)
        inner.addWidget(below, 6)
        inner.addWidget(self.summary)
        self.folding.secondary.append((below, "Coefficients and cosines of δ"))
        return body

    def forget(self) -> None:
        """Empty plots, whose axes begin anew."""
        super().forget()
        self._limits, self._scale = (0.0, 0.0), 0.0
        self.bar.set_scale(0.0)
        for item in (self.coefficients, self.dense):
            item.setData([], [])
        self.bars.setData([0.0, 1.0], [0.0])
        for at in (self.mean, self.this):
            at.setValue(0.0)
        self.mean_key.setText("")

    def size_of(self, found: Perturbations) -> int:
        """How many inputs are shown."""
        return len(found.y)

    def draw_sample(self) -> None:
        """The pictures, the facts and the coefficients of the chosen input."""
        found, i = self.found, self.chosen
        if found is None or i < 0:
            return
        scale = self._scale = max(self._scale, shared_scale(found))  # it only grows in a run
        factor = amplification(found.delta, scale) if self.factor.value == "auto" else 1
        x, delta = found.x[i], found.delta[i]
        for picture, values in zip(self.pictures, (x, delta * np.float32(factor), x + delta), strict=True):
            picture.show_tiles(values[None], Grid(np.zeros(1, np.int64), 1, len(values)), scale)
        self.pictures[0].title.setText(f"x: margin {verdict(float(found.before[i]))}")
        self.pictures[1].title.setText(f"δ × {factor}, {length(found, i)}")
        self.pictures[2].title.setText(f"x + δ: margin {verdict(float(found.after[i]))}")
        self.bar.set_scale(scale)
        label = "+1" if found.y[i] > 0 else "−1"
        cosine = float(found.cosine[i])
        self.facts.setText(
            f"y = {label} · cosine {cosine:.3f} · 90% of energy in {found.coordinates90[i]} of "
            f"{len(found.target)}".replace("-", "−")
        )
        self.this.setValue(cosine)
        values, at = found.coefficients[i], np.arange(len(found.target), dtype=np.float64)
        self.coefficients.setData(np.repeat(at, 2), from_zero(values))
        self.dense.setData(at, reference(found, i))
        self._set_range(found)

    def _set_range(self, found: Perturbations) -> None:
        top, counts = self._limits
        largest = max(
            float(np.abs(found.coefficients).max(initial=0.0)), max(float(np.abs(reference(found, 0)).max()), 1e-9)
        )
        if 1.05 * largest > top or not top:
            top = round_up(1.05 * largest)
            self._limits = top, counts
        box, D = self.stems.getViewBox(), len(found.target)
        wanted = [[-0.5, D - 0.5], [-top, top]]
        if box.viewRange() != wanted:
            box.setRange(xRange=wanted[0], yRange=wanted[1], padding=0)

    def draw_all(self, found: Perturbations) -> None:
        """The histogram and the means over all n inputs."""
        counts = np.histogram(np.clip(found.cosine, -1.0, 1.0), BINS)[0]
        self.bars.setData(BINS, counts)
        self.mean.setValue(found.mean_cosine)
        top, highest = self._limits
        if counts.max() > highest:
            highest = round_up(1.04 * float(counts.max()), 1)
            self._limits = top, highest
            self.histogram.getViewBox().setRange(xRange=(-1, 1), yRange=(0, highest), padding=0.02)
        n = found.protocol.n
        mean = f"{found.mean_cosine:.3f}".replace("-", "−")
        self.mean_key.setText(f"┊ mean {mean}, n = {n}   | this input")
        self.summary.setText(
            f"Mean cosine {mean}; 90% of the energy in {found.mean_coordinates90:.1f} of {len(found.target)} "
            f"coordinates on average. {measured(found.protocol)}."
        )

    def set_theme(self, theme: Theme) -> None:
        """Recolour pictures, plots and texts."""
        super().set_theme(theme)
        self.bar.set_theme(theme)
        for plot in (self.stems, self.histogram):
            theme_plot(plot, theme)
        main, other = (colour_of(VIEW.looks[name], theme) for name in ("delta", "dense"))
        self.zero.setPen(pg.mkPen(theme.grid, width=1))
        self.coefficients.setPen(pg.mkPen(main, width=2))
        self.dense.setPen(pg.mkPen(other, width=1))
        self.dense.setBrush(None)
        self.bars.setPen(pg.mkPen(main, width=1))
        self.bars.setBrush(translucent(main, 90))
        self.mean.setPen(pg.mkPen(theme.text, width=1, style=Qt.PenStyle.DashLine))
        self.this.setPen(pg.mkPen(other, width=2))
        for label in (self.key, self.mean_key):
            tint(label, theme.muted)
