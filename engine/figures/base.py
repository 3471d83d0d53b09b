"""What every exported figure has in common: options, plotted data, phases, and the table of views.

A drawer reads a run's store and one checkpoint and returns a :class:`FigureData`: the numbers, a caption, and how they
are drawn. Nothing here imports matplotlib or torch; matplotlib is imported when something is drawn, torch when
something is measured that takes a network.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from engine.config.experiment import Config
from engine.config.objectives import objectives
from engine.core.history import Series
from engine.core.measurement import NORM_SIGN, Measurement, wilson_bounds
from engine.core.registry import Registry
from engine.core.results import ALIVE, Mixture
from engine.figures.declare import ViewDeclaration, phase
from engine.probes.mixture import of_arrays
from engine.run.timeline import Knot, Plan, Span, events_of, knots, phases, plans, until

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from engine.config.knobs import Origin
    from engine.run.snapshot import Event
    from engine.run.store import Checkpoint, Store

Array = NDArray[Any]


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
    ``arrays``, what is no table (pictures, matrices), go to ``<view>.npz`` under their names, if there are any; no
    number stands in both. ``caption`` names what is shown, n, the protocols, the step and the run. ``origin`` is where
    a branch comes from, for figures over steps.
    """

    tables: Mapping[str, Table]
    caption: str
    arrays: Mapping[str, Array] = field(default_factory=dict, kw_only=True)
    origin: Origin | None = field(default=None, kw_only=True)

    def names(self) -> list[str]:
        """The texts in the data, such as names of classes and layers, each once."""
        columns = [c.values for table in self.tables.values() for c in table]
        texts = [
            v
            for values in (*columns, *self.arrays.values())
            if values.dtype.kind == "U"
            for v in values.ravel().tolist()
        ]
        return list(dict.fromkeys(texts))

    @abstractmethod
    def height(self, width: float) -> float:
        """Height in inches of the figure that is ``width`` inches wide."""

    @abstractmethod
    def draw(self, figure: Figure) -> None:
        """Draw on an empty figure whose size is set."""


class Drawer(ABC):
    """A view that can be exported: what it is, and the reading of its numbers from a run."""

    view: ClassVar[ViewDeclaration]

    @abstractmethod
    def collect(self, store: Store, checkpoint: Checkpoint, options: Mapping[str, str]) -> FigureData:
        """Read what is plotted at ``checkpoint``; ``options`` is complete and checked, as
        :meth:`ViewDeclaration.complete` makes it.
        """


figures: Registry[type[Drawer]] = Registry("view", "engine.figures")


@dataclass(frozen=True, slots=True)
class Curve:
    """An accuracy over steps: ``values``, ``low``, ``high`` (t,), and the protocol of every point."""

    name: str
    steps: NDArray[np.int64]
    values: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    protocols: tuple[Measurement | None, ...]

    def changes(self) -> tuple[tuple[int, Measurement], ...]:
        """The protocols in the order of their use, each with the first step measured by it."""
        found: list[tuple[int, Measurement]] = []
        for step, protocol in zip(self.steps.tolist(), self.protocols, strict=True):
            if protocol is not None and (not found or found[-1][1] != protocol):
                found.append((step, protocol))
        return tuple(found)


def curve(store: Store, name: str, step: int) -> Curve:
    """The accuracy ``name`` up to ``step`` with 95% Wilson bounds; NaN bounds where no protocol was recorded."""
    series = until(store.series(name), step)
    return bounded(name, series, tuple(store.protocol(name, s) for s in series.steps.tolist()))


def bounded(name: str, series: Series, protocols: tuple[Measurement | None, ...]) -> Curve:
    """The accuracy ``name`` with 95% Wilson bounds, of the protocol of every point; NaN where there is none."""
    n = np.array([np.nan if protocol is None else protocol.n for protocol in protocols], np.float64)
    known = np.isfinite(n) & np.isfinite(series.values)
    bounds = np.full((2, len(series)), np.nan)
    bounds[:, known] = wilson_bounds(series.values[known] * n[known], n[known])
    return Curve(name, series.steps, series.values, bounds[0], bounds[1], protocols)


def measure(weight: Array, dictionary: Array, target: Array) -> Mixture:
    """The per-neuron quantities of SPEC.md section 4 of ``weight`` (m, d); imports no torch."""
    return of_arrays(weight, target, weight @ dictionary)


def alive_rule() -> str:
    """Which neurons count as alive, in words."""
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


def short(protocol: Measurement) -> str:
    """A protocol in the few words that fit a legend; the caption holds the whole."""
    n = f"n = {protocol.n}"
    if protocol.attack == "clean":
        return f"clean, {n}"
    names = {"fgm": "FGM", "pgd": f"PGD-{protocol.steps}×{protocol.restarts}"}
    name = names.get(protocol.attack, protocol.name.partition(" (")[0])  # without what explains it
    return f"{name}, {NORM_SIGN[protocol.norm]} {protocol.tau:g}, {n}"


def training(store: Store, checkpoint: Checkpoint) -> str:
    """How the weights came about, in two sentences: world, network, seed, phases, radius."""
    return trained(checkpoint.config, events_of(store, checkpoint), phases(store, checkpoint))


def trained(config: Config, events: tuple[Event, ...], spans: tuple[Span, ...]) -> str:
    """The same of a run with these knobs, changes and phases."""
    how = ", then ".join(f"{s.end - s.start} steps of {phase(s.objective).training}" for s in spans)
    says = [objectives[name].how for name in dict.fromkeys(s.objective for s in spans)]
    details = "".join(f" {say(config)}" for say in says if say is not None)
    found = planned(plans(config, events))
    return f"{config.describe()}, seed {config.seed}; {how}.{details}{' ' if found else ''}{found}"


def planned(found: tuple[Plan, ...]) -> str:
    """The schedules of knobs in a sentence; empty if there are none."""
    parts = []
    for plan in found:
        start = f" from step {plan.start}" if plan.start else ""
        end = f" until step {plan.end}" if plan.end is not None else ""
        parts.append(f"{plan.path}{start}{end} {plan.curve.brief()}")
    return f"Knobs by schedule, [step, value] joined by lines: {'; '.join(parts)}." if parts else ""


def scheduled(store: Store, checkpoint: Checkpoint) -> tuple[Knot, ...]:
    """The points of the curves that knobs follow or followed, to be marked in a figure over steps."""
    return knots(plans(checkpoint.config, events_of(store, checkpoint)))


def knot_tables(found: tuple[Knot, ...]) -> dict[str, Table]:
    """Those points as the table ``schedule``; none if there are none."""
    if not found:
        return {}
    columns = (
        Column("knob", "text", np.array([knot.path for knot in found], np.str_)),
        Column("step", "steps", np.array([knot.step for knot in found], np.int64)),
        Column("value", "of the knob", np.array([knot.value for knot in found], np.float64)),
    )
    return {"schedule": columns}


def knot_key(found: tuple[Knot, ...]) -> str:
    """What the marks of these points mean, for the caption; empty if there are none."""
    return "Stars: the points of the schedules." if found else ""


def provenance(store: Store, checkpoint: Checkpoint) -> str:
    """Last line of every caption: run and step, and what it is a branch of."""
    origin = checkpoint.config.branch
    branch = "" if origin is None else f" Branched from run {origin.run} at step {origin.step}."
    return f"Run {store.run}, checkpoint at step {checkpoint.step} ({phase(checkpoint.phase).name} phase).{branch}"
