"""Race: linear, polynomial and NTK baselines against the network, trained on the same data at the same radius."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyqtgraph as pg  # type: ignore[import-untyped]
from PySide6.QtWidgets import QHBoxLayout, QWidget

from engine.config.experiment import SPARSE_CODING
from engine.core.labels import TRAINED_BY
from engine.core.measurement import NORM_SIGN
from engine.figures.declare import ViewDeclaration
from engine.figures.race import VIEW, look_of
from engine.run.snapshot import Snapshot
from engine.studies.questions.comparison import LEARNED, Comparison, ComparisonStudy, Entry
from fp_gui.folding import LEAST_PLOT
from fp_gui.tasks import Task
from fp_gui.views.base import views
from fp_gui.views.plots import SYMBOLS, colour_of, new_plot, pen_of
from fp_gui.views.study_view import StudyView, fill_row, study_table
from fp_gui.views.widgets import line

RUN = Task("race", "Run the race")
SWEEP = Task("race", "Sweep over d (slow)", ("--sweep",))
EMPTY = (
    "No race was run on this run yet.\n“Run the race” trains a linear model, polynomials and the NTK on the same data, "
    "at the same radius, and attacks them all as it attacks the network."
)


GAP = 3  # pixels between the texts of two rows of points
COLUMNS = ("model", "trained by", "clean", "robust [95%]", "steps", "note")


def accuracy(entry: Entry) -> str:
    """Robust accuracy with its interval, e.g. ``0.862 [0.829, 0.889]``."""
    if entry.low is None or entry.high is None:
        return f"{entry.robust:.3f}"
    return f"{entry.robust:.3f} [{entry.low:.3f}, {entry.high:.3f}]"


@views.register(VIEW.name, order=VIEW.order)
class RaceView(StudyView[Comparison]):
    """Best robust accuracy of each baseline beside the network's and the oracle's; over steps and d where measured."""

    declaration: ClassVar[ViewDeclaration] = VIEW
    file: ClassVar[str] = ComparisonStudy.file
    empty: ClassVar[str] = EMPTY
    tasks: ClassVar[tuple[tuple[Task, str], ...]] = (
        (RUN, "Train the baselines at this run's radius and attack them and the network alike.\nTakes a minute or so, "
         "in another process; training goes on. It can be cancelled."),
        (SWEEP, "Repeat the race in smaller and larger worlds, to see how the gap moves with the dimension d.\nTakes "
         "several minutes, in another process; training goes on. It can be cancelled."),
    )  # fmt: skip

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.task_bar.add_note(line("Who can be robust on this data?"))
        self.dots = new_plot("robust accuracy", auto=True)
        self.steps = new_plot("training step of the baseline", "robust accuracy", auto=True)
        self.sweep = new_plot("dimension d", "robust accuracy", auto=True)
        self.plots = [self.dots, self.steps, self.sweep]
        self.over_steps = line()
        self.table = study_table(COLUMNS, "Accuracies of all models", notes=True)
        below = QWidget()
        lower = QHBoxLayout(below)
        lower.setContentsMargins(0, 0, 0, 0)
        self.folding.secondary.append((below, "Accuracy over steps and dimension"))
        lower.addWidget(self.steps, 1)
        lower.addWidget(self.sweep, 1)
        self.content.addWidget(self.verdict)
        self.content.addWidget(self.dots, 4)
        self.content.addWidget(below, 3)
        self.content.addWidget(self.over_steps)
        self.content.addWidget(self.table, 3)
        self.set_theme(self.theme)

    def read(self, folder: Path) -> None:
        """Read the race that was run last."""
        self.found = ComparisonStudy.read(folder)

    def caption(self, found: Comparison, step: int) -> str:
        """Whose network it is, and how all were attacked."""
        later = f"; now at step {step:,}" if step > found.step else ""
        text = f"Network of step {found.step:,}{later}. {found.protocol}"
        text = text if "n =" in found.protocol else f"{text}, n = {found.n}"
        scaled = found.scaling()
        return f"{text}. In the sweep {scaled}" if scaled else text

    def update_view(self, snapshot: Snapshot) -> None:
        """Draw the race if it is another one; images have one dimension only."""
        self.task_bar.buttons[1].setVisible(snapshot.config.kind == SPARSE_CODING)
        super().update_view(snapshot)

    # -- drawing -------------------------------------------------------------------------------------------------

    def draw(self, found: Comparison) -> None:
        """Draw all parts."""
        race, best = found, found.best()
        if race.rivals():
            name, entry = next(iter(race.rivals().items()))
            gap = race.network.robust - entry.robust
            where = f"{abs(gap):.3f} {'above' if gap >= 0 else 'below'}"
            self.verdict.setText(
                f"This network's robust accuracy is {race.network.robust:.3f}, {where} the best baseline's "
                f"({look_of(name).label}: {entry.robust:.3f})."
                + (f" The NTK of now, with learned features: {best[LEARNED].robust:.3f}." if LEARNED in best else "")
            )
        else:
            self.verdict.setText("")
        self._draw_dots(race, best)
        self._draw_curves(race)
        self._draw_sweep(race)
        self._fill(race, best)

    def _draw_dots(self, race: Comparison, best: dict[str, Entry]) -> None:
        rows = [("oracle", race.oracle)] if race.oracle is not None else []
        rows += [("network", race.network), *best.items()]
        item = self.dots.getPlotItem()
        item.clear()
        ticks = []
        for place, (name, entry) in enumerate(reversed(rows)):
            ticks.append((place, look_of(name).label))
            for other in race.baselines:
                if other.name == name and other is not entry:
                    self._dot(name, other.robust, place, filled=False, size=8)
            if entry.low is not None and entry.high is not None:
                item.plot([entry.low, entry.high], [place, place], pen=pen_of(look_of(name), self.theme, 2, solid=True))
            self._dot(name, entry.robust, place, filled=True, size=12)
            by = f" · {TRAINED_BY.get(entry.trained_by, entry.trained_by)} training" if entry.trained_by else ""
            text = pg.TextItem(accuracy(entry) + by, color=self.theme.text, anchor=(0.0, 1.0))
            right = entry.robust > 0.6  # a text to the right of a point far right would leave the plot
            text.setAnchor((1.0, 1.05) if right else (0.0, 1.05))
            text.setPos(min(1.0, entry.high or entry.robust) if right else entry.low or entry.robust, place)
            item.addItem(text)
        item.addItem(self._level(90, race.network.robust))
        item.getAxis("left").setTicks([ticks])
        item.setLabel(
            "bottom", f"robust accuracy (share right), {NORM_SIGN.get(race.norm, race.norm)} radius {race.tau:g}"
        )
        item.setXRange(0, 1, padding=0.02)
        item.setYRange(-0.5, len(rows), padding=0)  # above the highest point, too, its text has room
        row = self.fontMetrics().height() + GAP
        self.dots.setMinimumHeight(max(LEAST_PLOT, round((len(rows) + 0.5) * row) + 3 * row))  # the axis and its label

    def _draw_curves(self, race: Comparison) -> None:
        item = self.steps.getPlotItem()
        item.clear()
        for curve in race.shown_curves():
            self._curve(item, curve.name, list(curve.steps), list(curve.robust))
        self.over_steps.setText(race.curves_note())
        item.addItem(self._level(0, race.network.robust))
        item.setYRange(0, 1, padding=0.02)
        self.steps.setVisible(bool(race.curves))

    def _draw_sweep(self, race: Comparison) -> None:
        item = self.sweep.getPlotItem()
        item.clear()
        found = race.swept()
        for name, (d, values) in found.items():
            self._curve(item, name, d, values)
        ds = sorted({d for x, _ in found.values() for d in x})
        item.getAxis("bottom").setTicks([[(d, f"{d:g}") for d in ds]])
        item.setYRange(0, 1, padding=0.02)
        self.sweep.setVisible(bool(found))

    def _curve(self, item: pg.PlotItem, name: str, x: list[float] | list[int], y: list[float]) -> None:
        look = look_of(name)
        some = np.unique(np.linspace(0, len(x) - 1, min(len(x), 8)).astype(int)) if x else np.empty(0, int)
        item.plot(x, y, pen=pen_of(look, self.theme))
        colour, marks = colour_of(look, self.theme), (np.asarray(x, float)[some], np.asarray(y, float)[some])
        item.plot(*marks, pen=None, symbol=SYMBOLS[look.marker], symbolSize=8, symbolPen=colour, symbolBrush=colour)

    def _dot(self, name: str, x: float, y: float, *, filled: bool, size: int) -> None:
        look = look_of(name)
        colour = colour_of(look, self.theme)
        self.dots.getPlotItem().plot(
            [x], [y], pen=None, symbol=SYMBOLS[look.marker], symbolSize=size, symbolPen=pg.mkPen(colour, width=1),
            symbolBrush=pg.mkBrush(colour if filled else self.theme.base),
        )  # fmt: skip

    def _level(self, angle: int, value: float) -> pg.InfiniteLine:
        """A dotted line at the network's accuracy."""
        return pg.InfiniteLine(value, angle=angle, pen=pen_of(replace(look_of("network"), dash="dotted"), self.theme))

    def _fill(self, race: Comparison, best: dict[str, Entry]) -> None:
        rows: list[tuple[str, Entry, bool]] = [("network", race.network, True)]
        if race.oracle is not None:
            rows.append(("oracle", race.oracle, True))
        rows += [(e.name, e, best[e.name] is e) for name in best for e in race.baselines if e.name == name]
        self.table.setRowCount(len(rows))
        for row, (name, entry, top) in enumerate(rows):
            by = TRAINED_BY.get(entry.trained_by, entry.trained_by)
            baseline = name not in ("network", "oracle")
            texts = (
                look_of(name).label, f"{by} (best)" if top and baseline else by,
                "" if entry.clean is None else f"{entry.clean:.3f}", accuracy(entry),
                "" if entry.steps is None else f"{entry.steps:,}", entry.note,
            )  # fmt: skip
            fill_row(self.table, row, texts, bold=top and baseline)
