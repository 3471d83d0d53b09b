"""The question where the images of a run are now, when they are not where it found them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from PySide6.QtCore import QObject, Signal, Slot
from PySide6.QtWidgets import QFileDialog, QMessageBox, QWidget

from engine.core.errors import ExplorerError
from engine.data.images import ImagesMissing
from engine.data.tree import PATTERNS
from fp_gui.bridge.requests import BranchRun, Stored


class MovedImages(QObject):
    """Asks without holding the window up; that the images are the same is checked when the run is asked for again."""

    found = Signal(object)  # what was asked of the run, with the folder or archive of its images

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self._window = parent
        self.box: QMessageBox | None = None
        self._request: Stored | None = None

    @Slot(object, object)
    def ask(self, request: Stored, error: ExplorerError) -> None:
        """Ask where the images are, if that is why ``request`` was refused; :attr:`found` follows unless cancelled."""
        if not isinstance(error, ImagesMissing):
            return
        self.close()
        self._request = request
        run = request.parent if isinstance(request, BranchRun) else request.folder
        box = QMessageBox(
            QMessageBox.Icon.Question, "Images", "The images are not where they were; choose their folder.",
            parent=self._window,
        )  # fmt: skip
        box.setInformativeText(f"{run.name}: {error}\n\nOnly the very images that the run was trained on are taken.")
        folder = box.addButton("Choose folder…", QMessageBox.ButtonRole.AcceptRole)
        archive = box.addButton("Choose archive…", QMessageBox.ButtonRole.ActionRole)
        box.addButton(QMessageBox.StandardButton.Cancel)
        box.setDefaultButton(folder)
        folder.clicked.connect(self._choose_folder)
        archive.clicked.connect(self._choose_archive)
        self.box = box
        box.open()

    def close(self) -> None:
        """Take the question back: another run is being opened, or the window closes."""
        if self.box is not None:
            self.box.hide()
            self.box.deleteLater()
            self.box = None

    @Slot()
    def _choose_folder(self) -> None:
        self._chosen(QFileDialog.getExistingDirectory(self._window, "Folder with the images", str(Path.home())))

    @Slot()
    def _choose_archive(self) -> None:
        title = "Archive with the images"
        self._chosen(QFileDialog.getOpenFileName(self._window, title, str(Path.home()), PATTERNS)[0])

    def _chosen(self, place: str) -> None:
        self.close()
        if place and self._request is not None:
            self.found.emit(replace(self._request, data=Path(place)))
