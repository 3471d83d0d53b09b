"""Asks before something under way is given up by closing the window, or left behind by opening another run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QMessageBox, QWidget

from fp_gui.durations import how_far
from fp_gui.export import Exporter
from fp_gui.task_runner import Tasks
from fp_gui.tasks import TaskState


def _named(state: TaskState) -> str:
    far = how_far(state)
    return f"“{state.task.title}” on run {state.folder.name}" + (f" ({far})" if far else "")


class Leaving:
    """The questions of ``window``; nobody is asked while nothing is under way. They never block the window's loop."""

    def __init__(self, window: QWidget, tasks: Tasks, exporter: Exporter) -> None:
        self._window, self._tasks, self._exporter = window, tasks, exporter
        self.question: QMessageBox | None = None  # that is open
        self.others: list[Callable[[], str]] = []  # what else closing would end, in words; empty: nothing

    @property
    def asks(self) -> bool:
        """Whether closing would end something."""
        return bool(self._tasks.under_way) or self._exporter.busy or any(other() for other in self.others)

    def close(self, then: Callable[[], object]) -> None:
        """Call ``then``, which closes the window, once the user agrees to what that ends."""
        if not self.asks:
            then()
            return
        under_way = [_named(state) for state in self._tasks.under_way]
        if self._exporter.busy:
            under_way.append("the export")
        under_way += filter(None, (other() for other in self.others))
        what = "Closing ends what is under way; what it has written stays"
        box = self._ask("Close the window?", f"{what}:\n{_lines(under_way)}")
        box.addButton("Close", QMessageBox.ButtonRole.DestructiveRole).clicked.connect(lambda: then())
        box.open()

    def open(self, folder: Path | None, then: Callable[[], object]) -> None:
        """Call ``then``, which opens another run than that in ``folder``, once the user knows what goes on there."""
        state = None if folder is None else self._tasks.state_of(folder)
        if folder is None or state is None or not state.busy:
            then()
            return
        what = "goes on beside another run; its result is there when this run is opened again"
        box = self._ask("Open another run?", f"{_named(state)} {what}.")
        box.addButton("Open", QMessageBox.ButtonRole.AcceptRole).clicked.connect(lambda: then())
        ending = box.addButton("End it and open", QMessageBox.ButtonRole.DestructiveRole)
        ending.clicked.connect(lambda: (self._tasks.cancel(folder), then()))
        box.open()

    def _ask(self, title: str, text: str) -> QMessageBox:
        if self.question is not None:
            self.question.done(0)  # the newest question is the one that counts
        box = QMessageBox(QMessageBox.Icon.Question, title, text, parent=self._window)
        box.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        stay = box.addButton("Stay", QMessageBox.ButtonRole.RejectRole)
        box.setDefaultButton(stay)
        box.setEscapeButton(stay)
        box.finished.connect(self._answered)
        self.question = box
        return box

    def _answered(self) -> None:
        self.question = None


def _lines(texts: list[str]) -> str:
    return "\n".join(f"• {text}" for text in texts)
