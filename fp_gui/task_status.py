"""In the status bar, whatever view is in front: each task under way, its run, how far it is and how long it takes."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import Qt, Slot
from PySide6.QtWidgets import QHBoxLayout, QProgressBar, QToolButton, QWidget

from fp_gui.durations import how_far
from fp_gui.task_runner import Tasks
from fp_gui.tasks import TaskState

SCALE = 1000  # steps of a progress bar
WIDTH = 220  # pixels


class _Row(QWidget):
    """One task: a bar with its name and its run in it, and a button that stops it."""

    def __init__(self, tasks: Tasks, folder: Path) -> None:
        super().__init__()
        self.bar = QProgressBar(textVisible=True)
        self.bar.setFixedWidth(WIDTH)
        self.cancel = QToolButton(autoRaise=True)
        self.cancel.setText("✕")
        self.cancel.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.cancel.setAccessibleName(f"Cancel the task on {folder.name}")
        self.cancel.clicked.connect(lambda: tasks.cancel(folder))
        line = QHBoxLayout(self)
        line.setContentsMargins(0, 0, 0, 0)
        line.setSpacing(2)
        line.addWidget(self.bar)
        line.addWidget(self.cancel)

    def show_state(self, state: TaskState) -> None:
        """Show how it stands."""
        self.bar.setRange(0, 0 if state.share is None else SCALE)
        self.bar.setValue(0 if state.share is None else round(state.share * SCALE))
        text = " · ".join(filter(None, (f"{state.task.title}: {state.folder.name}", how_far(state))))
        shown = self.bar.fontMetrics().elidedText(text, Qt.TextElideMode.ElideMiddle, WIDTH - 12)
        self.bar.setFormat(shown.replace("%", "%%"))
        self.bar.setToolTip(f"{text}\n{state.text}\nIn another process; training goes on")
        self.cancel.setToolTip(f"Stop “{state.task.title}” on {state.folder.name}; earlier results are kept")


class TaskStatus(QWidget):
    """All that are under way, one beside the other."""

    def __init__(self, tasks: Tasks, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._tasks = tasks
        self.rows: dict[Path, _Row] = {}
        self._line = QHBoxLayout(self)
        self._line.setContentsMargins(0, 0, 0, 0)
        tasks.changed.connect(self._changed)

    @Slot(object)
    def _changed(self, state: TaskState) -> None:
        row = self.rows.get(state.folder)
        if not state.busy:
            if row is not None:
                self._line.removeWidget(row)
                row.hide()
                row.deleteLater()
                del self.rows[state.folder]
            return
        if row is None:
            row = self.rows[state.folder] = _Row(self._tasks, state.folder)
            self._line.addWidget(row)
        row.show_state(state)
