"""The window's number boxes: read alike in every locale, as the form, the command line and the presets read numbers."""

from __future__ import annotations

from PySide6.QtCore import QLocale, Qt
from PySide6.QtGui import QValidator, QWheelEvent
from PySide6.QtWidgets import QAbstractSpinBox, QDoubleSpinBox, QSpinBox

SEPARATORS = frozenset(".,'’ \u00a0\u202f")  # between digits: of decimals or of thousands, depending on the country


def plain_locale() -> QLocale:
    """A point before the decimals, and no mark between thousands, neither shown nor read."""
    locale = QLocale.c()
    locale.setNumberOptions(QLocale.NumberOption.OmitGroupSeparator | QLocale.NumberOption.RejectGroupSeparator)
    return locale


def _set_up(box: QAbstractSpinBox) -> None:
    box.setLocale(plain_locale())
    box.setFocusPolicy(Qt.FocusPolicy.StrongFocus)  # the wheel alone gives no focus


class WholeBox(QSpinBox):
    """A whole number. A separator that is typed stays to be seen, and the number before it comes back."""

    def __init__(self) -> None:
        super().__init__()
        _set_up(self)
        self.setKeyboardTracking(False)  # else the digits before a separator were taken at once

    def validate(self, text: str, position: int) -> tuple[QValidator.State, str, int]:
        """Qt would swallow the separator alone and read 2.5 as 25."""
        number = text.removeprefix(self.prefix()).removesuffix(self.suffix())
        if text != self.specialValueText() and SEPARATORS & set(number.strip()):
            return QValidator.State.Intermediate, text, position
        state, shown, place = super().validate(text, position)
        return state, shown, place

    def fixup(self, text: str) -> str:
        """Qt would take commas away; what is no number is given up, for the one before it."""
        return text

    def wheelEvent(self, event: QWheelEvent) -> None:
        """Without focus the wheel belongs to what is behind."""
        if self.hasFocus():
            super().wheelEvent(event)
        else:
            event.ignore()


class DecimalBox(QDoubleSpinBox):
    """A number with decimals; a comma that is typed becomes the point at once."""

    def __init__(self) -> None:
        super().__init__()
        _set_up(self)

    def validate(self, text: str, position: int) -> tuple[QValidator.State, str, int]:
        """Qt would swallow the comma and read 0,25 as 25."""
        state, shown, place = super().validate(text.replace(",", "."), position)
        return state, shown, place

    def wheelEvent(self, event: QWheelEvent) -> None:
        """Without focus the wheel belongs to what is behind."""
        if self.hasFocus():
            super().wheelEvent(event)
        else:
            event.ignore()
