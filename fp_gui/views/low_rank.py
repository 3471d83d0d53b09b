"""Low rank: robust accuracy after an adversarial phase that may change the weights by a small rank only."""

from __future__ import annotations

from math import log2
from pathlib import Path
from typing import ClassVar

import pyqtgraph as pg  # type: ignore[import-untyped]
from PySide6.QtCore import Slot
from PySide6.QtWidgets import QLineEdit, QWidget

from engine.config.experiment import IMAGES
from engine.core.measurement import NORM_SIGN
from engine.core.results import Filters
from engine.figures.declare import ViewDeclaration
from engine.figures.low_rank import VIEW
from engine.run.snapshot import Snapshot
from engine.studies.questions.low_rank import RankComparison, RankRow, RankStudy
from fp_gui.tasks import Task, TaskState
from fp_gui.views.base import views
from fp_gui.views.plots import DASHES, colour_of, new_plot, translucent
from fp_gui.views.study_view import Key, StudyView, draw_points, layers_of, origin, steps_box, study_layers
from fp_gui.views.widgets import line

RUN = Task("low-rank", "Compare ranks")
ALL = "all"
RANKS = "1, 2, 4, 8, 16, full"
TOP = 4096
EMPTY = (
    "Ranks were not compared on this run yet.\n“Compare ranks” repeats the adversarial phase from the clean weights; "
    "each time the weights may change by a matrix of small rank only. If mixtures are few directions, few are enough."
)
FULL, BEFORE = DASHES["solid"], DASHES["dotted"]


def ranks_of(text: str) -> tuple[int, ...] | None:
    """The ranks that ``1, 4, full`` names, 0 for ``full``; None if that is no list of ranks."""
    words = text.replace(",", " ").replace(";", " ").split()
    if not words or any(word != "full" and not (word.isdecimal() and int(word) <= TOP) for word in words):
        return None
    return tuple(dict.fromkeys(0 if word == "full" else int(word) for word in words))


