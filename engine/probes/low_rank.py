"""The change of the weights since clean training: singular values, and what a low rank can do (SPEC.md section 7)."""

from __future__ import annotations

import torch
from torch import Tensor

from engine.core import metrics
from engine.core.arrays import frozen
from engine.core.results import LowRank


def low_rank(now: Tensor, clean: Tensor, direction: Tensor, rank: int) -> LowRank:
    """Singular values of ``now`` − ``clean``, both (m, d), and its first right singular vector beside ``direction``.

    ``direction`` (d,) is M w_star/‖w_star‖. By the eigenvalues of the smaller Gram matrix, in float64: singular values
    below about 1e-8 of the largest one are rounding.
    """
    change = (now - clean).to("cpu", torch.float64)
    wide = change.shape[0] < change.shape[1]
    values, vectors = torch.linalg.eigh(change @ change.T if wide else change.T @ change)
    sigma = values.clamp_min(0).sqrt().flip(0)
    first = change.T @ vectors[:, -1] / sigma[0] if wide and sigma[0] > 0 else vectors[:, -1]
    if sigma[0] == 0:
        first = torch.zeros_like(change[0])
    cosine = float(first @ direction.to("cpu", torch.float64))
    return LowRank(frozen(sigma.float()), frozen((first if cosine >= 0 else -first).float()), abs(cosine), rank)


def without_direction(weight: Tensor, direction: Tensor) -> Tensor:
    """W − (W u)uᵀ: ``weight`` (m, d) with the unit vector u = ``direction`` (d,) taken out of every row."""
    return weight - torch.outer(weight @ direction, direction)


def scalars(result: LowRank) -> dict[str, float]:
    """Cosine and largest singular value, by the names of :mod:`engine.core.metrics`."""
    return {
        metrics.LOW_RANK_COSINE: result.cosine,
        metrics.LOW_RANK_SIGMA1: float(result.singular_values[0]),
    }
