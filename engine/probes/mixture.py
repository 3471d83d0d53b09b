"""Pure features and dense mixtures in the hidden weights (SPEC.md section 4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from engine.core import metrics
from engine.core.arrays import sealed
from engine.core.results import ALIVE, FloatArray, Mixture

if TYPE_CHECKING:
    from torch import Tensor

TINY = 1e-20
Norms = TypeVar("Norms", NDArray[Any], "Tensor")


def mixture(weight: Tensor, dictionary: Tensor, target: Tensor, coefficient: Tensor | None = None) -> Mixture:
    """Measure every neuron of ``weight`` (m, d) against ``dictionary`` (d, D) and ``target`` (D,).

    C = W M is the matched filter: see :class:`engine.data.sparse_stream.SparseCoding` for why. Who has it already gives
    it as ``coefficient`` (m, D).
    """
    coefficient = weight @ dictionary if coefficient is None else coefficient
    return of_arrays(*(each.detach().cpu().numpy() for each in (weight, target, coefficient)))


def of_arrays(weight: NDArray[Any], target: NDArray[Any], coefficient: NDArray[Any]) -> Mixture:
    """The same of arrays, with C = W M as ``coefficient`` (m, D); imports no torch."""
    row = np.arange(len(coefficient))
    size = np.linalg.norm(coefficient, axis=1)
    feature = np.abs(coefficient).argmax(axis=1)
    pure, floor = np.abs(coefficient[row, feature]), np.maximum(size, TINY)
    rest = coefficient.copy()
    rest[row, feature] = 0.0
    rest_size, norm = np.linalg.norm(rest, axis=1), np.linalg.norm(weight, axis=1)
    return Mixture(
        feature=sealed(feature),
        pure=sealed(pure),
        mixture=sealed(rest_size),
        relative=sealed(rest_size / floor),
        purity=sealed(pure / floor),
        dense_alignment=sealed(np.abs(rest @ target) / (np.linalg.norm(target) * floor)),
        norm=sealed(norm),
        alive=sealed(alive(norm)),
    )


def alive(norm: Norms) -> Norms:
    """Which neurons are alive, by their norms (m,)."""
    found: Norms = norm > ALIVE * norm.max()
    return found


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
