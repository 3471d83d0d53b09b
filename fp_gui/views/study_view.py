"""What the views of studies of a finished run share: choices, a key to the looks, tables, plots and the protocol."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Generic, TypeVar

import pyqtgraph as pg  # type: ignore[import-untyped]
from PySide6.QtCore import Qt
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QLabel,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from engine.core.results import Filters, LayerInfo
from engine.figures.declare import Look
from engine.run.snapshot import Snapshot
from fp_gui.folding import ControlRow, FoldingLabel
from fp_gui.number_boxes import WholeBox
from fp_gui.theme import ORANGE, VERMILION, Theme
from fp_gui.views.layer_choice import LayerChoice
from fp_gui.views.plots import SYMBOLS, colour_of, pen_of, swatch, theme_plot
from fp_gui.views.task_view import TaskView
from fp_gui.views.widgets import Pages, line, tint

F = TypeVar("F")
Point = tuple[float, float, float, float]  # x, value, and its interval's ends


class Key(QWidget):
    """A line that says what the looks mean."""

    def __init__(self, looks: Sequence[Look]) -> None:
        super().__init__()
        self._looks = looks
        self._swatches = [QLabel() for _ in looks]
        self._names = [line(look.label, wrap=False) for look in looks]
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        row = ControlRow()
        layout.addWidget(row)
        for picture, name in zip(self._swatches, self._names, strict=True):
            row.add(picture, name)

    def set_theme(self, theme: Theme) -> None:
        """Recolour."""
        for look, picture, name in zip(self._looks, self._swatches, self._names, strict=True):
            picture.setPixmap(swatch(look, theme, self.devicePixelRatioF()))
            tint(name, theme.muted)


def draw_points(item: pg.PlotItem, look: Look, theme: Theme, points: Sequence[Point]) -> None:
    """Draw ``points`` with their intervals as bars, joined by the look's line."""
    colour = colour_of(look, theme)
    for at, _, low, high in points:
        item.plot([at, at], [low, high], pen=pen_of(look, theme, 2, solid=True))
    item.plot(
        [p[0] for p in points], [p[1] for p in points], pen=pen_of(look, theme), symbol=SYMBOLS[look.marker],
        symbolSize=10, symbolPen=colour, symbolBrush=colour,
    )  # fmt: skip


class NotedTable(QTableWidget):
    """A table whose last column holds sentences: it is wide enough to read them, wrapped, and scrolls beyond."""

    LEAST = 220  # pixels of the last column

    def fit(self) -> None:
        """Share the width out anew, and give every row the lines that its sentence needs."""
        last = self.columnCount() - 1
        others = sum(self.columnWidth(column) for column in range(last))
        self.setColumnWidth(last, max(self.LEAST, self.viewport().width() - others))
        self.resizeRowsToContents()

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Another width wraps otherwise."""
        super().resizeEvent(event)
        self.fit()


def study_table(columns: Sequence[str], name: str, *, notes: bool = False) -> QTableWidget:
    """An empty table that is read only; ``name`` says what it holds, ``notes`` that its last column is text."""
    table = NotedTable(0, len(columns)) if notes else QTableWidget(0, len(columns))
    table.setHorizontalHeaderLabels(columns)
    table.verticalHeader().hide()
    table.verticalHeader().setDefaultSectionSize(22)
    table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
    table.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
    table.setShowGrid(False)
    table.setAlternatingRowColors(True)
    table.setAccessibleName(name)
    header = table.horizontalHeader()
    header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
    header.setStretchLastSection(not notes)
    if notes:
        header.setSectionResizeMode(len(columns) - 1, QHeaderView.ResizeMode.Interactive)
        table.setHorizontalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
    header.setDefaultAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
    return table


def fill_row(table: QTableWidget, row: int, texts: Sequence[str], *, bold: bool = False) -> None:
    """Write ``texts`` into a row, each in full in its tooltip."""
    for column, text in enumerate(texts):
        cell = QTableWidgetItem(text)
        cell.setToolTip(text)
        font = cell.font()
        font.setBold(bold)
        cell.setFont(font)
        table.setItem(row, column, cell)
    if isinstance(table, NotedTable):
        table.fit()


def steps_box(otherwise: str, tip: str) -> WholeBox:
    """A number of steps; 0 leaves it to the engine and reads ``otherwise``."""
    box = WholeBox()
    box.setRange(0, 10_000_000)
    box.setSingleStep(50)
    box.setSpecialValueText(otherwise)
    box.setToolTip(tip)
    box.setAccessibleName(tip.partition(".")[0])
    return box


def layers_of(snapshot: Snapshot) -> tuple[LayerInfo, ...]:
    """The layers of the run's network, as far as ``snapshot`` holds them."""
    found = snapshot.get(Filters)
    return () if found is None else found.layers


