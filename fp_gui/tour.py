"""What the tour draws: a shade over the window that leaves some controls bright, and a card that never covers them.

Which controls, and what the card says, is decided by :mod:`fp_gui.tour_stops`; :mod:`fp_gui.parts.tour` leads through.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import product

from PySide6.QtCore import QPoint, QRect, QSize, Qt, Signal
from PySide6.QtGui import QColor, QKeyEvent, QPainter, QPainterPath, QPaintEvent, QPen
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QPushButton, QToolBar, QVBoxLayout, QWidget

from fp_gui.focus import seen
from fp_gui.theme import LIGHT, Theme, named

AROUND = 5  # pixels that stay bright around a control
GAP = 10  # pixels between the card and what is bright, and the window's edges
DARK, PALE = 150, 105  # of 255: how dark the shade is in the dark and in the light theme
WIDTHS = (44, 34, 58, 26)  # characters in a line of the card: tried in this order where there is little room
FOLDED = "qt_toolbar_ext_button"  # Qt's name of the » of a toolbar that is too narrow


def shown_part(widget: QWidget, window: QWidget) -> QRect:
    """Where ``widget`` is in ``window``, without what is clipped by what holds it; empty if it cannot be seen.

    A panel that floats has a window of its own; it is given by where that lies over this one.
    """
    if not seen(widget) or not widget.isVisible():
        return QRect()
    found = QRect(widget.mapToGlobal(QPoint(0, 0)), widget.size())
    holder = widget
    while not holder.isWindow() and (above := holder.parentWidget()) is not None:
        found &= QRect(above.mapToGlobal(QPoint(0, 0)), above.size())
        holder = above
    return found.translated(-window.mapToGlobal(QPoint(0, 0)))


def reachable(widget: QWidget, more: QWidget) -> QWidget:
    """``widget``, or what opens the menu that it was folded into: ``more``, or Qt's own » of its toolbar."""
    if widget.isVisible():
        return widget
    if more.isVisible():
        return more
    bar = widget.parentWidget()
    while bar is not None and not isinstance(bar, QToolBar):
        bar = bar.parentWidget()
    folded = bar.findChild(QWidget, FOLDED) if bar is not None else None
    return folded if folded is not None and folded.isVisible() else widget


