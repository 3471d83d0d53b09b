"""The window's side of the bridge: sends commands down, pulls snapshots up, renders what is visible, keeps time."""

from __future__ import annotations

import os
import time
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from PySide6.QtCore import QObject, Qt, QThread, QTimer, Signal, Slot

from engine.config.experiment import Config
from engine.config.knobs import Objective
from engine.core.errors import DivergedError, ExplorerError
from engine.core.folders import runs_root
from engine.run.branch import new_folder, new_name
from engine.run.commands import Command, EvaluateNow, SaveCheckpoint, SetKnob, SwitchPhase
from engine.run.snapshot import Problem, Snapshot, StoredStep
from fp_gui.bridge.mailbox import Mailbox
from fp_gui.bridge.requests import Answer, BranchRun, NewRun, OpenRun, Request, RunInfo, SessionFactory, WatchRun
from fp_gui.bridge.worker import Worker
from fp_gui.runs import new_run_folder

FRAME = 0.033  # seconds between two looks into the mailbox, at least
SLOWEST = 1.0  # and at most
POLL = 0.010  # seconds until the next look when one was due and not there yet
LEAD = 0.010  # a snapshot may be built this long before the look that takes it
HEARTBEAT = 0.016
STACK = 16 * 1024 * 1024  # macOS gives threads 512 KB, too little for some BLAS kernels


class Renderer(Protocol):
    """What the controller uses of a :class:`fp_gui.views.base.View`."""

    @property
    def wants(self) -> frozenset[type]:
        """Result types it needs."""

    def render(self, snapshot: Snapshot) -> None:
        """Show ``snapshot``."""

    def isVisible(self) -> bool:
        """Whether it is shown at all."""


@dataclass(frozen=True, slots=True)
class Stats:
    """How the run and the window are doing: training speed, the share of time the window spends on display, and the
    99th percentile of the heartbeat's lateness."""

    steps_per_second: float
    display_share: float
    lateness_ms: float


