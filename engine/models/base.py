"""The table of networks on images: what each declares, without torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from engine.config.knobs import Model
from engine.core.errors import ConfigError
from engine.core.registry import Registry

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class DataFacts:
    """What a network must know of its data: ``shape`` (C, H, W), number of ``classes``, ``mean`` and ``std`` (C,)."""

    shape: tuple[int, int, int]
    classes: int
    mean: Tensor
    std: Tensor

    @classmethod
    def of(cls, x: Tensor, classes: int) -> DataFacts:
        """From training images x uint8 (N, C, H, W)."""
        import torch

        levels = torch.arange(256, dtype=torch.float64) / 255
        mean, std = [], []
        for channel in x.unbind(1):  # by the histogram: no copy of the data set in floats
            share = torch.bincount(channel.flatten().int(), minlength=256).double() / channel.numel()
            mean.append(float((share * levels).sum()))
            std.append(max(1e-3, float((share * levels.square()).sum() - mean[-1] ** 2) ** 0.5))
        _, c, h, w = x.shape
        return cls((c, h, w), classes, torch.tensor(mean), torch.tensor(std))

    def to_state(self) -> dict[str, Any]:
        """As JSON keeps it, exactly."""
        return {"shape": self.shape, "classes": self.classes, "mean": self.mean.tolist(), "std": self.std.tolist()}

    @classmethod
    def of_state(cls, state: Mapping[str, Any]) -> DataFacts:
        """What :meth:`to_state` gave, read back from JSON."""
        import torch

        c, h, w = state["shape"]
        return cls((c, h, w), state["classes"], torch.tensor(state["mean"]), torch.tensor(state["std"]))


Build = Callable[[Any, DataFacts], "nn.Module"]
Reset = Callable[["nn.Conv2d | nn.Linear"], None]
PlainCode = Callable[[Any, DataFacts], str]


def _as_torch_does(module: nn.Conv2d | nn.Linear) -> None:
    module.reset_parameters()


built_again: None = None
"""In place of a ``reset``: a whole network is built again, and the layer taken from it."""


@dataclass(frozen=True, slots=True)
class Network:
    """A kind of network on images.

    ``knobs`` is its group of knobs, whose ``name`` has the network's own as default; ``title`` says what it is, in a
    sentence, with ``{knob}`` for a knob's value; ``build`` makes one at a random start from knobs and
    :class:`DataFacts`; ``reset`` draws one of its convolutions or linear layers again, as ``build`` does (a knob
    ``init_scale`` scales the first layer's start, then, too), or is :data:`built_again`; ``batch_norm`` says that it
    has some, so that a batch of one image cannot be trained on. ``plain`` writes the Python by which others build it,
    without its normalisation, as ``network`` (:mod:`engine.models.plain`): only for networks that are no chain of
    PyTorch's own modules.
    """

    knobs: type[Model]
    title: str
    build: Build
    reset: Reset | None = _as_torch_does
    batch_norm: bool = False
    plain: PlainCode | None = None

    def describe(self, knobs: Model) -> str:
        """The title with the values of ``knobs``."""
        return self.title.format_map(knobs.model_dump())


networks: Registry[Network] = Registry("model.name", "engine.models.networks")


def network(
    knobs: type[Model],
    title: str,
    reset: Reset | None = _as_torch_does,
    *,
    batch_norm: bool = False,
    plain: PlainCode | None = None,
    order: int = 9,
) -> Callable[[Build], Build]:
    """Enter the function that builds a network into :data:`networks`, by the name that its ``knobs`` have.

    ``order`` is its place where networks are offered.
    """

    def add(build: Build) -> Build:
        name = str(knobs.model_fields["name"].default)
        networks.register(name, order=order)(Network(knobs, title, build, reset, batch_norm, plain))
        return build

    return add


def too_small(field: str, value: int, allowed: int, side: int) -> ConfigError:
    """The error for images on which a layer finds no place."""
    return ConfigError(f"{field}: got {value}; allowed for images of {side} pixels: at most {allowed}")
