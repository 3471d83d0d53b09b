"""Pictures of weights of several runs side by side, all on one contrast."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from engine.compare.base import ComparedRuns, ComparedView
from engine.compare.record import RecordedRun
from engine.core.errors import ConfigError
from engine.core.results import ALIVE, BoolArray, IntArray
from engine.figures.base import Array, Column, Table
from engine.figures.declare import Option
from engine.figures.order import COUNTS, MOST, count_of
from engine.figures.panels import PicturePanels
from engine.run.store import Checkpoint
from engine.studies.base import NotMeasured

MOST_GALLERIES = 6  # beside each other
MOMENTS = {"now": "now", "clean": "after clean training", "start": "start"}
OPTIONS = (
    Option("moment", "now", MOMENTS, "Which weights are shown."),
    Option("sort", "norm", {"norm": "norm", "index": "index"}, "Order. Norm: largest first."),
    Option("count", "64", COUNTS, f"How many are shown (all: at most {MOST:,}).", number=True),
)


@dataclass(frozen=True)
class RunWeights:
    """A run's weights (units, …) at the moment shown and at the start; ``name`` is the run's."""

    name: str
    shown: Array
    start: Array | None  # that nobody knows of some that were imported

    @property
    def norms(self) -> Array:
        """The norm of each unit (units,)."""
        return np.asarray(np.linalg.norm(self.shown.reshape(len(self.shown), -1), axis=1))

    @property
    def alive(self) -> BoolArray:
        """Which units are alive at that moment (units,)."""
        norms = self.norms
        return np.asarray(norms > ALIVE * norms.max())


@dataclass(frozen=True)
class GalleriesData(PicturePanels):
    """The panels of the runs at the places ``runs``; ``order`` are the units of each (n,), in the order of display.

    ``starts`` is for each the place of the first run that began from the same weights: the same number there means
    that unit i of one is unit i of the other.
    """

    runs: tuple[int, ...]
    order: tuple[IntArray, ...]
    starts: tuple[int, ...]

    def places(self, unit: int, run: int) -> dict[int, int]:
        """Where the ``unit`` of the run at place ``run`` stands: run → place in the panel, in runs of its start."""
        if run not in self.runs:
            return {}
        start = self.starts[self.runs.index(run)]
        found = {}
        for each, order, own in zip(self.runs, self.order, self.starts, strict=True):
            place = np.flatnonzero(order == unit)
            if own == start and len(place):
                found[each] = int(place[0])
        return found


class ComparedGallery(ComparedView):
    """Galleries. Units of runs that began from the same weights stand in the same order, that of the first of them."""

    what: ClassVar[str] = "neurons"

    @abstractmethod
    def weights(self, run: RecordedRun, checkpoint: Checkpoint, name: str, moment: str) -> RunWeights | None:
        """The weights at a moment; None if clean training had not ended."""

    @abstractmethod
    def pictures(self, rows: Array, options: Mapping[str, str]) -> Array:
        """Weights (n, …) of some units as pictures (n, C, h, w)."""

    def values(self, rows: Array, options: Mapping[str, str]) -> Array:
        """The weights as the options show them; of the same shape."""
        return rows

    def collect(self, compared: ComparedRuns, options: Mapping[str, str]) -> GalleriesData:
        """Read every run's weights at the moment, choose and order the units, find the one level."""
        if len(compared.runs) > MOST_GALLERIES:
            raise ConfigError(f"{self.view.name}: got {len(compared.runs)} runs; allowed: {MOST_GALLERIES} at most")
        found: dict[int, RunWeights] = {}
        checkpoints: dict[int, Checkpoint] = {}
        for i, (run, name) in enumerate(zip(compared.runs, compared.names, strict=True)):
            checkpoints[i] = run.load()
            if (weights := self.weights(run, checkpoints[i], name, options["moment"])) is not None:
                found[i] = weights
        if not found:
            raise NotMeasured(f"{self.view.name}: clean training has not ended in any of these runs")
        starts = _starts(found)
        orders = self._orders(found, starts, options)
        shown = {i: self.values(weights.shown, options) for i, weights in found.items()}
        level = self._level(found, shown) or 1.0
        pictures = padded([self.pictures(shown[i][orders[i]], options) for i in found], level)
        if len({each.shape[1] for each in pictures}) > 1:
            raise ConfigError(f"{self.view.name}: these runs have images of different channels; allowed: the same")
        return GalleriesData(
            tables={"": _table(found, orders)},
            arrays={f"weight_{i}": weights.shown for i, weights in found.items()},
            caption=self._caption(compared, checkpoints, found, starts, orders, level, options),
            panels={found[i].name: each for i, each in zip(found, pictures, strict=True)},
            level=level, label=self.key(options, pictures[0].shape[1]),
            signed=self.signed(options, pictures[0].shape[1]),
            runs=tuple(found), order=tuple(orders[i] for i in found), starts=tuple(starts[i] for i in found),
        )  # fmt: skip

    def key(self, options: Mapping[str, str], channels: int) -> str:
        """What the colours mean."""
        return "weight"

    def signed(self, options: Mapping[str, str], channels: int) -> bool:
        """Whether they are blue and orange."""
        return True

    def _orders(
        self, found: Mapping[int, RunWeights], starts: Mapping[int, int], options: Mapping[str, str]
    ) -> dict[int, IntArray]:
        orders: dict[int, IntArray] = {}
        for i, weights in found.items():
            if starts[i] != i:
                orders[i] = orders[starts[i]]
                continue
            units, norms = np.flatnonzero(weights.alive), weights.norms
            if options["sort"] == "norm":
                units = units[np.argsort(-norms[units], kind="stable")]
            orders[i] = units[: count_of(options["count"])].astype(np.int64)
        return orders

    def _level(self, found: Mapping[int, RunWeights], shown: Mapping[int, Array]) -> float:
        contrast = self.view.contrast
        assert contrast is not None
        rows = {i: contrast.sample(np.flatnonzero(weights.alive)) for i, weights in found.items()}
        return contrast.level(*(contrast.size(shown[i][rows[i]]) for i in found))

    def _caption(
        self, compared: ComparedRuns, checkpoints: Mapping[int, Checkpoint], found: Mapping[int, RunWeights],
        starts: Mapping[int, int], orders: Mapping[int, IntArray], level: float, options: Mapping[str, str],
    ) -> str:  # fmt: skip
        contrast = self.view.contrast
        share = f"{100 * contrast.quantile:g}%" if contrast is not None else "all"
        counts = ", ".join(f"n = {len(orders[i])} of {len(w.shown)} in “{w.name}”" for i, w in found.items())
        sort = "largest norm first" if options["sort"] == "norm" else "by index"
        steps = ", ".join(f"step {checkpoint.step}" for checkpoint in checkpoints.values())
        lines = [
            f"{self.what.capitalize()} of {len(found)} runs, {MOMENTS[options['moment']]} (checkpoints: {steps}), "
            f"{counts}; those whose norm is above {ALIVE:g} of the largest, {sort}, read line by line. One contrast "
            f"for all runs, −{level:.3g} to +{level:.3g}, {share} of each run's weights within."
        ]
        same = [i for i in found if starts[i] != i]
        if same:
            lines.append(
                f"{', '.join(f'“{found[i].name}”' for i in same)} began from the weights of "
                f"{', '.join(dict.fromkeys(f'“{found[starts[i]].name}”' for i in same))}: the same {self.what} in the "
                "same places."
            )
        if len(set(starts.values())) > 1:
            lines.append("Runs that began from other weights have an order of their own.")
        without = [f"“{name}”" for i, name in enumerate(compared.names) if i not in found]
        if without:
            lines.append(f"Not recorded: {MOMENTS[options['moment']]} in {', '.join(without)}.")
        if compared.groups:
            lines.append("Galleries have no mean: each run is shown.")
        arrays = ", ".join(f"weight_{i} “{weights.name}”" for i, weights in found.items())
        lines.append(f"Arrays: {arrays}. Protocol: weights as stored, no attack and no data enter.")
        return "\n".join([*lines, *compared.provenance()])


