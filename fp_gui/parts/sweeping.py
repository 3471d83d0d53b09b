"""The ways to the panel Sweep: from a knob's row in the form, and from a run of a sweep in the list of runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PySide6.QtCore import Slot

from fp_gui.parts.base import Part, parts
from fp_gui.run_actions import RunAction, run_actions
from fp_gui.shell import Shell
from fp_gui.tools.sweep import SweepPanel, sweep_of


def _panel(window: Shell) -> SweepPanel:
    panel = window.bring_tool("sweep")
    assert isinstance(panel, SweepPanel)
    return panel


@parts.register("sweeping")
class Sweeping(Part):
    """Brings the panel with what was chosen elsewhere."""

    def __init__(self, window: Shell) -> None:
        super().__init__(window)
        window.form.sweep_asked.connect(self._sweep)

    @Slot(str)
    def _sweep(self, path: str) -> None:
        _panel(self.window).sweep_knob(path)


def _show(window: Shell, folders: Sequence[Path]) -> None:
    found = sweep_of(folders[0])
    if found is None:
        window.banner.notice(f"{folders[0].name} is no run of a sweep.")
    else:
        _panel(window).open_sweep(found)


run_actions.register("sweep", order=5)(
    RunAction("Show its sweep", "The sweep that this run is of: its figure, its other runs, the way to go on", _show)
)
