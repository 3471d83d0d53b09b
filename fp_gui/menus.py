"""The menu bar, made of the window's actions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from PySide6.QtGui import QAction, QKeySequence, QUndoStack
from PySide6.QtWidgets import QDockWidget, QMainWindow, QMenu

from fp_gui.actions import Actions


def menu(window: QMainWindow, title: str, actions: Iterable[QAction | None]) -> QMenu:
    """A menu of ``actions``; None is a line between two of them."""
    made = QMenu(title, window)
    made.setToolTipsVisible(True)
    for action in actions:
        if action is None:
            made.addSeparator()
        else:
            made.addAction(action)
    return made


def add_menus(
    window: QMainWindow, actions: Actions, undo_stack: QUndoStack, views: Sequence[QAction],
    docks: Iterable[QDockWidget],
) -> None:  # fmt: skip
    """Fill the menu bar of ``window``; ``views`` bring one view each, ``docks`` can be shown and closed."""
    undo, redo = undo_stack.createUndoAction(window, "Undo"), undo_stack.createRedoAction(window, "Redo")
    undo.setShortcut(QKeySequence("Ctrl+Z"))
    redo.setShortcut(QKeySequence("Ctrl+Shift+Z"))
    files = (
        "questions", "open", "watch", "import", "back", "", "reveal", "copy_path", "", "data", "", "export", "animate",
        "", "quit",
    )  # fmt: skip
    run = ("play", "step", "toggle_phase", "attack", "", "reset", "branch")
    time = ("earlier", "later", "now", "", "play_back", "play_forth")
    view = menu(window, "&View", [*views, None])
    view.addMenu(menu(window, "Panels", (dock.toggleViewAction() for dock in docks)))
    view.addMenu(menu(window, "Theme", actions.themes.values()))
    view.addMenu(menu(window, "Text size", (actions[name] for name in ("larger", "smaller", "normal"))))
    view.addActions([actions[name] for name in ("present", "timeline", "reset_layout", "unmark")])
    bar = window.menuBar()
    bar.addMenu(menu(window, "&File", (actions[name] if name else None for name in files)))
    bar.addMenu(menu(window, "&Edit", (undo, redo, None, actions["copy_view"])))
    bar.addMenu(menu(window, "&Run", (actions[name] if name else None for name in run)))
    bar.addMenu(menu(window, "&Time", (actions[name] if name else None for name in time)))
    bar.addMenu(view)
    bar.addMenu(menu(window, "&Help", (actions[name] for name in ("tour", "what", "palette", "keys"))))
