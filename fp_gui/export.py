"""Export: what to draw and where to, then ``python -m engine export`` beside the training that goes on."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from PySide6.QtCore import QObject, Signal, Slot
from PySide6.QtWidgets import (
    QCheckBox,
    QDialog,
    QDialogButtonBox,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QProgressBar,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from fp_gui.tasks import EngineProcess

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
    """Draws jobs one after the other in another process; one that fails does not keep the others from being drawn."""

    started = Signal(str)  # what is drawn now
    done = Signal(str)  # folder
    failed = Signal(str, str)  # text, details

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._jobs: deque[ExportJob] = deque()
        self._run = Path()
        self._drawn = 0
        self._problems: list[tuple[str, str]] = []
        self._process = EngineProcess(self)
        self._process.succeeded.connect(self._succeeded)
        self._process.failed.connect(self._failed)
        self._process.cancelled.connect(self._cancelled)

    @property
    def busy(self) -> bool:
        """Whether something is being drawn."""
        return self._process.busy

    def start(self, run: Path, jobs: list[ExportJob]) -> None:
        """Draw ``jobs`` from the run in folder ``run``."""
        self._run, self._drawn = run, 0
        self._problems.clear()
        self._jobs.extend(jobs)
        self._next()

    @Slot()
    def cancel(self) -> None:
        """Stop; what was written so far stays."""
        self._jobs.clear()
        self._process.cancel()

    def close(self) -> None:
        """Cancel and wait for the process to be gone."""
        self._jobs.clear()
        self._process.close()

    def _next(self) -> None:
        self._job = self._jobs.popleft()
        self.started.emit(self._job.view)
        self._process.start(arguments(self._run, self._job))

    @Slot()
    def _succeeded(self) -> None:
        self._drawn += 1
        self._go_on()

    @Slot(str, str)
    def _failed(self, text: str, details: str) -> None:
        self._problems.append((f"Export of {self._job.view} failed: {text}", details))
        self._go_on()

    def _go_on(self) -> None:
        if self._jobs:
            self._next()
        elif self._problems:
            texts = [text for text, _ in self._problems]
            if self._drawn:
                texts.append(f"The other figures are in {self._job.out}")
            details = "\n\n".join(details for _, details in self._problems if details)
            self.failed.emit("\n".join(texts), details)
        else:
            self.done.emit(str(self._job.out))

    @Slot()
    def _cancelled(self) -> None:
        self.failed.emit("Export cancelled; what was already written stays.", "")


class ExportProgress(QWidget):
    """In the status bar while figures are drawn: what is drawn, and a button that stops it."""

    def __init__(self, exporter: Exporter, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._bar = QProgressBar(textVisible=True, minimum=0, maximum=0)
        self._bar.setFixedWidth(170)
        cancel = QPushButton("Cancel export")
        cancel.clicked.connect(exporter.cancel)
        line = QHBoxLayout(self)
        line.setContentsMargins(0, 0, 0, 0)
        line.addWidget(self._bar)
        line.addWidget(cancel)
        exporter.started.connect(self._started)
        exporter.done.connect(self.hide)
        exporter.failed.connect(self.hide)

    @Slot(str)
    def _started(self, name: str) -> None:
        self._bar.setFormat(f"Drawing {name}…")
        self._bar.setToolTip(f"Drawing {name} in another process; training goes on")
        self.show()
