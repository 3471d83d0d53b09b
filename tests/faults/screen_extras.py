"""The part of the walk through the window that is no view: tools' panels, the timeline and the dialogs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PySide6.QtCore import QSize
from PySide6.QtWidgets import QApplication, QDialog, QMenu, QWidget

from fp_gui.main_window import MainWindow
from fp_gui.tools.compare import ComparePanel
from tests.faults.screen_walk import faults, pump, seen, settle, tab_faults

DIALOGS = ("questions", "export", "animate", "branch", "palette", "keys", "what", "data")
FRAME = 32  # pixels of a title bar, which a virtual screen does not draw


def timeline_faults(window: MainWindow) -> list[str]:
    """What is wrong with the timeline: it is whole, in the window, and its bar is wide enough to point at."""
    bar = window.parts["timeline"].bar  # type: ignore[attr-defined]
    found = faults(bar)
    if seen(bar, window).size() != bar.size():
        found.append(f"is clipped: {seen(bar, window).getRect()} of {bar.size().toTuple()}")
    if bar.canvas.width() < 200:
        found.append(f"its bar is {bar.canvas.width()} wide")
    return found


def dialog_faults(window: MainWindow, dialog: QDialog) -> list[str]:
    """What is wrong in a dialog, and whether it fits the screen with a frame around it."""
    room = window.screen().availableGeometry().size() - QSize(8, FRAME)
    found = faults(dialog)
    for what, size in (("is", dialog.size()), ("cannot be smaller than", dialog.minimumSizeHint())):
        if size.width() > room.width() or size.height() > room.height():
            found.append(f"{what} {size.toTuple()} on {room.toTuple()}")
    return found


def visible_dialogs(window: MainWindow) -> list[QWidget]:
    """The windows over the main one."""
    tops = QApplication.topLevelWidgets()
    return [top for top in tops if top.isVisible() and top is not window and not isinstance(top, QMenu)]


def walk_tools(window: MainWindow, runs: Sequence[Path], kind: str, report: dict[str, Any]) -> None:
    """Look at the tools' panels, with ``runs`` compared."""
    for name in window.tool_shelf.types:
        window.panels.bring(name)
        tool = window.tool_shelf.get(name)
        if isinstance(tool, ComparePanel):
            tool.compare(runs)
            pump(5, lambda tool=tool: tool.data is not None)  # type: ignore[misc]
        settle(window)
        found = faults(tool)
        if isinstance(tool, ComparePanel) and tool.data is None:
            found.append(f"compares nothing: {tool.pages.message.text()}")
        area = window.panels.docks[name].widget()
        if area is not None and seen(area, window).size() != area.size():
            found.append(f"is clipped: {seen(area, window).getRect()} of {area.size().toTuple()}")
        report[f"{kind} {name}"] = found + tab_faults(window)


def walk_dialogs(window: MainWindow, kind: str, report: dict[str, Any]) -> None:
    """Open every dialog by its action, look at it and close it."""
    for name in DIALOGS:
        window.actions_[name].trigger()
        pump(3, lambda: bool(visible_dialogs(window)))
        found: list[str] = []
        for dialog in visible_dialogs(window):
            settle(dialog)
            found += dialog_faults(window, dialog) if isinstance(dialog, QDialog) else [f"a {type(dialog).__name__}"]
            dialog.close()
        pump(0.05)
        report[f"{kind} dialog {name}"] = found
