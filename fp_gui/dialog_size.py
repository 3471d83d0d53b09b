"""How large a dialog opens: as it wants to be, on a small screen no larger than there is room for."""

from __future__ import annotations

from PySide6.QtCore import QSize
from PySide6.QtWidgets import QDialog

FRAME = QSize(16, 48)  # pixels that its title and edges take, which it does not know before it is shown


def open_size(dialog: QDialog, width: int, height: int) -> None:
    """Resize ``dialog`` to ``width`` × ``height`` logical pixels, or to what its screen has room for."""
    parent = dialog.parentWidget()
    screen = (dialog if parent is None else parent).screen()
    dialog.resize(QSize(width, height).boundedTo(screen.availableGeometry().size() - FRAME))
