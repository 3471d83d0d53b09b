"""Transfer: what every net says of the perturbations made on each net, as a heat map with its numbers."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import pyqtgraph as pg  # type: ignore[import-untyped]
from PySide6.QtCore import Qt
from PySide6.QtGui import QColor
from PySide6.QtWidgets import QAbstractItemView, QHeaderView, QSizePolicy, QTableWidget, QTableWidgetItem, QWidget

from engine.figures.declare import ViewDeclaration
from engine.figures.transfer import COLOURS, NOTHING, VIEW, ink, row_names, terms
from engine.studies.base import Interval
from engine.studies.questions.transfer import TransferMatrix, TransferNet, TransferStudy
from fp_gui.number_boxes import WholeBox
from fp_gui.tasks import Task
from fp_gui.views.base import views
from fp_gui.views.study_view import StudyView
from fp_gui.views.widgets import line

RUN = Task("transfer", "Measure transfer")
NEXT = -1  # the seed after the run's
EMPTY = (
    "Transfer was not measured on this run yet.\n“Measure transfer” trains the same config with another seed, makes "
    "perturbations on every net and shows them to all. If clean nets share a weakness, what fools one fools the other, "
    "and purified ones no longer."
)
ROW = 26  # pixels that a row has at least


class HeatMap(QTableWidget):
    """The accuracies as coloured cells; the intervals are in the cells' tooltips."""

    def __init__(self) -> None:
        super().__init__(0, 0)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        self.setShowGrid(False)
        self.setAccessibleName("Accuracy of each net (column) on perturbations made on each net (row)")
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setMinimumHeight(140)
        across, down = self.horizontalHeader(), self.verticalHeader()
        across.setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
        across.setMinimumSectionSize(36)
        down.setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
        down.setMinimumSectionSize(ROW)
        self._colours = pg.colormap.get(COLOURS)

    def show_matrix(self, found: TransferMatrix) -> None:
        """Fill the cells."""
        nets, rows = found.nets, row_names(found)
        self.setRowCount(len(rows))
        self.setColumnCount(len(nets))
        self.setHorizontalHeaderLabels([net.name.replace(", ", ",\n") for net in nets])
        self.setVerticalHeaderLabels(list(rows))
        for place, (made_on, net, interval) in enumerate(found.cells()):
            cell = QTableWidgetItem(f"{interval.value:.2f}")
            cell.setTextAlignment(Qt.AlignmentFlag.AlignCenter)
            cell.setBackground(QColor(*self._colours.map(interval.value, mode="byte")))
            cell.setForeground(QColor(ink(interval.value)))
            cell.setToolTip(tip(made_on, net, interval, found))
            self.setItem(*divmod(place, len(nets)), cell)


def tip(made_on: TransferNet | None, net: TransferNet, interval: Interval, found: TransferMatrix) -> str:
    """A cell in words, with its interval."""
    how = "without perturbation" if made_on is None else f"on perturbations made on “{made_on.name}”"
    protocol = f"n = {found.n}, 95% Wilson interval" if made_on is None else found.protocol
    return f"Accuracy of “{net.name}” {how}: {interval.text()}\n{protocol}"


@views.register(VIEW.name, order=VIEW.order)
class TransferView(StudyView[TransferMatrix]):
    """The matrix, attacked on × evaluated on."""

    declaration: ClassVar[ViewDeclaration] = VIEW
    file: ClassVar[str] = TransferStudy.file
    empty: ClassVar[str] = EMPTY
    tasks: ClassVar[tuple[tuple[Task, str], ...]] = (
        (RUN, "Train the same config with another seed, attack every net and measure all of them on that.\nTakes about "
         "as long as the run itself was trained (on digits seconds) and, for the attacks, about ten of its reports, in "
         "another process; training goes on. It can be cancelled."),
    )  # fmt: skip

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.seed = WholeBox()
        self.seed.setRange(NEXT, 2**31 - 1)
        self.seed.setValue(NEXT)
        self.seed.setSpecialValueText("the next one")
        self.seed.setToolTip("Seed of the nets to compare with. By default the one after the run's.")
        self.seed.setAccessibleName("Seed of the nets to compare with")
        self.add_choice("Other seed", self.seed, 1)
        self.map = HeatMap()
        self.axes = line(f"Rows: attacked on (“{NOTHING}”: no perturbation) · columns: evaluated on")
        self._labels.append(self.axes)  # coloured as the names of the choices
        self.content.addWidget(self.verdict)
        self.content.addWidget(self.axes)
        self.content.addWidget(self.map, 1)
        self.set_theme(self.theme)

    def complete(self, task: Task) -> Task:
        """The study with the chosen seed."""
        options = () if self.seed.value() == NEXT else ("--other-seed", str(self.seed.value()))
        return Task(task.command, task.title, (*task.options, *options))

    def read(self, folder: Path) -> None:
        """Read the study that was made last."""
        self.found = TransferStudy.read(folder)

    def caption(self, found: TransferMatrix, step: int) -> str:
        """Whose nets they are, the protocol, and the age."""
        later = f" Measured at step {found.step:,}; the run is at step {step:,} now." if step > found.step else ""
        own, *others = dict.fromkeys(net.seed for net in found.nets)
        seeds = "".join(f" Seed {other}: the same config, as many steps." for other in others)
        return f"The run's nets: seed {own}, clean: step {found.clean_step:,}.{seeds} {found.protocol}.{later}"

    def draw(self, found: TransferMatrix) -> None:
        """Fill the map."""
        self.verdict.setText(found.sentence())
        for widget in (self.axes, self.verdict):
            widget.setToolTip(terms(found))
        self.map.show_matrix(found)
