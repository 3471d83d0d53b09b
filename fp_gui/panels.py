"""The dockable panels: where they stand at first, and how their layout is kept from one time to the next."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

from PySide6.QtCore import QByteArray, QObject, QSettings, Qt, QTimer, Slot
from PySide6.QtGui import QAction, QGuiApplication
from PySide6.QtWidgets import QDockWidget, QMainWindow, QWidget

from fp_gui.theme import named

LAYOUT_VERSION = 2  # a stored layout of another version is not restored
FORM_WIDTH = 330  # pixels that the parameters get at first
RAISE_MS = 30  # until the first tabs come to the front: Qt forgets them while it gives out the sizes
# Where each view stands at first, as tabs one behind the other: the middle, the upper and the lower half of the right.
PLACES = (("neurons", "race", "claims"), ("mixtures", "perturbation"), ("robustness", "radius"))


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
        self._coming: list[QDockWidget] = []  # to be brought to the front, the later before the earlier ones
        self._raising = QTimer(self, singleShot=True, interval=RAISE_MS)
        self._raising.timeout.connect(self._raise_front)
        self.arrange()

    def toggles(self) -> list[QAction]:
        """One action a panel that shows or closes it."""
        return [dock.toggleViewAction() for dock in self.docks.values()]

    def bring(self, name: str) -> None:
        """Show a panel that may be closed or behind another, and give it the keys."""
        dock = self.docks[name]
        if self._coming:
            self._coming.append(dock)
        dock.show()
        dock.raise_()
        dock.widget().setFocus(Qt.FocusReason.ShortcutFocusReason)

    @Slot()
    def arrange(self) -> None:
        """Parameters on the left; the views in the middle and on the right, the first of each place in front."""
        self._coming = self._front()
        left, *views = self.docks.values()
        for dock in (left, *views):
            dock.setFloating(False)
            self._window.addDockWidget(Qt.DockWidgetArea.LeftDockWidgetArea, dock)
        before, turn = left, Qt.Orientation.Horizontal
        for i, dock in enumerate(self._front()):
            self._window.splitDockWidget(before, dock, turn)
            before, turn = dock, Qt.Orientation.Horizontal if i < 1 else Qt.Orientation.Vertical
        for stack in self._stacks():
            for behind, dock in pairwise(stack):
                self._window.tabifyDockWidget(behind, dock)
        for dock in (left, *views):
            dock.show()
        self.size()

    def _stacks(self) -> list[list[QDockWidget]]:
        """The views' docks by place, those of no known place behind the first."""
        stacks = [[self.docks[name] for name in place if name in self.docks] for place in PLACES]
        known = {name for place in PLACES for name in place}
        rest = [dock for name, dock in list(self.docks.items())[1:] if name not in known]
        stacks = [stack for stack in stacks if stack] or [[]]
        stacks[0] += rest
        return [stack for stack in stacks if stack]

    def _front(self) -> list[QDockWidget]:
        return [stack[0] for stack in self._stacks()]

    @Slot()
    def size(self) -> None:
        """Share out the window and bring the first views to the front; Qt takes sizes only from a shown window."""
        docks = [next(iter(self.docks.values())), *self._front()]
        rest = max(600, self._window.width() - FORM_WIDTH)
        widths = [FORM_WIDTH, int(0.52 * rest), int(0.48 * rest)]
        self._window.resizeDocks(docks[:3], widths[: len(docks)], Qt.Orientation.Horizontal)
        if len(docks) > 3:
            self._window.resizeDocks(docks[2:4], [100, 100], Qt.Orientation.Vertical)
        self._raising.start()

    @Slot()
    def _raise_front(self) -> None:
        for dock in self._coming:
            dock.raise_()
        if self._window.isVisible():
            self._coming.clear()

    def restore(self, settings: QSettings) -> None:
        """Take up the geometry and the layout of the last time, if there are any."""
        geometry, state = settings.value("geometry"), settings.value("layout")
        if not (isinstance(geometry, QByteArray) and self._window.restoreGeometry(geometry)):
            screen = QGuiApplication.primaryScreen().availableGeometry()
            self._window.resize(min(1600, int(screen.width() * 0.97)), min(980, int(screen.height() * 0.94)))
        self.fresh = not (isinstance(state, QByteArray) and self._window.restoreState(state, LAYOUT_VERSION))
        if self.fresh:
            self.arrange()
        else:
            self._coming.clear()

    def save(self, settings: QSettings) -> None:
        """Remember the geometry and the layout."""
        settings.setValue("geometry", self._window.saveGeometry())
        settings.setValue("layout", self._window.saveState(LAYOUT_VERSION))
