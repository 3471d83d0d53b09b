"""The first layer of a network on images: its filters at the start, after clean training and now, in one contrast."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from engine.config.experiment import IMAGES
from engine.figures.base import Array, Column, Drawer, FigureData, Option, Table, figures, provenance, training
from engine.figures.neurons import columns_for
from engine.figures.pictures import colours, moments_of, network_of, signed, tiles
from engine.figures.style import narrow

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from engine.images.loading import ImageNetwork
    from engine.run.store import Checkpoint, Store

# Sizes in inches of the parts around the pictures.
MARGIN, GUTTER, TITLE, KEY, BAR = 0.06, 0.10, 0.19, 0.50, 0.09
QUANTILE = 0.99  # of the weights' sizes: a few outliers would leave the others without contrast


@dataclass(frozen=True)
class Filters(FigureData):
    """``panels``: title → weights (n, C, h, w); colours run from −``level`` over middle grey to +``level``."""

    panels: Mapping[str, Array]
    level: float

    def height(self, width: float) -> float:
        """Height in inches of the panels, their titles and the key."""
        rows = len(self.panels) if narrow(width) else 1
        return MARGIN + rows * (self._panel_height(width) + TITLE) + (rows - 1) * GUTTER + KEY

    def draw(self, figure: Figure) -> None:
        """Draw the panels in a row (wide) or a column (narrow), and what the colours mean below."""
        width, height = figure.get_size_inches()
        panel_w, panel_h = self._panel_width(width), self._panel_height(width)
        for i, (title, weights) in enumerate(self.panels.items()):
            left = MARGIN + (0 if narrow(width) else i * (panel_w + GUTTER))
            top = height - MARGIN - (i * (panel_h + TITLE + GUTTER) if narrow(width) else 0)
            axes = figure.add_axes((left / width, (top - TITLE - panel_h) / height, panel_w / width, panel_h / height))
            # "none": vector files hold one image pixel a weight, and nothing smooths between weights.
            axes.imshow(self._tiles(weights, width), interpolation="none", aspect="auto")
            axes.set_axis_off()
            axes.set_title(title, pad=3)
        bar_width = min(2.0, width - 0.8)
        self._key(
            figure.add_axes(
                ((width - bar_width) / 2 / width, (KEY - 0.06 - BAR) / height, bar_width / width, BAR / height)
            )
        )

    def _key(self, axes: Axes) -> None:
        ramp = np.linspace(0, 1, 256, dtype=np.float32)[None, :, None].repeat(3, axis=2)
        axes.imshow(ramp, extent=(-self.level, self.level, 0, 1), aspect="auto", interpolation="none")
        axes.set(yticks=[], xticks=[-self.level, 0, self.level])
        axes.xaxis.set_major_formatter(lambda x, _: f"{x:.3g}".replace("-", "−"))
        colour = next(iter(self.panels.values())).shape[1] >= 3
        axes.set_xlabel("weight, in each of red, green and blue" if colour else "weight", labelpad=1)

    def _panel_width(self, width: float) -> float:
        n = 1 if narrow(width) else len(self.panels)
        return (width - 2 * MARGIN - (n - 1) * GUTTER) / n

    def _panel_height(self, width: float) -> float:
        rows, columns, _ = self._tiles(next(iter(self.panels.values())), width).shape
        return float(min(self._panel_width(width) * rows / columns, 8.0))

    def _tiles(self, weights: Array, width: float) -> Array:
        aspect = (2.0 if narrow(width) else 1.0) * weights.shape[2] / weights.shape[3]
        return tiles(colours(signed(weights, self.level)), columns_for(len(weights), aspect))


@figures.register("filters")
class FiltersDrawer(Drawer):
    """The first layer's weights as pictures, the same units in the same order at each moment."""

    kinds = (IMAGES,)

    options = (
        Option("count", "64", ("all",), "How many units are shown.", number=True),
        Option("sort", "norm", ("norm", "index"), "Order: by the norm of the weights now, or by index."),
    )

    def collect(self, store: Store, checkpoint: Checkpoint, options: Mapping[str, str]) -> Filters:
        """Read the first layer of the checkpoint, choose and order its units, find the shared level."""
        network = network_of(store, checkpoint)
        weights = _weights(network)
        norms = {moment: np.linalg.norm(w.reshape(len(w), -1), axis=1) for moment, w in weights.items()}
        order = np.arange(len(norms["now"]))
        if options["sort"] == "norm":
            order = np.argsort(-norms["now"], kind="stable")
        order = order if options["count"] == "all" else order[: int(options["count"])]
        shown = np.concatenate([w[order].ravel() for w in weights.values()])
        level = float(np.quantile(np.abs(shown), QUANTILE)) or 1.0
        return Filters(
            tables={"": _table(weights, norms, order)},
            arrays={**weights, "order": order, "level": np.array(level)},
            caption=_caption(store, checkpoint, network, len(order), level, options["sort"]),
            panels={title: weights[moment][order] for moment, title in moments_of(network, checkpoint).items()},
            level=level,
        )


def _weights(network: ImageNetwork) -> dict[str, Array]:
    """Moment → the first layer's weights as pictures (units, C, h, w)."""
    from engine.images.live import picture_shape
    from engine.images.loading import PREFIX
    from engine.models.layers import layers

    first = layers(network.network("now"))[0]
    shape, arrays = picture_shape(first, network.data.shape), network.checkpoint.arrays
    stored = {moment: f"{PREFIX[moment]}{first.name}.weight" for moment in moments_of(network, network.checkpoint)}
    return {moment: np.asarray(arrays[name].reshape(shape), np.float32) for moment, name in stored.items()}


def _table(weights: Mapping[str, Array], norms: Mapping[str, Array], order: NDArray[np.int64]) -> Table:
    columns = [Column("unit", "index", order)]
    columns += [Column(f"norm {moment}", "weight", norm[order]) for moment, norm in norms.items()]
    flat = {moment: w[order].reshape(len(order), -1) for moment, w in weights.items()}
    pairs = [("start", "clean"), ("start", "now"), ("clean", "now")] if "clean" in flat else [("start", "now")]
    for a, b in pairs:
        size = np.maximum((norms[a] * norms[b])[order], np.finfo(np.float32).tiny)
        columns.append(Column(f"cosine {a} {b}", "1", (flat[a] * flat[b]).sum(1) / size))
    return tuple(columns)


def _caption(
    store: Store, checkpoint: Checkpoint, network: ImageNetwork, n: int, level: float, sort: str
) -> str:  # fmt: skip
    first = network.layers[0]
    when = " and ".join(filter(None, (", ".join(list(moments_of(network, checkpoint).values())[:-1]), "now")))
    largest = ", largest norm now first" if sort == "norm" else ", by index"
    return "\n".join(
        [
            f"Weights of the first layer ({first.name}) at the {when} (step {checkpoint.step}). n = {n} of "
            f"{first.units} units{largest}; the same order in every panel, read line by line. One contrast for all "
            f"panels: −{level:.3g} is dark, zero middle grey, +{level:.3g} bright; {100 * QUANTILE:g}% of the weights "
            "shown lie within, the others have the colour of the end.",
            f"Protocol: weights as stored, no attack and no data enter. {training(store, checkpoint)}",
            provenance(store, checkpoint),
        ]
    )