def _starts(found: Mapping[int, RunWeights]) -> dict[int, int]:
    """For each run the first one that began from the same weights, itself if none before it did."""
    return {
        i: next(j for j, other in found.items() if j == i or _same(other.start, weights.start))
        for i, weights in found.items()
    }


def _same(a: Array | None, b: Array | None) -> bool:
    return a is not None and b is not None and np.array_equal(a, b)


def padded(pictures: Sequence[Array], level: float) -> list[Array]:
    """Galleries (n, C, h, w) of equally many pictures of one size: what is added is no weight, or white in colour."""
    n, h, w = (max(each.shape[axis] for each in pictures) for axis in (0, 2, 3))
    found = []
    for each in pictures:
        whole = np.full((n, each.shape[1], h, w), np.nan if each.shape[1] < 3 else level, np.float32)
        whole[: len(each), :, : each.shape[2], : each.shape[3]] = each
        found.append(whole)
    return found


def _table(found: Mapping[int, RunWeights], orders: Mapping[int, IntArray]) -> Table:
    sizes = [len(orders[i]) for i in found]
    return (
        Column("run", "name", np.repeat([weights.name for weights in found.values()], sizes)),
        Column("place", "index", np.concatenate([np.arange(size) for size in sizes])),
        Column("unit", "index", np.concatenate([orders[i] for i in found])),
        Column("norm", "weight", np.concatenate([weights.norms[orders[i]] for i, weights in found.items()])),
    )
