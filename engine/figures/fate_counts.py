"""What the features view and its figure count and say: fates between moments, coverage, winners, and the tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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
from engine.figures.base import Column, Table
from engine.figures.panels import picture_size

NAMES = {"start": "start", "clean": "after clean training", "now": "now"}  # of the moments
SINCE = {"start": "the start", "clean": "clean training"}  # after “since”
SIGNS = {"kept": "●", "changed": "◆", "died": "×", "revived": "▲", "dead": "+"}  # of the looks' markers, in texts
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
    place: NDArray[np.float64] = np.log(np.clip(counts, 1, top)) / np.log(top)
    return place


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
    return f"head start {mean}, n = {n:,} (0.5: by chance)"


def course_range(values: NDArray[np.float64], total: float) -> tuple[float, float]:
    """The y axis of what is counted over steps: up to somewhat above ``total``, from well below the least value."""
    span = max(total - float(np.nanmin(values, initial=total)), 0.1 * total)
    return max(0.0, total - 1.5 * span), total + 0.2 * span


def neurons_table(found: FeatureFates, lottery: Winners) -> Table:
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


def features_table(found: FeatureFates, lottery: Winners) -> Table:
    """One feature of the dictionary a row."""
    return (
        Column("feature", "index", np.arange(found.now.total)),
        *(Column(f"neurons {NAMES[name]}", "neurons", each.neurons) for name, each in found.moments.items()),
        Column("winners", "neurons", lottery.winners),
        Column("winners that became its neuron", "neurons", lottery.fulfilled),
        Column("neurons now with the right sign", "neurons", lottery.neurons),
    )


def fates_table(found: FeatureFates) -> Table:
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


def winners_table(lottery: Winners) -> Table:
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


def course_table(recorded: Mapping[str, Series], total: int) -> Table:
    """One live evaluation a row."""
    held, kept = recorded["held"], recorded["kept"]
    known = dict(zip(kept.steps.tolist(), kept.values.tolist(), strict=True))
    return (
        Column("step", "steps", held.steps),
        Column("features held", "features", held.values, whole=True),
        Column("features in the dictionary", "features", np.full(len(held), total)),
        Column("share that kept feature and sign", "1", np.array([known.get(s, np.nan) for s in held.steps.tolist()])),
    )
