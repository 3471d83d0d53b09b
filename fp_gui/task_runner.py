"""The tasks under way: one at a time on each run, a few in all, whichever run is open meanwhile."""

from __future__ import annotations

import os
import time
from pathlib import Path

from PySide6.QtCore import QObject, QSettings, Signal, Slot

from fp_gui.bridge.requests import Answer
from fp_gui.durations import Durations, in_words, seconds_left
from fp_gui.tasks import EngineProcess, Save, State, Task, TaskState, arguments

LIMIT = max(2, (os.cpu_count() or 1) // 4)  # processes at once: each would slow down the others and the training
PERIOD = 1.0  # seconds within which the guess of the time left is made anew


class _Job(QObject):
    """One task on one run, from the checkpoint that is saved for it to its end."""

    changed = Signal(object)  # TaskState
    failed = Signal(str, str)  # text, details

    def __init__(self, task: Task, folder: Path, durations: Durations, parent: QObject) -> None:
        super().__init__(parent)
        self._durations = durations
        self._expected = durations.expected(task, folder)
        self._begun = time.monotonic()
        self._guessed, self._left = 0.0, self._expected
        self.state = TaskState(task, "saving", None, "saving a checkpoint", folder, self._expected)
        self._process = EngineProcess(self)
        self._process.progressed.connect(self._progressed)
        self._process.succeeded.connect(self._succeeded)
        self._process.failed.connect(self._failed)
        self._process.cancelled.connect(self._cancelled)

    def saved(self, answer: Answer) -> None:
        """Start, unless it was cancelled meanwhile."""
        if self.state.state != "saving":
            return
        if answer.error or answer.folder is None:
            self._set("failed", None, "Not started: the run could not be saved.")
            return
        self._begun = time.monotonic()
        self._set("running", None, "starting")
        self._process.start(arguments(self.state.folder, self.state.task))

    def cancel(self) -> None:
        """Stop; what it had written stays."""
        if self.state.state == "saving":
            self._cancelled()
        self._process.cancel()

    def close(self) -> None:
        """Stop and wait for the process to be gone."""
        self._process.close()

    def _set(self, state: State, share: float | None, text: str) -> None:
        now = time.monotonic()
        if now - self._guessed > PERIOD:  # many lines a second would make it flicker
            self._guessed, self._left = now, seconds_left(now - self._begun, share, self._expected)
        left = self._left if state == "running" else None
        self.state = TaskState(self.state.task, state, share, text, self.state.folder, left)
        self.changed.emit(self.state)

    @Slot(float, str)
    def _progressed(self, share: float, text: str) -> None:
        self._set("running", share, text)

    @Slot()
    def _succeeded(self) -> None:
        self._durations.took(self.state.task, self.state.folder, time.monotonic() - self._begun)
        self._set("done", None, "")

    @Slot(str, str)
    def _failed(self, text: str, details: str) -> None:
        self._set("failed", None, f"Failed: {text}")
        self.failed.emit(text, details)

    @Slot()
    def _cancelled(self) -> None:
        self._set("cancelled", None, "Cancelled; earlier results are kept.")


class Tasks(QObject):
    """Runs tasks, at most one a run and :data:`LIMIT` in all; ``save`` writes the checkpoint that each begins with.

    How long each took is kept in ``settings``, for the next time.
    """

    changed = Signal(object)  # TaskState
    failed = Signal(str, str)  # text, details
    notice = Signal(str)

    def __init__(self, save: Save, settings: QSettings, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._save = save
        self._durations = Durations(settings)
        self._jobs: dict[Path, _Job] = {}  # the newest of each run

    @property
    def states(self) -> list[TaskState]:
        """How the newest task of each run stands."""
        return [job.state for job in self._jobs.values()]

    @property
    def under_way(self) -> list[TaskState]:
        """Those that have not ended."""
        return [state for state in self.states if state.busy]

    def state_of(self, folder: Path) -> TaskState | None:
        """How the newest task on the run in ``folder`` stands; None if there was none."""
        job = self._jobs.get(folder)
        return None if job is None else job.state

    def request(self, task: Task, folder: Path) -> None:
        """Save the present state of the run in ``folder``, which is open, then run ``task`` on it."""
        under_way = self.under_way
        own = [state for state in under_way if state.folder == folder]
        if own or len(under_way) >= LIMIT:
            what = own or under_way
            names = " and ".join(f"“{state.task.title}” on {state.folder.name}" for state in what)
            self.notice.emit(f"{names} {'is' if len(what) == 1 else 'are'} under way: wait or cancel first.")
            return
        if (before := self._jobs.pop(folder, None)) is not None:
            before.deleteLater()
        job = self._jobs[folder] = _Job(task, folder, self._durations, self)
        job.changed.connect(self._changed)
        job.failed.connect(self._failed)
        self.changed.emit(job.state)
        expected = self._durations.expected(task, folder)
        if expected is not None:
            self.notice.emit(f"{task.title} on {folder.name} takes {in_words(expected)}, as the last time.")
        self._save(job.saved)

    @Slot(object)
    def cancel(self, folder: Path) -> None:
        """Stop the task on the run in ``folder``; what it had written stays."""
        if folder in self._jobs:
            self._jobs[folder].cancel()

    def close(self) -> None:
        """Stop all and wait for their processes to be gone."""
        for job in self._jobs.values():
            job.close()

    @Slot(object)
    def _changed(self, state: TaskState) -> None:
        self.changed.emit(state)
        if state.state == "done":
            self.notice.emit(f"{state.task.title}: done for {state.folder.name}.")

    @Slot(str, str)
    def _failed(self, text: str, details: str) -> None:
        job = self.sender()
        if isinstance(job, _Job):
            state = job.state
            what = f"{state.task.title} failed: {text}. Run {state.folder.name}: earlier results are kept."
            self.failed.emit(what, details)
