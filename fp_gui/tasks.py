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

from engine.core import plugins
from engine.core.isolation import child_environment
from fp_gui.bridge.requests import Answer

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
    """How a task on the run in ``folder`` stands: the ``share`` done (None: unknown), what is under way, and the
    seconds ``left`` by the best guess (None: unknown)."""

    task: Task
    state: State
    share: float | None = None
    text: str = ""
    folder: Path = Path()
    left: float | None = None

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
        """Run Python with the arguments ``line``, an engine command, with the plugins that are loaded here."""
        process = QProcess(self)
        environment = QProcessEnvironment()
        for name, value in child_environment(os.environ).items():
            environment.insert(name, value)
        process.setProcessEnvironment(environment)
        process.readyReadStandardOutput.connect(self._read)
        process.finished.connect(self._finished)
        process.errorOccurred.connect(self._broken)
        self._process, self._killed, self.output, self.errors = process, False, "", ""
        process.start(sys.executable, [*line, *plugins.arguments()])

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
