"""The window's views by name: made when they are first needed, with the options that they had the last time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from PySide6.QtCore import QObject, QSettings, Signal, Slot
from PySide6.QtWidgets import QWidget

from engine.core.history import Series
from fp_gui.focus import Wheel
from fp_gui.named_plots import name_plots
from fp_gui.theme import Theme
from fp_gui.views.base import View


class ViewShelf(QObject):
    """Holds views of ``types``, in display order; most are made late, because most stand behind others at first."""

    made = Signal(object)  # View
    chosen_changed = Signal(int)  # the neuron that is marked everywhere, −1 for none
    marked = Signal(int)  # the neuron that is pointed at or else chosen: for what marks neurons and is no view

    def __init__(self, types: Sequence[type[View]], settings: QSettings, theme: Theme, parent: QObject) -> None:
        super().__init__(parent)
        self.types = {each.name: each for each in types}
        self._settings = settings
        self._theme = theme
        self._made: dict[str, View] = {}
        self._playing = False
        self.chosen = self._pointed = -1
        self._told: dict[str, tuple[str, int]] = {}  # view → its run and the chosen neuron when it was told last
        self._wheel = Wheel(self)

    def names(self, kind: str) -> list[str]:
        """The names of the views for a kind of run."""
        return [name for name, each in self.types.items() if kind in each.kinds]

    def there(self, kind: str) -> list[View]:
        """Those of them that are made."""
        return [self._made[name] for name in self.names(kind) if name in self._made]

    def get(self, name: str) -> View:
        """The view called ``name``, made now if it is not there; :attr:`made` says so."""
        if name not in self._made:
            self._made[name] = view = self.types[name]()
            view.set_theme(self._theme)
            view.set_playing(self._playing)
            self.tame(view)
            name_plots(view, view.title)
            stored = self._settings.value(f"view/{name}")
            if isinstance(stored, dict):
                view.set_options({str(k): str(v) for k, v in stored.items()})
            self.made.emit(view)
        return self._made[name]

    def tame(self, widget: QWidget) -> None:
        """Let no turn of the wheel change a control of ``widget`` that has no focus."""
        self._wheel.tame(widget)

    def forget(self) -> None:
        """Another run is open: no view, seen or not, shows anything of the one before."""
        self._pointed = -1
        for view in self._made.values():
            view.forget()
        self.marked.emit(self.shown)

    @Slot(int)
    def hover(self, neuron: int) -> None:
        """A neuron is pointed at in one of the views: mark it in all; −1: none is, so mark the chosen one again."""
        self._pointed = neuron
        for view in self._made.values():
            view.highlight(self.shown)
        self.marked.emit(self.shown)

    @property
    def shown(self) -> int:
        """The neuron that is marked: the one pointed at, else the chosen one; −1 for none."""
        return self._pointed if self._pointed >= 0 else self.chosen

    @Slot(int)
    def choose(self, neuron: int) -> None:
        """A neuron was clicked in one of the views: it stays marked in all until another is chosen; −1: none is."""
        if neuron != self.chosen:
            self.chosen = neuron
            self.chosen_changed.emit(neuron)
            self.marked.emit(self.shown)
        self.follow()

    @Slot()
    def follow(self) -> None:
        """Tell the chosen neuron to each view that shows a run and was not told, as one seen for the first time."""
        for name, view in self._made.items():
            told, now = self._told.get(name, ("", -1)), (view.run, self.chosen)
            if not view.run or told == now:
                continue
            self._told[name] = now
            if now[1] >= 0 or told[1] >= 0:
                view.select(self.chosen)

    def set_playing(self, playing: bool) -> None:
        """Training goes on or pauses: for the views that are made, and those to come."""
        self._playing = playing
        for view in self._made.values():
            view.set_playing(playing)

    def missing(self, kind: str, folder: Path, history: Mapping[str, Series]) -> dict[str, str]:
        """Name → why of the views whose figure has nothing to draw of the run in ``folder`` with this ``history``."""
        recorded = lambda name: bool(len(history.get(name, ())))  # noqa: E731
        declared = {name: getattr(self.types[name], "declaration", None) for name in self.names(kind)}
        found = {name: each.missing(folder, recorded) for name, each in declared.items() if each is not None}
        return {name: why for name, why in found.items() if why}

    def set_theme(self, theme: Theme) -> None:
        """Recolour every view, those to come included."""
        self._theme = theme
        for view in self._made.values():
            view.set_theme(theme)

    def save(self) -> None:
        """Remember the options of every view that was made; the others keep what is stored."""
        for name, view in self._made.items():
            self._settings.setValue(f"view/{name}", view.options())
