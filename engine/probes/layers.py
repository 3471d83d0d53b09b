"""Principle 1 and activation sparsity in every layer of a network on images (SPEC.md section 8)."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from engine.core import metrics
from engine.core.results import Principle1
from engine.models.classifier import ImageClassifier
from engine.models.layers import layers
from engine.probes import principle1

CHUNK = 128  # images in one slice
LARGE = 64 * 64  # pixels of an image, above which a slice has fewer of them: their activations take the memory

Matrices = Mapping[str, Tensor]  # layer name → its weights, one row a unit


def chunk_of(shape: Sequence[int], most: int = CHUNK) -> int:
    """How many images of ``shape`` (…, H, W) are measured in one slice: ``most``, of large ones fewer."""
    return max(1, min(most, most * LARGE // (shape[-2] * shape[-1])))


def matrices(classifier: ImageClassifier) -> dict[str, Tensor]:
    """Copies of the weights by layer, one row a unit."""
    return {layer.name: layer.matrix.clone() for layer in layers(classifier.module)}


def principle1_of(
    start: Mapping[str, Tensor], clean: Mapping[str, Tensor], now: Mapping[str, Tensor]
) -> dict[str, Principle1]:
    """Compare w⁰, w and w′ layer by layer: each layer name → weights (units, …), one row a unit.

    The order is that of ``now``; a convolution's kernel is a vector of inputs · height · width.
    """
    return {
        name: principle1.principle1(start[name].flatten(1), clean[name].flatten(1), weight.flatten(1))
        for name, weight in now.items()
    }


def activity(model: ImageClassifier | nn.Module, x: Tensor, chunk: int) -> Generator[None, None, dict[str, float]]:
    """Share of positive outputs of each layer but the last, over units, positions and the images x (n, C, H, W).

    A layer that puts nothing out by itself, such as a projection inside torch's attention, is left out.

    A layer's output is that of the batch norm behind it, if there is one: what the ReLU sees (in a residual block, of
    the last layer before the sum is taken). The network computes in evaluation mode; a module must be in it. Yields
    after every ``chunk`` images, with no hook left on the network meanwhile.
    """
    network = _evaluating(model)
    counted: dict[str, nn.Module] = {
        each.name: each.module if each.norm is None else each.norm for each in layers(network)[:-1]
    }
    positive = {name: torch.zeros((), dtype=torch.int64, device=x.device) for name in counted}
    total = dict.fromkeys(positive, 0)
    for start in range(0, len(x), chunk):
        with torch.no_grad(), _counting(counted, positive, total):
            network(x[start : start + chunk])
        yield
    return {name: int(count) / total[name] for name, count in positive.items() if total[name]}


def scalars(found: Mapping[str, Principle1] | None, active: Mapping[str, float]) -> dict[str, float]:
    """Metric name → value: each layer's means of principle 1 (none before there is any) and its active share."""
    values = {metrics.layer(name, metrics.LAYER_ACTIVE_SHARE): share for name, share in active.items()}
    for name, result in (found or {}).items():
        means = principle1.scalars(result).values()
        values |= {metrics.layer(name, q): v for q, v in zip(metrics.LAYER_PRINCIPLE1, means, strict=True)}
    return values


def _evaluating(model: ImageClassifier | nn.Module) -> nn.Module:
    """The network in evaluation mode: a copy only where it is being trained."""
    if not isinstance(model, ImageClassifier):
        return model
    training = any(module.training for module in model.module.modules())
    return model.copy().module if training else model.module


@contextmanager
def _counting(counted: Mapping[str, nn.Module], positive: dict[str, Tensor], total: dict[str, int]) -> Iterator[None]:
    """Inside, every pass adds the positive outputs of the modules ``counted`` to ``positive``, all to ``total``."""

    def hook(name: str) -> torch.utils.hooks.RemovableHandle:
        def count(_module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
            positive[name] += (output > 0).sum()  # at once: a ReLU may work in place
            total[name] += output.numel()

        return counted[name].register_forward_hook(count)

    handles = [hook(name) for name in counted]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
