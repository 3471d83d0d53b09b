"""Writes a run's record from a thread of its own, so that a slow disk never delays a training step."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from engine.config.experiment import Config
from engine.config.knobs import Objective
from engine.core.errors import StoreError, WriteError
from engine.core.history import History
from engine.core.measurement import Measurement
from engine.run.frames import Frames
from engine.run.snapshot import Event, ProtocolLog, StoredStep, protocol_at
from engine.run.store import Store

BATCH = 2000  # scalars that wait for one transaction
PATIENCE = 1.0  # seconds that they wait at most: others may be reading the run


class Recorder:
    """Keeps the lossless history in memory and sends the same to the store, in order, through one writer thread.

    After a write that fails (a full disk, say) nothing more is written, not even what was sent already: a checkpoint
    behind metrics that are lost would make the loss final. Each later call raises the :class:`StoreError`.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self.history = History()
        self.events: tuple[Event, ...] = store.events()
        self.protocols: Mapping[str, ProtocolLog] = {}
        self._origin = -1 if store.config.branch is None else store.config.branch.step
        self._waiting: list[tuple[int, str, float]] = []
        self._failure: StoreError | None = None  # of the first write that failed; set by the writer's thread
        self._said = False
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="store")
        for name, column in store.columns().items():
            self.history.begin(name, column)
        for step, name, protocol in store.protocols():
            self._remember(step, name, protocol)
        marked = {event.step for event in self.events if event.name in ("phase", "checkpoint")}
        marked |= {store.config.schedule.total, self._origin}
        self._checkpoints = set(store.checkpoints())
        self._cadence = [s for s in sorted(self._checkpoints) if s and s not in marked]
        self.frames = Frames(store, (e.step for e in self.events if e.name == "phase"))
        self._known: tuple[object, tuple[StoredStep, ...]] = (None, ())
        self._flushed = time.monotonic()

    @property
    def stored(self) -> tuple[StoredStep, ...]:
        """The steps with checkpoints, which may still be on their way to the disk, and with frames, ascending."""
        frames = self.frames.steps
        if self._known[0] is not frames:
            kinds = dict.fromkeys(frames, False) | dict.fromkeys(self._checkpoints, True)
            self._known = (frames, tuple(StoredStep(step, kinds[step]) for step in sorted(kinds)))
        return self._known[1]

    @property
    def overdue(self) -> bool:
        """Whether the scalars have waited long enough."""
        return time.monotonic() - self._flushed >= PATIENCE

    def scalar(self, step: int, name: str, value: float) -> None:
        """Record one value."""
        self.history.append(step, name, value)
        self._waiting.append((step, name, value))
        if len(self._waiting) >= BATCH:
            self.flush()

    def measured_by(self, step: int, name: str, protocol: Measurement) -> None:
        """Say how ``name`` is measured from ``step`` on, if that is new."""
        known = self.protocols.get(name)
        if known is None or known[-1][1] != protocol:
            self._remember(step, name, protocol)
            self._submit(self.store.set_protocol, step, name, protocol)

    def _remember(self, step: int, name: str, protocol: Measurement) -> None:
        log = tuple(entry for entry in self.protocols.get(name, ()) if entry[0] != step)
        self.protocols = {**self.protocols, name: (*log, (step, protocol))}  # a snapshot may hold the old mapping

    def protocol_at(self, name: str, step: int) -> Measurement | None:
        """How ``name`` was measured at ``step``."""
        return protocol_at(self.protocols.get(name, ()), step)

    def event(self, step: int, name: str, old: object, new: object) -> None:
        """Record one change."""
        event = Event.now(step, name, str(old), str(new))
        self.events = (*self.events, event)
        self._submit(self.store.event, event)

    def flush(self) -> None:
        """Send the scalars that wait."""
        self._flushed = time.monotonic()
        if self._waiting:
            batch, self._waiting = self._waiting, []
            self._submit(self.store.record, batch)

    def checkpoint(
        self,
        step: int,
        arrays: Mapping[str, np.ndarray[Any, Any]],
        config: Config,
        phase: Objective,
        state: Any,
        *,
        keep: bool,
    ) -> None:
        """Write a checkpoint; unless ``keep``, it may be thinned out later (``storage.keep``).

        The one that a branch began with stays.
        """
        self.flush()
        self._submit(self.store.save, step, arrays, config, phase, state)
        self._checkpoints.add(step)
        if keep or step == self._origin:
            self._cadence = [s for s in self._cadence if s != step]
        elif step not in self._cadence:
            self._cadence.append(step)
        while len(self._cadence) > config.storage.keep:
            thinned = self._cadence.pop(crowded(self._cadence))
            self._checkpoints.discard(thinned)
            self._submit(self.store.delete_checkpoint, thinned)
        self._known = (None, ())

    def frame(
        self,
        step: int,
        arrays: Mapping[str, np.ndarray[Any, Any]],
        config: Config,
        phase: Objective,
        state: Any,
        phase_start: int,
    ) -> None:
        """Write a frame (:mod:`engine.run.frames`)."""
        self._submit(self.frames.add, step, arrays, config, phase, state, phase_start)

    def summary(self, summary: Mapping[str, Any]) -> None:
        """Write ``summary.json``."""
        self._submit(self.store.write_summary, summary)

    def wait(self) -> None:
        """Return when everything sent so far is on disk."""
        self._writer.submit(int).result()
        self._check()

    @property
    def failed(self) -> bool:
        """Whether a write has failed: nothing is written any more."""
        return self._failure is not None

    def close(self) -> None:
        """Write all that waits, end the thread and close the store. Raises a failure that was not raised yet."""
        try:
            if not self.failed:
                self.flush()
        finally:
            self._writer.shutdown(wait=True)
            self.store.close()
        if not self._said:
            self._check()

    def _submit(self, function: Callable[..., Any], *arguments: Any) -> None:
        self._check()
        self._writer.submit(self._write, function, *arguments)

    def _write(self, function: Callable[..., Any], *arguments: Any) -> None:
        if self._failure is not None:
            return
        try:
            function(*arguments)
        except StoreError as error:
            self._failure = error
        except Exception as error:
            self._failure = WriteError(f"{self.store.folder} cannot be written: {error}")

    def _check(self) -> None:
        if self._failure is not None:
            self._said = True
            raise type(self._failure)(str(self._failure)) from self._failure


def crowded(steps: list[int]) -> int:
    """Index of the checkpoint to give up: the one that leaves the smallest gap in proportion to its age.

    So the record stays dense near the present and thins out towards the past. The last one is never chosen.
    """
    now = steps[-1]
    gaps = [(steps[i + 1] - (steps[i - 1] if i else 0)) / (now - steps[i]) for i in range(len(steps) - 1)]
    return int(np.argmin(gaps))
