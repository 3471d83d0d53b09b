"""Spectra of weights and effective features (:mod:`engine.core.spectra` defines both), in slices where they are large.

By the eigenvalues of the smaller Gram matrix, in float64, as in :mod:`engine.probes.low_rank`.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping, MutableMapping, Sequence
from typing import Any

import torch
from torch import Tensor

from engine.core import metrics
from engine.core.arrays import frozen
from engine.core.results import LayerInfo
from engine.core.slices import finish
from engine.core.spectra import EffectiveFeatures, LayersSpectrum, Spectrum
from engine.probes.mixture import alive

SLICE = 2**26  # multiplications of the Gram matrix in one slice: some 10 ms on one core
LARGEST = 1024  # smaller side of a layer that is measured beside training: its eigenvalues come in one piece
RECORDED = 2**27  # multiplications of a Gram matrix that every live evaluation can afford

Memory = MutableMapping[Any, Any]


def spectrum(matrix: Tensor) -> Spectrum:
    """The singular values of ``matrix`` (m, d)."""
    return finish(in_slices(matrix))


def in_slices(matrix: Tensor) -> Generator[None, None, Spectrum]:
    """The same, yielding while the Gram matrix is summed up."""
    tall = (matrix if matrix.shape[0] >= matrix.shape[1] else matrix.T).to("cpu", torch.float64)
    if not bool(torch.isfinite(tall).all()):
        return Spectrum(frozen(torch.full((tall.shape[1],), torch.nan, dtype=torch.float64)))
    side = tall.shape[1]
    gram = torch.zeros(side, side, dtype=torch.float64)
    rows = max(1, SLICE // (side * side))
    for first in range(0, len(tall), rows):
        if first:
            yield
        part = tall[first : first + rows]
        gram.addmm_(part.T, part)
    return Spectrum(frozen(torch.linalg.eigvalsh(gram).clamp_min(0).sqrt().flip(0)))


def effective_features(weight: Tensor, dictionary: Tensor) -> EffectiveFeatures:
    """Of the neurons ``weight`` (m, d) in ``dictionary`` (d, D)."""
    energy = (weight @ dictionary).to("cpu", torch.float64).square()
    living = alive(torch.linalg.vector_norm(weight, dim=1)).cpu()
    squares = energy.square().sum(1)
    mixed = energy.sum(1).square() / torch.where(squares > 0, squares, 1.0)  # 0 for a neuron that is zero
    return EffectiveFeatures(frozen(energy[living].sum(0)), frozen(mixed), frozen(living))


def layers_spectrum(
    layers: Sequence[LayerInfo], moments: Mapping[str, Mapping[str, Tensor]], step: int, memory: Memory
) -> Generator[None, None, LayersSpectrum]:
    """Spectra of ``moments`` → layer name → weights (units, …), with that of the change where there is ``clean``.

    What was measured of a tensor of ``start`` or ``clean`` is kept in ``memory`` for as long as it is the same tensor.
    """
    found: dict[str, dict[str, Spectrum]] = {}
    for layer in layers:
        if min(size(layer)) > LARGEST:
            continue
        of = found[layer.name] = {}
        for moment, weights in moments.items():
            of[moment] = yield from _once(weights[layer.name], moment, layer.name, memory)
            yield
        if "clean" in moments:
            change = moments["now"][layer.name] - moments["clean"][layer.name]
            of["change"] = yield from in_slices(change.flatten(1))
            yield
    return LayersSpectrum(step, tuple(layers), found, {})


def _once(weight: Tensor, moment: str, layer: str, memory: Memory) -> Generator[None, None, Spectrum]:
    if moment == "now":
        return (yield from in_slices(weight.flatten(1)))
    key = ("spectrum", moment, layer)
    known: tuple[Tensor, Spectrum] | None = memory.get(key)
    if known is None or known[0] is not weight:
        known = memory[key] = (weight, (yield from in_slices(weight.flatten(1))))
    return known[1]


def size(layer: LayerInfo) -> tuple[int, int]:
    """Rows and columns of a layer's weights as a matrix."""
    return layer.shape[0], math.prod(layer.shape[1:])


def recorded(matrix: Tensor) -> bool:
    """Whether a matrix (m, d) is small enough for its ranks to be recorded at every live evaluation."""
    small, large = sorted(matrix.shape)
    return small <= LARGEST // 2 and small * small * large <= RECORDED


def scalars(name: str, now: Tensor, clean: Tensor | None) -> Generator[None, None, dict[str, float]]:
    """Ranks of a layer's weights ``now`` (units, d) and of what they changed by since ``clean``, by metric name.

    None of a layer that is not :func:`recorded`.
    """
    if not recorded(now):
        return {}
    weights = yield from in_slices(now)
    values = {
        metrics.layer(name, metrics.EFFECTIVE_RANK): weights.effective_rank,
        metrics.layer(name, metrics.PARTICIPATION): weights.participation,
    }
    if clean is not None:
        change = yield from in_slices(now - clean)
        values[metrics.layer(name, metrics.CHANGE_RANK)] = change.effective_rank
    return values


def feature_scalars(found: EffectiveFeatures) -> dict[str, float]:
    """Effective features and those that a neuron mixes, by the names of :mod:`engine.core.metrics`."""
    return {metrics.REPRESENTED: found.represented, metrics.MIXED: found.per_neuron}
