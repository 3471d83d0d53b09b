"""timm's classifiers by name, from a random start: a plugin, complete in this file.

Needs the package timm (``pip install timm``), which the explorer does not: it is imported when a network is built.
"""

from __future__ import annotations

import difflib
from collections import OrderedDict
from typing import TYPE_CHECKING, Literal

from engine.config.knobs import Model, knob
from engine.core.errors import ConfigError
from engine.models.base import DataFacts, built_again, network

if TYPE_CHECKING:
    from torch import nn

__version__ = "1.0"


class TimmModel(Model):
    """A classifier of timm by its name there, with as many logits as the data have classes."""

    name: Literal["timm"] = knob("timm", "The network.")
    arch: str = knob("resnet18", "timm's name of the architecture.")


@network(TimmModel, "timm's {arch}", reset=built_again, batch_norm=True)
def timm(knobs: TimmModel, data: DataFacts) -> nn.Module:
    """The architecture as it is, ``net``, behind the normalisation; no weights are downloaded."""
    import timm
    import torch
    from torch import nn

    from engine.models.layers import Normalise

    channels, height, width = data.shape
    try:
        net = timm.create_model(knobs.arch, pretrained=False, in_chans=channels, num_classes=data.classes)
    except RuntimeError:
        known = timm.list_models(f"{knobs.arch[:3]}*") or timm.list_models("resnet*")
        near = difflib.get_close_matches(knobs.arch, known, n=5, cutoff=0) or known[:5]
        raise ConfigError(f"model.arch: got {knobs.arch!r}; allowed: timm's names, such as {', '.join(near)}") from None
    made = nn.Sequential(OrderedDict(normalise=Normalise(data.mean, data.std), net=net)).eval()
    try:
        with torch.no_grad():
            made(torch.zeros(1, *data.shape))  # a size that cannot be is said before anything is trained
    except (RuntimeError, AssertionError) as error:
        why = " ".join(str(error).split())
        raise ConfigError(f"model.arch: {knobs.arch} takes no images of {width}×{height} pixels ({why})") from None
    return made.train()
