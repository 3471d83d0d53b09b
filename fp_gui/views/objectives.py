"""Objectives: what clean, noisy and several kinds of adversarial training make of the same clean weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import pyqtgraph as pg  # type: ignore[import-untyped]
from PySide6.QtWidgets import QHBoxLayout, QWidget

from engine.figures.declare import ViewDeclaration
from engine.figures.objectives import VIEW, axis_label, dots, left_end, names_of
from engine.studies.questions.objectives import (
    ACCURACIES,
    WEIGHTS,
    ObjectiveComparison,
    ObjectiveRow,
    ObjectivesStudy,
    cell,
)
from fp_gui.tasks import Task
from fp_gui.views.base import views
from fp_gui.views.plots import SYMBOLS, colour_of, new_plot, pen_of
from fp_gui.views.study_view import Key, StudyView, fill_row, origin, steps_box, study_table
from fp_gui.views.widgets import line

RUN = Task("objectives", "Compare objectives")
EMPTY = (
    "Objectives were not compared on this run yet.\n“Compare objectives” trains the clean weights on with each, "
    "for as many steps, and measures what it makes of them. Can Gaussian noise do it?"
)
COLUMNS = ("objective", "clean", "robust", "certified", "purity", "kept", "held", "dense", "FGM align", "cos", "how")
FIELDS = (*ACCURACIES, "purity", "kept", "held", "dense_alignment", "alignment", "cosine")


@views.register(VIEW.name, order=VIEW.order)
class ObjectivesView(StudyView[ObjectiveComparison]):
    """Accuracies and what the weights are, a row a network, and all of it in a table."""

    declaration: ClassVar[ViewDeclaration] = VIEW
    file: ClassVar[str] = ObjectivesStudy.file
    empty: ClassVar[str] = EMPTY
    tasks: ClassVar[tuple[tuple[Task, str], ...]] = (
        (RUN, "Train with each objective from the same clean weights, on the same batches, at the run's parameters.\n"
         "Takes as long as the run's second phase for each, in another process, and can be cancelled."),
    )  # fmt: skip

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.steps = steps_box("as the run", "Steps of each objective. How long each training is.")
        self.add_choice("steps", self.steps)
        self._choices.add_stretch()
        self.accuracies, self.weights = new_plot(auto=True), new_plot(auto=True)
        self.plots = [self.accuracies, self.weights]
        self.keys = [Key([VIEW.looks[name] for name in names]) for names in (ACCURACIES, WEIGHTS)]
        self.table = study_table(COLUMNS, "Figures of all objectives")
        row = QHBoxLayout()
        for plot in self.plots:
            plot.setMinimumHeight(140)
            row.addWidget(plot, 1)
        self.content.addWidget(self.verdict)
        for key in self.keys:
            self.content.addWidget(key)
        self.content.addLayout(row, 3)
        self.content.addWidget(self.table, 2)
        self.lines = line("Before: the clean weights, above the line. Bars: 95% intervals.")
        self.content.addWidget(self.lines)
        self.set_theme(self.theme)

    def complete(self, task: Task) -> Task:
        """The study of all objectives with the chosen steps."""
        steps = ("--steps", str(self.steps.value())) if self.steps.value() else ()
        return Task(task.command, task.title, (*task.options, *steps))

    def read(self, folder: Path) -> None:
        """Read the study that was made last."""
        self.found = ObjectivesStudy.read(folder)

    def caption(self, found: ObjectiveComparison, step: int) -> str:
        """Where the weights came from, the steps and the protocols."""
        return (
            f"{origin(found.clean_step, found.step, step)} {found.steps:,} steps of each objective, on the same "
            f"batches; {found.protocols()}."
        )

    def draw(self, found: ObjectiveComparison) -> None:
        """Draw both plots and fill the table."""
        self.verdict.setText(verdict(found))
        self._draw(self.accuracies, found, found.measured(ACCURACIES), axis_label(found))
        self._draw(self.weights, found, found.measured(WEIGHTS), "share or cosine")
        self.table.setRowCount(len(found.rows))
        for index, row in enumerate(found.rows):
            fill_row(self.table, index, texts(row, found.features))
        for column, name in enumerate(FIELDS, 1):
            self.table.setColumnHidden(column, not any(cell(row, name, found.features) for row in found.rows))

    def _draw(self, plot: pg.PlotWidget, found: ObjectiveComparison, quantities: Sequence[str], label: str) -> None:
        item = plot.getPlotItem()
        item.clear()
        marks = dots(found, quantities)
        for name, each in marks.items():
            look = VIEW.looks[name]
            colour = colour_of(look, self.theme)
            for dot in each:
                if dot.ends is not None:
                    item.plot(list(dot.ends), [dot.y, dot.y], pen=pen_of(look, self.theme, 2, solid=True))
            item.plot(
                [dot.x for dot in each], [dot.y for dot in each], pen=None, symbol=SYMBOLS[look.marker], symbolSize=10,
                symbolPen=colour, symbolBrush=colour,
            )  # fmt: skip
        ticks = names_of(found)
        item.addItem(pg.InfiniteLine(len(ticks) - 1.5, angle=0, pen=pg.mkPen(self.theme.grid)))
        item.getAxis("left").setTicks([ticks])
        item.setLabel("bottom", label)
        item.setXRange(left_end(marks), 1, padding=0.02)
        item.setYRange(-0.5, len(ticks) - 0.5, padding=0.02)


def texts(row: ObjectiveRow, features: int) -> list[str]:
    """A line of the table."""
    return [row.title, *(cell(row, name, features) for name in FIELDS), row.how]


def verdict(found: ObjectiveComparison) -> str:
    """The most robust objective beside the clean weights in one sentence."""
    if not found.objectives:
        return ""
    best = max(found.objectives, key=lambda row: row.robust.value)
    pure = "" if best.purity is None or found.before.purity is None else (
        f"; mean purity {found.before.purity:.3f} → {best.purity:.3f}"
    )  # fmt: skip
    return f"Most robust: {best.title} training, {found.before.robust.value:.3f} → {best.robust.value:.3f}{pure}."
