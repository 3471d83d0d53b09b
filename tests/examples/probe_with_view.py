"""A probe with a live view and its figure, in one file: how the weights of the units are spread in size.

Importing it is enough: sessions of both kinds measure it for whoever asks, the window offers the view, and
``python -m engine export DIR --view weight_norms`` draws the figure. In the explorer it would be three: the probe in
``engine/theory/live.py`` or ``engine/images/live.py``, the figure in ``engine/figures``, the view in ``fp_gui/views``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyqtgraph as pg  # type: ignore[import-untyped]
import torch
from PySide6.QtWidgets import QVBoxLayout, QWidget
from torch import Tensor

from engine.config.experiment import IMAGES, SPARSE_CODING
from engine.core.arrays import frozen
from engine.core.results import FloatArray
from engine.figures.base import Column, Drawer, FigureData, figures, provenance
from engine.figures.declare import MOMENT_LOOKS, Option, ViewDeclaration
from engine.images.moment import ImageMoment
from engine.models.layers import layers
from engine.run.live import at_once
from engine.run.snapshot import Snapshot
from engine.theory.moment import TheoryMoment
from fp_gui.theme import Theme
from fp_gui.views.base import View, views

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from engine.run.store import Checkpoint, Store


@dataclass(frozen=True, slots=True)
class WeightNorms:
    """The ℓ2 norms (units,) of the first layer's weights after ``step`` steps."""

    step: int
    norms: FloatArray


def measure(weight: Tensor, step: int) -> WeightNorms:
    """Of ``weight`` (units, …)."""
    return WeightNorms(step, frozen(torch.linalg.vector_norm(weight.flatten(1), dim=1)))


@at_once(WeightNorms, SPARSE_CODING)
def of_neurons(moment: TheoryMoment) -> WeightNorms:
    """The hidden neurons'."""
    return measure(moment.model.weight, moment.steps_done)


@at_once(WeightNorms, IMAGES)
def of_first_layer(moment: ImageMoment) -> WeightNorms:
    """The first layer's units'."""
    return measure(layers(moment.network)[0].matrix, moment.steps_done)


VIEW = ViewDeclaration(
    "weight_norms", "Weight norms", 900, "How the norms of the first layer's weights are spread.",
    options=(Option("bins", "12", {}, "Bars of the histogram.", number=True),),
    looks={"now": MOMENT_LOOKS["now"]},
)  # fmt: skip


@views.register(VIEW.name, order=VIEW.order)
class WeightNormsView(View):
    """A histogram of the present norms."""

    declaration = VIEW
    wants = frozenset({WeightNorms})

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.bins = int(VIEW.option("bins").default)
        self.plot = pg.PlotWidget()
        self.curve = self.plot.plot([0.0, 1.0], [0.0], stepMode="center", fillLevel=0)
        QVBoxLayout(self).addWidget(self.plot)

    def render(self, snapshot: Snapshot) -> None:  # type: ignore[override]
        """Draw what was measured."""
        found = snapshot.get(WeightNorms)
        if found is not None:
            counts, edges = np.histogram(found.norms, self.bins)
            self.curve.setData(edges, counts)

    def set_theme(self, theme: Theme) -> None:
        """Take the look's colour on this ground."""
        super().set_theme(theme)
        self.curve.setBrush(VIEW.looks["now"].colour(theme.dark))

    def options(self) -> dict[str, str]:
        """The number of bars, as the figure takes it."""
        return {"bins": str(self.bins)}


@dataclass(frozen=True)
class WeightNormsFigure(FigureData):
    """The same histogram."""

    def height(self, width: float) -> float:
        """Half as high as wide."""
        return width / 2

    def draw(self, figure: Figure) -> None:
        """Bars."""
        low, high, units = (column.values for column in self.tables[""])
        axes = figure.subplots()
        axes.bar(low, units, high - low, align="edge", color=VIEW.looks["now"].light)
        axes.set_xlabel("norm of a unit's weights")
        axes.set_ylabel("units")


@figures.register(VIEW.name, order=VIEW.order)
class WeightNormsDrawer(Drawer):
    """The norms of a checkpoint's first layer."""

    view = VIEW

    def collect(self, store: Store, checkpoint: Checkpoint, options: Mapping[str, str]) -> WeightNormsFigure:
        """Count the units in each of ``bins`` bars."""
        counts, edges = np.histogram(_norms(store, checkpoint), int(options["bins"]))
        table = (
            Column("from", "weight", edges[:-1]), Column("to", "weight", edges[1:]), Column("units", "units", counts),
        )  # fmt: skip
        caption = f"Norms of the first layer's weights, {counts.sum()} units.\n{provenance(store, checkpoint)}"
        return WeightNormsFigure(tables={"": table}, caption=caption)


def _norms(store: Store, checkpoint: Checkpoint) -> FloatArray:
    if "weight" in checkpoint.arrays:  # the theory's
        return measure(torch.from_numpy(checkpoint.arrays["weight"]), checkpoint.step).norms
    from engine.images.loading import ImageNetwork

    first = layers(ImageNetwork.of(store, checkpoint).network("now"))[0]
    return measure(first.matrix, checkpoint.step).norms
