"""Jobs on this machine: processes that live from job to job, so that torch is imported once in each.

They are programs of their own, not forks: torch's threads do not survive a fork. What is said between them and this
process goes through pipes as lines of JSON. A process that dies is replaced, and its job is lost; the others go on.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections import deque
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any

from engine.core.cores import cores_available, memory_available, most_threads
from engine.core.errors import ConfigError, ExplorerError
from engine.core.isolation import child_environment
from engine.core.notices import notice
from engine.sweeps.executor import Job, JobBegun, JobEnded, JobEvent, JobTold, message_of

WORKER_BYTES = 800 * 2**20  # that a process with torch and a small run takes
PATIENCE = 60.0  # seconds in which a job that is asked to stop does so, or is ended
FAILED_STARTS = 3  # processes in a row that end before they are ready


def jobs_to_use(jobs: int | None, count: int, threads: int = 1) -> int:
    """How many of ``count`` jobs of so many ``threads`` to work on at a time: ``jobs``, or by default as many as fit.

    By default that are the cores, fewer where there is no memory for as many processes. Raises :class:`ConfigError`.
    """
    if jobs is None:
        room = memory_available() // WORKER_BYTES
        jobs = max(1, min(cores_available() // max(1, threads), room))
    elif not 1 <= jobs <= most_threads():
        raise ConfigError(
            f"--jobs: got {jobs}; allowed on this machine ({cores_available()} cores): 1 to {most_threads()}"
        )
    return max(1, min(jobs, count))


class PoolProcess:
    """One process; a thread reads what it says into ``heard`` as pairs (this, message), None at its end."""

    def __init__(self, heard: SimpleQueue[tuple[PoolProcess, dict[str, Any] | None]]) -> None:
        self.job: Job | None = None
        self.ready = False
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed at the process's end
        # In a group of its own: a terminal's Ctrl+C goes to a whole group, and is passed on in an orderly way instead.
        group: dict[str, Any] = {"creationflags": 0x200} if sys.platform == "win32" else {"process_group": 0}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "engine.sweeps.worker"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=self._log, env=child_environment(os.environ), **group,
        )  # fmt: skip
        self._reader = Thread(target=self._read, args=(heard,), daemon=True)
        self._reader.start()

    def _read(self, heard: SimpleQueue[tuple[PoolProcess, dict[str, Any] | None]]) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with suppress(ValueError):  # a line that was cut off where the process died
                heard.put((self, json.loads(line)))
        heard.put((self, None))

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._process.pid

    def send(self, message: dict[str, Any]) -> None:
        """Say something to it; one that has died will be noticed by its silence."""
        assert self._process.stdin is not None
        with suppress(OSError, ValueError):
            self._process.stdin.write(json.dumps(message).encode() + b"\n")
            self._process.stdin.flush()

    def let_go(self) -> None:
        """Let it end: at once if it has nothing to do, or was asked to stop already."""
        with suppress(OSError, ValueError):
            assert self._process.stdin is not None
            self._process.stdin.close()

    def kill(self) -> None:
        """End it."""
        with suppress(OSError):
            self._process.kill()

    def ended(self, timeout: float | None = None) -> str:
        """Wait for its end, kill it after ``timeout`` seconds, and say in a line how it came."""
        try:
            code = self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            code = self._process.wait()
        self._reader.join()
        for pipe in (self._process.stdin, self._process.stdout):
            with suppress(OSError):
                assert pipe is not None
                pipe.close()
        said = self._last_words()
        self._log.close()
        how = f"signal {_signal_name(-code)}" if code < 0 else f"exit code {code}"
        return f"its process ended ({how}){': ' + said if said else ''}"

    def _last_words(self) -> str:
        with suppress(OSError, ValueError):
            self._log.seek(max(0, self._log.seek(0, os.SEEK_END) - 2000))
            lines = self._log.read().decode("utf-8", "replace").strip().splitlines()
            return lines[-1][:300] if lines else ""
        return ""


class LocalPool:
    """An :class:`engine.sweeps.executor.Executor` of ``jobs`` processes; they start when they are needed."""

    def __init__(self, jobs: int) -> None:
        self._jobs = jobs
        self._waiting: deque[Job] = deque()
        self._heard: SimpleQueue[tuple[PoolProcess, dict[str, Any] | None]] = SimpleQueue()
        self._processes: list[PoolProcess] = []
        self._events: list[JobEvent] = []
        self._failed_starts = 0

    @property
    def jobs(self) -> int:
        """How many are worked on at a time."""
        return self._jobs

    @property
    def pids(self) -> dict[str, int]:
        """Job → the number of the process that works on it."""
        return {each.job.name: each.pid for each in self._processes if each.job is not None}

    def submit(self, job: Job) -> None:
        """Work on ``job`` as soon as there is room."""
        self._waiting.append(job)
        self._hand_out()

    def stop(self, name: str) -> None:
        """Ask a job to end where it can be gone on with; one that has not begun does not begin."""
        for job in [each for each in self._waiting if each.name == name]:
            self._waiting.remove(job)
            self._events.append(JobEnded(name, "stopped"))
        for process in self._processes:
            if process.job is not None and process.job.name == name:
                process.send({"stop": name})

    def wait(self, timeout: float) -> list[JobEvent]:
        """What has happened, in order, as soon as anything has; nothing after ``timeout`` seconds.

        Raises :class:`ExplorerError` if no process can be started.
        """
        with suppress(Empty):
            self._take(*self._heard.get(timeout=0.0 if self._events else timeout))
            while True:
                self._take(*self._heard.get_nowait())
        self._hand_out()
        found, self._events = self._events, []
        return found

    def _hand_out(self) -> None:
        free = [process for process in self._processes if process.job is None]
        while self._waiting and (free or len(self._processes) < self._jobs):
            if not free:
                free.append(PoolProcess(self._heard))
                self._processes.append(free[-1])
            job, process = self._waiting.popleft(), free.pop(0)
            process.job = job
            process.send(message_of(job))

    def _take(self, process: PoolProcess, message: dict[str, Any] | None) -> None:
        job = process.job
        if message is None:
            self._lost(process)
        elif "ready" in message:
            process.ready, self._failed_starts = True, 0
        elif "notice" in message:
            notice(message["notice"])
        elif job is None:
            return
        elif "begun" in message:
            self._events.append(JobBegun(job.name))
        elif "told" in message:
            self._events.append(JobTold(job.name, message["share"], message["text"]))
        elif "ended" in message:
            process.job = None
            self._events.append(
                JobEnded(job.name, message["how"], message.get("result"), message.get("reason", ""), message["seconds"])
            )

    def _lost(self, process: PoolProcess) -> None:
        """A process has ended of which nobody had asked that."""
        self._processes.remove(process)
        reason = process.ended()
        if process.job is not None:
            self._events.append(JobEnded(process.job.name, "lost", reason=reason))
        if not process.ready:
            self._failed_starts += 1
            if self._failed_starts >= FAILED_STARTS:
                raise ExplorerError(f"no process of the pool can be started: {reason}")

    def close(self) -> None:
        """Let all processes end; jobs under way stop where they can be gone on with, and are waited for."""
        self._waiting.clear()
        for process in self._processes:
            process.let_go()
        for process in self._processes:
            process.ended(PATIENCE)
        self._processes.clear()

    def kill(self) -> None:
        """End all processes at once."""
        for process in self._processes:
            process.kill()
        self.close()


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)
