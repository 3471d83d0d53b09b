"""Robust and clean accuracy against the rank of what the adversarial phase may change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from engine.core.measurement import NORM_SIGN
from engine.figures.base import Column, Drawer, FigureData, figures, provenance, training
from engine.figures.declare import ACCURACY_LOOKS, ViewDeclaration
from engine.figures.meaning import Meaning
from engine.figures.style import DASHES, MARKERS, legend_above, narrow, unit_axis
from engine.studies.questions.low_rank import RankComparison, RankStudy

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from engine.run.store import Checkpoint, Store

VIEW = ViewDeclaration(
    "low_rank", "Low rank", 120, "How small a rank is enough for adversarial training.",
    looks=ACCURACY_LOOKS, file=RankStudy.file,
    meaning=Meaning(
        drawn="How robust the network gets if adversarial training may change its weights by a matrix of "
        "small rank only.",
        formula="W = W_clean + U V, U V of rank r; accuracy under PGD at {attack.norm} radius τ = "
        "{attack.tau} against r, beside the unrestricted phase of {schedule.second_steps} steps. This "
        "run itself: rank {low_rank.rank} (0: no limit).",
        place="Version 4 of the paper: adversarial training can be done through low-rank updates.",
        surprise="An accuracy that falls as the rank grows, beyond the intervals, or a rank-1 update that does "
        "more than the full one.",
    ),
)  # fmt: skip
CURVES = {"clean": ("clean", "clean_low", "clean_high"), "robust": ("robust", "low", "high")}
COLUMNS = (
    ("robust accuracy", "robust"), ("low", "low"), ("high", "high"), ("clean accuracy", "clean"),
    ("clean low", "clean_low"), ("clean high", "clean_high"),
)  # fmt: skip


@dataclass(frozen=True)
class LowRankFigure(FigureData):
    """One panel, ranks on a logarithmic axis, the unrestricted phase and the start as lines."""

    study: RankComparison

    def height(self, width: float) -> float:
        """Lower in a narrow figure, though its legend is above."""
        return 2.9 if narrow(width) else 3.2

    def draw(self, figure: Figure) -> None:
        """Draw the panel."""
        figure.set_layout_engine("constrained", w_pad=0.05, h_pad=0.05)
        axes = figure.subplots()
        rows, full, before = self.study.limited(), self.study.full(), self.study.before
        ranks = [row.rank for row in rows]
        for name, (value, low, high) in CURVES.items():
            look = VIEW.looks[name]
            colour = look.light
            if rows:
                axes.vlines(ranks, [getattr(r, low) for r in rows], [getattr(r, high) for r in rows], color=colour)
                ys = [getattr(r, value) for r in rows]
                axes.plot(ranks, ys, color=colour, marker=MARKERS[look.marker], ls=DASHES[look.dash], label=look.label)
            if full is not None:
                axes.axhspan(getattr(full, low), getattr(full, high), color=colour, alpha=0.15, lw=0)
                axes.axhline(getattr(full, value), color=colour, lw=0.8)
            axes.axhline(getattr(before, value), color=colour, lw=0.8, ls=":")
        if full is not None:
            axes.plot([], [], color="0.3", lw=0.8, label="after the unrestricted phase")
        axes.plot([], [], color="0.3", lw=0.8, ls=":", label="before, after clean training")
        if rows:
            axes.set_xscale("log", base=2)
            axes.set_xlim(ranks[0] / 1.3, ranks[-1] * 1.3)
        axes.set_xticks(ranks, labels=[str(r) for r in ranks], minor=False)
        axes.set_xticks([], minor=True)
        axes.set_xlabel("rank of the change of each layer")
        norm = NORM_SIGN.get(self.study.norm, self.study.norm)
        unit_axis(axes, f"accuracy, {norm} radius {self.study.tau:g}")
        axes.set_ylim(0, 1.02)
        if narrow(figure.get_figwidth()):
            legend_above(axes)
        else:
            axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))


@figures.register(VIEW.name, order=VIEW.order)
class LowRankDrawer(Drawer):
    """How small a rank is enough for adversarial training (SPEC.md section 7)."""

    view = VIEW

    def collect(self, store: Store, checkpoint: Checkpoint, options: Mapping[str, str]) -> LowRankFigure:
        """Read ``low_rank.json`` of the run."""
        study = RankStudy.read(store.folder)
        rows = [("before", study.before), *(("restricted" if r.rank else "full", r) for r in study.ranks)]
        ranks = [float(r.rank) if r.rank else float("nan") for _, r in rows]
        table = (
            Column("phase", "name", np.array([name for name, _ in rows], np.str_)),
            Column("rank", "1", np.array(ranks, np.float64), whole=True),
            *(Column(name, "1", np.array([getattr(r, f) for _, r in rows], np.float64)) for name, f in COLUMNS),
        )
        return LowRankFigure({"": table}, self._caption(store, checkpoint, study), study)

    @staticmethod
    def _caption(store: Store, checkpoint: Checkpoint, study: RankComparison) -> str:
        layers = "every layer" if study.layers == "all" else f"{study.layers}, the weights of the others frozen"
        return "\n".join(
            [
                f"Accuracy after an adversarial phase of {study.steps} steps from the clean weights of step "
                f"{study.clean_step}, on the same batches, whose change of the weights has at most the given rank in "
                f"{layers}. Solid lines: the unrestricted phase; dotted: the clean weights; bars and bands: 95% "
                "intervals.",
                f"Protocol: {study.protocol}.",
                training(store, checkpoint),
                provenance(store, checkpoint),
            ]
        )
