"""Sparse or dense: how few first-layer filters rebuild images and perturbations."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np
import pyqtgraph as pg  # type: ignore[import-untyped]
from PySide6.QtCore import Qt, Slot
from PySide6.QtWidgets import QSizePolicy, QWidget

from engine.figures.declare import ViewDeclaration
from engine.figures.sparse_code import LOOKS, VIEW
from engine.studies.questions.sparse_code import FILTERS, SparseCodes, SparseCurve, SparseStudy
from fp_gui.tasks import Task
from fp_gui.views.base import views
from fp_gui.views.gallery_view import NO_START
from fp_gui.views.plots import SIGNS, SYMBOLS, colour_of, new_plot, pen_of, translucent
from fp_gui.views.study_view import Key, StudyView, fill_row, study_table
from fp_gui.views.widgets import Choice, restore

RUN = Task("sparse", "Rebuild from filters")
EMPTY = (
    "Nothing was rebuilt from this run's filters yet.\n“Rebuild from filters” writes images and perturbations as sums "
    "of few first-layer filters. If purified filters are the features of images, images need few of them, and the "
    "dense mixtures that fool the clean network need many."
)
COLUMNS = ("vectors", "filters [95%]", "10 to 90% of inputs", "mean", "inputs that reach it")


@views.register(VIEW.name, order=VIEW.order)
class SparseCodeView(StudyView[SparseCodes]):
    """Error against the number of filters: images, both networks' perturbations, random vectors."""

    declaration: ClassVar[ViewDeclaration] = VIEW
    file: ClassVar[str] = SparseStudy.file
    empty: ClassVar[str] = EMPTY
    tasks: ClassVar[tuple[tuple[Task, str], ...]] = (
        (RUN, "Attack 200 held-out images and rebuild them, what is added to them and random vectors from the first "
         "layer's filters.\nTakes seconds to a few minutes, in another process; training goes on. It can be "
         "cancelled."),
    )  # fmt: skip

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.filters, self.method = (Choice.of(VIEW.option(name)) for name in ("filters", "method"))
        for choice in (self.filters, self.method):
            choice.currentIndexChanged.connect(self._chosen)
        self.add_choice("From", self.filters, 1)
        self.add_choice("by", self.method, 1)
        self.errors = new_plot("number of filters", "relative error that is left")
        self.errors.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Ignored)
        self.errors.setMinimumHeight(140)
        self.plots = [self.errors]
        self.keys = [Key(tuple(LOOKS.values()))]
        self.table = study_table(COLUMNS, "How many filters each kind of vectors needs")
        self.content.addWidget(self.verdict)
        self.content.addWidget(self.keys[0])
        self.content.addWidget(self.errors, 3)
        self.content.addWidget(self.table, 1)
        self.set_theme(self.theme)

    def read(self, folder: Path) -> None:
        """Read the study that was made last."""
        self.found = SparseStudy.read(folder)

    @Slot()
    def _chosen(self) -> None:
        if self.found is not None and self.snapshot is not None:
            self.draw(self.found)
            self.protocol.setText(self.caption(self.found, self.snapshot.step))

    def caption(self, found: SparseCodes, step: int) -> str:
        """Whose filters and perturbations they are, what was rebuilt and how it was attacked."""
        later = f"; the run is at step {step:,} now" if step > found.step else ""
        return (
            f"Clean network: step {found.clean_step:,}; purified: step {found.step:,}{later}. {found.what} {found.how} "
            f"Medians over {found.inputs('now', self.method.value)} inputs, bands 10 to 90% of them."
        )

    def draw(self, found: SparseCodes) -> None:
        """Draw the curves in the chosen filters, the marks on them and the numbers."""
        item = self.errors.getPlotItem()
        item.clear()
        item.addItem(pg.InfiniteLine(found.error, angle=0, pen=pg.mkPen(self.theme.muted, style=Qt.PenStyle.DotLine)))
        if self.filters.value not in found.atoms:
            self.verdict.setText(NO_START)
            self.table.setRowCount(0)
            return
        curves = found.chosen(self.filters.value, self.method.value)
        self.verdict.setText(" ".join(found.findings(self.filters.value, self.method.value)))
        self.table.setRowCount(len(curves))
        for row, (name, curve) in enumerate(curves.items()):
            look, count = LOOKS[name], curve.count
            self._draw_curve(item, curve, found.error)
            mean = "" if count.mean is None else f"{count.mean:.2f}"
            texts = (
                f"{SIGNS[SYMBOLS[look.marker]]} {look.label}", count.text(curve.most), count.spread(curve.most), mean,
                f"{count.reached:.0%} of {curve.n}",
            )  # fmt: skip
            fill_row(self.table, row, texts)
        item.setLabel("bottom", f"number of {FILTERS[self.filters.value]}")
        item.setXRange(0, max([1, *(curve.most for curve in curves.values())]), padding=0.01)
        item.setYRange(0, 1, padding=0.02)

    def _draw_curve(self, item: pg.PlotItem, curve: SparseCurve, error: float) -> None:
        look, count = LOOKS[curve.vectors], curve.count
        colour, number = colour_of(look, self.theme), np.arange(curve.most + 1)
        ends = [pg.PlotDataItem(number, np.array(values)) for values in (curve.q10, curve.q90)]
        band = pg.FillBetweenItem(*ends, brush=translucent(colour, 40))
        band.setZValue(-10)
        item.addItem(band)
        item.plot(number, np.array(curve.median), pen=pen_of(look, self.theme, 2))
        if count.median is not None:
            high = curve.most if count.high is None else count.high
            item.plot([count.low, high], [error, error], pen=pen_of(look, self.theme, 3, solid=True))
            item.plot(
                [count.median], [error], pen=None, symbol=SYMBOLS[look.marker], symbolSize=10, symbolPen=colour,
                symbolBrush=colour,
            )  # fmt: skip

    def options(self) -> dict[str, str]:
        """``filters``: what is rebuilt from; ``method``: how they are chosen."""
        return {"filters": self.filters.value, "method": self.method.value}

    def set_options(self, options: dict[str, str]) -> None:
        """Inverse of :meth:`options`."""
        restore({"filters": self.filters, "method": self.method}, options)
        self._chosen()
