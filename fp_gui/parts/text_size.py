"""The size of all text in the window, plots included: for a projector, or for tired eyes."""

from __future__ import annotations

import pyqtgraph as pg  # type: ignore[import-untyped]
from PySide6.QtCore import Slot
from PySide6.QtGui import QFont
from PySide6.QtWidgets import QApplication, QWidget

from fp_gui.parts.base import Part, parts
from fp_gui.shell import Shell
from fp_gui.views.base import View

SIZES = (0.85, 1.0, 1.15, 1.3, 1.5, 1.75, 2.0)  # in units of the system's own
KEY = "text_size"  # in the settings


def scale_plots(root: QWidget, font: QFont) -> None:
    """Write axes, their labels and the texts of all plots in ``root`` in ``font``, which Qt does not do by itself."""
    for plot in root.findChildren(pg.GraphicsView):
        for item in plot.scene().items():
            if isinstance(item, pg.AxisItem):
                item.setTickFont(font)
                item.label.setFont(font)
                item.label.setHtml(item.labelString())
                item.showLabel(item.label.isVisible())  # makes room for it
            elif isinstance(item, pg.TextItem):
                item.setFont(font)


@parts.register("text_size")
class TextSize(Part):
    """Scales the application's font by ``scale``, one of :data:`SIZES`, which is remembered."""

    def __init__(self, window: Shell) -> None:
        super().__init__(window)
        self._own = QApplication.font()  # at scale 1
        try:
            stored = float(str(window.settings.value(KEY)))
            self.scale = min(SIZES, key=lambda size: abs(size - stored))
        except ValueError:  # nothing stored, or nonsense
            self.scale = 1.0
        for name, slot in (("larger", self.larger), ("smaller", self.smaller), ("normal", self.normal)):
            window.actions_[name].triggered.connect(slot)
        window.shelf.made.connect(self._take_view)
        if self.scale != 1.0:
            QApplication.setFont(self.font())
            window.setFont(QFont())  # takes the application's now; by itself not before it is shown, and only in part

    def font(self) -> QFont:
        """The application's font at the present scale."""
        font = QFont(self._own)
        if self._own.pointSizeF() > 0:
            font.setPointSizeF(self._own.pointSizeF() * self.scale)
        else:
            font.setPixelSize(round(self._own.pixelSize() * self.scale))
        return font

    def _set(self, scale: float) -> None:
        if scale == self.scale:
            return
        self.scale = scale
        self.window.settings.setValue(KEY, scale)
        QApplication.setFont(self.font())
        sheet = self.window.styleSheet()  # widgets that a sheet styles take a new font only with a new sheet
        self.window.setStyleSheet("")
        self.window.setStyleSheet(sheet)
        scale_plots(self.window, self.font())

    @Slot(object)
    def _take_view(self, view: View) -> None:
        if self.scale != 1.0:
            scale_plots(view, self.font())

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
        """Give the application its own font back: another window may come."""
        if self.scale != 1.0:
            QApplication.setFont(self._own)
