"""Perturbation: an input, what the attack adds to it, their sum; and the perturbation in the dictionary."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pyqtgraph as pg  # type: ignore[import-untyped]
from PySide6.QtCore import QRectF, QSignalBlocker, Qt
from PySide6.QtGui import QColor
from PySide6.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget

from engine.config.experiment import SPARSE_CODING
from engine.core.measurement import NORM_SIGN, Measurement
from engine.core.results import FloatArray, Perturbations
from engine.run.snapshot import Snapshot
from fp_gui.theme import BLUE, ORANGE, SKY, VERMILION, Theme
from fp_gui.views.base import View, views
from fp_gui.views.gallery import ColourBar, Grid, TileGallery
from fp_gui.views.plots import Floats, add_items, from_zero, new_plot, theme_plot
from fp_gui.views.sample_choice import factor_choice, sample_box, step_button
from fp_gui.views.widgets import Pages, ceiling, line, restore, tint

FACTORS = (1, 2, 5, 10, 20, 50, 100)
BINS = np.linspace(-1.0, 1.0, 41)
EXAMPLES = 12  # samples that can be chosen before the first result says how many there are
MEASURING = "The perturbations of a few held-out inputs are being measured."
TERMS = (
    "x: a held-out input; δ: what the attack adds to it; both as pictures in pixel space.\n"
    "Margin: y·f(x). Above 0 the network is right.\n"
    "Mᵀδ: the perturbation in the dictionary, one coefficient for each feature.\n"
    "Dense mixture −y·M w*: every feature a little, against the label. The circles mark it at the same length.\n"
    "Cosine: 1 means that δ is the dense mixture, 0 that it has nothing of it.\n"
    "90% of the energy: the smallest number of coefficients whose squares add up to 90% of ‖δ‖²."
)


def amplification(delta: FloatArray, scale: float) -> int:
    """The largest of 1, 2, 5, 10, … by which the perturbations can be shown without leaving the scale."""
    largest = float(np.abs(delta).max(initial=0.0))
    return max((f for f in FACTORS if f * largest <= scale), default=1) if largest > 0 else 1


def shared_scale(anatomy: Perturbations) -> float:
    """One end of the colours for all the inputs, before and after."""
    largest = max(float(np.abs(a).max(initial=0.0)) for a in (anatomy.x, anatomy.x + anatomy.delta))
    return max(ceiling(largest), 1e-9)


def reference(anatomy: Perturbations, sample: int) -> Floats:
    """The dense mixture −y·w_star in the dictionary (D,), as long as the ball allows; in ℓ∞ as long as δ."""
    target = np.asarray(anatomy.target, np.float64)
    norm = float(np.linalg.norm(target))
    l2 = anatomy.protocol.norm == "l2"
    length = anatomy.protocol.tau if l2 else float(np.linalg.norm(anatomy.delta[sample]))
    found: Floats = -float(anatomy.y[sample]) * target * (length / norm if norm else 0.0)
    return found


def length(anatomy: Perturbations, sample: int) -> str:
    """The size of a perturbation in the norm of its ball."""
    norm = anatomy.protocol.norm
    size = float(np.linalg.norm(anatomy.delta[sample], ord=2 if norm == "l2" else np.inf))
    return f"‖δ‖ = {size:.3g} ({NORM_SIGN[norm]})"


def measured(protocol: Measurement) -> str:
    """The protocol of means, which have no interval of proportions."""
    return protocol.text().replace(", 95% Wilson interval", "")


def verdict(margin: float) -> str:
    """A margin and what it means."""
    return f"{margin:+.3f} ({'right' if margin > 0 else 'wrong'})".replace("-", "−")


class Picture(TileGallery):
    """One vector as a picture, without a line around it and without zooming."""

    def __init__(self, title: str) -> None:
        super().__init__(title)
        self.box.setMouseEnabled(x=False, y=False)
        self.setToolTip(TERMS)

    def show_vector(self, vector: FloatArray, scale: float) -> None:
        """Show ``vector`` (d,) with colours from −scale to +scale."""
        self.show_tiles(vector[None], Grid(np.zeros(1, np.int64), 1, len(vector)), scale)
        self.image.setImage(self.image.image[1:-1, 1:-1], autoLevels=False, levels=(0, 255))

    def fit(self) -> None:
        """Show the whole picture."""
        if self.grid is not None:
            height, width = self.grid.size
            self.box.setRange(QRectF(0, 0, width - 2, height - 2), padding=0)


@views.register("perturbation")
class PerturbationView(View):
    """One of the first held-out inputs with its perturbation, and the cosines of many."""

    name: ClassVar[str] = "perturbation"
    title: ClassVar[str] = "Perturbation"
    wants: frozenset[type] = frozenset({Perturbations})
    kinds: ClassVar[tuple[str, ...]] = (SPARSE_CODING,)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.sample = sample_box("input", EXAMPLES, "Which held-out input is shown; always the same ones.")
        self.previous = step_button(self.sample, "◀", "Previous input", -1)
        self.next = step_button(self.sample, "▶", "Next input", 1)
        self.factor = factor_choice("by the round factor in its title, as far as the common colours allow.")
        self.facts = line()
        self.facts.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.pictures = Picture("x"), Picture("δ"), Picture("x + δ")
        self.bar = ColourBar()
        self.bar.setToolTip("Colour of a pixel, the same for the three pictures: blue below zero, orange above.")
        self.stems = new_plot("feature (dictionary coordinate)", "Mᵀδ")
        self.zero = pg.InfiniteLine(angle=0)
        self.dense = pg.ScatterPlotItem(symbol="o", size=6)
        self.coefficients = pg.PlotCurveItem(connect="pairs")
        add_items(self.stems, (self.zero, self.coefficients, self.dense))
        self.key = line("| δ   ○ the dense mixture −y·M w*, as long as the ball allows")
        self.histogram = new_plot("cosine of δ with −y·M w*", "inputs")
        self.bars = pg.PlotCurveItem([0.0, 1.0], [0.0], stepMode="center", fillLevel=0)
        self.mean = pg.InfiniteLine(angle=90)
        self.this = pg.InfiniteLine(angle=90)
        add_items(self.histogram, (self.bars, self.mean, self.this))
        self.mean_key = line()
        self.summary = line()
        self.summary.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        for widget in (self.facts, self.stems, self.histogram, self.key, self.mean_key, self.summary):
            widget.setToolTip(TERMS)
        self.pages = Pages(self._body())
        top = QHBoxLayout()
        for widget in (self.previous, self.sample, self.next):
            top.addWidget(widget)
        top.addWidget(self.facts, 1)
        top.addWidget(self.factor)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 6, 8, 6)
        layout.addLayout(top)
        layout.addWidget(self.pages, 1)

        self.anatomy: Perturbations | None = None
        self._run = ""
        self._limits = 0.0, 0.0  # of the coefficients and the counts: axes only grow in a run
        self.sample.valueChanged.connect(self._chosen)
        self.factor.currentIndexChanged.connect(self._draw_sample)
        self.set_theme(self.theme)
        self._chosen()

    def _body(self) -> QWidget:
        upper = QHBoxLayout()
        for picture in self.pictures:
            upper.addWidget(picture, 1)
        left, right = QVBoxLayout(), QVBoxLayout()
        for column, plot, key in ((left, self.stems, self.key), (right, self.histogram, self.mean_key)):
            column.setSpacing(1)
            column.addWidget(plot, 1)
            column.addWidget(key)
        lower = QHBoxLayout()
        lower.addLayout(left, 3)
        lower.addLayout(right, 2)
        body = QWidget()
        inner = QVBoxLayout(body)
        inner.setContentsMargins(0, 0, 0, 0)
        inner.setSpacing(4)
        inner.addLayout(upper, 5)
        inner.addWidget(self.bar)
        inner.addLayout(lower, 6)
        inner.addWidget(self.summary)
        return body

    def render(self, snapshot: Snapshot) -> None:  # type: ignore[override]
        """Show the perturbations of ``snapshot`` if they are not those that are shown already."""
        if snapshot.run != self._run:
            self._run, self.anatomy, self._limits = snapshot.run, None, (0.0, 0.0)
        anatomy = snapshot.get(Perturbations)
        if anatomy is None and self.anatomy is None:
            self.pages.message.setText(MEASURING)
        self.pages.show_content(anatomy is not None or self.anatomy is not None)
        if anatomy is None or anatomy is self.anatomy:
            return
        self.anatomy = anatomy
        if self.sample.maximum() != max(len(anatomy.y), 1):
            with QSignalBlocker(self.sample):
                self.sample.setRange(1, max(len(anatomy.y), 1))
            self._chosen()
        else:
            self._draw_sample()
        self._draw_all(anatomy)

    def _chosen(self) -> None:
        """Another input was chosen."""
        self.previous.setEnabled(self.sample.value() > 1)
        self.next.setEnabled(self.sample.value() < self.sample.maximum())
        self._draw_sample()

    def _draw_sample(self) -> None:
        """The pictures, the facts and the coefficients of the chosen input."""
        anatomy, i = self.anatomy, self.sample.value() - 1
        if anatomy is None or i >= len(anatomy.y):
            return
        scale = shared_scale(anatomy)
        factor = amplification(anatomy.delta, scale) if self.factor.value == "auto" else 1
        x, delta = anatomy.x[i], anatomy.delta[i]
        for picture, values in zip(self.pictures, (x, delta * np.float32(factor), x + delta), strict=True):
            picture.show_vector(values, scale)
        self.pictures[0].title.setText(f"x: margin {verdict(float(anatomy.before[i]))}")
        self.pictures[1].title.setText(f"δ × {factor}, {length(anatomy, i)}")
        self.pictures[2].title.setText(f"x + δ: margin {verdict(float(anatomy.after[i]))}")
        self.bar.set_scale(scale)
        label = "+1" if anatomy.y[i] > 0 else "−1"
        cosine = float(anatomy.cosine[i])
        self.facts.setText(
            f"y = {label} · cosine {cosine:.3f} · 90% of energy in {anatomy.coordinates90[i]} of "
            f"{len(anatomy.target)}".replace("-", "−")
        )
        self.this.setValue(cosine)
        values, at = anatomy.coefficients[i], np.arange(len(anatomy.target), dtype=np.float64)
        self.coefficients.setData(np.repeat(at, 2), from_zero(values))
        self.dense.setData(at, reference(anatomy, i))
        l2 = anatomy.protocol.norm == "l2"
        self.key.setText(f"| δ   ○ the dense mixture −y·M w*, {'of length tau' if l2 else 'as long as δ (ℓ2)'}")
        self._set_range(anatomy)

    def _set_range(self, anatomy: Perturbations) -> None:
        top, counts = self._limits
        largest = max(
            float(np.abs(anatomy.coefficients).max(initial=0.0)), max(float(np.abs(reference(anatomy, 0)).max()), 1e-9)
        )
        if 1.05 * largest > top or not top:
            top = ceiling(1.05 * largest)
            self._limits = top, counts
        box, D = self.stems.getViewBox(), len(anatomy.target)
        wanted = [[-0.5, D - 0.5], [-top, top]]
        if box.viewRange() != wanted:
            box.setRange(xRange=wanted[0], yRange=wanted[1], padding=0)

    def _draw_all(self, anatomy: Perturbations) -> None:
        """The histogram and the means over all n inputs."""
        counts = np.histogram(np.clip(anatomy.cosine, -1.0, 1.0), BINS)[0]
        self.bars.setData(BINS, counts)
        self.mean.setValue(anatomy.mean_cosine)
        top, highest = self._limits
        if counts.max() > highest:
            highest = ceiling(1.04 * float(counts.max()), 1)
            self._limits = top, highest
            self.histogram.getViewBox().setRange(xRange=(-1, 1), yRange=(0, highest), padding=0.02)
        n = anatomy.protocol.n
        mean = f"{anatomy.mean_cosine:.3f}".replace("-", "−")
        self.mean_key.setText(f"┊ mean {mean}, n = {n}   | this input")
        self.summary.setText(
            f"Mean cosine {mean}; 90% of the energy in {anatomy.mean_coordinates90:.1f} of {len(anatomy.target)} "
            f"coordinates on average. {measured(anatomy.protocol)}."
        )

    def set_theme(self, theme: Theme) -> None:
        """Recolour pictures, plots and texts."""
        super().set_theme(theme)
        self.pages.set_theme(theme)
        self.bar.set_theme(theme)
        for picture in self.pictures:
            picture.set_theme(theme)
            picture.plot.setBackground(theme.base)
            picture.image.setBorder(pg.mkPen(theme.grid, width=1))
        for plot in (self.stems, self.histogram):
            theme_plot(plot, theme)
        main, other = QColor(SKY if theme.dark else BLUE), QColor(ORANGE if theme.dark else VERMILION)
        self.zero.setPen(pg.mkPen(theme.grid, width=1))
        self.coefficients.setPen(pg.mkPen(main, width=2))
        self.dense.setPen(pg.mkPen(other, width=1))
        self.dense.setBrush(None)
        self.bars.setPen(pg.mkPen(main, width=1))
        faint = QColor(main)
        faint.setAlpha(90)
        self.bars.setBrush(faint)
        self.mean.setPen(pg.mkPen(theme.text, width=1, style=Qt.PenStyle.DashLine))
        self.this.setPen(pg.mkPen(other, width=2))
        tint(self.facts, theme.text)
        for label in (self.key, self.mean_key, self.summary):
            tint(label, theme.muted)

    def options(self) -> dict[str, str]:
        """``sample``: which input, from 1; ``factor``: how δ is drawn."""
        return {"sample": str(self.sample.value()), "factor": self.factor.value}

    def set_options(self, options: dict[str, str]) -> None:
        """Inverse of :meth:`options`."""
        sample = options.get("sample", "")
        if sample.isdecimal() and 1 <= int(sample) <= self.sample.maximum():
            self.sample.setValue(int(sample))
        restore({"factor": self.factor}, options)
        self._draw_sample()
