"""What every exported figure has in common: options, plotted data, phases, and the table of views.

A drawer reads a run's store and one checkpoint and returns a :class:`FigureData`: the numbers, a caption, and how they
are drawn. Nothing here imports matplotlib or torch; both are imported when something is drawn or measured.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from engine.config import Config, SparseCodingConfig
from engine.errors import ConfigError
from engine.history import Series
from engine.knobs import Attack
from engine.protocol import NORM_SIGN, Protocol, wilson
from engine.registry import Registry
from engine.results import ALIVE, Mixture

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from engine.snapshot import Event
    from engine.store import Checkpoint, Store

Array = NDArray[Any]
NO_KNOB = ("phase", "checkpoint", "redraw")  # events of these names change no knob
DICTIONARY_NAMES: Mapping[str, str] = {"dct": "DCT", "haar": "Haar wavelet", "random": "random orthogonal"}
PHASE_NAMES: Mapping[str, str] = {
    "clean": "clean",
    "adversarial": "adversarial",
    "gaussian_noise": "Gaussian noise",
}


@dataclass(frozen=True, slots=True)
class Option:
    """A choice that a figure offers. With ``number`` a positive whole number is allowed beside the ``choices``."""

    name: str
    default: str
    choices: tuple[str, ...]
    doc: str
    number: bool = False

    @property
    def allowed(self) -> str:
        """The allowed values in words."""
        return ", ".join((("a whole number from 1",) if self.number else ()) + self.choices)

    def check(self, value: str) -> str:
        """Return ``value`` if it is allowed; else raise :class:`ConfigError` naming the option."""
        if value in self.choices or (self.number and value.isdecimal() and int(value) > 0):
            return value
        raise ConfigError(f"{self.name}: got {value!r}; allowed: {self.allowed}")


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table: ``values`` (n,) with a name and a unit (``1`` for pure numbers).

    ``whole`` says that floats in it are counts (or NaN), to be written as whole numbers.
    """

    name: str
    unit: str
    values: Array
    whole: bool = False

    def texts(self) -> list[str]:
        """The values as a CSV file holds them: floats by the shortest text that reads back the same, NaN empty."""
        if self.values.dtype.kind != "f":
            return [str(v) for v in self.values]
        return ["" if np.isnan(v) else str(int(v)) if self.whole else str(v) for v in self.values]

    @property
    def header(self) -> str:
        """Name and unit as the first line of a CSV file says them, e.g. ``step [steps]``."""
        return f"{self.name} [{self.unit}]"


Table = tuple[Column, ...]


@dataclass(frozen=True)
class FigureData(ABC):
    """Everything that is plotted, and how.

    ``tables`` go to CSV files: the one under ``""`` is ``<view>.csv``, one under ``x`` is ``<view>.x.csv``.
    ``arrays`` go to ``<view>.npz``. ``caption`` names what is shown, n, the protocols, the step and the run.
    """

    tables: Mapping[str, Table]
    arrays: Mapping[str, Array]
    caption: str

    @abstractmethod
    def height(self, width: float) -> float:
        """Height in inches of the figure that is ``width`` inches wide."""

    @abstractmethod
    def draw(self, figure: Figure) -> None:
        """Draw on an empty figure whose size is set."""


class Drawer(ABC):
    """A view that can be exported: its options, and the reading of its numbers from a run."""

    options: ClassVar[tuple[Option, ...]] = ()
    worlds: ClassVar[tuple[type[Config], ...]] = (SparseCodingConfig,)  # kinds of run that it can be drawn of

    @abstractmethod
    def collect(self, store: Store, checkpoint: Checkpoint, options: Mapping[str, str]) -> FigureData:
        """Read what is plotted at ``checkpoint``; ``options`` is complete and checked (:meth:`complete`)."""

    @classmethod
    def complete(cls, given: Mapping[str, str]) -> dict[str, str]:
        """The view's options with defaults filled in; other names in ``given`` are left out.

        Raises :class:`ConfigError` for a value that is not allowed.
        """
        return {o.name: o.check(given.get(o.name, o.default)) for o in cls.options}


figures: Registry[type[Drawer]] = Registry("view")


@dataclass(frozen=True, slots=True)
class Span:
    """Steps ``start`` to ``end`` were trained with ``objective``."""

    start: int
    end: int
    objective: str


def events_of(store: Store, checkpoint: Checkpoint) -> tuple[Event, ...]:
    """The changes that led to ``checkpoint``: its ``events`` counts them, and the store numbers them from 1."""
    return store.events()[: checkpoint.events]


def knob_events(store: Store, checkpoint: Checkpoint) -> tuple[Event, ...]:
    """Those changes that are changes of knobs: neither phase switches nor checkpoints."""
    return tuple(e for e in events_of(store, checkpoint) if e.name not in NO_KNOB)


def phases(store: Store, checkpoint: Checkpoint) -> tuple[Span, ...]:
    """The phases of a run up to ``checkpoint``; phases without a step are left out unless there is no other."""
    switches = [e for e in events_of(store, checkpoint) if e.name == "phase"]
    objective: str = switches[0].old if switches else checkpoint.phase
    spans, start = [], 0
    for switch in switches:
        if switch.step > start:
            spans.append(Span(start, switch.step, objective))
        start, objective = switch.step, switch.new
    if checkpoint.step > start or not spans:
        spans.append(Span(start, checkpoint.step, objective))
    return tuple(spans)


