"""Race: linear, polynomial and NTK rivals against the network, trained on the same data at the same radius."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyqtgraph as pg  # type: ignore[import-untyped]
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QAbstractItemView, QHBoxLayout, QHeaderView, QTableWidget, QTableWidgetItem, QVBoxLayout
from PySide6.QtWidgets import QWidget as Widget

from engine.config.experiment import SPARSE_CODING
from engine.core.labels import MODELS, TRAINED_BY
from engine.core.measurement import NORM_SIGN
from engine.run.snapshot import Snapshot
from engine.studies.questions.comparison import Comparison, ComparisonStudy, Entry
from fp_gui.tasks import Task
from fp_gui.theme import BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILION, Theme
from fp_gui.views.base import views
from fp_gui.views.chrome import Pages, line, tint
from fp_gui.views.tasked import TaskView

RUN = Task("race", "Run the race")
SWEEP = Task("race", "Sweep over d (slow)", ("--sweep",))
EMPTY = (
    "No race was run on this run yet.\n“Run the race” trains a linear model, polynomials and the NTK on the same data, "
    "at the same radius, and attacks them all as it attacks the network."
)


@dataclass(frozen=True, slots=True)
class Look:
    """How a model is drawn everywhere in this view: colours on light and dark ground, marker, dash."""

    light: str
    dark: str
    symbol: str
    dash: Qt.PenStyle = Qt.PenStyle.SolidLine


LOOKS = {
    "network": Look(BLUE, SKY, "o"),
    "oracle": Look("#5b6570", "#9aa3ad", "d", Qt.PenStyle.DotLine),
    "linear": Look("#B37A00", ORANGE, "s", Qt.PenStyle.DashLine),
    "quadratic": Look("#007A5A", GREEN, "t1", Qt.PenStyle.DashDotLine),
    "cubic": Look("#A9517F", PURPLE, "t", Qt.PenStyle.DashDotDotLine),
    "ntk": Look(VERMILION, "#FF7A33", "star", Qt.PenStyle.DashLine),
}
OTHER = Look("#5b6570", "#9aa3ad", "+")
COLUMNS = ("model", "trained by", "clean", "robust [95%]", "steps", "note")


def label(name: str) -> str:
    """A model's name in words."""
    return MODELS.get(name, name)


def accuracy(entry: Entry) -> str:
    """Robust accuracy with its interval, e.g. ``0.862 [0.829, 0.889]``."""
    if entry.low is None or entry.high is None:
        return f"{entry.robust:.3f}"
    return f"{entry.robust:.3f} [{entry.low:.3f}, {entry.high:.3f}]"


def plot(x: str, y: str = "") -> pg.PlotWidget:
    """An empty plot that does not move."""
    widget = pg.PlotWidget()
    item = widget.getPlotItem()
    item.setMenuEnabled(False)
    item.hideButtons()
    item.setLabel("bottom", x)
    if y:
        item.setLabel("left", y)
    for axis in ("left", "bottom"):
        item.getAxis(axis).enableAutoSIPrefix(False)
    item.layout.setContentsMargins(0, 4, 12, 0)
    widget.getViewBox().setMouseEnabled(False, False)
    return widget


