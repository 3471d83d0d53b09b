"""The open windows of knobs' curves, one a knob at most."""

from __future__ import annotations

from PySide6.QtCore import QObject
from PySide6.QtWidgets import QWidget

from engine.config.curves import Curve
from fp_gui.curve_editor import Check, CurveEditor
from fp_gui.knob_row import KnobParameter


class Schedules(QObject):
    """Opens them over ``form``, tells them where the run stands, and passes on what the user decides."""

    def __init__(self, form: QWidget) -> None:
        super().__init__(form)
        self._form = form
        self.editors: dict[str, CurveEditor] = {}

    def open(self, param: KnobParameter, check: Check) -> None:
        """Show the curve of ``param``; of a knob that has none, the level line at its value from the present step on.

        ``check`` makes a curve of points or raises :class:`engine.core.errors.ConfigError`.
        """
        path = param.knob.path
        if path not in self.editors:
            curve = param.curve
            if curve is None:
                ends = dict.fromkeys((min(param.step, param.total), param.total))
                curve = Curve(tuple((step, float(param.value())) for step in ends))
            editor = CurveEditor(
                param.knob, curve, param.total, check, follows=param.curve is not None, parent=self._form
            )
            editor.taken.connect(param.ask)
            editor.ended.connect(lambda: param.ask(param.value()))
            editor.finished.connect(lambda: self.editors.pop(path, None))
            editor.show_step(param.step)
            self.editors[path] = editor
        self.editors[path].show()
        self.editors[path].raise_()
        self.editors[path].activateWindow()

    def show_step(self, step: int) -> None:
        """The run stands at ``step``."""
        for editor in self.editors.values():
            editor.show_step(step)

    def show_curve(self, path: str, curve: Curve | None) -> None:
        """The knob at ``path`` follows ``curve`` from now on."""
        if path in self.editors:
            self.editors[path].show_curve(curve)

    def close(self) -> None:
        """Close them all: another run begins."""
        for editor in list(self.editors.values()):
            editor.close()
