"""Two swept knobs as a heatmap: a table whose cells have the colours of their means; keys and readers reach them."""

from __future__ import annotations

from functools import cache

import numpy as np
import pyqtgraph as pg  # type: ignore[import-untyped]
from PySide6.QtCore import QEvent, QRect, Qt, Signal, Slot
from PySide6.QtGui import QBrush, QColor, QKeySequence, QLinearGradient, QPainter, QPaintEvent, QShortcut
from PySide6.QtWidgets import (
    QAbstractItemView,
    QGridLayout,
    QHeaderView,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from engine.compare.sweeps.heatmap import COLOURS, HeatPanel, SweepHeatmap
from engine.compare.sweeps.places import KnobAxis
from engine.compare.sweeps.values import SeedCell
from engine.sweeps.record import words
from engine.sweeps.results import SweepRow
from fp_gui.folding import FoldingLabel
from fp_gui.theme import LIGHT, Theme, mix
from fp_gui.views.widgets import tint

LEAST_WIDTH, LEAST_HEIGHT = 300, 130  # pixels of a heatmap before another one stands beside it, and of its table
BAR = 12  # pixels of the colour bar's height
SHOWS = "Enter or a click opens its run; of several seeds one is chosen"


@cache
def shades() -> tuple[str, ...]:
    """The colours of the figure's colour map, 256 of them from the least to the greatest."""
    table = pg.colormap.get(COLOURS).getLookupTable(0.0, 1.0, 256)
    return tuple("#" + "".join(f"{int(part):02x}" for part in row[:3]) for row in table)


def shade(value: float, scale: tuple[float, float]) -> str:
    """The colour of ``value`` on ``scale``."""
    low, high = scale
    return shades()[round(255 * min(1.0, max(0.0, (value - low) / (high - low))))]


def cell_tip(panel: HeatPanel, cell: SeedCell) -> str:
    """A cell in words: its knobs, mean, range, and each seed's figure or state with the reason."""
    if not cell.rows:
        return "No run"
    lines = [f"{words(cell.rows[0].values)}: {panel.quantity.label}"]
    if cell.n:
        low, high = cell.bounds
        told = f", {'95% Wilson' if cell.n == 1 else 'range'} {low:.3f} to {high:.3f}" if np.isfinite(low) else ""
        lines.append(f"mean {cell.mean:.4f} of {cell.n} of {len(cell.rows)} seeds{told}")
    for row, figure in zip(cell.rows, cell.figures, strict=True):
        why = f": {row.reason}" if row.reason else ""
        lines.append(f"seed {row.seed}: {f'{figure.value:.4f}' if figure is not None else row.state + why}")
    return "\n".join(lines)


class HeatTable(QTableWidget):
    """The cells of one heatmap; the greatest value of the knob along y is on top, as in the figure."""

    runs_chosen = Signal(object)  # tuple[SweepRow, ...]: those of the cell

    def __init__(self, columns: KnobAxis, rows: KnobAxis) -> None:
        super().__init__(len(rows.values), len(columns.values))
        self.columns, self.rows, self.theme = columns, rows, LIGHT
        self.panel: HeatPanel | None = None
        self.setHorizontalHeaderLabels(list(columns.texts))
        self.setVerticalHeaderLabels(list(reversed(rows.texts)))
        for header in (self.horizontalHeader(), self.verticalHeader()):
            header.setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
            header.setHighlightSections(False)
            header.setSectionsClickable(False)
            header.setMinimumSectionSize(self.fontMetrics().height() + 4)
        self.verticalHeader().setDefaultAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setTabKeyNavigation(False)
        self.setCornerButtonEnabled(False)
        self.setMinimumHeight(max(LEAST_HEIGHT, (len(rows.values) + 1) * (self.fontMetrics().height() + 6)))
        self._items = [[QTableWidgetItem() for _ in columns.values] for _ in rows.values]
        for row, line in enumerate(self._items):
            for column, item in enumerate(line):
                item.setTextAlignment(Qt.AlignmentFlag.AlignCenter)
                self.setItem(row, column, item)
        self.cellClicked.connect(self._choose)
        for key in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            enter = QShortcut(QKeySequence(key), self)
            enter.setContext(Qt.ShortcutContext.WidgetShortcut)
            enter.activated.connect(lambda: self._choose(self.currentRow(), self.currentColumn()))

    def cell(self, row: int, column: int) -> SeedCell:
        """What stands in the table's ``row``, counted from the top."""
        assert self.panel is not None
        return self.panel.cells[len(self.rows.values) - 1 - row][column]

    def show_panel(self, panel: HeatPanel) -> None:
        """Fill the cells with what there is now."""
        self.panel = panel
        named = f"{panel.quantity.label}{f', {panel.title}' if panel.title else ''}"
        self.setAccessibleName(f"Heatmap of {named}")
        self.setAccessibleDescription(f"{self.columns.path} across, {self.rows.path} upwards. {SHOWS}")
        last = len(self.rows.values) - 1
        for row in range(self.rowCount()):
            for column in range(self.columnCount()):
                item, cell = self._items[row][column], self.cell(row, column)
                item.setText(panel.text(last - row, column))
                item.setToolTip(f"{cell_tip(panel, cell)}\n{SHOWS}")
                ground = QBrush(QColor(self.theme.base))
                ink = self.theme.muted
                if cell.n:
                    colour = QColor(shade(cell.mean, panel.scale))
                    ground = QBrush(colour)
                    ink = "#ffffff" if colour.lightnessF() < 0.5 else "#000000"
                elif panel.lost(last - row, column):
                    ground = QBrush(QColor(mix(self.theme.base, self.theme.text, 0.3)), Qt.BrushStyle.BDiagPattern)
                    ink = self.theme.text
                item.setBackground(ground)
                item.setForeground(QColor(ink))

    def set_theme(self, theme: Theme) -> None:
        """Take new colours; those of the values stay."""
        self.theme = theme
        if self.panel is not None:
            self.show_panel(self.panel)

    @Slot(int, int)
    def _choose(self, row: int, column: int) -> None:
        if self.panel is not None and row >= 0 and column >= 0:
            self.runs_chosen.emit(self.cell(row, column).rows)


class ColourBar(QWidget):
    """What the colours mean: the scale from its least to its greatest value."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = (0.0, 1.0)
        self.setFixedHeight(max(BAR, self.fontMetrics().height()))

    def show_scale(self, scale: tuple[float, float]) -> None:
        """Its ends."""
        self.scale = scale
        self.setToolTip(f"Colours from {scale[0]:.3g} to {scale[1]:.3g}")
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        """The colours between their ends' numbers."""
        painter = QPainter(self)
        low, high = (f"{end:.3g}" for end in self.scale)
        left, right = (self.fontMetrics().horizontalAdvance(text) + 6 for text in (low, high))
        painter.drawText(QRect(0, 0, left, self.height()), int(Qt.AlignmentFlag.AlignVCenter), low)
        painter.drawText(
            QRect(self.width() - right, 0, right, self.height()),
            int(Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignRight), high,
        )  # fmt: skip
        room = QRect(left, (self.height() - BAR) // 2 + 2, max(1, self.width() - left - right), BAR - 4)
        colours = QLinearGradient(room.left(), 0, room.right(), 0)
        for place in range(0, 256, 15):
            colours.setColorAt(place / 255, QColor(shades()[place]))
        painter.fillRect(room, colours)
        painter.end()


class HeatmapGrid(QWidget):
    """The heatmaps of a sweep, in as many columns as there is room for, each under its name and over its colours."""

    runs_chosen = Signal(object)  # tuple[SweepRow, ...]

    def __init__(self) -> None:
        super().__init__()
        self.theme: Theme = LIGHT
        self.tables: list[HeatTable] = []
        self._titles: list[FoldingLabel] = []
        self._blocks: list[QWidget] = []
        self._bars: list[ColourBar] = []
        self._made: tuple[object, ...] = ()
        self.axes = FoldingLabel(folds=False)
        self.grid = QGridLayout(self)
        self.grid.setContentsMargins(0, 0, 0, 0)

    def show_heatmap(self, data: SweepHeatmap) -> None:
        """Draw it: the tables stay, and what is chosen in them, if knobs and quantities are the same."""
        made = (
            tuple((panel.quantity.key, panel.title) for panel in data.panels),
            data.columns.path, data.columns.texts, data.rows.path, data.rows.texts,
        )  # fmt: skip
        if made != self._made:
            self.clear()
            self._made = made
            for _ in data.panels:
                self._add(data)
            self._lay()
            self.set_theme(self.theme)
        self.axes.setText(f"→ {data.columns.label}   ↑ {data.rows.label}")
        for table, title, bar, panel in zip(self.tables, self._titles, self._bars, data.panels, strict=True):
            title.setText(f"{panel.quantity.label} [{panel.quantity.unit}]{f' · {panel.title}' if panel.title else ''}")
            bar.show_scale(panel.scale)
            table.show_panel(panel)

    def _add(self, data: SweepHeatmap) -> None:
        block, table, title, bar = QWidget(), HeatTable(data.columns, data.rows), FoldingLabel(folds=False), ColourBar()
        table.runs_chosen.connect(self.runs_chosen)
        inner = QVBoxLayout(block)
        inner.setContentsMargins(0, 0, 0, 0)
        inner.setSpacing(2)
        inner.addWidget(title)
        inner.addWidget(table, 1)
        inner.addWidget(bar)
        self._blocks.append(block)
        self.tables.append(table)
        self._titles.append(title)
        self._bars.append(bar)

    def clear(self) -> None:
        """There is no heatmap."""
        for block in self._blocks:
            self.grid.removeWidget(block)
            block.hide()
            block.deleteLater()
        self.tables, self._titles, self._blocks, self._bars, self._made = [], [], [], [], ()
        self.axes.setText("")

    def _lay(self) -> None:
        columns = max(1, min(len(self._blocks), self.width() // LEAST_WIDTH))
        for column in range(max(self.grid.columnCount(), columns)):
            self.grid.setColumnStretch(column, int(column < columns))
        self.grid.addWidget(self.axes, 0, 0, 1, columns)
        for i, block in enumerate(self._blocks):
            self.grid.addWidget(block, 1 + i // columns, i % columns)

    def event(self, event: QEvent) -> bool:
        """Another width may have room for another number of columns."""
        done = super().event(event)
        if event.type() == QEvent.Type.Resize and getattr(self, "_blocks", None):
            for block in (self.axes, *self._blocks):
                self.grid.removeWidget(block)
            self._lay()
        return done

    def set_theme(self, theme: Theme) -> None:
        """Take new colours."""
        self.theme = theme
        tint(self.axes, theme.muted)
        for title in self._titles:
            tint(title, theme.text)
        for table in self.tables:
            table.set_theme(theme)


def named_run(row: SweepRow) -> str:
    """A run in a menu: its seed, how it stands, and why."""
    why = f": {row.reason}" if row.reason else ""
    return f"seed {row.seed} · {row.state}{why}"
