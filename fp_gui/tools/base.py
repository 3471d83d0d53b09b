"""What a tool is: a panel that is no figure, in a dock of its own like the views.

A new tool is one file in this package; once imported, the window offers it in View → Panels, for every kind of run::

    @tools.register("events")
    class EventsPanel(Tool):
        name, title, place = "events", "Events", "lower"

        def __init__(self, window: Shell) -> None:
            super().__init__(window)
            window.controller.snapshot_rendered.connect(self.show_snapshot)

It is made when it is first seen. While it is hidden it should do nothing (:meth:`QWidget.isVisible`). What it asks of
the window are its public methods, and ``window.parts``. Its signals are those of views: the window answers them alike.
"""

from __future__ import annotations

from typing import ClassVar

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QWidget

from engine.core.registry import Registry
from fp_gui.shell import Shell
from fp_gui.theme import Theme
from fp_gui.views.base import Place


class Tool(QWidget):
    """A panel of ``window``. ``place`` is where it stands at first, behind the views there."""

    name: ClassVar[str]
    title: ClassVar[str]
    place: ClassVar[Place] = "lower"

    neuron_hovered = Signal(int)  # of the run that is open; −1: none is any more
    neuron_selected = Signal(int)
    step_requested = Signal(int)  # show the run as it was at the stored step nearest to this

    def __init__(self, window: Shell) -> None:
        super().__init__()
        self.main = window

    def highlight(self, neuron: int) -> None:
        """Mark one neuron of the run that is open, because it is hovered or chosen somewhere; −1 unmarks."""

    def set_theme(self, theme: Theme) -> None:
        """Take new colours at once; called when it is made, too."""

    def close_down(self) -> None:
        """The window closes: remember what is to be remembered, end what is under way."""


tools: Registry[type[Tool]] = Registry("tool", "fp_gui.tools")
"""The tools in the order of their panels: a file of this package that registers one is found by itself."""
