"""The command palette by its action, and what it offers: actions, panels, presets, knobs, runs."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from PySide6.QtCore import Slot

from engine.config.presets import preset_abouts
from fp_gui.command_palette import CommandPalette, Entry, of_action
from fp_gui.parts.base import Part, parts
from fp_gui.runs import recent_runs
from fp_gui.shell import Shell

RUNS = 40  # the last ones


@parts.register("palette")
class Palette(Part):
    """Gathers what there is each time that it is opened."""

    def __init__(self, window: Shell) -> None:
        super().__init__(window)
        window.actions_["palette"].triggered.connect(self.ask)

    @Slot()
    def ask(self) -> None:
        """Show the palette."""
        CommandPalette(list(self.entries()), self.window).open()

    def entries(self) -> Iterator[Entry]:
        """All that can be done now."""
        window = self.window
        own = (*window.actions_.by_name.values(), window.actions_["palette"])
        for action in window.actions_.by_name.values():
            if action.isEnabled() and action is not own[-1]:
                yield of_action(action)
        others = [a for a in window.actions() if a.isVisible() and a.isEnabled() and a.text() and a not in own]
        yield from map(of_action, others)  # the views, and what parts and tools have added
        for objective, button in window.toolbar.objectives.items():
            yield Entry(f"Train: {button.text()}", "phase", partial(window.controller.switch_phase, objective))
        for device in (window.toolbar.device.itemText(i) for i in range(window.toolbar.device.count())):
            yield Entry(f"Device: {device}", "starts a new run", partial(window.toolbar.device_chosen.emit, device))
        for action in window.actions_.themes.values():
            yield of_action(action, f"Theme: {action.text()}")
        for toggle in window.panels.toggles():
            yield of_action(toggle, f"{'Close' if toggle.isChecked() else 'Show'} panel: {toggle.text()}")
        for name, about in preset_abouts().items():
            yield Entry(about.question, f"preset {name}", partial(window.choose_preset, name))
        for path in window.form.parameters:
            yield Entry(path, "parameter", partial(self._go_to, path))
        for folder in recent_runs(window.controller.runs, RUNS):
            yield Entry(f"Run {folder.name}", "open", partial(self._open, folder))

    def _go_to(self, path: str) -> None:
        self.window.panels.bring("parameters")
        self.window.form.go_to(path)

    def _open(self, folder: Path) -> None:
        self.window.open_run(folder)
