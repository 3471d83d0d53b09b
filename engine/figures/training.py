"""Training: the loss and the training accuracy of every step, and what the steps used: rate, bias, changed knobs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from engine.config.experiment import Config, resolve
from engine.core import metrics
from engine.core.history import Series
from engine.figures.base import (
    Column,
    Drawer,
    FigureData,
    Table,
    figures,
    knot_key,
    knot_tables,
    provenance,
    scheduled,
    training,
)
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
    YELLOW,
    Look,
    Option,
    ViewDeclaration,
    round_up,
)
from engine.figures.meaning import Meaning
from engine.figures.style import (
    DASHES,
    MARKERS,
    knob_key,
    knob_marks,
    knot_marks,
    legend_above,
    narrow,
    panels,
    time_axis,
    unit_axis,
)
from engine.run.course import Course, Sampled
from engine.run.timeline import Span, events_of, knob_events, phases, until

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from engine.run.snapshot import Event
    from engine.run.store import Checkpoint, Store
    from engine.run.timeline import Knot

Floats = NDArray[np.float64]
MEASURED = {metrics.LOSS: "loss (nats)", metrics.TRAIN_ACCURACY: "training accuracy (share right)"}
VIEW = ViewDeclaration(
    "training", "Training", 55,
    "Loss and accuracy of every training step on its own batch, and the learning rate, bias, noise and every changed "
    "knob as that step used them.",
    options=(
        Option(
            "smooth", "1",
            {"1": "raw", "10": "mean of 10 steps", "100": "mean of 100 steps", "1000": "mean of 1,000 steps"},
            "Also draw the mean of the last so many steps over the raw curves, which stay.",
        ),
    ),
    looks={
        metrics.LOSS: Look(
            "loss", VERMILION, BRIGHT_VERMILION, "triangle-down", "solid",
            "What the step minimises, on its own batch as the phase perturbs it, before the step.",
        ),
        metrics.TRAIN_ACCURACY: Look(
            "training accuracy", DARK_GREEN, GREEN, "square", "solid",
            "Share of that batch classified right before the step; on perturbed inputs where the phase perturbs them.",
        ),
        "smooth": Look("mean", "#3B4149", YELLOW, "circle", "dashed", "The mean of the last steps."),
        "training.lr": Look("learning rate", BLUE, SKY, "circle", "solid", "As the step used it."),
        "model.bias": Look("bias b", DARK_ORANGE, ORANGE, "square", "dashed", "The bias of every neuron at that step."),
        "model.sigma_rho": Look(
            "noise σ_ρ", DARK_PURPLE, PURPLE, "diamond", "dotted", "Standard deviation of the pre-activation noise."
        ),
    },
    metrics=tuple(MEASURED),
    meaning=Meaning(
        drawn="The loss that each training step minimises and the share of its batch that was answered right, and the "
        "settings that the step used: learning rate, bias, noise and whatever was changed.",
        formula="loss = mean of log(1 + exp(−y·f(x + δ))) or the cross-entropy over a batch of {training.batch_size}; "
        "δ = 0 in clean training, the attack's with ‖δ‖ ≤ τ = {attack.tau} in adversarial training.",
        place="Not a figure of the paper: the curve by which any training is judged first.",
        surprise="A loss that rises within a phase, or training accuracy far above that of Robustness: the network "
        "learns its batches by heart.",
    ),
)  # fmt: skip
OTHERS = (
    Look("", DARK_GREEN, GREEN, "triangle-up", "dash-dot"), Look("", VERMILION, BRIGHT_VERMILION, "cross", "dashed"),
    Look("", GREY, PALE_GREY, "plus", "dash-dot-dot"),
)  # fmt: skip
KNOBS = "setting, each over its largest value"


def knob_looks(paths: list[str]) -> dict[str, Look]:
    """How the knobs at ``paths`` are drawn: some have a look of their own, the others take turns."""
    others = [path for path in paths if path not in VIEW.looks]
    return {
        path: VIEW.looks[path]
        if path in VIEW.looks
        else replace(
            OTHERS[others.index(path) % len(OTHERS)], label=path, tip="A knob that was changed or follows a curve."
        )
        for path in paths
    }


def scaled(values: Floats) -> Floats:
    """``values`` (t,) over the largest, so that settings of any size share an axis; 0 where all are."""
    top = float(np.abs(values).max(initial=0.0))
    return values / top if top else values


def knob_text(label: str, values: Floats) -> str:
    """The label with the range of its values and the present one, e.g. ``learning rate 0 to 1.5, now 1.2``."""
    if not len(values):
        return label
    low, high, now = float(values.min()), float(values.max()), float(values[-1])
    return f"{label} {now:.4g}" if low == high else f"{label} {low:.4g} to {high:.4g}, now {now:.4g}"


def running_mean(values: Floats, n: int) -> Floats:
    """The mean (t,) of the last ``n`` of ``values`` (t,), of fewer at the beginning."""
    total = np.concatenate([[0.0], np.cumsum(values)])
    at = np.arange(1, len(values) + 1)
    first = np.maximum(at - n, 0)
    mean: Floats = (total[at] - total[first]) / (at - first)
    return mean


def loss_top(values: Floats) -> float:
    """The end of the axis of the loss: the largest, rounded up."""
    finite = values[np.isfinite(values)]
    return round_up(1.02 * float(finite.max(initial=0.0))) or 1.0


@dataclass(frozen=True)
class TrainingFigure(FigureData):
    """``series``: the metrics of :data:`MEASURED` up to step ``end``; ``means`` the same smoothed, if asked for."""

    series: Mapping[str, Series]
    means: Mapping[str, Floats]
    mean_label: str
    knobs: Sampled
    spans: tuple[Span, ...]
    events: tuple[Event, ...]
    knots: tuple[Knot, ...]
    end: int

    def height(self, width: float) -> float:
        """Three panels in a row, or stacked in a narrow figure; each legend line needs room."""
        lines = max(len(self.knobs.values), 2)
        return 6.4 + 0.15 * (lines + 2) if narrow(width) else 2.3 + 0.15 * lines

    def draw(self, figure: Figure) -> None:
        """Draw loss, training accuracy and settings."""
        *measured, settings = panels(figure, 3)
        for axes, name in zip(measured, MEASURED, strict=True):
            self._measured(axes, name)
        self._settings(settings)

    def _time(self, axes: Axes) -> None:
        time_axis(axes, self.spans, self.end)
        knob_marks(axes, self.events)
        knot_marks(axes, self.knots, self.end)

    def _measured(self, axes: Axes, name: str) -> None:
        self._time(axes)
        look, found = VIEW.looks[name], self.series[name]
        marker = MARKERS[look.marker] if len(found) < 2 else None
        axes.plot(found.steps, found.values, color=look.light, lw=0.7, marker=marker, label=look.label)
        if name in self.means:
            mean = VIEW.looks["smooth"]
            axes.plot(found.steps, self.means[name], color=mean.light, ls=DASHES[mean.dash], label=self.mean_label)
        if name == metrics.LOSS:
            axes.set(ylim=(0, 1.1 * loss_top(found.values)), ylabel=MEASURED[name])
        else:
            unit_axis(axes, "training accuracy")
        legend_above(axes, names=True)

    def _settings(self, axes: Axes) -> None:
        self._time(axes)
        looks = knob_looks(list(self.knobs.values))
        for path, values in self.knobs.values.items():
            look = looks[path]
            marker = MARKERS[look.marker] if len(values) < 2 else None
            label = knob_text(look.label, values)
            axes.plot(
                self.knobs.steps, scaled(values), color=look.light, ls=DASHES[look.dash], marker=marker, label=label
            )
        unit_axis(axes, "setting / its largest")
        if self.knobs.values:
            legend_above(axes, names=True)


@figures.register(VIEW.name, order=VIEW.order)
class TrainingDrawer(Drawer):
    """Loss and accuracy of every training step on its own batch, and what the steps used."""

    view = VIEW

    def collect(self, store: Store, checkpoint: Checkpoint, options: Mapping[str, str]) -> TrainingFigure:
        """Read loss and accuracy up to the checkpoint; compute the settings from the first config and the events."""
        step, n = checkpoint.step, int(options["smooth"])
        series = {name: until(store.series(name), step) for name in MEASURED}
        means = {name: running_mean(found.values, n) for name, found in series.items()} if n > 1 else {}
        course = Course(store.config)
        course.follow(events_of(store, checkpoint))
        events, knots = knob_events(store, checkpoint), scheduled(store, checkpoint)
        knobs = course.sampled(step, [knot.step for knot in knots])
        return TrainingFigure(
            tables={"": _measured(series, means, n), "settings": _settings(knobs, checkpoint.config)}
            | knot_tables(knots),
            caption=_caption(store, checkpoint, n, events, knots),
            series=series, means=means, mean_label=VIEW.option("smooth").choices[options["smooth"]], knobs=knobs,
            spans=phases(store, checkpoint), events=events, knots=knots, end=step,
        )  # fmt: skip


def _measured(series: Mapping[str, Series], means: Mapping[str, Floats], n: int) -> Table:
    units = {metrics.LOSS: "nats", metrics.TRAIN_ACCURACY: "1"}
    columns = [Column("step", "steps", series[metrics.LOSS].steps)]
    for name, found in series.items():
        columns.append(Column(name, units[name], found.values))
        if name in means:
            columns.append(Column(f"{name} mean of {n}", units[name], means[name]))
    return tuple(columns)


def _settings(knobs: Sampled, config: Config) -> Table:
    """What the sampled steps used, in the knobs' own units."""
    return (
        Column("step", "steps", knobs.steps),
        *(Column(path, resolve(path, config).unit or "1", values) for path, values in knobs.values.items()),
    )


def _caption(store: Store, checkpoint: Checkpoint, n: int, events: tuple[Event, ...], knots: tuple[Knot, ...]) -> str:
    mean = f" Dashed: the mean of the last {n} steps." if n > 1 else ""
    return "\n".join((
        "Loss and training accuracy of every step, before it, on the step's own batch as its phase perturbs it; raw."
        f"{mean} Right: what the steps used, each setting over its largest value, which the legend tells.",
        f"Protocol: n = {checkpoint.config.training.batch_size} training samples a step at the end, without weight "
        "decay in the loss; settings computed from the run's config and its changes.",
        " ".join(filter(None, (training(store, checkpoint), knot_key(knots), knob_key(events)))),
        provenance(store, checkpoint),
    ))  # fmt: skip
