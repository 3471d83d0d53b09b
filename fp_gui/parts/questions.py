"""The presets as questions, by their action."""

from __future__ import annotations

from PySide6.QtCore import Slot

from fp_gui.parts.base import Part, parts
from fp_gui.question_dialog import QuestionDialog
from fp_gui.shell import Shell


@parts.register("questions")
class Questions(Part):
    """Opens the chooser on the present preset, and the preset that is chosen there."""

    def __init__(self, window: Shell) -> None:
        super().__init__(window)
        window.actions_["questions"].triggered.connect(self.ask)

    @Slot()
    def ask(self) -> None:
        """Show the questions."""
        dialog = QuestionDialog(self.window.label, self.window)
        dialog.chosen.connect(self.window.choose_preset)
        dialog.open()