def cores() -> int:
    """CPU cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Controller(QObject):
    """Owns the training thread. Every method returns at once; what comes of it arrives as a signal."""

    snapshot_rendered = Signal(object)  # Snapshot
    error = Signal(str, str)  # text, details
    notice = Signal(str)
    playing_changed = Signal(bool)
    run_changed = Signal(object)  # RunInfo
    config_changed = Signal(object)  # Config, once every command sent so far was answered
    opening = Signal(object)  # Request
    stored_changed = Signal(object)  # tuple of StoredStep: the steps of the run that can be looked at
    diverged = Signal(object)  # DivergedError
    refused = Signal(object, object)  # Request for a stored run, and the ExplorerError: why it cannot be

    _open = Signal(object)
    _play = Signal()
    _pause = Signal()
    _step = Signal()
    _apply = Signal(int, object)
    _want = Signal(str, object)
    _look = Signal(str, object)
    _stop = Signal()

    def __init__(
        self,
        factory: SessionFactory,
        runs: Path | None = None,
        *,
        share: float | None = None,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self.runs = runs or runs_root()
        self.share = share if share is not None else (0.07 if cores() <= 2 else 0.20)
        self.playing = False
        self.run: RunInfo | None = None
        self.config: Config | None = None
        self.last: Snapshot | None = None
        self._switching: Objective | None = None  # asked for, and not seen in a snapshot yet
        self.lateness: deque[float] = deque(maxlen=2048)  # milliseconds, newest last
        self._views: Sequence[Renderer] = ()
        self._visible: list[Renderer] = []
        self._left: list[Renderer] = []  # of them, those that the newest snapshot is not drawn in yet
        self._stored: tuple[StoredStep, ...] = ()  # of the snapshot before
        self._wanted: frozenset[type] | None = None  # None: to be sent
        self._broken: set[tuple[int, str]] = set()
        self._problems: set[Problem] = set()  # of the run's measurements, those that were said
        self._serial = 0
        self._asked: dict[int, Callable[[Answer], None]] = {}  # who waits for the answer to which command
        self._closed = False
        self._interval = FRAME
        self._cost = 0.0
        self._cpu = time.thread_time()
        self._frames: deque[tuple[float, int, float]] = deque(maxlen=128)  # wall time, step, GUI CPU time

        self.mailbox = Mailbox()
        self._worker = Worker(factory, self.mailbox)
        self._worker.set_home(QThread.currentThread())
        self._thread = QThread()
        self._thread.setObjectName("training")
        self._thread.setStackSize(STACK)
        self._worker.moveToThread(self._thread)
        self._wire()
        self._tick_timer = self._timer(self._tick, precise=True, single=True)
        self._draw_timer = self._timer(self._draw_next, precise=True, single=True)
        self._beat_timer = self._timer(self._beat, precise=True, single=False)
        self._last_beat = time.perf_counter()
        self._tick_timer.start(int(FRAME * 1000))
        self._beat_timer.start(int(HEARTBEAT * 1000))

    def _wire(self) -> None:
        worker, queued = self._worker, Qt.ConnectionType.QueuedConnection
        self._open.connect(worker.open, queued)
        self._play.connect(worker.play, queued)
        self._pause.connect(worker.pause, queued)
        self._step.connect(worker.step_once, queued)
        self._apply.connect(worker.apply, queued)
        self._want.connect(worker.set_wanted, queued)
        self._look.connect(worker.look, queued)
        self._stop.connect(worker.shutdown, queued)
        worker.opened.connect(self._on_opened, queued)
        worker.playing_changed.connect(self._on_playing, queued)
        worker.applied.connect(self._on_applied, queued)
        worker.failed.connect(self._on_failed, queued)
        worker.diverged.connect(self._on_diverged, queued)
        worker.schedule_done.connect(self._on_schedule_done, queued)
        worker.refused.connect(self._on_refused, queued)

    def _timer(self, slot: object, *, precise: bool, single: bool) -> QTimer:
        timer = QTimer(self)
        timer.setTimerType(Qt.TimerType.PreciseTimer if precise else Qt.TimerType.CoarseTimer)
        timer.setSingleShot(single)
        timer.timeout.connect(slot)
        return timer

    # -- what can be asked ---------------------------------------------------------------------------------------

    def set_views(self, views: Sequence[Renderer]) -> None:
        """The views to render, those of the present kind of run; only those visible at the time are."""
        self._views = views

    def play(self) -> None:
        """Train until paused or until the schedule is done."""
        self._send(self._play)

    def pause(self) -> None:
        """Stop after the present step."""
        self._send(self._pause)

    def step_once(self) -> None:
        """Pause and take one step."""
        self._send(self._step)

    def switch_phase(self, objective: Objective) -> None:
        """Train with another objective from the next step on."""
        self._switching = objective
        self.send(SwitchPhase(objective))

    @property
    def phase(self) -> Objective | None:
        """The objective that holds once everything asked for is done, whatever the picture says; None for no run."""
        return self._switching or (None if self.last is None else self.last.newest_phase)

    def set_knob(self, path: str, value: object) -> None:
        """Give a live knob a new value between two steps."""
        self.send(SetKnob(path, value))

    def evaluate_now(self) -> None:
        """Measure the present weights' accuracies out of turn."""
        self.send(EvaluateNow())

    def save_checkpoint(self, then: Callable[[Answer], None]) -> None:
        """Write a checkpoint; ``then`` is called once, with its folder and step or with what went wrong."""
        self.send(SaveCheckpoint(), then)

    def send(self, command: Command, then: Callable[[Answer], None] | None = None) -> None:
        """Apply any command between two steps; ``then`` is called with what came of it, whatever run is open then."""
        self._serial += 1
        if then is not None:
            self._asked[self._serial] = then
        self._send(self._apply, self._serial, command)

    def reset(self, config: Config, label: str = "") -> None:
        """Start a new run of ``config`` in a new folder, paused."""
        name = label or (self.run.label if self.run is not None and not self.run.resumed else "run")
        self.ask(NewRun(config, new_run_folder(self.runs, name), name))

    def load(self, folder: Path, device: str | None = None, data: Path | None = None) -> None:
        """Go on with the run in ``folder``, paused; with a copy of it, if it may only be read.

        ``data`` is where its images are now, if they were moved.
        """
        self.ask(OpenRun(folder, device, data, new_run_folder(self.runs, folder.name)))

    def watch(self, folder: Path, device: str | None = None, data: Path | None = None) -> None:
        """Follow the run in ``folder`` while another process writes it; it is only read: nothing trains or changes it.

        ``data`` is where its images are, if they were moved.
        """
        self.ask(WatchRun(folder, device, data))

    def look(self, step: int | None) -> None:
        """Show the stored step at or before ``step`` (the first, if there is none), whatever the run does meanwhile.

        None shows the present again. Of several asked for in a row the last one counts.
        """
        if self.run is not None:
            self._send(self._look, self.run.run, step)

    @property
    def stored_steps(self) -> tuple[StoredStep, ...]:
        """The steps of the run that can be looked at, ascending."""
        return () if self.last is None else self.last.stored

    def branch(self, parent: Path, step: int, settings: Sequence[tuple[str, str]] = ()) -> None:
        """Go on from the checkpoint at ``step`` of the run in ``parent`` as a new run, paused; that run stays as it is.

        ``settings`` are live knobs with their values as text.
        """
        self.ask(BranchRun(new_folder(self.runs, new_name(parent, step)), parent, step, tuple(settings)))

    def close(self) -> None:
        """Stop the training thread and wait for it. Idempotent; safe at any time."""
        if self._closed:
            return
        self._closed = True
        for timer in (self._tick_timer, self._draw_timer, self._beat_timer):
            timer.stop()
        self._worker.stopping.set()
        if self._thread.isRunning():
            self._stop.emit()
            self._thread.wait()

    def stats(self) -> Stats:
        """Speed over the last two seconds or so; zero while paused."""
        late = sorted(self.lateness)
        p99 = late[min(len(late) - 1, int(0.99 * len(late)))] if late else 0.0
        now = time.perf_counter()
        frames = [f for f in self._frames if f[0] > now - 2.5]
        frames = frames if len(frames) > 1 else list(self._frames)[-2:]
        if len(frames) < 2 or frames[-1][0] == frames[0][0] or not self.playing:
            return Stats(0.0, 0.0, p99)
        (t0, s0, c0), (t1, s1, c1) = frames[0], frames[-1]
        return Stats((s1 - s0) / (t1 - t0), (c1 - c0) / (t1 - t0), p99)

    # -- plumbing ------------------------------------------------------------------------------------------------

    def _send(self, signal: object, *args: object) -> None:
        if self._closed:
            return
        if not self._thread.isRunning():
            self._thread.start()  # only now: a window that fails to open leaves no thread behind
        self._worker.posted += 1  # makes the worker leave its loop after the present step
        signal.emit(*args)  # type: ignore[attr-defined]

    def ask(self, request: Request) -> None:
        """Open another run, as by :meth:`reset`, :meth:`load`, :meth:`watch` or :meth:`branch`."""
        self.run = None  # snapshots of the old run are stale from here on
        self.last = self._switching = None
        self._frames.clear()
        self._broken.clear()
        self._problems.clear()
        self.opening.emit(request)
        self._send(self._open, request)

    @Slot(object)
    def _on_opened(self, info: RunInfo) -> None:
        if self._closed:
            return
        self._wanted = None  # the worker may have dropped it
        self.run = info
        self.config = info.config
        self._cost, self._cpu = 0.0, time.thread_time()  # what opening cost the window says nothing of drawing
        self.run_changed.emit(info)
        self._tick_timer.start(0)

    @Slot(bool)
    def _on_playing(self, playing: bool) -> None:
        if self._closed:
            return
        self.playing = playing
        self._frames.clear()
        self.playing_changed.emit(playing)
        if not playing:
            self._tick_timer.start(0)  # show where it stopped without waiting for a slow display's turn

    @Slot(object)
    def _on_applied(self, answer: Answer) -> None:
        if self._closed:
            return
        if answer.error:
            self._switching = None
            self.error.emit(answer.error, answer.details)
        if answer.serial in self._asked:
            self._asked.pop(answer.serial)(answer)
        present = self.run is not None and self.run.folder == answer.folder
        if present and answer.config is not None and answer.serial == self._serial:
            self.config = answer.config
            self.config_changed.emit(answer.config)

    @Slot(str, str)
    def _on_failed(self, text: str, details: str) -> None:
        if not self._closed:
            self.error.emit(text, details)

    @Slot(object)
    def _on_diverged(self, error: DivergedError) -> None:
        if not self._closed:
            self.diverged.emit(error)

    @Slot(object, object)
    def _on_refused(self, request: Request, error: ExplorerError) -> None:
        if not self._closed:
            self.refused.emit(request, error)

    @Slot(int)
    def _on_schedule_done(self, step: int) -> None:
        if not self._closed:
            self.notice.emit(f"Schedule done after {step} steps: press Play to go on training.")

    @Slot()
    def _beat(self) -> None:
        now = time.perf_counter()
        self.lateness.append(max(0.0, now - self._last_beat - HEARTBEAT) * 1000)
        self._last_beat = now

    @Slot()
    def _tick(self) -> None:
        if self._closed:
            return
        self._update_wanted()
        snapshot = self.mailbox.take(SLOWEST) if self.run is not None else None
        if snapshot is None or self.run is None or snapshot.run != self.run.run:
            self._tick_timer.start(int((POLL if self.playing else FRAME) * 1000))
            return
        # The thread's CPU time since the last picture holds that picture's rendering and the painting that followed.
        cpu = time.thread_time()
        spent, self._cpu = cpu - self._cpu, cpu
        if len(self._frames) > 1:  # the first pictures also pay for what was drawn before them
            self._cost = max(spent, 0.7 * self._cost + 0.3 * spent)
        self._interval = min(SLOWEST, max(FRAME, self._cost / self.share)) if self.playing else FRAME
        self.mailbox.rest(self._interval - LEAD)
        self._frames.append((time.perf_counter(), snapshot.newest, cpu))
        self._show(snapshot)

    def _update_wanted(self) -> None:
        visible = [v for v in self._views if _visible(v)]
        new = [v for v in visible if v not in self._visible]
        self._visible = visible
        wanted = frozenset[type]().union(*(v.wants for v in visible))
        if self.last is not None:
            for view in new:
                self._render(view, self.last)
        if wanted != self._wanted and self.run is not None:  # while a run opens nobody knows what it can give
            self._wanted = wanted
            self._send(self._want, self.run.run, wanted)

    def _show(self, snapshot: Snapshot) -> None:
        self._stored, self.last = self.stored_steps, snapshot
        if snapshot.newest_phase == self._switching:
            self._switching = None
        self._left = list(self._visible)
        self._draw_next()

    @Slot()
    def _draw_next(self) -> None:
        """Draw what is left of the newest snapshot: a view a turn while training, so that the window answers between.

        What is left ends when another run is asked for, and for a view when it is hidden.
        """
        self._draw_timer.stop()
        snapshot = self.last
        while snapshot is not None and self._left and not self._closed:
            view = self._left.pop(0)
            if view in self._visible:
                self._render(view, snapshot)
            if self._left and self.playing:
                self._draw_timer.start(0)
                return
        if snapshot is not None and not self._closed:
            self._tell(snapshot)
        if not self._closed:
            self._tick_timer.start(int(self._interval * 1000))

    def _tell(self, snapshot: Snapshot) -> None:
        """Say that it has been drawn, and what is new in it."""
        if self.run is not None and self.run.watched and not snapshot.looking and snapshot.config != self.config:
            self.config = snapshot.config  # changed by who trains it
            self.config_changed.emit(snapshot.config)
        self.snapshot_rendered.emit(snapshot)
        if snapshot.stored != self._stored:
            self.stored_changed.emit(snapshot.stored)
        for problem in snapshot.problems:
            if problem not in self._problems:
                self._problems.add(problem)
                text = f"A measurement failed at step {problem.step}, {problem.measurement}: {problem.text}."
                self.error.emit(f"{text} The run goes on.", problem.details)

    def _render(self, view: Renderer, snapshot: Snapshot) -> None:
        try:
            view.render(snapshot)
        except Exception as error:
            key = (id(view), repr(error))
            if key not in self._broken:  # say it once, not thirty times a second
                self._broken.add(key)
                self.error.emit(f"A view could not be drawn: {type(error).__name__}: {error}", traceback.format_exc())


def _visible(view: Renderer) -> bool:
    """Whether anything of the view can be seen: it is no tab in the background and its window is not minimised."""
    if not view.isVisible():
        return False
    region, window = getattr(view, "visibleRegion", None), getattr(view, "window", None)
    if region is not None and region().isEmpty():
        return False
    return window is None or not window().isMinimized()
