"""The AlexNet-like network whose first filters are large enough to look at (SPEC.md section 8)."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Literal

from engine.config.knobs import Model, knob
from engine.models.base import DataFacts, network, too_small

if TYPE_CHECKING:
    from torch import nn


HEAD = 256  # neurons of the layer before the logits


class AlexNetModel(Model):
    """AlexNet-like: three convolutions, of which the first is large enough to look at (SPEC.md section 8)."""

    name: Literal["alexnet"] = knob("alexnet", "The network.")
    kernel: int = knob(9, "Side of the first layer's filters.", low=1, high=31, unit="pixels")
    stride: int = knob(2, "Stride of the first layer.", low=1, high=8, unit="pixels")
    padding: int = knob(0, "Zero padding around the image.", low=0, high=15, unit="pixels")
    width: int = knob(64, "Filters of the first layer; the next have twice and three times as many.", low=1, high=1024)
    init_scale: float = knob(0.15, "Scale of the first layer's start, in units of PyTorch's default.", low=0, high=10)
    dropout: float = knob(0.0, "Dropout before the last two layers while training.", low=0, high=0.95)


def _pool(side: int) -> nn.Module:
    """Halve the side; a side of 1 stays, so that small images (digits) find their way through, too."""
    from torch import nn

    return nn.MaxPool2d(2) if side > 1 else nn.Identity()


@network(AlexNetModel, "AlexNet-like network", batch_norm=True, order=1)
def alexnet(knobs: AlexNetModel, data: DataFacts) -> nn.Module:
    """``conv1`` (width, kernel, stride), pool, ``conv2`` 3×3 + batch norm, pool, ``conv3``, pool, ``fc1``, ``fc2``."""
    import torch
    from torch import nn

    from engine.models.layers import Normalise

    channels, height, width = data.shape
    side = min(height, width)
    if knobs.kernel > side + 2 * knobs.padding:
        raise too_small("model.kernel", knobs.kernel, side + 2 * knobs.padding, side)
    first = nn.Conv2d(channels, knobs.width, knobs.kernel, stride=knobs.stride, padding=knobs.padding)
    with torch.no_grad():
        first.weight.mul_(knobs.init_scale)
    sides = [tuple((s + 2 * knobs.padding - knobs.kernel) // knobs.stride + 1 for s in (height, width))]
    for _ in range(3):
        sides.append(tuple(s // 2 if min(sides[-1]) > 1 else s for s in sides[-1]))
    w, drop = knobs.width, knobs.dropout
    return nn.Sequential(
        OrderedDict(
            normalise=Normalise(data.mean, data.std),
            conv1=first, relu1=nn.ReLU(), pool1=_pool(min(sides[0])),
            conv2=nn.Conv2d(w, 2 * w, 3, padding=1), norm2=nn.BatchNorm2d(2 * w), relu2=nn.ReLU(),
            pool2=_pool(min(sides[1])),
            conv3=nn.Conv2d(2 * w, 3 * w, 3, padding=1), norm3=nn.BatchNorm2d(3 * w), relu3=nn.ReLU(),
            pool3=_pool(min(sides[2])),
            flatten=nn.Flatten(), drop1=nn.Dropout(drop),
            fc1=nn.Linear(3 * w * sides[3][0] * sides[3][1], HEAD), relu4=nn.ReLU(), drop2=nn.Dropout(drop),
            fc2=nn.Linear(HEAD, data.classes),
        )
    )  # fmt: skip
