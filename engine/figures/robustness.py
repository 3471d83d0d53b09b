"""Clean and robust accuracy over training: every curve with its protocol and interval, phases and changes marked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from engine.config.experiment import SPARSE_CODING
from engine.core import metrics
from engine.core.history import Series
from engine.figures.base import (
    Array,
    Column,
    Curve,
    Drawer,
    FigureData,
    Table,
    curve,
    figures,
    knot_key,
    knot_tables,
    provenance,
    scheduled,
    short,
    training,
)
from engine.figures.declare import (
    BLUE,
    BRIGHT_VERMILION,
    DARK_GREEN,
    DARK_PURPLE,
    GREEN,
    ORANGE,
    PURPLE,
    SKY,
    VERMILION,
    YELLOW,
    Look,
    ViewDeclaration,
    switch,
)
from engine.figures.meaning import Meaning
from engine.figures.style import (
    DASHES,
    MARKERS,
    knob_key,
    knob_marks,
    knot_marks,
    narrow,
    time_axis,
    unit_axis,
)
from engine.run.timeline import Span, events_of, knob_events, phases, until

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from engine.run.snapshot import Event
    from engine.run.store import Checkpoint, Store
    from engine.run.timeline import Knot

SHARES = (*metrics.ACCURACIES, metrics.CERTIFIED)  # the curves that are shares of samples, each with its protocol
VIEW = ViewDeclaration(
    "robustness", "Robustness", 50,
    "Accuracy on clean and on perturbed held-out samples over training steps, with 95% Wilson intervals.",
    options=(
        switch(
            "alignment", False, "Also draw the mean cosine of the FGM perturbation with −y·M w*, the dense mixture."
        ),
    ),
    looks={
        metrics.CLEAN: Look(
            "clean", BLUE, SKY, "circle", "solid", "Share of held-out inputs classified right, unperturbed."
        ),
        metrics.FGM: Look(
            "FGM", ORANGE, ORANGE, "square", "dashed",
            "Share still right after one gradient step to the boundary of the ball.",
        ),
        metrics.PGD: Look(
            "PGD", VERMILION, BRIGHT_VERMILION, "triangle-down", "dash-dot",
            "Share still right after projected gradient descent inside the ball: an upper bound of robustness.",
        ),
        metrics.DENSE: Look(
            "dense direction", DARK_PURPLE, PURPLE, "diamond", "dotted",
            "Share still right after every input moves by tau along −y·M w* (needs no network).",
        ),
        metrics.CERTIFIED: Look(
            "certified", "#3B4149", YELLOW, "triangle-up", "dash-dot-dot",
            "Share that provably no perturbation of the ball fools: a lower bound of robustness.",
        ),
        metrics.ALIGNMENT: Look(
            "FGM alignment", DARK_GREEN, GREEN, "plus", "solid",
            "Mean cosine of the FGM perturbation with −y·M w*: 1 means it is the dense mixture.",
        ),
    },
    metrics=(*SHARES, *(metrics.REPORT + name for name in SHARES)),
    meaning=Meaning(
        drawn="The share of held-out inputs that are answered right, over training steps: unperturbed, and "
        "under attacks of one strength. Shading says which phase trains; bands are 95% intervals.",
        formula="robust accuracy = share of (x, y) that stays right for the δ that the attack finds with ‖δ‖ "
        "≤ τ; here {attack.norm}, τ = {attack.tau}, PGD with {evaluation.steps} steps on "
        "{evaluation.size} inputs while training, {evaluation.report_steps} steps × "
        "{evaluation.report_restarts} restarts on {evaluation.report_size} at a phase's end.",
        place="Abstract, results (1) and (2): clean training is not robust, training with FGM is, against "
        "any perturbation of that radius.",
        surprise="PGD above FGM beyond the intervals (the attack is broken), FGM far above PGD (the network "
        "has learned to hide its gradient), or certified above PGD (a bug).",
    ),
)  # fmt: skip
MARKS = 9  # markers along a curve: enough to tell it by shape, few enough to see the line


@dataclass(frozen=True)
class Robustness(FigureData):
    """``live`` and ``reports``: the curves of :data:`SHARES` that hold any value."""

    live: tuple[Curve, ...]
    reports: tuple[Curve, ...]
    alignment: Series | None
    spans: tuple[Span, ...]
    events: tuple[Event, ...]
    knots: tuple[Knot, ...]
    end: int

    def height(self, width: float) -> float:
        """Height in inches; a second panel and a stacked legend need more."""
        legend = 0.16 * len(self._entries()) if narrow(width) else 0.16 * ((len(self._entries()) + 1) // 2)
        return 2.5 + legend + (1.3 if self.alignment is not None else 0)

    def draw(self, figure: Figure) -> None:
        """Draw accuracies, below them the alignment if asked for, and the legend at the bottom."""
        figure.set_layout_engine("constrained", w_pad=0.05, h_pad=0.05)
        panels = 1 if self.alignment is None else 2
        ratios = [2.0, 1.0][:panels]
        grid = figure.subplots(panels, 1, squeeze=False, sharex=True, height_ratios=ratios).ravel()
        accuracy = grid[0]
        self._accuracies(accuracy)
        if self.alignment is not None:
            self._alignment(grid[1], self.alignment)
            accuracy.set_xlabel("")
        handles, labels = accuracy.get_legend_handles_labels()
        if handles:
            columns = 1 if narrow(figure.get_figwidth()) else 2
            figure.legend(handles, labels, loc="outside lower center", ncols=columns, handlelength=3.2)

    def _entries(self) -> list[str]:
        return [c.name for c in (*self.live, *self.reports)]

    def _accuracies(self, axes: Axes) -> None:
        time_axis(axes, self.spans, self.end, origin=self.origin)
        knob_marks(axes, self.events)
        knot_marks(axes, self.knots, self.end)
        unit_axis(axes, "accuracy")
        if self.reports:  # room for the points at the last step
            axes.set_xlim(0, max(self.end, 1) * 1.02)
        for i, found in enumerate(self.live):
            look = VIEW.looks[found.name]
            colour = look.light
            axes.fill_between(found.steps, found.low, found.high, color=colour, alpha=0.18, lw=0)
            stride = max(1, len(found.steps) // MARKS)
            axes.plot(
                found.steps, found.values, color=colour, ls=DASHES[look.dash], marker=MARKERS[look.marker],
                markevery=(min(i * stride // 4, len(found.steps) - 1), stride), label=_entry(found),
            )  # fmt: skip
        for i, found in enumerate(self.reports):
            look = _look(found)
            colour, marker = look.light, MARKERS[look.marker]
            # Points of one step are set side by side, so that their intervals can be told apart.
            place = found.steps + (i - (len(self.reports) - 1) / 2) * 0.009 * max(self.end, 1)
            errors = np.maximum(np.stack([found.values - found.low, found.high - found.values]), 0)
            axes.errorbar(
                place, found.values, errors, fmt=marker, ms=4.5, mfc="white", mec=colour, ecolor=colour,
                mew=1.1, elinewidth=0.9, capsize=2, clip_on=False, zorder=4, label="report: " + _entry(found),
            )  # fmt: skip
        if not self.live and not self.reports:
            axes.text(0.5, 0.5, "no evaluation recorded up to this step", transform=axes.transAxes, ha="center")

    def _alignment(self, axes: Axes, series: Series) -> None:
        limits = axes.get_xlim()  # shared with the upper panel, which names the phases
        time_axis(axes, self.spans, self.end, origin=self.origin, names=False)
        axes.set_xlim(limits)
        axes.plot(
            series.steps,
            series.values,
            color=VIEW.looks[metrics.ALIGNMENT].light,
            marker="o" if len(series) < 2 else None,
        )
        axes.set(ylim=(min(0, float(series.values.min(initial=0)) * 1.1), 1.02), ylabel="FGM alignment\n(cosine)")
        axes.grid(axis="y", color="0.85", lw=0.5)
        axes.set_axisbelow(True)


def _look(found: Curve) -> Look:
    return VIEW.looks[found.name.removeprefix(metrics.REPORT)]


def _entry(found: Curve) -> str:
    """Legend entry: the latest protocol in short, with a star if there were others before."""
    used = found.changes()
    text = short(used[-1][1]) if used else _look(found).label
    return text + (" *" if len(used) > 1 else "")


@figures.register(VIEW.name, order=VIEW.order)
class RobustnessDrawer(Drawer):
    """Accuracy on clean and on perturbed held-out samples over training steps, with 95% Wilson intervals."""

    view = VIEW

    def collect(self, store: Store, checkpoint: Checkpoint, options: Mapping[str, str]) -> Robustness:
        """Read the accuracies recorded up to the checkpoint with their protocols, and the changes made."""
        step = checkpoint.step
        live = tuple(c for c in (curve(store, n, step) for n in SHARES) if len(c.steps))
        names = [metrics.REPORT + n for n in SHARES]
        reports = tuple(c for c in (curve(store, n, step) for n in names) if len(c.steps))
        asked = options["alignment"] == "true" and checkpoint.config.kind == SPARSE_CODING
        aligned = until(store.series(metrics.ALIGNMENT), step) if asked else None
        tables: dict[str, Table] = {"": _wide(live, aligned), "report": _long(reports)}
        events = events_of(store, checkpoint)
        tables["events"] = (
            Column("step", "steps", np.array([e.step for e in events], np.int64)),
            *(Column(k, "text", np.array([getattr(e, k) for e in events], np.str_)) for k in ("name", "old", "new")),
        )
        changes, knots = knob_events(store, checkpoint), scheduled(store, checkpoint)
        return Robustness(
            tables=tables | knot_tables(knots),
            caption=_caption(store, checkpoint, live, reports, aligned is not None, changes, knots),
            live=live, reports=reports, alignment=aligned, events=changes, knots=knots, end=step,
            spans=phases(store, checkpoint), origin=checkpoint.config.branch,
        )  # fmt: skip


def _wide(curves: tuple[Curve, ...], aligned: Series | None) -> Table:
    """One line a step: value, Wilson bounds, samples and radius of each accuracy; empty where it has none."""
    named = [(c.name, c.steps) for c in curves] + ([("", aligned.steps)] if aligned is not None else [])
    steps = np.unique(np.concatenate([s for _, s in named])) if named else np.empty(0, np.int64)
    columns = [Column("step", "steps", steps)]

    def spread(at: Array, values: Array) -> Array:
        out = np.full(len(steps), np.nan)
        out[np.searchsorted(steps, at)] = values
        return out

    for c in curves:
        samples = np.array([np.nan if p is None else p.n for p in c.protocols])
        radius = np.array([np.nan if p is None else p.tau for p in c.protocols])
        columns += [
            Column(c.name, "1", spread(c.steps, c.values)),
            Column(f"{c.name} low", "1", spread(c.steps, c.low)),
            Column(f"{c.name} high", "1", spread(c.steps, c.high)),
            Column(f"{c.name} n", "samples", spread(c.steps, samples), whole=True),
            Column(f"{c.name} radius", "norm of the ball", spread(c.steps, radius)),
        ]
    if aligned is not None:
        columns.append(Column(metrics.ALIGNMENT, "cosine", spread(aligned.steps, aligned.values)))
    return tuple(columns)


def _long(curves: tuple[Curve, ...]) -> Table:
    """One line a measurement of the reports at phases' ends, with its protocol in words."""

    def joined(parts: list[Array], dtype: type) -> Array:
        return np.concatenate(parts) if parts else np.empty(0, dtype)

    texts = [p.text() if p is not None else "" for c in curves for p in c.protocols]
    return (
        Column("metric", "text", np.array([c.name for c in curves for _ in c.protocols], np.str_)),
        Column("step", "steps", joined([c.steps for c in curves], np.int64)),
        Column("value", "1", joined([c.values for c in curves], np.float64)),
        Column("low", "1", joined([c.low for c in curves], np.float64)),
        Column("high", "1", joined([c.high for c in curves], np.float64)),
        Column("protocol", "text", np.array(texts, np.str_)),
    )


