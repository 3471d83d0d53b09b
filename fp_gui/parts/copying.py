"""Copies a view by its key, and gives every view a handle to drag it by."""

from __future__ import annotations

from PySide6.QtCore import Slot
from PySide6.QtGui import QCursor
from PySide6.QtWidgets import QApplication

from fp_gui.copying import DragHandle, copy, view_of
from fp_gui.folding import ViewArea
from fp_gui.parts.base import Part, parts
from fp_gui.shell import Shell
from fp_gui.views.base import View


@parts.register("copying")
class Copying(Part):
    """The view that has the keys is copied, or the one under the mouse."""

    def __init__(self, window: Shell) -> None:
        super().__init__(window)
        window.actions_["copy_view"].triggered.connect(self.copy)
        window.shelf.made.connect(self._made)

    @Slot(object)
    def _made(self, view: View) -> None:
        area = view.parentWidget()
        while area is not None and not isinstance(area, ViewArea):
            area = area.parentWidget()
        if area is not None:
            DragHandle(area, view)

    @Slot()
    def copy(self) -> None:
        """Copy, and say what."""
        window = self.window
        view = view_of(window.focusWidget(), window.views) or view_of(
            QApplication.widgetAt(QCursor.pos()), window.views
        )
        if view is None:
            window.banner.notice("Point at a view, or give it the keys by its number: Ctrl+C copies that one.")
            return
        numbers = copy(view)
        what = "picture and the numbers that it draws" if numbers else "picture; its numbers are in what Export writes"
        window.banner.notice(f"Copied {view.title}: {what}.")
