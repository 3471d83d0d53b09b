"""Views that show what a slow engine command measured: its buttons and progress, and its file read back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from PySide6.QtCore import Qt, QTimer, Signal, Slot
from PySide6.QtWidgets import QHBoxLayout, QProgressBar, QPushButton, QSizePolicy, QVBoxLayout, QWidget

from engine.core.errors import StoreError
from engine.run.snapshot import Snapshot
from engine.studies.base import NotMeasured
from fp_gui.durations import how_far
from fp_gui.folding import FoldingLabel
from fp_gui.tasks import Task, TaskState
from fp_gui.theme import ORANGE, VERMILION, Theme
from fp_gui.views.base import View
from fp_gui.views.widgets import line, tint

PAUSE_MS = 1000  # between two updates of such a view
THOUSAND = 1000  # steps of a progress bar


class TaskBar(QWidget):
    """Buttons that ask for tasks and, while one runs, its progress with a button that stops it."""

    requested = Signal(object)  # Task
    cancelled = Signal()

    def __init__(self, tasks: Sequence[tuple[Task, str]]) -> None:
        super().__init__()
        self.buttons: list[QPushButton] = []
        self._tasks = [task for task, _ in tasks]
        self._row = QHBoxLayout()
        self._row.setContentsMargins(0, 0, 0, 0)
        self._row.addStretch(0)  # else a lone button would be as wide as the view
        for task, tip in tasks:
            button = QPushButton(task.title)
            button.setToolTip(tip)
            button.clicked.connect(self._pressed)
            self.buttons.append(button)
            self._row.addWidget(button)
        self.bar = QProgressBar(textVisible=False)
        self.bar.setMinimumWidth(60)
        self.bar.setMaximumWidth(220)
        self.bar.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.text = line(wrap=True)
        self.text.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self.cancel = QPushButton("Cancel")
        self.cancel.setToolTip("Stop this measurement; earlier results are kept and training goes on")
        self.cancel.clicked.connect(self.cancelled)
        below = QHBoxLayout()
        below.addWidget(self.bar, 1)
        below.addWidget(self.text, 2)
        below.addWidget(self.cancel)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(self._row)
        self.past = FoldingLabel(stays=True)
        self.past.hide()
        layout.addLayout(below)
        layout.addWidget(self.past)
        self.state: TaskState | None = None
        self._show()

    def add_note(self, widget: QWidget) -> None:
        """Put a widget in front of the buttons."""
        self._row.insertWidget(0, widget, 1)

    @Slot()
    def _pressed(self) -> None:
        for button, task in zip(self.buttons, self._tasks, strict=True):
            if button is self.sender():
                self.requested.emit(task)

    def show_state(self, state: TaskState | None) -> None:
        """Show how a task on the run that is open stands, one of this bar or of another; None: there was none."""
        self.state = state
        self._show()

    def show_looked(self, step: int | None) -> None:
        """An earlier step is looked at, which is not what is measured here; None: the present is shown."""
        self.past.setText("" if step is None else f"Of the run as it is now, not of step {step:,}, which is looked at.")
        self.past.setVisible(step is not None)

    def forget(self) -> None:
        """Another run is open: how a task on the one before has ended is no news of it."""
        if self.state is not None and not self.state.busy:
            self.state = None
            self._show()

    def _show(self) -> None:
        state = self.state
        own = state is not None and any(state.task.command == task.command for task in self._tasks)
        busy = state is not None and state.busy
        for button in self.buttons:
            button.setEnabled(not busy)
        self.bar.setVisible(busy and own)
        self.cancel.setVisible(busy and own)
        text = ""
        if state is not None and own:
            text = state.text
            self.text.setToolTip(f"{state.text}\nOn the run {state.folder.name}")
            if state.state == "running":
                self.bar.setRange(0, 0 if state.share is None else THOUSAND)
                self.bar.setValue(0 if state.share is None else round(state.share * THOUSAND))
                text = f"{' · '.join(filter(None, (state.task.title, how_far(state))))}: {state.text}"
                where = f"On the run {state.folder.name}, in another process; training goes on"
                self.text.setToolTip(f"{state.text}\n{where}")
            elif state.state == "saving":
                self.bar.setRange(0, 0)
        elif state is not None and busy:
            text = f"Waits for “{state.task.title}”."
        self.text.setWordWrap(not busy)  # while it changes several times a second it must not change its height
        self.text.setText(text)
        self.text.setVisible(bool(text))

    def set_theme(self, theme: Theme) -> None:
        """Recolour the texts."""
        tint(self.text, theme.muted)
        tint(self.past, ORANGE if theme.dark else VERMILION)


class TaskView(View):
    """A view of a file that the engine command of :attr:`tasks` writes into the run folder.

    Subclasses fill ``tasks``, ``file``, :meth:`read` and :meth:`update_view`. The view is brought up to date at most
    once a second; the file is read when the run, its time of change or its size has changed.
    """

    tasks: ClassVar[tuple[tuple[Task, str], ...]] = ()
    file: ClassVar[str] = ""

    view_requested = Signal(str)
    task_requested = Signal(object)
    cancel_requested = Signal(object)  # the folder of the run

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.task_bar = TaskBar(self.tasks)
        self.task_bar.requested.connect(self._ask)
        self.task_bar.cancelled.connect(self._cancel)
        self._states: dict[Path, TaskState] = {}  # of the newest task of each run
        self.problem = FoldingLabel(stays=True)  # what is wrong with the file
        self.problem.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.problem.hide()
        self.snapshot: Snapshot | None = None
        self._drawn: Snapshot | None = None
        self._signature: tuple[Path, int, int] | None = None
        self._pause = QTimer(self, singleShot=True, interval=PAUSE_MS)
        self._pause.timeout.connect(self._resume)

    def complete(self, task: Task) -> Task:
        """``task`` with the options that the user chose in this view."""
        return task

    @Slot(object)
    def _ask(self, task: Task) -> None:
        self.task_requested.emit(self.complete(task))

    @Slot()
    def _cancel(self) -> None:
        if self.task_bar.state is not None:
            self.cancel_requested.emit(self.task_bar.state.folder)

    def read(self, folder: Path) -> None:
        """Read the file of the run in ``folder``; raises :class:`StoreError`."""
        raise NotImplementedError

    def unread(self) -> None:
        """Forget what was read: another run, or no file."""
        raise NotImplementedError

    def forget(self) -> None:
        """Nothing was read, and no task was asked for."""
        super().forget()
        self.snapshot = self._drawn = self._signature = None
        self._pause.stop()
        self.unread()
        self.problem.hide()
        self.problem.setText("")
        self.task_bar.forget()

    def update_view(self, snapshot: Snapshot) -> None:
        """Show the file's content and ``snapshot``."""
        raise NotImplementedError

    def render(self, snapshot: Snapshot) -> None:  # type: ignore[override]
        """Show ``snapshot``, at once or when a second has passed since the last one."""
        other = snapshot.run != self.run
        self.turn_to(snapshot)
        self.snapshot = snapshot
        self.task_bar.show_looked(snapshot.step if snapshot.looking else None)
        if other:
            self.show_own_task(self._states.get(snapshot.folder))
        if not self._pause.isActive():
            self.refresh()
            self._pause.start()

    @Slot()
    def _resume(self) -> None:
        if self.snapshot is not self._drawn and self.isVisible():
            self.refresh()
            self._pause.start()

    def refresh(self) -> None:
        """Bring everything up to date now."""
        if self.snapshot is None:
            return
        self._drawn = self.snapshot
        self._look(self.snapshot.folder)
        self.update_view(self.snapshot)

    def _look(self, folder: Path) -> None:
        path = folder / self.file
        try:
            found = path.stat()
            signature = (path, found.st_mtime_ns, found.st_size)
        except OSError:
            signature = (path, 0, -1)
        if signature == self._signature:
            return
        self._signature = signature
        text = ""
        self.unread()
        try:
            self.read(folder)
        except NotMeasured:
            pass
        except StoreError as error:
            text = f"{error}. Run the measurement again to replace the file."
        self.problem.setText(text)
        self.problem.setVisible(bool(text))

    @Slot(object)
    def show_task(self, state: TaskState) -> None:
        """Take in how a task stands, and show it if it is on the run that is shown; when one ends, read its file."""
        self._states[state.folder] = state
        if self.snapshot is None or self.snapshot.folder == state.folder:
            self.show_own_task(state)
            if not state.busy and self.snapshot is not None:
                self.refresh()

    def show_own_task(self, state: TaskState | None) -> None:
        """Show how the newest task on the run that is shown stands; None: there was none."""
        self.task_bar.show_state(state)

    def set_theme(self, theme: Theme) -> None:
        """Recolour the parts that every such view has."""
        super().set_theme(theme)
        self.task_bar.set_theme(theme)
        tint(self.problem, ORANGE if theme.dark else VERMILION)
