"""torchvision's classifiers by name, from a random start: no weights are downloaded."""

from __future__ import annotations

import difflib
import warnings
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Literal

from engine.config.knobs import Model, knob
from engine.core.errors import ConfigError
from engine.core.quoting import LONGEST, plain, quote
from engine.models.base import DataFacts, built_again, network

if TYPE_CHECKING:
    from torch import Tensor, nn

FIELD = "model.arch"
_fitting: set[tuple[str, tuple[int, int, int]]] = set()  # architectures that have taken images of this shape


class TorchvisionModel(Model):
    """A classifier of torchvision by its name there, with as many logits as the data have classes."""

    name: Literal["torchvision"] = knob("torchvision", "The network.")
    arch: str = knob(
        "resnet18",
        "torchvision's name of the architecture, such as resnet50, convnext_tiny, mobilenet_v3_small or vit_b_16; a "
        "wrong one is answered with those that there are. Its weights start at random.",
    )


def _plain(knobs: TorchvisionModel, data: DataFacts) -> str:
    channels, height, width = data.shape
    given = {"weights": None, "num_classes": data.classes, **_options(knobs.arch, height, width)}
    lines = [
        "from torchvision.models import get_model",
        f"network = get_model({knobs.arch!r}, {', '.join(f'{name}={value!r}' for name, value in given.items())})",
    ]
    if channels == 1:
        lines += [
            "first = next(module for module in network.modules() if isinstance(module, nn.Conv2d))",
            "first.weight, first.in_channels = nn.Parameter(first.weight.sum(1, keepdim=True)), 1",
        ]
    return "\n".join(lines)


@network(TorchvisionModel, "torchvision's {arch}", reset=built_again, batch_norm=True, plain=_plain, order=3)
def torchvision(knobs: TorchvisionModel, data: DataFacts) -> nn.Module:
    """The architecture as it is, ``net``, behind the normalisation.

    On grey images its first kernels are the sums of those that it draws for three channels: what it would compute of
    three equal channels. Raises :class:`ConfigError` for an unknown architecture, and for images that it cannot take.
    """
    from torch import nn
    from torchvision.models import get_model  # type: ignore[import-untyped]

    from engine.models.layers import Normalise

    channels, height, width = data.shape
    if channels not in (1, 3):
        raise ConfigError(f"{FIELD}: torchvision's networks take images of 1 or 3 channels; these have {channels}")
    _check(knobs.arch)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of defaults that change in some later version
            net = get_model(knobs.arch, weights=None, num_classes=data.classes, **_options(knobs.arch, height, width))
    except (ValueError, AssertionError) as error:  # a transformer's positions are made for one size of images
        raise _refusal(knobs.arch, data, error) from None
    if channels == 1:
        _take_grey(net)
    made = nn.Sequential(OrderedDict(normalise=Normalise(data.mean, data.std), net=net))
    if (knobs.arch, data.shape) not in _fitting:
        _try(made, knobs.arch, data)
        _fitting.add((knobs.arch, data.shape))
    return made


def _check(arch: str) -> None:
    from torchvision import models  # type: ignore[import-untyped]

    known = models.list_models(module=models)  # those of classification alone
    if arch in known:
        return
    near = difflib.get_close_matches(arch[:LONGEST].lower(), known, n=3)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    raise ConfigError(f"{FIELD}: got {quote(arch)}; {hint}allowed: {', '.join(known)}")


def _options(arch: str, height: int, width: int) -> dict[str, Any]:
    """What an architecture must be told that others need not know."""
    if arch.startswith("vit_"):
        return {"image_size": height}
    if arch.startswith("maxvit"):
        return {"input_size": (height, width)}
    if arch in ("googlenet", "inception_v3"):  # one answer an image, and no guess of where weights come from
        return {"aux_logits": False, "init_weights": True}
    return {}


def _take_grey(net: nn.Module) -> None:
    import torch
    from torch import nn

    first = next(module for module in net.modules() if isinstance(module, nn.Conv2d))
    with torch.no_grad():
        first.weight = nn.Parameter(first.weight.sum(1, keepdim=True))
    first.in_channels = 1


def _try(made: nn.Module, arch: str, data: DataFacts) -> None:
    """Let one image through, so that a size that cannot be is said before anything is trained."""
    import torch

    made.eval()
    try:
        with torch.no_grad():
            found: Tensor = made(torch.zeros(1, *data.shape))
    except (RuntimeError, ValueError, AssertionError) as error:
        raise _refusal(arch, data, error) from None
    assert found.shape == (1, data.classes)
    made.train()


def _refusal(arch: str, data: DataFacts, error: Exception) -> ConfigError:
    _, height, width = data.shape
    why = plain(" ".join(str(error).split()))
    return ConfigError(
        f"{FIELD}: {arch} takes no images of {width}×{height} pixels ({why}); allowed: another size, such as "
        "world.side = 224 with image_folder, or another architecture"
    )
