"""What a run has recorded, as a comparison reads it: from its folder, or from the run that is open in a window."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from engine.config.experiment import Config
from engine.core.errors import ConfigError
from engine.core.files import absolute
from engine.core.history import Series
from engine.core.measurement import Measurement
from engine.core.quoting import quote
from engine.run.snapshot import Event, ProtocolLog, Snapshot, protocol_at
from engine.run.store import Checkpoint, Store
from engine.run.timeline import Span, events_of, spans, until

Wanted = Callable[[str], bool]  # whether the metric of this name is drawn
FEWEST, MOST = 2, 35  # runs: as many as there are pairs of a colour and a dash
NO_SERIES = Series(np.empty(0, np.int64), np.empty(0, np.float64))


@dataclass(frozen=True)
class RecordedRun:
    """One run up to ``step``: ``config`` as started, ``events`` and ``phases`` until then, and some of its metrics.

    ``objective`` is the one that trains at ``step``; ``present`` the config there, after all changes.
    """

    folder: Path
    run: str
    config: Config
    present: Config
    events: tuple[Event, ...]
    objective: str
    step: int
    metrics: Mapping[str, Series]
    protocols: Mapping[str, ProtocolLog]

    @classmethod
    def of_store(cls, store: Store, wanted: Wanted, checkpoint: Checkpoint | None = None) -> RecordedRun:
        """All that the run has recorded, or what it had when it wrote ``checkpoint``; imports no torch."""
        names = [name for name in store.names() if wanted(name)]
        logs: dict[str, list[tuple[int, Measurement]]] = {}
        for first, name, protocol in store.protocols():
            logs.setdefault(name, []).append((first, protocol))
        protocols = {name: tuple(log) for name, log in logs.items()}
        series = {name: store.series(name) for name in names}
        if checkpoint is not None:
            phase: str
            step, found = checkpoint.step, events_of(store, checkpoint)
            series = {name: until(each, step) for name, each in series.items()}
            phase, present = checkpoint.phase, checkpoint.config
        else:
            found = store.events()
            ends = [int(each.steps[-1]) for each in series.values() if len(each)]
            step = max([*ends, *(event.step for event in found), *store.checkpoints()], default=0)
            switches = [event.new for event in found if event.name == "phase"]
            began = "clean" if store.config.schedule.clean_steps else store.config.schedule.second
            phase, present = switches[-1] if switches else began, store.config
        return cls(store.folder, store.run, store.config, present, found, phase, step, series, protocols)

    @classmethod
    def of_snapshot(cls, snapshot: Snapshot, started: Config, wanted: Wanted) -> RecordedRun:
        """The run that is open, as it stands; ``started`` is its config before any change."""
        series = {name: snapshot.history[name] for name in snapshot.history if wanted(name)}
        return cls(
            snapshot.folder, snapshot.run, started, snapshot.config, snapshot.events, snapshot.phase, snapshot.step,
            series, snapshot.protocols,
        )  # fmt: skip

    @property
    def phases(self) -> tuple[Span, ...]:
        """The phases until :attr:`step`."""
        return spans(self.events, self.objective, self.step)

    def series(self, name: str) -> Series:
        """The metric ``name``; empty if it was not recorded."""
        return self.metrics.get(name, NO_SERIES)

    def protocols_of(self, name: str) -> tuple[Measurement | None, ...]:
        """How each value of the metric ``name`` was measured."""
        log = self.protocols.get(name, ())
        return tuple(protocol_at(log, step) for step in self.series(name).steps.tolist())

    def load(self) -> Checkpoint:
        """The checkpoint of :attr:`step`, or the newest if that step has none."""
        with closing(Store.open(self.folder, read_only=True)) as store:
            return store.load(self.step if self.step in store.checkpoints() else None)


def folders_of(given: Sequence[Path]) -> tuple[Path, ...]:
    """The absolute folders. Raises :class:`ConfigError` for less than two, too many, or one that is given twice."""
    found = tuple(absolute(each) for each in given)
    if not FEWEST <= len(found) <= MOST:
        raise ConfigError(f"runs: got {len(found)}; allowed: {FEWEST} to {MOST} run folders")
    twice = next((each for i, each in enumerate(found) if each in found[:i]), None)
    if twice is not None:
        raise ConfigError(f"runs: {quote(str(twice))} is given twice; allowed: each run once")
    return found


def check_kinds(runs: Sequence[tuple[Path, Config]]) -> str:
    """The kind that all these runs are of. Raises :class:`ConfigError` if it is not one."""
    first, config = runs[0]
    for folder, other in runs[1:]:
        if other.kind != config.kind:
            raise ConfigError(
                f"runs: {first} is on {config.world.name} and {folder} on {other.world.name}; allowed: runs of one kind"
            )
    return config.kind


def read_runs(folders: Sequence[Path], wanted: Wanted) -> tuple[RecordedRun, ...]:
    """What the runs in ``folders`` have recorded up to now; imports no torch.

    Raises :class:`ConfigError` for runs of different kinds, :class:`StoreError` for a folder that is no run.
    """
    found = []
    for folder in folders_of(folders):
        with closing(Store.open(folder, read_only=True)) as store:
            found.append(RecordedRun.of_store(store, wanted))
    check_kinds([(each.folder, each.config) for each in found])
    return tuple(found)
