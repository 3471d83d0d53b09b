"""The race: robust accuracy of linear, polynomial and NTK baselines beside the network and the oracle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from engine.core.labels import MODELS, TRAINED_BY
from engine.core.measurement import NORM_SIGN
from engine.figures.base import Column, Drawer, FigureData, Table, figures, provenance, training
from engine.figures.declare import (
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
from engine.figures.style import DASHES, MARKERS, narrow, panels, unit_axis
from engine.studies.questions.comparison import LEARNED, Comparison, ComparisonStudy, Entry

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from engine.run.store import Checkpoint, Store

_LOOKS: Mapping[str, Look] = {
    "network": Look("", BLUE, SKY),
    "oracle": Look("", GREY, PALE_GREY, "diamond", "dotted"),
    "linear": Look("", DARK_ORANGE, ORANGE, "square", "dashed"),
    "quadratic": Look("", DARK_GREEN, GREEN, "triangle-up", "dash-dot"),
    "cubic": Look("", DARK_PURPLE, PURPLE, "triangle-down", "dash-dot-dot"),
    "ntk": Look("", VERMILION, BRIGHT_VERMILION, "star", "dashed"),
    "ntk_now": Look("", VERMILION, BRIGHT_VERMILION, "diamond"),
}
VIEW = ViewDeclaration(
    "race", "Race", 100, "The network against models that the paper proves cannot be robust.",
    looks={name: replace(look, label=MODELS[name]) for name, look in _LOOKS.items()},
    file=ComparisonStudy.file,
    meaning=Meaning(
        drawn="The network beside models that the paper proves cannot be robust, all trained on the same "
        "data and attacked alike.",
        formula="Share right under PGD at {attack.norm} radius τ = {attack.tau} of: a linear model, "
        "polynomials, the neural tangent kernel of this very network, and the network; each with the "
        "best of clean, FGM and PGD training.",
        place="Theorem 5.4, a lower bound on complexity: models of low complexity cannot defend at this "
        "radius, however they are trained.",
        surprise="A linear model or the kernel ahead of the network in the sparse-coding world. On small "
        "images it happens: there the theorem's assumptions do not hold.",
    ),
)  # fmt: skip
NAN = float("nan")


def look_of(model: str) -> Look:
    """How a model is drawn; one without a look of its own is a grey plus."""
    return VIEW.looks.get(model, Look(MODELS.get(model, model), GREY, PALE_GREY, "plus"))


def number(value: float | str | None) -> float:
    """NaN for what was not measured."""
    return NAN if value is None else float(value)


@dataclass(frozen=True)
class RaceFigure(FigureData):
    """A panel of best robust accuracies; one over steps and one over d where these were measured."""

    race: Comparison

    @property
    def panels(self) -> int:
        """How many panels there are."""
        return 1 + bool(self.race.curves) + bool(self.race.swept())

    def height(self, width: float) -> float:
        """The panels in a row, or stacked in a narrow figure."""
        return 0.3 + 2.1 * self.panels if narrow(width) else 2.4

    def draw(self, figure: Figure) -> None:
        """Draw the panels."""
        axes = panels(figure, self.panels, [1.35] + [1.0] * (self.panels - 1))
        self._dots(axes.pop(0))
        if self.race.curves:
            self._curves(axes.pop(0))
        if self.race.swept():
            self._sweep(axes.pop(0))

    def _dots(self, axes: Axes) -> None:
        race, best = self.race, self.race.best()
        rows = [("oracle", race.oracle)] if race.oracle is not None else []
        rows += [("network", race.network), *best.items()]
        rows.reverse()
        names = []
        for place, (name, entry) in enumerate(rows):
            look = look_of(name)
            colour, marker = look.light, MARKERS[look.marker]
            by = f"\n({TRAINED_BY.get(entry.trained_by, entry.trained_by)} training)" if entry.trained_by else ""
            names.append(look.label + by)
            others = [e.robust for e in race.baselines if e.name == name and e is not entry]
            axes.plot(others, [place] * len(others), ls="", marker=marker, mfc="white", mec=colour, ms=4, mew=0.7)
            if entry.low is not None and entry.high is not None:
                axes.plot([entry.low, entry.high], [place, place], color=colour, lw=1.2, solid_capstyle="butt")
            axes.plot([entry.robust], [place], ls="", marker=marker, color=colour, ms=6 if marker == "*" else 5)
            left = entry.robust > 0.6
            edge = number(entry.low if left else entry.high)
            x = (edge if np.isfinite(edge) else entry.robust) + (-0.03 if left else 0.03)
            axes.text(x, place + 0.16, f"{entry.robust:.2f}", ha="right" if left else "left", va="bottom", size=7)
        axes.axvline(race.network.robust, color=VIEW.looks["network"].light, lw=0.7, ls=":", zorder=0)
        axes.set(xlim=(0, 1.02), ylim=(-0.6, len(rows) - 0.3), yticks=range(len(rows)), yticklabels=names)
        axes.set_xlabel(f"robust accuracy, {NORM_SIGN.get(race.norm, race.norm)} radius {race.tau:g}")
        axes.grid(axis="x", color="0.9", lw=0.5)
        axes.set_axisbelow(True)

    def _curves(self, axes: Axes) -> None:
        for curve in self.race.shown_curves():
            self._line(axes, curve.name, curve.steps, curve.robust)
        axes.axhline(self.race.network.robust, color=VIEW.looks["network"].light, lw=0.7, ls=":", zorder=0)
        axes.set_xlabel("training step of the baseline")
        unit_axis(axes, "robust accuracy")
        axes.set_ylim(0, 1.02)

    def _sweep(self, axes: Axes) -> None:
        found = self.race.swept()
        for name, (d, values) in found.items():
            self._line(axes, name, d, values)
        axes.set_xticks(sorted({d for x, _ in found.values() for d in x}))
        axes.set_xlabel("dimension d")
        unit_axis(axes, "robust accuracy")
        axes.set_ylim(0, 1.02)

    @staticmethod
    def _line(axes: Axes, name: str, x: object, y: object) -> None:
        look = look_of(name)
        xs, ys = np.asarray(x, float), np.asarray(y, float)
        every = max(1, len(xs) // 8)
        style = {"color": look.light, "marker": MARKERS[look.marker], "ls": DASHES[look.dash]}
        axes.plot(xs, ys, markevery=every, label=look.label, **style)  # type: ignore[arg-type]


@figures.register(VIEW.name, order=VIEW.order)
class RaceDrawer(Drawer):
    """The network against what the paper proves cannot be robust (SPEC.md section 6)."""

    view = VIEW

    def collect(self, store: Store, checkpoint: Checkpoint, options: Mapping[str, str]) -> RaceFigure:
        """Read ``race.json`` of the run."""
        race = ComparisonStudy.read(store.folder)
        entries = [("network", race.network)] + ([("oracle", race.oracle)] if race.oracle is not None else [])
        entries += [(e.name, e) for e in race.baselines]
        tables: dict[str, Table] = {"": self._table(entries, race)}
        curves = [(c, s, r) for c in race.curves for s, r in zip(c.steps, c.robust, strict=True)]
        if curves:
            tables["steps"] = (
                Column("model", "name", np.array([c.name for c, _, _ in curves], np.str_)),
                Column("trained by", "objective", np.array([c.objective for c, _, _ in curves], np.str_)),
                Column("step", "steps", np.array([s for _, s, _ in curves], np.int64)),
                Column("robust accuracy", "1", np.array([r for _, _, r in curves], np.float64)),
            )
        worlds = {row.get("d"): row for row in race.sweep}
        swept = [(name, d, v) for name, (ds, vs) in race.swept().items() for d, v in zip(ds, vs, strict=True)]
        if swept:
            tables["sweep"] = (
                Column("model", "name", np.array([n for n, _, _ in swept], np.str_)),
                Column("d", "1", np.array([d for _, d, _ in swept], np.float64), whole=True),
                *(
                    Column(of, "1", np.array([number(worlds[d].get(of)) for _, d, _ in swept], np.float64))
                    for of in ("k", "tau")
                ),
                Column("robust accuracy", "1", np.array([v for _, _, v in swept], np.float64)),
            )
        return RaceFigure(tables, self._caption(store, checkpoint, race), race)

    @staticmethod
    def _table(entries: list[tuple[str, Entry]], race: Comparison) -> Table:
        best = race.best()
        nan = [(number(e.clean), e.robust, number(e.low), number(e.high), number(e.steps)) for _, e in entries]
        values = np.array(nan, np.float64).reshape(-1, 5)
        return (
            Column("model", "name", np.array([n for n, _ in entries], np.str_)),
            Column("trained by", "objective", np.array([e.trained_by for _, e in entries], np.str_)),
            Column("clean accuracy", "1", values[:, 0]),
            Column("robust accuracy", "1", values[:, 1]),
            Column("low", "1", values[:, 2]),
            Column("high", "1", values[:, 3]),
            Column("steps", "steps", values[:, 4], whole=True),
            Column("best", "0 or 1", np.array([int(best.get(n) is e) for n, e in entries], np.int64)),
            Column("note", "text", np.array([e.note for _, e in entries], np.str_)),
        )

    @staticmethod
    def _caption(store: Store, checkpoint: Checkpoint, race: Comparison) -> str:
        notes = dict.fromkeys(e.note for e in race.baselines if e.note)
        ideal = "" if race.oracle is None else ", of the ideal network (the ceiling)"
        parts = [
            f"Robust accuracy of the network{ideal} and of each baseline, trained on "
            "the same data at the same radius. Filled: the best of its trainings, bars 95% intervals; hollow: others"
            ". Every panel marks a model alike."
        ]
        if LEARNED in race.best():
            parts.append("The NTK of now has the trained network's gates, so its features are learned.")
        if race.curves:
            parts.append("Second panel: the baselines over their training steps, the network's accuracy dotted.")
            parts.append(race.curves_note())
        if race.swept():
            scaled = race.scaling()
            parts.append(f"Last panel: the same race in worlds of other dimension d{f' ({scaled})' if scaled else ''}.")
        n = "" if "n =" in race.protocol else f", n = {race.n}"
        return "\n".join(
            [
                " ".join(parts),
                f"Protocol: {race.protocol}{n}; network of step {race.step}. Baselines: {'; '.join(notes)}".rstrip(),
                training(store, checkpoint),
                provenance(store, checkpoint),
            ]
        )
