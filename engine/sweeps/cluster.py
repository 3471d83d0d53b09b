"""Jobs on many machines: the executor of a sweep whose jobs are tasks on a Ray cluster, which is the user's own.

Ray is imported when a :class:`RayCluster` is made. Nothing is started but tasks and an actor, the mailbox
(:mod:`engine.sweeps.cluster_task`), on the node that this machine is; Ray moves what they say.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import threading
import time
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from engine.core.archive import unpack
from engine.core.errors import ConfigError, ExplorerError
from engine.core.files import refusal, write_atomically
from engine.core.lock import FolderLock
from engine.core.notices import notice
from engine.core.quoting import plain
from engine.run.index import is_run
from engine.sweeps.cluster_task import Mailbox, fingerprint, packed, work
from engine.sweeps.executor import Job, JobBegun, JobEnded, JobEvent, JobTold, message_of

CONNECT = 30.0  # seconds in which a cluster answers
CARRY_EVERY = 60.0  # seconds between two archives of a run that is trained where its folder is not seen
LOOK_EVERY = 5.0  # seconds between two looks at how many nodes there are
AHEAD = 2  # tasks beyond those that there is room for: they begin without a word, and an autoscaler sees more to do
RESTARTS = 3  # times that a job is begun again whose worker or node has died
PATIENCE = 60.0  # seconds in which a job that is asked to stop does so
LOST = ("WorkerCrashedError", "NodeDiedError", "ObjectLostError", "OutOfMemoryError", "LocalRayletDiedError")
MISSING = 'needs Ray; allowed: pip install "feature-purification-explorer[cluster]"'


class RayCluster:
    """An :class:`engine.sweeps.executor.Executor` on the Ray cluster at ``address``: ``auto`` or HOST:PORT.

    ``folder`` is the sweep's; jobs have their runs in it. A job takes ``threads`` CPUs and ``gpus`` GPUs of a node, at
    most ``jobs`` of them at a time: by default as many as there is room for. A job whose worker or node dies is begun
    again; where its run's folder is not seen, from what came back of it, every ``carry_every`` seconds. Raises
    :class:`ConfigError` if Ray is not installed, the cluster does not answer or no node has room for a job.
    """

    def __init__(
        self, address: str, folder: Path, jobs: int | None = None, threads: int = 1, gpus: float = 0.0,
        carry_every: float = CARRY_EVERY,
    ) -> None:  # fmt: skip
        if jobs is not None and jobs < 1:
            raise ConfigError(f"--jobs: got {jobs}; allowed on a cluster: 1 or more")
        if not (0 <= gpus < 1 or (1 <= gpus <= 1024 and gpus == int(gpus))):
            raise ConfigError(f"--gpus: got {gpus:g}; allowed: a share below 1, e.g. 0.25, or a whole number")
        self._folder, self._most = folder, jobs
        self._threads, self._gpus, self._carry_every = max(1, threads), gpus, carry_every
        self._ray = connected(address)
        self._token = folder / f".cluster-{secrets.token_hex(16)}"
        self._looked, self._found = 0.0, 0
        self._waiting: deque[Job] = deque()
        self._running: dict[Any, tuple[str, Job]] = {}  # what a task will return → its key, and its job
        self._heard: set[str] = set()  # tasks that have said a word: they hear whether they are to stop
        self._asked: set[str] = set()
        self._lost: dict[str, int] = {}
        self._count = 0
        self._events: list[JobEvent] = []
        self._closed = False
        try:
            if not self._room():
                raise ConfigError(
                    f"--address: no node of this cluster has {self._threads} CPU{'s' if self._threads > 1 else ''}"
                    f"{f' and {gpus:g} GPUs' if gpus else ''} for a run"
                )
            self._mailbox = self._made(Mailbox)
            self._listening = self._mailbox.listen.remote()
            self._task = self._ray.remote(
                num_cpus=self._threads, num_gpus=gpus, max_retries=0, scheduling_strategy="SPREAD"
            )(work)
            self._version = fingerprint()
        except BaseException:
            self._ray.shutdown()
            raise

    def _made(self, mailbox: type) -> Any:
        """The mailbox, on this machine: it ends with the sweep, whatever becomes of other nodes."""
        ray = self._ray
        here = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
            ray.get_runtime_context().get_node_id(), soft=False
        )
        made = ray.remote(num_cpus=0, scheduling_strategy=here)(mailbox).remote()
        try:
            ray.get(made.stop.remote(""), timeout=CONNECT)
        except ray.exceptions.RayError as error:
            raise ConfigError(f"--address: no task can be begun on this cluster: {_line(error)}") from None
        return made

    def _room(self) -> int:
        """How many jobs the nodes have room for, if nobody else uses them."""
        if not self._found or time.monotonic() - self._looked >= LOOK_EVERY:
            self._looked, self._found = time.monotonic(), 0
            for node in self._ray.nodes():
                if node["Alive"]:
                    has = node["Resources"]
                    room = int(has.get("CPU", 0) // self._threads)
                    self._found += min(room, int(has.get("GPU", 0) / self._gpus)) if self._gpus else room
        return self._found

    @property
    def jobs(self) -> int:
        """How many are worked on at a time."""
        return self._most or max(1, self._room())

    def submit(self, job: Job) -> None:
        """Work on ``job`` as soon as there is room."""
        self._waiting.append(job)

    def stop(self, name: str) -> None:
        """Ask a job to end where it can be gone on with; one that has not begun does not begin."""
        for job in [each for each in self._waiting if each.name == name]:
            self._waiting.remove(job)
            self._events.append(JobEnded(name, "stopped"))
        for task, (key, job) in self._running.items():
            if job.name == name:
                self._asked.add(key)
                self._mailbox.stop.remote(key)
                if key not in self._heard:
                    self._ray.cancel(task)

    def wait(self, timeout: float) -> list[JobEvent]:
        """What has happened, in order, as soon as anything has; nothing after ``timeout`` seconds.

        Raises :class:`ExplorerError` if the cluster is gone.
        """
        self._hand_out()
        tasks = [self._listening, *self._running]
        ready, _ = self._ray.wait(tasks, num_returns=1, timeout=0.0 if self._events else timeout)
        if ready:
            ready, _ = self._ray.wait(tasks, num_returns=len(tasks), timeout=0.0)
        for task in sorted(ready, key=lambda each: each != self._listening):
            if task == self._listening:
                self._hear()
            else:
                self._end(task)
        found, self._events = self._events, []
        return found

    def _hand_out(self) -> None:
        while self._waiting and len(self._running) < (self._most or self._room() + AHEAD):
            if not self._count:
                try:
                    for left in self._folder.glob(".cluster-*"):  # by a sweep that was killed
                        left.unlink()
                    write_atomically(self._token, b"")
                except OSError as error:
                    raise refusal(f"{self._folder} cannot be written", error) from None
            job = self._waiting.popleft()
            self._count += 1
            key = f"{self._count} {job.name}"
            message = json.dumps(message_of(job))
            task = self._task.remote(
                self._mailbox, key, message, str(self._token), self._gpus, self._version, self._carry_every
            )
            self._running[task] = key, job

    def _hear(self) -> None:
        try:
            news = self._ray.get(self._listening)
        except self._ray.exceptions.RayError as error:
            raise ExplorerError(f"the cluster is gone: {_line(error)}") from None
        self._listening = self._mailbox.listen.remote()
        jobs = dict(self._running.values())
        for key, messages, archive in news:
            if key in jobs:
                self._heard.add(key)
            for message in json.loads(messages):
                if "notice" in message:
                    notice(message["notice"])
                elif key in jobs:
                    self._take(key, jobs[key], message)
            if archive is not None and key in jobs:
                self._keep(jobs[key], archive)

    def _take(self, key: str, job: Job, message: dict[str, Any]) -> None:
        if "wants" in message:
            folder = Path(job.arguments["folder"])
            self._mailbox.give.remote(key, packed(folder) if is_run(folder) else None)
        elif "begun" in message:
            self._events.append(JobBegun(job.name))
        elif "told" in message:
            self._events.append(JobTold(job.name, message["share"], message["text"]))

    def _end(self, task: Any) -> None:
        key, job = self._running.pop(task)
        asked = key in self._asked
        self._asked.discard(key)
        self._heard.discard(key)
        try:
            text, archive = self._ray.get(task)
            found = json.loads(text)
            if archive is not None:
                self._keep(job, archive)
            ended = JobEnded(job.name, found["how"], found.get("result"), found.get("reason", ""), found["seconds"])
        except ExplorerError as error:  # the run that came back cannot be written
            ended = JobEnded(job.name, "failed", reason=str(error))
        except self._ray.exceptions.TaskCancelledError:
            ended = JobEnded(job.name, "stopped")
        except self._ray.exceptions.RayError as error:
            lost = any(kind.__name__ in LOST for kind in type(error).__mro__)
            if lost and not asked and self._lost.get(job.name, 0) < RESTARTS:
                self._lost[job.name] = self._lost.get(job.name, 0) + 1
                self._found = 0
                self._waiting.appendleft(job)
                return
            ended = JobEnded(job.name, "lost" if lost else "failed", reason=_line(error))
        self._events.append(ended)

    def _keep(self, job: Job, archive: bytes) -> None:
        """Put the run that came back in the place of what was there of it."""
        folder = Path(job.arguments["folder"])
        new = folder.with_name(f".{folder.name}.new")
        old = folder.with_name(f".{folder.name}.old")
        for left in (new, old):
            shutil.rmtree(left, ignore_errors=True)
        unpack(archive, new)
        try:
            if folder.exists():
                lock = FolderLock(folder)
                try:
                    folder.rename(old)
                    lock.moved(old)
                    new.rename(folder)
                finally:
                    lock.release()
                shutil.rmtree(old, ignore_errors=True)
            else:
                new.rename(folder)
        except OSError as error:
            raise refusal(f"{folder} cannot be written", error) from None

    def close(self) -> None:
        """Let all jobs stop where they can be gone on with, wait for them, and let go of the cluster."""
        if self._closed:
            return
        self._closed = True
        try:
            self._waiting.clear()
            for name in {job.name for _, job in self._running.values()}:
                self.stop(name)
            end = time.monotonic() + PATIENCE
            while self._running and time.monotonic() < end:
                self.wait(0.25)
        finally:
            self.kill()

    def kill(self) -> None:
        """End all tasks at once, and let go of the cluster."""
        self._closed = True
        for task in self._running:
            with suppress(self._ray.exceptions.RayError):
                self._ray.cancel(task, force=True)
        self._running.clear()
        self._ray.shutdown()
        with suppress(OSError):
            self._token.unlink(missing_ok=True)


def check_devices(devices: Iterable[str], gpus: float) -> None:
    """Raise :class:`ConfigError` if runs on ``devices`` cannot be trained with ``gpus`` GPUs each."""
    allowed = ("auto", "cuda") if gpus else ("auto", "cpu")
    for device in devices:
        if device not in allowed:
            given = f"--gpus {gpus:g}" if gpus else "no --gpus"
            raise ConfigError(f"device: got {device} and {given}; allowed on a cluster then: {', '.join(allowed)}")


def connected(address: str) -> Any:
    """Ray, as a driver of the cluster at ``address``. Raises :class:`ConfigError`, after :data:`CONNECT` at the latest.

    It is connected in a thread of its own: Ray waits for minutes for a cluster that does not answer.
    """
    host, separator, port = address.rpartition(":")
    if address != "auto":
        if not (separator and host and port.isdecimal() and int(port) < 65536):
            raise ConfigError(f"--address: got {plain(address)!r}; allowed: auto, or HOST:PORT of a Ray cluster")
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT / 3).close()
        except OSError as error:
            raise ConfigError(f"--address: {plain(address)} does not answer: {error.strerror or error}") from None
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        ray = import_module("ray")
        import_module("ray.util.scheduling_strategies")
    except ImportError:
        raise ConfigError(f"--address: {MISSING}") from None
    failed: list[BaseException | None] = []

    def connect() -> None:
        try:
            ray.init(address=address, log_to_driver=False, logging_level="ERROR")
            failed.append(None)
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(CONNECT)
    if not failed:
        raise ConfigError(
            f"--address: no Ray cluster has answered at {plain(address)} in {CONNECT:g} s, or none that "
            "knows the token of this environment"
        )
    if failed[0] is not None:
        raise ConfigError(f"--address: {plain(address)}: {_line(failed[0])}")
    return ray


def _line(error: BaseException) -> str:
    """What ``error`` says, in one line."""
    return plain(" ".join(str(error).split())[:300]) or type(error).__name__
