"""What every live view is: a widget that renders snapshots and says what it needs for that."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from PySide6.QtCore import QEvent, Signal
from PySide6.QtWidgets import QWidget

from engine.config.experiment import EVERY_KIND
from engine.core.registry import Registry
from engine.figures.declare import ViewDeclaration
from engine.run.snapshot import Snapshot
from fp_gui.folding import Folding
from fp_gui.theme import LIGHT, Theme

Place = Literal["middle", "upper", "lower"]


class View(QWidget):
    """A live view. Subclasses fill ``declaration``, ``place``, ``wants`` and :meth:`render`.

    ``declaration`` is that of the figure which ``engine export --view`` draws: name, title, the kinds of run that can
    be shown, options and looks are read from it. ``place`` is where the view stands at first, as one tab of several:
    the middle of the window, the upper or the lower half of the right. ``wants`` are the result types
    (:mod:`engine.core.results`) that a snapshot must hold while the view is visible; an instance may change them at any
    time. Neurons are numbered 0..m−1 everywhere, on images those of the first layer; −1 means none. A view never
    changes the session.
    """

    declaration: ClassVar[ViewDeclaration]
    name: ClassVar[str]
    title: ClassVar[str]
    kinds: ClassVar[tuple[str, ...]] = EVERY_KIND
    place: ClassVar[Place] = "middle"
    wants: frozenset[type] = frozenset()

    neuron_hovered = Signal(int)
    neuron_selected = Signal(int)
    step_requested = Signal(int)  # show the run as it was at the stored step nearest to this
    command_requested = Signal(object)  # engine.run.commands.Command, to be applied between two steps

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        declared = cls.__dict__.get("declaration")
        if declared is not None:
            cls.name, cls.title, cls.kinds = declared.name, declared.title, declared.kinds

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.theme: Theme = LIGHT
        self.folding = Folding(self)  # subclasses name what gives way where the view is low
        self.run = ""  # whose figures are shown

    def event(self, event: QEvent) -> bool:
        """Make room when the view or what it needs changes its size; no filter, which would outlive it."""
        done = super().event(event)
        if (folding := getattr(self, "folding", None)) is not None:  # not while the view is being made
            folding.look_soon(event)
        return done

    def turn_to(self, snapshot: Snapshot) -> None:
        """Forget what is shown if ``snapshot`` is of another run; every :meth:`render` begins with it."""
        if snapshot.run != self.run:
            self.forget()
            self.run = snapshot.run

    def forget(self) -> None:
        """Another run is open: look as a view that was never shown any, but for what the user chose.

        Called for every view, visible or not. Nothing that was measured or drawn may outlive its run.
        """
        self.run = ""

    def render(self, snapshot: Snapshot) -> None:  # type: ignore[override]
        """Show ``snapshot``. Called on the GUI thread, only while the view is visible."""
        raise NotImplementedError

    @staticmethod
    def failure(snapshot: Snapshot, kind: type) -> str:
        """That the result of type ``kind`` could not be measured, and why; empty if nothing is known to have failed."""
        why = [problem.text for problem in snapshot.problems if problem.measurement == kind.__name__]
        return f"This could not be measured. {why[-1]}" if why else ""

    def set_playing(self, playing: bool) -> None:
        """Training goes on or pauses."""

    def highlight(self, neuron: int) -> None:
        """Mark one neuron, because it is hovered here or in another view; −1 unmarks."""

    def select(self, neuron: int) -> None:
        """One neuron was clicked, here or in another view."""
        self.highlight(neuron)

    def set_theme(self, theme: Theme) -> None:
        """Take new colours at once."""
        self.theme = theme

    def options(self) -> dict[str, str]:
        """What the user chose on this view (sorting, space, …), by names and values of the declaration's options."""
        return {}

    def set_options(self, options: dict[str, str]) -> None:
        """Inverse of :meth:`options`; unknown names and values are ignored (they come from a stored layout)."""


views: Registry[type[View]] = Registry("view", "fp_gui.views")
"""The live views in the order in which they are shown: a file of this package that registers one is found by itself."""


def view_types() -> tuple[type[View], ...]:
    """The view classes in display order."""
    return tuple(views[name] for name in views)
