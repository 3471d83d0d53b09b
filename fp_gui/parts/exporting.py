"""Export by its action: which views to draw is asked, what came of it is said."""

from __future__ import annotations

from PySide6.QtCore import Qt, Slot

from fp_gui.export import ExportRequest
from fp_gui.export_dialog import ExportDialog, LookedAt
from fp_gui.parts.base import Part, parts
from fp_gui.shell import Shell


@parts.register("exporting")
class Exporting(Part):
    """Connects the action, the dialog, the window's exporter and its banner."""

    def __init__(self, window: Shell) -> None:
        super().__init__(window)
        window.actions_["export"].triggered.connect(self.ask)
        exporter, banner = window.exporter, window.banner
        exporter.done.connect(self._done)
        exporter.failed.connect(lambda text, details: banner.error(text, details, "export"))
        exporter.progressed.connect(lambda: banner.settle("export"))

    @Slot()
    def ask(self) -> None:
        """Ask which views to export, and where to."""
        window, run = self.window, self.window.controller.run
        if window.exporter.busy or run is None:
            window.banner.notice("An export is under way." if window.exporter.busy else "No run is open yet.")
            return
        kind = run.config.kind
        titles = {name: window.shelf.types[name].title for name in window.shelf.names(kind)}
        visible = [view.name for view in window.views if not view.visibleRegion().isEmpty()]
        last = window.controller.last
        empty = window.shelf.missing(kind, run.folder, last.history if last is not None else {})
        looked = None if last is None else LookedAt.of(last)
        dialog = ExportDialog(titles, visible, empty, run.folder / "figures", window, looked)
        dialog.accepted.connect(self._chosen)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.open()

    @Slot()
    def _chosen(self) -> None:
        dialog = self.sender()
        if isinstance(dialog, ExportDialog):
            options = {name: self.window.shelf.get(name).options() for name in dialog.chosen}
            self.window.exporter.request(
                ExportRequest(options, dialog.out, dialog.chosen_formats, dialog.chosen_width, dialog.chosen_checkpoint)
            )

    @Slot(str)
    def _done(self, folder: str) -> None:
        self.window.banner.notice(f"Exported to {folder}")
