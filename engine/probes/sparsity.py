"""Activation sparsity: how many hidden units an input activates (SPEC.md section 4)."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from engine.core import metrics
from engine.core.arrays import frozen
from engine.core.results import Sparsity
from engine.models.symmetric_relu import SymmetricRelu
from engine.probes.robustness import CHUNK


def sparsity(model: SymmetricRelu, x: Tensor) -> Sparsity:
    """Share of the inputs x (n, d) on which each neuron is active."""
    count = model.weight.new_zeros(len(model.weight))
    for start in range(0, len(x), CHUNK):
        count += model.active(x[start : start + CHUNK]).sum(0)
    return Sparsity(per_neuron=frozen(count / len(x)), n=len(x))


def scalars(result: Sparsity) -> dict[str, float]:
    """The mean share of hidden units active per input."""
    return {metrics.ACTIVE_SHARE: float(result.per_neuron.mean(dtype=np.float64))}
