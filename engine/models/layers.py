"""Networks on images: pixels in [0, 1] (n, C, H, W) → logits (n, K), the normalisation inside; layers by name."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from engine.config.knobs import Model
from engine.core.errors import ConfigError
from engine.core.generators import number
from engine.core.quoting import quote
from engine.core.results import LayerInfo
from engine.models.base import DataFacts, networks


class Normalise(nn.Module):
    """(x − mean) / std for each channel, so that radii are in units of pixels whatever the data."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean.view(-1, 1, 1))
        self.register_buffer("std", std.view(-1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Same shape."""
        return (x - self.mean) / self.std


def build(model: Model, data: DataFacts, seed: int) -> nn.Module:
    """The network of ``model`` at its random start, which depends on ``seed`` alone; on the CPU, in training mode.

    Raises :class:`ConfigError` if the images are too small for it.
    """
    with drawn(seed, "network"):
        return networks[model.name].build(model, data)


def check_answers(network: nn.Module, model: Model, data: DataFacts) -> None:
    """Raise :class:`ConfigError` unless ``network`` has layers and answers an image with one logit a class.

    It is left in training mode.
    """
    where = f"model.name: {model.name!r}"
    known = layers(network)
    if not known:
        raise ConfigError(f"{where} has no convolution and no linear layer: there is nothing to look at")
    network.eval()
    with torch.no_grad():
        found: Tensor = network(torch.zeros(1, *data.shape, device=known[0].module.weight.device))
    if found.shape != (1, data.classes):
        got, wanted = tuple(found.shape), (1, data.classes)
        raise ConfigError(f"{where} answers an image by a tensor of shape {got}; allowed: {wanted}, a logit a class")
    network.train()


@contextmanager
def drawn(seed: int, name: str) -> Iterator[None]:
    """Inside, torch's global generator (layers are initialised from it) starts from ``seed`` and ``name`` alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(number(seed, name))
        yield


@dataclass(frozen=True, slots=True)
class Layer:
    """A convolution or linear layer of a network: its name, and the batch norm right behind it, if there is one."""

    name: str
    module: nn.Conv2d | nn.Linear
    norm: nn.BatchNorm2d | None

    @property
    def matrix(self) -> Tensor:
        """The weights as a matrix, one row a unit (units, …): a view of the living ones."""
        return self.module.weight.detach().flatten(1)

    def takes(self, norm: nn.BatchNorm2d) -> bool:
        """Whether ``norm``, declared behind the layer, is its own; of other size, it stands before the next one."""
        return self.norm is None and norm.num_features == len(self.module.weight)

    @property
    def info(self) -> LayerInfo:
        """Name, kind and shape."""
        kind = "conv" if isinstance(self.module, nn.Conv2d) else "linear"
        return LayerInfo(self.name, kind, tuple(self.module.weight.shape))


def layers(network: nn.Module) -> tuple[Layer, ...]:
    """The layers of ``network`` that have weights, in the order of their declaration, the logits' last.

    Some may put nothing out by themselves: torch's attention is computed in one piece, of its projections' weights.
    """
    found: list[Layer] = []
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            found.append(Layer(name, module, None))
        elif isinstance(module, nn.BatchNorm2d) and found and found[-1].takes(module):
            found[-1] = Layer(found[-1].name, found[-1].module, module)
    return tuple(found)


def layer(network: nn.Module, name: str, field: str) -> Layer:
    """The layer called ``name``. Raises :class:`ConfigError` for ``field`` if there is none."""
    known = {each.name: each for each in layers(network)}
    if name not in known:
        raise ConfigError(f"{field}: got {quote(name)}; allowed: {', '.join(known)}")
    return known[name]


def redraw(network: nn.Module, chosen: Layer, model: Model, data: DataFacts, seed: int) -> None:
    """Draw a layer's weights again, as they were drawn at the network's start, and its batch norm with them.

    ``init_scale`` of ``model`` holds for the first layer alone, here as there (SPEC.md section 8).
    """
    with drawn(seed, f"redraw {chosen.name}"):
        kind = networks[model.name]
        if kind.reset is None:
            fresh = layer(kind.build(model, data), chosen.name, "layer").module
        else:
            fresh = copy.deepcopy(chosen.module).to("cpu")  # a seed means the same on every device
            kind.reset(fresh)
    scale = getattr(model, "init_scale", 1.0) if chosen.name == layers(network)[0].name else 1.0
    with torch.no_grad():
        chosen.module.weight.copy_(fresh.weight * scale)
        if chosen.module.bias is not None and fresh.bias is not None:
            chosen.module.bias.copy_(fresh.bias)
        if chosen.norm is not None:
            chosen.norm.reset_parameters()
