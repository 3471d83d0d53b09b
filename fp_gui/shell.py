"""What the window offers to its parts and tools; :class:`fp_gui.main_window.MainWindow` is it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import QObject, QSettings, Signal
from PySide6.QtGui import QUndoStack
from PySide6.QtWidgets import QMainWindow, QWidget

from engine.config.experiment import Config
from fp_gui.actions import Actions, Toolbar
from fp_gui.banner import Banner
from fp_gui.bridge.controller import Controller
from fp_gui.export import Exporter
from fp_gui.form import Form
from fp_gui.leaving import Leaving
from fp_gui.panels import Panels
from fp_gui.status import StatusBar
from fp_gui.task_runner import Tasks
from fp_gui.theme import ThemeManager
from fp_gui.view_shelf import ViewShelf
from fp_gui.views.base import View


class Shell(QMainWindow):
    """``label`` names the preset of the present run, ``parts`` holds the window's parts by name."""

    controller: Controller
    themes: ThemeManager
    settings: QSettings
    label: str
    actions_: Actions
    toolbar: Toolbar
    status: StatusBar
    banner: Banner
    form: Form
    panels: Panels
    shelf: ViewShelf
    undo_stack: QUndoStack
    exporter: Exporter
    tasks: Tasks
    leaving: Leaving
    parts: dict[str, QObject]

    tool_made = Signal(object)  # fp_gui.tools.base.Tool: it is seen for the first time

    @property
    def views(self) -> list[View]:
        """The views of the present kind of run that are made, in display order."""
        raise NotImplementedError

    def bring_tool(self, name: str) -> QWidget:
        """Bring the panel of the tool called ``name``; the tool."""
        raise NotImplementedError

    def start(self, config: Config, label: str) -> None:
        """Start a new run of ``config``, if the user agrees to leave what is under way."""
        raise NotImplementedError

    def choose_preset(self, name: str) -> None:
        """Start a new run of a preset."""
        raise NotImplementedError

    def leave(self, then: Callable[[], object]) -> None:
        """Call ``then``, which opens another run, if the user agrees to leave what is under way."""
        raise NotImplementedError

    def open_run(self, folder: Path, data: Path | None = None) -> None:
        """Go on with the run in ``folder``, its images in ``data``; the present one stays if it is no run folder."""
        raise NotImplementedError
