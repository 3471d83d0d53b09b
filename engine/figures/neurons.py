"""The gallery: hidden weights as pictures at the start, after clean training and now, on one shared scale."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, sqrt
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from engine.config.objectives import objectives
from engine.core.arrays import picture_side
from engine.core.results import Mixture
from engine.figures.base import (
    Array,
    Drawer,
    FigureData,
    Option,
    alive_rule,
    figures,
    measure,
    neuron_table,
    provenance,
    training,
)
from engine.figures.style import narrow, signed_colours

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from engine.run.store import Checkpoint, Store

SPACES = {"pixel": "pixel space", "dictionary": "the dictionary"}
# Sizes in inches of the parts around the pictures.
MARGIN, GUTTER, TITLE, BAR_BLOCK, BAR = 0.06, 0.10, 0.19, 0.52, 0.09


@dataclass(frozen=True)
class Gallery(FigureData):
    """``panels``: title → weights (n, d) in the space shown; ``level``: colours run from −level to +level."""

    panels: Mapping[str, Array]
    level: float
    label: str

    def height(self, width: float) -> float:
        """Height in inches of the panels, their titles and the colour bar."""
        rows = len(self.panels) if narrow(width) else 1
        pictures = rows * (self._panel_height(width) + TITLE) + (rows - 1) * GUTTER
        return MARGIN + pictures + BAR_BLOCK

    def draw(self, figure: Figure) -> None:
        """Draw the panels in a row (wide) or a column (narrow), and the colour bar below."""
        width, height = figure.get_size_inches()
        stacked = narrow(width)
        panel_w, panel_h = self._panel_width(width), self._panel_height(width)
        image = None
        for i, (title, weights) in enumerate(self.panels.items()):
            left = MARGIN + (0 if stacked else i * (panel_w + GUTTER))
            top = height - MARGIN - (i * (panel_h + TITLE + GUTTER) if stacked else 0)
            box = (left / width, (top - TITLE - panel_h) / height, panel_w / width, panel_h / height)
            axes = figure.add_axes(box)
            # "none": vector files hold one image pixel a weight, and nothing smooths between weights.
            image = axes.imshow(
                self._tiles(weights, width), cmap=signed_colours(), vmin=-self.level, vmax=self.level,
                interpolation="none", aspect="auto",
            )  # fmt: skip
            axes.set_axis_off()
            axes.set_title(title, pad=3)
        bar_width = min(2.6, width - 0.8)
        bar = figure.add_axes(
            ((width - bar_width) / 2 / width, (BAR_BLOCK - 0.06 - BAR) / height, bar_width / width, BAR / height)
        )
        assert image is not None
        figure.colorbar(image, cax=bar, orientation="horizontal", label=self.label)
        bar.set_xticks([-self.level, -self.level / 2, 0, self.level / 2, self.level])
        bar.xaxis.set_major_formatter(lambda x, _: f"{x:.3g}".replace("-", "−"))
        bar.xaxis.labelpad = 1

    def _panel_width(self, width: float) -> float:
        n = 1 if narrow(width) else len(self.panels)
        return (width - 2 * MARGIN - (n - 1) * GUTTER) / n

    def _panel_height(self, width: float) -> float:
        rows, columns = self._tiles(next(iter(self.panels.values())), width).shape
        return float(min(self._panel_width(width) * rows / columns, 8.0))

    def _tiles(self, weights: Array, width: float) -> Array:
        side = picture_side(weights.shape[1])
        if side is None:  # no picture: one row of cells a neuron
            return tile(weights, (1, weights.shape[1]), columns=1, gap=0)
        aspect = 2.0 if narrow(width) else 1.0 if len(self.panels) > 2 else 1.5
        return tile(weights, (side, side), columns=columns_for(len(weights), aspect))


def columns_for(n: int, aspect: float) -> int:
    """How many pictures in a line: near sqrt(aspect · n), where the last line has the fewest empty places."""
    aim = max(1, ceil(sqrt(aspect * n)))
    return min(range(max(1, aim * 3 // 4), aim * 3 // 2 + 1), key=lambda c: (-n % c, abs(c - aim)))


def tile(rows: Array, shape: tuple[int, int], *, columns: int, gap: int = 1) -> Array:
    """Lay vectors (n, h·w) out as pictures (h, w), ``columns`` in a line, with ``gap`` cells of NaN around each."""
    h, w = shape
    columns = max(1, min(columns, len(rows)))
    lines = max(1, ceil(len(rows) / columns))
    out = np.full((lines * (h + gap) + gap, columns * (w + gap) + gap), np.nan, dtype=np.float32)
    for i, row in enumerate(rows):
        y, x = gap + i // columns * (h + gap), gap + i % columns * (w + gap)
        out[y : y + h, x : x + w] = row.reshape(h, w)
    return out


def order_of(found: Mixture, sort: str, *, alive: bool, count: str) -> NDArray[np.int64]:
    """Indices of the neurons shown: the largest value of the sorting quantity first; index and feature ascend."""
    index = np.flatnonzero(found.alive) if alive else np.arange(len(found.norm))
    keys: dict[str, tuple[Any, ...]] = {
        "purity": (-found.purity,),
        "mixture": (-found.mixture,),
        "norm": (-found.norm,),
        "feature": (-found.purity, found.feature),
        "index": (np.arange(len(found.norm)),),
    }
    order = index[np.lexsort(tuple(k[index] for k in keys[sort]))]  # stable: ties stay in the order of the index
    return order if count == "all" else order[: int(count)]


@figures.register("neurons")
class Neurons(Drawer):
    """Weights of the hidden neurons as pictures, the same neurons in the same order at each moment."""

    options = (
        Option("space", "pixel", ("pixel", "dictionary"), "Basis in which weights are shown."),
        Option("sort", "purity", ("purity", "mixture", "norm", "feature", "index"), "Order, by the weights now."),
        Option("count", "64", ("all",), "How many neurons are shown.", number=True),
        Option("alive", "true", ("true", "false"), "Show only neurons that are alive now."),
        Option("normalise", "false", ("true", "false"), "Divide every neuron by its own norm at each moment."),
    )

    def collect(self, store: Store, checkpoint: Checkpoint, options: Mapping[str, str]) -> Gallery:
        """Read the weights of the checkpoint, choose and order the neurons, find the shared level."""
        arrays = checkpoint.arrays
        found = measure(arrays["weight"], arrays["dictionary"], arrays["target"])
        order = order_of(found, options["sort"], alive=options["alive"] == "true", count=options["count"])
        now = f"now (step {checkpoint.step}, {objectives[checkpoint.phase].label})"
        moments = {"start": "weight_init", "after clean training": "weight_clean", now: "weight"}
        panels = {
            title: self._shown(arrays[key][order], arrays["dictionary"], options)
            for title, key in moments.items()
            if key in arrays
        }
        level = max((float(np.abs(p).max(initial=0)) for p in panels.values()), default=0.0) or 1.0
        keep = ("weight", "weight_init", "weight_clean", "bias", "dictionary", "target")
        kind = "weight / neuron's norm" if options["normalise"] == "true" else "weight"
        return Gallery(
            tables={"": neuron_table(order, found)},
            arrays={k: arrays[k] for k in keep if k in arrays} | {"order": order, "level": np.array(level)},
            caption=self._caption(store, checkpoint, options, found, len(order), level),
            panels=panels,
            level=level,
            label=f"{kind} in {SPACES[options['space']]}",
        )

    @staticmethod
    def _shown(weights: Array, dictionary: Array, options: Mapping[str, str]) -> Array:
        shown = weights @ dictionary if options["space"] == "dictionary" else weights
        if options["normalise"] == "true":
            norms = np.linalg.norm(shown, axis=1, keepdims=True)
            shown = shown / np.maximum(norms, np.finfo(np.float32).tiny)
        return np.asarray(shown, np.float32)

    @staticmethod
    def _caption(
        store: Store, checkpoint: Checkpoint, options: Mapping[str, str], found: Mixture, n: int, level: float
    ) -> str:
        alive, m = int(found.alive.sum()), len(found.alive)
        which = "alive neurons" if options["alive"] == "true" else "neurons, alive or not"
        clean = ", after clean training" if "weight_clean" in checkpoint.arrays else ""
        scaled = " Every neuron is divided by its own norm." if options["normalise"] == "true" else ""
        descending = "" if options["sort"] in ("feature", "index") else ", largest first"
        moment = objectives[checkpoint.phase].label
        return (
            f"Hidden weights in {SPACES[options['space']]} at the start{clean} and now (step {checkpoint.step}, "
            f"{moment} phase). n = {n} {which} (m = {m}, {alive} alive now; {alive_rule()}), "
            f"sorted by {options['sort']} now{descending}; the same order in every panel, read line by line. "
            f"One colour scale for all panels, from −{level:.3g} (blue) over zero (white) to +{level:.3g} (orange)."
            f"{scaled}\nProtocol: weights as stored, no attack and no data enter. {training(store, checkpoint)}\n"
            f"{provenance(store, checkpoint)}"
        )
