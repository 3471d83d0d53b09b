"""The way back to the run before: a run with steps behind it is never left without one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import QObject, Slot
from PySide6.QtGui import QAction

from fp_gui.banner import Banner, Offer
from fp_gui.bridge.requests import RunInfo


class WayBack(QObject):
    """Remembers the run that was left last: the banner offers it at once, ``action`` as long as the window is open."""

    def __init__(self, banner: Banner, action: QAction, open_run: Callable[[Path], None], parent: QObject) -> None:
        super().__init__(parent)
        self._banner, self._action, self._open = banner, action, open_run
        self._left: Path | None = None
        action.setEnabled(False)
        action.triggered.connect(self.go)

    def show(self, info: RunInfo) -> None:
        """Another run is open: say which it is and which was left."""
        opened = _words(info)
        if info.left is not None:
            self._left = info.left
            left = f"Run {info.left.name} was left at step {info.left_steps:,} and stays on disk."
            self._banner.offer(Offer(f"{opened} {left}", "Go back", self.go))
        elif info.folder == self._left:
            self._left = None
            self._banner.withdraw()
        if info.left is None and (info.resumed or info.data):
            self._banner.notice(opened)
        if info.warnings:
            self._banner.error(f"{info.folder.name}, step {info.steps}: {' '.join(info.warnings)}")
        self._action.setEnabled(self._left is not None)

    @Slot()
    def go(self) -> None:
        """Open the run that was left."""
        if self._left is not None:
            self._open(self._left)


def _words(info: RunInfo) -> str:
    if info.original is not None:
        words = (
            f"{info.original.name} may only be read: opened for viewing at step {info.steps:,}. "
            f"Going on trains a copy of it: {info.folder}."
        )
    elif info.watched:
        words = f"Watching {info.folder.name} from step {info.steps:,}: it is only read."
    elif info.resumed:
        words = f"Opened {info.folder.name} at step {info.steps:,}."
    else:
        words = f"New run {info.folder.name}."
    return f"{words} {info.data}" if info.data else words
