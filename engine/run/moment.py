"""What can be looked at: a network at a step of its run, with the run's record.

Three sources answer the same questions: a session that trains (:mod:`engine.run.session`), a stored run at a chosen
step, and a run that another process writes (:mod:`engine.run.past`). Live probes (:mod:`engine.run.live`) are functions
of a moment, so that no view learns which of them it shows.
"""

from __future__ import annotations

import time
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

from torch import Tensor

from engine.config.experiment import Config
from engine.config.knobs import Objective
from engine.core.arrays import frozen
from engine.core.device import choose, prepare_thread
from engine.core.history import History
from engine.core.plugins import brief
from engine.run.live import source_of
from engine.run.scheduler import Scheduler
from engine.run.snapshot import Event, Problem, ProtocolLog, RunState, Snapshot, StoredStep

MOST_PROBLEMS = 100  # that are kept, should each have a text of its own

T = TypeVar("T")


class Record(Protocol):
    """What a run has recorded so far."""

    @property
    def history(self) -> History:
        """All scalars."""

    @property
    def events(self) -> tuple[Event, ...]:
        """All changes, in their order."""

    @property
    def protocols(self) -> Mapping[str, ProtocolLog]:
        """How each accuracy was measured, and from which step on."""


class Moment(ABC):
    """A state of a run after :attr:`steps_done` steps, in one thread: its :meth:`snapshot`, and what is measured of it.

    A world's subclass declares what its live probes read besides: the network, its start, its clean weights, the data.
    """

    def __init__(self, config: Config, device: str) -> None:
        self.threads = prepare_thread(config.threads)
        self.device = choose(device)
        self.config = config  # with its knobs as they were after steps_done steps
        self.steps_done = 0
        self.scheduled = True  # whether the preset's schedule still applies
        self.phase: Objective = "clean"
        self.clean_step = 0  # the step at which the clean phase last ended, 0 before that
        self.problems: tuple[Problem, ...] = ()
        self.memory: dict[Any, Any] = {}  # what live probes need not measure again
        self._scheduler = Scheduler()
        self._failed_at: dict[type, object] = {}
        self._constant: dict[str, Any] = {}
        self._of_step: dict[str, Any] = {}

    @property
    @abstractmethod
    def run(self) -> str:
        """The run's id."""

    @property
    @abstractmethod
    def folder(self) -> Path:
        """The run folder."""

    @property
    @abstractmethod
    def record(self) -> Record:
        """What the run has recorded, to its newest step."""

    @property
    @abstractmethod
    def newest(self) -> int:
        """The run's newest step, at or behind :attr:`steps_done`."""

    @property
    @abstractmethod
    def stored(self) -> tuple[StoredStep, ...]:
        """The steps whose weights are on disk, ascending."""

    @property
    @abstractmethod
    def state(self) -> RunState:
        """What has become of the run."""

    @property
    @abstractmethod
    def finished(self) -> bool:
        """Whether the preset's schedule has just run to its end."""

    @property
    def data_words(self) -> str:
        """Classes and counts of what is learned, where that is read from files; else empty."""
        return ""

    @property
    def measuring(self) -> bool:
        """Whether a live probe that somebody asked for has something to do."""
        return self._scheduler.behind

    def measure(self) -> None:
        """One slice of what is being measured, if anything is."""
        self._scheduler.slice()

    def measure_beside_training(self) -> None:
        """One slice, if the share of time that training spares for measuring allows one."""
        self._scheduler.beside_training()

    def snapshot(self, wanted: frozenset[type] = frozenset()) -> Snapshot:
        """A picture of this moment with the results of the types in ``wanted`` (:mod:`engine.core.results`)."""
        start = time.perf_counter()
        results = {kind: found for kind in wanted if (found := self._result(kind)) is not None}
        self._scheduler.charge(time.perf_counter() - start)
        record = self.record
        return Snapshot(
            run=self.run,
            folder=self.folder,
            step=self.steps_done,
            phase=self.phase,
            scheduled=self.scheduled,
            finished=self.finished,
            device=self.device.type,
            threads=self.threads,
            config=self.config,
            history=record.history,
            events=record.events,
            protocols=record.protocols,
            results=results,
            problems=self.problems,
            clean_step=self.clean_step,
            newest=self.newest,
            stored=self.stored,
            state=self.state,
        )

    def _result(self, kind: type) -> Any:
        """What the live probe of this result gives now; None for nothing yet, or if this kind of run has none."""
        source = source_of(self.config.kind, kind)
        if source is None:
            return None
        if source.task is not None:
            return self._scheduler.ask(kind, partial(source.task, self), partial(self._fail, kind.__name__))
        moment = (self.steps_done, self.config)
        if source.measure is None or self._failed_at.get(kind) == moment:
            return None
        try:
            return source.measure(self)
        except Exception as error:
            self._failed_at[kind] = moment  # not thirty times a second
            self._fail(kind.__name__, error)
            return None

    def _fail(self, measurement: str, error: Exception, step: int | None = None) -> None:
        """Remember that a measurement failed; the traceback as text, as its frames hold what was being measured."""
        details = "".join(traceback.format_exception(error))
        problem = Problem(measurement, brief(error), self.steps_done if step is None else step, details)
        if problem not in self.problems and len(self.problems) < MOST_PROBLEMS:
            self.problems = (*self.problems, problem)

    def frozen_once(self, name: str, tensor: Tensor) -> Any:
        """The frozen copy of a tensor that is never written again, made once; ``name`` is any of the caller's own."""
        return self.once(name, tensor, lambda: frozen(tensor))

    def once(self, name: str, tensor: Tensor, make: Callable[[], T]) -> T:
        """What ``make`` makes of a tensor that is never written again, made once; ``name`` is any of the caller's."""
        known: tuple[Tensor, T] | None = self._constant.get(name)
        if known is None or known[0] is not tensor:
            known = self._constant[name] = (tensor, make())
        return known[1]

    def at_step(self, name: str, make: Callable[[], T]) -> T:
        """What ``make`` makes of the present weights, made once a step; ``name`` is any of the caller's own."""
        known: tuple[int, T] | None = self._of_step.get(name)
        if known is None or known[0] != self.steps_done:
            known = self._of_step[name] = (self.steps_done, make())
        return known[1]
