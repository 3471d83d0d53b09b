"""The chosen neuron: marked in every view and tool that shows neurons, named in the status bar, let go by Escape."""

from __future__ import annotations

from PySide6.QtCore import Slot

from fp_gui.parts.base import Part, parts
from fp_gui.shell import Shell
from fp_gui.tools.base import Tool


@parts.register("linked_neuron")
class LinkedNeuron(Part):
    """Connects the shelf, which tells the views, with the tools, the snapshots, the status bar and the key."""

    def __init__(self, window: Shell) -> None:
        super().__init__(window)
        window.actions_["unmark"].triggered.connect(self.let_go)
        window.shelf.chosen_changed.connect(self._name)
        window.controller.snapshot_rendered.connect(window.shelf.follow)
        window.tool_made.connect(self._take)
        self._name(window.shelf.chosen)

    @Slot()
    def let_go(self) -> None:
        """No neuron is chosen."""
        self.window.shelf.choose(-1)

    @Slot(object)
    def _take(self, tool: Tool) -> None:
        shelf = self.window.shelf
        tool.neuron_hovered.connect(shelf.hover)
        tool.neuron_selected.connect(shelf.choose)
        shelf.marked.connect(tool.highlight)
        tool.highlight(shelf.shown)

    @Slot(int)
    def _name(self, neuron: int) -> None:
        self.window.status.show_neuron(neuron)
        self.window.actions_["unmark"].setEnabled(neuron >= 0)
