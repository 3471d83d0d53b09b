"""The table of runs: one row a run, sorted by what is in a column and filtered by text."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PySide6.QtCore import QAbstractTableModel, QModelIndex, QObject, QPersistentModelIndex, QSortFilterProxyModel, Qt
from PySide6.QtCore import Signal as QtSignal

from engine.config.objectives import objectives
from engine.core.measurement import figure
from engine.run.entry import PhaseEnd
from engine.run.index import STANDINGS, ListedRun
from fp_gui.data_dialog import size_text

Index = QModelIndex | QPersistentModelIndex
NONE = QModelIndex()
Role = Qt.ItemDataRole
STANDING_WORDS = {
    "here": "in this window",
    "newer": "newer version",
    "plugin": "needs a plugin",
}  # not the engine's
WHEN = "%Y-%m-%d %H:%M"


@dataclass(frozen=True, slots=True)
class Column:
    """A column: ``text`` of a run, ``key`` to sort by (None: last), ``tip`` over the cell, ``about`` over the head."""

    head: str
    about: str
    text: Callable[[ListedRun], str]
    key: Callable[[ListedRun], Any]
    tip: Callable[[ListedRun], str] = lambda run: run.entry.reason
    right: bool = False


def standing_text(run: ListedRun) -> str:
    """How the run stands, in a few words."""
    if run.standing == "training" and run.holder:
        return f"training (process {run.holder})"
    return STANDING_WORDS.get(run.standing, run.standing)


def _standing_tip(run: ListedRun) -> str:
    about = STANDINGS[run.standing].capitalize() + "."
    if run.standing in ("here", "training") and run.entry.outcome == "diverged":
        about += " Its training has diverged."
    return f"{about} {run.entry.reason}".strip()


def _objective(name: str) -> str:
    return objectives[name].button if name in objectives else name


def _moment(seconds: float) -> str:
    return time.strftime(WHEN, time.localtime(seconds)) if seconds else "–"


def _accuracy(name: str, end_of: Callable[[ListedRun], PhaseEnd | None], head: str, about: str) -> Column:
    def value(run: ListedRun) -> float | None:
        end = end_of(run)
        found = None if end is None else end.figures.get(name)
        return None if found is None else found.value

    def text(run: ListedRun) -> str:
        found = value(run)
        return "–" if found is None else f"{found:.3f}"

    def tip(run: ListedRun) -> str:
        end, found = end_of(run), value(run)
        if run.entry.reason:
            return run.entry.reason
        if end is None or found is None:
            return "Not measured: no such phase has ended yet." if end is None else "Not measured in that report."
        how = end.figures[name].measurement
        where = f"after {end.step:,} steps, at the end of the phase “{_objective(end.phase)}”"
        if how is None:
            return f"{found:.3f} {where}; its protocol was not recorded"
        shown = figure(found, how)
        return f"{found:.3f} [{shown['low']:.3f}, {shown['high']:.3f}] {where}\n{how.text()}"

    return Column(head, about, text, value, tip, right=True)


def _clean(run: ListedRun) -> PhaseEnd | None:
    return run.entry.clean_end


def _second(run: ListedRun) -> PhaseEnd | None:
    return run.entry.second_end


def _ends() -> Iterable[Column]:
    words = {
        "clean": ("accuracy", "Accuracy without an attack"),
        "pgd": ("PGD", "Accuracy under projected gradient descent"),
        "certified": ("certified", "Share that no perturbation of the ball fools, by certificate"),
    }  # fmt: skip
    ends = (
        (_clean, "Clean phase", "at the end of the clean phase that ended last"),
        (_second, "2nd phase", "at the end of the phase that followed: adversarial, noise, TRADES …"),
    )
    # A narrow panel shows the first: those that every kind of run has, of both phases.
    for some in (("clean", "pgd"), ("certified",)):
        for end, head, about in ends:
            for name in some:
                short, what = words[name]
                yield _accuracy(name, end, f"{head}\n{short}", f"{what}, {about}")


COLUMNS = (
    Column("Run", "The run's folder", lambda r: r.name, lambda r: r.name.lower(), lambda r: str(r.folder)),
    Column("State", "How the run stands", standing_text, standing_text, _standing_tip),
    *_ends(),
    Column("Preset", "What it was started from", lambda r: r.entry.preset or "–", lambda r: r.entry.preset or None),
    Column(
        "Seed", "Of its random numbers", lambda r: "–" if r.entry.seed is None else str(r.entry.seed),
        lambda r: r.entry.seed, right=True,
    ),
    Column("Phase", "What it trains, or trained last", lambda r: _objective(r.entry.phase), lambda r: r.entry.phase),
    Column(
        "Step", "The last step, of those that its schedule has",
        lambda r: f"{r.entry.step:,} of {r.entry.total:,}" if r.entry.total else "–", lambda r: r.entry.step,
        right=True,
    ),
    Column(
        "Written", "When it was written last", lambda r: _moment(r.entry.written), lambda r: r.entry.written,
        lambda r: f"started {_moment(r.entry.created)}",
    ),
    Column("Started", "When it was started", lambda r: _moment(r.entry.created), lambda r: r.entry.created or None),
    Column("Size", "On disk", lambda r: size_text(r.entry.size), lambda r: r.entry.size, right=True),
    Column("Folder", "Where it is", lambda r: str(r.folder.parent), lambda r: str(r.folder), lambda r: str(r.folder)),
)  # fmt: skip


class RunsModel(QAbstractTableModel):
    """The runs as they were listed last. The name can be edited, which asks for another one and changes nothing."""

    rename_requested = QtSignal(object, str)  # folder, name

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self.runs: list[ListedRun] = []

    def show(self, runs: Iterable[ListedRun]) -> None:
        """Take a new list: rows of runs that are still there stay, so that what is selected stays selected."""
        coming = {run.folder: run for run in runs}
        self._remove(coming)
        self._take(coming)

    def add(self, runs: Iterable[ListedRun]) -> None:
        """Take what a look has found so far: the others stay."""
        self._take({run.folder: run for run in runs})

    def _remove(self, coming: Mapping[Path, ListedRun]) -> None:
        for row in reversed(range(len(self.runs))):
            if self.runs[row].folder not in coming:
                self.beginRemoveRows(NONE, row, row)
                del self.runs[row]
                self.endRemoveRows()

    def _take(self, coming: dict[Path, ListedRun]) -> None:
        for row, old in enumerate(self.runs):
            new = coming.pop(old.folder, old)
            if new != old:
                self.runs[row] = new
                self.dataChanged.emit(self.index(row, 0), self.index(row, len(COLUMNS) - 1))
        if coming:
            self.beginInsertRows(NONE, len(self.runs), len(self.runs) + len(coming) - 1)
            self.runs += coming.values()
            self.endInsertRows()

    def forget(self, folder: Path) -> None:
        """The run in ``folder`` is not there any more."""
        self.show(run for run in self.runs if run.folder != folder)

    def rowCount(self, parent: Index = NONE) -> int:
        """One a run."""
        return 0 if parent.isValid() else len(self.runs)

    def columnCount(self, parent: Index = NONE) -> int:
        """Those of :data:`COLUMNS`."""
        return 0 if parent.isValid() else len(COLUMNS)

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Role.DisplayRole) -> Any:
        """A column's head and what it means."""
        if orientation != Qt.Orientation.Horizontal:
            return None
        column = COLUMNS[section]
        if role == Role.TextAlignmentRole:
            return int(_alignment(column))
        return {Role.DisplayRole: column.head, Role.ToolTipRole: column.about}.get(Role(role))

    def data(self, index: Index, role: int = Role.DisplayRole) -> Any:
        """Text and tooltip."""
        if not index.isValid():
            return None
        run, column = self.runs[index.row()], COLUMNS[index.column()]
        match role:
            case Role.DisplayRole | Role.EditRole:
                return column.text(run)
            case Role.ToolTipRole:
                return column.tip(run) or column.text(run)
            case Role.TextAlignmentRole:
                return int(_alignment(column))
        return None

    def flags(self, index: Index) -> Qt.ItemFlag:
        """A name may be edited unless the run is in use."""
        found = super().flags(index)
        if index.isValid() and index.column() == 0 and self.runs[index.row()].holder is None:
            found |= Qt.ItemFlag.ItemIsEditable
        return found

    def setData(self, index: Index, value: Any, role: int = Role.EditRole) -> bool:
        """Ask for another name."""
        run = self.runs[index.row()]
        if role == Role.EditRole and index.column() == 0 and value != run.name:
            self.rename_requested.emit(run.folder, str(value))
        return False