def _caption(
    store: Store, checkpoint: Checkpoint, live: tuple[Curve, ...], reports: tuple[Curve, ...], aligned: bool,
    changes: tuple[Event, ...], knots: tuple[Knot, ...],
) -> str:  # fmt: skip
    shown = "Accuracy on held-out samples over training: lines with bands are live estimates"
    if reports:
        shown += ", open points with bars the reports at phases' ends (points of one step are set side by side)"
    shown += "."
    if aligned:
        shown += " Below: mean cosine of the FGM perturbation with −y·M w*."
    lines = [shown]
    if any(len(c.changes()) > 1 for c in (*live, *reports)):
        lines.append("* The protocol changed during the run; the legend names the last one.")
    for found in (*live, *reports):
        used = "; ".join(f"from step {s}: {p.text()}" if i else p.text() for i, (s, p) in enumerate(found.changes()))
        kind = "report, " if found.name.startswith(metrics.REPORT) else ""
        lines.append(f"Protocol, {kind}{_look(found).label}: {used or 'not recorded'}.")
    if not live and not reports:
        lines.append("Protocol: no evaluation was recorded up to this step (n = 0).")
    lines.append(" ".join(filter(None, (training(store, checkpoint), knot_key(knots), knob_key(changes)))))
    lines.append(provenance(store, checkpoint))
    return "\n".join(lines)
