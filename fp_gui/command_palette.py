"""The command palette: everything that can be done, found by a few letters of its name.

It knows no command itself: :mod:`fp_gui.parts.palette` asks the window for its actions, panels, presets, knobs, runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from PySide6.QtCore import QEvent, QObject, Qt, QTimer, Slot
from PySide6.QtGui import QAction, QKeyEvent
from PySide6.QtWidgets import (
    QDialog,
    QHeaderView,
    QLineEdit,
    QTreeWidget,
    QTreeWidgetItem,
    QVBoxLayout,
    QWidget,
)

from fp_gui.dialog_size import open_size

SIZE = (560, 420)  # pixels
SHOWN = 60  # of the entries that match, the best
MOVES = (Qt.Key.Key_Up, Qt.Key.Key_Down, Qt.Key.Key_PageUp, Qt.Key.Key_PageDown)
LESS = 500  # that a fit of what stands beside counts less than one of the text
STARTS = " _-./:"  # what a word begins after


@dataclass(frozen=True, slots=True)
class Entry:
    """Something that can be done: ``text`` is searched, as is ``more``, which stands beside it, muted."""

    text: str
    more: str
    do: Callable[[], object]


def score(text: str, typed: str) -> float | None:
    """How well ``typed`` fits ``text``, the higher the better; None if it does not.

    In this order: as it stands, best from a word's beginning; all its words somewhere; the initials of words that
    follow each other; its letters in their order, blanks left out, the closer together the better.
    """
    whole, wanted = text.casefold(), typed.casefold().strip()
    at = whole.find(wanted)
    if at >= 0:
        return (4000.0 if at == 0 or whole[at - 1] in STARTS else 3000.0) - len(whole)
    if all(word in whole for word in wanted.split()):
        return 2000.0 - len(whole)
    letters = wanted.replace(" ", "")
    if letters in "".join(c for before, c in pairwise(f" {whole}") if before in STARTS):
        return 1000.0 - len(whole)
    places, at = [], -1
    for letter in letters:
        at = whole.find(letter, at + 1)
        if at < 0:
            return None
        places.append(at)
    return float(places[0] - places[-1])


def found(entries: Iterable[Entry], typed: str) -> list[Entry]:
    """The entries that fit, the best first; those that fit alike in their order. All of them for no letter."""
    scored = []
    for entry in entries:
        by_text, by_more = score(entry.text, typed), score(entry.more, typed)
        best = max((s for s in (by_text, None if by_more is None else by_more - LESS) if s is not None), default=None)
        if best is not None:
            scored.append((best, entry))
    if typed.strip():
        scored.sort(key=lambda pair: -pair[0])
    return [entry for _, entry in scored]


def of_action(action: QAction, text: str = "") -> Entry:
    """What a visible action does, with its keys."""
    keys = action.shortcut().toString().replace("Right", "→")
    return Entry(text or action.text().replace("&", ""), keys, action.trigger)


class CommandPalette(QDialog):
    """A field and the commands that fit what is typed; Return does the marked one, Esc nothing."""

    def __init__(self, entries: Sequence[Entry], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Commands")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self._entries = entries
        self._shown: list[Entry] = []
        self.field = QLineEdit(placeholderText="A command, view, preset, parameter or run")
        self.field.setAccessibleName("Search commands")
        self.field.textChanged.connect(self._filter)
        self.field.returnPressed.connect(self.do)
        self.field.installEventFilter(self)
        self.list = QTreeWidget()
        self.list.setColumnCount(2)
        self.list.setHeaderHidden(True)
        self.list.setRootIsDecorated(False)
        self.list.setAccessibleName("Commands")
        self.list.setFocusPolicy(Qt.FocusPolicy.NoFocus)  # the arrows reach it from the field
        header = self.list.header()
        header.setStretchLastSection(False)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        header.setSectionResizeMode(1, QHeaderView.ResizeMode.ResizeToContents)
        self.list.itemClicked.connect(self.do)
        layout = QVBoxLayout(self)
        layout.addWidget(self.field)
        layout.addWidget(self.list)
        open_size(self, *SIZE)
        self._filter("")

    @property
    def shown(self) -> list[Entry]:
        """The entries in the list, in its order."""
        return self._shown

    @Slot(str)
    def _filter(self, typed: str) -> None:
        self._shown = found(self._entries, typed)[:SHOWN]
        self.list.clear()
        self.list.addTopLevelItems([QTreeWidgetItem([entry.text, entry.more]) for entry in self._shown])
        if (first := self.list.topLevelItem(0)) is not None:
            self.list.setCurrentItem(first)

    @Slot()
    def do(self) -> None:
        """Close, then do what is marked: it may open a window of its own."""
        row = self.list.currentIndex().row()  # -1: there is none
        if 0 <= row < len(self._shown):
            entry = self._shown[row]
            self.accept()
            QTimer.singleShot(0, entry.do)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """The arrows go through the list while one types."""
        moves = isinstance(event, QKeyEvent) and event.key() in MOVES and event.type() == QEvent.Type.KeyPress
        if watched is self.field and moves:
            self.list.event(event)
            return True
        return False
