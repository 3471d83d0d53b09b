"""Plans sweeps and reads what has come of them, in a thread of its own: neither runs nor a disk hold up a window."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from PySide6.QtCore import QObject, QThread, Signal, Slot

from engine.compare.sweeps.collect import SweepFigure, collect
from engine.compare.sweeps.declare import VIEW
from engine.config.curves import PREFIX
from engine.core.errors import ConfigError, ExplorerError
from engine.run.index import RunIndex
from engine.sweeps.estimate import seconds_together
from engine.sweeps.planning import plan, read_grid, read_seeds
from engine.sweeps.pool import jobs_to_use
from engine.sweeps.record import Sweep
from engine.sweeps.results import SweepResults, index_of, results
from fp_gui.sweep.base import SweepBase

Axes = tuple[tuple[str, str], ...]  # knob and its values as they are typed


@dataclass(frozen=True, slots=True)
class PlanRequest:
    """What is to be planned: ``axes``, ``seeds`` as they are typed, ``jobs`` at a time (None: as many as fit)."""

    serial: int
    base: SweepBase
    axes: Axes
    seeds: str
    jobs: int | None
    verify: bool


@dataclass(frozen=True, slots=True)
class PlanAnswer:
    """The planned sweep, its ``jobs`` and the estimated ``seconds`` (None: unknown); or what is wrong.

    ``wrong`` says it by knob, ``seeds`` under that name; ``error`` what concerns no single field.
    """

    request: PlanRequest
    sweep: Sweep | None = None
    jobs: int = 1
    seconds: float | None = None
    wrong: Mapping[str, str] = field(default_factory=dict)
    error: str = ""


@dataclass(frozen=True, slots=True)
class ReadRequest:
    """The sweep in ``folder``, and its figure with ``options``."""

    serial: int
    folder: Path
    options: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ReadAnswer:
    """How its runs stand and the figure, or why there is none in a line; the ``cost`` of reading in seconds.

    ``found`` is None if the sweep itself cannot be read.
    """

    request: ReadRequest
    found: SweepResults | None = None
    figure: SweepFigure | None = None
    error: str = ""
    cost: float = 0.0


def planned(request: PlanRequest) -> PlanAnswer:
    """The sweep that is asked for, judged by the engine."""
    try:
        seeds = read_seeds(request.seeds) if request.seeds.strip() else None
    except ConfigError as error:
        return PlanAnswer(request, wrong={"seeds": _line(error).removeprefix("--seeds: ")})
    try:
        sweep = _plan(request, request.axes, seeds)
        jobs = jobs_to_use(request.jobs, len(sweep.runs), max(sweep.config_of(run).threads for run in sweep.runs[:1]))
        return PlanAnswer(request, sweep, jobs, seconds_together(sweep, jobs))
    except ConfigError as error:
        wrong = {}
        for axis in request.axes:  # each by itself: which of them is to blame?
            try:
                _plan(request, (axis,), None)
            except ConfigError as its:
                wrong[axis[0]] = _line(its).removeprefix(f"--grid {axis[0]}: ").removeprefix("--grid: ")
        return PlanAnswer(request, wrong=wrong, error="" if wrong else _line(error))


def _plan(request: PlanRequest, axes: Axes, seeds: Sequence[int] | None) -> Sweep:
    base = request.base
    instead = {*dict(axes), *(PREFIX + path for path, _ in axes), *(["seed"] if seeds is not None else [])}
    settings = [pair for pair in base.settings if pair[0] not in instead]
    grid = read_grid(f"{path}={text}" for path, text in axes)
    return plan(base.preset, grid, seeds, settings, verify=request.verify, base=base.config)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())


class _Clerk(QObject):
    """What works in the thread."""

    planned = Signal(object)  # PlanAnswer
    answered = Signal(object)  # ReadAnswer

    def __init__(self) -> None:
        super().__init__()
        self._index: tuple[Path, RunIndex] | None = None

    @Slot(object)
    def plan(self, request: PlanRequest) -> None:
        """Judge a sweep."""
        try:
            answer = planned(request)
        except Exception as error:  # a knob that is wrong in some way nobody thought of must not end the thread
            answer = PlanAnswer(request, error=f"{type(error).__name__}: {_line(error)}")
        self.planned.emit(answer)

    @Slot(object)
    def read(self, request: ReadRequest) -> None:
        """Read a sweep and collect its figure."""
        begun, found, figure, problem = time.perf_counter(), None, None, ""
        try:
            if self._index is None or self._index[0] != request.folder:
                self._index = request.folder, index_of(request.folder)
            found = results(request.folder, self._index[1])
            figure = collect(found, VIEW.complete(request.options))
        except ExplorerError as error:
            problem = _line(error)
        except Exception as error:  # the same of a run that is damaged
            problem = f"{type(error).__name__}: {_line(error)}"
        self.answered.emit(ReadAnswer(request, found, figure, problem, time.perf_counter() - begun))


class SweepDesk(QObject):
    """The thread. Of requests of one sort that come while one is worked on, only the newest is kept."""

    planned = Signal(object)  # PlanAnswer
    answered = Signal(object)  # ReadAnswer
    _plan = Signal(object)
    _read = Signal(object)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._clerk = _Clerk()
        self._thread = QThread()
        self._thread.setObjectName("sweep")
        self._clerk.moveToThread(self._thread)
        self._plan.connect(self._clerk.plan)
        self._read.connect(self._clerk.read)
        self._clerk.planned.connect(self._take)
        self._clerk.answered.connect(self._take)
        self._busy: dict[type, bool] = {}
        self._next: dict[type, PlanRequest | ReadRequest] = {}
        self._thread.start(QThread.Priority.LowPriority)

    @property
    def busy(self) -> bool:
        """Whether anything is being worked on."""
        return any(self._busy.values())

    def ask(self, request: PlanRequest | ReadRequest) -> None:
        """Answer this; :attr:`planned` or :attr:`answered` follows, unless another request overtakes it."""
        sort = type(request)
        if self._busy.get(sort):
            self._next[sort] = request
            return
        self._busy[sort] = True
        (self._plan if isinstance(request, PlanRequest) else self._read).emit(request)

    @Slot(object)
    def _take(self, answer: PlanAnswer | ReadAnswer) -> None:
        sort = type(answer.request)
        self._busy[sort] = False
        if (waiting := self._next.pop(sort, None)) is not None:
            self.ask(waiting)
        (self.planned if isinstance(answer, PlanAnswer) else self.answered).emit(answer)

    def close(self) -> None:
        """End the thread."""
        self._next.clear()
        self._thread.quit()
        self._thread.wait()
