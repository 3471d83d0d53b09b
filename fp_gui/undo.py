"""Undo and redo of knob changes: each sends the old or the new value to the session, like any other edit."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable

from PySide6.QtGui import QUndoCommand

from fp_gui.fields import show

MERGE_SECONDS = 0.8  # nudging a knob with the arrow keys is one change, not ten


class KnobChange(QUndoCommand):
    """Knob ``path`` went from ``old`` to ``new``; ``send`` is the controller's ``set_knob``."""

    def __init__(self, path: str, old: object, new: object, send: Callable[[str, object], None]) -> None:
        super().__init__(f"{path} = {show(new)}")
        self.path, self.old, self.new = path, old, new
        self._send = send
        self._time = time.monotonic()

    def redo(self) -> None:
        """Send the new value; also called when the change is first made."""
        self._send(self.path, self.new)

    def undo(self) -> None:
        """Send the old value."""
        self._send(self.path, self.old)

    def id(self) -> int:
        """Changes of one knob may merge."""
        return zlib.crc32(self.path.encode()) & 0x7FFFFFFF

    def mergeWith(self, other: QUndoCommand) -> bool:
        """Swallow a further change of the same knob that followed at once."""
        if not isinstance(other, KnobChange) or other.path != self.path or other._time - self._time > MERGE_SECONDS:
            return False
        self.new, self._time = other.new, other._time
        self.setText(f"{self.path} = {show(self.new)}")
        return True
