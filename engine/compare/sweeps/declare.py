"""What the view of a sweep is: its options, the quantities that it draws, what it means."""

from __future__ import annotations

from dataclasses import dataclass

from engine.core import metrics
from engine.core.errors import ConfigError
from engine.core.quoting import quote
from engine.figures.declare import Option, TextOption, ViewDeclaration
from engine.figures.meaning import Meaning
from engine.run.entry import FIGURES
from engine.run.ranges import PROPORTION, SHARE, range_of

AUTO, ALL = "auto", "all"
MOST_QUANTITIES = 8


@dataclass(frozen=True, slots=True)
class SweptQuantity:
    """What is drawn of every run: the scalar ``metric``, called ``label``; from 0 to 1 if it is a ``share``.

    ``key`` is its name in options and tables: that of a figure of the results, else that of the scalar.
    """

    key: str
    label: str
    unit: str
    metric: str
    share: bool = True


QUANTITIES = {
    each.key: each
    for each in (
        SweptQuantity("purity", "mean purity of neurons", "1", FIGURES["purity"]),
        SweptQuantity("pgd", "robust accuracy (PGD)", "share of samples", FIGURES["pgd"]),
        SweptQuantity("certified", "certified accuracy", "share of samples", FIGURES["certified"]),
        SweptQuantity("clean", "clean accuracy", "share of samples", FIGURES["clean"]),
    )
}
"""Those that the results of a sweep hold, in the order in which they are drawn."""

VIEW = ViewDeclaration(
    "sweep", "Sweep", 300,
    "What the runs of a sweep came to: curves over a knob, two knobs as a heatmap, or curves over training steps, with "
    "the mean and the range over seeds.",
    options=(
        TextOption(
            "quantity", ALL, {ALL: "all figures that were measured"},
            f"What is drawn, several joined by commas: {', '.join(QUANTITIES)}, or the name of a recorded scalar.",
            meaning=f"{', '.join(QUANTITIES)}, or a recorded scalar such as {metrics.mixture('relative', 'median')}",
        ),
        Option(
            "kind", AUTO,
            {
                AUTO: "by the number of swept knobs", "curves": "curves over a knob",
                "heatmap": "two knobs as a heatmap", "steps": "curves over training steps",
            },
            "How it is drawn; by itself: no knob is swept: over steps, one: over it, more: as a heatmap of two.",
        ),
        TextOption("over", AUTO, {AUTO: "the first swept knob"}, "The knob along x.", meaning="a swept knob"),
        TextOption(
            "by", AUTO, {AUTO: "the next swept knob"},
            "The knob along y of a heatmap. Every value of each other knob is a heatmap, or a curve, of its own.",
            meaning="another swept knob",
        ),
        Option(
            "phase", "second", {"second": "the phase after clean training", "clean": "clean training"},
            "At the end of which phase; curves over steps show both.",
        ),
        TextOption(
            "where", ALL, {ALL: "all runs"}, "Of which runs: knob=value, several joined by semicolons.",
            meaning="knob=value, e.g. attack.tau=0.2",
        ),
    ),
    meaning=Meaning(
        drawn="What came out of runs that differ in a few knobs and in the seed: a thin line is one seed, the thick "
        "one their mean, the band reaches from the least to the greatest. A cell of a heatmap is the mean over its "
        "seeds. Hatched is what failed or diverged, blank what is not there yet.",
        formula="mean over the seeds of one combination of knobs; range: least and greatest of them; with one seed "
        "the 95% Wilson interval of its accuracy",
        place="Not a figure of the paper: its theorems speak of all small radii and all wide enough networks, and a "
        "sweep shows where, at one's own sizes, that begins and ends.",
        surprise="Seeds that differ more than neighbouring values of a knob do (there are too few of them), or a cell "
        "that breaks a smooth picture (look at that run).",
    ),
)  # fmt: skip


def quantity_of(name: str) -> SweptQuantity:
    """The quantity called ``name``; any name that is none of :data:`QUANTITIES` is that of a recorded scalar.

    Raises :class:`ConfigError` for a text that cannot be a name.
    """
    if name in QUANTITIES:
        return QUANTITIES[name]
    if not name or not name.isprintable() or len(name) > 100:
        raise ConfigError(f"quantity: got {quote(name)}; allowed: {VIEW.option('quantity').allowed}")
    allowed = range_of(name)
    unit = "share of samples" if allowed == PROPORTION else "as recorded"
    return SweptQuantity(name, name, unit, name, allowed in (PROPORTION, SHARE))
