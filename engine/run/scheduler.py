"""What is measured only while somebody looks, in spare time: accuracy against radius, say, for the present weights.

Nothing of it is recorded, so that a run's history does not depend on who looked.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Hashable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

PATIENCE = 3.0  # seconds without a question after which nobody looks any more
SHARE = 0.08  # of the time while training goes on
DEBT = 0.5  # seconds of spare time that are owed at most, so that a pause is not made up for

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ProbeTask(Generic[T]):
    """Something to measure: measuring another moment with the same ``key`` would give the same.

    ``begin`` copies the weights and returns the work, in slices; what a slice yields, if not None, is shown meanwhile.
    """

    key: Hashable
    begin: Callable[[], Generator[T | None, None, T]]


class LiveProbe(Generic[T]):
    """Keeps one result near the present while it is asked for; ``moment`` gives the present, None for nothing yet."""

    def __init__(self, moment: Callable[[], ProbeTask[T] | None]) -> None:
        self._moment = moment
        self._asked = -PATIENCE
        self._latest: T | None = None
        self._measured: Hashable = None
        self._job: Generator[T | None, None, T] | None = None
        self._under_way: Hashable = None

    def ask(self) -> T | None:
        """The newest result, or None before the first is done; being asked keeps the measuring alive."""
        self._asked = time.perf_counter()
        return self._latest

    @property
    def wanted(self) -> bool:
        """Whether somebody asked within ``PATIENCE`` seconds."""
        return time.perf_counter() - self._asked < PATIENCE

    @property
    def behind(self) -> bool:
        """Whether somebody looks and there is something to do."""
        if not self.wanted:
            return False
        moment = self._moment()
        return self._job is not None or (moment is not None and moment.key != self._measured)

    def slice(self) -> None:
        """One slice of what is under way; of the present, if nothing is."""
        if self._job is None:
            moment = self._moment()
            if moment is None:
                return
            self._under_way, self._job = moment.key, moment.begin()
        try:
            part = next(self._job)
        except StopIteration as stop:
            self._latest, self._measured, self._job = stop.value, self._under_way, None
        else:
            self._latest = part if part is not None else self._latest

    def drop(self) -> None:
        """Give up what is under way, and forget the result."""
        self.close()
        self._latest, self._measured = None, None

    def close(self) -> None:
        """Give up what is under way."""
        if self._job is not None:
            self._job.close()
            self._job = None


class Scheduler:
    """Shares what time there is beside training among ``watches``, in turn."""

    def __init__(self, probes: Iterable[LiveProbe[object]]) -> None:
        self._probes = list(probes)
        self._spare = 0.0
        self._last = time.perf_counter()

    @property
    def behind(self) -> bool:
        """Whether any watch has something to do."""
        return any(probe.behind for probe in self._probes)

    def beside_training(self) -> None:
        """A slice, if the share of time that is spared for it allows one."""
        if not any(probe.wanted for probe in self._probes):
            return
        now = time.perf_counter()
        self._spare = min(self._spare + SHARE * (now - self._last), DEBT)
        self._last = now
        if self._spare > 0:
            self.slice()
            self._spare -= time.perf_counter() - now

    def slice(self) -> None:
        """One slice of the next watch that has something to do."""
        for i, probe in enumerate(self._probes):
            if probe.behind:
                self._probes.append(self._probes.pop(i))  # the others come first next time
                probe.slice()
                return

    def close(self) -> None:
        """Give up what is under way."""
        for probe in self._probes:
            probe.close()
