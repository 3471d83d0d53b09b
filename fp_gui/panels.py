"""The dockable panels: where they stand at first, and how their layout is kept from one time to the next."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from itertools import pairwise

from PySide6.QtCore import QByteArray, QObject, QSettings, Qt, QTimer, Signal, Slot
from PySide6.QtGui import QAction, QGuiApplication
from PySide6.QtWidgets import QDockWidget, QMainWindow, QWidget

from fp_gui.folding import ViewArea
from fp_gui.theme import named
from fp_gui.views.base import Place, View

LAYOUT_VERSION = 4  # a stored layout of another version is not restored
FORM_WIDTH = 330  # pixels that the parameters get at first
WIDE, HIGH = 1180, 620  # pixels of a window under which fewer stacks of views stand beside or below each other
RAISE_MS = 30  # until the first tabs come to the front: Qt forgets them while it gives out the sizes
PLACES: tuple[Place, ...] = ("middle", "upper", "lower")  # the middle of the window; the halves of the right


class Panels(QObject):
    """The docks of ``window`` by name, with ``titles`` by name, parameters first, and the views' ``places``.

    Each kind of run shows some of them and has a layout of its own. The widgets come later, by :meth:`fill`: those of
    :meth:`front` before the layout is restored, the others when :attr:`appeared` names them.
    """

    appeared = Signal(str)  # a panel that can be seen and has no widget yet
    looked = Signal()  # panels came to the front or went

    def __init__(
        self, window: QMainWindow, titles: Mapping[str, str], places: Mapping[str, Place], kind: str,
        present: Collection[str],
    ) -> None:  # fmt: skip
        super().__init__(window)
        self._places = places
        self._window = window
        self.kind = kind
        self._present = frozenset(present)
        self._layouts: dict[str, QByteArray] = {}  # of the kinds of run that are not the present one
        window.setDockNestingEnabled(True)
        self.docks: dict[str, QDockWidget] = {}
        for name, title in titles.items():
            dock = named(QDockWidget(title, window), name)
            dock.hide()
            dock.visibilityChanged.connect(self._look_soon)
            self.docks[name] = dock
        self.fresh = True  # no stored layout: the first sizes are still to be given
        self._coming: list[QDockWidget] = []  # to be brought to the front, the later before the earlier ones
        self._raising = QTimer(self, singleShot=True, interval=RAISE_MS)
        self._raising.timeout.connect(self._raise_front)
        self._looking = QTimer(self, singleShot=True, interval=0)
        self._looking.timeout.connect(self._look)
        self._fronts: dict[str, list[str]] = {}  # kind of run → names of the panels in front when it was left
        self._part()

    def fill(self, name: str, widget: QWidget) -> None:
        """Put ``widget`` into the panel called ``name``; a view makes room there, and scrolls if it cannot."""
        self.docks[name].setWidget(ViewArea(widget, widget.folding) if isinstance(widget, View) else widget)

    def front(self) -> list[str]:
        """The names of the panels that will be in front when the layout of the present kind is taken up."""
        return self._fronts.get(self.kind) or [dock.objectName() for dock in self._front()]

    def _seen(self) -> list[str]:
        """The names of the views' panels that can be seen."""
        return [dock.objectName() for dock in self.shown()[1:] if not dock.visibleRegion().isEmpty()]

    @Slot()
    def _look_soon(self) -> None:
        self._looking.start()  # not at once: while a layout is taken up, panels come and go

    @Slot()
    def _look(self) -> None:
        self.looked.emit()
        if not self._raising.isActive():  # else the right ones are still to come to the front
            for name in self._seen():
                self._need(name)

    def _need(self, name: str) -> None:
        if self.docks[name].widget() is None:
            self.appeared.emit(name)

    def shown(self) -> list[QDockWidget]:
        """The panels of the present kind of run, closed ones included; the parameters first."""
        return [dock for name, dock in self.docks.items() if name in self._present]

    def toggles(self) -> list[QAction]:
        """One action a panel of the present kind of run that shows or closes it."""
        return [dock.toggleViewAction() for dock in self.shown()]

    def show_kind(self, kind: str, present: Collection[str]) -> None:
        """Show the panels ``present`` of another kind of run as they were left, or at first where they belong."""
        if kind == self.kind:
            return
        self._layouts[self.kind] = self._window.saveState(LAYOUT_VERSION)
        self._fronts[self.kind] = self._seen()
        self.kind, self._present = kind, frozenset(present)
        self._coming.clear()
        self._part()
        self._take(self._layouts.pop(kind, None))

    def _part(self) -> None:
        """Take the panels that are not of the present kind of run out of the window."""
        for name, dock in self.docks.items():
            dock.toggleViewAction().setVisible(name in self._present)
            if name not in self._present:
                self._window.removeDockWidget(dock)

    def _take(self, state: object) -> None:
        """Take up a stored layout, or arrange the panels if it is none."""
        self.fresh = not (isinstance(state, QByteArray) and self._window.restoreState(state, LAYOUT_VERSION))
        if self.fresh:
            self.arrange()
            self.fresh = not self._window.isVisible()
        else:
            self._coming.clear()
            self._part()  # whatever the stored layout says of them

    def bring(self, name: str) -> None:
        """Show a panel that may be closed or behind another, and give it the keys."""
        if name not in self._present or name not in self.docks:
            return
        self._need(name)
        dock = self.docks[name]
        if self._coming:
            self._coming.append(dock)
        dock.show()
        dock.raise_()
        dock.widget().setFocus(Qt.FocusReason.ShortcutFocusReason)
        self._look_soon()  # it may have been in front before: Qt says nothing then

    @Slot()
    def arrange(self) -> None:
        """Parameters on the left; the views in the middle and on the right, the first of each place in front."""
        self._coming = self._front()
        left, *views = self.shown()
        for dock in (left, *views):
            if dock.isFloating():
                dock.setFloating(False)
            self._window.removeDockWidget(dock)  # so that no two stand one below the other, which could grow the window
        self._window.addDockWidget(Qt.DockWidgetArea.LeftDockWidgetArea, left)
        before, turn = left, Qt.Orientation.Horizontal
        for i, dock in enumerate(self._front()):
            self._window.splitDockWidget(before, dock, turn)
            side = i < 1 and self._window.width() >= WIDE
            before, turn = dock, Qt.Orientation.Horizontal if side else Qt.Orientation.Vertical
        for stack in self._stacks():
            for behind, dock in pairwise(stack):
                self._window.tabifyDockWidget(behind, dock)
        for dock in (left, *views):
            dock.show()
        self.size()

    def _stacks(self) -> list[list[QDockWidget]]:
        """The present views' docks by place, as tabs one behind the other in the order of the views.

        Those of another kind of run than the present one are not there, and the next takes the place. In a window that
        is narrow the upper half of the right joins the middle, in one that is low the lower half joins the upper.
        """
        shown = self.shown()[1:]
        stacks = [[dock for dock in shown if self._places[dock.objectName()] in places] for places in self._shares()]
        return [stack for stack in stacks if stack]

    def _shares(self) -> list[tuple[Place, ...]]:
        """The places that share a stack."""
        narrow, low = self._window.width() < WIDE, self._window.height() < HIGH
        middle, upper, lower = PLACES
        if narrow:
            return [PLACES] if low else [(middle, upper), (lower,)]
        return [(middle,), (upper, lower)] if low else [(middle,), (upper,), (lower,)]

    def _front(self) -> list[QDockWidget]:
        return [stack[0] for stack in self._stacks()]

    @Slot()
    def size(self) -> None:
        """Share out the window and bring the first views to the front; Qt takes sizes only from a shown window."""
        docks = [self.shown()[0], *self._front()]
        rest = max(600, self._window.width() - FORM_WIDTH)
        beside = 3 if self._window.width() >= WIDE else 2
        widths = [FORM_WIDTH, int(0.52 * rest), int(0.48 * rest)] if beside == 3 else [FORM_WIDTH, rest]
        self._window.resizeDocks(docks[:beside], widths[: len(docks)], Qt.Orientation.Horizontal)
        if len(docks) > beside:
            self._window.resizeDocks(docks[beside - 1 :], [100, 100], Qt.Orientation.Vertical)
        self._raising.start()

    @Slot()
    def _raise_front(self) -> None:
        for dock in self._coming:
            dock.raise_()
        if self._window.isVisible():
            self._coming.clear()
        self._look_soon()

    def remember(self, settings: QSettings) -> None:
        """Take up the window's geometry of the last time, and learn which panels were in front, for :meth:`front`."""
        geometry = settings.value("geometry")
        if not (isinstance(geometry, QByteArray) and self._window.restoreGeometry(geometry)):
            screen = QGuiApplication.primaryScreen().availableGeometry()
            self._window.resize(min(1600, int(screen.width() * 0.97)), min(980, int(screen.height() * 0.94)))
        settings.beginGroup("front")
        for kind in settings.childKeys():
            names = str(settings.value(kind)).split(",")
            self._fronts[kind] = [name for name in names if name in self._places]
        settings.endGroup()

    def restore(self, settings: QSettings) -> None:
        """Take up the layouts of the last time, if there are any."""
        settings.beginGroup("layout")
        stored = {kind: settings.value(kind) for kind in settings.childKeys()}
        settings.endGroup()
        self._layouts = {kind: state for kind, state in stored.items() if isinstance(state, QByteArray)}
        self._take(self._layouts.pop(self.kind, None))

    def save(self, settings: QSettings) -> None:
        """Remember the geometry and the layout of every kind of run."""
        settings.setValue("geometry", self._window.saveGeometry())
        for kind, state in (*self._layouts.items(), (self.kind, self._window.saveState(LAYOUT_VERSION))):
            settings.setValue(f"layout/{kind}", state)
        for kind, names in (self._fronts | {self.kind: self._seen()}).items():
            settings.setValue(f"front/{kind}", ",".join(names))
