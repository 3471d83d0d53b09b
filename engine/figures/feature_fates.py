"""Which feature each neuron has at the start, after clean training and now, and what the start has decided of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from engine.config.experiment import SPARSE_CODING
from engine.core import metrics
from engine.core.history import Series
from engine.core.measurement import wilson
from engine.core.results import (
    ALIVE,
    FATES,
    GAP,
    WINNER_GROUPS,
    BoolArray,
    FeatureFates,
    FeatureOf,
    IntArray,
    Winners,
)
from engine.figures.base import Column, Drawer, FigureData, Table, figures, provenance, training
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
from engine.figures.panels import picture_size
from engine.figures.style import MARKERS, knob_key, knob_marks, legend_above, narrow, time_axis
from engine.run.timeline import Span, knob_events, phases, until
from engine.theory.config import sparse_coding

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from engine.run.snapshot import Event
    from engine.run.store import Checkpoint, Store

NAMES = {"start": "start", "clean": "after clean training", "now": "now"}  # of the moments
SINCE = {"start": "the start", "clean": "clean training"}  # after “since”
VIEW = ViewDeclaration(
    "feature_fates", "Features", 75,
    "Which feature of the dictionary each neuron has at the start, after clean training and now (SPEC.md sections 4 "
    "and 12).",
    (SPARSE_CODING,),
    options=(
        Option("moment", "now", NAMES, "When: how many neurons hold each feature of the dictionary."),
        Option(
            "mark", "both",
            {"both": "lost and gained", "lost": "lost", "gained": "gained", "none": "neither"},
            "Which features are marked: those that had a neuron at the moment before and have none, or the other way.",
        ),
        Option(
            "quantity", "held",
            {"held": "features held", "kept": "share of neurons that kept theirs"},
            "What is shown over time.",
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
)  # fmt: skip
ARRAYS = ("weight_init", "weight", "dictionary", "target", "weight_clean")  # of a checkpoint
METRICS = {"held": metrics.HELD, "kept": metrics.KEPT}  # by the option ``quantity``
SIGNS = {"kept": "●", "changed": "◆", "died": "×", "revived": "▲", "dead": "+"}  # of the looks' markers, in texts
COLOURS = "cividis"  # of the numbers of neurons: the same lightness for every kind of colour vision
GROUPS = {
    "winners": "lead clearly on one feature with the right sign", "wrong sign": "lead as clearly with the wrong sign",
    "unclear": "lead on nothing", "others": "all but the winners",
}  # fmt: skip
SHORT_RULE = f"Alive: norm above {ALIVE:g} of the largest. Kept: the same feature with the same sign."
RULE = (
    f"Alive: norm above {ALIVE:g} of the largest at that moment. A neuron's feature is where |C_ij| is largest; kept "
    "means the same feature with the same sign."
)
HEAD_START = (
    "that is, over the neurons alive now with the right sign, the mean share of features on which their start had less "
    "of that sign than on their own"
)


@dataclass(frozen=True, slots=True)
class Transition:
    """From one moment to a later one: ``fate`` (m,) of each neuron by its place in :data:`FATES`, and their counts."""

    before: str
    after: str
    fate: IntArray
    counts: tuple[int, ...]

    @property
    def name(self) -> str:
        """Both moments in few words."""
        short = {**NAMES, "clean": "clean"}
        return f"{short[self.before]} → {short[self.after]}"

    @property
    def text(self) -> str:
        """Both moments with the numbers of neurons by sign; those dead at both are left to the rest of the bar."""
        told = (f"{SIGNS[name]} {n:,}" for name, n in zip(FATES, self.counts, strict=True) if name != "dead")
        return f"{self.name}:  {'  '.join(told)}"

    @property
    def kept(self) -> tuple[int, int]:
        """How many kept their feature, of how many alive at both moments."""
        return self.counts[0], self.counts[0] + self.counts[1]


def transitions(found: FeatureFates) -> tuple[Transition, ...]:
    """Start → clean, clean → now, start → now; the last alone before clean training has ended."""
    moments = found.moments
    pairs = [("start", "clean"), ("clean", "now"), ("start", "now")]
    out = []
    for before, after in pairs:
        if before in moments and after in moments:
            fate = moments[before].fate(moments[after])
            counts = np.bincount(fate, minlength=len(FATES)).tolist()
            out.append(Transition(before, after, fate, tuple(counts)))
    return tuple(out)


def at_moment(found: FeatureFates, moment: str) -> tuple[FeatureOf | None, FeatureOf | None, str]:
    """The features at ``moment`` and at the one before it, and the latter's name; None and “” where there is none."""
    names = list(found.moments)
    if moment not in names:
        return None, None, ""
    place = names.index(moment)
    return found.moments[moment], *((found.moments[names[place - 1]], names[place - 1]) if place else (None, ""))


