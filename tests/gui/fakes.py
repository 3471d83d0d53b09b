"""A session and views without torch, for tests of what connects them."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from engine.config.experiment import IMAGES, SPARSE_CODING, Config, resolve, with_value
from engine.config.knobs import Objective
from engine.core.errors import ConfigError, DeviceError, StoreError
from engine.core.history import History
from engine.core.results import Filters, LayersPrinciple1, Mixture, Weights
from engine.run.commands import Command, SaveCheckpoint, SetKnob, SwitchPhase
from engine.run.snapshot import Problem, Snapshot, StoredStep
from engine.theory.config import SparseCodingConfig
from fp_gui.bridge.requests import PastLike, SessionLike
from fp_gui.views.base import Place, View


class FakeSession:
    """Counts steps; remembers what was asked of it, in order, and in which thread."""

    def __init__(self, config: Config, folder: Path, steps: int = 0) -> None:
        self.config, self.folder, self.run = config, folder, uuid.uuid4().hex
        folder.mkdir(parents=True, exist_ok=True)
        self.steps_done = steps
        self.phase: Objective = "clean"
        self.scheduled, self.finished = True, False
        self.to_measure = 0
        self.log: list[object] = []
        self.wanted: list[frozenset[type]] = []
        self.threads: set[int] = set()
        self.closed = 0
        self.problems: tuple[Problem, ...] = ()
        self.damaged: tuple[str, ...] = ()
        self.fail_at = -1
        self.fail_measure = False
        self.fail_save = ""
        self.fail_results = False
        self.delay = 0.001
        self.history = History()
        self.data_words = ""
        self.stored: tuple[StoredStep, ...] = ()

    @property
    def measuring(self) -> bool:
        return self.to_measure > 0

    def step(self) -> None:
        self.threads.add(threading.get_ident())
        time.sleep(self.delay)
        if self.steps_done == self.fail_at:
            raise RuntimeError("out of luck")
        self.finished = False
        self.steps_done += 1
        self.log.append(self.steps_done)
        if self.steps_done == self.config.schedule.total:
            self.finished = True

    def measure(self) -> None:
        self.log.append("measure")
        if self.fail_measure:
            raise MemoryError("no room for this")
        self.to_measure -= 1

    def apply(self, command: Command) -> None:
        self.threads.add(threading.get_ident())
        if isinstance(command, SetKnob):
            if not resolve(command.path, self.config).live:
                raise ConfigError(f"{command.path}: takes effect with a new run only")
            self.config = with_value(self.config, command.path, command.value)
        elif isinstance(command, SaveCheckpoint) and self.fail_save:
            raise StoreError(self.fail_save)
        elif isinstance(command, SwitchPhase):
            self.phase, self.scheduled = command.to, False
        self.log.append(command)

    def snapshot(self, wanted: frozenset[type] = frozenset()) -> Snapshot:
        self.wanted.append(wanted)
        if self.fail_results and wanted:
            raise MemoryError("no room for results")
        return Snapshot(
            run=self.run,
            folder=self.folder,
            step=self.steps_done,
            phase=self.phase,
            scheduled=self.scheduled,
            finished=self.finished,
            device="cpu",
            threads=1,
            config=self.config,
            history=self.history,
            events=(),
            protocols={},
            results={},
            problems=self.problems,
        )

    def flush(self, *, wait: bool = False) -> None:
        pass

    def close(self) -> None:
        self.closed += 1

    def commands(self) -> list[object]:
        return [c for c in self.log if isinstance(c, (SetKnob, SwitchPhase, SaveCheckpoint))]


class FakeFactory:
    """Makes fake sessions and keeps them for the test to look at."""

    def __init__(self) -> None:
        self.made: list[FakeSession] = []
        self.create_delay = 0.0

    @property
    def last(self) -> FakeSession:
        return self.made[-1]

    def create(self, config: Config, folder: Path) -> FakeSession:
        time.sleep(self.create_delay)
        if config.device == "cuda":
            raise DeviceError("device: got 'cuda'; this machine has: cpu")
        self.made.append(FakeSession(config, folder))
        return self.last

    def resume(self, folder: Path, device: str | None = None, data: Path | None = None) -> FakeSession:
        if not folder.is_dir():
            raise StoreError(f"run folder: {folder} does not exist")
        self.made.append(FakeSession(SparseCodingConfig(), folder, steps=7))
        return self.last

    def past(
        self, folder: Path, device: str | None = None, data: Path | None = None, beside: SessionLike | None = None
    ) -> PastLike:
        raise StoreError(f"{folder} holds no checkpoint that can be read")

    def branch(
        self, folder: Path, step: int, out: Path, settings: Sequence[tuple[str, str]] = (), *, data: Path | None = None
    ) -> FakeSession:
        self.made.append(FakeSession(SparseCodingConfig(), out, steps=step))
        return self.last


class FakeView(View):
    """Remembers what it was shown."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Snapshot] = []
        self.highlighted: list[int] = []
        self.chosen = {"sort": "purity"}

    def render(self, snapshot: Snapshot) -> None:  # type: ignore[override]
        self.run = snapshot.run
        self.seen.append(snapshot)

    def highlight(self, neuron: int) -> None:
        self.highlighted.append(neuron)

    def options(self) -> dict[str, str]:
        return self.chosen

    def set_options(self, options: dict[str, str]) -> None:
        self.chosen = options


class NeuronsFake(FakeView):
    name: ClassVar[str] = "neurons"
    title: ClassVar[str] = "Neurons"
    wants = frozenset({Weights})
    kinds: ClassVar[tuple[str, ...]] = (SPARSE_CODING,)


class MixturesFake(FakeView):
    name: ClassVar[str] = "mixtures"
    place: ClassVar[Place] = "upper"
    title: ClassVar[str] = "Mixtures"
    wants = frozenset({Mixture})
    kinds: ClassVar[tuple[str, ...]] = (SPARSE_CODING,)


class RobustnessFake(FakeView):
    name: ClassVar[str] = "robustness"
    place: ClassVar[Place] = "lower"
    title: ClassVar[str] = "Robustness"


class FiltersFake(FakeView):
    name: ClassVar[str] = "filters"
    title: ClassVar[str] = "Filters"
    wants = frozenset({Filters})
    kinds: ClassVar[tuple[str, ...]] = (IMAGES,)


class LayersFake(FakeView):
    name: ClassVar[str] = "layers"
    place: ClassVar[Place] = "upper"
    title: ClassVar[str] = "Layers"
    wants = frozenset({LayersPrinciple1})
    kinds: ClassVar[tuple[str, ...]] = (IMAGES,)


VIEWS = (NeuronsFake, MixturesFake, RobustnessFake)
BOTH_KINDS = (NeuronsFake, MixturesFake, FiltersFake, LayersFake, RobustnessFake)
