"""The dialog of image data sets, and the runs that are started from it."""

from __future__ import annotations

from PySide6.QtCore import Slot

from engine.core.errors import ConfigError
from fp_gui.data_dialog import DataDialog
from fp_gui.parts.base import Part, parts
from fp_gui.runs import with_data
from fp_gui.shell import Shell
from fp_gui.theme import Theme


@parts.register("data")
class Data(Part):
    """Makes the dialog when it is first asked for."""

    def __init__(self, window: Shell) -> None:
        super().__init__(window)
        self.dialog: DataDialog | None = None
        window.actions_["data"].triggered.connect(self.show_data)

    @Slot()
    def show_data(self) -> None:
        """Show which data sets there are."""
        if self.dialog is None:
            self.dialog = DataDialog(self.window.settings, self.window)
            self.dialog.set_theme(self.window.themes.theme)
            self.dialog.chosen.connect(self.use)
            self.dialog.notice.connect(self.window.banner.notice)
        self.dialog.present()

    @Slot(str, str)
    def use(self, name: str, folder: str) -> None:
        """Start a new run on the data set ``name`` in ``folder`` (empty: the default place)."""
        try:
            config, label = with_data(self.window.form.next_config(), self.window.label, name, folder)
        except ConfigError as error:
            self.window.banner.error(str(error))
            return
        self.window.start(config, label)

    def set_theme(self, theme: Theme) -> None:
        """Recolour the dialog."""
        if self.dialog is not None:
            self.dialog.set_theme(theme)

    def close(self) -> None:
        """End a download."""
        if self.dialog is not None:
            self.dialog.shut()
