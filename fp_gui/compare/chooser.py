"""The list of runs with a box before each: which of them are compared."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PySide6.QtCore import QSignalBlocker, QSize, Qt, Signal
from PySide6.QtWidgets import QListWidget, QListWidgetItem

FOLDER = Qt.ItemDataRole.UserRole


class RunChooser(QListWidget):
    """Run folders, the open one first; ``chosen_changed`` follows a box."""

    chosen_changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.setAccessibleName("Runs to compare")
        self.setToolTip("Runs to compare: check two or more. Space checks the one that has the focus.")
        self.setMinimumSize(110, 60)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)  # what is cut, the tooltip tells
        self.itemChanged.connect(lambda _: self.chosen_changed.emit())

    def chosen(self) -> tuple[Path, ...]:
        """The folders that are checked, from top to bottom."""
        items = [self.item(i) for i in range(self.count())]
        return tuple(item.data(FOLDER) for item in items if item.checkState() == Qt.CheckState.Checked)

    def show_runs(self, folders: Sequence[Path], present: Path | None, chosen: Sequence[Path]) -> None:
        """List ``folders``, the ``present`` run and those ``chosen``, whose boxes are checked."""
        known = list(dict.fromkeys([*([present] if present is not None else []), *chosen, *folders]))
        wanted = [(self._text(folder, present), folder, folder in chosen) for folder in known]
        if wanted == [(i.text(), i.data(FOLDER), i.checkState() == Qt.CheckState.Checked) for i in self._items()]:
            return
        with QSignalBlocker(self):
            self.clear()
            for text, folder, checked in wanted:
                item = QListWidgetItem(text)
                item.setData(FOLDER, folder)
                item.setToolTip(str(folder))
                item.setFlags(item.flags() | Qt.ItemFlag.ItemIsUserCheckable)
                item.setCheckState(Qt.CheckState.Checked if checked else Qt.CheckState.Unchecked)
                self.addItem(item)

    def _items(self) -> list[QListWidgetItem]:
        return [self.item(i) for i in range(self.count())]

    @staticmethod
    def _text(folder: Path, present: Path | None) -> str:
        return f"{folder.name} (open)" if folder == present else folder.name

    def sizeHint(self) -> QSize:
        """Narrow: the curves are what one looks at."""
        return QSize(150, 160)
