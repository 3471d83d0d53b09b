"""Long work beside the training: an engine command in another process, with its progress and a way to stop it."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from PySide6.QtCore import QObject, QProcess, QProcessEnvironment, QTimer, Signal, Slot

from engine.core.isolation import child_environment
from fp_gui.bridge.worker import Answer

Save = Callable[[Callable[[Answer], None]], None]  # save a checkpoint, then say what came of it
State = Literal["saving", "running", "done", "failed", "cancelled"]


@dataclass(frozen=True, slots=True)
class Task:
    """The engine command ``command RUN_DIR *options``; ``title`` names it to the user."""

    command: str
    title: str
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TaskState:
    """How a task on the run in ``folder`` stands: the ``share`` done (None: unknown) and what is under way."""

    task: Task
    state: State
    share: float | None = None
    text: str = ""
    folder: Path = Path()

    @property
    def busy(self) -> bool:
        """Whether it has not ended yet."""
        return self.state in ("saving", "running")


def arguments(run: Path, task: Task) -> list[str]:
    """The command line after the Python interpreter."""
    return ["-m", "engine", task.command, str(run), *task.options]


def progress_of(line: str) -> tuple[float, str] | None:
    """What a line ``progress 0.34 what is under way`` says; None for any other line."""
    word, _, rest = line.strip().partition(" ")
    number, _, text = rest.partition(" ")
    if word != "progress":
        return None
    try:
        share = float(number)
    except ValueError:
        return None
    return (min(1.0, max(0.0, share)), text.strip()) if math.isfinite(share) else None


class EngineProcess(QObject):
    """One Python process at a time. The window stays free; :meth:`cancel` ends it at once.

    With ``grace_ms`` it is first asked to end, and has so long to clean up.
    """

    progressed = Signal(float, str)  # share done, what is under way
    succeeded = Signal()
    failed = Signal(str, str)  # the last line of its errors, all of them if there are more
    cancelled = Signal()

    def __init__(self, parent: QObject | None = None, *, grace_ms: int = 0) -> None:
        super().__init__(parent)
        self._process: QProcess | None = None
        self._killed = False
        self._grace = QTimer(self, singleShot=True, interval=grace_ms)
        self._grace.timeout.connect(self._kill)
        self.output = ""  # what the last process printed, but for its progress
        self.errors = ""  # and what it printed of errors

    @property
    def busy(self) -> bool:
        """Whether the process runs."""
        return self._process is not None

    def start(self, line: list[str]) -> None:
        """Run Python with the arguments ``line``."""
        process = QProcess(self)
        environment = QProcessEnvironment()
        for name, value in child_environment(os.environ).items():
            environment.insert(name, value)
        process.setProcessEnvironment(environment)
        process.readyReadStandardOutput.connect(self._read)
        process.finished.connect(self._finished)
        process.errorOccurred.connect(self._broken)
        self._process, self._killed, self.output, self.errors = process, False, "", ""
        process.start(sys.executable, line)

    @Slot()
    def cancel(self) -> None:
        """End the process; :attr:`cancelled` follows."""
        if self._process is not None:
            self._killed = True
            if self._grace.interval():
                self._process.terminate()
                self._grace.start()
            else:
                self._process.kill()

    @Slot()
    def _kill(self) -> None:
        if self._process is not None:
            self._process.kill()

    def close(self) -> None:
        """End the process and wait for it to be gone; no signal follows."""
        process, self._process = self._process, None
        if process is not None:
            process.blockSignals(True)
            self._grace.stop()
            if self._grace.interval():
                process.terminate()
                process.waitForFinished(self._grace.interval())
            process.kill()
            process.waitForFinished(3000)
            process.deleteLater()

    @Slot()
    def _read(self) -> None:
        newest = None  # of many lines that came at once only the last is worth showing
        while self._process is not None and self._process.canReadLine():
            line = bytes(self._process.readLine().data()).decode(errors="replace")
            found = progress_of(line)
            newest = found or newest
            self.output += "" if found else line
        if newest is not None and not self._killed:
            self.progressed.emit(*newest)

    @Slot()
    def _finished(self) -> None:
        self._read()
        self._grace.stop()
        process, self._process = self._process, None
        if process is None:
            return
        self.output += bytes(process.readAllStandardOutput().data()).decode(errors="replace")  # a line without its end
        code = process.exitCode() if process.exitStatus() == QProcess.ExitStatus.NormalExit else -1
        errors = self.errors = bytes(process.readAllStandardError().data()).decode(errors="replace").strip()
        process.deleteLater()
        if self._killed:
            self.cancelled.emit()
        elif code != 0:
            last = errors.splitlines()[-1] if errors else f"the process ended with code {code}"
            self.failed.emit(last.removeprefix("error: "), errors if "\n" in errors else "")
        else:
            self.succeeded.emit()

    @Slot(QProcess.ProcessError)
    def _broken(self, error: QProcess.ProcessError) -> None:
        if error == QProcess.ProcessError.FailedToStart and self._process is not None:
            self._process.deleteLater()
            self._process = None
            self.failed.emit("Python could not be started", "")


class Tasks(QObject):
    """Runs one task at a time, each on the run that was saved for it by ``save``, whichever is open by then."""

    changed = Signal(object)  # TaskState
    failed = Signal(str, str)  # text, details
    notice = Signal(str)

    def __init__(self, save: Save, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._save = save
        self._state: TaskState | None = None
        self._process = EngineProcess(self)
        self._process.progressed.connect(self._progressed)
        self._process.succeeded.connect(self._succeeded)
        self._process.failed.connect(self._failed)
        self._process.cancelled.connect(self._cancelled)

    @property
    def state(self) -> TaskState | None:
        """How the newest task stands; None if there was none yet."""
        return self._state

    @property
    def busy(self) -> bool:
        """Whether a task is under way."""
        return self._state is not None and self._state.busy

    @Slot(object)
    def request(self, task: Task) -> None:
        """Save the present state, then run ``task``; another one must not be under way."""
        if self._state is not None and self._state.busy:
            self.notice.emit(f"“{self._state.task.title}” is under way: wait for it or cancel it first.")
            return
        waiting = TaskState(task, "saving", None, "saving a checkpoint")
        self._set(waiting)
        self._save(lambda answer: self._saved(waiting, answer))

    def _saved(self, waiting: TaskState, answer: Answer) -> None:
        """Start the task that waited for this checkpoint, unless it was cancelled meanwhile."""
        if self._state is not waiting:
            return
        if answer.error or answer.folder is None:
            self._set(TaskState(waiting.task, "failed", None, "Not started: the run could not be saved."))
            return
        self._set(TaskState(waiting.task, "running", None, "starting", answer.folder))
        self._process.start(arguments(answer.folder, waiting.task))

    @Slot()
    def cancel(self) -> None:
        """Stop the task; what it had written stays."""
        if self._state is not None and self._state.state == "saving":
            self._cancelled()
        self._process.cancel()

    def close(self) -> None:
        """Stop the task and wait for its process to be gone."""
        self._process.close()

    def _set(self, state: TaskState) -> None:
        self._state = state
        self.changed.emit(state)

    def _end(self, state: State, text: str) -> Task | None:
        if self._state is None:
            return None
        self._set(TaskState(self._state.task, state, None, text, self._state.folder))
        return self._state.task

    @Slot(float, str)
    def _progressed(self, share: float, text: str) -> None:
        if self._state is not None:
            self._set(TaskState(self._state.task, "running", share, text, self._state.folder))

    @Slot()
    def _succeeded(self) -> None:
        task = self._end("done", "")
        if task is not None and self._state is not None:
            self.notice.emit(f"{task.title}: done for {self._state.folder.name}.")

    @Slot(str, str)
    def _failed(self, text: str, details: str) -> None:
        task = self._end("failed", f"Failed: {text}")
        if task is not None:
            self.failed.emit(f"{task.title} failed: {text}. The run goes on; earlier results are kept.", details)

    @Slot()
    def _cancelled(self) -> None:
        self._end("cancelled", "Cancelled; earlier results are kept.")
