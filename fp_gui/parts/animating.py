"""Animate…: asks what to draw, and draws it beside the training in another process."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import Qt, Slot
from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
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

from engine.config.experiment import IMAGES
from fp_gui.number_boxes import WholeBox
from fp_gui.parts.base import Part, parts
from fp_gui.shell import Shell
from fp_gui.tasks import Task

VIEWS = {
    "Neurons at the start, after clean training and now": ("neurons", True),
    "Neurons": ("neurons", False),
    "Mixtures": ("mixtures", False),
}
OF_IMAGES = {
    "Filters at the start, after clean training and now": ("filters", True),
    "Filters": ("filters", False),
}


class AnimationDialog(QDialog):
    """Asks for the view, the number of frames, their speed, and the file."""

    def __init__(self, kind: str, folder: Path, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Animate")
        self._views = OF_IMAGES if kind == IMAGES else VIEWS
        intro = QLabel("Draws the run at its stored steps, on one contrast. They lie densest after a switch.")
        intro.setWordWrap(True)
        self.view = QComboBox()
        self.view.addItems(list(self._views))
        self.frames, self.fps = WholeBox(), WholeBox()
        for box, (low, high, value) in ((self.frames, (2, 1000, 60)), (self.fps, (1, 50, 10))):
            box.setRange(low, high)
            box.setValue(value)
        self.video = QCheckBox("MP4 instead of GIF (needs the extra video)")
        self.file = QLineEdit(str(folder / "figures" / "purify.gif"))
        self.file.setMinimumWidth(380)
        browse = QPushButton("Browse…")
        browse.setAutoDefault(False)
        browse.clicked.connect(self._browse)
        row = QWidget()
        line = QHBoxLayout(row)
        line.setContentsMargins(0, 0, 0, 0)
        line.addWidget(self.file)
        line.addWidget(browse)
        form = QFormLayout()
        form.addRow("View", self.view)
        form.addRow("Frames at most", self.frames)
        form.addRow("Frames a second", self.fps)
        form.addRow("", self.video)
        form.addRow("File", row)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Cancel)
        self.button = QPushButton("Animate")
        self.button.setDefault(True)
        buttons.addButton(self.button, QDialogButtonBox.ButtonRole.AcceptRole)
        buttons.accepted.connect(self.accept)
        buttons.rejected.connect(self.reject)
        self.video.toggled.connect(self._change_end)
        self.file.textChanged.connect(lambda text: self.button.setEnabled(bool(text.strip())))
        layout = QVBoxLayout(self)
        layout.setSpacing(12)
        layout.addWidget(intro)
        layout.addLayout(form)
        layout.addWidget(buttons)

    @Slot(bool)
    def _change_end(self, video: bool) -> None:
        file = Path(self.file.text())
        if file.suffix in (".gif", ".mp4"):
            self.file.setText(str(file.with_suffix(".mp4" if video else ".gif")))

    @Slot()
    def _browse(self) -> None:
        chosen, _ = QFileDialog.getSaveFileName(self, "Animation", self.file.text(), "Animations (*.gif *.mp4)")
        if chosen:
            self.file.setText(chosen)

    @property
    def task(self) -> Task:
        """What was chosen."""
        view, beside = self._views[self.view.currentText()]
        out = str(Path(self.file.text().strip()).expanduser())
        options = ["--view", view, "--out", out, "--frames", str(self.frames.value()), "--fps", str(self.fps.value())]
        return Task("animate", "Animation", (*options, *(["--beside"] if beside else [])))


@parts.register("animating")
class Animating(Part):
    """Connects the action, the dialog and the window's tasks."""

    def __init__(self, window: Shell) -> None:
        super().__init__(window)
        window.actions_["animate"].triggered.connect(self.ask)

    @Slot()
    def ask(self) -> None:
        """Ask what to animate."""
        run = self.window.controller.run
        if run is None:
            self.window.banner.notice("No run is open yet.")
            return
        dialog = AnimationDialog(run.config.kind, run.folder, self.window)
        dialog.accepted.connect(self._chosen)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.open()

    @Slot()
    def _chosen(self) -> None:
        dialog, run = self.sender(), self.window.controller.run
        if isinstance(dialog, AnimationDialog) and run is not None:
            self.window.tasks.request(dialog.task, run.folder)
