"""The timeline under the toolbar: every view shows the run as it was at the step that is chosen there."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QObject, Qt, QTimer, Slot
from PySide6.QtWidgets import QToolBar

from engine.run.snapshot import Snapshot
from engine.run.timeline import spans
from fp_gui.bridge.requests import RunInfo
from fp_gui.parts.base import Part, parts
from fp_gui.shell import Shell
from fp_gui.theme import Theme, named
from fp_gui.timeline_bar import TimelineBar
from fp_gui.tools.base import Tool
from fp_gui.views.base import View

LOW_WINDOW = 760  # pixels
PATIENCE = 1000  # ms after which a step that was asked for and did not come is given up


@parts.register("timeline")
class Timeline(Part):
    """Asks the controller for one step at a time: of those chosen while one is on its way, the last one is next."""

    def __init__(self, window: Shell) -> None:
        super().__init__(window)
        self.bar = TimelineBar()
        window.shelf.tame(self.bar)
        self._wanted: int | None = None  # what was chosen last
        self._sent: int | None = None
        self._warned = False  # of changes that are made while an earlier step is looked at
        self._waiting = QTimer(self, singleShot=True, interval=PATIENCE)
        self._waiting.timeout.connect(self._send)
        self.toolbar = toolbar = named(QToolBar("Timeline", window), "timeline")
        toolbar.setMovable(False)
        toolbar.addWidget(self.bar)
        window.addToolBarBreak(Qt.ToolBarArea.TopToolBarArea)
        window.addToolBar(Qt.ToolBarArea.TopToolBarArea, toolbar)
        self.bar.chosen.connect(self.look)
        self.bar.live.connect(self.look_at_now)
        window.controller.snapshot_rendered.connect(self._show)
        window.controller.run_changed.connect(self._forget)
        window.shelf.made.connect(self._take)
        window.tool_made.connect(self._take)
        window.form.live_edited.connect(self._changed)
        window.toolbar.objective_chosen.connect(self._changed)
        window.actions_["toggle_phase"].triggered.connect(self._changed)
        actions = window.actions_
        actions["earlier"].triggered.connect(lambda: self.bar.canvas.go(-1))
        actions["later"].triggered.connect(lambda: self.bar.canvas.go(1))
        actions["timeline"].setCheckable(True)
        actions["timeline"].triggered.connect(self._toggle)
        actions["reset_layout"].triggered.connect(toolbar.show)
        toolbar.visibilityChanged.connect(self._check)
        window.panels.looked.connect(self._check)  # a stored layout may have it hidden
        window.installEventFilter(self)
        actions["now"].triggered.connect(self.look_at_now)
        actions["play_back"].triggered.connect(self.bar.toggle_back)
        actions["play_forth"].triggered.connect(self.bar.toggle_forth)

    def set_theme(self, theme: Theme) -> None:
        """Recolour the bar."""
        self.bar.set_theme(theme)

    @Slot(bool)
    def _toggle(self, shown: bool) -> None:
        self.toolbar.setVisible(shown)

    @Slot()
    def _check(self) -> None:
        self.window.actions_["timeline"].setChecked(not self.toolbar.isHidden())

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """A low window has a low timeline."""
        if event.type() == QEvent.Type.Resize:
            self.bar.set_low(self.window.height() < LOW_WINDOW)
        return False

    def close(self) -> None:
        """Stop playing."""
        self.bar.play(0)
        self._waiting.stop()

    @property
    def looked_at(self) -> int | None:
        """The step that is, or will soon be, shown; None for now."""
        return self._wanted

    @Slot(int)
    def look(self, step: int) -> None:
        """Show the run as it was at the stored step nearest to ``step``."""
        found = self.bar.canvas.nearest(step)
        if found is not None:
            self._want(found)

    @Slot()
    def look_at_now(self) -> None:
        """Follow the run again."""
        self._want(None)

    def _want(self, step: int | None) -> None:
        self._wanted = step
        self.bar.show_step(step)
        if not self._waiting.isActive():
            self._send()

    @Slot()
    def _send(self) -> None:
        if self._sent != self._wanted:
            self._sent = self._wanted
            self.window.controller.look(self._sent)
            if self._sent is not None:
                self._waiting.start()

    @Slot(object)
    def _show(self, snapshot: Snapshot) -> None:
        self.bar.canvas.show_run(
            snapshot.newest, snapshot.config.schedule.total,
            spans(snapshot.events, snapshot.newest_phase, snapshot.newest), snapshot.events, snapshot.stored,
            origin.step if (origin := snapshot.config.branch) is not None else 0,
        )  # fmt: skip
        if snapshot.looking and snapshot.step == self._sent:
            self._waiting.stop()
            self._send()

    @Slot(object)
    def _forget(self, info: RunInfo) -> None:
        """Another run is open: it is shown as it is."""
        self._waiting.stop()
        self._wanted = self._sent = None
        self._warned = False
        self.bar.play(0)
        self.bar.show_step(None)

    @Slot(object)
    def _take(self, panel: View | Tool) -> None:
        panel.step_requested.connect(self._look_by_click)

    @Slot()
    def _changed(self) -> None:
        """Say once of each run that what one changes is never the past."""
        last = self.window.controller.last
        if self._wanted is not None and last is not None and not self._warned:
            self._warned = True
            self.window.banner.notice(
                f"You look at step {self._wanted:,}: the change is made to the run as it is now, "
                f"step {last.newest:,}, and not to what you see. N shows the present."
            )

    @Slot(int)
    def _look_by_click(self, step: int) -> None:
        self.bar.play(0)
        self.look(step)
