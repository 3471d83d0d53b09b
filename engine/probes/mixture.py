"""Pure features and dense mixtures in the hidden weights (SPEC.md section 4)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from engine.core import metrics
from engine.core.arrays import frozen
from engine.core.results import ALIVE, FloatArray, Mixture

TINY = 1e-20


def mixture(weight: Tensor, dictionary: Tensor, target: Tensor, coefficient: Tensor | None = None) -> Mixture:
    """Measure every neuron of ``weight`` (m, d) against ``dictionary`` (d, D) and ``target`` (D,).

    C = W M is the matched filter: see :class:`engine.data.sparse_stream.SparseCoding` for why. Who has it already gives
    it as ``coefficient`` (m, D).
    """
    coefficient = weight @ dictionary if coefficient is None else coefficient
    size = torch.linalg.vector_norm(coefficient, dim=1)
    feature = coefficient.abs().argmax(dim=1, keepdim=True)
    top = coefficient.gather(1, feature).squeeze(1)
    rest = coefficient.scatter(1, feature, 0.0)
    rest_size = torch.linalg.vector_norm(rest, dim=1)
    pure, floor = top.abs(), size.clamp_min(TINY)
    norm = torch.linalg.vector_norm(weight, dim=1)
    return Mixture(
        feature=frozen(feature.squeeze(1)),
        pure=frozen(pure),
        mixture=frozen(rest_size),
        relative=frozen(rest_size / floor),
        purity=frozen(pure / floor),
        dense_alignment=frozen((rest @ target).abs() / (target.norm() * floor)),
        norm=frozen(norm),
        alive=frozen(alive(norm)),
    )


def alive(norm: Tensor) -> Tensor:
    """Which neurons are alive, by their norms (m,)."""
    return norm > ALIVE * norm.max()


def scalars(result: Mixture) -> dict[str, float]:
    """Summaries over alive neurons, by the names of :mod:`engine.core.metrics`."""
    living = result.alive
    columns: dict[str, FloatArray] = {
        "purity": result.purity,
        "pure": result.pure,
        "magnitude": result.mixture,
        "relative": result.relative,
        "dense_alignment": result.dense_alignment,
        "dense_share": result.dense_share,
    }
    out = {metrics.ALIVE: float(living.sum())}
    out[metrics.SMALL] = float((result.mixture < result.pure)[living].mean()) if living.any() else float("nan")
    for quantity in metrics.MIXTURE_QUANTITIES:
        values = columns[quantity][living]
        low, middle, high = np.quantile(values, [0.1, 0.5, 0.9]) if len(values) else [np.nan] * 3
        mean = values.mean(dtype=np.float64) if len(values) else np.nan
        for summary, value in zip(metrics.SUMMARIES, (middle, low, high, mean), strict=True):
            out[metrics.mixture(quantity, summary)] = float(value)
    return out
