"""Who gets a key: the one place where keys of the window and keys of the control with the focus are told apart.

A window's key acts unless the control that has the focus needs it: :data:`RULES` says which those are, and the key
sheet shows the same table. Nothing reacts to the wheel that the user did not go to.

The filter sits on the control with the focus alone, not on the application: a filter in Python on every event would
make each of them wait for the training thread.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from PySide6.QtCore import QEvent, QObject, Qt, Slot
from PySide6.QtGui import QKeyEvent, QKeySequence
from PySide6.QtWidgets import (
    QAbstractButton,
    QAbstractItemView,
    QAbstractSlider,
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QDockWidget,
    QLineEdit,
    QMainWindow,
    QPlainTextEdit,
    QScrollBar,
    QTabBar,
    QTextEdit,
    QWidget,
)
from shiboken6 import isValid

ARROWS = frozenset({Qt.Key.Key_Left, Qt.Key.Key_Right, Qt.Key.Key_Up, Qt.Key.Key_Down})
OPENS = frozenset({Qt.Key.Key_Space, Qt.Key.Key_Return, Qt.Key.Key_Enter})
CHORDS = Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.AltModifier | Qt.KeyboardModifier.MetaModifier
TEXTS = (QLineEdit, QAbstractSpinBox, QPlainTextEdit, QTextEdit)


def _printable(event: QKeyEvent) -> bool:
    return not event.modifiers() & CHORDS and event.text().isprintable() and bool(event.text())


def _text_keeps(widget: QWidget, event: QKeyEvent) -> bool | None:
    if event.key() == Qt.Key.Key_Escape:
        return True  # it puts the old text back
    if event.matches(QKeySequence.StandardKey.Undo) or event.matches(QKeySequence.StandardKey.Redo):
        back = event.matches(QKeySequence.StandardKey.Undo)
        edit = widget.findChild(QLineEdit) if isinstance(widget, QAbstractSpinBox) else widget
        if isinstance(edit, QLineEdit):  # else a knob's last change is what is undone
            return edit.isUndoAvailable() if back else edit.isRedoAvailable()
        return None
    number = isinstance(widget, QAbstractSpinBox) or bool(widget.property("number"))
    if event.key() == Qt.Key.Key_Space and number:
        return False  # no part of any number: so that Space plays right after one was entered
    return True if _printable(event) else None


def _button_keeps(widget: QWidget, event: QKeyEvent) -> bool | None:
    if event.modifiers() & CHORDS:
        return None
    grouped = isinstance(widget, QAbstractButton) and (widget.group() is not None or widget.autoExclusive())
    return event.key() == Qt.Key.Key_Space or (grouped and event.key() in ARROWS) or None


def _chooser_keeps(widget: QWidget, event: QKeyEvent) -> bool | None:
    if event.modifiers() & CHORDS:
        return None
    return event.key() in ARROWS | OPENS or _printable(event) or None


def _slider_keeps(widget: QWidget, event: QKeyEvent) -> bool | None:
    return (not event.modifiers() & CHORDS and event.key() in ARROWS) or None


def _list_keeps(widget: QWidget, event: QKeyEvent) -> bool | None:
    if event.modifiers() & CHORDS or not isinstance(widget, QAbstractItemView):
        return None
    boxed = bool(widget.currentIndex().flags() & Qt.ItemFlag.ItemIsUserCheckable)
    return event.key() in ARROWS or (boxed and event.key() == Qt.Key.Key_Space) or None


@dataclass(frozen=True, slots=True)
class KeyRule:
    """Of controls of ``types``: ``keeps`` says whether a key is theirs (True), the window's (False), or up to Qt."""

    types: tuple[type[QWidget], ...]
    keeps: Callable[[QWidget, QKeyEvent], bool | None]
    where: str
    what: str


RULES = (
    KeyRule(TEXTS, _text_keeps, "In a field", "Every letter and digit is typed; Return takes it, Esc puts it back"),
    KeyRule((QComboBox,), _chooser_keeps, "On a chooser", "Space or Return opens it, ↑ ↓ or a letter choose"),
    KeyRule(
        (QAbstractButton,), _button_keeps, "On a button", "Space presses it, ← → go along a row that belongs together"
    ),
    KeyRule((QTabBar, QAbstractSlider), _slider_keeps, "On a tab", "← → go to the next"),
    KeyRule((QAbstractItemView,), _list_keeps, "In a list", "Arrows go through it, Space checks a box"),
)


