"""The transfer matrix: accuracy of each net on the perturbations made on each net, as an annotated heat map."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from engine.figures.base import Column, Drawer, FigureData, figures, provenance, training
from engine.figures.declare import ViewDeclaration
from engine.figures.meaning import Meaning
from engine.figures.style import narrow
from engine.studies.questions.transfer import TransferMatrix, TransferNet, TransferStudy

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from engine.run.store import Checkpoint, Store

VIEW = ViewDeclaration(
    "transfer", "Transfer", 85,
    "Perturbations made on each of several nets, and what every net says of them.",
    file=TransferStudy.file,
    meaning=Meaning(
        drawn="What is made to fool one network, shown to another: rows are the network attacked, columns "
        "the one that answers.",
        formula="Entry (A, B): share that B answers right of x + δ_A, δ_A found on A at {attack.norm} radius "
        "τ = {attack.tau}. Networks: start from seed {seed} and another one, after clean training and "
        "now.",
        place="Section 4: clean networks share the dense direction, so their perturbations transfer, and "
        "purified ones lack it.",
        surprise="Clean networks of two seeds that do not fool each other, or a purified network fooled by a "
        "clean one's perturbations.",
    ),
)  # fmt: skip
COLOURS = "cividis"  # readable without colour vision, and printed in grey; 0 is dark, 1 is bright
BRIGHT = 0.48  # accuracy from which on the colour is so bright that black is read better on it than white
NOTHING = "nothing"  # in place of the net attacked


def ink(value: float) -> str:
    """The colour of a number written on the colour of ``value``."""
    return "#000000" if value >= BRIGHT else "#ffffff"


def row_names(found: TransferMatrix) -> tuple[str, ...]:
    """What is attacked, row by row; in the first row nothing is."""
    return (NOTHING, *(net.name for net in found.nets))


def values_of(found: TransferMatrix) -> NDArray[np.float64]:
    """The accuracies (1 + nets, nets), those without perturbation first."""
    flat = [interval.value for _, _, interval in found.cells()]
    return np.array(flat, np.float64).reshape(1 + len(found.nets), len(found.nets))


def terms(found: TransferMatrix) -> str:
    """What the matrix shows, in sentences for caption and screen."""
    own = next(net for net in found.nets if net.key == "clean").seed
    others = sorted({net.seed for net in found.nets if net.key.startswith("other")})
    seeds = "".join(
        f" The nets of seed {seed} were trained by the same config, as long as the run's." for seed in others
    )
    return (
        "Row: the net whose perturbations they are; column: the net that answers. Counted is what it answers rightly "
        f"without and with the perturbation, so the diagonal is white-box accuracy. Nets without a seed are the run's, "
        f"seed {own}; clean: at the end of clean training (step {found.clean_step})."
        f"{seeds}"
    )


@dataclass(frozen=True)
class TransferFigure(FigureData):
    """One heat map, each cell with its number."""

    study: TransferMatrix

    def height(self, width: float) -> float:
        """Rows high enough for their numbers and two lines of names."""
        return (0.9 if narrow(width) else 1.0) + 0.33 * (1 + len(self.study.nets))

    def draw(self, figure: Figure) -> None:
        """Draw the map, its numbers and the bar of its colours."""
        figure.set_layout_engine("constrained", w_pad=0.04, h_pad=0.05)
        axes, values = figure.subplots(), values_of(self.study)
        image = axes.imshow(values, cmap=COLOURS, vmin=0, vmax=1, aspect="auto", interpolation="nearest")
        for (row, column), value in np.ndenumerate(values):
            axes.text(column, row, f"{value:.2f}", ha="center", va="center", size=8, color=ink(float(value)))
        axes.axhline(0.5, color="white", lw=2.5)  # above: no perturbation
        axes.set_xticks(range(values.shape[1]), [_broken(net) for net in self.study.nets])
        names = ("nothing", *(_broken(net) for net in self.study.nets))
        axes.set_yticks(range(values.shape[0]), names)
        axes.tick_params(length=0)
        axes.set(xlabel="evaluated on", ylabel="attacked on")
        axes.spines[:].set_visible(False)
        bar = figure.colorbar(image, ax=axes, pad=0.02, aspect=18)
        bar.set_label("accuracy")
        bar.outline.set_linewidth(0.5)


def _broken(net: TransferNet) -> str:
    return net.name.replace(", ", ",\n")


@figures.register(VIEW.name, order=VIEW.order)
class TransferDrawer(Drawer):
    """Perturbations made on each of several nets, and what every net says of them (SPEC.md sections 4 and 9)."""

    view = VIEW

    def collect(self, store: Store, checkpoint: Checkpoint, options: Mapping[str, str]) -> TransferFigure:
        """Read ``transfer.json`` of the run."""
        study = TransferStudy.read(store.folder)
        cells = list(study.cells())
        table = (
            Column("attacked on", "net", np.array([NOTHING if a is None else a.name for a, _, _ in cells], np.str_)),
            Column("evaluated on", "net", np.array([net.name for _, net, _ in cells], np.str_)),
            *(
                Column(name, "1", np.array([getattr(found, field) for _, _, found in cells], np.float64))
                for name, field in (("accuracy", "value"), ("low", "low"), ("high", "high"))
            ),
        )
        caption = "\n".join(
            [
                f"Transfer of perturbations between nets. {terms(study)} {study.sentence()}",
                f"Protocol: {study.protocol}; measured at step {study.step}. The intervals are in the table.",
                training(store, checkpoint),
                provenance(store, checkpoint),
            ]
        )
        return TransferFigure({"": table}, caption, study)
