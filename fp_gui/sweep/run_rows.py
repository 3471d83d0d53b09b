"""The runs of a sweep as a table: how each stands, how long it took, why it failed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from PySide6.QtCore import (
    QAbstractTableModel,
    QModelIndex,
    QObject,
    QPersistentModelIndex,
    QSortFilterProxyModel,
    Qt,
    Signal,
)
from PySide6.QtGui import QKeySequence, QShortcut
from PySide6.QtWidgets import QAbstractItemView, QTableView

from engine.sweeps.results import STATES, SweepRow

Index = QModelIndex | QPersistentModelIndex
NONE = QModelIndex()
Role = Qt.ItemDataRole


@dataclass(frozen=True, slots=True)
class RunColumn:
    """A column: its ``head``, the ``text`` of a run and the ``key`` to sort by."""

    head: str
    text: Callable[[SweepRow], str]
    key: Callable[[SweepRow], Any]
    right: bool = False


def _seconds(row: SweepRow) -> str:
    return f"{row.seconds:.1f}" if row.seconds else "–"


COLUMNS = (
    RunColumn("Run", lambda row: row.name, lambda row: row.name),
    RunColumn("State", lambda row: row.state, lambda row: list(STATES).index(row.state)),
    RunColumn("Seconds", _seconds, lambda row: row.seconds, right=True),
    RunColumn(
        "Step", lambda row: f"{row.step:,} of {row.total:,}" if row.total else "–", lambda row: row.step, right=True
    ),
    RunColumn("Reason", lambda row: row.reason, lambda row: row.reason),
)


class SweepRunsModel(QAbstractTableModel):
    """The runs in the order in which they are planned."""

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self.runs: tuple[SweepRow, ...] = ()

    def show(self, runs: Sequence[SweepRow]) -> None:
        """Show these; where they are the same runs, what is chosen stays."""
        new = tuple(runs)
        if [run.folder for run in new] != [run.folder for run in self.runs]:
            self.beginResetModel()
            self.runs = new
            self.endResetModel()
            return
        changed = [i for i, (one, other) in enumerate(zip(self.runs, new, strict=True)) if one != other]
        self.runs = new
        for row in changed:
            self.dataChanged.emit(self.index(row, 0), self.index(row, len(COLUMNS) - 1))

    def rowCount(self, parent: Index = NONE) -> int:
        """A row a run."""
        return 0 if parent.isValid() else len(self.runs)

    def columnCount(self, parent: Index = NONE) -> int:
        """One each of the columns."""
        return 0 if parent.isValid() else len(COLUMNS)

    def data(self, index: Index, role: int = Role.DisplayRole) -> Any:
        """Text, tooltip, alignment, and what is sorted by."""
        run, column = self.runs[index.row()], COLUMNS[index.column()]
        if role == Role.DisplayRole:
            return column.text(run)
        if role == Role.UserRole:
            return column.key(run)
        if role == Role.ToolTipRole:
            return f"{run.name}: {STATES[run.state]}" + (f"\n{run.reason}" if run.reason else "")
        if role == Role.TextAlignmentRole and column.right:
            return int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        return None

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Role.DisplayRole) -> Any:
        """The columns' heads."""
        if role == Role.DisplayRole and orientation == Qt.Orientation.Horizontal:
            return COLUMNS[section].head
        return None


class SweepRunsTable(QTableView):
    """The table; a double click or Enter tells which run is wanted."""

    runs_chosen = Signal(object)  # tuple[SweepRow, ...]: one

    def __init__(self) -> None:
        super().__init__()
        self.model_ = SweepRunsModel(self)
        self.order = QSortFilterProxyModel(self)
        self.order.setSourceModel(self.model_)
        self.order.setSortRole(Role.UserRole)
        self.setModel(self.order)
        self.setAccessibleName("Runs of the sweep")
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setTabKeyNavigation(False)
        self.setWordWrap(False)
        self.setSortingEnabled(True)
        self.sortByColumn(-1, Qt.SortOrder.AscendingOrder)  # as planned
        self.verticalHeader().hide()
        self.verticalHeader().setDefaultSectionSize(self.fontMetrics().height() + 6)
        self.horizontalHeader().setStretchLastSection(True)
        self.horizontalHeader().setHighlightSections(False)
        self._sized = False
        self.doubleClicked.connect(self._choose)
        for key in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            enter = QShortcut(QKeySequence(key), self)
            enter.setContext(Qt.ShortcutContext.WidgetShortcut)
            enter.activated.connect(lambda: self._choose(self.currentIndex()))

    def show_runs(self, runs: Sequence[SweepRow]) -> None:
        """Show these as they stand."""
        self._sized = self._sized and len(runs) == len(self.model_.runs)
        self.model_.show(runs)
        if runs and not self._sized:
            self._sized = True
            self.resizeColumnsToContents()

    def _choose(self, index: QModelIndex) -> None:
        if index.isValid():
            self.runs_chosen.emit((self.model_.runs[self.order.mapToSource(index).row()],))
