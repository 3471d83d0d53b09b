"""The list of runs: find one, open it, rename it, put it into the trash and take it out again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from zlib import crc32

from PySide6.QtCore import QByteArray, QEvent, QPoint, Qt, QUrl, Slot
from PySide6.QtGui import QAction, QDesktopServices, QHideEvent, QKeySequence, QShowEvent
from PySide6.QtWidgets import (
    QAbstractItemView,
    QFileDialog,
    QLineEdit,
    QMenu,
    QTableView,
    QToolButton,
    QVBoxLayout,
)

from engine.core.errors import ExplorerError
from engine.run import moving
from engine.run.entry import UNREADABLE
from engine.run.index import ListedRun
from fp_gui.folding import ControlRow
from fp_gui.run_actions import RunAction, run_actions
from fp_gui.run_lister import RunLister
from fp_gui.run_table import COLUMNS, RunsModel, RunsOrder
from fp_gui.run_trash import RunTrash
from fp_gui.shell import Shell
from fp_gui.theme import Theme
from fp_gui.tools.base import Tool, tools
from fp_gui.views.widgets import line, tint

FOLDERS = "runs/folders"  # in the settings: those that are listed beside the window's own
WRITTEN = next(i for i, column in enumerate(COLUMNS) if column.head == "Written")
WIDTHS = {"Run": 130, "State": 90, "Folder": 200} | {
    each.head: 60 for each in COLUMNS if "\n" in each.head
}  # pixels at first
HEADER = f"runs/columns-{crc32(repr([each.head for each in COLUMNS]).encode())}"  # other columns' widths would not fit
HEAD = 20  # pixels of a head around its text
PRECISION = 50  # rows that the columns' first widths go by


@tools.register("runs", order=1)
class RunsPanel(Tool):
    """All runs below the window's folder of runs and the folders that the user added."""

    name, title, place = "runs", "Runs", "lower"

    def __init__(self, window: Shell) -> None:
        super().__init__(window)
        self.lister = RunLister(self)
        self.model = RunsModel(self)
        self.order = RunsOrder(self.model)
        self.trash = RunTrash(window, self.lister)
        self._problem = ""
        self._looked = False
        self._make_table()
        self._make_actions()
        self._make_controls()
        self.status = line()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 6, 6, 6)
        layout.addWidget(self.controls)
        layout.addWidget(self.table, 1)
        layout.addWidget(self.status)
        self.model.rename_requested.connect(self.rename)
        self.lister.partly.connect(self._listed_partly)
        self.lister.listed.connect(self._listed)
        window.controller.run_changed.connect(self._changed)
        window.controller.playing_changed.connect(self._changed)
        self._take_roots()
        self._show_state()

    # -- building ------------------------------------------------------------------------------------------------

    def _make_table(self) -> None:
        self.table = table = QTableView()
        table.setModel(self.order)
        table.setAccessibleName("Runs")
        table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        table.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        table.setTabKeyNavigation(False)
        table.setWordWrap(False)
        table.setMinimumHeight(90)
        table.setSortingEnabled(True)
        table.sortByColumn(WRITTEN, Qt.SortOrder.DescendingOrder)
        state = self.main.settings.value(HEADER)
        self._sized = isinstance(state, QByteArray) and table.horizontalHeader().restoreState(state)
        table.verticalHeader().setVisible(False)
        self._line = self.fontMetrics().height()
        table.verticalHeader().setDefaultSectionSize(self._line + 6)
        header = table.horizontalHeader()
        header.setHighlightSections(False)
        header.setSectionsMovable(True)
        header.setResizeContentsPrecision(PRECISION)
        table.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        table.customContextMenuRequested.connect(self._context_menu)
        table.doubleClicked.connect(self.open_chosen)
        table.selectionModel().selectionChanged.connect(self._show_state)

    def _make_actions(self) -> None:
        self.actions_ = {
            "open": self._action("Open", "Go on with this run (Return)", self.open_chosen, "Return", "Enter"),
            "rename": self._action("Rename", "Give this run's folder another name (F2)", self.rename_chosen, "F2"),
            "delete": self._action(
                "Delete", "Put the chosen runs into the trash; they can be put back (Delete)", self.delete_chosen, "Del"
            ),
            "reveal": self._action("Reveal", "Open this run's folder in the file manager", self.reveal_chosen),
        }
        self._further = {name: run_actions[name] for name in run_actions}
        for name, further in self._further.items():
            self.actions_[name] = self._action(further.text, further.tip, partial(self._do, further))

    def _action(self, text: str, tip: str, slot: Callable[[], object], *keys: str) -> QAction:
        action = QAction(text, self)
        action.setToolTip(tip)
        action.setShortcuts([QKeySequence(key) for key in keys])
        action.setShortcutContext(Qt.ShortcutContext.WidgetShortcut)
        action.triggered.connect(lambda: slot())
        self.table.addAction(action)
        return action

    def _make_controls(self) -> None:
        self.search = QLineEdit(clearButtonEnabled=True)
        self.search.setPlaceholderText("Filter: name, preset, state …")
        self.search.setAccessibleName("Filter runs")
        self.search.setToolTip("Show the runs in whose row every word occurs")
        self.search.setMinimumWidth(140)
        self.search.textChanged.connect(self._filter)
        self.controls = ControlRow()
        self.controls.add(self.search, stretch=1)
        self.controls.add(self._button("Open", "Go on with the chosen run", action=self.actions_["open"]))
        self.chosen_menu = QMenu(self)
        self.chosen_menu.setToolTipsVisible(True)
        self.chosen_menu.addActions(list(self.actions_.values()))
        self.folders_menu = QMenu(self)
        self.folders_menu.aboutToShow.connect(self._fill_folders)
        self.controls.add(self._button("Chosen", "What can be done with the chosen runs", menu=self.chosen_menu))
        self.controls.add(self._button("Folders", "Which folders are listed", menu=self.folders_menu))
        self.controls.add(self._button("Trash", "Put deleted runs back, or remove them for good", menu=self.trash.menu))

    def _button(self, text: str, tip: str, *, action: QAction | None = None, menu: QMenu | None = None) -> QToolButton:
        button = QToolButton()
        button.setText(text)
        if action is not None:
            button.setDefaultAction(action)
        if menu is not None:
            button.setMenu(menu)
            button.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        button.setToolTip(tip)
        button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        return button

    # -- what is listed ------------------------------------------------------------------------------------------

    @property
    def added(self) -> list[Path]:
        """The folders that the user added."""
        stored = self.main.settings.value(FOLDERS, [])
        texts = [stored] if isinstance(stored, str) else stored if isinstance(stored, list) else []
        return [Path(str(text)) for text in texts if text]

    def _take_roots(self) -> None:
        own = Path(self.main.controller.runs)
        self.lister.roots = (own, *(folder for folder in self.added if folder != own))

    def add_folder(self, folder: Path) -> None:
        """List the runs below ``folder`` too, or that run."""
        if folder not in self.lister.roots:
            self._store([*self.added, folder])

    def remove_folder(self, folder: Path) -> None:
        """List it no more; the runs stay on disk."""
        self._store([each for each in self.added if each != folder])

    def _store(self, folders: Sequence[Path]) -> None:
        self.main.settings.setValue(FOLDERS, [str(folder) for folder in folders])
        self._take_roots()
        self.lister.refresh()

    @Slot()
    def _ask_folder(self) -> None:
        chosen = QFileDialog.getExistingDirectory(self, "List the runs in a folder", str(self.main.controller.runs))
        if chosen:
            self.add_folder(Path(chosen))

    def _fill_folders(self) -> None:
        self.folders_menu.clear()
        self.folders_menu.addAction("Add folder…", self._ask_folder)
        self.folders_menu.addAction("Look again", self.lister.refresh)
        if self.added:
            self.folders_menu.addSeparator()
        for folder in self.added:
            self.folders_menu.addAction(f"List {folder} no more", partial(self.remove_folder, folder))

    @Slot(object, str)
    def _listed(self, runs: Sequence[ListedRun], problem: str) -> None:
        self._problem = problem
        self.model.show(runs)
        self._looked = True
        self._give_widths()
        self._show_state()

    @Slot(object)
    def _listed_partly(self, runs: Sequence[ListedRun]) -> None:
        self.model.add(runs)
        self._give_widths()
        self._show_state()

    def _give_widths(self) -> None:
        """The columns' first widths, once there is a run to go by."""
        if self._sized or not self.model.runs:
            return
        self._sized = True
        self.table.resizeColumnsToContents()
        for i, column in enumerate(COLUMNS):
            if column.head in WIDTHS:
                head = max(map(self.table.fontMetrics().horizontalAdvance, column.head.split("\n"))) + HEAD
                self.table.setColumnWidth(i, max(head, WIDTHS[column.head]))

    @Slot(str)
    def _filter(self, text: str) -> None:
        self.order.filter(text)
        self._show_state()

    @Slot()
    def _changed(self) -> None:
        if self.isVisible():
            self.lister.refresh()

    # -- what is chosen ------------------------------------------------------------------------------------------

    def chosen(self) -> list[ListedRun]:
        """The chosen runs, from the top."""
        rows = sorted(index.row() for index in self.table.selectionModel().selectedRows())
        return [self.order.run(row) for row in rows]

    def choose(self, *folders: Path) -> None:
        """Choose the runs in ``folders``, as far as they are shown."""
        self.table.clearSelection()
        selection, flags = self.table.selectionModel(), self.table.selectionModel().SelectionFlag
        for row in range(self.order.rowCount()):
            if self.order.run(row).folder in folders:
                index = self.order.index(row, 0)
                selection.setCurrentIndex(index, flags.NoUpdate)
                selection.select(index, flags.Select | flags.Rows)

    @Slot()
    def _show_state(self) -> None:
        """Which actions are possible, and the line below the table."""
        found = self.chosen()
        one = len(found) == 1
        whole = all(run.entry.outcome not in UNREADABLE for run in found)
        free = all(run.holder is None for run in found)
        self.actions_["open"].setEnabled(one and whole and found[0].standing != "here")
        self.actions_["rename"].setEnabled(one and free)
        self.actions_["delete"].setEnabled(bool(found) and free)
        self.actions_["reveal"].setEnabled(one)
        for name, further in self._further.items():
            self.actions_[name].setEnabled(whole and further.least <= len(found) <= further.most)
        shown, known = self.order.rowCount(), len(self.model.runs)
        if not known and not self._looked:
            text = "Looking for runs…"
        elif not known:
            text = f"No runs yet in {self.main.controller.runs}"
        else:
            text = f"{known:,} run{'s' * (known != 1)}" if shown == known else f"{shown:,} of {known:,} runs"
            text += f" · {len(found):,} chosen" if found else ""
            text += "" if self._looked else " · looking…"
        self.status.setText(f"{text} · {self._problem}" if self._problem else text)

    @Slot(QPoint)
    def _context_menu(self, at: QPoint) -> None:
        if self.chosen():
            self.chosen_menu.popup(self.table.viewport().mapToGlobal(at))

    # -- what is done with them ----------------------------------------------------------------------------------

    @Slot()
    def open_chosen(self) -> None:
        """Go on with the chosen run."""
        if self.actions_["open"].isEnabled():
            self.main.open_run(self.chosen()[0].folder)

    @Slot()
    def reveal_chosen(self) -> None:
        """Show its folder in the file manager."""
        QDesktopServices.openUrl(QUrl.fromLocalFile(str(self.chosen()[0].folder)))

    def _do(self, action: RunAction) -> None:
        action.do(self.main, [run.folder for run in self.chosen()])

    @Slot()
    def rename_chosen(self) -> None:
        """Edit its name in the table; Return takes it, Escape does not."""
        row = self.table.selectionModel().selectedRows()[0].row()
        index = self.order.index(row, 0)
        self.table.setCurrentIndex(index)
        self.table.edit(index)

    @Slot(object, str)
    def rename(self, folder: Path, name: str) -> None:
        """Call the run in ``folder`` ``name``."""
        if self._refused(folder, "renamed"):
            return
        try:
            new = moving.rename(folder, name)
        except ExplorerError as error:
            self.main.banner.error(str(error))
            return
        renamed = [ListedRun(new, r.entry) if r.folder == folder else r for r in self.model.runs]
        self.model.show(renamed)
        self.choose(new)
        self.lister.refresh()

    @Slot()
    def delete_chosen(self) -> None:
        """Put the chosen runs into the trash, up to the first that must stay where it is."""
        for run in self.trash.put(
            [run.folder for run in self.chosen()], lambda folder: self._refused(folder, "deleted")
        ):
            self.model.forget(run.folder)

    def _refused(self, folder: Path, what: str) -> bool:
        """Say why the run in ``folder`` must stay where it is, if it must."""
        run, task = self.main.controller.run, self.main.tasks.state_of(folder)
        if run is not None and _same(run.folder, folder):
            why = "it is open in this window. Open another run first"
        elif task is not None and task.busy:
            why = f"“{task.task.title}” is under way on it: wait or cancel first"
        else:
            return False
        self.main.banner.error(f"{folder.name} cannot be {what}: {why}.")
        return True

    # -- the window ----------------------------------------------------------------------------------------------

    def set_theme(self, theme: Theme) -> None:
        """Recolour the line below."""
        tint(self.status, theme.muted)

    def changeEvent(self, event: QEvent) -> None:
        """Rows and columns grow and shrink with the text."""
        super().changeEvent(event)
        now = self.fontMetrics().height()
        if event.type() == QEvent.Type.FontChange and hasattr(self, "_line") and now != self._line:
            self.table.verticalHeader().setDefaultSectionSize(now + 6)
            for i in range(len(COLUMNS)):
                self.table.setColumnWidth(i, round(self.table.columnWidth(i) * now / self._line))
            self._line = now

    def showEvent(self, event: QShowEvent) -> None:
        """List, and go on looking while it is seen."""
        super().showEvent(event)
        self.lister.watch(True)

    def hideEvent(self, event: QHideEvent) -> None:
        """Look no more."""
        super().hideEvent(event)
        self.lister.watch(False)

    def close_down(self) -> None:
        """Remember widths, order and sorting of the columns; end the thread."""
        self.main.settings.setValue(HEADER, self.table.horizontalHeader().saveState())
        self.lister.close()


def _same(one: Path, other: Path) -> bool:
    """Whether both are one folder, perhaps by way of a link."""
    try:
        return one.samefile(other)
    except OSError:
        return False
