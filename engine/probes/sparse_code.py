"""Sparse coding in a layer's filters: how few of them rebuild what the layer is given (paper, section 5).

A dictionary is a layer's alive filters; its atoms and all that is rebuilt from them have the mean of every channel
taken away (brightness is one dimension that images are full of, and a filter that carries it says nothing of
features), and atoms have length one. A convolution is given patches: those of its own grid that do not overlap, with
its padding. Coefficients may have either sign.

References: orthogonal matching pursuit, Pati, Rezaiifar and Krishnaprasad 1993; the Lasso's whole path by least angle
regression, Efron, Hastie, Johnstone and Tibshirani 2004 (scikit-learn's).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Generator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from engine.core.errors import ConfigError
from engine.models.layers import Layer
from engine.probes.mixture import alive

CHUNK = 64  # vectors whose Lasso is found in one slice
NUMBERS = 8_000_000  # that a slice of matching pursuit keeps at most: 64 MB
PATIENCE = 2  # knots of a Lasso path for each filter: now and then one leaves it again
TINY = 1e-9

Left = Generator[float, None, Tensor]
"""Yields the share done; returns the squared length that is left with 0 … most atoms."""


def given(network: nn.Module, first: Layer, x: Tensor, chunk: int = 128) -> Tensor:
    """What the layer ``first`` of ``network`` is given for images x (n, C, H, W): its patches (n, P, values).

    A linear layer is given one vector each, P = 1. Raises :class:`ConfigError` for a grouped convolution, whose filters
    see a part of a patch only.
    """
    found: list[Tensor] = []

    def keep(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        found.append(_patches(inputs[0].detach(), first.module))

    handle = first.module.register_forward_pre_hook(keep)
    try:
        with torch.no_grad():
            for start in range(0, len(x), chunk):
                network(x[start : start + chunk])
    finally:
        handle.remove()
    return torch.cat(found)


def _patches(image: Tensor, module: nn.Conv2d | nn.Linear) -> Tensor:
    if isinstance(module, nn.Linear):
        return image.flatten(1).unsqueeze(1)
    if module.groups != 1:
        raise ConfigError("the first layer's convolution is grouped: its filters see a part of a patch only")
    sides = zip(module.kernel_size, module.dilation, module.stride, strict=True)
    step = [stride * -(-(dilation * (size - 1) + 1) // stride) for size, dilation, stride in sides]
    padding = (0, 0) if isinstance(module.padding, str) else module.padding
    found = nn.functional.unfold(image, module.kernel_size, module.dilation, padding, tuple(step))
    return found.transpose(1, 2)


def centred(vectors: Tensor, channels: int) -> Tensor:
    """``vectors`` (…, values), channel after channel, without the mean of each channel; float64 on the CPU."""
    parts = vectors.cpu().double().reshape(*vectors.shape[:-1], channels, -1)
    return (parts - parts.mean(-1, keepdim=True)).flatten(-2)


def dictionary(filters: Tensor, channels: int) -> Tensor:
    """The atoms (a, values): the alive of ``filters`` (units, values), :func:`centred`, each of length 1."""
    living = filters[alive(torch.linalg.vector_norm(filters, dim=1))]
    atoms = centred(living, channels)
    size = torch.linalg.vector_norm(atoms, dim=1, keepdim=True)
    kept = size[:, 0] > TINY * torch.linalg.vector_norm(living.cpu().double(), dim=1)
    found: Tensor = atoms[kept] / size[kept]
    return found


def matching_pursuit(atoms: Tensor, vectors: Tensor, most: int) -> Left:
    """Orthogonal matching pursuit of ``vectors`` (n, values) in ``atoms`` (a, values): (n, most + 1).

    One atom after the other, the one of largest inner product with what is left; the best coefficients of all chosen.
    """
    parts, rows = [], max(1, NUMBERS // max(1, most * vectors.shape[1]))
    for start in range(0, len(vectors), rows):
        parts.append(_pursue(atoms, vectors[start : start + rows], most))
        yield min(1.0, (start + rows) / len(vectors))
    return torch.cat(parts)


def _pursue(atoms: Tensor, vectors: Tensor, most: int) -> Tensor:
    rows = torch.arange(len(vectors))
    free = torch.ones(len(vectors), len(atoms), dtype=torch.bool)
    basis = vectors.new_zeros(len(vectors), most, vectors.shape[1])  # of what the chosen atoms span
    rest = vectors
    left = [rest.square().sum(1)]
    for k in range(most):
        chosen = (rest @ atoms.T).abs_().masked_fill_(~free, -1.0).argmax(1)
        free[rows, chosen] = False
        new, span = atoms[chosen].unsqueeze(2), basis[:, :k]
        for _ in range(2):  # the second time against rounding
            new = new - span.transpose(1, 2) @ (span @ new)
        new = new.squeeze(2)
        size = torch.linalg.vector_norm(new, dim=1, keepdim=True)
        new = torch.where(size > TINY, new / size.clamp_min(TINY), 0.0)  # an atom of that span adds nothing
        basis[:, k] = new
        rest = rest - (rest * new).sum(1, keepdim=True) * new
        left.append(rest.square().sum(1))
    return torch.stack(left, 1)


def lasso(atoms: Tensor, vectors: Tensor, most: int) -> Left:
    """The Lasso of ``vectors`` (n, values) in ``atoms`` (a, values): (n, most + 1).

    With k atoms: the least that any penalty leaves whose solution has at most k coefficients that are not 0. The
    coefficients are the Lasso's own, shrunk by the penalty.
    """
    from sklearn.exceptions import ConvergenceWarning  # type: ignore[import-untyped]
    from sklearn.linear_model import lars_path_gram  # type: ignore[import-untyped]

    matrix, length = atoms.numpy(), torch.linalg.vector_norm(vectors, dim=1, keepdim=True)
    targets = (vectors / length.clamp_min(1e-300)).numpy()  # as some tolerances of the path are absolute
    gram, inner = matrix @ matrix.T, targets @ matrix.T
    left = np.repeat(np.square(targets).sum(1)[:, None], most + 1, axis=1)
    for i, target in enumerate(targets):
        if most and inner[i].any():
            with warnings.catch_warnings():  # atoms that nearly depend on each other are left out, which it tells
                warnings.simplefilter("ignore", ConvergenceWarning)
                _, _, path = lars_path_gram(inner[i], gram, n_samples=1, max_iter=PATIENCE * most, method="lasso")
            count = np.count_nonzero(path, axis=0)
            within = count <= most
            size = np.square(target[:, None] - matrix.T @ path[:, within]).sum(0)
            np.minimum.at(left[i], count[within], size)
        if i % CHUNK == CHUNK - 1:
            yield (i + 1) / len(targets)
    found: Tensor = torch.from_numpy(np.minimum.accumulate(left, axis=1)) * length.square()
    return found


METHODS: dict[str, Callable[[Tensor, Tensor, int], Left]] = {"omp": matching_pursuit, "lasso": lasso}


def relative_errors(left: Tensor) -> NDArray[np.float64]:
    """‖rest‖/‖vector‖ (n, K + 1) of inputs with 0 … K filters a patch, from squares (n, P, K + 1) over their patches.

    Inputs that are zero all over have none and are left out.
    """
    size = left.sum(1)
    size = size[size[:, 0] > 0]
    found: NDArray[np.float64] = (size / size[:, :1]).clamp(0.0, 1.0).sqrt().numpy()
    return np.minimum.accumulate(found, axis=1)


def needed(errors: NDArray[np.float64], error: float) -> NDArray[np.float64]:
    """The smallest number of filters (n,) with which ``errors`` (n, K + 1) is at most ``error``; inf where none is."""
    reached = errors <= error
    return np.where(reached.any(1), reached.argmax(1), np.inf)
