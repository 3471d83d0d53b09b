"""The size of all text in the window, plots included: for a projector, or for tired eyes."""

from __future__ import annotations

from PySide6.QtCore import QObject, QSettings, Signal, Slot
from PySide6.QtGui import QFont
from PySide6.QtWidgets import QApplication

SIZES = (0.85, 1.0, 1.15, 1.3, 1.5, 1.75, 2.0)  # in units of the system's own
KEY = "text_size"  # in the settings


class TextSize(QObject):
    """Scales the application's font; plots are drawn in it, too. What was chosen is remembered in ``settings``."""

    changed = Signal(float)

    def __init__(self, settings: QSettings, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._settings = settings
        stored = settings.value(KEY)
        try:
            self.scale = min(SIZES, key=lambda size: abs(size - float(str(stored))))
        except ValueError:  # nothing stored, or nonsense
            self.scale = 1.0
        self._own = QApplication.font()  # at scale 1
        if self.scale != 1.0:
            self._apply()

    def _apply(self) -> None:
        font = QFont(self._own)
        if self._own.pointSizeF() > 0:
            font.setPointSizeF(self._own.pointSizeF() * self.scale)
        else:
            font.setPixelSize(round(self._own.pixelSize() * self.scale))
        QApplication.setFont(font)

    def _set(self, scale: float) -> None:
        if scale == self.scale:
            return
        self.scale = scale
        self._settings.setValue(KEY, scale)
        self._apply()
        self.changed.emit(scale)

    @Slot()
    def larger(self) -> None:
        """The next larger size, if there is one."""
        self._set(min((size for size in SIZES if size > self.scale), default=self.scale))

    @Slot()
    def smaller(self) -> None:
        """The next smaller size, if there is one."""
        self._set(max((size for size in SIZES if size < self.scale), default=self.scale))

    @Slot()
    def normal(self) -> None:
        """The system's own size again."""
        self._set(1.0)

    def close(self) -> None:
        """Give the application its own font back."""
        QApplication.setFont(self._own)
