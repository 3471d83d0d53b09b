"""A run: trains step by step, measures in slices between the steps, and takes commands at any step."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Generator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from engine.config.curves import PREFIX, is_curve
from engine.config.experiment import Config, at_step, resolve, value_of, with_value
from engine.config.knobs import Objective
from engine.config.objectives import known
from engine.core import metrics
from engine.core.arrays import frozen
from engine.core.errors import ConfigError, DivergedError, ExplorerError
from engine.core.generators import seeded
from engine.run.branch import divergence
from engine.run.commands import Command, EvaluateNow, SaveCheckpoint, SetKnob, SwitchPhase
from engine.run.evaluations import EvaluationQueue, Waiting
from engine.run.moment import Moment, Record
from engine.run.recorder import Recorder
from engine.run.snapshot import RunState, Snapshot, StoredStep
from engine.run.store import Checkpoint, Store
from engine.run.summary import summarise
from engine.run.timeline import last_switch
from engine.run.wholeness import Wholeness

RING = 64  # steps whose loss stays on the device before it is recorded: one synchronisation for all of them


class Session(Moment):
    """One run, in one thread: create or resume it, :meth:`step` it, :meth:`close` it.

    A step is one training step and some slices of what is being measured (:mod:`engine.run.evaluations`). What is
    trained depends on config, seed and commands alone, never on measuring or on snapshots: with and without a window
    the history is the same, bit for bit on the same device and thread count. An exception in a measurement ends that
    measurement alone and becomes one of :attr:`problems`.

    Subclasses, one a kind of world, supply what is trained and measured: the methods under "what a world supplies".
    """

    GENERATORS: ClassVar[tuple[str, ...]]  # names of the random generators that training uses
    REMEDY: ClassVar[str]  # the knobs to lower where training diverges

    def __init__(self, store: Store, config: Config, checkpoint: Checkpoint | None) -> None:
        super().__init__(at_step(config, 0 if checkpoint is None else checkpoint.step), config.device)
        self._generators = {name: seeded(config.seed, name, self.device) for name in self.GENERATORS}
        self.diverged = False
        self.phase_start = 0  # the step at which the present phase began
        if checkpoint is None:
            if config.schedule.clean_steps == 0:
                self.phase = config.schedule.second
            self._start()
            waiting: Sequence[Waiting] = ()
        else:
            self.steps_done, self.phase = checkpoint.step, checkpoint.phase
            self.scheduled = bool(checkpoint.state["scheduled"])
            self.phase_start = int(checkpoint.state.get("phase_start", last_switch(store, checkpoint)))
            self._restore_generators(checkpoint)
            self._restore(checkpoint)
            waiting = self._unpack_requests(checkpoint)
            store.rewind(checkpoint.step, checkpoint.events)  # only now: the checkpoint fits
        self._ring = torch.empty(2, RING, device=self.device)
        self._in_ring = 0
        self._recorder = Recorder(store)
        self._evaluations = EvaluationQueue(self._evaluate, self._evaluated, self._not_evaluated)
        self._asked: object = None  # what decides the newest live evaluation
        self._reported_at = -1 if checkpoint is None else int(checkpoint.state.get("reported_at", -1))
        self._saved_at = -1
        self._closed = False
        self._whole = Wholeness()
        if checkpoint is None:
            self._request(report=False)
            self._save(keep=True)
        else:
            for request in waiting:
                self._evaluations.add(request)
            same = config.world == checkpoint.config.world  # else the next save is to say where the data are now
            self._saved_at = checkpoint.step if same else -1

    def _restore_generators(self, checkpoint: Checkpoint) -> None:
        if checkpoint.state["device"] == self.device.type:
            for name, generator in self._generators.items():
                generator.set_state(torch.from_numpy(checkpoint.arrays[f"generator.{name}"].copy()))
        else:  # another device has other generators: go on reproducibly, though not with the same numbers
            for name in self.GENERATORS:
                self._generators[name] = seeded(self.config.seed, f"{name} {self.steps_done}", self.device)

    # --- what a world supplies

    @abstractmethod
    def _start(self) -> None:
        """Draw the network's start (on the CPU, so that a seed means the same on every device) and begin the phase."""

    @abstractmethod
    def _restore(self, checkpoint: Checkpoint) -> None:
        """Go back to the state of ``checkpoint``. A KeyError or ValueError says that it does not fit."""

    @abstractmethod
    def _train(self, loss: Tensor, accuracy: Tensor) -> None:
        """One training step; its loss and the batch's accuracy before it are written into the 0-d tensors."""

    @abstractmethod
    def _begin_phase(self) -> None:
        """The phase has just become :attr:`phase`."""

    @abstractmethod
    def _end_clean(self) -> None:
        """Clean training has just ended: keep its weights."""

    @abstractmethod
    def _frozen(self, *, report: bool) -> Waiting:
        """The state now, to be measured later."""

    @abstractmethod
    def _evaluate(self, request: Any) -> Generator[None, None, None]:
        """Measure what :meth:`_frozen` gave, in slices, into :attr:`_recorder`."""

    @abstractmethod
    def _sound(self) -> bool:
        """Whether all weights are finite."""

    @abstractmethod
    def _arrays(self) -> dict[str, np.ndarray[Any, Any]]:
        """What a checkpoint holds, by name; the generators' states as far as they differ from the present ones."""

    @abstractmethod
    def _state(self) -> dict[str, Any]:
        """What else it needs, as JSON."""

    @abstractmethod
    def _frame(self) -> tuple[dict[str, np.ndarray[Any, Any]], dict[str, Any]]:
        """What of the present network views need and other steps do not have: arrays by name, and JSON."""

    @abstractmethod
    def _pack_requests(self) -> tuple[dict[str, np.ndarray[Any, Any]], list[dict[str, Any]]]:
        """Arrays and JSON of what is still to be measured."""

    @abstractmethod
    def _unpack_requests(self, checkpoint: Checkpoint) -> Sequence[Waiting]:
        """Inverse of :meth:`_pack_requests`."""

    # --- opening and closing

    def close(self) -> None:
        """Save a checkpoint of the current step, write what waits, close the folder. Harmless when closed already.

        A step that was interrupted in its middle is not saved, nor anything after a write that failed.
        """
        if self._closed:
            return
        self._closed = True
        try:
            if not self._whole.torn and not self._recorder.failed:
                with suppress(ExplorerError):  # it has diverged: the last sound checkpoint stays the newest
                    self._empty_ring()
                if self._saved_at != self.steps_done and not self.diverged:
                    self._save(keep=False)
                self._recorder.summary(self.summary())
        finally:
            self._scheduler.close()
            self._evaluations.close()
            self._recorder.close()

    # --- training

    @property
    def damaged(self) -> tuple[str, ...]:
        """What was wrong with newer checkpoints than the one that the session began with, a line each."""
        return tuple(self._recorder.store.damaged)

    @property
    def finished(self) -> bool:
        """Whether the preset's schedule has just run to its end; a further step goes on all the same."""
        return self.scheduled and self.steps_done >= self.config.schedule.total

    @property
    def measuring(self) -> bool:
        """Whether evaluations are under way or waiting."""
        return bool(self._evaluations) or super().measuring

    @property
    def folder(self) -> Path:
        """The run folder."""
        return self._recorder.store.folder

    @property
    def run(self) -> str:
        """The run's id."""
        return self._recorder.store.run

    @property
    def record(self) -> Record:
        """What the run has recorded."""
        return self._recorder

    @property
    def newest(self) -> int:
        """The present step."""
        return self.steps_done

    @property
    def stored(self) -> tuple[StoredStep, ...]:
        """The steps whose weights are on disk, or will be in a moment, ascending."""
        return self._recorder.stored

    @property
    def state(self) -> RunState:
        """Open, unless it has diverged."""
        return "diverged" if self.diverged else "open"

    def step(self) -> None:
        """One training step, then the slices of measuring that are due.

        Raises :class:`DivergedError` when training has diverged; the last checkpoint is still sound then.
        """
        self._whole.check(self.steps_done)
        if self.diverged:
            raise self._divergence()
        with self._whole.change(ExplorerError):
            if self.finished:
                self.scheduled = False
            self._train(self._ring[0, self._in_ring], self._ring[1, self._in_ring])
            self._in_ring += 1
            self.steps_done += 1
            self.config = at_step(self.config, self.steps_done)
            self._after_step()
        with self._whole.change(Exception):
            self._evaluations.beside(self.steps_done, self.config.evaluation.every)
            self.measure_beside_training()
        if self._recorder.overdue:
            self.flush()

    def _after_step(self) -> None:
        step, schedule = self.steps_done, self.config.schedule
        if self._in_ring == RING:
            self._empty_ring()
        if step % self.config.evaluation.every == 0:
            self._request(report=False)
        if self.scheduled and step == schedule.total:
            self._end_phase()
            self._save(keep=True)
        elif self.scheduled and step == schedule.clean_steps and self.phase != schedule.second:
            self._switch(schedule.second)
        elif step % self.config.storage.checkpoint_every == 0:
            self._save(keep=False)
        if self._saved_at != step and self._recorder.frames.due(step, self.phase_start, self.config.storage.frames_mb):
            arrays, state = self._frame()
            state |= {"scheduled": self.scheduled, "clean_step": self.clean_step}
            self._recorder.frame(step, arrays, self.config, self.phase, state, self.phase_start)

    def _empty_ring(self) -> None:
        """Record the losses that wait on the device."""
        count, self._in_ring = self._in_ring, 0
        if not count or self.diverged:
            return
        losses, accuracies = self._ring[:, :count].tolist()
        first = self.steps_done - count + 1
        for offset in range(count):
            self._recorder.scalar(first + offset, metrics.LOSS, losses[offset])
            self._recorder.scalar(first + offset, metrics.TRAIN_ACCURACY, accuracies[offset])
        if not all(map(math.isfinite, losses)):
            self.diverged = True
            raise self._divergence()

    def _divergence(self) -> DivergedError:
        return divergence(self._recorder.store, self.config, self.steps_done, self.REMEDY)

    def flush(self, *, wait: bool = False) -> None:
        """Send what waits to the store, so that others can read it; with ``wait`` return when it is on disk.

        Raises :class:`ExplorerError` when training turns out to have diverged.
        """
        self._empty_ring()
        self._recorder.flush()
        if wait:
            self._recorder.wait()

    # --- phases and commands

    def apply(self, command: Command) -> None:
        """Carry out a command between two steps.

        Raises :class:`ConfigError`, and changes nothing, for an unknown knob, a value that is not allowed or a knob
        that takes effect with a new run only.
        """
        self._whole.check(self.steps_done)
        match command:
            case SetKnob(path, value):
                self._set_knob(path, value)
            case SwitchPhase(to):
                if known(to) != self.phase:
                    self.scheduled = False
                    self._switch(to)
            case SaveCheckpoint():
                self._recorder.event(self.steps_done, "checkpoint", "", "")
                self._save(keep=True)
                self._recorder.wait()  # whoever asked for it is about to read it
            case EvaluateNow():
                self._request(report=False)
            case _:
                raise ConfigError(f"command: got {command!r}; a run on {self.config.world.name} has no such command")

    def _set_knob(self, path: str, value: object) -> None:
        if is_curve(value) and not path.startswith(PREFIX):
            path = PREFIX + resolve(path, self.config).path
        knob = resolve(path, self.config)
        knob.expect_live()
        curve = value_of(self.config, PREFIX + knob.path) if knob.follows_curves else None
        if curve is not None and value is not None:  # a value set by hand ends the knob's curve
            self._change(PREFIX + knob.path, None)
        self._change(knob.path, value)

    def _change(self, path: str, value: object) -> None:
        changed = at_step(with_value(self.config, path, value), self.steps_done)
        old, new = value_of(self.config, path), value_of(changed, path)
        if old != new:
            self.config = changed
            self._saved_at = -1  # a checkpoint of this step would not know it
            self._recorder.event(self.steps_done, path, old, new)

    def _switch(self, to: Objective) -> None:
        with self._whole.change(ExplorerError):
            old, self.phase = self.phase, to
            self._end_phase(old)
            self.phase_start = self.steps_done
            self._begin_phase()
            self._recorder.event(self.steps_done, "phase", old, to)
            self._save(keep=True)

    def _end_phase(self, ended: Objective | None = None) -> None:
        """The phase ``ended``, or the present one, has come to its end. One without a step ends nothing."""
        if self.steps_done == self.phase_start:
            return
        if (ended or self.phase) == "clean":
            self.clean_step = self.steps_done
            self._end_clean()
        if self._reported_at != self.steps_done:  # the schedule's end, and then a switch by hand, are one end
            self._reported_at = self.steps_done
            self._request(report=True)

    # --- measuring

    def measure(self) -> None:
        """One slice of what is being measured, if anything is."""
        with self._whole.change(Exception):
            if self._evaluations:
                self._evaluations.slice()
            else:
                super().measure()
        if self._recorder.overdue:
            self._recorder.flush()

    def _request(self, *, report: bool) -> None:
        if self.diverged:
            return
        self._saved_at = -1
        if not report:
            asked = (self.steps_done, self.phase, self.config)
            if asked == self._asked and any(
                r.step == self.steps_done and not r.report for r in self._evaluations.requests
            ):
                return  # the very same is waiting
            self._asked = asked
        self._evaluations.add(self._frozen(report=report))

    def _evaluated(self, request: Waiting) -> None:
        if request.report:
            self._recorder.flush()
            self._recorder.summary(self.summary())

    def _not_evaluated(self, request: Waiting, error: Exception) -> None:
        self._fail("report" if request.report else "live evaluation", error, request.step)

    # --- what others see

    def snapshot(self, wanted: frozenset[type] = frozenset()) -> Snapshot:
        """A picture of this moment with the results of the types in ``wanted`` (:mod:`engine.core.results`)."""
        self._empty_ring()
        evaluating = tuple(each.step for each in self._evaluations.requests if not each.report)
        return replace(super().snapshot(wanted), evaluating=evaluating)

    def summary(self) -> dict[str, Any]:
        """Figures of the run so far, with protocols: what ``summary.json`` holds."""
        recorder = self._recorder
        return summarise(
            recorder.store, recorder.history, recorder.events, recorder.protocol_at, diverged=self.diverged,
            steps=self.steps_done, phase=self.phase, device=self.device.type, threads=self.threads,
        )  # fmt: skip

    # --- checkpoints

    def _save(self, *, keep: bool) -> None:
        self._empty_ring()
        if self.diverged:
            return
        if not self._sound():  # the loss will say so one step later
            self.diverged = True
            raise self._divergence()
        waiting, pending = self._pack_requests()
        arrays = {f"generator.{name}": frozen(generator.get_state()) for name, generator in self._generators.items()}
        arrays |= self._arrays() | waiting
        state = {
            "scheduled": self.scheduled,
            "clean_step": self.clean_step,
            "phase_start": self.phase_start,
            "reported_at": self._reported_at,
            "pending": pending,
            "device": self.device.type,
            "threads": self.threads,
            "torch": torch.__version__,
            **self._state(),
        }
        self._recorder.checkpoint(self.steps_done, arrays, self.config, self.phase, state, keep=keep)
        self._saved_at = self.steps_done