def study_layers(first: Mapping[str, str], tip: str) -> LayerChoice:
    """A choice of ``first``, which are no layers, or of a layer."""
    return LayerChoice(first, tip, lambda _, each: f"{each.name} ({each.kind}, {each.units} units)")


class StudyView(TaskView, Generic[F]):
    """A view of a study's file. Subclasses fill :attr:`plots`, the choices and the content, and draw."""

    empty: ClassVar[str] = ""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.found: F | None = None
        self._shown: F | None = None
        self.plots: list[pg.PlotWidget] = []
        self.keys: list[Key] = []
        self.protocol, self.verdict = line(), line()
        self.wrong = FoldingLabel(stays=True)  # what is wrong with the choices
        self.wrong.hide()
        self._labels: list[QLabel] = []
        self._choices = ControlRow()
        self.content = QVBoxLayout()
        body = QWidget()
        body.setLayout(self.content)
        self.content.setContentsMargins(0, 0, 0, 0)
        self.pages = Pages(body, self.empty)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 6, 8, 6)
        layout.addWidget(self._choices)
        layout.addWidget(self.wrong)
        layout.addWidget(self.task_bar)
        layout.addWidget(self.problem)
        layout.addWidget(self.pages, 1)
        layout.addWidget(self.protocol)

    def add_choice(self, label: str, widget: QWidget, stretch: int = 0) -> None:
        """Put a control with its name in front into the row of choices."""
        name = line(label, wrap=False)
        name.setBuddy(widget)
        self._labels.append(name)
        self._choices.add(name, widget, stretch=stretch)

    def draw(self, found: F) -> None:
        """Draw what was read."""
        raise NotImplementedError

    def caption(self, found: F, step: int) -> str:
        """What was measured and how, when the run is at ``step``."""
        raise NotImplementedError

    def unread(self) -> None:
        """There is no study."""
        self.found = self._shown = None
        self.pages.forget()
        self.protocol.setVisible(False)
        for label in (self.protocol, self.verdict):
            label.setText("")
        for plot in self.plots:
            plot.getPlotItem().clear()
        for table in self.findChildren(QTableWidget):
            table.setRowCount(0)

    def update_view(self, snapshot: Snapshot) -> None:
        """Draw the study if it is another one, and say how old it is."""
        found = self.found
        self.pages.show_content(found is not None)
        self.protocol.setVisible(found is not None)
        if found is None:
            self._shown = None
            return
        if found is not self._shown:
            self._shown = found
            self.draw(found)
        self.protocol.setText(self.caption(found, snapshot.step))

    def set_theme(self, theme: Theme) -> None:
        """Recolour plots and texts."""
        super().set_theme(theme)
        self.pages.set_theme(theme)
        tint(self.protocol, theme.muted)
        tint(self.verdict, theme.text)
        tint(self.wrong, ORANGE if theme.dark else VERMILION)
        for label in self._labels:
            tint(label, theme.text)
        for key in self.keys:
            key.set_theme(theme)
        for widget in self.plots:
            theme_plot(widget, theme)
        if self._shown is not None:
            self.draw(self._shown)


def origin(clean_step: int, step: int, now: int) -> str:
    """Which weights a study began with, and how much further the run is: whole sentences."""
    later = f" Measured at step {step:,}; the run is at step {now:,} now." if now > step else ""
    return f"From the weights at the end of clean training (step {clean_step:,}).{later}"
