"""Which feature each neuron has at the start, after clean training and now, and what the start has decided of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from engine.config.experiment import SPARSE_CODING
from engine.core import metrics
from engine.core.history import Series
from engine.core.measurement import wilson
from engine.core.results import FATES, WINNER_GROUPS, FeatureFates, Winners
from engine.figures.base import Drawer, FigureData, figures, provenance, training
from engine.figures.declare import (
    BLUE,
    BRIGHT_VERMILION,
    DARK_GREEN,
    DARK_PURPLE,
    GREEN,
    GREY,
    MOMENT_LOOKS,
    PALE_GREY,
    PURPLE,
    SKY,
    VERMILION,
    Look,
    Option,
    ViewDeclaration,
)
from engine.figures.fate_counts import (
    GROUPS,
    HEAD_START,
    NAMES,
    RULE,
    SIGNS,
    SINCE,
    at_moment,
    course_range,
    course_table,
    fates_table,
    features_table,
    head_start_text,
    lost_and_gained,
    most_neurons,
    neurons_table,
    share_text,
    transitions,
    winners_rule,
    winners_table,
)
from engine.figures.meaning import Meaning
from engine.figures.panels import picture_size
from engine.figures.style import MARKERS, knob_key, knob_marks, legend_above, narrow, time_axis
from engine.run.timeline import Span, knob_events, phases, until
from engine.theory.config import sparse_coding

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from engine.run.snapshot import Event
    from engine.run.store import Checkpoint, Store

VIEW = ViewDeclaration(
    "feature_fates", "Features", 75,
    "Which feature of the dictionary each neuron has at the start, after clean training and now.",
    (SPARSE_CODING,),
    options=(
        Option(
            "moment", "now", {**NAMES, "clean": "after clean"},
            "When: how many neurons hold each feature of the dictionary.",
        ),
        Option(
            "mark", "both",
            {"both": "lost, gained", "lost": "lost", "gained": "gained", "none": "neither"},
            "Which features are marked: those that had a neuron at the moment before and have none, or the other way.",
        ),
        Option(
            "quantity", "held",
            {"held": "features held", "kept": "share kept"},
            "What is shown over time: features that some alive neuron has, or the share of neurons that kept theirs.",
        ),
    ),
    looks={
        "kept": Look("kept", BLUE, SKY, "circle", tip="Alive at both moments, with the same feature and sign."),
        "changed": Look(
            "changed", DARK_PURPLE, PURPLE, "diamond", tip="Alive at both moments, with another feature or sign."
        ),
        "died": Look("died", VERMILION, BRIGHT_VERMILION, "cross", tip="Alive at the earlier moment alone."),
        "revived": Look("revived", DARK_GREEN, GREEN, "triangle-up", tip="Alive at the later moment alone."),
        "dead": Look("dead at both", GREY, PALE_GREY, "plus", tip="Alive at neither moment."),
        "lost": Look("lost", VERMILION, BRIGHT_VERMILION, "triangle-down"),
        "gained": Look("gained", DARK_GREEN, GREEN, "triangle-up"),
        "now": MOMENT_LOOKS["now"],
    },
    meaning=Meaning(
        drawn="Which pattern of the dictionary each neuron stands for at the start, after clean training "
        "and now, and how many keep theirs.",
        formula="j(i) = argmax_j |C_ij| with C = W M, and its sign; counted over the alive of m = {model.m} "
        "neurons and the {world.d} features of the dictionary.",
        place="The proof's “lottery winners”: neurons whose start leads on one feature become its neurons; "
        "adversarial training keeps feature and sign.",
        surprise="Many neurons that change feature in adversarial training: it should purify, not relearn.",
    ),
)  # fmt: skip
ARRAYS = ("weight_init", "weight", "dictionary", "target", "weight_clean")  # of a checkpoint
METRICS = {"held": metrics.HELD, "kept": metrics.KEPT}  # by the option ``quantity``
COLOURS = "cividis"  # of the numbers of neurons: the same lightness for every kind of colour vision


@dataclass(frozen=True)
class FatesFigure(FigureData):
    """Both records at the checkpoint, the chosen options, and the recorded ``series`` of the chosen quantity."""

    found: FeatureFates
    winners: Winners
    options: Mapping[str, str]
    series: Series
    spans: tuple[Span, ...]
    events: tuple[Event, ...]
    end: int

    def height(self, width: float) -> float:
        """Two rows of two panels, or four below each other."""
        return 10.4 if narrow(width) else 5.6

    def draw(self, figure: Figure) -> None:
        """Draw the fates, the dictionary, the winners and the course of one quantity."""
        figure.set_layout_engine("constrained", w_pad=0.06, h_pad=0.06)
        shape = (4, 1) if narrow(figure.get_figwidth()) else (2, 2)
        fates, dictionary, winners, over_time = figure.subplots(*shape, squeeze=False).ravel()
        self._fates(fates)
        self._dictionary(dictionary)
        self._winners(winners)
        self._over_time(over_time)

    def _fates(self, axes: Axes) -> None:
        shown = transitions(self.found)
        m = len(self.found.now.alive)
        for row, each in enumerate(reversed(shown)):
            left = 0
            for name, count in zip(FATES, each.counts, strict=True):
                colour = VIEW.looks[name].light
                fill: dict[str, Any] = (
                    {"fc": "none", "ec": colour, "lw": 0.6} if name == "dead" else {"color": colour, "alpha": 0.75}
                )
                label = f"{SIGNS[name]} {VIEW.looks[name].label}" if row == 0 else "_"  # named once
                axes.barh(row, count, 0.42, left, label=label, **fill)
                left += count
            axes.text(0, row + 0.3, each.text, fontsize=7, va="bottom")
        axes.set(xlim=(0, m), ylim=(-0.4, len(shown) - 0.25), yticks=[], xlabel=f"neurons (m = {m})")
        axes.spines["left"].set_visible(False)
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.24), ncols=3, handlelength=1, columnspacing=1)

    def _dictionary(self, axes: Axes) -> None:
        from matplotlib.colors import LogNorm
        from matplotlib.ticker import FixedLocator, NullLocator

        present, before, earlier = at_moment(self.found, self.options["moment"])
        axes.set_axis_off()
        moment = NAMES[self.options["moment"]]
        if present is None:
            axes.text(0.5, 0.5, f"{moment}: clean training has not ended", ha="center", fontsize=7)
            return
        rows, columns = picture_size(present.total)
        counts = np.full(rows * columns, np.nan)
        counts[: present.total] = np.where(present.neurons > 0, present.neurons, np.nan)
        top = most_neurons(self.found)
        image = axes.imshow(
            counts.reshape(rows, columns), cmap=COLOURS, norm=LogNorm(1, top), interpolation="none", aspect="equal"
        )
        ticks = FixedLocator([t for t in (1, 2, 5, 10, 20, 50, 100, 200, 500) if t <= top])
        bar = axes.figure.colorbar(image, ax=axes, shrink=0.8, label="neurons of a feature", ticks=ticks, format="%d")
        bar.ax.yaxis.set_minor_locator(NullLocator())
        lost, gained = lost_and_gained(present, before)
        mark = self.options["mark"]
        lost, gained = lost & (mark in ("both", "lost")), gained & (mark in ("both", "gained"))
        size = 3.2 if max(rows, columns) <= 16 else 1.8
        self._marks(axes, np.flatnonzero((present.neurons == 0) & ~lost), columns, "x", "0.45", size)
        for which, name in ((lost, "lost"), (gained, "gained")):
            look = VIEW.looks[name]
            self._marks(axes, np.flatnonzero(which), columns, MARKERS[look.marker], look.light, size, edge="white")
        axes.set(xlim=(-0.6, columns - 0.4), ylim=(rows - 0.4, -0.6))
        axes.set_title(f"{moment}: {present.held} of {present.total} features held", fontsize=7)
        words = ["× no neuron"]
        if before is not None:
            words += [f"{sign} {n} {name} since {SINCE[earlier]}" for sign, n, name in (
                ("▼", lost.sum(), "lost"), ("▲", gained.sum(), "gained")) if mark in ("both", name)]  # fmt: skip
        axes.text(0.5, -0.04, "\n".join(words), transform=axes.transAxes, ha="center", va="top", fontsize=7)

    @staticmethod
    def _marks(
        axes: Axes, which: NDArray[np.int64], columns: int, marker: str, colour: str, size: float, edge: str = ""
    ) -> None:
        y, x = np.divmod(which, columns)
        axes.plot(x, y, ls="", marker=marker, color=colour, ms=size, mew=0.6, mec=edge or colour)

    def _winners(self, axes: Axes) -> None:
        for row, group in enumerate(reversed(WINNER_GROUPS)):
            became, n = self.winners.fate(group)
            if n:
                low, high = wilson(became, n)
                axes.plot([low, high], [row, row], color=VIEW.looks["now"].light, lw=1)
                axes.plot(became / n, row, "o", color=VIEW.looks["now"].light)
            text = f"{group}: {became} of {n}, {share_text(became, n)}"
            axes.text(0, row + 0.22, text, fontsize=7, va="bottom")
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.5, len(WINNER_GROUPS) - 0.3), yticks=[])
        axes.set_xlabel("share that became its feature's neuron")
        axes.spines["left"].set_visible(False)

    def _over_time(self, axes: Axes) -> None:
        time_axis(axes, self.spans, self.end, origin=self.origin)
        knob_marks(axes, self.events)
        kind = self.options["quantity"]
        total = float(self.found.now.total) if kind == "held" else 1.0
        marker = "o" if len(self.series) < 2 else None
        axes.plot(self.series.steps, self.series.values, color=VIEW.looks["now"].light, marker=marker, label="held now"
                  if kind == "held" else "kept since clean training")  # fmt: skip
        axes.axhline(total, color="0.35", lw=0.8, ls=(0, (1, 1.5)), label="all")
        axes.set(ylim=course_range(self.series.values, total), ylabel=VIEW.option("quantity").choices[kind])
        legend_above(axes, names=True)


@figures.register(VIEW.name, order=VIEW.order)
class FeatureFatesDrawer(Drawer):
    """Which feature each neuron has at the three moments, and the winners of the start."""

    view = VIEW

    def collect(self, store: Store, checkpoint: Checkpoint, options: Mapping[str, str]) -> FatesFigure:
        """Measure the neurons at the checkpoint and read what was recorded up to it."""
        import torch

        from engine.probes.feature_fates import feature_fates
        from engine.probes.winners import winners

        config = sparse_coding(checkpoint.config, f"view {VIEW.name}")
        arrays = {
            name: torch.tensor(checkpoint.arrays[name]) for name in ("weight", "weight_init", "dictionary", "target")
        }
        clean = torch.tensor(checkpoint.arrays["weight_clean"]) if "weight_clean" in checkpoint.arrays else None
        start, now, dictionary = arrays["weight_init"], arrays["weight"], arrays["dictionary"]
        found = feature_fates(start, clean, now, dictionary)
        lottery = winners(start, now, dictionary, arrays["target"], config.model.sigma_0)
        recorded = {name: until(store.series(metric), checkpoint.step) for name, metric in METRICS.items()}
        events = knob_events(store, checkpoint)
        tables = {
            "": neurons_table(found, lottery), "features": features_table(found, lottery), "fates": fates_table(found),
            "winners": winners_table(lottery), "over_time": course_table(recorded, found.now.total),
        }  # fmt: skip
        quantity = VIEW.option("quantity").choices[options["quantity"]]
        return FatesFigure(
            tables=tables, caption=self._caption(store, checkpoint, found, lottery, events, quantity), found=found,
            winners=lottery, options=options, series=recorded[options["quantity"]], spans=phases(store, checkpoint),
            origin=checkpoint.config.branch,
            events=events, end=checkpoint.step,
        )  # fmt: skip

    @staticmethod
    def _caption(
        store: Store, checkpoint: Checkpoint, found: FeatureFates, lottery: Winners, events: tuple[Event, ...],
        quantity: str,
    ) -> str:  # fmt: skip
        m = len(found.now.alive)
        alive = ", ".join(f"{int(each.alive.sum())} {NAMES[name]}" for name, each in found.moments.items())
        held = ", ".join(f"{each.held} {NAMES[name]}" for name, each in found.moments.items())
        kept = "; ".join(f"{each.name} {share_text(*each.kept)} of n = {each.kept[1]}" for each in transitions(found))
        lines = [
            f"What has become of the features of m = {m} neurons (alive: {alive}); how many neurons hold each of the "
            f"{found.now.total} features of the dictionary (held: {held}); what became of the winners of the start; "
            f"and over training the {quantity}. Kept, of the neurons alive at both moments: {kept}.",
            f"{RULE} {winners_rule(lottery)} "
            + " ".join(f"{group.capitalize()}: {words}." for group, words in GROUPS.items() if group != "winners")
            + f" {head_start_text(lottery).capitalize()}; {HEAD_START}. Intervals are 95% Wilson intervals over "
            "neurons.",
            "Protocol: computed from the weights and the dictionary, no attack and no data enter. "
            f"{training(store, checkpoint)} {knob_key(events)}".rstrip(),
            provenance(store, checkpoint),
        ]
        return "\n".join(lines)
