"""What each training objective makes of the same clean weights: accuracies, and what the weights look like."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from engine.core.measurement import NORM_SIGN
from engine.figures.base import Column, Drawer, FigureData, Table, figures, provenance, training
from engine.figures.declare import (
    ACCURACY_LOOKS,
    BLUE,
    BRIGHT_VERMILION,
    DARK_GREEN,
    DARK_ORANGE,
    DARK_PURPLE,
    GREEN,
    GREY,
    ORANGE,
    PALE_GREY,
    PURPLE,
    SKY,
    VERMILION,
    Look,
    ViewDeclaration,
)
from engine.figures.meaning import Meaning
from engine.figures.style import MARKERS, legend_above, narrow, panels
from engine.studies.base import Interval
from engine.studies.questions.objectives import (
    ACCURACIES,
    WEIGHTS,
    ObjectiveComparison,
    ObjectiveRow,
    ObjectivesStudy,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from engine.run.store import Checkpoint, Store

VIEW = ViewDeclaration(
    "objectives", "Objectives", 125, "What each training objective makes of the same clean weights.",
    looks={  # points of different networks are not joined
        **{name: replace(look, dash="none") for name, look in ACCURACY_LOOKS.items()},
        "certified": Look(ACCURACIES["certified"], DARK_PURPLE, PURPLE, "triangle-up", "none"),
        "purity": Look("purity", BLUE, SKY, "circle", "none"),
        "kept": Look("feature kept", DARK_GREEN, GREEN, "square", "none"),
        "dense_alignment": Look("dense alignment", VERMILION, BRIGHT_VERMILION, "triangle-down", "none"),
        "alignment": Look("FGM alignment", DARK_ORANGE, ORANGE, "cross", "none"),
        "cosine": Look("cosine (w, w′)", GREY, PALE_GREY, "diamond", "none"),
    },
    file=ObjectivesStudy.file,
    meaning=Meaning(
        drawn="From the same clean weights, what each way to train makes of them: how robust, how pure.",
        formula="The second phase of {schedule.second_steps} steps at {attack.norm} radius τ = {attack.tau}, "
        "once for each objective: clean again, Gaussian noise of norm ≈ {training.noise}, "
        "adversarial, smoothed, TRADES with β = {training.beta}.",
        place="Abstract, result (2) is about adversarial training with FGM; the other objectives are for "
        "comparison and are not in the theorems.",
        surprise="Gaussian noise of norm τ, or more clean training, as robust as adversarial training at the same "
        "radius.",
    ),
)  # fmt: skip
SPREAD = 0.6  # of the room between two rows that the marks of one take


@dataclass(frozen=True)
class Dot:
    """A mark at ``x`` in row ``y``, and the ends of its interval, if it has one."""

    x: float
    y: float
    ends: tuple[float, float] | None


def dots(study: ObjectiveComparison, quantities: Sequence[str]) -> dict[str, list[Dot]]:
    """Of each quantity its marks: the clean weights in the top row, the marks of a row one below the other."""
    found: dict[str, list[Dot]] = {}
    rows = study.rows
    for place, name in enumerate(quantities):
        lower = SPREAD * (place / (len(quantities) - 1) - 0.5) if len(quantities) > 1 else 0.0
        marks = [(len(rows) - 1 - index - lower, row.value(name)) for index, row in enumerate(rows)]
        found[name] = [
            Dot(value.value, y, (value.low, value.high)) if isinstance(value, Interval) else Dot(value, y, None)
            for y, value in marks
            if value is not None
        ]
    return found


def names_of(study: ObjectiveComparison) -> list[tuple[float, str]]:
    """Row and name of each network."""
    return [(float(len(study.rows) - 1 - index), row.title) for index, row in enumerate(study.rows)]


def left_end(found: Mapping[str, Sequence[Dot]]) -> float:
    """Where the axis begins: at 0, but for cosines below that."""
    least = min((dot.x for each in found.values() for dot in each), default=0.0)
    return min(0.0, least - 0.05)


def axis_label(study: ObjectiveComparison) -> str:
    """Of the accuracies."""
    return f"accuracy, {NORM_SIGN.get(study.norm, study.norm)} radius {study.tau:g}"


@dataclass(frozen=True)
class ObjectivesFigure(FigureData):
    """A panel of accuracies, and one of what the weights are."""

    study: ObjectiveComparison

    def height(self, width: float) -> float:
        """A row a network, the panels stacked in a narrow figure."""
        one = 1.3 + 0.36 * len(self.study.rows)
        return 2 * one if narrow(width) else one + 0.3

    def draw(self, figure: Figure) -> None:
        """Draw the panels."""
        first, second = panels(figure, 2)
        self._panel(first, self.study.measured(ACCURACIES), axis_label(self.study))
        self._panel(second, self.study.measured(WEIGHTS), "share or cosine")
        if not narrow(figure.get_figwidth()):
            second.tick_params(labelleft=False)

    def _panel(self, axes: Axes, quantities: Sequence[str], label: str) -> None:
        found = dots(self.study, quantities)
        for name, marks in found.items():
            look = VIEW.looks[name]
            for dot in marks:
                if dot.ends is not None:
                    axes.plot(dot.ends, [dot.y, dot.y], color=look.light, lw=1.0, solid_capstyle="butt")
            axes.plot(
                [dot.x for dot in marks], [dot.y for dot in marks], ls="", marker=MARKERS[look.marker],
                color=look.light, label=look.label,
            )  # fmt: skip
        ticks = names_of(self.study)
        axes.set(xlim=(left_end(found), 1.02), ylim=(-0.6, len(ticks) - 0.4), xlabel=label)
        axes.set_yticks([y for y, _ in ticks], [name for _, name in ticks])
        axes.axhline(len(ticks) - 1.5, color="0.6", lw=0.6)
        axes.grid(axis="x", color="0.9", lw=0.5)
        axes.set_axisbelow(True)
        legend_above(axes)


@figures.register(VIEW.name, order=VIEW.order)
class ObjectivesDrawer(Drawer):
    """What each training objective makes of the same clean weights."""

    view = VIEW

    def collect(self, store: Store, checkpoint: Checkpoint, options: Mapping[str, str]) -> ObjectivesFigure:
        """Read ``objectives.json`` of the run."""
        study = ObjectivesStudy.read(store.folder)
        return ObjectivesFigure({"": table(study)}, self._caption(store, checkpoint, study), study)

    @staticmethod
    def _caption(store: Store, checkpoint: Checkpoint, study: ObjectiveComparison) -> str:
        return "\n".join(
            [
                f"From the clean weights of step {study.clean_step} ({study.before.title}) {study.steps:,} steps of "
                "each objective, on the same batches. Bars: 95% intervals. Right: "
                f"{', '.join(WEIGHTS[name] for name in study.measured(WEIGHTS))}.",
                f"Protocol: {study.protocols()}.",
                *(f"{row.title}: {row.how}" for row in study.objectives if row.how),
                training(store, checkpoint),
                provenance(store, checkpoint),
            ]
        )


def table(study: ObjectiveComparison) -> Table:
    """All figures, a row a network."""
    columns = [Column("objective", "name", np.array([row.objective for row in study.rows], np.str_))]
    for name in study.measured(ACCURACIES):
        values = [row.value(name) for row in study.rows]
        for part, suffix in (("value", ""), ("low", " low"), ("high", " high")):
            numbers = [getattr(value, part, np.nan) for value in values]
            columns.append(Column(ACCURACIES[name] + suffix, "1", np.array(numbers, np.float64)))
    columns += [
        Column(WEIGHTS[name], "1", np.array([_number(row, name) for row in study.rows], np.float64))
        for name in study.measured(WEIGHTS)
    ]
    if study.features:
        held = [np.nan if row.held is None else row.held for row in study.rows]
        columns.append(Column("features held", "features", np.array(held, np.float64), whole=True))
    return tuple(columns)


def _number(row: ObjectiveRow, name: str) -> float:
    value = row.value(name)
    return value if isinstance(value, float) else float("nan")
