"""Sparse or dense: the error that is left of images and perturbations against the number of first-layer filters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from engine.config.experiment import IMAGES
from engine.figures.base import Column, Drawer, FigureData, Table, figures, provenance, training
from engine.figures.declare import DARK_GREEN, GREEN, GREY, MOMENT_LOOKS, PALE_GREY, Look, Option, ViewDeclaration
from engine.figures.meaning import Meaning
from engine.figures.style import DASHES, MARKERS, legend_above, narrow
from engine.studies.questions.sparse_code import FILTERS, METHODS, VECTORS, SparseCodes, SparseStudy

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from engine.run.store import Checkpoint, Store

CLEAN, NOW = MOMENT_LOOKS["clean"], MOMENT_LOOKS["now"]
LOOKS: Mapping[str, Look] = {
    "image": Look(VECTORS["image"], DARK_GREEN, GREEN, "square", "dashed"),
    "clean": Look(VECTORS["clean"], CLEAN.light, CLEAN.dark, CLEAN.marker, "dash-dot"),
    "now": Look(VECTORS["now"], NOW.light, NOW.dark, NOW.marker),
    "random": Look(VECTORS["random"], GREY, PALE_GREY, "diamond", "dotted"),
}  # fmt: skip
VIEW = ViewDeclaration(
    "sparse_code", "Sparse or dense?", 125,
    "How few first-layer filters rebuild images and perturbations (paper, section 5).", (IMAGES,),
    options=(
        Option("filters", "now", FILTERS, "Filters that all is rebuilt from."),
        Option("method", "omp", METHODS, "How filters are chosen: one by one, or by the Lasso's penalty, which also "
               "shrinks their coefficients."),
    ),
    looks=LOOKS,
    file=SparseStudy.file,
    meaning=Meaning(
        drawn="How few filters are needed to rebuild an image, and a perturbation, to a given error.",
        formula="min number of atoms with ‖x − Σ a_j w_j‖ ≤ ε‖x‖, the atoms the first layer's filters at "
        "length one ({model.width} of {model.name}); the same for the perturbation δ at τ = "
        "{attack.tau} ({attack.norm}).",
        place="Section 5: images are sparse in the purified filters, perturbations of clean nets are dense.",
        surprise="Perturbations as sparse as images. On small data sets that is what is found: it is reported "
        "as it is.",
    ),
)  # fmt: skip


@dataclass(frozen=True)
class SparseFigure(FigureData):
    """One panel: error against the number of filters, bands over inputs, and marks where the study's error is."""

    study: SparseCodes
    filters: str
    method: str

    def height(self, width: float) -> float:
        """Higher in a narrow figure: its legend is above."""
        return 3.4 if narrow(width) else 3.2

    def draw(self, figure: Figure) -> None:
        """Draw the panel."""
        figure.set_layout_engine("constrained", w_pad=0.05, h_pad=0.05)
        axes = figure.subplots()
        error = self.study.error
        axes.axhline(error, color="0.5", lw=0.7, ls=":")
        most = 0
        for name, curve in self.study.chosen(self.filters, self.method).items():
            look, number, count = LOOKS[name], np.arange(curve.most + 1), curve.count
            most = max(most, curve.most)
            axes.fill_between(number, curve.q10, curve.q90, color=look.light, alpha=0.15, lw=0)
            axes.plot(number, curve.median, color=look.light, ls=DASHES[look.dash])
            if count.median is not None and count.low is not None:
                high = curve.most if count.high is None else count.high
                axes.hlines(error, count.low, high, color=look.light, lw=1.6)
            at = [] if count.median is None else [count.median]
            axes.plot(
                at, [error] * len(at), color=look.light, ls=DASHES[look.dash], marker=MARKERS[look.marker], ms=5,
                label=f"{look.label}: {count.text(curve.most)}",
            )  # fmt: skip
        axes.set(
            xlim=(0, max(most, 1)), ylim=(0, 1.02), xlabel=f"number of {FILTERS[self.filters]}",
            ylabel="relative error that is left",
        )  # fmt: skip
        axes.grid(axis="y", color="0.9", lw=0.5)
        axes.set_axisbelow(True)
        if narrow(figure.get_figwidth()):
            legend_above(axes)
        else:
            axes.legend(loc="upper right")


@figures.register(VIEW.name, order=VIEW.order)
class SparseDrawer(Drawer):
    """How few first-layer filters rebuild images and perturbations (paper, section 5)."""

    view = VIEW

    def collect(self, store: Store, checkpoint: Checkpoint, options: Mapping[str, str]) -> SparseFigure:
        """Read ``sparse_code.json`` of the run."""
        study, filters, method = SparseStudy.read(store.folder), options["filters"], options["method"]
        tables: dict[str, Table] = {"": _curves(study, filters, method), "numbers": _numbers(study)}
        caption = "\n".join(
            [
                f"Error that is left of images and perturbations against the number of {FILTERS[filters]} "
                f"that they are rebuilt from by {METHODS[method]}: medians over {study.inputs(filters, method)} "
                "inputs, bands from the 10% to the 90% quantile. Marks, bars and key: the median number of filters for "
                f"{study.error:.0%} error and its 95% interval over inputs.",
                study.what,
                " ".join(study.findings(filters, method)),
                f"{study.how} Clean network: step {study.clean_step}, purified: step {study.step}.",
                training(store, checkpoint),
                provenance(store, checkpoint),
            ]
        )
        return SparseFigure(tables, caption, study, filters, method)


def _curves(study: SparseCodes, filters: str, method: str) -> Table:
    rows = [
        (name, number, curve.median[number], curve.q10[number], curve.q90[number])
        for name, curve in study.chosen(filters, method).items()
        for number in range(curve.most + 1)
    ]
    return (
        Column("vectors", "name", np.array([VECTORS[r[0]] for r in rows], np.str_)),
        Column("filters", "1", np.array([r[1] for r in rows], np.int64)),
        *(
            Column(name, "1", np.array([r[place] for r in rows], np.float64))
            for place, name in enumerate(("relative error", "10% of inputs below", "90% of inputs below"), start=2)
        ),
    )


def _numbers(study: SparseCodes) -> Table:
    """How many filters the study's error takes, of every dictionary by every method; empty: more than were tried."""
    curves = study.curves

    def column(name: str, unit: str, key: str, *, whole: bool = False) -> Column:
        found = [getattr(curve.count, key) for curve in curves]
        return Column(name, unit, np.array([np.nan if f is None else f for f in found], np.float64), whole=whole)

    return (
        Column("vectors", "name", np.array([VECTORS[c.vectors] for c in curves], np.str_)),
        Column("dictionary", "name", np.array([FILTERS[c.filters] for c in curves], np.str_)),
        Column("method", "name", np.array([METHODS[c.method] for c in curves], np.str_)),
        Column("inputs", "1", np.array([c.n for c in curves], np.int64)),
        Column("filters tried", "1", np.array([c.most for c in curves], np.int64)),
        *(
            column(name, "filters", key, whole=True)
            for name, key in (
                ("median", "median"), ("low", "low"), ("high", "high"), ("10% quantile", "q10"),
                ("90% quantile", "q90"),
            )
        ),
        column("mean", "filters", "mean"),
        column("reached", "1", "reached"),
    )  # fmt: skip
