"""What a part of the window is: an object that connects itself to what the window already has.

A new part is one file in this package; once imported, the window makes it::

    @parts.register("palette")
    class Palette(Part):
        def __init__(self, window: Shell) -> None:
            super().__init__(window)
            window.actions_["palette"].triggered.connect(self._open)

A new action is a row of :data:`fp_gui.actions.ACTIONS` and a place in :mod:`fp_gui.menus`. Others reach a part by
``window.parts["palette"]``. Parts are made when docks, actions, form, banner, tasks and controller are there, and
closed before these.
"""

from __future__ import annotations

from PySide6.QtCore import QObject

from engine.core.registry import Registry
from fp_gui.shell import Shell
from fp_gui.theme import Theme


class Part(QObject):
    """A part of ``window``, which owns it."""

    def __init__(self, window: Shell) -> None:
        super().__init__(window)
        self.window = window

    def set_theme(self, theme: Theme) -> None:
        """Take new colours at once."""

    def save(self) -> None:
        """The window closes: put into ``window.settings`` what is to be remembered."""

    def close(self) -> None:
        """The window closes: end what is under way."""


parts: Registry[type[Part]] = Registry("part of the window", "fp_gui.parts")
"""The window's parts in the order in which they are made: a file of this package that registers one is found."""
