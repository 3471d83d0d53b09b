"""One view on the whole screen, for an audience."""

from __future__ import annotations

from PySide6.QtCore import QByteArray, QEvent, QObject, Qt, Slot
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QDockWidget

from fp_gui.parts.base import Part, parts
from fp_gui.shell import Shell


@parts.register("presenting")
class Presenting(Part):
    """Floats the panel of the view that has the keys and gives it the screen; Esc, or the key again, puts it back."""

    def __init__(self, window: Shell) -> None:
        super().__init__(window)
        self.dock: QDockWidget | None = None
        self._floated = False
        self._geometry = QByteArray()
        window.actions_["present"].triggered.connect(self.toggle)
        window.controller.run_changed.connect(self.leave)  # another kind of run has other panels

    @Slot()
    def toggle(self) -> None:
        """Present a view, or leave."""
        if self.dock is not None:
            self.leave()
        elif name := self.window.panels.attended():
            self.present(name)

    def present(self, name: str) -> None:
        """Show the panel called ``name`` on the whole screen."""
        self.leave()
        self.window.panels.bring(name)
        self.dock = dock = self.window.panels.docks[name]
        self._floated, self._geometry = dock.isFloating(), dock.saveGeometry()
        dock.setFloating(True)
        dock.setGeometry(self.window.screen().geometry())  # also where no window manager does it
        dock.showFullScreen()
        dock.installEventFilter(self)
        dock.activateWindow()
        if (inside := dock.widget()) is not None:
            inside.setFocus(Qt.FocusReason.ShortcutFocusReason)

    @Slot()
    def leave(self) -> None:
        """Put the panel back where it was."""
        dock, self.dock = self.dock, None
        if dock is None:
            return
        dock.removeEventFilter(self)
        dock.setWindowState(Qt.WindowState.WindowNoState)
        dock.setFloating(self._floated)
        if self._floated:
            dock.restoreGeometry(self._geometry)
        elif dock.toggleViewAction().isVisible():
            dock.show()
            dock.raise_()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Esc leaves, as does closing the panel."""
        if event.type() == QEvent.Type.KeyPress and isinstance(event, QKeyEvent) and event.key() == Qt.Key.Key_Escape:
            self.leave()
            return True
        if event.type() == QEvent.Type.Close:
            self.leave()
            event.ignore()
            return True
        return False

    def save(self) -> None:
        """The layout that is remembered is the one without the presentation."""
        self.leave()
