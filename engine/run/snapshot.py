"""What the window sees: a frozen picture of a session between two steps."""

from __future__ import annotations

import json
import time as clock
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeVar

from engine.config.curves import PREFIX, read_curve
from engine.config.experiment import Config
from engine.config.knobs import Objective
from engine.core.history import History
from engine.core.measurement import Measurement

R = TypeVar("R")
BRANCH = "branch"  # the event that begins what a branch does itself; its ``new`` is the name of the parent's folder
IMPORT = "import"  # the event that begins a run of weights trained elsewhere; its ``new`` names their files
NO_KNOB = ("phase", "checkpoint", "redraw", BRANCH, IMPORT)  # events of these names change no knob
ProtocolLog = tuple[tuple[int, Measurement], ...]
RunState = Literal["open", "training", "finished", "imported", "interrupted", "diverged"]
"""What has become of a run: this process has it open to train it, another one has, or it lies there as it ended."""


@dataclass(frozen=True, slots=True)
class Event:
    """A change somebody or the schedule made: knob ``name`` (or ``phase``, ``checkpoint``) from ``old`` to ``new``."""

    step: int
    time: float
    name: str
    old: str
    new: str

    @property
    def words(self) -> str:
        """The change in a line, e.g. ``attack.tau 0.2 → 0.3``, ``training.lr: schedule ended by hand``."""
        if self.name.startswith(PREFIX):
            path = self.name.removeprefix(PREFIX)
            if self.new == str(None):
                return f"{path}: schedule ended by hand"
            return f"{path}: schedule {read_curve(path, json.loads(self.new)).brief()}"
        if self.name == BRANCH:
            return f"branched from {self.new}"
        if self.name == IMPORT:
            return f"weights imported: {self.new}"
        if self.name == "checkpoint":
            return "checkpoint saved"
        return f"{self.name} {self.old} → {self.new}" if self.old or self.new else self.name

    @property
    def brief(self) -> str:
        """The same in a word or two, to stand beside its mark, e.g. ``tau 0.3``, ``saved``."""
        knob = self.name.rpartition(".")[2]
        if self.name.startswith(PREFIX):
            return f"{knob} by schedule" if self.new != str(None) else f"{knob} by hand"
        return {"checkpoint": "saved", "phase": "switched", IMPORT: "imported"}.get(
            self.name, f"{knob} {self.new}".rstrip()
        )

    @classmethod
    def now(cls, step: int, name: str, old: str, new: str) -> Event:
        """The change made at this moment."""
        return cls(step, clock.time(), name, old, new)


@dataclass(frozen=True, slots=True)
class Problem:
    """A measurement that an exception ended after ``step`` steps, while the run goes on.

    ``measurement`` says which (a result's type, or ``live evaluation``, ``report``), ``text`` what happened, in a line;
    ``details`` is the traceback. The same text of the same measurement is the same problem.
    """

    measurement: str
    text: str
    step: int = field(compare=False)
    details: str = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class StoredStep:
    """A step whose weights are on disk: a ``checkpoint``, from which a run can go on, or a frame, to be looked at."""

    step: int
    checkpoint: bool

    @property
    def words(self) -> str:
        """What is stored, in a word."""
        return "checkpoint" if self.checkpoint else "frame"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """State of the run ``run`` after ``step`` steps.

    ``phase`` is the current objective; ``scheduled`` whether the preset's schedule still applies; ``finished`` whether
    it has run to its end; ``history`` the lossless scalars (shared, append-only, safe to read from any thread);
    ``protocols`` for each accuracy in it the protocols in their order, each with the first step measured by it;
    ``results`` the probes that were asked for, by the type of their result (:mod:`engine.core.results`); ``problems``
    the measurements that have failed since the run was opened, each once, the newest last; ``clean_step`` the step at
    which the clean phase that later weights are compared with ended, 0 before one has; ``evaluating`` the steps whose
    live evaluation waits or is under way. Arrays are read-only and never change after the snapshot is made.

    The step may be an earlier one than the run's ``newest``: then ``looking`` says that somebody chose it. Phase,
    clean_step, config and results are those of the step; history, events, protocols, scheduled, finished and ``state``
    are the run's, to its newest step. ``stored`` are the steps that can be looked at, ascending. ``holder`` is the
    number of the process that trains a run that is watched, 0 if it did not say, None if none does or nobody can tell.
    """

    run: str
    folder: Path
    step: int
    phase: Objective
    scheduled: bool
    finished: bool
    device: str
    threads: int
    config: Config
    history: History
    events: tuple[Event, ...]
    protocols: Mapping[str, ProtocolLog]
    results: Mapping[type, object]
    problems: tuple[Problem, ...] = ()
    clean_step: int = 0
    evaluating: tuple[int, ...] = ()
    newest: int = 0
    looking: bool = False
    stored: tuple[StoredStep, ...] = ()
    state: RunState = "open"
    holder: int | None = None

    def __post_init__(self) -> None:
        """The newest step is never before the present one."""
        if self.newest < self.step:
            object.__setattr__(self, "newest", self.step)

    @property
    def newest_phase(self) -> Objective:
        """The objective that the run trains with at its newest step."""
        return next((event.new for event in reversed(self.events) if event.name == "phase"), self.phase)

    def protocol(self, name: str) -> Measurement | None:
        """How the accuracy ``name`` is measured now; None if it was not measured yet."""
        log = self.protocols.get(name)
        return log[-1][1] if log else None

    def get(self, kind: type[R]) -> R | None:
        """The result of type ``kind``, e.g. ``snapshot.get(Mixture)``, or None if nobody asked for it."""
        found = self.results.get(kind)
        return found if isinstance(found, kind) else None


def protocol_at(log: ProtocolLog, step: int) -> Measurement | None:
    """The protocol of ``log`` that was in force at ``step``."""
    return next((protocol for first, protocol in reversed(log) if first <= step), None)
