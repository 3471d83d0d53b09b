"""A sweep under way: hands its runs to an executor, keeps its folder's record, and says how it gets on. No torch.

One thread creates it and calls :meth:`SweepRunner.turn` until that is false, or :meth:`SweepRunner.run`; any thread may
call :meth:`~SweepRunner.pause`, :meth:`~SweepRunner.go_on` and :meth:`~SweepRunner.cancel`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from engine.core.errors import StoreError
from engine.core.files import absolute, refusal
from engine.core.lock import FolderLock
from engine.sweeps.executor import After, Executor, JobBegun, JobEnded, JobEvent, JobTold, training_job
from engine.sweeps.record import Ending, EndsFile, PlannedRun, Sweep, is_sweep, read_sweep, run_folder, write_sweep
from engine.sweeps.results import State, SweepResults, index_of, results, write_results

WRITE_EVERY = 5.0  # seconds between two writings of results.csv, at least
WRITE_SHARE = 20  # times as long as one takes is between two
DONE: tuple[State, ...] = ("finished", "diverged")  # what is not begun again
TRIES = 2  # times that a run is begun whose process is lost
Activity = Literal["running", "pausing", "paused", "cancelling", "ended"]


@dataclass(frozen=True, slots=True)
class UnderWay:
    """A run that is being worked on: the share done, and what is being done."""

    share: float = 0.0
    text: str = ""


@dataclass(frozen=True, slots=True)
class SweepProgress:
    """How a sweep gets on: how many runs are in which state, those under way by name, and the seconds to go, estimated.

    ``ended`` are the runs that have ended since the last word, with state and reason.
    """

    activity: Activity
    counts: Mapping[State, int]
    running: Mapping[str, UnderWay]
    eta: float | None
    ended: tuple[tuple[str, State, str], ...] = ()

    @property
    def total(self) -> int:
        """All runs of the sweep."""
        return sum(self.counts.values())

    @property
    def failed(self) -> int:
        """Those that an error ended, or that diverged."""
        return self.counts.get("failed", 0) + self.counts.get("diverged", 0)


Listener = Callable[[SweepProgress], object]


class SweepRunner:
    """Trains the runs of a sweep that are not finished. Close it, whatever happens.

    ``after`` follows the training of each run (its verification). ``listener`` hears of progress, in the thread that
    calls :meth:`turn`.
    """

    def __init__(
        self, folder: Path, sweep: Sweep, executor: Executor, after: After | None, listener: Listener, lock: FolderLock
    ) -> None:
        self.folder, self.sweep = folder, sweep
        self._executor, self._after, self._listener, self._lock = executor, after, listener, lock
        self._index = index_of(folder)
        self._ends = EndsFile(folder)
        self._pausing = self._cancelling = False
        self._closed = False
        self.found: SweepResults = results(folder, self._index)
        self._states: dict[str, State] = {row.name: row.state for row in self.found.rows}
        self._to_do = [run for run in sweep.runs if self._states[run.name] not in DONE]
        for run in self._to_do:
            self._states[run.name] = "waiting"
        self._plans = {run.name: run for run in self._to_do}
        self._weights = {run.name: float(max(1, sweep.config_of(run).schedule.total)) for run in self._to_do}
        self._submitted: set[str] = set()
        self._stopping: set[str] = set()
        self._tries: dict[str, int] = {}
        self._begun: dict[str, float] = {}
        self._under_way: dict[str, UnderWay] = {}
        self._shares: dict[str, tuple[float, float]] = {}  # the first and the newest share of each run
        self._worked, self._turned = 0.0, time.monotonic()
        self._news: list[tuple[str, State, str]] = []
        self._unwritten = True  # results.csv is to be written
        self._written, self._write_every = 0.0, WRITE_EVERY

    @classmethod
    def create(
        cls, folder: Path, sweep: Sweep, executor: Executor, *, after: After | None = None,
        listener: Listener = lambda progress: None,
    ) -> SweepRunner:  # fmt: skip
        """Begin ``sweep`` in ``folder``, which does not exist or is empty. Raises :class:`StoreError`."""
        folder = absolute(folder)
        check_new(folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise refusal(f"--out: {folder} cannot be made", error) from None
        with _Locked(folder) as lock:
            if is_sweep(folder):
                raise StoreError(f"--out: {folder} holds a sweep; --resume goes on with it")
            write_sweep(folder, sweep)
            return cls(folder, sweep, executor, after, listener, lock)

    @classmethod
    def resume(
        cls, folder: Path, sweep: Sweep, executor: Executor, *, after: After | None = None,
        listener: Listener = lambda progress: None,
    ) -> SweepRunner:  # fmt: skip
        """Go on with the sweep in ``folder``, which is now ``sweep`` (:func:`engine.sweeps.planning.replan`).

        Finished runs stay as they are, as do those that diverged; interrupted ones go on from their newest checkpoint,
        failed ones are tried again. Raises :class:`StoreError`, :class:`engine.core.errors.InUseError`.
        """
        folder = absolute(folder)
        with _Locked(folder) as lock:
            if read_sweep(folder) != sweep:
                write_sweep(folder, sweep)
            return cls(folder, sweep, executor, after, listener, lock)

    # --- what other threads may call

    def pause(self) -> None:
        """Let the runs under way stop at a checkpoint, and begin no other, until :meth:`go_on`."""
        self._pausing = True

    def go_on(self) -> None:
        """Go on after :meth:`pause`: the runs that were stopped from where they are."""
        self._pausing = False

    def cancel(self) -> None:
        """Let the runs under way stop at a checkpoint and end; :meth:`resume` goes on."""
        self._cancelling = True

    # --- working

    def run(self) -> SweepProgress:
        """Work until all runs have ended, or :meth:`cancel`."""
        while self.turn():
            pass
        return self.progress()

    def turn(self, timeout: float = 0.25) -> bool:
        """Work for at most about ``timeout`` seconds; false when nothing is left to be done."""
        if self._pausing or self._cancelling:
            self._stop_all()
        else:
            self._submit(run for run in self._to_do if run.name not in self._submitted)
        busy = bool(self._submitted)
        events = self._executor.wait(timeout) if busy else []
        if self._pausing and not self._submitted and not self._cancelling and self._to_do:
            time.sleep(timeout)
        now = time.monotonic()
        if busy:
            self._worked += now - self._turned
        self._turned = now
        for event in events:
            self._take(event)
        more = bool(self._submitted) if self._cancelling else bool(self._to_do)
        if self._unwritten and (not more or now - self._written >= self._write_every):
            self.write()
        if events or not more:
            self._listener(self.progress(more=more))
            self._news.clear()
        return more

    def _submit(self, runs: Iterable[PlannedRun]) -> None:
        for run in list(runs):
            self._submitted.add(run.name)
            folder, config = run_folder(self.folder, run.name), self.sweep.config_of(run)
            self._executor.submit(training_job(run.name, folder, config, self._after))

    def _stop_all(self) -> None:
        for name in sorted(self._submitted - self._stopping):
            self._stopping.add(name)
            self._executor.stop(name)

    def _take(self, event: JobEvent) -> None:
        name = event.name
        match event:
            case JobBegun():
                self._begun[name] = time.monotonic()
                self._under_way[name] = UnderWay()
                self._states[name] = "training"
            case JobTold():
                self._under_way[name] = UnderWay(event.share, event.text)
                first, _ = self._shares.get(name, (event.share, 0.0))
                self._shares[name] = (first, event.share)
            case JobEnded():
                self._end(event)

    def _end(self, event: JobEnded) -> None:
        name = event.name
        begun = self._begun.pop(name, None)
        seconds = event.seconds or (0.0 if begun is None else time.monotonic() - begun)
        self._under_way.pop(name, None)
        self._submitted.discard(name)
        asked = name in self._stopping
        self._stopping.discard(name)
        result = event.result if event.how == "done" else {}
        state: Ending = result.get("state", "failed" if event.how == "failed" else "interrupted")
        reason = event.reason or result.get("reason", "")
        if state == "interrupted" and not asked:
            self._tries[name] = self._tries.get(name, 0) + 1
            if self._tries[name] >= TRIES:
                state, reason = "failed", reason or "it was stopped again and again from outside"
        if state != "interrupted" or begun is not None:
            self._ends.add(name, state, reason, seconds, verified=result.get("verified", False))
        if state == "interrupted":  # if nobody asked for it, it is begun again, from its newest checkpoint
            self._states[name] = "waiting" if begun is None else "interrupted"
            return
        self._states[name] = state
        self._to_do.remove(self._plans[name])
        self._shares[name] = (self._shares.get(name, (0.0, 0.0))[0], 1.0)
        self._news.append((name, state, reason))
        self._unwritten = True

    def progress(self, *, more: bool = True) -> SweepProgress:
        """How the sweep gets on now."""
        counts: dict[State, int] = {}
        for state in self._states.values():
            counts[state] = counts.get(state, 0) + 1
        activity: Activity = "running"
        if not more or not self._to_do:
            activity = "ended"
        elif self._cancelling:
            activity = "cancelling"
        elif self._pausing:
            activity = "pausing" if self._submitted else "paused"
        return SweepProgress(activity, counts, dict(self._under_way), self._eta(), tuple(self._news))

    def _eta(self) -> float | None:
        """Seconds to go, if the rest takes as long, by its steps, as what was done."""
        done = sum(self._weights[name] * (now - first) for name, (first, now) in self._shares.items())
        left = sum(self._weights[run.name] * (1 - self._shares.get(run.name, (0.0, 0.0))[1]) for run in self._to_do)
        return self._worked * left / done if done > 0 else None

    def write(self) -> None:
        """Write ``results.csv`` as the runs stand now, and keep them in :attr:`found`."""
        begun, self._unwritten = time.monotonic(), False
        self.found = write_results(self.folder, self._index)
        self._written = time.monotonic()
        self._write_every = max(WRITE_EVERY, WRITE_SHARE * (self._written - begun))

    def close(self) -> None:
        """Stop what is under way, and let the folder go; harmless when closed already."""
        if self._closed:
            return
        self._closed = True
        try:
            self._executor.close()
            self.write()
        finally:
            self._lock.release()


def check_new(folder: Path) -> None:
    """Raise :class:`StoreError` unless a sweep can begin in ``folder``: it does not exist, or is empty."""
    if is_sweep(folder):
        raise StoreError(f"--out: {folder} holds a sweep; --resume goes on with it")
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise StoreError(f"--out: {folder} is not empty; allowed: a new or empty folder, or a sweep with --resume")
    except OSError as error:
        raise refusal(f"--out: {folder} cannot be read", error) from None


class _Locked:
    """The lock of ``folder``, released only if what follows fails: the runner keeps it."""

    def __init__(self, folder: Path) -> None:
        try:
            self._lock = FolderLock(folder)
        except OSError as error:
            raise refusal(f"{folder} cannot be written", error) from None

    def __enter__(self) -> FolderLock:
        return self._lock

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if kind is not None:
            self._lock.release()