@views.register(VIEW.name, order=VIEW.order)
class LowRankView(StudyView[RankComparison]):
    """Robust and clean accuracy against rank, the full phase as a line."""

    declaration: ClassVar[ViewDeclaration] = VIEW
    wants: frozenset[type] = frozenset({Filters})  # for the names of the layers
    file: ClassVar[str] = RankStudy.file
    empty: ClassVar[str] = EMPTY
    tasks: ClassVar[tuple[tuple[Task, str], ...]] = (
        (RUN, "Repeat the adversarial phase at each rank, from the same clean weights, on the same batches.\nTakes as "
         "long as the run's adversarial phase for each rank, in another process; training goes on. It can be "
         "cancelled."),
    )  # fmt: skip

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.ranks = QLineEdit(RANKS)
        self.ranks.setToolTip(
            f"Ranks to compare, separated by commas: 1 to {TOP}, and “full” for no restriction.\nA rank of at least "
            "the smaller side of a layer's matrix does not restrict that layer."
        )
        self.ranks.setAccessibleName("Ranks to compare")
        self.ranks.textChanged.connect(self._check)
        self.layers = study_layers(
            {ALL: "all layers"}, "Layers that may change, by that rank. The weights of the others are frozen meanwhile."
        )
        self.steps = steps_box("as the run", "Adversarial steps. How long the phase is at each rank.")
        self.add_choice("Ranks", self.ranks, 1)
        self.add_choice("layers", self.layers, 1)
        self.add_choice("steps", self.steps)
        self.wrong.setText(f"Ranks: whole numbers up to {TOP} and “full”, separated by commas, e.g. {RANKS}.")
        self.accuracy = new_plot("rank of the change of each layer", "accuracy", auto=True)
        self.plots = [self.accuracy]
        self.keys = [Key(tuple(VIEW.looks.values()))]
        self.lines = line("Lines: solid after the full phase, dotted before it (after clean training).")
        self.content.addWidget(self.verdict)
        self.content.addWidget(self.keys[0])
        self.content.addWidget(self.accuracy, 1)
        self.content.addWidget(self.lines)
        self.set_theme(self.theme)

    def show_own_task(self, state: TaskState | None) -> None:
        """As every such view; a list of ranks that is none cannot be asked for."""
        super().show_own_task(state)
        self._check(self.ranks.text())

    @Slot(str)
    def _check(self, text: str) -> None:
        sound = ranks_of(text) is not None
        self.wrong.setVisible(not sound)
        for button in self.task_bar.buttons:
            button.setEnabled(sound and not (self.task_bar.state is not None and self.task_bar.state.busy))

    def complete(self, task: Task) -> Task:
        """The study of the chosen ranks and layers, with the chosen steps."""
        options: list[str] = []
        for rank in ranks_of(self.ranks.text()) or ():
            options += ["--rank", str(rank)]
        if self.layers.value != ALL:
            options += ["--layers", self.layers.value]
        if self.steps.value():
            options += ["--steps", str(self.steps.value())]
        return Task(task.command, task.title, (*task.options, *options))

    def read(self, folder: Path) -> None:
        """Read the study that was made last."""
        self.found = RankStudy.read(folder)

    def forget(self) -> None:
        """The layers may be others."""
        super().forget()
        self.layers.forget()

    def update_view(self, snapshot: Snapshot) -> None:
        """Draw the study if it is another one, and offer the network's layers."""
        self.layers.show_layers(layers_of(snapshot) or self.layers.layers)
        self.layers.setEnabled(snapshot.config.kind == IMAGES)
        super().update_view(snapshot)

    def caption(self, found: RankComparison, step: int) -> str:
        """Where the weights came from, the steps, the layers and the protocol."""
        layers = "all layers" if found.layers == ALL else f"{found.layers} alone, the weights of the others frozen"
        return (
            f"{origin(found.clean_step, found.step, step)} {found.steps:,} adversarial steps at each rank, on the same "
            f"batches; {layers}. Robust accuracy: {found.protocol}."
        )

    def draw(self, found: RankComparison) -> None:
        """Draw the accuracies against rank."""
        item = self.accuracy.getPlotItem()
        item.clear()
        rows, full = found.limited(), found.full()
        self.verdict.setText(verdict(found))
        ends = (log2(rows[0].rank), log2(rows[-1].rank)) if rows else (0.0, 0.0)
        for look, of in ((VIEW.looks["clean"], clean), (VIEW.looks["robust"], robust)):
            colour = colour_of(look, self.theme)
            for row, dash in ((full, FULL), (found.before, BEFORE)):
                if row is not None:
                    item.addItem(pg.InfiniteLine(of(row)[0], angle=0, pen=pg.mkPen(colour, width=1, style=dash)))
            if full is not None:  # the interval of the line
                band = pg.LinearRegionItem(
                    of(full)[1:],
                    orientation="horizontal",
                    movable=False,
                    brush=translucent(colour, 40),
                    pen=pg.mkPen(None),
                )
                band.setZValue(-10)
                item.addItem(band)
            if rows:
                draw_points(item, look, self.theme, [(log2(row.rank), *of(row)) for row in rows])
        if full is not None:
            text = pg.TextItem("full", color=self.theme.muted, anchor=(1.0, 1.0))
            text.setPos(ends[1] + 0.45, full.robust)
            item.addItem(text)
        item.getAxis("bottom").setTicks([[(log2(row.rank), str(row.rank)) for row in rows]])
        item.setLabel("left", f"accuracy, {NORM_SIGN.get(found.norm, found.norm)} radius {found.tau:g}")
        item.setXRange(ends[0] - 0.5, ends[1] + 0.5, padding=0)
        item.setYRange(0, 1, padding=0.03)


def robust(row: RankRow) -> tuple[float, float, float]:
    """Robust accuracy with its interval."""
    return row.robust, row.low, row.high


def clean(row: RankRow) -> tuple[float, float, float]:
    """Clean accuracy with its interval."""
    return row.clean, row.clean_low, row.clean_high


def verdict(found: RankComparison) -> str:
    """The smallest rank and the full phase in one sentence."""
    full, rows = found.full(), found.limited()
    parts = [f"Robust accuracy {found.before.robust:.3f} before"]
    parts += [f"{row.robust:.3f} at rank {row.rank}" for row in (rows[:1] + rows[-1:] if len(rows) > 1 else rows)]
    if full is not None:
        parts.append(f"{full.robust:.3f} in full")
    return f"{', '.join(parts)}."