def lost_and_gained(present: FeatureOf, before: FeatureOf | None) -> tuple[BoolArray, BoolArray]:
    """Which features (total,) had a neuron before and have none, and the other way; none if there is no before."""
    has = present.neurons > 0
    had = has if before is None else before.neurons > 0
    return had & ~has, has & ~had


def most_neurons(found: FeatureFates) -> int:
    """The largest number of neurons that one feature has at any moment, at least 2: the end of the colour scale."""
    return max(2, *(int(moment.neurons.max()) for moment in found.moments.values()))


def shade(counts: IntArray, top: int) -> NDArray[np.float64]:
    """The place of each number of neurons on the colour scale: 0 for one (and none), 1 for ``top``, by logarithm."""
    return np.log(np.clip(counts, 1, top)) / np.log(top)


def feature_words(dictionary: str, feature: int, total: int) -> str:
    """A feature by its place in the dictionary, e.g. ``feature 17 (DCT frequency 1 down, 5 across)``."""
    rows, columns = picture_size(total)
    known = {"dct": "DCT frequency {} down, {} across", "identity": "pixel in row {}, column {}"}
    if dictionary not in known or rows * columns != total:
        return f"feature {feature}"
    return f"feature {feature} ({known[dictionary].format(*divmod(feature, columns))})"


def share_text(count: int, n: int) -> str:
    """A share with its 95% Wilson interval; a dash for a share of nothing."""
    low, high = wilson(count, n)
    return f"{count / n:.3f} [{low:.3f}, {high:.3f}]" if n else "–"


def winners_rule(found: Winners) -> str:
    """What winning means, with its thresholds."""
    return (
        f"Winners lead at the start: the largest |⟨w⁰, M_j⟩| is at least {found.threshold:.3g} (σ₀·√(2 ln d)) and "
        f"{1 + GAP:g} times the second, with the sign of w*_j. Became: alive now, with the same feature and that sign."
    )


def short_winners_rule(found: Winners) -> str:
    """The same in a line."""
    return f"Winners: lead by {found.threshold:.3g} and {1 + GAP:g} × the second, right sign."


def head_start_text(found: Winners) -> str:
    """How much the start has decided of the neurons that are sound now."""
    n = int(found.sound.sum())
    mean = f"{found.mean_head_start:.3f}" if n else "–"
    return (
        f"head start {mean} over n = {n:,} neurons that are alive with the right sign (0.5: the start decides nothing)"
    )


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
                fill = {"fc": "none", "ec": colour, "lw": 0.6} if name == "dead" else {"color": colour, "alpha": 0.75}
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
        time_axis(axes, self.spans, self.end)
        knob_marks(axes, self.events)
        kind = self.options["quantity"]
        total = float(self.found.now.total) if kind == "held" else 1.0
        marker = "o" if len(self.series) < 2 else None
        axes.plot(self.series.steps, self.series.values, color=VIEW.looks["now"].light, marker=marker, label="held now"
                  if kind == "held" else "kept since clean training")  # fmt: skip
        axes.axhline(total, color="0.35", lw=0.8, ls=(0, (1, 1.5)), label="all")
        axes.set(ylim=(0, 1.12 * total), ylabel=VIEW.option("quantity").choices[kind])
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
            "": _neurons(found, lottery), "features": _features(found, lottery), "fates": _counts(found),
            "winners": _groups(lottery), "over_time": _over_time(recorded, found.now.total),
        }  # fmt: skip
        quantity = VIEW.option("quantity").choices[options["quantity"]]
        return FatesFigure(
            tables=tables, caption=self._caption(store, checkpoint, found, lottery, events, quantity), found=found,
            winners=lottery, options=options, series=recorded[options["quantity"]], spans=phases(store, checkpoint),
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
            + f" {head_start_text(lottery).capitalize()}; {HEAD_START}. Intervals are 95% Wilson intervals over neurons.",
            "Protocol: computed from the weights and the dictionary, no attack and no data enter. "
            f"{training(store, checkpoint)} {knob_key(events)}".rstrip(),
            provenance(store, checkpoint),
        ]
        return "\n".join(lines)


