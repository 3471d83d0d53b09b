"""Which image data sets are there, where and how large: choose a folder, download, start a run on one.

Looking and downloading are the engine's command ``data`` in another process, so that the window stays free.
"""

from __future__ import annotations

import json
from collections import deque
from pathlib import Path
from typing import Any

from PySide6.QtCore import QSettings, Qt, Signal, Slot
from PySide6.QtWidgets import (
    QAbstractItemView,
    QDialog,
    QFileDialog,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QMessageBox,
    QProgressBar,
    QPushButton,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from engine.data.images import sources
from engine.data.tree import PATTERNS
from fp_gui.dialog_size import open_size
from fp_gui.tasks import EngineProcess
from fp_gui.theme import ORANGE, VERMILION, Theme
from fp_gui.views.widgets import line, tint

COLUMNS = ("Data set", "Installed", "Size", "Images", "Where")
GRACE_MS = 3000  # for a cancelled download to remove what it had begun
THOUSAND = 1000  # steps of the progress bar

Row = dict[str, Any]  # name, title, installed, where, size_bytes, images, note


def arguments(*words: str) -> list[str]:
    """The command line after the Python interpreter."""
    return ["-m", "engine", "data", *words]


def chosen_folder(settings: QSettings, name: str) -> str:
    """The folder or .zip that the user chose for the data set ``name``; empty: its default place."""
    return str(settings.value(f"data/{name}", ""))


def size_text(size: int) -> str:
    """A size on disk in kB, MB or GB; a dash for nothing."""
    if size <= 0:
        return "–"
    for unit, factor in (("GB", 10**9), ("MB", 10**6)):
        if size >= factor:
            return f"{size / factor:.3g} {unit}"
    return f"{max(1, round(size / 1000))} kB"


def rows_of(text: str) -> list[Row]:
    """What ``engine data --json`` printed. Raises :class:`ValueError` if it is not that."""
    found = json.loads(text)
    kinds = {"name": str, "title": str, "installed": bool, "where": str, "size_bytes": int, "images": str, "note": str}
    if not isinstance(found, list) or not all(
        isinstance(row, dict) and all(isinstance(row.get(key), kind) for key, kind in kinds.items()) for row in found
    ):
        raise ValueError("no list of data sets")
    return found


class DataDialog(QDialog):
    """A table of the data sets with what can be done about each. Closing it does not stop a download."""

    chosen = Signal(str, str)  # data set, folder (empty: default place): start a run on it
    notice = Signal(str)  # how a download ended that nobody was looking at

    def __init__(self, settings: QSettings, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Data")
        self.settings = settings
        self.rows: list[Row] = []
        self._found: dict[str, Row] = {}
        self._questions: deque[tuple[str, list[str]]] = deque()  # data set or "" for all, words of the command
        self._asked = ""
        self._survey = EngineProcess(self)
        self._survey.succeeded.connect(self._surveyed)
        self._survey.failed.connect(self._survey_failed)
        self._download = EngineProcess(self, grace_ms=GRACE_MS)
        self._download.progressed.connect(self._progressed)
        self._download.succeeded.connect(self._downloaded)
        self._download.failed.connect(self._download_failed)
        self._download.cancelled.connect(self._download_cancelled)
        self._make()
        self._show()

    def _make(self) -> None:
        intro = QLabel(
            "The image data sets that runs can use. Nothing is fetched from the network unless you ask for it.",
            wordWrap=True,
        )
        self.table = QTableWidget(0, len(COLUMNS))
        self.table.setHorizontalHeaderLabels(list(COLUMNS))
        self.table.verticalHeader().setVisible(False)
        self.table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.table.setTabKeyNavigation(False)
        self.table.setWordWrap(False)
        self.table.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.table.setAccessibleName("Data sets")
        header = self.table.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(len(COLUMNS) - 1, QHeaderView.ResizeMode.Stretch)
        self.table.itemSelectionChanged.connect(self._show)
        self.table.itemActivated.connect(self._use)
        self.note = line()
        self.note.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.use = self._button("Use", "Start a new run on these images; the present run stays on disk", self._use)
        self.folder = self._button("Choose folder…", "Say where these images are", self._choose_folder)
        self.zip = self._button("Choose archive…", "Read the images in a .zip or .tar file", self._choose_zip)
        self.default = self._button("Default place", "Look in the default place again", self._choose_default)
        self.download = self._button(
            "Download…", "Fetch it from the network; how much that is, is said before", self._ask_download
        )
        self.again = self._button("Refresh", "Look again at what is installed", self.refresh)
        self.close_button = self._button("Close", "Close this window; a download goes on", self.reject)
        self.bar = QProgressBar(textVisible=False)
        self.bar.setMaximumWidth(220)
        self.progress = line(wrap=False)
        self.cancel = self._button("Cancel", "Stop the download; nothing half-done is kept", self._download.cancel)
        self.problem = line()
        self.problem.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        buttons = QHBoxLayout()
        for button in (self.use, self.folder, self.zip, self.default, self.download):
            buttons.addWidget(button)
        buttons.addStretch(1)
        buttons.addWidget(self.again)
        buttons.addWidget(self.close_button)
        below = QHBoxLayout()
        below.addWidget(self.bar)
        below.addWidget(self.progress, 1)
        below.addWidget(self.cancel)
        layout = QVBoxLayout(self)
        layout.setSpacing(10)
        layout.addWidget(intro)
        layout.addWidget(self.table, 1)
        layout.addWidget(self.note)
        layout.addLayout(buttons)
        layout.addLayout(below)
        layout.addWidget(self.problem)
        open_size(self, 900, 340)

    def _button(self, text: str, tip: str, slot: object) -> QPushButton:
        button = QPushButton(text, autoDefault=False)
        button.setToolTip(tip)
        button.clicked.connect(slot)
        return button

    # -- what the window tells the dialog ------------------------------------------------------------------------

    def present(self) -> None:
        """Come to the front and look at what is installed."""
        self.show()
        self.raise_()
        self.activateWindow()
        self.refresh()

    def shut(self) -> None:
        """End what is under way and go: the window closes."""
        self.hide()
        self._questions.clear()
        self._survey.close()
        self._download.close()

    def set_theme(self, theme: Theme) -> None:
        """Recolour the texts."""
        tint(self.note, theme.muted)
        tint(self.progress, theme.muted)
        tint(self.problem, ORANGE if theme.dark else VERMILION)

    # -- looking -------------------------------------------------------------------------------------------------

    @Slot()
    def refresh(self) -> None:
        """Look again at what is installed: all in the default places, then those whose folder was chosen."""
        self._say("")
        self._found.clear()
        self._questions.clear()
        self._questions.append(("", arguments("--json")))
        for name in sources:
            if sources[name].in_folder and (folder := chosen_folder(self.settings, name)):
                self._questions.append((name, arguments(name, "--folder", folder, "--json")))
        if not self._survey.busy:
            self._ask_next()

    def _ask_next(self) -> None:
        if self._questions:
            self._asked, words = self._questions.popleft()
            self._survey.start(words)
        else:
            self._fill()
        self._show()

    @Slot()
    def _surveyed(self) -> None:
        try:
            rows = rows_of(self._survey.output)
        except ValueError as error:
            self._survey_failed(f"the answer cannot be read: {error}", "")
            return
        self._found |= {row["name"]: row for row in rows if self._asked in ("", row["name"])}
        self._ask_next()

    @Slot(str, str)
    def _survey_failed(self, text: str, details: str) -> None:
        self._say(f"What is installed could not be found out: {text}", details)
        self._ask_next()

    def _fill(self) -> None:
        name = self.selected["name"] if self.selected else ""
        self.rows = list(self._found.values())
        self.table.setRowCount(len(self.rows))
        for i, row in enumerate(self.rows):
            texts = (
                row["title"], "yes" if row["installed"] else "no", size_text(row["size_bytes"]), row["images"],
                row["where"],
            )  # fmt: skip
            for j, text in enumerate(texts):
                item = QTableWidgetItem(text)
                item.setToolTip(text if j == len(texts) - 1 else row["note"])
                self.table.setItem(i, j, item)
        names = [row["name"] for row in self.rows]
        if names:
            self.table.selectRow(names.index(name) if name in names else 0)

    @property
    def selected(self) -> Row | None:
        """The data set that the buttons are about."""
        i = self.table.currentRow()
        return self.rows[i] if 0 <= i < len(self.rows) else None

    @Slot()
    def _show(self) -> None:
        """The note and the buttons for the selected data set, and what is under way."""
        row = self.selected
        name, installed = (row["name"], row["installed"]) if row else ("", False)
        source = sources.get(name)
        fetched = source is not None and source.download is not None
        looking, loading = self._survey.busy, self._download.busy
        self.note.setText("looking for data sets…" if looking and row is None else row["note"] if row else "")
        self.use.setEnabled(installed and not (loading and fetched))
        self.folder.setEnabled(source is not None and source.in_folder and not looking)
        self.zip.setEnabled(source is not None and source.in_zip and not looking)
        self.default.setEnabled(bool(name and chosen_folder(self.settings, name)) and not looking)
        self.download.setEnabled(fetched and not installed and not loading)
        self.again.setEnabled(not looking)
        for widget in (self.bar, self.progress, self.cancel):
            widget.setVisible(loading)

    def _say(self, text: str, details: str = "") -> None:
        self.problem.setText(" ".join(text.split()))
        self.problem.setToolTip(details)
        self.problem.setVisible(bool(text))

    # -- choosing ------------------------------------------------------------------------------------------------

    @Slot()
    def _use(self) -> None:
        row = self.selected
        if row is not None and self.use.isEnabled():
            self.hide()
            self.chosen.emit(row["name"], chosen_folder(self.settings, row["name"]))

    @Slot()
    def _choose_folder(self) -> None:
        if self.selected is not None:
            self._choose(QFileDialog.getExistingDirectory(self, "Folder with the images", self._start()))

    @Slot()
    def _choose_zip(self) -> None:
        if self.selected is not None:
            self._choose(QFileDialog.getOpenFileName(self, "File with the images", self._start(), PATTERNS)[0])

    @Slot()
    def _choose_default(self) -> None:
        if self.selected is not None:
            self.settings.remove(f"data/{self.selected['name']}")
            self.refresh()

    def _start(self) -> str:
        """The folder to begin looking in: the chosen one, or the user's."""
        chosen = chosen_folder(self.settings, self.selected["name"]) if self.selected else ""
        return str(Path(chosen).parent) if chosen else str(Path.home())

    def _choose(self, place: str) -> None:
        if place and self.selected is not None:
            self.settings.setValue(f"data/{self.selected['name']}", place)
            self.refresh()

    # -- downloading ---------------------------------------------------------------------------------------------

    @Slot()
    def _ask_download(self) -> None:
        row = self.selected
        if row is None or self._download.busy:
            return
        text = f"{row['title']} is not installed in {row['where']}.\n\n{row['note']}\n\nDownload it to that place?"
        if QMessageBox.question(self, "Download", text) == QMessageBox.StandardButton.Yes:
            self._say("")
            folder = chosen_folder(self.settings, row["name"])
            self.bar.setRange(0, 0)
            self.progress.setText("starting")
            self._download.start(arguments(row["name"], "--download", *(("--folder", folder) if folder else ())))
            self._show()

    @Slot(float, str)
    def _progressed(self, share: float, text: str) -> None:
        self.bar.setRange(0, THOUSAND)
        self.bar.setValue(round(share * THOUSAND))
        self.progress.setText(f"{share:.0%} · {text}")

    @Slot()
    def _downloaded(self) -> None:
        self._ended("The download is done: File → Data… starts a run on it.")

    @Slot(str, str)
    def _download_failed(self, text: str, details: str) -> None:
        self._ended(f"The download failed: {text}")
        self._say(text, details)

    @Slot()
    def _download_cancelled(self) -> None:
        self._ended("The download was cancelled.")

    def _ended(self, text: str) -> None:
        self._show()
        if self.isVisible():
            self.refresh()
        else:
            self.notice.emit(text)
