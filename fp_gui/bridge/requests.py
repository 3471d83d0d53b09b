"""What the window and the training thread say to each other, and what the bridge needs of a session."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from engine.config.experiment import Config
from engine.core.errors import ExplorerError
from engine.run.commands import Command
from engine.run.schema import read_run
from engine.run.snapshot import Snapshot, StoredStep

if TYPE_CHECKING:
    from engine.run.moment import Moment


class SessionLike(Protocol):
    """What the bridge uses of :class:`engine.run.session.Session`."""

    @property
    def folder(self) -> Path:
        """The run's folder."""

    @property
    def run(self) -> str:
        """The run's id."""

    @property
    def config(self) -> Config:
        """The config now."""

    @property
    def data_words(self) -> str:
        """Classes and counts of what is learned; empty where that is made by the program."""

    @property
    def steps_done(self) -> int:
        """Training steps taken."""

    @property
    def stored(self) -> tuple[StoredStep, ...]:
        """The steps that can be looked at, ascending."""

    @property
    def damaged(self) -> Sequence[str]:
        """What was wrong with checkpoints that were passed over, a line each."""

    @property
    def finished(self) -> bool:
        """Whether the schedule has run to its end."""

    @property
    def measuring(self) -> bool:
        """Whether measurements are pending."""

    def step(self) -> None:
        """Take one training step."""

    def measure(self) -> None:
        """Do one slice of the pending measurements."""

    def apply(self, command: Command) -> None:
        """Apply ``command`` or raise :class:`ExplorerError`."""

    def snapshot(self, wanted: frozenset[type] = ...) -> Snapshot:
        """The state now, with results of the types ``wanted``."""

    def flush(self, *, wait: bool = ...) -> None:
        """Write what was recorded, so that others can read it."""

    def close(self) -> None:
        """Write what is left and close the folder."""


class PastLike(SessionLike, Protocol):
    """What the bridge uses of :class:`engine.run.past.Past`: a session that is read; to train it is refused."""

    def go(self, step: int | None) -> int:
        """Look at the stored step at or before ``step``; None: at the newest, and at newer ones as they come."""

    def refresh(self) -> bool:
        """Read what was added to the run; whether anything was."""

    def measure_beside_training(self) -> None:
        """A slice of the pending measurements, if training spares the time."""


class SessionFactory(Protocol):
    """Makes sessions; the module :mod:`engine.worlds` is one. Called in the training thread only."""

    def create(self, config: Config, folder: Path) -> SessionLike:
        """A new run in ``folder``."""

    def resume(self, folder: Path, device: str | None = None, data: Path | None = None) -> SessionLike:
        """The run in ``folder``, at its newest checkpoint; ``data`` is where its images are now."""

    def past(
        self, folder: Path, device: str | None = None, data: Path | None = None, beside: SessionLike | None = None
    ) -> PastLike:
        """The stored run in ``folder``, only to be read; ``beside`` is a session of it that goes on."""

    def branch(
        self, folder: Path, step: int, out: Path, settings: Sequence[tuple[str, str]] = (), *, data: Path | None = None
    ) -> SessionLike:
        """A new run in ``out`` that goes on from the checkpoint at ``step`` of the run in ``folder``."""


class Worlds:
    """The sessions of :mod:`engine.worlds`, imported when the first is made: the window does not wait for it."""

    def create(self, config: Config, folder: Path) -> SessionLike:
        """A new run in ``folder``."""
        from engine import worlds
        from engine.core.cores import check_threads

        check_threads(config.threads)
        return worlds.create(config, folder)

    def resume(self, folder: Path, device: str | None = None, data: Path | None = None) -> SessionLike:
        """The run in ``folder``, at its newest checkpoint; ``data`` is where its images are now."""
        from engine import worlds

        return worlds.resume(folder, device, data)

    def past(
        self, folder: Path, device: str | None = None, data: Path | None = None, beside: SessionLike | None = None
    ) -> PastLike:
        """The stored run in ``folder``, only to be read; ``beside`` is a session of it that goes on."""
        from engine import worlds

        return worlds.past(folder, device, data, cast("Moment | None", beside))

    def branch(
        self, folder: Path, step: int, out: Path, settings: Sequence[tuple[str, str]] = (), *, data: Path | None = None
    ) -> SessionLike:
        """A new run in ``out`` that goes on from the checkpoint at ``step`` of the run in ``folder``."""
        from engine import worlds

        return worlds.branch(folder, step, out, settings, data=data)


@dataclass(frozen=True, slots=True)
class NewRun:
    """Ask for a new run of ``config`` in ``folder``; ``label`` is the preset it comes from."""

    config: Config
    folder: Path
    label: str


@dataclass(frozen=True, slots=True)
class OpenRun:
    """Ask for the run in ``folder`` to go on, optionally on another device, or with its images in ``data``.

    Where it may only be read, a copy of it goes on as ``copy``.
    """

    folder: Path
    device: str | None = None
    data: Path | None = None
    copy: Path | None = None


@dataclass(frozen=True, slots=True)
class WatchRun:
    """Ask for the run in ``folder`` to be followed while another process writes it, or as it lies there: only read.

    Its results are measured on ``device``, with its images in ``data`` if they were moved.
    """

    folder: Path
    device: str | None = None
    data: Path | None = None


@dataclass(frozen=True, slots=True)
class BranchRun:
    """Ask for a new run in ``folder`` that goes on from the checkpoint at ``step`` of the run in ``parent``.

    ``settings`` are live knobs with their values as text, changed at that step; ``data`` is where the images are now.
    """

    folder: Path
    parent: Path
    step: int
    settings: tuple[tuple[str, str], ...] = ()
    data: Path | None = None


Stored = OpenRun | WatchRun | BranchRun  # what is asked of a run that there is
Request = NewRun | Stored


def as_it_opens(request: Request) -> Request:
    """The same, but imported weights, which nobody may train over, are opened only to be read."""
    if isinstance(request, OpenRun):
        with suppress(ExplorerError, OSError):  # what is wrong with the folder, the training thread says
            _, config = read_run(request.folder / "config.json")
            if config.untrained:
                return WatchRun(request.folder, request.device, request.data)
    return request


def name_of(request: Request) -> str:
    """What the run that is asked for is called."""
    return request.label if isinstance(request, NewRun) else request.folder.name


@dataclass(frozen=True, slots=True)
class RunInfo:
    """A run that is open: its id, folder and config, and the steps it had when it opened.

    ``left`` is the folder of the run that it replaced (None if there was none or it had no steps), ``left_steps`` how
    far that was, ``warnings`` are what the user should know of it, ``original`` is the folder that this run is a copy
    of, because it may only be read, ``data`` says classes and counts of its images, and ``watched`` that nothing trains
    it here.
    """

    run: str
    folder: Path
    config: Config
    label: str
    steps: int
    resumed: bool
    left: Path | None = None
    left_steps: int = 0
    warnings: tuple[str, ...] = ()
    original: Path | None = None
    data: str = ""
    watched: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of the command with the number ``serial``: the ``config`` now, the run's ``folder`` and the ``step``
    that it was applied at, of a run that is watched the newest checkpoint's; with ``error`` it was refused or failed.
    Without an open run config and folder are None."""

    serial: int
    command: Command
    config: Config | None = None
    folder: Path | None = None
    step: int = 0
    error: str = ""
    details: str = ""
