"""What can be done with runs that are chosen in the list, beside what the list itself does.

A further action is filed by a file of :mod:`fp_gui.parts` or :mod:`fp_gui.tools`::

    run_actions.register("compare")(RunAction("Compare", "Draw their curves in one plot", compare, least=2, most=20))
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.core.registry import Registry
from fp_gui.shell import Shell


@dataclass(frozen=True, slots=True)
class RunAction:
    """``text`` and ``tip`` of a menu entry; ``do`` is called with the window and ``least`` to ``most`` folders."""

    text: str
    tip: str
    do: Callable[[Shell, Sequence[Path]], object]
    least: int = 1
    most: int = 1


run_actions: Registry[RunAction] = Registry("action on runs", "fp_gui.parts", "fp_gui.tools")
"""The further actions, in the order in which they are offered."""
