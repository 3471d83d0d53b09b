"""Sparse or dense: images and perturbations rebuilt from few first-layer filters (paper, section 5).

The paper's evidence that purified filters are the features of images: images need few of them, the perturbations of a
clean network many. What is found is said as it is, for the paper or against it, beside two references: random vectors,
than which nothing is less sparse, and the filters of the start, in which every vector is as dense as a random one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from numpy.typing import NDArray

from engine.core.errors import ConfigError
from engine.core.measurement import Z95
from engine.core.slices import Progress, silent
from engine.studies.base import Answer, Interval, Length, NotMeasured, Proportion, RunFolder, Study, studies

if TYPE_CHECKING:
    from engine.studies.filter_codes import Coded

Vectors = Literal["image", "clean", "now", "random"]
Filters = Literal["now", "clean", "start"]
Method = Literal["omp", "lasso"]

VECTORS: dict[str, str] = {
    "image": "images", "clean": "the clean network's perturbations", "now": "the purified network's perturbations",
    "random": "random vectors",
}  # fmt: skip
FILTERS: dict[str, str] = {"now": "purified filters", "clean": "clean filters", "start": "filters of the start"}
METHODS: dict[str, str] = {"omp": "matching pursuit", "lasso": "Lasso"}
QUANTILES = (0.1, 0.9)  # of inputs, that bands reach to


@dataclass(frozen=True)
class FilterCount:
    """How many filters an input needs: ``median`` with its 95% interval ``low`` to ``high`` (by order statistics).

    ``q10`` to ``q90`` hold 80% of the inputs, ``reached`` is the share of them for which all the filters tried are
    enough, ``mean`` theirs if that is all of them. None: more than were tried.
    """

    median: int | None
    low: int | None
    high: int | None
    q10: int | None
    q90: int | None
    mean: Length | None
    reached: Proportion

    @classmethod
    def of(cls, needed: NDArray[np.float64]) -> FilterCount:
        """From the numbers of the inputs (n,), inf where no number is enough."""
        n = len(needed)
        if not n:
            return cls(None, None, None, None, None, None, 0.0)
        row = np.sort(needed)
        rank = max(0, math.floor((n - Z95 * math.sqrt(n)) / 2) - 1)
        places = ((n - 1) // 2, rank, n - 1 - rank, *(math.ceil(q * n) - 1 for q in QUANTILES))
        median, low, high, q10, q90 = (int(row[at]) if math.isfinite(row[at]) else None for at in places)
        reached = float(np.isfinite(row).mean())
        return cls(median, low, high, q10, q90, float(row.mean()) if reached == 1 else None, reached)

    def text(self, most: int) -> str:
        """Median and interval, e.g. ``8 [8, 9]``; ``most`` were tried."""
        median, low, high = (_or_more(value, most) for value in (self.median, self.low, self.high))
        return f"{median} [{low}, {high}]"

    def spread(self, most: int) -> str:
        """From where to where 80% of the inputs lie."""
        return f"{_or_more(self.q10, most)} to {_or_more(self.q90, most)}"

    def below(self, other: FilterCount) -> bool:
        """Whether this median is smaller, the intervals apart."""
        return self.high is not None and (other.low is None or self.high < other.low)


@dataclass(frozen=True)
class SparseCurve:
    """One kind of ``vectors`` rebuilt from the ``filters`` of one moment by one ``method``, of ``n`` inputs.

    Inputs whose vector is zero have no relative error and are left out. Of ‖rest‖₂/‖vector‖₂ with 0, 1, … K filters
    (K + 1,) the ``median``, ``q10`` and ``q90`` over inputs; ``count`` is how many filters reach the study's error.
    """

    vectors: Vectors
    filters: Filters
    method: Method
    n: int
    median: tuple[Proportion, ...]
    q10: tuple[Proportion, ...]
    q90: tuple[Proportion, ...]
    count: FilterCount

    @property
    def most(self) -> int:
        """K, how many filters were tried."""
        return len(self.median) - 1


@dataclass(frozen=True)
class SparseCodes:
    """``sparse_code.json``: the networks of step ``clean_step`` (clean) and ``step`` (now, purified).

    ``layer`` is the first one; an input is ``patches`` patches of ``values`` numbers, each rebuilt from as many
    filters. ``atoms`` counts the alive filters of each dictionary (without that of a start that is not known),
    ``robust`` is the accuracy of the ``clean`` network and that of ``now`` under their own perturbations, made by
    ``protocol``. ``error`` is the relative error that filters are counted for.
    """

    step: int
    clean_step: int
    norm: str
    tau: float
    protocol: str
    n: int
    layer: str
    patches: int
    values: int
    error: Proportion
    atoms: dict[Filters, int]
    robust: dict[Literal["clean", "now"], Interval]
    curves: tuple[SparseCurve, ...]

    def chosen(self, filters: str, method: str) -> dict[str, SparseCurve]:
        """The curves in the filters of one moment by one method, by what is rebuilt.

        Raises :class:`NotMeasured` for a start that is not known.
        """
        if filters not in self.atoms:
            raise NotMeasured(f"filters: {filters} was not measured: the run was imported without its start")
        found: dict[str, SparseCurve] = {
            c.vectors: c for c in self.curves if (c.filters, c.method) == (filters, method)
        }
        return {name: found[name] for name in VECTORS}

    def inputs(self, filters: str, method: str) -> int:
        """How many inputs these medians are over; a Lasso is found for fewer, as it takes long."""
        return max(curve.n for curve in self.chosen(filters, method).values())

    def findings(self, filters: str = "now", method: str = "omp") -> tuple[str, ...]:
        """What was found, in sentences: the numbers, what the paper says of them, and how dense dense is."""
        curves = self.chosen(filters, method)
        image, clean, now, noise = (curves[name].count for name in VECTORS)
        texts = {name: curve.count.text(curve.most) for name, curve in curves.items()}
        listed = ", ".join(f"{VECTORS[name]} {text}" for name, text in texts.items())
        numbers = f"Filters for {self.error:.0%} error: {listed}."
        first = _compared(
            image, clean, "As in the paper, images need fewer than the clean network's perturbations.",
            "Against the paper, images need more than the clean network's perturbations.",
            "Images and the clean network's perturbations cannot be told apart, against the paper.",
        )  # fmt: skip
        second = _compared(
            now, clean, "The purified network's need fewer than the clean one's.",
            "The purified network's need more than the clean one's.",
            "The purified network's and the clean one's cannot be told apart.",
        )  # fmt: skip
        third = _compared(
            clean, noise, "Even the clean network's are sparser than random vectors.",
            "The clean network's are denser than random vectors.",
            "The clean network's are as dense as random vectors.",
        )  # fmt: skip
        said = [each for each in (first, second, third) if each]
        if len(said) < 3:
            left = ", ".join(f"{VECTORS[name]} {curve.median[-1]:.0%}" for name, curve in curves.items())
            said.append(
                f"Where all filters leave both of two kinds above {self.error:.0%}, nothing is decided; "
                f"another --error may tell. The median error that all of them leave: {left}."
            )
        return numbers, *said

    @property
    def what(self) -> str:
        """What was rebuilt from what, in sentences."""
        where = (
            f"the images as {self.layer} is given them ({self.values} values)"
            if self.patches == 1
            else f"the {self.patches} patches of an image that {self.layer} is given and that do not overlap "
            f"({self.values} values each, the same number of filters for each)"
        )
        start = f", {self.atoms['start']} of the start" if "start" in self.atoms else ""
        return (
            f"Rebuilt: {where}, without the mean of each channel. Filters: alive ones, without their mean, of length "
            f"1, with coefficients of either sign: {self.atoms['now']} purified, {self.atoms['clean']} clean"
            f"{start}. Error: what is left, ‖rest‖₂/‖vector‖₂. Random vectors: Gaussian."
        )

    @property
    def how(self) -> str:
        """The protocol of the perturbations."""
        clean, now = (self.robust[key].text() for key in ("clean", "now"))
        return (
            f"Perturbations of each network against itself: {self.protocol}, all inputs, right or wrong; they leave "
            f"an accuracy of {clean} to the clean and {now} to the purified network (95% Wilson intervals)."
        )


@studies.register("sparse")
class SparseStudy(Study[SparseCodes]):
    """Rebuild images and perturbations from few first-layer filters (OMP, Lasso); write sparse_code.json."""

    file = "sparse_code.json"
    made_by = "sparse {}"
    record = SparseCodes

    def ask(
        self,
        folder: RunFolder,
        *,
        n: Annotated[int, "Held-out images."] = 200,
        error: Annotated[float, "The relative error for which filters are counted."] = 0.2,
        progress: Progress = silent,
    ) -> Answer[SparseCodes]:
        """Rebuild the first ``n`` held-out images, or as many as there are, and what the run's PGD adds to them.

        PGD is that of the run's reports. Raises :class:`ConfigError` for an option, a run that is not of images or has
        no clean end, and :class:`StoreError` for the folder.
        """
        if not 0 < error < 1:
            raise ConfigError(f"--error: got {error:g}; allowed: a number above 0 and below 1")
        from engine.studies.filter_codes import filter_codes

        found = filter_codes(folder, n, progress)
        how, network = found.protocol, found.end.network
        record = SparseCodes(
            step=network.step,
            clean_step=found.end.clean_step,
            norm=how.norm,
            tau=how.tau,
            protocol=how.text().replace(", 95% Wilson interval", ""),
            n=how.n,
            layer=found.layer.name,
            patches=found.patches,
            values=found.values,
            error=error,
            atoms=dict(found.atoms),
            robust={"clean": Interval.of(found.robust["clean"]), "now": Interval.of(found.robust["now"])},
            curves=tuple(_curve(each, error) for each in found.coded),
        )
        return Answer(record, network.step)

    @classmethod
    def check(cls, record: SparseCodes) -> str:
        """Each kind of vectors was rebuilt from each dictionary by each method, with a value for each number."""
        wanted = {(v, f, m) for v in VECTORS for f in record.atoms for m in METHODS}
        found = [(c.vectors, c.filters, c.method) for c in record.curves]
        if set(found) != wanted or len(found) != len(wanted):
            return "curves: not one for each of the vectors, filters and methods"
        for curve in record.curves:
            if not 1 <= len(curve.median) == len(curve.q10) == len(curve.q90):
                return f"curves: {curve.vectors} in {curve.filters} by {curve.method} has numbers without values"
        if not record.atoms.keys() >= {"clean", "now"} or record.robust.keys() != {"clean", "now"}:
            return "atoms, robust: a moment is missing"
        return ""

    def table(self, record: SparseCodes) -> str:
        """A row of numbers for each dictionary and method, and what they say of the paper."""
        head = "".join(f"{name:>16}" for name in ("images", "δ of clean", "δ of purified", "random"))
        lines = [record.what, record.how, f"{'filters for ' + format(record.error, '.0%') + ' error':<40}{head}"]
        for filters in record.atoms:
            where = FILTERS[filters]
            for method, how in METHODS.items():
                curves = record.chosen(filters, method).values()
                cells = "".join(f"{curve.count.text(curve.most):>16}" for curve in curves)
                lines.append(f"  {f'{where}, {how}':<38}{cells}")
        inputs = ", ".join(f"{how} {record.inputs('now', method)}" for method, how in METHODS.items())
        lines.append(f"Medians with 95% intervals over inputs ({inputs}).")
        return "\n".join([*lines, *record.findings()[1:]])


def _curve(found: Coded, error: float) -> SparseCurve:
    from engine.probes.sparse_code import needed

    errors = found.errors if len(found.errors) else np.ones((1, found.errors.shape[1]))
    low, median, high = (tuple(row.tolist()) for row in np.quantile(errors, (QUANTILES[0], 0.5, QUANTILES[1]), axis=0))
    count = FilterCount.of(needed(found.errors, error))
    return SparseCurve(found.vectors, found.filters, found.method, len(found.errors), median, low, high, count)  # type: ignore[arg-type]


def _compared(one: FilterCount, other: FilterCount, fewer: str, more: str, same: str) -> str:
    """Which of the sentences is true; empty where half of neither kind reaches the error with all filters."""
    if one.below(other):
        return fewer
    if other.below(one):
        return more
    return same if one.median is not None or other.median is not None else ""


def _or_more(value: int | None, most: int) -> str:
    return f">{most}" if value is None else str(value)