def _neurons(found: FeatureFates, lottery: Winners) -> Table:
    """One neuron a row; the columns of a moment that there is not yet are missing."""
    columns = [Column("neuron", "index", np.arange(len(found.now.alive)))]
    for name, each in found.moments.items():
        columns += [
            Column(f"feature {NAMES[name]}", "index", each.feature),
            Column(f"sign {NAMES[name]}", "-1 or 0 or 1", each.sign),
            Column(f"alive {NAMES[name]}", "0 or 1", each.alive.astype(np.int64)),
        ]
    words = np.array(FATES, np.str_)
    columns += [Column(f"fate {each.name}", "text", words[each.fate]) for each in transitions(found)]
    return (
        *columns,
        Column("leading feature at the start", "index", lottery.feature),
        Column("leads", "0 or 1", lottery.leads.astype(np.int64)),
        Column("leads with the right sign", "0 or 1", lottery.winner.astype(np.int64)),
        Column("became its neuron", "0 or 1", lottery.became.astype(np.int64)),
        Column("head start", "1", np.where(lottery.sound, lottery.head_start, np.nan)),
    )


def _features(found: FeatureFates, lottery: Winners) -> Table:
    """One feature of the dictionary a row."""
    return (
        Column("feature", "index", np.arange(found.now.total)),
        *(Column(f"neurons {NAMES[name]}", "neurons", each.neurons) for name, each in found.moments.items()),
        Column("winners", "neurons", lottery.winners),
        Column("winners that became its neuron", "neurons", lottery.fulfilled),
        Column("neurons now with the right sign", "neurons", lottery.neurons),
    )


def _counts(found: FeatureFates) -> Table:
    """One pair of moments a row."""
    shown = transitions(found)
    kept = [each.kept for each in shown]
    bounds = np.array([wilson(*each) for each in kept]).T
    return (
        Column("from", "text", np.array([NAMES[each.before] for each in shown], np.str_)),
        Column("to", "text", np.array([NAMES[each.after] for each in shown], np.str_)),
        *(Column(name, "neurons", np.array([each.counts[i] for each in shown])) for i, name in enumerate(FATES)),
        Column("alive at both", "neurons", np.array([n for _, n in kept])),
        Column("kept share", "1", np.array([k / n if n else np.nan for k, n in kept])),
        Column("low", "1", bounds[0]),
        Column("high", "1", bounds[1]),
    )


def _groups(lottery: Winners) -> Table:
    """One group of the start a row."""
    fates = [lottery.fate(group) for group in WINNER_GROUPS]
    bounds = np.array([wilson(*each) for each in fates]).T
    return (
        Column("at the start", "text", np.array(WINNER_GROUPS, np.str_)),
        Column("became", "neurons", np.array([became for became, _ in fates])),
        Column("n", "neurons", np.array([n for _, n in fates])),
        Column("share", "1", np.array([became / n if n else np.nan for became, n in fates])),
        Column("low", "1", bounds[0]),
        Column("high", "1", bounds[1]),
    )


def _over_time(recorded: Mapping[str, Series], total: int) -> Table:
    """One live evaluation a row."""
    held, kept = recorded["held"], recorded["kept"]
    known = dict(zip(kept.steps.tolist(), kept.values.tolist(), strict=True))
    return (
        Column("step", "steps", held.steps),
        Column("features held", "features", held.values, whole=True),
        Column("features in the dictionary", "features", np.full(len(held), total)),
        Column("share that kept feature and sign", "1", np.array([known.get(s, np.nan) for s in held.steps.tolist()])),
    )
