"""What of a sweep runs on the nodes of a Ray cluster: a job as a task, and the mailbox between tasks and the sweep.

What is said is JSON, and a run is an archive (:mod:`engine.core.archive`): nothing of ours is pickled but the names of
the functions here. Needs Ray, which is imported only in them.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from hashlib import blake2b
from importlib import import_module
from pathlib import Path
from typing import Any

from engine.core.archive import pack, unpack
from engine.core.errors import DeviceError, ExplorerError, StoreError
from engine.core.isolation import ROOT
from engine.core.lock import holder
from engine.run.access import copy_run
from engine.run.index import is_run
from engine.sweeps.worker import Worker

SAY_EVERY = 0.25  # seconds between two words of a task
CARRY_SHARE = 0.05  # of its time that a task spends on them, at most
LOCK_PATIENCE = 120.0  # seconds; a file server lets go of a dead machine's locks after about 90


class Mailbox:
    """An actor: tasks say what becomes of them, and hear whether they are to stop."""

    def __init__(self) -> None:
        self._news: list[tuple[str, str, bytes | None]] = []
        self._any = asyncio.Event()
        self._stopped: set[str] = set()
        self._runs: dict[str, asyncio.Future[bytes | None]] = {}

    async def say(self, key: str, messages: str, archive: bytes | None = None) -> bool:
        """Of the task ``key``: messages, as JSON, and its run as it stands; answers whether it is to stop."""
        self._news.append((key, messages, archive))
        self._any.set()
        return key in self._stopped

    async def is_stopped(self, key: str) -> bool:
        """Whether the task ``key`` is to stop."""
        return key in self._stopped

    async def listen(self) -> list[tuple[str, str, bytes | None]]:
        """What was said since the last time, once anything was."""
        await self._any.wait()
        self._any.clear()
        news, self._news = self._news, []
        return news

    async def stop(self, key: str) -> None:
        """Let the task ``key`` stop."""
        self._stopped.add(key)

    async def give(self, key: str, archive: bytes | None) -> None:
        """The run that the task ``key`` has asked for; None if there is none yet."""
        future = self._run(key)
        if not future.done():
            future.set_result(archive)

    async def fetch(self, key: str) -> bytes | None:
        """The run that the task ``key`` has asked for, once it is given."""
        found = await self._run(key)
        self._runs.pop(key, None)
        return found

    def _run(self, key: str) -> asyncio.Future[bytes | None]:
        return self._runs.setdefault(key, asyncio.get_running_loop().create_future())


def fingerprint() -> str:
    """What differs between two versions of this program."""
    digest = blake2b(digest_size=16)
    for path in sorted((ROOT / "engine").rglob("*.py")):
        digest.update(path.relative_to(ROOT).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def work(
    mailbox: Any, key: str, message: str, token: str, gpus: float, version: str, carry_every: float
) -> tuple[str, bytes | None]:
    """A task: carry out the job ``message`` as a process of the pool does, and return how it ended, as JSON.

    A job's argument ``folder`` is where its run is. Where the file ``token`` beside it is seen, that is shared storage,
    and the run is written there. Where it is not, the run comes through the mailbox, is worked on in a temporary
    folder, and returns as an archive; now and then one is sent before, so that another task can go on from there.
    """
    job = json.loads(message)
    if not gpus:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # those of the node belong to who has asked Ray for them
    try:
        if fingerprint() != version:
            raise StoreError(f"node {socket.gethostname()}: has another version of this program than the sweep")
        if gpus:
            _check_gpu()
        with ExitStack() as stack:
            return _worked(_Line(mailbox, key, carry_every), job, Path(token), stack)
    except KeyboardInterrupt:  # cancelled before it had begun, as far as the sweep knew
        return json.dumps({"how": "stopped", "seconds": 0.0}), None
    except ExplorerError as error:
        return json.dumps({"how": "failed", "reason": str(error), "seconds": 0.0}), None


def _check_gpu() -> None:
    from engine.core.device import available  # imports torch, which the mailbox and the sweep need not wait for

    if "cuda" not in available():
        raise DeviceError(f"--gpus: node {socket.gethostname()} gives one, and PyTorch there can use none")


def _worked(line: _Line, job: dict[str, Any], token: Path, stack: ExitStack) -> tuple[str, bytes | None]:
    carried = None
    if "folder" in job["arguments"]:
        folder = Path(job["arguments"]["folder"])
        if token.is_file():
            wait_for_lock(folder, line.is_stopped)
        else:
            carried = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fp-sweep-"))) / folder.name
            if (run := line.fetch()) is not None:
                unpack(run, carried)
            job["arguments"]["folder"] = str(carried)
    line.carries(carried)
    worker = Worker(line.send)
    with line.talking(worker.end):
        found = worker.carry_out(job)
    archive = None if carried is None or not is_run(carried) else packed(carried)
    return json.dumps(found), archive


def packed(folder: Path) -> bytes:
    """The run in ``folder`` as it stands, though it may be written just now."""
    with tempfile.TemporaryDirectory(prefix="fp-sweep-") as temporary:
        copy_run(folder, Path(temporary) / "run")
        return pack(Path(temporary) / "run")


def wait_for_lock(folder: Path, stopped: Callable[[], bool]) -> None:
    """Give the process that has worked on ``folder`` the time to die, and a file server that to notice it."""
    end = time.monotonic() + LOCK_PATIENCE
    while holder(folder) is not None and time.monotonic() < end and not stopped():
        time.sleep(0.2)


class _Line:
    """A task's side of the mailbox; a thread sends what there is to say, and asks whether to stop."""

    def __init__(self, mailbox: Any, key: str, carry_every: float) -> None:
        self._ray = import_module("ray")
        self._mailbox, self._key, self._every = mailbox, key, carry_every
        self._lock = threading.Lock()
        self._messages: list[dict[str, Any]] = []
        self._folder: Path | None = None
        self._carried, self._pause = time.monotonic(), carry_every
        self._closed = threading.Event()

    def is_stopped(self) -> bool:
        """Whether this task is to stop."""
        return bool(self._ray.get(self._mailbox.is_stopped.remote(self._key)))

    def fetch(self) -> bytes | None:
        """The run as the sweep has it; None if it has not begun."""
        self._ray.get(self._mailbox.say.remote(self._key, json.dumps([{"wants": True}])))
        found: bytes | None = self._ray.get(self._mailbox.fetch.remote(self._key))
        return found

    def carries(self, folder: Path | None) -> None:
        """From now on send the run in ``folder`` now and then."""
        self._folder = folder

    def send(self, message: dict[str, Any]) -> None:
        """Something to say; of how far the job is, only the newest."""
        with self._lock:
            if "told" in message:
                self._messages = [each for each in self._messages if "told" not in each]
            self._messages.append(message)
        if "told" in message and self._folder is not None and time.monotonic() - self._carried >= self._pause:
            self._carry(self._folder)

    def _carry(self, folder: Path) -> None:
        """In the thread that trains, so that the run stands still."""
        begun = time.monotonic()
        with suppress(ExplorerError):  # the next one, or that of the end, may be possible
            self._ray.get(self._mailbox.say.remote(self._key, "[]", packed(folder)))
        self._carried = time.monotonic()
        self._pause = max(self._every, (self._carried - begun) / CARRY_SHARE)

    @contextmanager
    def talking(self, stop: Callable[[], object]) -> Iterator[None]:
        """Talk while this is open; ``stop`` is called when the task is to stop, or when nobody hears it any more."""
        thread = threading.Thread(target=self._talk, args=(stop,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._closed.set()
            thread.join()

    def _talk(self, stop: Callable[[], object]) -> None:
        while True:
            closing = self._closed.is_set()
            with self._lock:
                messages, self._messages = self._messages, []
            try:
                if self._ray.get(self._mailbox.say.remote(self._key, json.dumps(messages))):
                    stop()
            except Exception:  # the sweep has gone, and the mailbox with it
                stop()
                return
            if closing:
                return
            self._closed.wait(SAY_EVERY)
