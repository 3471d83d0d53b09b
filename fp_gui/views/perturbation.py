"""Perturbation: an input, what the attack adds to it, their sum; and the perturbation in the dictionary."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import pyqtgraph as pg  # type: ignore[import-untyped]
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget

from engine.core.measurement import NORM_SIGN
from engine.core.results import CleanPerturbations, Perturbations
from engine.figures.declare import ViewDeclaration, round_up
from engine.figures.perturbation import BINS, VIEW, reference, shared_factor, shared_scale, size
from fp_gui.theme import Theme
from fp_gui.views.base import Place, views
from fp_gui.views.gallery import ColourBar, Grid
from fp_gui.views.plots import SYMBOLS, add_items, colour_of, from_zero, new_plot, theme_plot, translucent
from fp_gui.views.sample_view import OnePicture, SampleView, measured
from fp_gui.views.widgets import Pages, line, tint

SIGN_OF = {"delta": "|", "dense": "○", "clean": "▲"}
MEASURING = "The perturbations of a few held-out inputs are being measured."
TERMS = (
    "x: a held-out input; δ: what the attack adds to it; both as pictures in pixel space.\n"
    "Margin: y·f(x). Above 0 the network is right.\n"
    "Mᵀδ: the perturbation in the dictionary, one coefficient for each feature.\n"
    "Dense mixture −y·M w*: every feature a little, against the label. The circles mark it at the length of δ.\n"
    "Cosine: 1 means that δ is the dense mixture, 0 that it has nothing of it.\n"
    "Clean net: the same of the net at the end of clean training, with the bias of then, on the same input.\n"
    "90% of the energy: the smallest number of coefficients whose squares add up to 90% of ‖δ‖²."
)


def length(found: Perturbations, sample: int) -> str:
    """The size of a perturbation in the norm of its ball."""
    return f"‖δ‖ = {size(found, sample):.3g} ({NORM_SIGN[found.protocol.norm]})"


def verdict(margin: float) -> str:
    """A margin and what it means."""
    return f"{margin:+.3f} ({'right' if margin > 0 else 'wrong'})".replace("-", "−")


@views.register(VIEW.name, order=VIEW.order)
class PerturbationView(SampleView[Perturbations]):
    """One of the first held-out inputs with its perturbation, and the cosines of many."""

    declaration: ClassVar[ViewDeclaration] = VIEW
    place: ClassVar[Place] = "upper"
    wants: frozenset[type] = frozenset({Perturbations, CleanPerturbations})
    result: ClassVar[type] = Perturbations
    clean_result: ClassVar[type] = CleanPerturbations
    clean: CleanPerturbations | None
    noun: ClassVar[str] = "input"
    measuring: ClassVar[str] = MEASURING
    terms: ClassVar[str] = TERMS

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.bar = ColourBar()
        self.bar.setToolTip("Colour of a pixel, the same for all pictures: blue below zero, orange above.")
        self.stems = new_plot("feature (dictionary coordinate)", "Mᵀδ")
        self.zero = pg.InfiniteLine(angle=0)
        self.dense = pg.ScatterPlotItem(symbol="o", size=6)
        self.coefficients = pg.PlotCurveItem(connect="pairs")
        self.clean_coefficients = pg.ScatterPlotItem(symbol=SYMBOLS[VIEW.looks["clean"].marker], size=5, pen=None)
        add_items(self.stems, (self.zero, self.coefficients, self.dense, self.clean_coefficients))
        self.key = line()
        self.histogram = new_plot("cosine of δ with −y·M w*", "inputs")
        self.bars = pg.PlotCurveItem([0.0, 1.0], [0.0], stepMode="center", fillLevel=0)
        self.clean_bars = pg.PlotCurveItem([0.0, 1.0], [0.0], stepMode="center")
        self.mean = pg.InfiniteLine(angle=90)
        self.this = pg.InfiniteLine(angle=90)
        add_items(self.histogram, (self.bars, self.clean_bars, self.mean, self.this))
        self.mean_key = line()
        for widget in (self.stems, self.histogram, self.key, self.mean_key):
            widget.setToolTip(TERMS)
        self.pages = Pages(self._body())
        self._scale = 0.0  # of the colours
        self._limits = 0.0, 0.0  # of the coefficients and the counts: axes only grow in a run
        top = self.controls()
        top.add(self.facts, stretch=1)
        top.add(self.beside)
        top.add(self.factor)
        self.fill(top, self.pages)

    def _body(self) -> QWidget:
        upper = self.row_of_pictures()
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
        for item in (self.coefficients, self.dense, self.clean_coefficients):
            item.setData([], [])
        for bars in (self.bars, self.clean_bars):
            bars.setData([0.0, 1.0], [0.0])
        for at in (self.mean, self.this):
            at.setValue(0.0)
        self.mean_key.setText("")

    def size_of(self, found: Perturbations) -> int:
        """How many inputs are shown."""
        return len(found.y)

    def protocol_of(self, found: Perturbations | CleanPerturbations | None) -> object:
        """The attack."""
        if found is None:
            return None
        return (found.perturbations if isinstance(found, CleanPerturbations) else found).protocol

    def draw_sample(self) -> None:
        """The pictures, the facts and the coefficients of the chosen input."""
        found, clean, i = self.found, self.clean, self.chosen
        if found is None or i < 0:
            return
        scale = self._scale = max(self._scale, shared_scale(found, clean))  # it only grows in a run
        factor = shared_factor(found, clean, scale) if self.factor.value == "auto" else 1
        x, *now = self.pictures
        x.show_tiles(found.x[i][None], Grid(np.zeros(1, np.int64), 1, found.x.shape[1]), scale)
        x.title.setText(f"x: margin {verdict(float(found.before[i]))}")
        self._show_net(now, found, i, scale, factor, "" if clean is None else "now: ")
        if clean is not None:
            of = clean.perturbations
            x.title.setText(f"x: margin {verdict(float(found.before[i]))}, clean net {verdict(float(of.before[i]))}")
            self._show_net(self.clean_pictures, of, i, scale, factor, "clean net: ")
        self.bar.set_scale(scale)
        label = "+1" if found.y[i] > 0 else "−1"
        cosine = float(found.cosine[i])
        facts = f"y = {label} · cosine {cosine:.3f} · 90% of energy in {found.coordinates90[i]} of {len(found.target)}"
        if clean is not None:
            of = clean.perturbations
            facts += f" · clean net: {of.cosine[i]:.3f}, {of.coordinates90[i]}"
            facts += f" · cosine between both δ {clean.between[i]:.3f}"
        self.facts.setText(facts.replace("-", "−"))
        self.this.setValue(cosine)
        values, at = found.coefficients[i], np.arange(len(found.target), dtype=np.float64)
        self.coefficients.setData(np.repeat(at, 2), from_zero(values))
        self.dense.setData(at, reference(found, i))
        self.clean_coefficients.setData(*(([], []) if clean is None else (at, clean.perturbations.coefficients[i])))
        names = ["delta", "dense"] + ([] if clean is None else ["clean"])
        self.key.setText("   ".join(f"{SIGN_OF[name]} {VIEW.looks[name].label}" for name in names))
        self._set_range(found, clean)

    @staticmethod
    def _show_net(
        pictures: Sequence[OnePicture], found: Perturbations, i: int, scale: float, factor: int, before: str
    ) -> None:
        """δ and x + δ of one net, with ``before`` each title."""
        delta = found.delta[i]
        grid = Grid(np.zeros(1, np.int64), 1, len(delta))
        for picture, values in zip(pictures, (delta * np.float32(factor), found.x[i] + delta), strict=True):
            picture.show_tiles(values[None], grid, scale)
        pictures[0].title.setText(f"{before}δ × {factor}, {length(found, i)}")
        pictures[1].title.setText(f"{before}x + δ: margin {verdict(float(found.after[i]))}")

    def _set_range(self, found: Perturbations, clean: CleanPerturbations | None) -> None:
        top, counts = self._limits
        nets = [found] if clean is None else [found, clean.perturbations]
        largest = max(
            *(float(np.abs(each.coefficients).max(initial=0.0)) for each in nets),
            float(np.abs(reference(found, 0)).max()),
            1e-9,
        )
        if 1.05 * largest > top or not top:
            top = round_up(1.05 * largest)
            self._limits = top, counts
        box, D = self.stems.getViewBox(), len(found.target)
        wanted = [[-0.5, D - 0.5], [-top, top]]
        if box.viewRange() != wanted:
            box.setRange(xRange=wanted[0], yRange=wanted[1], padding=0)

    def draw_all(self, found: Perturbations) -> None:
        """The histograms and the means over all n inputs."""
        clean = self.clean
        counts = np.histogram(np.clip(found.cosine, -1.0, 1.0), BINS)[0]
        self.bars.setData(BINS, counts)
        most = counts.max()
        if clean is None:
            self.clean_bars.setData([0.0, 1.0], [0.0])
        else:
            others = np.histogram(np.clip(clean.perturbations.cosine, -1.0, 1.0), BINS)[0]
            self.clean_bars.setData(BINS, others)
            most = max(most, others.max())
        self.mean.setValue(found.mean_cosine)
        top, highest = self._limits
        if most > highest:
            highest = round_up(1.04 * float(most), 1)
            self._limits = top, highest
            self.histogram.getViewBox().setRange(xRange=(-1, 1), yRange=(0, highest), padding=0.02)
        n = found.protocol.n
        mean = f"{found.mean_cosine:.3f}".replace("-", "−")
        self.mean_key.setText(
            f"┊ mean {mean}, n = {n}   | this input" + ("" if clean is None else "   outline: clean net")
        )
        beside = ""
        if clean is not None:
            of = clean.perturbations
            beside = (
                f" The clean net's (step {clean.step:,}): {of.mean_cosine:.3f}, {of.mean_coordinates90:.1f} "
                f"coordinates; mean cosine between both δ {clean.mean_between:.3f}."
            ).replace("-", "−")
        self.summary.setText(
            f"Mean cosine {mean}; 90% of the energy in {found.mean_coordinates90:.1f} of {len(found.target)} "
            f"coordinates on average.{beside} {measured(found.protocol)}."
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
        clean = colour_of(VIEW.looks["clean"], theme)
        self.clean_coefficients.setBrush(clean)
        self.clean_bars.setPen(pg.mkPen(clean, width=1))
        self.bars.setPen(pg.mkPen(main, width=1))
        self.bars.setBrush(translucent(main, 90))
        self.mean.setPen(pg.mkPen(theme.text, width=1, style=Qt.PenStyle.DashLine))
        self.this.setPen(pg.mkPen(other, width=2))
        for label in (self.key, self.mean_key):
            tint(label, theme.muted)
