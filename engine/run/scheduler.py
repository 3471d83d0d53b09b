"""How much of the time goes into what somebody looks at: a small share while training goes on, all of it else.

Snapshots are made as seldom as keeps what they measure at once within their share (:class:`Pace`); probes that take
long are measured in slices, in what is left (:class:`Scheduler`).

What they measure is registered in :mod:`engine.run.live`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Hashable
from typing import Any, Generic, TypeVar

from engine.run.live import ProbeTask

PATIENCE = 3.0  # seconds without a question after which nobody looks any more
SHARE = 0.07  # of the time while training goes on, for snapshots and slices together: below 8% of what training takes
SNAPSHOTS = SHARE / 2  # of the time, for snapshots
LONGEST = 2.0  # seconds between two snapshots at most, however long one took: the picture must not stand still
DEBT = 0.5  # seconds that are owed at most, or passed between two steps: a pause is not made up for

T = TypeVar("T")


class Pace:
    """When the next snapshot is due while training goes on."""

    def __init__(self) -> None:
        self._due = 0.0

    def due(self) -> bool:
        """Whether the time for the last one has been earned."""
        return time.perf_counter() >= self._due

    def took(self, seconds: float) -> None:
        """A snapshot has just been made in so many seconds."""
        self._due = time.perf_counter() + min(LONGEST, seconds * (1 / SNAPSHOTS - 1))

    def now(self) -> None:
        """Somebody looks at something else: that is due at once."""
        self._due = 0.0


class LiveProbe(Generic[T]):
    """Keeps one result near the present while it is asked for.

    ``present`` says what there is to measure now, None for nothing yet. ``failed`` hears of an exception in it; it is
    tried again only when there is something else to measure.
    """

    def __init__(self, present: Callable[[], ProbeTask[T] | None], failed: Callable[[Exception], None]) -> None:
        self._present = present
        self._failed = failed
        self._asked = -PATIENCE
        self._latest: T | None = None
        self._measured: Hashable = None
        self._work: Generator[T | None, None, T] | None = None
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
        return self.wanted and (self._work is not None or self._task() is not None)

    def _task(self) -> ProbeTask[T] | None:
        """What there is to measure now and was not measured yet."""
        try:
            task = self._present()
        except Exception as error:
            self._failed(error)
            return None
        return task if task is not None and task.key != self._measured else None

    def slice(self) -> None:
        """One slice of what is under way; of the present, if nothing is."""
        try:
            if self._work is None:
                task = self._task()
                if task is None:
                    return
                self._under_way = task.key
                self._work = task.begin()
            part = next(self._work)
        except StopIteration as stop:
            self._latest, self._measured, self._work = stop.value, self._under_way, None
        except Exception as error:
            self._measured, self._work = self._under_way, None
            self._failed(error)
        else:
            self._latest = part if part is not None else self._latest

    def drop(self) -> None:
        """Give up what is under way, and forget the result."""
        self.close()
        self._latest, self._measured = None, None

    def close(self) -> None:
        """Give up what is under way."""
        if self._work is not None:
            self._work.close()
            self._work = None


class Scheduler:
    """Shares what time there is beside training among live probes, in turn."""

    def __init__(self) -> None:
        self._probes: dict[type, LiveProbe[Any]] = {}
        self._spare = 0.0
        self._charged = 0.0  # seconds that snapshots took and that slices still have to do without
        self._last = time.perf_counter()

    def ask(self, kind: type, present: Callable[[], ProbeTask[Any] | None], failed: Callable[[Exception], None]) -> Any:
        """The newest result of this type, None before the first; see :class:`LiveProbe`."""
        probe = self._probes.get(kind)
        if probe is None:
            probe = self._probes[kind] = LiveProbe(present, failed)
        return probe.ask()

    def drop(self, kind: type) -> None:
        """Forget the result of this type, as what it shows was chosen anew."""
        if kind in self._probes:
            self._probes[kind].drop()

    def charge(self, seconds: float) -> None:
        """A snapshot took so long: slices have the less, though never less than half of :data:`SHARE`."""
        self._charged = min(self._charged + seconds, DEBT)

    @property
    def behind(self) -> bool:
        """Whether any probe has something to do."""
        return any(probe.behind for probe in self._probes.values())

    def beside_training(self) -> None:
        """A slice, if the share of time that is spared for it allows one."""
        if not any(probe.wanted for probe in self._probes.values()):
            return
        now = time.perf_counter()
        earned = SHARE * min(now - self._last, DEBT)
        for_snapshots = min(self._charged, earned / 2)
        self._charged -= for_snapshots
        self._spare = min(self._spare + earned - for_snapshots, DEBT)
        self._last = now
        if self._spare > 0:
            self.slice()
            self._spare -= time.perf_counter() - now

    def slice(self) -> None:
        """One slice of the next probe that has something to do."""
        for kind, probe in list(self._probes.items()):
            if probe.behind:
                self._probes[kind] = self._probes.pop(kind)  # the others come first next time
                probe.slice()
                return

    def close(self) -> None:
        """Give up what is under way."""
        for probe in self._probes.values():
            probe.close()
