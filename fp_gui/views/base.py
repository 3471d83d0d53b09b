"""What every live view is: a widget that renders snapshots and says what it needs for that."""

from __future__ import annotations

from typing import ClassVar

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QWidget

from engine.config.experiment import EVERY_KIND
from engine.core.registry import Registry
from engine.run.snapshot import Snapshot
from fp_gui.theme import LIGHT, Theme


class View(QWidget):
    """A live view. Subclasses fill ``name``, ``title``, ``wants`` and :meth:`render`; they never change the session.

    ``name`` is also the name of the figure that ``engine export --view`` draws; ``wants`` the result types
    (:mod:`engine.core.results`) that a snapshot must hold while the view is visible, which an instance may change at
    any time. Neurons are numbered 0..m−1 everywhere, on images those of the first layer; −1 means none.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    wants: frozenset[type] = frozenset()
    kinds: ClassVar[tuple[str, ...]] = EVERY_KIND  # kinds of run that it can show

    neuron_hovered = Signal(int)
    neuron_selected = Signal(int)
    command_requested = Signal(object)  # engine.run.commands.Command, to be applied between two steps

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.theme: Theme = LIGHT

    def render(self, snapshot: Snapshot) -> None:  # type: ignore[override]
        """Show ``snapshot``. Called on the GUI thread, only while the view is visible."""
        raise NotImplementedError

    def highlight(self, neuron: int) -> None:
        """Mark one neuron, because it is hovered here or in another view; −1 unmarks."""

    def set_theme(self, theme: Theme) -> None:
        """Take new colours at once."""
        self.theme = theme

    def options(self) -> dict[str, str]:
        """What the user chose on this view (sorting, space, …), by the option names of the figure of the same name."""
        return {}

    def set_options(self, options: dict[str, str]) -> None:
        """Inverse of :meth:`options`; unknown names and values are ignored (they come from a stored layout)."""


views: Registry[type[View]] = Registry("view")
