"""Evaluations that wait or are under way: live estimates go first, a report stands still meanwhile and goes on after.

What an evaluation measures is fixed when it is asked for (it has weights and random generators of its own), so the
order of the slices changes no figure.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from engine.core.errors import StoreError
from engine.core.measurement import Measurement

Record = Callable[[int, str, float], None]  # step, metric, value
MeasuredBy = Callable[[int, str, Measurement], None]
MOST_LIVE = 4  # live estimates that wait at once, each with weights of its own; before another comes one is finished


class Waiting(Protocol):
    """A state of the network that is to be measured, with weights of its own."""

    @property
    def step(self) -> int:
        """The step that it is of."""

    @property
    def report(self) -> bool:
        """Whether it is the fuller evaluation of a phase's end."""

    def slices(self) -> int:
        """About how many slices measuring it takes."""


@dataclass
class _Evaluation:
    """A request, its work once begun, and about how many slices are left of it."""

    request: Any
    left: int
    work: Generator[None, None, None] | None = None


class EvaluationQueue:
    """The evaluations of one run, in slices.

    ``begin`` gives the work of a request; ``finished`` hears of each that is done, ``failed`` of each that an exception
    ended. That concerns this evaluation alone; only a :class:`StoreError`, which says that nothing can be recorded any
    more, is raised.
    """

    def __init__(
        self,
        begin: Callable[[Any], Generator[None, None, None]],
        finished: Callable[[Any], None],
        failed: Callable[[Any, Exception], None],
    ) -> None:
        self._begin, self._finished, self._failed = begin, finished, failed
        self._live: deque[_Evaluation] = deque()
        self._reports: deque[_Evaluation] = deque()

    def __len__(self) -> int:
        return len(self._live) + len(self._reports)

    @property
    def requests(self) -> Iterator[Any]:
        """What waits or is under way, in the order in which it will be done."""
        return (each.request for each in (*self._live, *self._reports))

    def add(self, request: Waiting) -> None:
        """Let ``request`` wait for its turn."""
        if request.report:
            self._reports.append(_Evaluation(request, request.slices()))
            return
        while len(self._live) >= MOST_LIVE:
            self._advance(self._live)
        self._live.append(_Evaluation(request, request.slices()))

    def slice(self) -> None:
        """One slice of what comes first."""
        self._advance(self._live or self._reports)

    def beside(self, step: int, every: int) -> None:
        """The slices after training step ``step``: one of a report, and as many live ones as keep up.

        A live estimate is done ``every`` steps after it was asked for, so that the newest one is never older than twice
        that; what took more slices than expected is finished then.
        """
        for _ in range(self._pace(step, every)):
            self._advance(self._live)
        while self._live and self._live[0].request.step + every <= step:
            self._advance(self._live)
        self._advance(self._reports)

    def _pace(self, step: int, every: int) -> int:
        before, most = 0, 0
        for each in self._live:
            before += each.left
            most = max(most, -(-before // max(1, each.request.step + every - step)))
        return most

    def _advance(self, queue: deque[_Evaluation]) -> None:
        if not queue:
            return
        first = queue[0]
        first.left = max(1, first.left - 1)
        try:
            if first.work is None:
                first.work = self._begin(first.request)
            next(first.work)
        except StopIteration:
            queue.popleft()
        except StoreError:
            raise
        except Exception as error:
            queue.popleft()
            self._failed(first.request, error)
            return
        else:
            return
        self._finished(first.request)

    def close(self) -> None:
        """Give up what is under way."""
        for each in (*self._live, *self._reports):
            if each.work is not None:
                each.work.close()