def _alignment(column: Column) -> Qt.AlignmentFlag:
    return (Qt.AlignmentFlag.AlignRight if column.right else Qt.AlignmentFlag.AlignLeft) | Qt.AlignmentFlag.AlignVCenter


class RunsOrder(QSortFilterProxyModel):
    """Sorts by the columns' keys, runs that have none last either way; shows those in which every word occurs."""

    def __init__(self, model: RunsModel) -> None:
        super().__init__(model)
        self._model = model
        self._words: list[str] = []
        self.setDynamicSortFilter(True)
        self.setSourceModel(model)

    def filter(self, text: str) -> None:
        """Show the runs in whose row every word of ``text`` occurs."""
        self._words = text.lower().split()
        self.invalidate()

    def run(self, row: int) -> ListedRun:
        """The run that is shown in ``row``."""
        return self._model.runs[self.mapToSource(self.index(row, 0)).row()]

    def filterAcceptsRow(self, source_row: int, source_parent: Index) -> bool:
        """Whether every word occurs in some column."""
        if not self._words:
            return True
        run = self._model.runs[source_row]
        texts = "\n".join(column.text(run) for column in COLUMNS).lower()
        return all(word in texts for word in self._words)

    def lessThan(self, source_left: Index, source_right: Index) -> bool:
        """By the columns' keys."""
        key, runs = COLUMNS[source_left.column()].key, self._model.runs  # not by data(): it is called 10,000 times
        left, right = key(runs[source_left.row()]), key(runs[source_right.row()])
        if left is None or right is None:
            rising = self.sortOrder() == Qt.SortOrder.AscendingOrder
            return (left is not None and right is None) if rising else (left is None and right is not None)
        return bool(left < right)
