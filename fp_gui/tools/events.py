"""The panel of events: every change of the run with its step and time, the way to that step, undo and redo."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import ClassVar

from PySide6.QtCore import Qt, Slot
from PySide6.QtGui import QAction, QColor, QKeySequence, QShortcut, QShowEvent
from PySide6.QtWidgets import QAbstractItemView, QTableWidget, QTableWidgetItem, QToolButton, QVBoxLayout

from engine.config.curves import PREFIX, read_curve
from engine.config.objectives import objectives
from engine.run.snapshot import BRANCH, Event, Snapshot
from fp_gui.folding import ControlRow, FoldingLabel
from fp_gui.shell import Shell
from fp_gui.theme import Theme
from fp_gui.tools.base import Tool, tools
from fp_gui.views.base import Place

HEADS = ("Step", "Time", "Change", "Before", "After")
HINT = "Double-click or Enter goes to that step"
HERE = "▸"  # before the last change that had been made at the step looked at


@dataclass(frozen=True, slots=True)
class EventRow:
    """What the table says of a change made after ``step`` steps."""

    step: int
    time: str
    what: str
    old: str
    new: str

    @property
    def texts(self) -> tuple[str, str, str, str, str]:
        """The row's cells."""
        return f"{self.step:,}", self.time, self.what, self.old, self.new


def row_of(event: Event) -> EventRow:
    """A change in words: what is no knob is not named like one."""
    at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(event.time)) if event.time > 0 else ""
    if event.name == "checkpoint":
        return EventRow(event.step, at, "Checkpoint saved by hand", "", "")
    if event.name == BRANCH:
        return EventRow(event.step, at, f"Branched from {event.new}", "", "")
    if event.name == "phase":
        return EventRow(event.step, at, "Training switched", _objective(event.old), _objective(event.new))
    if event.name == "redraw":
        return EventRow(event.step, at, "Layer drawn again at random", "", event.new)
    if event.name.startswith(PREFIX):
        path = event.name.removeprefix(PREFIX)
        return EventRow(event.step, at, f"Schedule of {path}", _curve(path, event.old), _curve(path, event.new))
    return EventRow(event.step, at, event.name, event.old, event.new)


def _objective(name: str) -> str:
    return objectives[name].label if name in objectives else name


def _curve(path: str, text: str) -> str:
    return "none" if text == str(None) else read_curve(path, json.loads(text)).brief()


@tools.register("events", order=3)
class EventsPanel(Tool):
    """A table, the newest change last; a row leads to its step.

    While a step is looked at, the last change that led to it is marked, and the later ones are greyed.
    """

    name, title = "events", "Events"
    place: ClassVar[Place] = "lower"

    def __init__(self, window: Shell) -> None:
        super().__init__(window)
        self._events: tuple[Event, ...] = ()  # that are shown
        self._looked: int | None = None  # the step that is looked at
        self._theme = window.themes.theme
        top = ControlRow()
        self.undo = self._button(window.undo_stack.createUndoAction(self, "Undo"))
        self.redo = self._button(window.undo_stack.createRedoAction(self, "Redo"))
        for button, tip in ((self.undo, "Take back the last change of a live parameter"), (self.redo, "Make it again")):
            button.defaultAction().setToolTip(tip)
            top.add(button)
        top.add(FoldingLabel(HINT, wraps=False), stretch=1)
        self.table = QTableWidget(0, len(HEADS))
        self.table.setAccessibleName("Events")
        self.table.setHorizontalHeaderLabels(HEADS)
        self.table.verticalHeader().hide()
        self.table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.table.setTabKeyNavigation(False)
        self.table.horizontalHeader().setStretchLastSection(True)
        self.table.cellDoubleClicked.connect(self._choose)
        for key in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            enter = QShortcut(QKeySequence(key), self.table)
            enter.setContext(Qt.ShortcutContext.WidgetShortcut)
            enter.activated.connect(self._entered)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 4, 6, 4)
        layout.addWidget(top)
        layout.addWidget(self.table, 1)
        window.controller.snapshot_rendered.connect(self.show_snapshot)
        window.controller.opening.connect(self.forget)

    @staticmethod
    def _button(action: QAction) -> QToolButton:
        button = QToolButton()
        button.setDefaultAction(action)
        button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        return button

    @Slot(object)
    def show_snapshot(self, snapshot: Snapshot) -> None:
        """Add what has changed since; a hidden panel waits until it is seen."""
        if not self.isVisible():
            return
        looked = snapshot.step if snapshot.looking else None
        if snapshot.events is not self._events:
            self._add(snapshot)
        elif looked == self._looked:
            return
        self._looked = looked
        self._mark()

    def _add(self, snapshot: Snapshot) -> None:
        old, self._events = self._events, snapshot.events
        begun = len(old) if self._events[: len(old)] == old else 0
        self.table.setRowCount(len(self._events))
        for i in range(begun, len(self._events)):
            for j, text in enumerate(row_of(self._events[i]).texts):
                cell = QTableWidgetItem(text)
                cell.setToolTip(text)
                self.table.setItem(i, j, cell)
        if len(self._events) > begun:
            self.table.resizeColumnsToContents()
            self.table.scrollToBottom()

    def _mark(self) -> None:
        """Mark the last change before the step looked at, and grey those after it."""
        done = sum(event.step <= self._looked for event in self._events) if self._looked is not None else -1
        font = self.table.font()
        for i, event in enumerate(self._events):
            here = i == done - 1
            font.setBold(here)
            colour = self._theme.muted if 0 <= done <= i else self._theme.text
            for j in range(len(HEADS)):
                if (cell := self.table.item(i, j)) is not None:
                    cell.setFont(font)
                    cell.setForeground(QColor(colour))
            if (cell := self.table.item(i, 0)) is not None:
                cell.setText(f"{HERE} {event.step:,}" if here else f"{event.step:,}")
        if done > 0 and (cell := self.table.item(done - 1, 0)) is not None:
            self.table.scrollToItem(cell)

    def set_theme(self, theme: Theme) -> None:
        """Recolour the rows."""
        self._theme = theme
        self._mark()

    def showEvent(self, event: QShowEvent) -> None:
        """Catch up with what happened while it was hidden."""
        super().showEvent(event)
        if (last := self.main.controller.last) is not None:
            self.show_snapshot(last)

    @Slot()
    def forget(self) -> None:
        """Another run opens: nothing of this one stays."""
        self._events, self._looked = (), None
        self.table.setRowCount(0)

    @Slot(int, int)
    def _choose(self, row: int, column: int) -> None:
        if 0 <= row < len(self._events):
            self.step_requested.emit(self._events[row].step)

    @Slot()
    def _entered(self) -> None:
        self._choose(self.table.currentRow(), 0)
