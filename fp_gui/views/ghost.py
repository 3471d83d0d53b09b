"""Where the neurons were after clean training, for the views that draw it faintly behind the present."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from engine.core.results import BoolArray, FloatArray, Mixture, Weights


@dataclass(frozen=True, slots=True)
class Ghost:
    """The neurons as they were after clean training (``step`` −1 means: exactly at the end of the phase)."""

    pure: FloatArray
    mixture: FloatArray
    dense_alignment: FloatArray
    alive: BoolArray
    step: int

    @classmethod
    def from_weights(cls, weights: Weights) -> Ghost | None:
        """From the weights at the end of the clean phase, by the definitions of SPEC.md section 4."""
        if weights.clean is None:
            return None
        C = weights.clean @ weights.dictionary
        norm = np.linalg.norm(C, axis=1)
        rows, feature = np.arange(len(C)), np.abs(C).argmax(1)
        pure = np.abs(C[rows, feature])
        V = C.copy()
        V[rows, feature] = 0
        dense = np.abs(V @ weights.target) / np.maximum(np.linalg.norm(weights.target) * norm, 1e-12)
        return cls(pure, np.linalg.norm(V, axis=1), dense, norm > 0.3 * norm.max(initial=0), -1)

    @classmethod
    def from_mixture(cls, mixture: Mixture, step: int) -> Ghost:
        """From a snapshot seen while the clean phase went on."""
        return cls(mixture.pure, mixture.mixture, mixture.dense_alignment, mixture.alive, step)
