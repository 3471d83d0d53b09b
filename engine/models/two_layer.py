"""One hidden layer of ReLU neurons on the pixels."""

from __future__ import annotations

from collections import OrderedDict
from math import prod
from typing import cast

import torch
from torch import nn

from engine.knobs import Model, TwoLayerModel
from engine.models.networks import Data, Normalise, networks


@networks.register("two_layer")
def two_layer(model: Model, data: Data) -> nn.Module:
    """pixels → ``hidden`` (width) → ReLU → ``output`` (K)."""
    knobs = cast(TwoLayerModel, model)
    hidden = nn.Linear(prod(data.shape), knobs.width)
    with torch.no_grad():
        hidden.weight.mul_(knobs.init_scale)
    return nn.Sequential(
        OrderedDict(
            normalise=Normalise(data.mean, data.std), flatten=nn.Flatten(), hidden=hidden, relu=nn.ReLU(),
            output=nn.Linear(knobs.width, data.classes),
        )
    )  # fmt: skip
