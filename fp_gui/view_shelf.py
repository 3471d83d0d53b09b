"""The window's views by name: made when they are first needed, with the options that they had the last time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PySide6.QtCore import QObject, QSettings, Signal

from fp_gui.theme import Theme
from fp_gui.views.base import View
from fp_gui.views.task_view import TaskView


class ViewShelf(QObject):
    """Holds views of ``types``, in display order; most are made late, because most stand behind others at first."""

    made = Signal(object)  # View

    def __init__(self, types: Sequence[type[View]], settings: QSettings, theme: Theme, parent: QObject) -> None:
        super().__init__(parent)
        self.types = {each.name: each for each in types}
        self._settings = settings
        self._theme = theme
        self._made: dict[str, View] = {}

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
            stored = self._settings.value(f"view/{name}")
            if isinstance(stored, dict):
                view.set_options({str(k): str(v) for k, v in stored.items()})
            self.made.emit(view)
        return self._made[name]

    def unmeasured(self, kind: str, folder: Path) -> list[str]:
        """The names of those that have nothing to show of the run in ``folder``: their command was not run on it."""
        types = [self.types[name] for name in self.names(kind)]
        return [each.name for each in types if issubclass(each, TaskView) and not (folder / each.file).is_file()]

    def set_theme(self, theme: Theme) -> None:
        """Recolour every view, those to come included."""
        self._theme = theme
        for view in self._made.values():
            view.set_theme(theme)

    def save(self) -> None:
        """Remember the options of every view that was made; the others keep what is stored."""
        for name, view in self._made.items():
            self._settings.setValue(f"view/{name}", view.options())
