"""The ResNets of torchvision for small images (He et al. 2015, arXiv 1512.03385; SPEC.md section 8)."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Literal

from engine.config.knobs import Model, knob
from engine.models.base import DataFacts, network

if TYPE_CHECKING:
    from torch import nn


BLOCKS = {"18": [2, 2, 2, 2], "34": [3, 4, 6, 3]}


class ResNetModel(Model):
    """ResNet of torchvision with a 3 × 3 stem and no first pooling (He et al. 2015, arXiv 1512.03385)."""

    name: Literal["resnet"] = knob("resnet", "The network.")
    depth: Literal["18", "34"] = knob("18", "Number of layers.")
    width: int = knob(64, "Filters of the first stage.", low=4, high=512)


def _reset(module: nn.Conv2d | nn.Linear) -> None:
    from torch import nn

    module.reset_parameters()
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


@network(ResNetModel, "ResNet", reset=_reset, batch_norm=True, order=2)
def resnet(knobs: ResNetModel, data: DataFacts) -> nn.Module:
    """torchvision's network with a 3 × 3 stem of stride 1 and without the first pooling; ``net.conv1`` is the stem."""
    from torch import nn
    from torchvision.models.resnet import BasicBlock, ResNet  # type: ignore[import-untyped]

    from engine.models.layers import Normalise

    net = ResNet(BasicBlock, BLOCKS[knobs.depth], num_classes=data.classes)
    if knobs.width != 64:  # torchvision fixes the width, so the stages are made again
        net.inplanes = knobs.width
        for i, (blocks, stride) in enumerate(zip(BLOCKS[knobs.depth], (1, 2, 2, 2), strict=True)):
            setattr(net, f"layer{i + 1}", net._make_layer(BasicBlock, knobs.width << i, blocks, stride))
        net.bn1 = nn.BatchNorm2d(knobs.width)
        net.fc = nn.Linear(knobs.width << 3, data.classes)
    net.conv1 = nn.Conv2d(data.shape[0], knobs.width, 3, padding=1, bias=False)
    for each in net.modules():
        if isinstance(each, nn.Conv2d):
            nn.init.kaiming_normal_(each.weight, mode="fan_out", nonlinearity="relu")
    net.maxpool = nn.Identity()
    return nn.Sequential(OrderedDict(normalise=Normalise(data.mean, data.std), net=net))
