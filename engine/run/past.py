"""A stored run, looked at at a step of one's choice, or followed while another process writes it: it is only read."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Hashable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from engine.config.experiment import Config
from engine.core import metrics
from engine.core.device import choose
from engine.core.errors import ConfigError, DeviceError, StoreError, VersionError
from engine.core.lock import held, holder
from engine.core.notices import notice
from engine.run.commands import Command, SaveCheckpoint
from engine.run.live import source_of
from engine.run.moment import Moment, Record
from engine.run.scheduler import Scheduler
from engine.run.snapshot import RunState, Snapshot, StoredStep
from engine.run.store import Checkpoint, Store
from engine.run.stored_record import StoredRecord

WATCHED = "this run is only watched; open it to train it"


class Past(Moment):
    """The run in ``store``, opened to be read, at one of the steps whose weights are :attr:`stored`.

    :meth:`go` chooses it; until then, and after ``go(None)``, it is the newest, and follows as :meth:`refresh` finds
    newer ones. ``beside`` is a session of the same run that goes on meanwhile: record and data are then that one's.
    One thread uses it, like a session. Nothing is locked or written. What is damaged is passed over, and said
    (:mod:`engine.core.notices`).

    Subclasses, one a kind of world, supply what stays while steps change and what changes: the methods under "what a
    world supplies".
    """

    def __init__(self, store: Store, device: str | None = None, beside: Moment | None = None) -> None:
        self.damaged: tuple[str, ...] = ()  # what was wrong with what was passed over, a line each
        self._store = store
        self._beside = beside
        self._own = StoredRecord(store) if beside is None else None
        self._broken: set[StoredStep] = set()
        self._stored: tuple[StoredStep, ...] = ()
        self._constants: dict[Hashable, Any] = {}
        self._measured: dict[type, Any] = {}
        self._at: StoredStep | None = None
        self._chosen: int | None = None
        self._state: RunState = "open"
        self._holder: int | None = None
        self._list()
        loaded = self._first()
        super().__init__(loaded.config, beside.device.type if beside is not None else _device(device, loaded.config))
        self._prepare(loaded)
        self._stand(loaded)
        if beside is None:
            self.go(None)
        self._tell_state()

    # --- what a world supplies

    @abstractmethod
    def _prepare(self, loaded: Checkpoint) -> None:
        """Make what stays for the whole run: the data, the held-out sample, the network; ``loaded`` is a checkpoint."""

    @abstractmethod
    def _origin(self, loaded: Checkpoint) -> Hashable:
        """What decides the constants of a checkpoint or frame: equal for those that share them."""

    @abstractmethod
    def _constants_of(self, checkpoint: Checkpoint) -> Any:
        """What no frame holds, as it does not change for long: start and clean weights."""

    @abstractmethod
    def _show(self, loaded: Checkpoint, constants: Any) -> None:
        """Make the network's weights those of a checkpoint or frame."""

    # --- choosing a step

    def go(self, step: int | None) -> int:
        """Look at the newest stored step at or before ``step`` (the first one, if there is none); which one that is.

        None is the newest of all, now and as newer ones come. Raises :class:`StoreError` if none can be read.
        """
        self._chosen = step
        sought = self.stored[-1].step if step is None and self.stored else step or 0
        for each in self._nearest(sought):
            if each == self._at:
                return each.step
            loaded = self._load(each)
            try:
                if loaded is not None and self._stand(loaded):
                    self._at = each
                    return each.step
            except StoreError as error:
                self._pass_over(each, str(error))
        raise self._nothing()

    def _nearest(self, step: int) -> Iterator[StoredStep]:
        """All stored steps, the best first."""
        known = self.stored
        yield from (each for each in reversed(known) if each.step <= step)
        yield from (each for each in known if each.step > step)

    def _first(self) -> Checkpoint:
        """The newest checkpoint that can be read."""
        for each in reversed(self._stored):
            if each.checkpoint and (loaded := self._load(each)) is not None:
                self._at = each
                return loaded
        raise self._nothing()

    def _nothing(self) -> StoreError:
        first = f"; {self.damaged[0]}" if self.damaged else ""
        return StoreError(f"{self.folder} holds no checkpoint that can be read{first}")

    def _load(self, each: StoredStep) -> Checkpoint | None:
        """The checkpoint or frame; None, said once, if it cannot be read."""
        try:
            return self._store.load(each.step) if each.checkpoint else self._store.load_frame(each.step)
        except VersionError:
            raise
        except StoreError as error:
            self._list()
            if each in self._stored:  # else who trains the run has just thinned it out
                self._pass_over(each, str(error))
            return None

    def _pass_over(self, each: StoredStep, why: str) -> None:
        line = f"{why}; step {each.step} cannot be looked at"
        self._broken.add(each)
        self.damaged = (*self.damaged, line)
        self._list()
        notice(line)

    def _stand(self, loaded: Checkpoint) -> bool:
        """Show what was loaded; False if it does not fit, or the constants that belong to it are not there yet."""
        key = self._origin(loaded)
        if key not in self._constants and (found := self._checkpoint_of(key, loaded)) is not None:
            self._constants[key] = self._constants_of(found)
        if key not in self._constants:
            return False
        if loaded.step >= self.steps_done:  # the schedule is the run's, whatever step of it is looked at
            self.scheduled = bool(loaded.state["scheduled"])
        self.config, self.phase, self.steps_done = loaded.config, loaded.phase, loaded.step
        try:
            self._show(loaded, self._constants[key])
        except (KeyError, ValueError, RuntimeError) as error:
            raise StoreError(
                f"{self.folder}: step {loaded.step} does not fit: {' '.join(str(error).split())}"
            ) from None
        self._measured.clear()
        self._of_step.clear()
        self._scheduler.close()
        self._scheduler = Scheduler()  # what was measured of another step says nothing of this one
        return True

    def _checkpoint_of(self, key: Hashable, loaded: Checkpoint) -> Checkpoint | None:
        if is_checkpoint(loaded):
            return loaded
        known = [each for each in self._stored if each.checkpoint]
        after = [each for each in known if each.step >= loaded.step]
        for each in (*after, *reversed([each for each in known if each.step < loaded.step])):
            found = self._load(each)
            if found is not None and self._origin(found) == key:
                return found
        return None

    # --- what others write

    def refresh(self) -> bool:
        """Read what was added to the run since; whether anything was. The newest weights are shown, if none are chosen.

        Raises :class:`StoreError` if the run cannot be read any more.
        """
        if not self.folder.is_dir():
            raise StoreError(f"{self.folder} is gone: the run has been removed or moved")
        before = (self._stored, self._state, self._holder, self._at)
        grown = self._own is not None and self._own.refresh(self.config.evaluation.every)
        self._list()
        if self._chosen is None and self._stored and self._stored[-1] != self._at:
            self.go(None)
        self._tell_state()
        return grown or before != (self._stored, self._state, self._holder, self._at)

    def _list(self) -> None:
        kinds = dict.fromkeys(self._store.frames(), False) | dict.fromkeys(self._store.checkpoints(), True)
        found = (StoredStep(step, kinds[step]) for step in sorted(kinds))
        self._stored = tuple(each for each in found if each not in self._broken)

    def _tell_state(self) -> None:
        if self._beside is not None:
            return
        self._holder = holder(self.folder)
        losses = self.record.history.get(metrics.LOSS)
        if losses is not None and len(losses) and not np.isfinite(losses.values[-1]):
            self._state = "diverged"
        elif self._holder is not None or held(self.folder):
            self._state = "training"
        elif self.newest < self.config.schedule.total:
            self._state = "interrupted"
        else:
            self._state = "imported" if self.config.untrained else "finished"

    # --- what a session answers, too

    @property
    def run(self) -> str:
        """The run's id."""
        return self._store.run

    @property
    def folder(self) -> Path:
        """The run folder."""
        return self._store.folder

    @property
    def record(self) -> Record:
        """What the run has recorded, to its newest step."""
        if self._beside is not None:
            return self._beside.record
        assert self._own is not None
        return self._own

    @property
    def newest(self) -> int:
        """The run's newest step that is known of."""
        if self._beside is not None:
            return self._beside.newest
        assert self._own is not None
        return max(self._own.newest, self._stored[-1].step if self._stored else 0)

    @property
    def stored(self) -> tuple[StoredStep, ...]:
        """The steps that can be looked at, ascending."""
        return self._stored

    @property
    def state(self) -> RunState:
        """What has become of the run."""
        return self._state if self._beside is None else self._beside.state

    @property
    def finished(self) -> bool:
        """Whether the preset's schedule has just run to its end."""
        if self._beside is not None:
            return self._beside.finished
        return self.scheduled and self.newest >= self.config.schedule.total

    def snapshot(self, wanted: frozenset[type] = frozenset()) -> Snapshot:
        """A picture of the step that is looked at, the run's record reaching to its newest step."""
        found = replace(super().snapshot(wanted), looking=self._chosen is not None, holder=self._holder)
        if (live := self._beside) is None:
            return found
        return replace(found, scheduled=live.scheduled, problems=(*live.problems, *self.problems))

    def _result(self, kind: type) -> Any:
        source = source_of(self.config.kind, kind)
        if source is None or source.task is not None:
            return super()._result(kind)
        if kind not in self._measured:  # nothing of it changes until another step is chosen
            self._measured[kind] = super()._result(kind)
        return self._measured[kind]

    def flush(self, *, wait: bool = False) -> None:
        """Nothing waits to be written."""

    def step(self) -> None:
        """Refused: it is only read."""
        raise StoreError(WATCHED)

    def apply(self, command: Command) -> None:
        """Refused, as it is only read; a checkpoint need not be saved: what can be read is stored already."""
        if isinstance(command, SaveCheckpoint):
            return
        raise ConfigError(f"{type(command).__name__}: {WATCHED}")

    def close(self) -> None:
        """Close the folder; harmless when closed already."""
        self._scheduler.close()
        self._store.close()


def is_checkpoint(loaded: Checkpoint) -> bool:
    """Whether it is none of the frames, which have no generators and hence no device."""
    return "device" in loaded.state


def _device(wanted: str | None, config: Config) -> str:
    """Where to measure: as wanted, or where the run is trained, or what this machine has."""
    if wanted is not None:
        return wanted
    try:
        choose(config.device)
    except DeviceError:
        return "auto"
    return config.device