def rule_of(widget: QObject) -> KeyRule | None:
    """The rule for a control; None where every key is the window's."""
    for rule in RULES:
        if isinstance(widget, rule.types):
            read_only = isinstance(widget, TEXTS) and widget.property("readOnly") is True
            return None if read_only else rule
    return None


class KeyPolicy(QObject):
    """Applies :data:`RULES` in ``window`` and sees to it that the focus is never in a control that cannot be seen."""

    def __init__(self, window: QMainWindow) -> None:
        super().__init__(window)
        self._window = window
        self._watched: QWidget | None = None
        app = QApplication.instance()
        assert isinstance(app, QApplication)
        app.focusChanged.connect(self._moved)

    @Slot("QWidget*", "QWidget*")
    def _moved(self, old: QWidget | None, new: QWidget | None) -> None:
        if self._watched is not None and isValid(self._watched):
            self._watched.removeEventFilter(self)
        self._watched = None
        if new is None or not self._belongs(new):
            return
        fell = old is not None and isValid(old) and self._belongs(old) and not seen(old)
        if new is not self._window and isinstance(new.window(), QMainWindow) and (fell or not seen(new)):
            self.release()  # Qt passes the focus of what is hidden to whatever is next: nobody chose that
            return
        self._watched = new
        new.installEventFilter(self)

    def _belongs(self, widget: QWidget) -> bool:
        return widget is self._window or self._window.isAncestorOf(widget) or widget.window() is self._window

    def release(self) -> None:
        """Take the keys away from every control: all are the window's."""
        self._window.setFocus(Qt.FocusReason.OtherFocusReason)

    @Slot()
    def check(self) -> None:
        """Panels came or went: no control that is gone keeps the keys, also not for when the window is active again."""
        last = self._window.focusWidget()
        if last is not None and last is not self._window and not seen(last):
            self.release()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Decide about a key before the window's keys are looked up."""
        if (
            event.type() == QEvent.Type.ShortcutOverride
            and isinstance(event, QKeyEvent)
            and isinstance(watched, QWidget)
        ):
            rule = rule_of(watched)
            keeps = rule.keeps(watched, event) if rule is not None and seen(watched) else None
            if keeps is None:
                return False
            event.setAccepted(keeps)
            return True
        return False


def seen(widget: QWidget) -> bool:
    """Whether neither the control nor a panel around it is hidden, closed or behind another tab."""
    if not widget.isVisibleTo(widget.window()):
        return False
    around: QWidget | None = widget
    while around is not None and not isinstance(around, QDockWidget):
        around = around.parentWidget()
    # Qt moves a panel that is behind another out of the window, but leaves it visible.
    return around is None or not widget.window().isVisible() or not around.visibleRegion().isEmpty()


class Wheel(QObject):
    """Keeps the wheel from choosing: over a control that the user has not gone to, it scrolls what is around it."""

    def tame(self, root: QWidget) -> None:
        """Take the wheel from every chooser in ``root``; a click gives the keys to nothing but what is typed in."""
        for each in (root, *root.findChildren(QWidget)):
            if isinstance(each, (QComboBox, QAbstractSpinBox)) or (
                isinstance(each, QAbstractSlider) and not isinstance(each, QScrollBar)
            ):
                typed = isinstance(each, QAbstractSpinBox) or (isinstance(each, QComboBox) and each.isEditable())
                each.setFocusPolicy(Qt.FocusPolicy.StrongFocus if typed else Qt.FocusPolicy.TabFocus)
                each.installEventFilter(self)
            elif isinstance(each, QAbstractButton) and each.focusPolicy() & Qt.FocusPolicy.ClickFocus:
                each.setFocusPolicy(Qt.FocusPolicy.TabFocus)  # so that Space plays after a click

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Pass a turn of the wheel on to what is around the control."""
        if event.type() != QEvent.Type.Wheel:
            return False
        if isinstance(watched, QWidget) and watched.hasFocus() and not isinstance(watched, QComboBox):
            return False
        event.ignore()
        return True


def key_help() -> list[tuple[str, str]]:
    """The rules as rows of the key sheet."""
    return [(rule.where, rule.what) for rule in RULES]
