"""Importing by its action: weights that were trained elsewhere become a run, which is then opened."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import Slot

from fp_gui.import_dialog import ImportDialog
from fp_gui.parts.base import Part, parts
from fp_gui.runs import new_run_folder
from fp_gui.shell import Shell
from fp_gui.theme import Theme


@parts.register("importing")
class Importing(Part):
    """Makes the dialog when it is first asked for, and opens what it has made."""

    def __init__(self, window: Shell) -> None:
        super().__init__(window)
        self.dialog: ImportDialog | None = None
        self._warning = ""  # what is to be said of the run that was made
        window.actions_["import"].triggered.connect(self.show_import)
        window.controller.snapshot_rendered.connect(self._warn)

    @Slot()
    def show_import(self) -> None:
        """Ask which files they are, and of what."""
        if self.dialog is None:
            self.dialog = ImportDialog(self.window.settings, self.window)
            self.dialog.set_theme(self.window.themes.theme)
            self.dialog.made.connect(self._made)
        self.dialog.present(new_run_folder(self.window.controller.runs, "imported"))

    @Slot(object, str)
    def _made(self, folder: Path, warning: str) -> None:
        self._warning = warning
        self.window.open_run(folder)

    @Slot()
    def _warn(self) -> None:
        """Once the run is there, and what is said of opening it."""
        warning, self._warning = self._warning, ""
        if warning:
            self.window.banner.error(f"Imported, but {warning}.")

    def set_theme(self, theme: Theme) -> None:
        """Recolour the dialog."""
        if self.dialog is not None:
            self.dialog.set_theme(theme)

    def close(self) -> None:
        """End an import; no run is left of it."""
        if self.dialog is not None:
            self.dialog.shut()
