"""Singular values of weights, how many of them count, and how many features neurons represent: frozen records.

Three counts that need no threshold, each between 1 and what there is at most, and unchanged when the matrix is scaled:
effective rank (Roy and Vetterli 2007), the participation ratio of the spectrum, and that of a dictionary's features.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.core.results import BoolArray, LayerInfo

Values = NDArray[np.float64]


def participation_ratio(weights: Values) -> float:
    """(Σw)²/Σw² of weights w ≥ 0 (n,): n if all are equal, 1 if one is alone; 0 if all are 0.

    Not a number if one of them is none.
    """
    squares = float((weights * weights).sum())
    return float(weights.sum()) ** 2 / squares if squares != 0 else 0.0


@dataclass(frozen=True, slots=True)
class Spectrum:
    """Singular values σ of a matrix, ``values`` (k,) descending, k its smaller side; not numbers for one that is none.

    Those below about 1e-8 of the largest are rounding.
    """

    values: Values

    @property
    def effective_rank(self) -> float:
        """exp of the entropy of σ/Σσ: r for r equal singular values; 0 for the zero matrix.

        Roy and Vetterli, "The effective rank: a measure of effective dimensionality", EUSIPCO 2007.
        """
        total = float(self.values.sum())
        if not np.isfinite(total) or total == 0:
            return 0.0 if total == 0 else float("nan")
        shares = self.values[self.values > 0] / total
        return float(np.exp(-(shares * np.log(shares)).sum()))

    @property
    def participation(self) -> float:
        """(Σσ²)²/Σσ⁴, the participation ratio of the directions' energies; at most the effective rank."""
        largest = float(self.values.max(initial=0.0))
        return participation_ratio((self.values / largest) ** 2) if largest != 0 else 0.0


@dataclass(frozen=True, slots=True)
class EffectiveFeatures:
    """How many of a dictionary's features the neurons represent, and how many each neuron mixes.

    ``energy`` (D,) e_j = Σ_i C_ij² over the alive neurons i, C = W M; ``mixed`` (m,) the participation ratio of C_ij²
    over j: 1 for a neuron that is one feature, D for one that has all alike; ``alive`` (m,) as everywhere.

    The neurons' superposition is what ``mixed`` counts, more than one feature in one neuron. Of the number of features
    that a network represents, :attr:`represented`, later papers say opposite things: features per dimension go
    with fragility in Elhage et al. 2022 (arXiv 2209.10652), while in Bereska et al. 2025 (arXiv 2512.13568)
    adversarial training may raise the number of effective features. With D = d orthonormal features there are never
    more features than dimensions, so that the two counts are told apart here.
    """

    energy: Values
    mixed: Values
    alive: BoolArray

    @property
    def represented(self) -> float:
        """Effective features, (Σ_j e_j)²/Σ_j e_j²."""
        return participation_ratio(self.energy)

    @property
    def per_neuron(self) -> float:
        """Median of ``mixed`` over the alive neurons; not a number without any."""
        return float(np.median(self.mixed[self.alive])) if self.alive.any() else float("nan")


@dataclass(frozen=True, slots=True)
class LayersSpectrum:
    """The spectra of every layer's weights (one row a unit) after ``step`` steps.

    ``of``: layer name → moment → :class:`Spectrum`, moments ``start``, ``now``, and once clean training has ended
    ``clean`` and ``change``, of W − W_clean. Layers too large to be measured beside training are not in it.
    ``features``: moment → :class:`EffectiveFeatures`; empty where no dictionary is known.
    """

    step: int
    layers: tuple[LayerInfo, ...]
    of: Mapping[str, Mapping[str, Spectrum]]
    features: Mapping[str, EffectiveFeatures]
