"""The dockable panels: where they stand at first, and how their layout is kept from one time to the next."""

from __future__ import annotations

from collections.abc import Mapping

from PySide6.QtCore import QByteArray, QObject, QSettings, Qt, Slot
from PySide6.QtGui import QAction, QGuiApplication
from PySide6.QtWidgets import QDockWidget, QMainWindow, QWidget

from fp_gui.theme import named

LAYOUT_VERSION = 1  # a stored layout of another version is not restored
FORM_WIDTH = 330  # pixels that the parameters get at first


class Panels(QObject):
    """The docks of ``window`` by name, made of ``contents``: name → (title, widget), the parameters first."""

    def __init__(self, window: QMainWindow, contents: Mapping[str, tuple[str, QWidget]]) -> None:
        super().__init__(window)
        self._window = window
        window.setDockNestingEnabled(True)
        self.docks: dict[str, QDockWidget] = {}
        for name, (title, widget) in contents.items():
            dock = named(QDockWidget(title, window), name)
            dock.setWidget(widget)
            self.docks[name] = dock
        self.fresh = True  # no stored layout: the first sizes are still to be given
        self.arrange()

    def toggles(self) -> list[QAction]:
        """One action a panel that shows or closes it."""
        return [dock.toggleViewAction() for dock in self.docks.values()]

    def bring(self, name: str) -> None:
        """Show a panel that may be closed or behind another, and give it the keys."""
        dock = self.docks[name]
        dock.show()
        dock.raise_()
        dock.widget().setFocus(Qt.FocusReason.ShortcutFocusReason)

    @Slot()
    def arrange(self) -> None:
        """Parameters on the left, the first view in the middle, the second and third stacked on the right."""
        left, *views = self.docks.values()
        for dock in (left, *views):
            dock.setFloating(False)
            self._window.addDockWidget(Qt.DockWidgetArea.LeftDockWidgetArea, dock)
        placed = [left]
        for i, dock in enumerate(views):
            if i < 2:
                self._window.splitDockWidget(placed[-1], dock, Qt.Orientation.Horizontal)
            elif i == 2:
                self._window.splitDockWidget(placed[-1], dock, Qt.Orientation.Vertical)
            else:
                self._window.tabifyDockWidget(placed[-1], dock)
            placed.append(dock)
        for dock in placed:
            dock.show()
        self.size()

    @Slot()
    def size(self) -> None:
        """Share out the window; Qt takes these sizes only once the window is shown."""
        docks = list(self.docks.values())
        rest = max(600, self._window.width() - FORM_WIDTH)
        widths = [FORM_WIDTH, int(0.52 * rest), int(0.48 * rest)]
        self._window.resizeDocks(docks[:3], widths[: len(docks)], Qt.Orientation.Horizontal)
        if len(docks) > 3:
            self._window.resizeDocks(docks[2:4], [100, 100], Qt.Orientation.Vertical)

    def restore(self, settings: QSettings) -> None:
        """Take up the geometry and the layout of the last time, if there are any."""
        geometry, state = settings.value("geometry"), settings.value("layout")
        if not (isinstance(geometry, QByteArray) and self._window.restoreGeometry(geometry)):
            screen = QGuiApplication.primaryScreen().availableGeometry()
            self._window.resize(min(1600, int(screen.width() * 0.97)), min(980, int(screen.height() * 0.94)))
        self.fresh = not (isinstance(state, QByteArray) and self._window.restoreState(state, LAYOUT_VERSION))
        if self.fresh:
            self.arrange()

    def save(self, settings: QSettings) -> None:
        """Remember the geometry and the layout."""
        settings.setValue("geometry", self._window.saveGeometry())
        settings.setValue("layout", self._window.saveState(LAYOUT_VERSION))