def until(series: Series, step: int) -> Series:
    """``series`` up to and including ``step``; of several values of one step the last one stays."""
    steps, values = series.steps, series.values
    keep = steps <= step
    keep[:-1] &= steps[1:] != steps[:-1]
    return Series(steps[keep], values[keep])


@dataclass(frozen=True, slots=True)
class Curve:
    """An accuracy over steps: ``values``, ``low``, ``high`` (t,), and the protocol of every point."""

    name: str
    steps: NDArray[np.int64]
    values: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    protocols: tuple[Protocol | None, ...]

    def changes(self) -> tuple[tuple[int, Protocol], ...]:
        """The protocols in the order of their use, each with the first step measured by it."""
        found: list[tuple[int, Protocol]] = []
        for step, protocol in zip(self.steps.tolist(), self.protocols, strict=True):
            if protocol is not None and (not found or found[-1][1] != protocol):
                found.append((step, protocol))
        return tuple(found)


def curve(store: Store, name: str, step: int) -> Curve:
    """The accuracy ``name`` up to ``step`` with 95% Wilson bounds; NaN bounds where no protocol was recorded."""
    series = until(store.series(name), step)
    protocols = tuple(store.protocol(name, s) for s in series.steps.tolist())
    bounds = np.full((2, len(series)), np.nan)
    for i, (value, protocol) in enumerate(zip(series.values.tolist(), protocols, strict=True)):
        if protocol is not None and np.isfinite(value):
            bounds[:, i] = wilson(value * protocol.n, protocol.n)
    return Curve(name, series.steps, series.values, bounds[0], bounds[1], protocols)


def measure(weight: Array, dictionary: Array, target: Array) -> Mixture:
    """The per-neuron quantities of SPEC.md section 4 of ``weight`` (m, d); imports torch."""
    import torch

    from engine.probes.mixture import mixture

    return mixture(torch.tensor(weight), torch.tensor(dictionary), torch.tensor(target))


def alive_rule() -> str:
    """Which neurons count as alive, in words; call it where :func:`measure` has imported torch already."""

    return f"alive: norm above {ALIVE:g} of the largest"


def neuron_table(index: NDArray[np.int64], found: Mixture) -> Table:
    """Per-neuron quantities of the neurons ``index``, in this order."""
    return (
        Column("neuron", "index", index),
        Column("feature", "index", found.feature[index]),
        Column("purity", "1", found.purity[index]),
        Column("pure magnitude", "weight", found.pure[index]),
        Column("mixture magnitude", "weight", found.mixture[index]),
        Column("relative mixture", "1", found.relative[index]),
        Column("dense alignment", "1", found.dense_alignment[index]),
        Column("norm", "weight", found.norm[index]),
        Column("alive", "0 or 1", found.alive[index].astype(np.int64)),
    )


def short(protocol: Protocol) -> str:
    """A protocol in the few words that fit a legend; the caption holds the whole."""
    n = f"n = {protocol.n}"
    if protocol.attack == "clean":
        return f"clean, {n}"
    name = {"fgm": "FGM", "pgd": f"PGD-{protocol.steps}×{protocol.restarts}", "dense": "dense"}.get(
        protocol.attack, protocol.attack
    )
    return f"{name}, {NORM_SIGN[protocol.norm]} {protocol.tau:g}, {n}"


def training(store: Store, checkpoint: Checkpoint) -> str:
    """How the weights came about, in two sentences: world, network, seed, phases, radius."""
    config = checkpoint.config
    spans = phases(store, checkpoint)
    trained = ", then ".join(f"{s.end - s.start} steps of {PHASE_NAMES[s.objective]} training" for s in spans)
    attack = ""
    if any(s.objective == "adversarial" for s in spans):
        attack = f" Training perturbations at this step: {_attack_text(checkpoint.config.attack)}."
    return f"{_system(config)}, seed {config.seed}; {trained}.{attack}"


def _system(config: Config) -> str:
    """World and network in words."""
    if isinstance(config, SparseCodingConfig):
        world = config.world
        dictionary = DICTIONARY_NAMES.get(world.dictionary, world.dictionary)
        return (
            f"Sparse-coding world ({dictionary} dictionary, d = {world.d}, k = {world.k:g}), "
            f"symmetric ReLU network with m = {config.model.m} neurons"
        )
    model = {"two_layer": "two-layer ReLU network", "alexnet": "AlexNet-like network", "resnet": "ResNet"}
    data = {"digits": "Digits", "mnist5k": "MNIST-5000", "cifar10": "CIFAR-10", "image_folder": "Images of a folder"}
    size = getattr(config.world, "train_size", 0)
    of = f"{size} training images" if size else "all training images"
    return f"{data[config.world.name]} ({of}), {model[config.model.name]}"


def _attack_text(attack: Attack) -> str:
    name = "FGM" if attack.steps == 1 and attack.restarts == 1 and not attack.random_start else f"PGD-{attack.steps}"
    times = f" × {attack.restarts} restarts" if attack.restarts > 1 else ""
    return f"{name}{times}, {NORM_SIGN[attack.norm]} radius {attack.tau:g}"


def provenance(store: Store, checkpoint: Checkpoint) -> str:
    """Last line of every caption: run and step."""
    return f"Run {store.run}, checkpoint at step {checkpoint.step} ({PHASE_NAMES[checkpoint.phase]} phase)."
