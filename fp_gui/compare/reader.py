"""Reads what runs have recorded in a thread of its own, so that a slow disk or a long record holds up no window."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from PySide6.QtCore import QObject, QThread, Signal, Slot

from engine.compare.base import ComparedRuns, comparisons
from engine.compare.record import RecordedRun, check_kinds, folders_of
from engine.config.experiment import Config
from engine.core.errors import ExplorerError
from engine.figures.base import FigureData
from engine.run.snapshot import Snapshot
from engine.run.store import Store

LISTED = 500  # runs in the list, the newest first


@dataclass(frozen=True)
class CompareRequest:
    """Which runs to compare in which view; ``live`` is the newest snapshot of the run that is open, if there is one."""

    serial: int
    folders: tuple[Path, ...]
    view: str
    options: Mapping[str, str] = field(default_factory=dict)
    mean: bool = False
    live: Snapshot | None = None


@dataclass(frozen=True)
class CompareAnswer:
    """What was read: the runs and, unless they must be measured first, the data; or why not, in a line."""

    request: CompareRequest
    compared: ComparedRuns | None = None
    data: FigureData | None = None
    error: str = ""


def list_runs(root: Path) -> list[Path]:
    """The run folders in ``root``, the newest first."""
    try:
        found = [(each / "run.sqlite", each) for each in root.iterdir() if (each / "config.json").is_file()]
        dated = sorted(((file.stat().st_mtime, each) for file, each in found if file.is_file()), reverse=True)
    except OSError:
        return []
    return [each for _, each in dated[:LISTED]]


class RunReader(QObject):
    """Answers requests one after the other; lives in a thread. Stored records are read again when they have grown."""

    answered = Signal(object)  # CompareAnswer
    listed = Signal(object)  # list[Path]

    def __init__(self) -> None:
        super().__init__()
        self._stored: dict[tuple[Path, str], tuple[object, RecordedRun]] = {}
        self._started: dict[str, Config] = {}

    @Slot(object)
    def find(self, root: Path) -> None:
        """Look which runs there are."""
        self.listed.emit(list_runs(root))

    @Slot(object)
    def read(self, request: CompareRequest) -> None:
        """Read and name the runs, and find what is drawn."""
        try:
            self.answered.emit(self._answer(request))
        except ExplorerError as error:
            self.answered.emit(CompareAnswer(request, error=" ".join(str(error).split())))
        except Exception as error:  # a run that is damaged in some way nobody thought of must not end the thread
            self.answered.emit(CompareAnswer(request, error=f"{type(error).__name__}: {error}"))

    def _answer(self, request: CompareRequest) -> CompareAnswer:
        drawer = comparisons[request.view]()
        runs = [self._run(folder, request) for folder in folders_of(request.folders)]
        kind = check_kinds([(each.folder, each.config) for each in runs])
        if kind not in drawer.view.kinds:
            return CompareAnswer(request, ComparedRuns.of(runs), error=f"{drawer.view.title}: not for such runs.")
        compared = ComparedRuns.of(runs, mean=request.mean)
        if drawer.slow:
            return CompareAnswer(request, compared)
        return CompareAnswer(request, compared, drawer.look_at(compared, drawer.complete(request.options)))

    def _run(self, folder: Path, request: CompareRequest) -> RecordedRun:
        live, wanted = request.live, comparisons[request.view]().wants
        if live is not None and live.folder == folder:
            if live.run not in self._started:
                with closing(Store.open(folder, read_only=True)) as store:
                    self._started[live.run] = store.config
            return RecordedRun.of_snapshot(live, self._started[live.run], wanted)
        key, state = (folder, request.view), _state(folder)
        if key not in self._stored or self._stored[key][0] != state:
            with closing(Store.open(folder, read_only=True)) as store:
                self._stored[key] = state, RecordedRun.of_store(store, wanted)
        return self._stored[key][1]


def _state(folder: Path) -> object:
    """What changes when anything is written into the record."""
    found = []
    for name in ("run.sqlite", "run.sqlite-wal"):
        try:
            stat = (folder / name).stat()
            found.append((stat.st_mtime_ns, stat.st_size, stat.st_ino))
        except OSError:
            found.append((0, 0, 0))
    return tuple(found)


class Reading(QObject):
    """The thread of a :class:`RunReader`. Of requests that come while one is read, only the newest is kept."""

    answered = Signal(object)  # CompareAnswer
    listed = Signal(object)  # list[Path]
    _ask = Signal(object)
    _find = Signal(object)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._reader = RunReader()
        self._thread = QThread()
        self._thread.setObjectName("compare")
        self._reader.moveToThread(self._thread)
        self._ask.connect(self._reader.read)
        self._find.connect(self._reader.find)
        self._reader.answered.connect(self._answered)
        self._reader.listed.connect(self.listed)
        self._busy = False
        self._next: CompareRequest | None = None
        self._thread.start()

    @property
    def busy(self) -> bool:
        """Whether something is being read."""
        return self._busy

    def ask(self, request: CompareRequest) -> None:
        """Read this; :attr:`answered` follows, unless another request comes before it is begun."""
        if self._busy:
            self._next = request
        else:
            self._busy = True
            self._ask.emit(request)

    def find(self, root: Path) -> None:
        """List the runs in ``root``; :attr:`listed` follows."""
        self._find.emit(root)

    @Slot(object)
    def _answered(self, answer: CompareAnswer) -> None:
        self._busy = False
        waiting, self._next = self._next, None
        if waiting is not None:
            self.ask(waiting)
        self.answered.emit(answer)

    def close(self) -> None:
        """End the thread."""
        self._thread.quit()
        self._thread.wait()
