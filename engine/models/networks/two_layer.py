"""One hidden layer of ReLU neurons on the pixels."""

from __future__ import annotations

from collections import OrderedDict
from math import prod
from typing import TYPE_CHECKING, Literal

from engine.config.knobs import Model, knob
from engine.models.base import DataFacts, network

if TYPE_CHECKING:
    from torch import nn


class TwoLayerModel(Model):
    """ReLU network of one hidden layer on the pixels: its hidden weights are pictures."""

    name: Literal["two_layer"] = knob("two_layer", "The network.")
    width: int = knob(256, "Hidden neurons.", low=1, high=16384)
    init_scale: float = knob(0.15, "Scale of the hidden layer's start, in units of PyTorch's default.", low=0, high=10)


@network(TwoLayerModel, "two-layer ReLU network", order=0)
def two_layer(knobs: TwoLayerModel, data: DataFacts) -> nn.Module:
    """pixels → ``hidden`` (width) → ReLU → ``output`` (K)."""
    import torch
    from torch import nn

    from engine.models.layers import Normalise

    hidden = nn.Linear(prod(data.shape), knobs.width)
    with torch.no_grad():
        hidden.weight.mul_(knobs.init_scale)
    return nn.Sequential(
        OrderedDict(
            normalise=Normalise(data.mean, data.std), flatten=nn.Flatten(), hidden=hidden, relu=nn.ReLU(),
            output=nn.Linear(knobs.width, data.classes),
        )
    )  # fmt: skip
