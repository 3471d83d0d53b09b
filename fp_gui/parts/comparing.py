"""Compare: the runs that are chosen in a list are what the Compare panel shows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fp_gui.run_actions import RunAction, run_actions
from fp_gui.shell import Shell
from fp_gui.tools.compare import ComparePanel


def compare(window: Shell, folders: Sequence[Path]) -> None:
    """Bring the panel on these runs."""
    panel = window.bring_tool(ComparePanel.name)
    assert isinstance(panel, ComparePanel)
    panel.compare(folders)


run_actions.register("compare", order=1)(
    RunAction("Compare", "Draw their curves in one plot, their galleries side by side", compare, least=2, most=20)
)
