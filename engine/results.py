"""What the probes measure, as frozen records of read-only numpy arrays that own their memory.

Symbols follow SPEC.md section 4: ``C = W M`` is a neuron in the dictionary, ``j(i) = argmax_j |C_ij|`` its feature.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Weights:
    """Hidden weights, one row a neuron, in pixel space.

    ``now`` and ``start`` (m, d); ``clean`` (m, d) once the clean phase has ended, else None; ``dictionary`` (d, D) with
    orthonormal columns, so ``now @ dictionary`` is the same in the dictionary; ``target`` (D,) is w_star; ``bias`` the
    current b.
    """

    now: FloatArray
    start: FloatArray
    clean: FloatArray | None
    dictionary: FloatArray
    target: FloatArray
    bias: float


@dataclass(frozen=True, slots=True)
class Mixture:
    """Per-neuron quantities of the current weights, each (m,).

    ``feature`` j(i); ``pure`` |C_ij(i)|; ``mixture`` ‖v_i‖ with v_i = C_i without coordinate j(i); ``relative``
    ‖v_i‖/‖C_i‖; ``purity`` |C_ij(i)|/‖C_i‖; ``dense_alignment`` |⟨v_i, w_star⟩|/(‖w_star‖·‖C_i‖); ``norm`` ‖w_i‖;
    ``alive`` ‖w_i‖ > 0.3·max.
    """

    feature: IntArray
    pure: FloatArray
    mixture: FloatArray
    relative: FloatArray
    purity: FloatArray
    dense_alignment: FloatArray
    norm: FloatArray
    alive: BoolArray


@dataclass(frozen=True, slots=True)
class Principle1:
    """Principle 1 per neuron (m,), with w⁰, w, w′ the weights at the start, at the end of clean training, now.

    ``cos_start_clean``, ``cos_start_now``, ``cos_clean_now``; ``beta`` = ⟨w,w′⟩/‖w′‖²; ``pure_part`` ‖βw′‖ and
    ``rest`` ‖w − βw′‖; ``alive`` the neurons alive at the end of clean training, over which means are taken.
    """

    cos_start_clean: FloatArray
    cos_start_now: FloatArray
    cos_clean_now: FloatArray
    beta: FloatArray
    pure_part: FloatArray
    rest: FloatArray
    alive: BoolArray


@dataclass(frozen=True, slots=True)
class Sparsity:
    """Activation sparsity: ``per_neuron`` (m,) share of ``n`` held-out inputs on which the neuron is active."""

    per_neuron: FloatArray
    n: int
