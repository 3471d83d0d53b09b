"""The weights of a checkpoint by layer and moment, in both kinds of world, as figures of weights need them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from engine.config.experiment import IMAGES
from engine.core import metrics
from engine.core.results import LayerInfo
from engine.figures.declare import TextOption
from engine.figures.pictures import AFTER_CLEAN, moments_of, network_of, now_name

if TYPE_CHECKING:
    from torch import Tensor

    from engine.run.store import Checkpoint, Store

ARRAYS = {"start": "weight_init", "clean": "weight_clean", "now": "weight"}


@dataclass(frozen=True)
class WeightsByLayer:
    """``of``: moment → layer name → weights, one row a unit; without ``clean`` before clean training has ended, and
    without a start that nobody knows.

    ``titles``: moment → its name. The theory's network has one layer, :data:`metrics.HIDDEN`.
    """

    layers: tuple[LayerInfo, ...]
    of: Mapping[str, Mapping[str, Tensor]]
    titles: Mapping[str, str]


def weights_of(store: Store, checkpoint: Checkpoint) -> WeightsByLayer:
    """Read the weights of ``checkpoint``; imports torch."""
    import torch

    from engine.models.layers import layers

    if checkpoint.config.kind == IMAGES:
        network = network_of(store, checkpoint)
        titles = moments_of(network, checkpoint)
        networks = {moment: network.network(moment) for moment in titles}  # type: ignore[arg-type]
        of = {m: {each.name: each.matrix.cpu() for each in layers(net)} for m, net in networks.items()}
        return WeightsByLayer(tuple(each.info for each in layers(networks["now"])), of, titles)
    arrays = checkpoint.arrays
    found = {m: {metrics.HIDDEN: torch.tensor(arrays[a])} for m, a in ARRAYS.items() if a in arrays}
    names = {"start": "start", "clean": AFTER_CLEAN, "now": now_name(checkpoint)}
    shape = tuple(arrays["weight"].shape)
    return WeightsByLayer((LayerInfo(metrics.HIDDEN, "linear", shape),), found, {m: names[m] for m in found})


def layer_option(doc: str) -> TextOption:
    """The choice of a layer, the first one by default; ``doc`` says what for."""
    return TextOption(
        "layer", "", {"": "first layer"}, f"{doc}: a layer by name, or by number from 1.",
        meaning="a layer's name or number",
    )  # fmt: skip
