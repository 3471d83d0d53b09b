"""Export: what to draw and where to, then ``python -m engine export`` beside the training that goes on."""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from PySide6.QtCore import QObject, QProcess, QProcessEnvironment, Signal, Slot
from PySide6.QtWidgets import (
    QCheckBox,
    QDialog,
    QDialogButtonBox,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

import engine

FORMATS = ("png", "svg", "pdf")


@dataclass(frozen=True, slots=True)
class ExportJob:
    """One figure (view name) with its options, in these formats, into ``out``."""

    view: str
    out: Path
    formats: tuple[str, ...] = FORMATS
    options: tuple[tuple[str, str], ...] = ()


def arguments(run: Path, job: ExportJob) -> list[str]:
    """The command line after the Python interpreter."""
    line = ["-m", "engine", "export", str(run), "--view", job.view, "--out", str(job.out)]
    if set(job.formats) != set(FORMATS):
        line += [word for name in job.formats for word in ("--format", name)]
    for name, value in job.options:
        line += ["--option", f"{name}={value}"]
    return line


class ExportDialog(QDialog):
    """Asks which views, which formats and which folder."""

    def __init__(
        self, titles: Mapping[str, str], visible: frozenset[str], folder: Path, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self.setWindowTitle("Export figures")
        intro = QLabel(
            "Draws the figures from the stored run, with the plotted data as CSV or NPZ and a recipe that repeats it. "
            "Training goes on meanwhile.",
            wordWrap=True,
        )
        self.views = {name: self._box(title, name in visible) for name, title in titles.items()}
        self.formats = {name: self._box(name.upper(), True) for name in FORMATS}
        self.folder = QLineEdit(str(folder))
        self.folder.setMinimumWidth(380)
        browse = QPushButton("Browse…")
        browse.clicked.connect(self._browse)
        form = QFormLayout()
        form.addRow("Views", self._row([*self.views.values()]))
        form.addRow("Formats", self._row([*self.formats.values()]))
        form.addRow("Folder", self._row([self.folder, browse], stretch=False))
        self._buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Cancel)
        self.export_button = QPushButton("Export", default=True)
        self._buttons.addButton(self.export_button, QDialogButtonBox.ButtonRole.AcceptRole)
        self._buttons.accepted.connect(self.accept)
        self._buttons.rejected.connect(self.reject)
        layout = QVBoxLayout(self)
        layout.setSpacing(12)
        layout.addWidget(intro)
        layout.addLayout(form)
        layout.addWidget(self._buttons)
        for box in (*self.views.values(), *self.formats.values()):
            box.toggled.connect(self._check)
        self.folder.textChanged.connect(self._check)
        self._check()

    @staticmethod
    def _box(text: str, checked: bool) -> QCheckBox:
        box = QCheckBox(text)
        box.setChecked(checked)
        return box

    @staticmethod
    def _row(widgets: list[QWidget], stretch: bool = True) -> QWidget:
        row = QWidget()
        line = QHBoxLayout(row)
        line.setContentsMargins(0, 0, 0, 0)
        for widget in widgets:
            line.addWidget(widget)
        if stretch:
            line.addStretch(1)
        return row

    @Slot()
    def _browse(self) -> None:
        chosen = QFileDialog.getExistingDirectory(self, "Folder for the figures", self.folder.text())
        if chosen:
            self.folder.setText(chosen)

    @Slot()
    def _check(self) -> None:
        self.export_button.setEnabled(
            any(b.isChecked() for b in self.views.values())
            and any(b.isChecked() for b in self.formats.values())
            and bool(self.folder.text().strip())
        )

    def jobs(self, options: Mapping[str, Mapping[str, str]]) -> list[ExportJob]:
        """One job a chosen view; ``options`` by view name are what the user chose on the views themselves."""
        formats = tuple(name for name, box in self.formats.items() if box.isChecked())
        out = Path(self.folder.text().strip()).expanduser()
        chosen = [name for name, box in self.views.items() if box.isChecked()]
        return [ExportJob(name, out, formats, tuple(sorted(options.get(name, {}).items()))) for name in chosen]


class Exporter(QObject):
    """Runs jobs one after the other in another process. The window stays free; :meth:`cancel` ends it at once."""

    started = Signal(str)  # what is drawn now
    done = Signal(str)  # folder
    failed = Signal(str, str)  # text, details

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._jobs: deque[ExportJob] = deque()
        self._run = Path()
        self._process: QProcess | None = None
        self._cancelled = False

    @property
    def busy(self) -> bool:
        """Whether something is being drawn."""
        return self._process is not None

    def start(self, run: Path, jobs: list[ExportJob]) -> None:
        """Draw ``jobs`` from the run in folder ``run``."""
        self._run, self._cancelled = run, False
        self._jobs.extend(jobs)
        self._next()

    @Slot()
    def cancel(self) -> None:
        """Stop; what was written so far stays."""
        self._jobs.clear()
        self._cancelled = True
        if self._process is not None:
            self._process.kill()

    def close(self) -> None:
        """Cancel and wait for the process to be gone."""
        self.cancel()
        if self._process is not None:
            self._process.finished.disconnect(self._finished)
            self._process.errorOccurred.disconnect(self._broken)
            self._process.waitForFinished(3000)
            self._process = None

    def _next(self) -> None:
        job = self._jobs.popleft()
        process = QProcess(self)
        environment = QProcessEnvironment.systemEnvironment()
        root = str(Path(engine.__file__).parent.parent)  # so that it also runs from a source tree
        environment.insert("PYTHONPATH", os.pathsep.join(filter(None, (root, environment.value("PYTHONPATH")))))
        process.setProcessEnvironment(environment)
        process.finished.connect(self._finished)
        process.errorOccurred.connect(self._broken)
        self._process, self._job = process, job
        self.started.emit(job.view)
        process.start(sys.executable, arguments(self._run, job))

    @Slot()
    def _finished(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        code = process.exitCode() if process.exitStatus() == QProcess.ExitStatus.NormalExit else -1
        errors = bytes(process.readAllStandardError().data()).decode(errors="replace").strip()
        process.deleteLater()
        if self._cancelled:
            self.failed.emit("Export cancelled; what was already written stays.", "")
        elif code != 0:
            self._jobs.clear()
            last = errors.splitlines()[-1] if errors else f"the process ended with code {code}"
            self.failed.emit(f"Export of {self._job.view} failed: {last}", errors if "\n" in errors else "")
        elif self._jobs:
            self._next()
        else:
            self.done.emit(str(self._job.out))

    @Slot(QProcess.ProcessError)
    def _broken(self, error: QProcess.ProcessError) -> None:
        if error == QProcess.ProcessError.FailedToStart and self._process is not None:
            self._process.deleteLater()
            self._process = None
            self._jobs.clear()
            self.failed.emit("Export failed: Python could not be started.", "")
