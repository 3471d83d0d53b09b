"""A run: trains step by step, measures in slices between the steps, and takes commands at any step."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Generator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from engine import metrics
from engine.commands import Command, EvaluateNow, SaveCheckpoint, SetKnob, SwitchPhase
from engine.config import Config, Objective, resolve, value_of, with_value
from engine.data.sparse_coding import SparseCoding, Stream
from engine.device import choose, prepare_thread
from engine.errors import ConfigError, ExplorerError, StoreError
from engine.evaluation import HeldOut, Request, evaluate
from engine.generators import seeded
from engine.models.low_rank import Factors
from engine.models.symmetric_relu import SymmetricRelu
from engine.objectives import objectives
from engine.probes import anatomy
from engine.probes.arrays import frozen
from engine.probes.low_rank import low_rank
from engine.probes.mixture import mixture
from engine.probes.principle1 import principle1
from engine.probes.sparsity import sparsity
from engine.probes.winners import winners
from engine.recorder import Recorder
from engine.results import Anatomy, LowRank, Mixture, Principle1, RadiusCurves, Sparsity, Weights, Winners
from engine.snapshot import Snapshot
from engine.state import clean_step, pack_factors, pack_requests, tensor, unpack_factors, unpack_requests
from engine.store import Checkpoint, Store
from engine.summary import summarise
from engine.training import GENERATORS, Trainer, bias_at, initial_weight
from engine.watch import Moment, RadiusWatch

RING = 64  # steps whose loss stays on the device before it is recorded: one synchronisation for all of them


class Session:
    """One run, in one thread: create or resume it, :meth:`step` it, :meth:`close` it.

    A step is one training step and one slice of whatever is being measured. What is trained depends on config, seed
    and commands alone, never on measuring or on snapshots: with and without a window the history is the same, bit for
    bit on the same device and thread count.
    """

    def __init__(self, store: Store, config: Config, checkpoint: Checkpoint | None) -> None:
        self.threads = prepare_thread(config.threads)
        self.device = choose(config.device)
        self.config = config
        self._generators = {name: seeded(config.seed, name, self.device) for name in GENERATORS}
        self.steps_done = 0
        self.scheduled = True
        self.diverged = False
        self.phase: Objective = "clean"
        if checkpoint is None:
            self._start()
        else:
            self._restore(checkpoint)
        self.stream = Stream(self.world, self._generators["pool"], self._generators["input_noise"])
        self.stream.seek(0 if checkpoint is None else int(checkpoint.state["position"]))
        self.held_out = HeldOut(self.world, config.seed)
        self._trainer = Trainer(self.model, self.stream, self._generators)
        self._trainer.factors = self._begin_phase() if checkpoint is None else unpack_factors(checkpoint, self.device)
        self._ring = torch.empty(2, RING, device=self.device)
        self._in_ring = 0
        self._recorder = Recorder(store)
        self._job: Generator[None, None, None] | None = None
        self._slices_a_step = 1
        self._pending: deque[Request] = deque()
        self._saved_at = -1
        self._closed = False
        self._watch = RadiusWatch(self.held_out)
        self._constant: dict[str, Any] = {}

    # --- opening and closing

    @classmethod
    def create(cls, config: Config, folder: Path) -> Session:
        """Start a new run in ``folder``, which must not exist or be empty.

        Raises :class:`StoreError` for the folder, :class:`DeviceError` for a device that is not there.
        """
        choose(config.device)
        session = cls(Store.create(folder, config), config, None)
        session._request(report=False)
        session._save(keep=True)
        return session

    @classmethod
    def resume(cls, folder: Path, device: str | None = None) -> Session:
        """Go on from the newest checkpoint of a run, bit-identically on the same device and thread count.

        What had been recorded after that checkpoint is forgotten and will be measured again. Raises
        :class:`StoreError` if the folder is no run or its checkpoints cannot be read.
        """
        store = Store.open(folder)
        try:
            if not store.checkpoints():  # killed before the first one: nothing was trained yet
                config = store.config if device is None else with_value(store.config, "device", device)
                session = cls(store, config, None)
                session._request(report=False)
                session._save(keep=True)
                return session
            checkpoint = store.load()
            config = checkpoint.config
            if device is not None:
                config = with_value(config, "device", device)
            choose(config.device)
            store.rewind(checkpoint.step, checkpoint.events)
            session = cls(store, config, checkpoint)
            session._requeue(checkpoint)
        except (KeyError, ValueError, RuntimeError) as error:
            store.close()
            raise StoreError(f"{folder}: the newest checkpoint does not fit this version: {error}") from error
        except BaseException:
            store.close()
            raise
        session._saved_at = checkpoint.step
        return session

    def _start(self) -> None:
        """Draw world and weights; on the CPU, so that a seed means the same on every device."""
        config = self.config
        self.world = SparseCoding.draw(config.world, seeded(config.seed, "world"), self.device)
        weight = initial_weight(config, config.seed)
        self.model = SymmetricRelu(weight.to(self.device), self.bias_at(0))
        self.weight_init = self.model.weight.clone()
        self.weight_clean: Tensor | None = None
        self.clean_step = 0
        if config.schedule.clean_steps == 0:
            self.phase = config.schedule.second

    def _restore(self, checkpoint: Checkpoint) -> None:
        arrays, device = checkpoint.arrays, self.device
        world = self.config.world
        self.world = SparseCoding(world, tensor(checkpoint, "dictionary", device), tensor(checkpoint, "target", device))
        self.model = SymmetricRelu(tensor(checkpoint, "weight", device), float(arrays["bias"]))
        self.weight_init = tensor(checkpoint, "weight_init", device)
        self.weight_clean = tensor(checkpoint, "weight_clean", device) if "weight_clean" in arrays else None
        self.clean_step = clean_step(checkpoint)
        self.steps_done, self.phase = checkpoint.step, checkpoint.phase
        self.scheduled = bool(checkpoint.state["scheduled"])
        if checkpoint.state["device"] == self.device.type:
            for name, generator in self._generators.items():
                generator.set_state(torch.from_numpy(arrays[f"generator.{name}"].copy()))
        else:  # another device has other generators: go on reproducibly, though not with the same numbers
            for name in GENERATORS:
                self._generators[name] = seeded(self.config.seed, f"{name} {self.steps_done}", self.device)

    def _requeue(self, checkpoint: Checkpoint) -> None:
        """Queue again what was being measured when the checkpoint was written."""
        for request in unpack_requests(checkpoint, self.weight_init):
            self._enqueue(request)

    def close(self) -> None:
        """Save a checkpoint of the current step, write what waits, close the folder. Harmless when closed already."""
        if self._closed:
            return
        self._closed = True
        try:
            with suppress(ExplorerError):  # it has diverged: the last sound checkpoint stays the newest
                self._empty_ring()
            if self._saved_at != self.steps_done and not self.diverged:
                self._save(keep=False)
            self._recorder.summary(self.summary())
        finally:
            self._watch.close()
            if self._job is not None:
                self._job.close()
            self._recorder.close()

    # --- training

    @property
    def finished(self) -> bool:
        """Whether the preset's schedule has just run to its end; a further step goes on all the same."""
        return self.scheduled and self.steps_done >= self.config.schedule.total

    @property
    def measuring(self) -> bool:
        """Whether evaluations are under way or waiting."""
        return bool(self._pending) or (self._watch.wanted and self._watch.behind(self._moment()))

    @property
    def folder(self) -> Path:
        """The run folder."""
        return self._recorder.store.folder

    @property
    def run(self) -> str:
        """The run's id."""
        return self._recorder.store.run

    def bias_at(self, step: int) -> float:
        """The bias b in the step after ``step`` steps (SPEC.md section 2)."""
        return bias_at(self.config, step)

    def step(self) -> None:
        """One training step, then one slice of measuring.

        Raises :class:`ExplorerError` when training has diverged; the last checkpoint is still sound then.
        """
        if self.diverged:
            raise ExplorerError(self._divergence())
        if self.finished:
            self.scheduled = False
        self._train()
        self.steps_done += 1
        self._after_step()
        for _ in range(self._slices_a_step):
            self._measure()
        if self._watch.wanted:
            self._watch.beside_training(self._moment())

    def _train(self) -> None:
        margin = self._trainer.step(self.config, self.phase, self.steps_done)
        torch.mean(margin > 0, dtype=torch.float32, out=self._ring[1, self._in_ring])
        torch.mean(torch.nn.functional.softplus(margin.neg_()), dim=0, out=self._ring[0, self._in_ring])
        self._in_ring += 1

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
            raise ExplorerError(self._divergence())

    def _divergence(self) -> str:
        saved = max((s for s in self._recorder.store.checkpoints() if s <= self.steps_done), default=0)
        return (
            f"training diverged before step {self.steps_done}: the loss is not finite; "
            "lower training.lr or model.lambda. "
            f"The checkpoint at step {saved} is sound: open the run folder again to go on from it"
        )

    # --- phases and commands

    def apply(self, command: Command) -> None:
        """Carry out a command between two steps.

        Raises :class:`ConfigError`, and changes nothing, for an unknown knob, a value that is not allowed or a knob
        that takes effect with a new run only.
        """
        match command:
            case SetKnob(path, value):
                self._set_knob(path, value)
            case SwitchPhase(to):
                if to not in objectives:
                    raise ConfigError(f"phase: got {to!r}; allowed: {', '.join(objectives)}")
                if to != self.phase:
                    self.scheduled = False
                    self._switch(to)
            case SaveCheckpoint():
                self._recorder.event(self.steps_done, "checkpoint", "", "")
                self._save(keep=True)
                self._recorder.wait()  # whoever asked for it is about to read it
            case EvaluateNow():
                self._request(report=False)

    def _set_knob(self, path: str, value: object) -> None:
        knob = resolve(path, self.config)
        if not knob.live:
            raise ConfigError(f"{knob.path}: takes effect with a new run only; reset to apply it")
        changed = with_value(self.config, knob.path, value)
        old, new = value_of(self.config, knob.path), value_of(changed, knob.path)
        if old != new:
            self.config = changed
            self._saved_at = -1  # a checkpoint of this step would not know it
            self._recorder.event(self.steps_done, knob.path, old, new)

    def _switch(self, to: Objective) -> None:
        old, self.phase = self.phase, to
        self._end_phase(old)
        self._trainer.factors = self._begin_phase()
        self._recorder.event(self.steps_done, "phase", old, to)
        self._save(keep=True)

    def _begin_phase(self) -> Factors | None:
        """What the new phase may change: with ``low_rank.rank``, a matrix of that rank on the present weights."""
        if self.phase == "clean":
            return None
        return Factors.begin(self.model.weight, self.config.low_rank.rank, self.config.seed, self.steps_done)

    @property
    def rank(self) -> int:
        """The rank that the current phase restricts its change of the weights to; 0 is no restriction."""
        factors = self._trainer.factors
        return 0 if factors is None else factors.rank

    def _end_phase(self, ended: Objective | None = None) -> None:
        if (ended or self.phase) == "clean":
            self.weight_clean, self.clean_step = self.model.weight.clone(), self.steps_done
        self._request(report=True)

    # --- measuring

    def measure(self) -> None:
        """One slice of what is being measured, if anything is."""
        if self._pending:
            self._measure()
        elif self._watch.wanted:
            self._watch.slice(self._moment())

    def _measure(self) -> None:
        if self._job is None:
            if not self._pending:
                return
            self._job = evaluate(self._pending[0], self.held_out, self._recorder.scalar, self._recorder.measured_by)
        try:
            next(self._job)
        except StopIteration:
            self._job = None
            done = self._pending.popleft()
            self._slices_a_step = self._pace()
            if done.report:
                self._recorder.flush()
                self._recorder.summary(self.summary())

    def _request(self, *, report: bool) -> None:
        if self.diverged:
            return
        self._saved_at = -1
        weight, bias = self.model.weight.clone(), self.bias_at(self.steps_done)
        start, clean = self.weight_init, self.weight_clean
        self._enqueue(Request(self.steps_done, report, self.config, bias, weight, start, clean, self.rank))

    def _enqueue(self, request: Request) -> None:
        # Live estimates go first, reports fill the time between them; what is under way is finished before.
        place = len(self._pending)
        if not request.report:
            running = 1 if self._job is not None else 0
            place = next((i for i, r in enumerate(self._pending) if i >= running and r.report), place)
        self._pending.insert(place, request)
        self._slices_a_step = self._pace()

    def _pace(self) -> int:
        """Slices a step: as many as keep up with the live evaluations, whatever the knobs ask for."""
        live = sum(r.slices() for r in self._pending if not r.report)
        return max(1, -(-live // self.config.evaluation.every))

    # --- what others see

    def snapshot(self, wanted: frozenset[type] = frozenset()) -> Snapshot:
        """A picture of this moment with the results of the types in ``wanted`` (:mod:`engine.results`)."""
        self._empty_ring()
        results = {kind: found for kind in wanted if (found := self._result(kind)) is not None}
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
            history=self._recorder.history,
            events=self._recorder.events,
            protocols=self._recorder.protocols,
            results=results,
        )

    def _result(self, kind: type) -> object | None:
        weight, world, clean = self.model.weight, self.world, self.weight_clean
        if kind is Weights:
            return Weights(
                now=frozen(weight),
                start=self._once("start", self.weight_init),
                clean=None if clean is None else self._once("clean", clean),
                dictionary=self._once("dictionary", world.dictionary),
                target=self._once("target", world.target),
                bias=self.bias_at(self.steps_done),
            )
        if kind is Mixture:
            return mixture(weight, world.dictionary, world.target)
        if kind is Principle1:
            return None if clean is None else principle1(self.weight_init, clean, weight)
        if kind is Sparsity:
            model = SymmetricRelu(weight, self.bias_at(self.steps_done))
            x, _ = self.held_out.take(self.config.evaluation.size, self.config.world.sigma_x)
            return sparsity(model, x)
        if kind is Anatomy:
            model = SymmetricRelu(weight, self.bias_at(self.steps_done))
            x, y = self.held_out.take(anatomy.SIZE, self.config.world.sigma_x)
            return anatomy.of_fgm(model, world, x, y, self.config.attack.norm, self.config.attack.tau)
        if kind is Winners:
            return winners(self.weight_init, weight, world.dictionary, world.target, self.config.model.sigma_0)
        if kind is RadiusCurves:
            return self._watch.ask()
        if kind is LowRank:
            return None if clean is None else low_rank(weight, clean, world.dense_direction, self.rank)
        raise TypeError(f"no probe gives {kind}")

    def _moment(self) -> Moment:
        step, clean_step = self.steps_done, self.clean_step
        return Moment(
            step,
            self.config,
            self.model.weight,
            self.bias_at(step),
            self.weight_clean,
            self.bias_at(clean_step),
            clean_step,
        )

    def _once(self, name: str, tensor: Tensor) -> Any:
        """The frozen copy of a tensor that is never written again, made once."""
        known = self._constant.get(name)
        if known is None or known[0] is not tensor:
            known = self._constant[name] = (tensor, frozen(tensor))
        return known[1]

    def summary(self) -> dict[str, Any]:
        """Figures of the run so far, with protocols: what ``summary.json`` holds."""
        recorder = self._recorder
        return summarise(
            recorder.store, recorder.history, recorder.events, recorder.protocol_at,
            steps=self.steps_done, phase=self.phase, device=self.device.type, threads=self.threads,
        )  # fmt: skip

    # --- checkpoints

    def _save(self, *, keep: bool) -> None:
        self._empty_ring()
        if self.diverged:
            return
        if not bool(torch.isfinite(self.model.weight).all()):  # the loss will say so one step later
            self.diverged = True
            raise ExplorerError(self._divergence())
        arrays: dict[str, np.ndarray[Any, Any]] = {
            "weight": frozen(self.model.weight),
            "weight_init": self._once("start", self.weight_init),
            "bias": np.array(self.bias_at(self.steps_done), np.float32),
            "dictionary": self._once("dictionary", self.world.dictionary),
            "target": self._once("target", self.world.target),
        }
        if self.weight_clean is not None:
            arrays["weight_clean"] = self._once("clean", self.weight_clean)
        for name, generator in self._generators.items():
            seed = self.stream.pool_state if name == "pool" else generator.get_state()
            arrays[f"generator.{name}"] = frozen(seed)
        waiting, pending = pack_requests(self._pending)
        arrays |= waiting | pack_factors(self._trainer.factors)
        state = {
            "scheduled": self.scheduled,
            "position": self.stream.position,
            "clean_step": self.clean_step,
            "pending": pending,
            "device": self.device.type,
            "threads": self.threads,
            "torch": torch.__version__,
        }
        self._recorder.checkpoint(self.steps_done, arrays, self.config, self.phase, state, keep=keep)
        self._saved_at = self.steps_done