def _beside(size: QSize, bright: QRect, room: QRect) -> Iterator[QRect]:
    """Below, right of, left of and above ``bright``, as near its middle as the ``room`` allows."""
    middle = bright.center() - QPoint(size.width() // 2, size.height() // 2)
    x = max(room.left(), min(middle.x(), room.right() - size.width() + 1))
    y = max(room.top(), min(middle.y(), room.bottom() - size.height() + 1))
    yield QRect(QPoint(x, bright.bottom() + GAP), size)
    yield QRect(QPoint(bright.right() + GAP, y), size)
    yield QRect(QPoint(bright.left() - GAP - size.width(), y), size)
    yield QRect(QPoint(x, bright.top() - GAP - size.height()), size)


def _corners(size: QSize, room: QRect) -> Iterator[QRect]:
    lefts, tops = (room.left(), room.right() - size.width() + 1), (room.top(), room.bottom() - size.height() + 1)
    for x, y in product(lefts, reversed(tops)):
        yield QRect(QPoint(x, y), size)


def _overlap(place: QRect, others: Iterable[QRect]) -> int:
    areas = (place & other for other in others)
    return sum(area.width() * area.height() for area in areas if not area.isEmpty())


def place_for(sizes: Sequence[QSize], bright: Sequence[QRect], room: QRect, shy: Sequence[QRect] = ()) -> QRect:
    """Where in ``room`` the card goes, in one of its ``sizes``, so that it covers nothing ``bright``.

    It stands beside the largest of these. Of places that do, the first that leaves those in ``shy`` free, too; where
    there is none at all, the one that covers the least.
    """
    if not bright:
        middle = QRect(QPoint(0, 0), sizes[0])
        middle.moveCenter(room.center())
        return middle
    largest = max(bright, key=lambda rect: rect.width() * rect.height())
    places = [
        place
        for size in sizes
        for place in (*_beside(size, largest, room), *_corners(size, room))
        if room.contains(place)
    ]
    places = places or list(_corners(sizes[0], room))
    return min(places, key=lambda place: (_overlap(place, bright), _overlap(place, shy) > 0))  # the first of the best


class Shade(QWidget):
    """Darkens its window but for the rectangles in :attr:`bright`. It takes no click: all under it can be used."""

    def __init__(self, window: QWidget) -> None:
        super().__init__(window)
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.theme = LIGHT
        self.bright: tuple[QRect, ...] = ()
        self.hide()

    def show_bright(self, bright: Iterable[QRect]) -> None:
        """Leave other rectangles bright."""
        found = tuple(bright)
        if found != self.bright:
            self.bright = found
            self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        """The shade with holes, each with a line around it."""
        holes = QPainterPath()
        for rect in self.bright:
            hole = QPainterPath()
            hole.addRoundedRect(rect, 6, 6)
            holes = holes.united(hole)
        whole = QPainterPath()
        whole.addRect(self.rect())
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.fillPath(whole.subtracted(holes), QColor(0, 0, 0, DARK if self.theme.dark else PALE))
        painter.setPen(QPen(QColor(self.theme.accent), 3))
        painter.drawPath(holes)


class Card(QFrame):
    """One stop: where one is on the tour, what has just happened, what to do, and the way back, on and out.

    It has the keys, so that Return goes on and Tab comes to its buttons, but leaves the window's own keys to it.
    """

    back_asked = Signal()
    next_asked = Signal()
    skip_asked = Signal()

    def __init__(self, window: QWidget) -> None:
        super().__init__(window)
        named(self, "tour")
        self.setAccessibleName("Tour")
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.title, self.counter, self.said, self.text, self.note = (QLabel() for _ in range(5))
        named(self.title, "about-title")
        for label in (self.said, self.text, self.note):
            label.setWordWrap(True)
        for label in (self.counter, self.note):
            label.setProperty("muted", True)
        self.back = self._button("&Back", "Back", "The stop before (Alt+B)", self.back_asked)
        self.next = self._button("&Next", "Next", "The next stop (Return, or Alt+N)", self.next_asked)
        self.skip = self._button("&Skip", "Skip the tour", "Leave the tour (Esc)", self.skip_asked)
        head, buttons = QHBoxLayout(), QHBoxLayout()
        head.addWidget(self.title, 1)
        head.addWidget(self.counter)
        buttons.addWidget(self.skip)
        buttons.addStretch(1)
        buttons.addWidget(self.back)
        buttons.addWidget(self.next)
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(14, 10, 14, 10)
        self._column.setSpacing(7)
        self._column.addLayout(head)
        for label in (self.said, self.text, self.note):
            self._column.addWidget(label)
        self._column.addStretch(1)
        self._column.addLayout(buttons)
        self.hide()

    def _button(self, text: str, name: str, tip: str, asked: object) -> QPushButton:
        button = QPushButton(text)
        button.setAccessibleName(name)
        button.setToolTip(tip)
        button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        button.clicked.connect(asked)
        return button

    def show_stop(self, number: int, count: int, title: str, said: str) -> None:
        """Turn to stop ``number`` of ``count``, from 1; ``said`` is what has just happened, empty for nothing."""
        self.title.setText(title)
        self.counter.setText(f"{number} of {count}")
        self.said.setText(f"✓ {said}" if said else "")
        self.said.setVisible(bool(said))
        self.back.setEnabled(number > 1)
        last = number == count
        self.next.setText("&Finish" if last else "&Next")
        self.next.setAccessibleName("Finish" if last else "Next")
        self.skip.setVisible(not last)

    def show_words(self, text: str, note: str, done: bool) -> None:
        """What to do and, muted, how it stands; ``done``: it is done, so Next is what is left."""
        for label, words in ((self.text, text), (self.note, note)):
            if label.text() != words:
                label.setText(words)
        self.note.setVisible(bool(note))
        self.next.setDefault(done)
        parts = (self.said.text(), text, note)
        said = f"Tour, {self.counter.text()}: {self.title.text()}. {' '.join(filter(None, parts))}"
        if self.accessibleName() != said:
            self.setAccessibleName(said)

    def sizes(self, room: QSize) -> list[QSize]:
        """The sizes that show all of the text, none larger than ``room``; the preferred one first."""
        letter = self.fontMetrics().averageCharWidth()
        least = self._column.minimumSize().width()
        widths = [max(least, min(letter * width, room.width())) for width in WIDTHS]
        return [QSize(width, min(self._column.totalHeightForWidth(width), room.height())) for width in widths]

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Return goes on; every other key is the window's."""
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self.next_asked.emit()
        else:
            super().keyPressEvent(event)


class Spotlight:
    """Shade and card over one window: follows what is shown, wherever it goes."""

    def __init__(self, window: QWidget) -> None:
        self._window = window
        self.shade, self.card = Shade(window), Card(window)
        self._key: object = None

    @property
    def shown(self) -> bool:
        """Whether it is there."""
        return not self.card.isHidden()

    def show(self) -> None:
        """Come up at the next :meth:`follow`."""
        self._key = None
        for widget in (self.shade, self.card):
            widget.show()

    def come_forward(self, message: QWidget) -> None:
        """Come in front of the panels, of which one has come to the front; ``message`` stays in front of the shade."""
        for widget in (self.shade, message, self.card):
            widget.raise_()

    def hide(self) -> None:
        """Go."""
        for widget in (self.card, self.shade):
            widget.hide()

    def set_theme(self, theme: Theme) -> None:
        """Take new colours."""
        self.shade.theme = theme
        self.shade.update()

    def follow(self, targets: Sequence[QWidget], shy: QWidget) -> None:
        """Leave ``targets`` bright, where they are now, and put the card beside them, if it can beside ``shy``, too."""
        window = self._window
        margins = (-AROUND, -AROUND, AROUND, AROUND)
        bright = [part.adjusted(*margins) & window.rect() for part in (shown_part(w, window) for w in targets)
                  if not part.isEmpty()]  # fmt: skip
        bright = [rect for rect in bright if not rect.isEmpty()]
        others = [shy.geometry()] if shy.isVisible() else []
        room = window.rect().adjusted(GAP, GAP, -GAP, -GAP)
        sizes = self.card.sizes(room.size())
        key = (bright, others, room, sizes)
        if key == self._key:
            return
        self._key = key
        self.shade.setGeometry(window.rect())
        self.shade.show_bright(bright)
        self.card.setGeometry(place_for(sizes, bright, room, others))
