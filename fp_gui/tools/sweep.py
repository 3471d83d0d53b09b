"""Sweep: plan many runs, train them beside the window, and watch their figure fill in."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import ClassVar

from PySide6.QtCore import QTimer, Slot
from PySide6.QtGui import QCursor, QShowEvent
from PySide6.QtWidgets import QFileDialog, QMenu, QProgressBar, QPushButton, QStackedWidget, QVBoxLayout, QWidget

from engine.core.errors import ConfigError, ExplorerError
from engine.core.files import absolute
from engine.run.index import RUNS, is_run
from engine.sweeps.record import is_sweep
from engine.sweeps.results import SweepResults, SweepRow
from fp_gui.folding import ControlRow, FoldingLabel
from fp_gui.parts.watching import Watching
from fp_gui.shell import Shell
from fp_gui.sweep.desk import PlanAnswer, ReadAnswer, ReadRequest, SweepDesk
from fp_gui.sweep.figure import SweepPage
from fp_gui.sweep.heatmap import named_run
from fp_gui.sweep.planner import Planner
from fp_gui.sweep.training import SweepTraining, prepare
from fp_gui.tasks import EngineProcess
from fp_gui.theme import Theme
from fp_gui.tools.base import Tool, tools
from fp_gui.views.base import Place
from fp_gui.views.widgets import tint

READ_MS = 1000  # between two readings while runs are trained, at least
SHARE = 0.05  # of one core that reading may take
SCALE = 1000  # steps of the progress bar
BEGINNING = "starting: each process imports torch first"
STOPPING = {
    "pausing": "pausing: each run stops at a checkpoint…",
    "cancelling": "cancelling: each run saves a checkpoint…",
}
GOES_ON = "Resume goes on from the checkpoints"


def standing_words(found: SweepResults, why: str) -> str:
    """How a sweep stands that is not trained here: ``paused: 3 finished, 1 interrupted of 4 runs``."""
    told = ", ".join(f"{count} {state}" for state, count in found.counts().items())
    left = any(row.state not in ("finished", "diverged", "training") for row in found.rows)
    return f"{why or ('not finished' if left else 'ended')}: {told}, of {len(found.rows)} runs" + (
        f". {GOES_ON}" if left else ""
    )


@tools.register("sweep", order=4)
class SweepPanel(Tool):
    """A page to plan on, and one for the sweep in :attr:`folder`."""

    name, title = "sweep", "Sweep"
    place: ClassVar[Place] = "lower"

    def __init__(self, window: Shell) -> None:
        super().__init__(window)
        self.folder: Path | None = None
        self.found: SweepResults | None = None
        self._answer: ReadAnswer | None = None  # that is not drawn yet
        self._serial, self._why, self._turned = 0, "", True
        self.desk = SweepDesk(self)
        self.training = SweepTraining(self)
        self.exporting = EngineProcess(self)
        self._exported = Path()
        self.planner = Planner(Path(window.controller.runs))
        self.page = SweepPage()
        self._make_controls()
        sweep = QWidget()
        inner = QVBoxLayout(sweep)
        inner.setContentsMargins(0, 0, 0, 0)
        inner.addWidget(self.controls)
        inner.addWidget(self.words)
        inner.addWidget(self.page, 1)
        self.stack = QStackedWidget()
        self.stack.setMinimumSize(120, 60)
        self.stack.addWidget(self.planner)
        self.stack.addWidget(sweep)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 6, 8, 6)
        layout.addWidget(self.stack)
        self.note = FoldingLabel(wraps=False, folds=False)
        self.note.setToolTip(
            "The runs of the sweep are trained in processes of their own; pausing it gives the cores back"
        )
        self.note.hide()
        window.status.addWidget(self.note)
        self._soon = QTimer(self, singleShot=True, interval=READ_MS)
        self._menu: QMenu | None = None
        self._playing = False
        self._connect()
        self._take_parameters()
        self._show_activity()

    def _make_controls(self) -> None:
        self.name_ = FoldingLabel(folds=False, wraps=False)
        self.bar = QProgressBar(textVisible=True)
        self.bar.setRange(0, SCALE)
        self.bar.setFixedWidth(80)
        self.go = QPushButton("Pause")
        self.cancel = QPushButton("Cancel")
        self.cancel.setToolTip("End the sweep; every run keeps a checkpoint, and Resume or --resume goes on")
        self.export = QPushButton("Export…")
        self.export.setToolTip("Write this figure with its data, caption, a recipe, and a script that trains it again")
        self.new = QPushButton("New sweep")
        self.new.setToolTip("Plan another sweep; this one stays in its folder")
        self.controls = ControlRow()
        self.controls.add(self.name_, stretch=1)
        self.controls.add(self.bar)
        self.controls.add(self.go, self.cancel)
        self.controls.add(self.export)
        self.controls.add(self.new)
        self.words = FoldingLabel(folds=False)

    def _connect(self) -> None:
        controller, form = self.main.controller, self.main.form
        for signal in (form.pending_changed, form.live_edited, controller.run_changed, controller.config_changed):
            signal.connect(self._take_parameters)
        controller.playing_changed.connect(self._take_playing)
        self.planner.wanted.connect(self.desk.ask)
        self.planner.started.connect(self._start)
        self.planner.open_asked.connect(self._ask_sweep)
        self.desk.planned.connect(self.planner.show_plan)
        self.desk.answered.connect(self._answered)
        self.page.options_changed.connect(self.ask)
        self.page.runs_chosen.connect(self._choose)
        self._soon.timeout.connect(self.ask)
        self.training.progressed.connect(self._show_activity)
        self.training.changed.connect(self._show_activity)
        self.training.ended.connect(self._ended)
        self.training.failed.connect(self._failed)
        self.go.clicked.connect(self._go)
        self.cancel.clicked.connect(lambda: self.training.stop("cancelling"))
        self.export.clicked.connect(self._ask_out)
        self.new.clicked.connect(self.plan_new)
        self.exporting.succeeded.connect(lambda: self._exported_well())
        self.exporting.failed.connect(self._export_failed)
        self.main.leaving.others.append(self.under_way)

    # -- planning ------------------------------------------------------------------------------------------------

    @Slot()
    def _take_parameters(self) -> None:
        if self.main.controller.run is None:
            return
        try:
            self.planner.take(self.main.form.next_config(), self.main.label)
        except ConfigError as error:
            self.planner.words.setText(str(error))

    def sweep_knob(self, path: str) -> None:
        """Plan a sweep over the knob at ``path``, too."""
        if self.training.busy:
            self.main.banner.notice("A sweep is under way here. Pause or cancel it before another is planned.")
            return
        self.plan_new()
        if not self.planner.sweep_knob(path):
            self.main.banner.notice(f"{path} cannot be swept.")

    @Slot()
    def plan_new(self) -> None:
        """Show the page to plan on; the sweep that was shown is forgotten here, and stays on disk."""
        if not self.training.busy:
            self._turn_to(None)

    @Slot(object, object)
    def _start(self, answer: PlanAnswer, folder: Path) -> None:
        assert answer.sweep is not None
        try:
            folder = prepare(folder, answer.sweep)
        except ExplorerError as error:
            self.main.banner.error(" ".join(str(error).split()).removeprefix("--out: "))
            return
        self.planner.begun()
        self._turn_to(folder)
        self.training.go_on(folder, answer.jobs)

    # -- the sweep -----------------------------------------------------------------------------------------------

    @Slot()
    def _ask_sweep(self) -> None:
        chosen = QFileDialog.getExistingDirectory(self, "Open the folder of a sweep", str(self.main.controller.runs))
        if chosen:
            self.open_sweep(Path(chosen))

    def open_sweep(self, folder: Path) -> None:
        """Show the sweep in ``folder``; nothing is trained until Resume."""
        folder = absolute(folder)
        if not is_sweep(folder):
            self.main.banner.error(f"{folder} holds no sweep; allowed: a folder with a sweep.json")
        elif self.training.busy and folder != self.training.folder:
            self.main.banner.error("A sweep is under way here. Pause or cancel it before another is shown.")
        elif folder != self.folder:
            self._turn_to(folder)

    def _turn_to(self, folder: Path | None) -> None:
        """Show another sweep, or none; nothing of the one before stays."""
        self.folder, self.found, self._answer, self._why, self._turned = folder, None, None, "", False
        self._serial += 1
        self._soon.stop()
        self.page.forget()
        self.name_.setText("" if folder is None else folder.name)
        self.name_.setToolTip("" if folder is None else str(folder))
        self.stack.setCurrentIndex(int(folder is not None))
        self._show_activity()
        self.ask()

    @Slot()
    def ask(self) -> None:
        """Read the sweep that is shown, without waiting for it."""
        self._soon.stop()
        if self.folder is not None:
            self._serial += 1
            self.desk.ask(ReadRequest(self._serial, self.folder, self.page.given()))

    @Slot(object)
    def _answered(self, answer: ReadAnswer) -> None:
        if answer.request.serial != self._serial or self.folder is None:
            return
        if answer.found is not None and not self._turned:
            self._turned = True
            self.page.turn_to(answer.found.sweep)
        self.found, self._answer = answer.found, answer
        if self.isVisible():
            self._draw()
        self._show_activity()
        if self.training.busy or (answer.found is not None and "training" in answer.found.counts()):
            self._soon.start(round(max(READ_MS, 1000 * answer.cost / SHARE)))

    def _draw(self) -> None:
        if self._answer is not None:
            self.page.show_answer(self._answer)
            self._answer = None

    @Slot()
    def _show_activity(self) -> None:
        """What is under way, in words; what can be done."""
        busy, activity, found = self.training.busy, self.training.activity, self.found
        left = found is not None and any(row.state not in ("finished", "diverged") for row in found.rows)
        stopping = activity in STOPPING
        self.go.setText("Pause" if busy else "Resume")
        self.go.setToolTip(
            "Let the runs under way stop at a checkpoint, and begin no other" if busy else
            "Go on: interrupted runs from their checkpoints, failed ones anew"
        )  # fmt: skip
        self.go.setEnabled(not stopping if busy else left)
        self.cancel.setEnabled(busy and activity != "cancelling")
        self.new.setEnabled(not busy)
        self.export.setEnabled(found is not None and not self.exporting.busy)
        self.bar.setVisible(busy)
        self.bar.setValue(round(self.training.share * SCALE))
        if busy:
            self.words.setText(STOPPING.get(activity, self.training.text or BEGINNING))
        elif found is not None:
            self.words.setText(standing_words(found, self._why))
        else:
            self.words.setText("")
        self._show_note()

    @Slot()
    def _go(self) -> None:
        if self.training.busy:
            self.training.stop("pausing")
        elif self.folder is not None:
            self._why = ""
            self.training.go_on(self.folder, self.planner.jobs.value() or None)
            self.ask()

    @Slot(str)
    def _ended(self, why: str) -> None:
        self._why = why
        self.ask()
        self._show_activity()

    @Slot(str, str)
    def _failed(self, text: str, details: str) -> None:
        self._why = "stopped"
        self.main.banner.error(f"Sweep: {text}", details)
        self.ask()
        self._show_activity()

    # -- its runs ------------------------------------------------------------------------------------------------

    @Slot(object)
    def _choose(self, rows: Sequence[SweepRow]) -> None:
        if len(rows) == 1:
            self.open_row(rows[0])
        elif rows:
            self._menu = QMenu(self)
            for row in rows:
                self._menu.addAction(named_run(row), partial(self.open_row, row))
            self._menu.popup(QCursor.pos())

    def open_row(self, row: SweepRow) -> None:
        """Open a run that has ended; watch one that has not, so that the sweep can go on with it."""
        if not is_run(row.folder):
            why = row.reason or "it has not begun yet"
            self.main.banner.notice(f"{row.name}: {row.state}: {why}")
        elif row.state in ("finished", "diverged"):
            self.main.open_run(row.folder)
        else:
            part = self.main.parts["watching"]
            assert isinstance(part, Watching)
            part.watch(row.folder)

    # -- the window's own training -------------------------------------------------------------------------------

    @Slot(bool)
    def _take_playing(self, playing: bool) -> None:
        self._playing = playing
        self._show_note()

    def _show_note(self) -> None:
        """Training here is slower while runs share the cores: the status bar says so."""
        running = 0 if self.found is None else self.found.counts().get("training", 0)
        who = (
            f"{running} run{'s' * (running != 1)} of a sweep share{'s' * (running == 1)}"
            if running
            else "a sweep shares"
        )
        self.note.setText(f"training here is slower: {who} the cores")
        self.note.setVisible(self.training.busy and self._playing)

    def under_way(self) -> str:
        """What closing the window would end, in words; empty if that is nothing."""
        if not self.training.busy or self.folder is None:
            return ""
        return f"the sweep {self.folder.name} ({self.training.share:.0%}); it can be resumed"

    # -- export --------------------------------------------------------------------------------------------------

    def arguments(self, out: Path, formats: Sequence[str] = ()) -> list[str]:
        """The command line that draws what is shown into ``out``, after the Python interpreter."""
        line = ["-m", "engine", "export", str(self.folder), "--view", "sweep"]
        for name, value in self.page.given().items():
            line += ["--option", f"{name}={value}"]
        for name in formats:
            line += ["--format", name]
        return [*line, "--out", str(out)]

    @Slot()
    def _ask_out(self) -> None:
        chosen = QFileDialog.getExistingDirectory(self, "Export the sweep's figure to", str(self.main.controller.runs))
        if chosen:
            self.export_to(Path(chosen))

    def export_to(self, out: Path, formats: Sequence[str] = ()) -> None:
        """Draw what is shown into ``out``, in another process; all formats if none."""
        self._exported = out
        self.exporting.start(self.arguments(out, formats))
        self._show_activity()

    def _exported_well(self) -> None:
        self.main.banner.notice(f"Exported to {self._exported}")
        self._show_activity()

    @Slot(str, str)
    def _export_failed(self, text: str, details: str) -> None:
        self.main.banner.error(f"Export: {text}", details)
        self._show_activity()

    # -- the window ----------------------------------------------------------------------------------------------

    def set_theme(self, theme: Theme) -> None:
        """Recolour figure and texts."""
        self.planner.set_theme(theme)
        self.page.set_theme(theme)
        tint(self.words, theme.text)
        tint(self.note, theme.muted)

    def showEvent(self, event: QShowEvent) -> None:
        """Catch up with what happened while it was hidden."""
        super().showEvent(event)
        self._draw()
        self.ask()

    def close_down(self) -> None:
        """Let the runs save a checkpoint each; end the reading."""
        self._soon.stop()
        self.training.close()
        self.exporting.close()
        self.desk.close()


def sweep_of(folder: Path) -> Path | None:
    """The folder of the sweep that the run in ``folder`` is of; None if it is of none."""
    above = folder.parent.parent
    return above if folder.parent.name == RUNS and is_sweep(above) else None
