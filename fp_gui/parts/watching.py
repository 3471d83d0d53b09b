"""Watching: a run that another process trains, or that lies on a disk, is shown as it grows and is only read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PySide6.QtCore import Qt, Slot
from PySide6.QtWidgets import QFileDialog, QPushButton, QSizePolicy, QToolBar

from engine.core.errors import ExplorerError, InUseError
from engine.run.snapshot import Snapshot
from fp_gui.actions import action_tip
from fp_gui.banner import Offer
from fp_gui.bridge.requests import OpenRun, RunInfo, Stored
from fp_gui.folding import FoldingLabel
from fp_gui.parts.base import Part, parts
from fp_gui.run_actions import RunAction, run_actions
from fp_gui.runs import check_run
from fp_gui.shell import Shell
from fp_gui.theme import Theme, named

TRAINS = ("play", "step", "toggle_phase", "attack")  # the actions that a run which is only read cannot answer
WHY = "This run is only watched: nothing trains or changes it here. “Train it here” does, once no other process has it."
HELD = "Another process has this run open: it can be trained here once that has ended"
IMPORTED = "The weights of this run come from files and stay as they are: Branch… trains on from them as a new run"
FREE = "Open this run to train it: it is then no longer only read"


def state_words(snapshot: Snapshot) -> str:
    """What becomes of a run that is watched, and whose it is."""
    if snapshot.state == "training":
        return f"training in process {snapshot.holder}" if snapshot.holder else "training in another process"
    where = f" at step {snapshot.newest:,}"
    if snapshot.state == "imported" and snapshot.config.imported is not None:
        return f"imported from {', '.join(each.file for each in snapshot.config.imported.files.values())}"
    return {"finished": "finished", "interrupted": f"interrupted{where}", "diverged": "diverged"}.get(
        snapshot.state, snapshot.state
    )


@parts.register("watching")
class Watching(Part):
    """The ways to watch a run, and a bar that says so, with the ways on, while one is watched."""

    def __init__(self, window: Shell) -> None:
        super().__init__(window)
        self._watched: RunInfo | None = None
        self._offer: Offer | None = None
        self.words = FoldingLabel(folds=False, wraps=False)
        self.words.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
        self.train, self.branch = QPushButton("Train it here"), QPushButton("Branch…")
        self.train.clicked.connect(self._train)
        self.branch.setToolTip("Go on from one of its checkpoints as a new run of your own; this one stays as it is")
        self.branch.clicked.connect(window.actions_["branch"].trigger)
        self.bar = named(QToolBar("Watching", window), "watching")
        self.bar.setMovable(False)
        self.bar.toggleViewAction().setVisible(False)
        for widget in (self.words, self.train, self.branch):
            widget.setFocusPolicy(Qt.FocusPolicy.NoFocus if widget is self.words else Qt.FocusPolicy.TabFocus)
            self.bar.addWidget(widget)
        window.addToolBarBreak(Qt.ToolBarArea.TopToolBarArea)
        window.addToolBar(Qt.ToolBarArea.TopToolBarArea, self.bar)
        self.bar.hide()
        window.actions_["watch"].triggered.connect(self._ask)
        controller = window.controller
        controller.refused.connect(self._refused)
        controller.opening.connect(self._withdraw)
        controller.run_changed.connect(self._show_run)
        controller.snapshot_rendered.connect(self._show)
        controller.playing_changed.connect(self._show_actions)

    def set_theme(self, theme: Theme) -> None:
        """The actions have been named anew."""
        self._show_actions()

    # -- the ways to it ------------------------------------------------------------------------------------------

    @Slot()
    def _ask(self) -> None:
        chosen = QFileDialog.getExistingDirectory(
            self.window, "Watch the run in a folder", str(self.window.controller.runs)
        )
        if chosen:
            self.watch(Path(chosen))

    def watch(self, folder: Path, data: Path | None = None) -> None:
        """Follow the run in ``folder``, its images in ``data``; the present one stays if it is no run folder."""
        window, run = self.window, self.window.controller.run
        if run is not None and run.folder == folder:
            words = "watched" if run.watched else "open"
            window.banner.notice(f"{folder.name} is {words} in this window already.")
            return
        try:
            check_run(folder)
        except ExplorerError as error:
            window.banner.error(f"{error}. The present run is kept.")
            return
        window.leave(lambda: window.controller.watch(folder, data=data))

    @Slot(object, object)
    def _refused(self, request: Stored, error: ExplorerError) -> None:
        """A run that another process has open can be watched."""
        if isinstance(request, OpenRun) and isinstance(error, InUseError):
            kept = "" if self.window.controller.run is None else " The present run is kept."
            text = f"{error}.{kept} It can be watched: followed as it grows, and only read."
            self._offer = Offer(text, "Watch", lambda: self.watch(request.folder, request.data), failed=True)
            self.window.banner.offer(self._offer)

    @Slot()
    def _withdraw(self) -> None:
        self.bar.setVisible(self._watched is not None)  # whatever a stored layout says
        if self._offer is not None:
            self.window.banner.withdraw(self._offer)
            self._offer = None

    # -- while it is watched -------------------------------------------------------------------------------------

    @Slot(object)
    def _show_run(self, info: RunInfo) -> None:
        self._watched = info if info.watched else None
        self.window.status.watching = info.watched
        self.window.form.set_read_only(info.watched)
        self.words.setText(f"Watching {info.folder.name}, read-only")
        self.words.setToolTip(str(info.folder))
        self.train.setEnabled(False)
        self.bar.setVisible(info.watched)
        self._show_actions()

    @Slot()
    def _show_actions(self) -> None:
        why = WHY if self._watched is not None else ""
        for name in TRAINS:
            action = self.window.actions_[name]
            action.setEnabled(not why)
            if why or action.toolTip() == WHY:
                action.setToolTip(why or action_tip(name))
        self.window.toolbar.show_trains(why)

    @Slot(object)
    def _show(self, snapshot: Snapshot) -> None:
        if self._watched is None:
            return
        doing = "Looking at" if snapshot.config.untrained else "Watching"
        self.words.setText(f"{doing} {snapshot.folder.name}, read-only: {state_words(snapshot)}")
        held, imported = snapshot.state == "training", snapshot.config.untrained
        self.train.setEnabled(not held and not imported)
        self.train.setToolTip(IMPORTED if imported else HELD if held else FREE)
        if imported and snapshot.config.imported is not None:
            self.words.setToolTip(f"{snapshot.folder}\n{snapshot.config.imported.words()}")

    @Slot()
    def _train(self) -> None:
        if self._watched is not None:
            self.window.open_run(self._watched.folder)


def _watch(window: Shell, folders: Sequence[Path]) -> None:
    part = window.parts["watching"]
    assert isinstance(part, Watching)
    part.watch(folders[0])


run_actions.register("watch", order=3)(
    RunAction("Watch", "Follow this run as another process trains it; it is only read", _watch)
)