@views.register("race")
class RaceView(TaskView):
    """Best robust accuracy of each rival beside the network's and the oracle's; over steps and d where measured."""

    name: ClassVar[str] = "race"
    title: ClassVar[str] = "Race"
    kinds: ClassVar[tuple[str, ...]] = (SPARSE_CODING,)
    file: ClassVar[str] = ComparisonStudy.file
    tasks: ClassVar[tuple[tuple[Task, str], ...]] = (
        (RUN, "Train the rivals at this run's radius and attack them and the network alike.\nTakes a minute or so, in "
         "another process; training goes on. It can be cancelled."),
        (SWEEP, "Repeat the race in smaller and larger worlds, to see how the gap moves with the dimension d.\nTakes "
         "several minutes, in another process; training goes on. It can be cancelled."),
    )  # fmt: skip

    def __init__(self, parent: Widget | None = None) -> None:
        super().__init__(parent)
        self.race: Comparison | None = None
        self._shown: Comparison | None = None
        self.task_bar.add_note(line("Who can be robust on this data?"))
        self.protocol, self.verdict = line(), line()
        self.dots = plot("robust accuracy")
        self.steps = plot("training step of the rival", "robust accuracy")
        self.sweep = plot("dimension d", "robust accuracy")
        self.table = QTableWidget(0, len(COLUMNS))
        self.table.setHorizontalHeaderLabels(COLUMNS)
        self.table.verticalHeader().hide()
        self.table.verticalHeader().setDefaultSectionSize(22)
        self.table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.table.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        self.table.setShowGrid(False)
        self.table.setAlternatingRowColors(True)
        self.table.setAccessibleName("Accuracies of all models")
        header = self.table.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setStretchLastSection(True)
        header.setDefaultAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        lower = QHBoxLayout()
        lower.addWidget(self.steps, 1)
        lower.addWidget(self.sweep, 1)
        body = Widget()
        inner = QVBoxLayout(body)
        inner.setContentsMargins(0, 0, 0, 0)
        inner.addWidget(self.verdict)
        inner.addWidget(self.dots, 4)
        inner.addLayout(lower, 3)
        inner.addWidget(self.table, 3)
        inner.addWidget(self.protocol)
        self.pages = Pages(body, EMPTY)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 6, 8, 6)
        layout.addWidget(self.task_bar)
        layout.addWidget(self.problem)
        layout.addWidget(self.pages, 1)
        self.set_theme(self.theme)

    def read(self, folder: Path) -> None:
        """Read the race that was run last."""
        self.race = ComparisonStudy.read(folder)

    def forget(self) -> None:
        """There is no race."""
        self.race = None

    def update_view(self, snapshot: Snapshot) -> None:
        """Draw the race if it is another one, and say how old it is."""
        race = self.race
        self.pages.show_content(race is not None)
        if race is None:
            self._shown = None
            return
        if race is not self._shown:
            self._shown = race
            self._draw(race)
        later = f"; now at step {snapshot.step:,}" if snapshot.step > race.step else ""
        text = f"Network of step {race.step:,}{later}. {race.protocol}"
        self.protocol.setText(text if "n =" in race.protocol else f"{text}, n = {race.n}")

    # -- drawing -------------------------------------------------------------------------------------------------

    def _draw(self, race: Comparison) -> None:
        best = race.best()
        if best:
            name, entry = next(iter(best.items()))
            gap = race.network.robust - entry.robust
            where = f"{abs(gap):.3f} {'above' if gap >= 0 else 'below'}"
            self.verdict.setText(
                f"This network's robust accuracy is {race.network.robust:.3f}, {where} the best rival's "
                f"({label(name)}: {entry.robust:.3f})."
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
            ticks.append((place, label(name)))
            for other in race.baselines:
                if other.name == name and other is not entry:
                    self._dot(name, other.robust, place, filled=False, size=8)
            if entry.low is not None and entry.high is not None:
                item.plot([entry.low, entry.high], [place, place], pen=self._pen(name, width=2, solid=True))
            self._dot(name, entry.robust, place, filled=True, size=12)
            by = f" · {TRAINED_BY.get(entry.trained_by, entry.trained_by)} training" if entry.trained_by else ""
            text = pg.TextItem(accuracy(entry) + by, color=self.theme.text, anchor=(0.0, 1.0))
            right = entry.robust > 0.6  # a text to the right of a point far right would leave the plot
            text.setAnchor((1.0, 1.05) if right else (0.0, 1.05))
            text.setPos(min(1.0, entry.high or entry.robust) if right else entry.low or entry.robust, place)
            item.addItem(text)
        item.addItem(pg.InfiniteLine(race.network.robust, pen=self._pen("network", width=1, dash=Qt.PenStyle.DotLine)))
        item.getAxis("left").setTicks([ticks])
        item.setLabel(
            "bottom", f"robust accuracy (share right), {NORM_SIGN.get(race.norm, race.norm)} radius {race.tau:g}"
        )
        item.setXRange(0, 1, padding=0.02)
        item.setYRange(-0.5, len(rows) - 0.25, padding=0)

    def _draw_curves(self, race: Comparison) -> None:
        item = self.steps.getPlotItem()
        item.clear()
        best = {name: entry.trained_by for name, entry in race.best().items()}
        for curve in race.curves:
            if best.get(curve.name, curve.objective) == curve.objective:
                self._curve(item, curve.name, list(curve.steps), list(curve.robust))
        item.addItem(
            pg.InfiniteLine(race.network.robust, angle=0, pen=self._pen("network", width=1, dash=Qt.PenStyle.DotLine))
        )
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
        look, colour = LOOKS.get(name, OTHER), self._colour(name)
        some = np.unique(np.linspace(0, len(x) - 1, min(len(x), 8)).astype(int)) if x else np.empty(0, int)
        item.plot(x, y, pen=self._pen(name, width=1))
        marks = np.asarray(x, float)[some], np.asarray(y, float)[some]
        item.plot(*marks, pen=None, symbol=look.symbol, symbolSize=8, symbolPen=colour, symbolBrush=colour)

    def _dot(self, name: str, x: float, y: float, *, filled: bool, size: int) -> None:
        colour = self._colour(name)
        self.dots.getPlotItem().plot(
            [x], [y], pen=None, symbol=LOOKS.get(name, OTHER).symbol, symbolSize=size,
            symbolPen=pg.mkPen(colour, width=1), symbolBrush=pg.mkBrush(colour if filled else self.theme.base),
        )  # fmt: skip

    def _colour(self, name: str) -> str:
        look = LOOKS.get(name, OTHER)
        return look.dark if self.theme.dark else look.light

    def _pen(self, name: str, *, width: int, solid: bool = False, dash: Qt.PenStyle | None = None) -> object:
        style = Qt.PenStyle.SolidLine if solid else dash or LOOKS.get(name, OTHER).dash
        return pg.mkPen(self._colour(name), width=width, style=style)

    def _fill(self, race: Comparison, best: dict[str, Entry]) -> None:
        rows: list[tuple[str, Entry, bool]] = [("network", race.network, True)]
        if race.oracle is not None:
            rows.append(("oracle", race.oracle, True))
        rows += [(e.name, e, best[e.name] is e) for name in best for e in race.baselines if e.name == name]
        self.table.setRowCount(len(rows))
        for row, (name, entry, top) in enumerate(rows):
            by = TRAINED_BY.get(entry.trained_by, entry.trained_by)
            rival = name not in ("network", "oracle")
            texts = (
                label(name), f"{by} (best)" if top and rival else by,
                "" if entry.clean is None else f"{entry.clean:.3f}", accuracy(entry),
                "" if entry.steps is None else f"{entry.steps:,}", entry.note,
            )  # fmt: skip
            for column, text in enumerate(texts):
                cell = QTableWidgetItem(text)
                cell.setToolTip(text)
                font = cell.font()
                font.setBold(top and rival)
                cell.setFont(font)
                self.table.setItem(row, column, cell)

    def set_theme(self, theme: Theme) -> None:
        """Recolour plots and texts."""
        super().set_theme(theme)
        self.pages.set_theme(theme)
        tint(self.protocol, theme.muted)
        tint(self.verdict, theme.text)
        for widget in (self.dots, self.steps, self.sweep):
            widget.setBackground(theme.base)
            for name in ("left", "bottom"):
                axis = widget.getPlotItem().getAxis(name)
                axis.setPen(pg.mkPen(theme.grid))
                axis.setTextPen(pg.mkPen(theme.text))
        if self._shown is not None:
            self._draw(self._shown)
