"""The tour: leads from stop to stop over the window as it is, on whatever run is open; offered at the first start."""

from __future__ import annotations

from PySide6.QtCore import QTimer, Slot
from PySide6.QtGui import QKeySequence, QShortcut
from PySide6.QtWidgets import QBoxLayout

from fp_gui.parts.base import Part, parts
from fp_gui.shell import Shell
from fp_gui.theme import Theme
from fp_gui.tour import Spotlight
from fp_gui.tour_stops import STOPS, Stop
from fp_gui.welcome import Welcome

OFFERED = "tour/offered"  # in the settings: the offer was seen once
FOLLOW_MS = 60  # how often the spotlight looks where its control is: panels move, rows scroll, toolbars fold


@parts.register("tour")
class Tour(Part):
    """A stop that sees its thing done moves on by itself; one where it was done before waits for Next."""

    def __init__(self, window: Shell) -> None:
        super().__init__(window)
        self.spotlight = Spotlight(window)
        self.stop: Stop | None = None
        self.number = 0  # of the stop, from 0
        self._armed = False  # the stop's thing was seen undone: once it is done, that is news
        self._timer = QTimer(self, interval=FOLLOW_MS)
        self._timer.timeout.connect(self._follow)
        self._escape = QShortcut(QKeySequence("Esc"), window, enabled=False)
        self._escape.activated.connect(self.end)
        self._unmark: list[QKeySequence] = []  # the keys of that action, which are the tour's meanwhile
        card, actions = self.spotlight.card, window.actions_
        actions["tour"].triggered.connect(self.start)
        card.back_asked.connect(self.back)
        card.next_asked.connect(self.next)
        card.skip_asked.connect(self.end)
        window.controller.playing_changed.connect(self._look)
        window.controller.snapshot_rendered.connect(self._look)
        window.controller.run_changed.connect(self._restart)
        window.undo_stack.indexChanged.connect(self._look)
        window.shelf.chosen_changed.connect(self._look)
        window.panels.looked.connect(self._come_forward)
        window.exporter.done.connect(self._look_later)  # after the stop itself has heard of it
        self.welcome: Welcome | None = None
        if not window.settings.value(OFFERED, False, type=bool):
            self._offer()

    # -- the offer -----------------------------------------------------------------------------------------------

    def _offer(self) -> None:
        layout = self.window.form.layout()
        if isinstance(layout, QBoxLayout):
            self.welcome = welcome = Welcome()
            welcome.set_theme(self.window.themes.theme)
            welcome.tour_asked.connect(self.start)
            welcome.questions_asked.connect(self.window.actions_["questions"].trigger)
            welcome.answered.connect(self._answered)
            layout.insertWidget(0, welcome)

    @Slot()
    def _answered(self) -> None:
        self.window.settings.setValue(OFFERED, True)
        if self.welcome is not None:
            self.welcome.hide()

    # -- the way -------------------------------------------------------------------------------------------------

    @Slot()
    def start(self) -> None:
        """Begin at the first stop."""
        if self.window.controller.run is None:
            self.window.banner.notice("No run is open yet: the tour needs one.")
            return
        self._answered()
        self.end()
        unmark = self.window.actions_["unmark"]
        self._unmark = unmark.shortcuts()
        unmark.setShortcuts([])
        self._escape.setEnabled(True)
        self.spotlight.show()
        self._timer.start()
        self._go(0)

    @Slot()
    def end(self) -> None:
        """Leave the tour; the run stays as it is."""
        if self.stop is None:
            return
        stop, self.stop = self.stop, None
        stop.leave()
        self._timer.stop()
        self.spotlight.hide()
        self._escape.setEnabled(False)
        self.window.actions_["unmark"].setShortcuts(self._unmark)
        self.window.setFocus()

    @Slot()
    def next(self) -> None:
        """Go on, whatever was done."""
        if self.number + 1 < len(STOPS):
            self._go(self.number + 1)
        else:
            self.end()

    @Slot()
    def back(self) -> None:
        """Go one stop back."""
        if self.number > 0:
            self._go(self.number - 1)

    def _go(self, number: int, said: str = "") -> None:
        before, self.stop = self.stop, None  # what the stops do on leaving and arriving is no news to them
        if before is not None:
            before.leave()
        self.number, stop = number, STOPS[number](self.window)
        stop.arrive()
        self._armed = not stop.done()
        card = self.spotlight.card
        card.show_stop(number + 1, len(STOPS), stop.title, said)
        if not stop.keeps_keys:
            card.setFocus()
        self.stop = stop
        self._follow()
        self._come_forward()

    @Slot()
    def _look(self) -> None:
        """Something has changed: perhaps what the stop waits for."""
        if self.stop is None:
            return
        said = self.stop.done()
        if said and self._armed:
            self._go(self.number + 1, said)
        elif not said:
            self._armed = True

    @Slot()
    def _look_later(self) -> None:
        QTimer.singleShot(0, self, self._look)

    @Slot()
    def _follow(self) -> None:
        stop = self.stop
        if stop is not None:
            self.spotlight.card.show_words(stop.text(), stop.note(), bool(stop.done()))
            self.spotlight.follow(stop.targets(), self.window.banner)

    @Slot()
    def _come_forward(self) -> None:
        if self.stop is not None:
            self.spotlight.come_forward(self.window.banner)

    @Slot()
    def _restart(self) -> None:
        """Another run is open."""
        if self.stop is not None:
            self._go(0)

    # -- the window ----------------------------------------------------------------------------------------------

    def set_theme(self, theme: Theme) -> None:
        """Recolour what is shown."""
        self.spotlight.set_theme(theme)
        if self.welcome is not None:
            self.welcome.set_theme(theme)

    def save(self) -> None:
        """An offer that was seen and not answered is not made again."""
        self.window.settings.setValue(OFFERED, True)

    def close(self) -> None:
        """Leave the tour."""
        self.end()
