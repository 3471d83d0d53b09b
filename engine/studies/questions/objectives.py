"""What each training objective makes of the same clean weights: does it purify, and does it make robust?

The paper proves it of adversarial training. Can Gaussian noise do it, the cheap baseline, and what do TRADES and
smoothed adversarial training do, which others proposed?
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from engine.config.objectives import objectives
from engine.core import metrics
from engine.core.labels import AFTER_OBJECTIVE
from engine.core.slices import Progress, silent
from engine.studies.base import (
    Answer,
    Cosine,
    Interval,
    Proportion,
    RunFolder,
    Samples,
    Scalars,
    Study,
    accuracies,
    studies,
)

if TYPE_CHECKING:
    from engine.studies.objective_phases import Outcome

BEFORE = "before"
ACCURACIES: Mapping[str, str] = {
    "clean": "clean accuracy", "robust": "robust accuracy", "certified": "certified accuracy",
}  # fmt: skip
WEIGHTS: Mapping[str, str] = AFTER_OBJECTIVE
"""What the file says of each network, in words; None there for what its world has not."""


@dataclass(frozen=True)
class ObjectiveRow:
    """The network after training with ``objective``, or ``before`` that.

    Means are over neurons alive then, ``kept`` is over those alive before, too: the share with the same feature and its
    sign. ``held`` is the number of the dictionary's features that an alive neuron has, ``cosine`` the mean (w, w′) over
    neurons alive before; on images those of the first layer. ``how`` says by which knobs it was trained.
    """

    objective: str
    clean: Interval
    robust: Interval
    certified: Interval | None
    purity: Proportion | None
    kept: Proportion | None
    held: Annotated[int, Field(ge=0)] | None
    dense_alignment: Proportion | None
    alignment: Cosine | None
    cosine: Cosine | None
    how: str = ""

    @classmethod
    def of(cls, objective: str, found: Outcome) -> ObjectiveRow:
        """From what was measured."""
        certified = None if found.certified is None else Interval.of(found.certified)
        return cls(
            objective, Interval.of(found.clean), Interval.of(found.robust), certified, found.purity, found.kept,
            found.held, found.dense_alignment, found.alignment, found.cosine, found.how,
        )  # fmt: skip

    @property
    def title(self) -> str:
        """The objective in words."""
        known = objectives.get(self.objective)
        return self.objective if known is None else known.label

    def value(self, quantity: str) -> Interval | float | None:
        """One of :data:`ACCURACIES` or :data:`WEIGHTS`."""
        found: Interval | float | None = getattr(self, quantity)
        return found


@dataclass(frozen=True)
class ObjectiveComparison:
    """``objectives.json``: each objective trained for ``steps`` steps from the clean weights of step ``clean_step``.

    ``step`` was the newest when it was measured; ``features`` is the size of the dictionary, 0 where there is none.
    """

    step: int
    clean_step: int
    norm: str
    tau: float
    protocol: str
    certificate: str
    n: int
    steps: int
    features: int
    before: ObjectiveRow
    objectives: tuple[ObjectiveRow, ...]

    @property
    def rows(self) -> tuple[ObjectiveRow, ...]:
        """The clean weights first."""
        return (self.before, *self.objectives)

    def measured(self, quantities: Mapping[str, str]) -> list[str]:
        """Those of ``quantities`` that some row has."""
        return [name for name in quantities if any(row.value(name) is not None for row in self.rows)]

    def protocols(self) -> str:
        """How robust accuracy was measured, and certified accuracy where it was."""
        return "; ".join(filter(None, (f"robust accuracy: {self.protocol}", self.certificate)))


@studies.register("objectives")
class ObjectivesStudy(Study[ObjectiveComparison]):
    """Train with each objective from the same clean weights and write objectives.json."""

    file = "objectives.json"
    made_by = "objectives {}"
    record = ObjectiveComparison

    def ask(
        self,
        folder: RunFolder,
        *,
        objective: Annotated[Sequence[str] | None, "Objective; may be repeated. Default: all."] = None,
        steps: Annotated[int | None, "Steps of each training. Default: the run's second phase."] = None,
        jobs: Annotated[int, "Trainings at a time, each in a process of its own."] = 1,
        n: Samples = 1000,
        progress: Progress = silent,
    ) -> Answer[ObjectiveComparison]:
        """Train with each objective on the same batches, every weight free; knobs are the run's.

        Robust accuracy is measured as in the run's reports on ``n`` held-out samples, or as many as there are. Raises
        :class:`ConfigError` for wrong objectives or steps and for a run whose clean training has not ended,
        :class:`StoreError` for the folder.
        """
        from engine.studies.objective_phases import train_objectives

        names = tuple(objectives) if objective is None else objective
        found = train_objectives(folder, names, steps, n, progress, jobs)
        robust, certified = found.before.robust.protocol, found.before.certified
        record = ObjectiveComparison(
            found.step, found.clean_step, robust.norm, robust.tau, robust.text(),
            "" if certified is None else certified.protocol.text(), robust.n, found.steps, found.features,
            ObjectiveRow.of(BEFORE, found.before),
            tuple(ObjectiveRow.of(name, outcome) for name, outcome in found.after.items()),
        )  # fmt: skip
        return Answer(record, found.step, [s for name, each in found.after.items() for s in _scalars(name, each)])

    def table(self, record: ObjectiveComparison) -> str:
        """A line a network."""
        columns = [*record.measured(ACCURACIES), *record.measured(WEIGHTS), *(["held"] if record.features else [])]
        width = max(len(row.title) for row in record.rows) + 2
        lines = [
            f"{record.protocols()}; {record.steps} steps of each from the clean weights of step {record.clean_step}",
            "  " + " " * width + "  ".join(f"{name:<{_width(name)}}" for name in columns).rstrip(),
        ]
        for row in record.rows:
            cells = (f"{cell(row, name, record.features):<{_width(name)}}" for name in columns)
            lines.append(f"  {row.title:<{width}}{'  '.join(cells)}".rstrip())
        return "\n".join(lines)


def _width(column: str) -> int:
    return 20 if column in ACCURACIES else max(7, len(column))


def cell(row: ObjectiveRow, quantity: str, features: int) -> str:
    """A figure as a table shows it; ``held`` is the number of features of so many."""
    if quantity == "held":
        return "" if row.held is None else f"{row.held}/{features}"
    found = row.value(quantity)
    return "" if found is None else found.text() if isinstance(found, Interval) else f"{found:.3f}"


def _scalars(name: str, found: Outcome) -> Scalars:
    measured = {"clean": found.clean, "robust": found.robust}
    if found.certified is not None:
        measured["certified"] = found.certified
    yield from accuracies([metrics.after_objective(kind, name) for kind in measured], measured.values())
    for kind in WEIGHTS:
        value = getattr(found, kind)
        if value is not None:
            yield metrics.after_objective(kind, name), value, None
