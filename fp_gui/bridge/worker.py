"""The training thread's side of the bridge: owns the session, steps it, applies commands between two steps."""

from __future__ import annotations

import shutil
import threading
import time
import traceback
from contextlib import suppress
from pathlib import Path
from typing import cast

from PySide6.QtCore import QObject, QThread, QTimer, Signal, Slot

from engine.core.errors import DivergedError, ExplorerError
from engine.core.notices import heard_by
from engine.core.plugins import brief
from engine.run.commands import Command, SaveCheckpoint
from engine.run.scheduler import Pace
from engine.run.snapshot import Snapshot, StoredStep
from fp_gui.bridge.looking import Looking
from fp_gui.bridge.mailbox import Mailbox
from fp_gui.bridge.requests import (
    Answer,
    BranchRun,
    NewRun,
    OpenRun,
    PastLike,
    Request,
    RunInfo,
    SessionFactory,
    SessionLike,
    WatchRun,
    name_of,
)

SETTLE = 200  # milliseconds from when nothing goes on to a look at what has reached the disk meanwhile
REFRESH = 500  # milliseconds between two looks at a run that another process writes
WATCHED = "This run is only watched; File → Open run trains it."
TICK = 0.008  # seconds of stepping per turn of the event loop; commands end a turn early


class Worker(QObject):
    """Lives in the training thread. All slots are reached by queued signals, so they run between two steps."""

    opened = Signal(object)  # RunInfo
    playing_changed = Signal(bool)
    applied = Signal(object)  # Answer, one for every command
    failed = Signal(str, str)  # text, details
    diverged = Signal(object)  # DivergedError: training has ended, and this can be done
    schedule_done = Signal(int)  # step
    refused = Signal(object, object)  # what was asked of a stored run, and the ExplorerError: why it cannot be

    def __init__(self, factory: SessionFactory, mailbox: Mailbox) -> None:
        super().__init__()
        self._factory = factory
        self._mailbox = mailbox
        self._session: SessionLike | None = None
        self._looking = Looking(factory)
        self._pace = Pace()
        self._watched: PastLike | None = None  # the session, if it is one that is only read
        self._info: RunInfo | None = None
        self._keep = False  # a checkpoint was asked for: keep the folder even without a step
        self._playing = False
        self._wanted: frozenset[type] = frozenset()
        self._kind = ""  # of the newest run that was opened
        self._reported: set[str] = set()  # failures of this run's measurements: each is said once
        self._stuck = False  # measuring failed: not again until something has changed
        self.posted = 0  # requests sent; written by the window's thread only
        self._served = 0  # requests begun; written by the training thread only
        self.stopping = threading.Event()
        self._timer = QTimer(self)
        self._timer.setInterval(0)
        self._timer.timeout.connect(self._tick)
        self._refresh_timer = QTimer(self)
        self._refresh_timer.setInterval(REFRESH)
        self._refresh_timer.timeout.connect(self._refresh)
        self._stored: tuple[StoredStep, ...] = ()  # in the newest snapshot
        self._settle_timer = QTimer(self, singleShot=True, interval=SETTLE)
        self._settle_timer.timeout.connect(self._settle)

    # -- requests ------------------------------------------------------------------------------------------------

    @Slot(object)
    def open(self, request: Request) -> None:
        """Open another run and leave the present one; if that fails the present one stays."""
        self._served += 1
        if self.stopping.is_set():
            return
        self._set_playing(False)
        self._timer.stop()
        left: Path | None = None
        heard: list[str] = []
        try:
            if isinstance(request, OpenRun) and self._watched is None and self._has_open(request.folder):
                left = self._close_session()  # its last steps must be on disk before it is read
            session: SessionLike
            with heard_by(heard.append):
                session = self._make(request)
            watched = cast(PastLike, session) if isinstance(request, WatchRun) else None
        except ExplorerError as error:
            self._go_back()
            self.failed.emit(f"{error}. " + self._what_stays(), "")
            if not isinstance(request, NewRun):
                self.refused.emit(request, error)
            return
        except Exception as error:
            self._go_back()
            self.failed.emit(
                f"The run could not be opened: {brief(error)}. " + self._what_stays(), traceback.format_exc()
            )
            return
        if session.config.kind != self._kind:
            self._kind = session.config.kind
            self._wanted = frozenset()  # the views of another kind of run want what this one does not have
        warnings = tuple(dict.fromkeys((*session.damaged, *heard)))
        steps_left = self._session.steps_done if self._session is not None else 0
        left = self._close_session() or left
        self._session, self._watched = session, watched
        resumed = not isinstance(request, NewRun)
        original = None
        if isinstance(request, OpenRun) and Path(session.folder) == request.copy:
            original = request.folder
        self._keep, self._stuck = resumed and original is None, False
        self._reported.clear()
        self._mailbox.clear()
        self._info = RunInfo(
            session.run, Path(session.folder), session.config, name_of(request), session.steps_done, resumed,
            left if left != Path(session.folder) else None, steps_left, warnings, original, session.data_words,
            watched is not None,
        )  # fmt: skip
        self.opened.emit(self._info)
        self._publish()
        self._run_timer()
        if watched is not None:
            self._refresh_timer.start()

    @Slot()
    def play(self) -> None:
        """Train until paused."""
        self._served += 1
        if self._session is None or self._refused():
            self.playing_changed.emit(False)
            return
        self._set_playing(True)
        self._run_timer()

    @Slot()
    def pause(self) -> None:
        """Stop training after the present step; pending measurements go on until they are done."""
        self._served += 1
        self._set_playing(False)
        self._publish()
        self._run_timer()

    @Slot()
    def step_once(self) -> None:
        """Pause and take one step."""
        self._served += 1
        self._set_playing(False)
        if self._session is not None and not self._refused():
            self._guarded_step(self._session)
            self._publish()
            self._run_timer()

    @Slot(int, object)
    def apply(self, serial: int, command: Command) -> None:
        """Apply ``command`` and answer with :attr:`applied`; a refused one leaves the run as it was."""
        self._served += 1
        session, error, details = self._session, "", ""
        if session is None:
            self.applied.emit(Answer(serial, command, error="No run is open; press Reset to start one."))
            return
        self._stuck = False
        try:
            session.apply(command)
            self._keep = self._keep or isinstance(command, SaveCheckpoint)
        except ExplorerError as refused:
            error = str(refused)
        except Exception as broken:
            error, details = f"The command failed: {brief(broken)}", traceback.format_exc()
        folder, step = Path(session.folder), session.steps_done
        if self._watched is not None:  # what others read of the run is a checkpoint, this may be a frame
            step = max((each.step for each in session.snapshot().stored if each.checkpoint), default=step)
        self.applied.emit(Answer(serial, command, session.config, folder, step, error, details))
        if not self._playing:
            self._publish()
            self._run_timer()

    def _refused(self) -> bool:
        """Whether training is out of the question, which is said then."""
        if self._watched is not None:
            self.failed.emit(WATCHED, "")
        return self._watched is not None

    @Slot(str, object)
    def look(self, run: str, step: int | None) -> None:
        """Show the stored step of ``run`` at or before ``step``, whatever goes on; None: the present."""
        self._served += 1
        session = self._session
        if session is None or session.run != run:
            return
        self._stuck = False
        try:
            if self._watched is not None:
                self._watched.go(step)
            else:
                self._looking.go(session, step)
        except ExplorerError as error:
            self.failed.emit(f"{error}.", "")
        except Exception as error:
            self.failed.emit(f"Step {step} cannot be looked at: {brief(error)}.", traceback.format_exc())
        self._mailbox.clear()
        self._publish()
        self._run_timer()

    @Slot()
    def _refresh(self) -> None:
        watched = self._watched
        if watched is None or self.stopping.is_set():
            self._refresh_timer.stop()
            return
        try:
            changed = watched.refresh()
        except Exception as error:
            self._refresh_timer.stop()
            details = "" if isinstance(error, ExplorerError) else traceback.format_exc()
            self.failed.emit(f"The run cannot be followed any more: {error}.", details)
            return
        if changed:
            self._stuck = False
            self._publish()
            self._run_timer()

    @Slot(str, object)
    def set_wanted(self, run: str, wanted: frozenset[type]) -> None:
        """Put only results of these types into snapshots of ``run``; a run that has been left wants nothing more."""
        self._served += 1
        if self._session is None or self._session.run != run or wanted == self._wanted:
            return
        self._wanted, self._stuck = wanted, False
        self._pace.now()
        if not self._playing:
            self._publish()
            self._run_timer()  # what a view that just appeared asks for may have to be measured first

    @Slot()
    def shutdown(self) -> None:
        """Close the session and end the thread. Nothing is served afterwards."""
        self.stopping.set()
        for timer in (self._timer, self._refresh_timer, self._settle_timer):
            timer.stop()
        self._playing = False
        self._close_session()
        thread = self.thread()
        home = self._home
        if home is not None:
            self.moveToThread(home)  # the window's thread deletes it, when nothing can run in it any more
        thread.quit()

    _home: QThread | None = None

    def set_home(self, home: QThread) -> None:
        """The thread to return to at the end; called before the training thread starts."""
        self._home = home

    # -- training ------------------------------------------------------------------------------------------------

    @Slot()
    def _tick(self) -> None:
        session = self._session
        if session is None or self.stopping.is_set():
            self._timer.stop()
            return
        until = time.perf_counter() + TICK
        while self._guarded_step(session) if self._playing else self._guarded_measure(session):
            if self._mailbox.wanted() and (self._pace.due() or not self._playing):
                self._publish()
            if self.posted != self._served or self.stopping.is_set() or time.perf_counter() >= until:
                return
        self._publish()  # first: asking for what is shown is what keeps its measuring alive
        self._run_timer()

    def _guarded_step(self, session: SessionLike) -> bool:
        """One step; False when training must not go on by itself."""
        before, self._stuck = session.finished, False
        try:
            session.step()
            self._looking.measure_beside_training()
        except Exception as error:
            self._end_training(error)
            return False
        if session.finished and not before:
            self._set_playing(False)
            self.schedule_done.emit(session.steps_done)
            return False
        return True

    def _guarded_measure(self, session: SessionLike) -> bool:
        """One slice of measuring; False when there is none left, or it failed."""
        try:
            if self._looking.measuring:
                self._looking.measure()
            elif session.measuring:
                session.measure()
            else:
                return False
        except Exception as error:
            self._stuck = True
            self._report(error)
            return False
        return True

    def _publish(self) -> None:
        session = self._session
        if session is None or self.stopping.is_set():
            return
        start = time.perf_counter()
        try:
            self._mailbox.put(snapshot := self._snapshot(session))
            self._stored = snapshot.stored
            self._pace.took(time.perf_counter() - start)
        except Exception as error:
            self._end_training(error)

    def _snapshot(self, session: SessionLike) -> Snapshot:
        """The state now; without results if one of them fails, which is that measurement's fault alone."""
        try:
            return self._looking.snapshot(session, self._wanted)
        except ExplorerError:
            raise  # the run itself: it has diverged, or its folder cannot be written
        except Exception as error:
            self._report(error)
            return session.snapshot(frozenset())

    def _run_timer(self) -> None:
        session = self._session
        if session is None or self.stopping.is_set():
            self._timer.stop()
        elif self._playing or ((session.measuring or self._looking.measuring) and not self._stuck):
            self._timer.start()
        else:
            self._timer.stop()
            self._flush(session)
            self._settle_timer.start()

    @Slot()
    def _settle(self) -> None:
        """The newest frames are written by a thread of their own: tell of those that came too late for a snapshot."""
        if self._session is not None and not self._playing and self._session.stored != self._stored:
            self._publish()

    def _flush(self, session: SessionLike) -> None:
        """Nothing goes on: who reads the run elsewhere is to see where it stands."""
        with suppress(ExplorerError):  # the next step says so
            session.flush()

    def _set_playing(self, playing: bool) -> None:
        if playing != self._playing:
            self._playing = playing
            self.playing_changed.emit(playing)

    # -- opening, closing, failing -------------------------------------------------------------------------------

    def _has_open(self, folder: Path) -> bool:
        """Whether ``folder`` is that of the present run, by whatever path."""
        if self._info is None:
            return False
        with suppress(OSError):
            return folder == self._info.folder or folder.samefile(self._info.folder)
        return False

    def _make(self, request: Request) -> SessionLike:
        if isinstance(request, WatchRun):
            return self._factory.past(request.folder, request.device, request.data)
        if isinstance(request, OpenRun):
            return self._resume(request)
        if isinstance(request, BranchRun):
            return self._factory.branch(
                request.parent, request.step, request.folder, request.settings, data=request.data
            )
        request.folder.parent.mkdir(parents=True, exist_ok=True)
        return self._factory.create(request.config, request.folder)

    def _resume(self, request: OpenRun) -> SessionLike:
        from engine.run.access import copy_run, writable

        if request.copy is None or writable(request.folder):
            return self._factory.resume(request.folder, request.device, request.data)
        copy_run(request.folder, request.copy)
        try:
            return self._factory.resume(request.copy, request.device, request.data)
        except BaseException:
            shutil.rmtree(request.copy, ignore_errors=True)
            raise

    def _go_back(self) -> None:
        """Another run could not be opened: the one before is still the one, in this thread as in the window."""
        if self._session is not None and self._info is not None:
            from engine.core.device import prepare_thread  # imports torch, which is there by now

            prepare_thread(self._session.config.threads)  # the one that failed may have set its own
            self.opened.emit(self._info)
            self._publish()
            self._run_timer()

    def _what_stays(self) -> str:
        return "The present run is kept." if self._session is not None else "No run is open; choose a preset or Reset."

    def _close_session(self) -> Path | None:
        """Close the session; its folder if it is worth keeping, else None."""
        session, info, self._session, self._info = self._session, self._info, None, None
        watched, self._watched = self._watched, None
        self._looking.end()
        self._refresh_timer.stop()
        if session is None:
            return None
        steps = session.steps_done
        try:
            session.close()
        except Exception as error:
            self.failed.emit(f"The run could not be closed cleanly: {brief(error)}", traceback.format_exc())
        if watched is not None:
            return None
        if info is not None and steps == info.steps and not self._keep:  # a new run without a step, or an unused copy
            shutil.rmtree(info.folder, ignore_errors=True)
            return None
        return Path(session.folder)

    def _report(self, error: Exception) -> None:
        """Say, once, that a measurement failed; training goes on."""
        text = f"A measurement failed: {brief(error)}. The run goes on."
        if text not in self._reported:
            self._reported.add(text)
            self.failed.emit(text, "".join(traceback.format_exception(error)))

    def _end_training(self, error: Exception) -> None:
        """The run cannot go on: stop and say so; it stays open, to be looked at and exported."""
        self._timer.stop()
        self._set_playing(False)
        if isinstance(error, DivergedError):
            self.diverged.emit(error)
            return
        if isinstance(error, ExplorerError):  # foreseen, such as a full disk: its text says it all
            self.failed.emit(f"{error}. Reset starts a new run.", "")
            return
        steps = self._session.steps_done if self._session is not None else 0
        details = "".join(traceback.format_exception(error))
        stays = f"The run stays open at step {steps}; Reset starts a new one."
        self.failed.emit(f"Training stopped: {brief(error)}. {stays}", details)
