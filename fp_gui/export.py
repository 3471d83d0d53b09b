"""Export: what to draw, how and where to, and one ``python -m engine export`` beside the training that goes on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from PySide6.QtCore import QObject, Qt, Signal, Slot
from PySide6.QtWidgets import QHBoxLayout, QProgressBar, QPushButton, QWidget

from fp_gui.bridge.requests import Answer
from fp_gui.tasks import EngineProcess, Save

FORMATS = ("png", "svg", "pdf")
WIDTHS = {"Two columns, 6.75 in": 6.75, "One column, 3.25 in": 3.25}
SCALE = 1000  # steps of the progress bar


@dataclass(frozen=True, slots=True)
class ExportRequest:
    """Figures to draw into ``out``: the options of each view by its name, the ``formats``, the width in inches.

    They are drawn of the present state, which is saved for them, or of the run and the checkpoint ``of`` it.
    """

    views: Mapping[str, Mapping[str, str]]
    out: Path
    formats: tuple[str, ...] = FORMATS
    width: float = WIDTHS["Two columns, 6.75 in"]
    of: tuple[Path, int] | None = None


def arguments(run: Path, step: int, request: ExportRequest) -> list[str]:
    """The command line after the Python interpreter: all views from the checkpoint of ``step`` of one run."""
    line = ["-m", "engine", "export", str(run), "--checkpoint", str(step)]
    for view in request.views:
        line += ["--view", view]
    for view, options in request.views.items():
        for name, value in sorted(options.items()):
            line += ["--option", f"{view}.{name}={value}"]
    for name in request.formats:
        line += ["--format", name]
    return [*line, "--width", f"{request.width:g}", "--out", str(request.out)]


def failures(errors: str, views: Mapping[str, object]) -> list[str]:
    """The lines of ``errors`` that name one of ``views`` as not drawn, each ``view: why``."""
    lines = [line.strip().removeprefix("error: ") for line in errors.splitlines()]
    return [line for line in lines if line.partition(":")[0] in views]


class Exporter(QObject):
    """Draws one request at a time in another process, from a checkpoint that ``save`` writes for it."""

    progressed = Signal(float, str)  # share done (below 0: unknown), what is under way
    done = Signal(str)  # folder
    failed = Signal(str, str)  # text, details

    def __init__(self, save: Save, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._save = save
        self._request: ExportRequest | None = None
        self._process = EngineProcess(self)
        self._process.progressed.connect(self.progressed)
        self._process.succeeded.connect(self._succeeded)
        self._process.failed.connect(self._failed)
        self._process.cancelled.connect(self._cancelled)

    @property
    def busy(self) -> bool:
        """Whether a request is under way."""
        return self._request is not None

    def request(self, request: ExportRequest) -> None:
        """Draw it, the present state once it is saved; another request must not be under way."""
        self._request = request
        if request.of is not None:
            self.progressed.emit(-1.0, "starting")
            self._process.start(arguments(*request.of, request))
            return
        self.progressed.emit(-1.0, "saving a checkpoint")
        self._save(lambda answer: self._saved(request, answer))

    def _saved(self, request: ExportRequest, answer: Answer) -> None:
        """Draw the request that waited for this checkpoint, unless it was cancelled meanwhile."""
        if self._request is not request:
            return
        if answer.error or answer.folder is None:
            self._end()
            self.failed.emit(f"Nothing was exported: the run could not be saved. {answer.error}", answer.details)
            return
        self.progressed.emit(-1.0, "starting")
        self._process.start(arguments(answer.folder, answer.step, request))

    @Slot()
    def cancel(self) -> None:
        """Stop; what was written so far stays."""
        if self._process.busy:
            self._process.cancel()
        elif self.busy:
            self._cancelled()

    def close(self) -> None:
        """Cancel and wait for the process to be gone; no signal follows."""
        self._request = None
        self._process.close()

    def _end(self) -> ExportRequest:
        request, self._request = self._request, None
        assert request is not None
        return request

    @Slot()
    def _succeeded(self) -> None:
        self.done.emit(str(self._end().out))

    @Slot(str, str)
    def _failed(self, text: str, details: str) -> None:
        request = self._end()
        lines = failures(self._process.errors, request.views)
        if not lines and len(request.views) == 1:  # the command does not repeat the name of the only one
            lines = [f"{view}: {text}" for view in request.views]
        if not lines:
            self.failed.emit(f"Export failed: {text}", details)
            return
        texts = [f"Not exported: {line}" for line in lines]
        if len(lines) < len(request.views):
            texts.append(f"The other figures are in {request.out}")
        self.failed.emit("\n".join(texts), details)

    @Slot()
    def _cancelled(self) -> None:
        self._end()
        self.failed.emit("Export cancelled; what was already written stays.", "")


class ExportProgress(QWidget):
    """In the status bar while figures are drawn: how far it is, and a button that stops it."""

    def __init__(self, exporter: Exporter, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.bar = QProgressBar(textVisible=True)
        self.bar.setFixedWidth(190)
        self.cancel = QPushButton("Cancel export")
        self.cancel.clicked.connect(exporter.cancel)
        line = QHBoxLayout(self)
        line.setContentsMargins(0, 0, 0, 0)
        line.addWidget(self.bar)
        line.addWidget(self.cancel)
        exporter.progressed.connect(self._progressed)
        exporter.done.connect(self.hide)
        exporter.failed.connect(self.hide)
        self.hide()

    @Slot(float, str)
    def _progressed(self, share: float, text: str) -> None:
        known = share >= 0
        self.bar.setRange(0, SCALE if known else 0)
        self.bar.setValue(round(share * SCALE) if known else 0)
        shown = self.bar.fontMetrics().elidedText(f"Export: {text}", Qt.TextElideMode.ElideRight, self.bar.width() - 12)
        self.bar.setFormat(shown.replace("%", "%%"))
        self.bar.setToolTip(f"{text}\nIn another process; training goes on")
        self.show()
