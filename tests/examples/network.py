"""A new network in one file: one convolution and a linear layer."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Literal

from engine.config.knobs import Model, knob
from engine.models.base import DataFacts, network, too_small

if TYPE_CHECKING:
    from torch import nn


class PlainConvModel(Model):
    """One convolution, ReLU, and a linear layer."""

    name: Literal["plain_conv"] = knob("plain_conv", "The network.")
    filters: int = knob(6, "Filters of the convolution.", low=1, high=256)
    side: int = knob(3, "Side of the filters.", low=1, high=31, unit="pixels")


@network(PlainConvModel, "network of one convolution")
def plain_conv(knobs: PlainConvModel, data: DataFacts) -> nn.Module:
    """``conv`` (filters, side), ReLU, ``output``."""
    from torch import nn

    from engine.models.layers import Normalise

    channels, height, width = data.shape
    if knobs.side > min(height, width):
        raise too_small("model.side", knobs.side, min(height, width), min(height, width))
    outputs = knobs.filters * (height - knobs.side + 1) * (width - knobs.side + 1)
    return nn.Sequential(
        OrderedDict(
            normalise=Normalise(data.mean, data.std), conv=nn.Conv2d(channels, knobs.filters, knobs.side),
            relu=nn.ReLU(), flatten=nn.Flatten(), output=nn.Linear(outputs, data.classes),
        )
    )  # fmt: skip
