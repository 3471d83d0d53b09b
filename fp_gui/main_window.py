"""The window: panels, actions and what connects them to the controller. Nothing here computes anything."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from PySide6.QtCore import QObject, QSettings, QTimer, QUrl, Slot
from PySide6.QtGui import QCloseEvent, QDesktopServices, QGuiApplication, QShowEvent, QUndoStack
from PySide6.QtWidgets import QFileDialog, QMenu

from engine.config.experiment import Config, with_value
from engine.config.presets import load_preset
from engine.core.errors import ConfigError, ExplorerError
from engine.run.snapshot import Snapshot
from fp_gui.actions import Goto, KeySheet, Toolbar, key_rows, make_actions
from fp_gui.attack_now import AttackNow
from fp_gui.banner import Banner
from fp_gui.bridge.controller import Controller
from fp_gui.bridge.requests import Request, RunInfo, name_of
from fp_gui.data_dialog import chosen_folder
from fp_gui.export import Exporter, ExportProgress
from fp_gui.focus import KeyPolicy
from fp_gui.form import Form
from fp_gui.icons import icon
from fp_gui.leaving import Leaving
from fp_gui.menus import add_menus, menu
from fp_gui.moved_images import MovedImages
from fp_gui.panels import Panels
from fp_gui.parts.base import parts
from fp_gui.runs import check_run, preset_label, preset_name, preset_of, with_folder
from fp_gui.shell import Shell
from fp_gui.status import StatusBar
from fp_gui.task_runner import Tasks
from fp_gui.task_status import TaskStatus
from fp_gui.tasks import Task
from fp_gui.theme import Theme, ThemeManager, stylesheet
from fp_gui.tools.base import Tool
from fp_gui.tools.shelf import ToolShelf
from fp_gui.undo import KnobChange
from fp_gui.view_shelf import ViewShelf
from fp_gui.views.base import View
from fp_gui.views.task_view import TaskView
from fp_gui.way_back import WayBack

STATS_MS = 500


class MainWindow(Shell):
    """The explorer's window over a :class:`Controller`; ``view_types`` in display order.

    It shows the views of the present kind of run. A view is made when it is first seen: most stand behind others.
    """

    def __init__(
        self,
        controller: Controller,
        view_types: Sequence[type[View]],
        themes: ThemeManager,
        label: str,
        config: Config,
        settings: QSettings | None = None,
    ) -> None:
        super().__init__()
        self.setWindowTitle("Feature Purification Explorer")
        self.setWindowIcon(icon("app"))
        self.controller = controller
        self.themes = themes
        self.settings = settings if settings is not None else QSettings()
        self.label, self._config = label, config
        self._playing = False
        self.shelf = ViewShelf(view_types, self.settings, themes.theme, self)
        self.tool_shelf = ToolShelf(self, themes.theme)
        self.undo_stack = QUndoStack(self)
        self.exporter = Exporter(controller.save_checkpoint, self)
        self.tasks = Tasks(controller.save_checkpoint, self.settings, self)
        self.leaving = Leaving(self, self.tasks, self.exporter)
        self.actions_ = make_actions(self)
        self.toolbar = Toolbar(self.actions_)
        self.addToolBar(self.toolbar)
        self.moved_images = MovedImages(self)
        self.status = StatusBar()
        self.setStatusBar(self.status)
        self.status.addWidget(TaskStatus(self.tasks))
        self.status.addWidget(ExportProgress(self.exporter))
        self.banner = Banner(self)
        self.attack_now = AttackNow(controller, self.banner, self)
        self.way_back = WayBack(self.banner, self.actions_["back"], self.open_run, self)
        self.form = Form(config)
        self.panels = self._make_panels()
        brought: dict[str, type[View] | type[Tool]] = {**self.shelf.types, **self.tool_shelf.types}
        self.goto = Goto(self, {name: panel.title for name, panel in brought.items()})
        self.goto.chosen.connect(self.panels.bring)
        add_menus(self, self.actions_, self.undo_stack, self.goto.actions(), self.panels.docks.values())
        self.keys = KeyPolicy(self)
        self.panels.looked.connect(self.keys.check)
        self.panels.looked.connect(self.banner.raise_)  # a panel that comes to the front comes in front of it
        self._connect()
        self._parts = {name: parts[name](self) for name in parts}
        self.parts = dict[str, QObject](self._parts)
        self._take_theme(themes.theme)
        self._show_views()
        self.restore()
        self._stats_timer = QTimer(self, interval=STATS_MS)
        self._stats_timer.timeout.connect(self._show_stats)
        self._stats_timer.start()

    # -- building ------------------------------------------------------------------------------------------------

    def _make_panels(self) -> Panels:
        types: dict[str, type[View] | type[Tool]] = {**self.shelf.types, **self.tool_shelf.types}
        titles = {"parameters": "Parameters"} | {name: panel.title for name, panel in types.items()}
        places = {name: panel.place for name, panel in types.items()}
        panels = Panels(self, titles, places, self._config.kind, self._present())
        panels.fill("parameters", self.form)
        panels.remember(self.settings)
        panels.appeared.connect(self._need)
        self.shelf.made.connect(self._take_view)
        return panels

    def _present(self) -> list[str]:
        """The names of the panels for the present kind of run."""
        return ["parameters", *self.shelf.names(self._config.kind), *self.tool_shelf.types]

    @Slot(str)
    def _need(self, name: str) -> None:
        """The panel called ``name`` is seen for the first time."""
        (self.tool_shelf if name in self.tool_shelf.types else self.shelf).get(name)

    def bring_tool(self, name: str) -> Tool:
        """Bring the panel of the tool called ``name``; the tool."""
        self.panels.bring(name)
        return self.tool_shelf.get(name)

    @property
    def views(self) -> list[View]:
        """The views of the present kind of run that are made, in display order."""
        return self.shelf.there(self._config.kind)

    @Slot(object)
    def _take_view(self, view: View) -> None:
        """Connect a view that was just made, and show it in its panel."""
        view.neuron_hovered.connect(self.shelf.hover)
        view.neuron_selected.connect(self.shelf.choose)
        view.command_requested.connect(self.controller.send)
        if isinstance(view, TaskView):
            view.view_requested.connect(self.panels.bring)
            view.task_requested.connect(self._ask_task)
            view.cancel_requested.connect(self.tasks.cancel)
            self.tasks.changed.connect(view.show_task)
            for state in self.tasks.states:
                view.show_task(state)
        self.panels.fill(view.name, view)
        self.controller.set_views(self.views)

    def _show_views(self) -> None:
        """Offer the views of the present kind of run, and make those that will be seen first."""
        self.goto.show([*self.shelf.names(self._config.kind), *self.tool_shelf.types])
        for name in self.panels.front():
            self._need(name)
        self.controller.set_views(self.views)

    def _connect(self) -> None:
        a, c = self.actions_, self.controller
        slots: dict[str, Callable[[], object]] = {
            "play": self._play,
            "step": c.step_once,
            "reset": self.reset,
            "toggle_phase": self._toggle_phase,
            "attack": self.attack_now.ask,
            "open": self._ask_open,
            "reveal": self._reveal,
            "copy_path": self._copy_path,
            "quit": lambda: self.leaving.close(self.close),
            "reset_layout": self.panels.arrange,
            "keys": self._keys,
        }
        for name, slot in slots.items():
            a[name].triggered.connect(slot)
        for action in a.themes.values():
            action.triggered.connect(self._choose_theme)
        self.toolbar.preset_chosen.connect(self.choose_preset)
        self.toolbar.device_chosen.connect(self._choose_device)
        self.toolbar.objective_chosen.connect(c.switch_phase)
        self.form.live_edited.connect(self._live_edited)
        self.form.rejected.connect(lambda text: self.banner.error(text, "", "value"))
        self.form.accepted.connect(lambda: self.banner.settle("value"))
        self.form.reset_requested.connect(self.reset)
        c.error.connect(self.banner.error)
        c.notice.connect(lambda text: self.banner.notice(text, "playing"))
        c.playing_changed.connect(self._show_playing)
        c.run_changed.connect(self._show_run)
        c.config_changed.connect(self.form.sync)
        c.snapshot_rendered.connect(self._show_snapshot)
        c.snapshot_rendered.connect(self.form.follow)
        c.opening.connect(self._show_opening)
        c.error.connect(self._show_failed)
        c.refused.connect(self.moved_images.ask)
        self.moved_images.found.connect(self.ask)
        self.tasks.failed.connect(lambda text, details: self.banner.error(text, details, ""))
        self.tasks.notice.connect(lambda text: self.banner.notice(text, ""))
        self.themes.changed.connect(self._take_theme)

    # -- the run -------------------------------------------------------------------------------------------------

    @Slot()
    def _play(self) -> None:
        if self._playing:
            self.controller.pause()
        else:
            self.controller.play()

    @Slot()
    def reset(self) -> None:
        """Start a new run with the parameters as shown, pending ones included."""
        try:
            config = self.form.next_config()
        except ConfigError as error:
            self.banner.error(str(error))
            return
        self.start(config, self.label)

    def begin(self, config: Config, label: str) -> None:
        """Start a new run of a preset's ``config``; a data folder that it leaves open is the one chosen last."""
        self.start(with_folder(config, chosen_folder(self.settings, config.world.name)), label)

    def start(self, config: Config, label: str) -> None:
        """Start a new run of ``config``, if the user agrees to leave what is under way."""
        self.leave(lambda: self._leave(config, label))

    def _leave(self, config: Config, label: str) -> None:
        self.label = label
        self.controller.reset(config, label)

    @Slot(str)
    def choose_preset(self, name: str) -> None:
        """Start a new run of a preset."""
        try:
            self.begin(load_preset(name), preset_label(name))
        except ConfigError as error:
            self.banner.error(str(error))

    @Slot(str)
    def _choose_device(self, device: str) -> None:
        try:
            self.start(with_value(self.form.next_config(), "device", device), self.label)
        except ConfigError as error:
            self.banner.error(str(error))

    @Slot()
    def _toggle_phase(self) -> None:
        if (phase := self.controller.phase) is not None:
            self.controller.switch_phase("clean" if phase == "adversarial" else "adversarial")

    @Slot(str, object, object)
    def _live_edited(self, path: str, old: object, new: object) -> None:
        self.undo_stack.push(KnobChange(path, old, new, self.controller.set_knob))

    @Slot(bool)
    def _show_playing(self, playing: bool) -> None:
        self._playing = playing
        self.shelf.set_playing(playing)
        if playing:
            self.banner.settle("playing")
        self.actions_.show_playing(self.themes.theme, playing)
        self._show_stats()

    @Slot(object)
    def _show_opening(self, request: Request) -> None:
        self.status.show_loading(name_of(request))

    @Slot()
    def _show_failed(self) -> None:
        if self.controller.run is None:
            self.status.show_no_run()

    @Slot(object)
    def _show_run(self, info: RunInfo) -> None:
        self.undo_stack.clear()
        self.shelf.forget()
        self.status.show_loaded()
        self._config = info.config
        self.panels.show_kind(info.config.kind, self._present())
        self._show_views()
        self.label = preset_name(info.config, info.label) if info.resumed else info.label
        self.form.start(info.config, preset_of(info.config))
        self.toolbar.show_run(info.label, info.config)
        watched = " (imported)" if info.config.untrained else " (watched)" if info.watched else ""
        self.setWindowTitle(f"{info.folder.name}{watched} — Feature Purification Explorer")
        self.status.show_data(info.data)
        for topic in ("run", "playing", "value", "attack"):
            self.banner.settle(topic)
        self.way_back.show(info)
        self.keys.check()

    @Slot(object)
    def _show_snapshot(self, snapshot: Snapshot) -> None:
        self.status.show_snapshot(snapshot)
        self.toolbar.show_objective(snapshot.newest_phase)

    @Slot()
    def _show_stats(self) -> None:
        self.status.show_stats(self.controller.stats(), self._playing)

    # -- files ---------------------------------------------------------------------------------------------------

    @Slot()
    def _ask_open(self) -> None:
        chosen = QFileDialog.getExistingDirectory(self, "Open a run's folder", str(self.controller.runs))
        if chosen:
            self.open_run(Path(chosen))

    @Slot(object, object)
    def open_run(self, folder: Path, data: Path | None = None) -> None:
        """Go on with the run in ``folder``, its images in ``data``; the present one stays if it is no run folder."""
        try:
            check_run(folder)
        except ExplorerError as error:
            self.banner.error(f"{error}. The present run is kept.")
            return
        self.leave(lambda: self.controller.load(folder, data=data))

    @Slot(object)
    def ask(self, request: Request) -> None:
        """Ask for another run, if the user agrees to leave what is under way."""
        self.leave(lambda: self.controller.ask(request))

    def leave(self, then: Callable[[], object]) -> None:
        """Call ``then``, which opens another run, if the user agrees to leave what is under way."""
        run = self.controller.run
        self.leaving.open(None if run is None else run.folder, then)

    @Slot()
    def _reveal(self) -> None:
        if self.controller.run is not None:
            QDesktopServices.openUrl(QUrl.fromLocalFile(str(self.controller.run.folder)))

    @Slot()
    def _copy_path(self) -> None:
        if self.controller.run is not None:
            QGuiApplication.clipboard().setText(str(self.controller.run.folder))
            self.banner.notice(f"Copied: {self.controller.run.folder}")

    @Slot(object)
    def _ask_task(self, task: Task) -> None:
        if self.controller.run is None:
            self.banner.notice("No run is open yet.")
        else:
            self.tasks.request(task, self.controller.run.folder)

    # -- the window ----------------------------------------------------------------------------------------------

    @Slot()
    def _keys(self) -> None:
        titles = [self.shelf.types[name].title for name in self.shelf.names(self._config.kind)]
        KeySheet(key_rows(titles), self).open()

    @Slot()
    def _choose_theme(self) -> None:
        for mode, action in self.actions_.themes.items():
            if action.isChecked():
                self.themes.set_mode(mode)
                self.settings.setValue("theme", mode)

    @Slot(object)
    def _take_theme(self, theme: Theme) -> None:
        self.setStyleSheet(stylesheet(theme))
        self.actions_.set_theme(theme, self._playing)
        self.actions_.themes[self.themes.mode].setChecked(True)
        self.banner.set_theme(theme)
        self.shelf.set_theme(theme)
        self.tool_shelf.set_theme(theme)
        for part in self._parts.values():
            part.set_theme(theme)

    def restore(self) -> None:
        """Take up the geometry and the layout of the last time."""
        self.panels.restore(self.settings)
        self.toolbar.show()

    def save(self) -> None:
        """Remember the geometry, layout and view options."""
        self.panels.save(self.settings)
        self.shelf.save()
        for part in self._parts.values():
            part.save()
        self.settings.sync()

    def showEvent(self, event: QShowEvent) -> None:
        """Give the panels their first sizes, which Qt only takes from a window that is shown."""
        super().showEvent(event)
        if self.focusWidget() is None:
            self.keys.release()  # else Qt gives them to the first chooser, and Space would open its list
        if self.panels.fresh:
            self.panels.fresh = False
            QTimer.singleShot(0, self.panels.size)

    def createPopupMenu(self) -> QMenu | None:
        """The panels and the timeline, without the toolbar, on a right click beside them."""
        return menu(self, "", [*self.panels.toggles(), None, self.actions_["timeline"]])

    def closeEvent(self, event: QCloseEvent) -> None:
        """Remember the layout, then end everything under way and the training thread before the window goes.

        A user who closes it is asked first if that ends something; the program itself is not.
        """
        if event.spontaneous() and self.leaving.asks:
            event.ignore()
            self.leaving.close(self.close)
            return
        self.save()
        self._stats_timer.stop()
        self.hide()
        for part in self._parts.values():
            part.close()
        self.tool_shelf.close()
        self.exporter.close()
        self.tasks.close()
        self.controller.close()
        super().closeEvent(event)
