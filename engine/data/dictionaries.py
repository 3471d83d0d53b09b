"""Dictionaries M (d, D): the features of the sparse-coding world, one a column, each of norm 1.

Those of the table are orthonormal, D = d. :func:`overcomplete` has more features than dimensions.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from engine.core.arrays import picture_side
from engine.core.errors import ConfigError
from engine.core.registry import Registry
from engine.data.sparse_coding import OVERCOMPLETE, SparseCodingWorld

dictionaries: Registry[Callable[[int, torch.Generator], torch.Tensor]] = Registry("world.dictionary")
BLOCK = 1024  # columns whose products with all others are held at a time


def draw_dictionary(knobs: SparseCodingWorld, generator: torch.Generator) -> torch.Tensor:
    """The dictionary (d, D) that the knobs ask for."""
    if knobs.dictionary == OVERCOMPLETE:
        return overcomplete(knobs.d, knobs.features, generator)
    return dictionaries[knobs.dictionary](knobs.d, generator)


def overcomplete(d: int, atoms: int, generator: torch.Generator) -> torch.Tensor:
    """``atoms`` random directions of norm 1 (d, D), independent and uniform on the sphere."""
    drawn = torch.randn(d, atoms, generator=generator, dtype=torch.float64)
    columns: torch.Tensor = drawn / torch.linalg.vector_norm(drawn, dim=0)
    return columns.float()


def coherence(dictionary: torch.Tensor) -> tuple[float, float]:
    """Of columns of norm 1 (d, D): max |⟨M_i,M_j⟩| over i ≠ j, and the mean of ‖M_j‖²/‖MᵀM_j‖, their own purity."""
    largest, purity = 0.0, 0.0
    for start in range(0, dictionary.shape[1], BLOCK):
        gram = dictionary[:, start : start + BLOCK].T @ dictionary
        here = torch.arange(len(gram), device=gram.device)
        purity += float((gram[here, start + here] / torch.linalg.vector_norm(gram, dim=1)).sum())
        gram[here, start + here] = 0.0
        largest = max(largest, float(gram.abs().max()))
    return largest, purity / dictionary.shape[1]


@dictionaries.register("random")
def random_orthogonal(d: int, generator: torch.Generator) -> torch.Tensor:
    """A Haar-distributed orthogonal matrix: QR of a Gaussian one, with R's diagonal made positive."""
    q, r = torch.linalg.qr(torch.randn(d, d, generator=generator, dtype=torch.float64))
    signed: torch.Tensor = q * r.diagonal().sign()
    return signed.float()


@dictionaries.register("identity")
def identity(d: int, generator: torch.Generator) -> torch.Tensor:
    """Single pixels."""
    return torch.eye(d)


@dictionaries.register("dct")
def dct(d: int, generator: torch.Generator) -> torch.Tensor:
    """The orthonormal 2-D discrete cosine basis (type II) of a square picture."""
    side = _side(d, "dct")
    n = torch.arange(side, dtype=torch.float64)
    basis = math.sqrt(2 / side) * torch.cos(math.pi * (n[:, None] + 0.5) * n[None, :] / side)
    basis[:, 0] /= math.sqrt(2)
    return torch.kron(basis, basis).float()


@dictionaries.register("haar")
def haar(d: int, generator: torch.Generator) -> torch.Tensor:
    """The orthonormal 2-D Haar wavelet basis of a square picture.

    Standard tensor construction, halving the side as long as it is even (12 → 6 → 3), so any even side will do.
    """
    side = _side(d, "haar")
    if side % 2:
        raise ConfigError(f"world.d: got {d} with world.dictionary = 'haar'; allowed: the square of an even number")
    basis = torch.eye(side, dtype=torch.float64)
    length = side
    while length % 2 == 0:
        half = torch.zeros(side, side, dtype=torch.float64)
        half[length:, length:] = torch.eye(side - length, dtype=torch.float64)
        pair = torch.arange(length // 2)
        s = 1 / math.sqrt(2)
        half[pair, 2 * pair] = half[pair, 2 * pair + 1] = s  # averages, halved again in the next round
        half[length // 2 + pair, 2 * pair] = s  # differences: the wavelets of this scale
        half[length // 2 + pair, 2 * pair + 1] = -s
        basis = half @ basis
        length //= 2
    return torch.kron(basis.T, basis.T).float()


def _side(d: int, name: str) -> int:
    side = picture_side(d)
    if side is None:
        raise ConfigError(f"world.d: got {d} with world.dictionary = {name!r}; allowed: a square (64, 144, 256)")
    return side
