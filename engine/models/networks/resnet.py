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


def small_image_resnet(channels: int, classes: int, blocks: list[int], width: int) -> nn.Module:
    """torchvision's ResNet with a 3 × 3 stem of stride 1, no first pooling and ``width`` filters in the first stage."""
    from torch import nn
    from torchvision.models.resnet import BasicBlock, ResNet  # type: ignore[import-untyped]

    net = ResNet(BasicBlock, blocks, num_classes=classes)
    if width != 64:  # torchvision fixes the width, so the stages are made again
        net.inplanes = width
        for i, (count, stride) in enumerate(zip(blocks, (1, 2, 2, 2), strict=True)):
            setattr(net, f"layer{i + 1}", net._make_layer(BasicBlock, width << i, count, stride))
        net.bn1 = nn.BatchNorm2d(width)
        net.fc = nn.Linear(width << 3, classes)
    net.conv1 = nn.Conv2d(channels, width, 3, padding=1, bias=False)
    net.maxpool = nn.Identity()
    return net  # type: ignore[no-any-return]


def _plain(knobs: ResNetModel, data: DataFacts) -> str:
    from engine.models.plain import source

    arguments = f"{data.shape[0]}, {data.classes}, {BLOCKS[knobs.depth]}, {knobs.width}"
    return f"{source(small_image_resnet)}\n\n\nnetwork = small_image_resnet({arguments})"


@network(ResNetModel, "ResNet", reset=_reset, batch_norm=True, plain=_plain, order=2)
def resnet(knobs: ResNetModel, data: DataFacts) -> nn.Module:
    """torchvision's network with a 3 × 3 stem of stride 1 and without the first pooling; ``net.conv1`` is the stem."""
    from torch import nn

    from engine.models.layers import Normalise

    net = small_image_resnet(data.shape[0], data.classes, BLOCKS[knobs.depth], knobs.width)
    for each in net.modules():
        if isinstance(each, nn.Conv2d):
            nn.init.kaiming_normal_(each.weight, mode="fan_out", nonlinearity="relu")
    return nn.Sequential(OrderedDict(normalise=Normalise(data.mean, data.std), net=net))
