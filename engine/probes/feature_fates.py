"""Which feature each neuron has at the start, after clean training and now (SPEC.md sections 4 and 12)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from engine.core import metrics
from engine.core.arrays import frozen
from engine.core.results import FeatureFates, FeatureOf
from engine.probes.mixture import alive


def feature_of(weight: Tensor, dictionary: Tensor, coefficient: Tensor | None = None) -> FeatureOf:
    """The features of the rows of ``weight`` (m, d) in ``dictionary`` (d, D); ``coefficient`` (m, D) if it is known."""
    coefficient = weight @ dictionary if coefficient is None else coefficient
    feature = coefficient.abs().argmax(dim=1, keepdim=True)
    sign = coefficient.gather(1, feature).sign().long()
    living = alive(torch.linalg.vector_norm(weight, dim=1))
    return FeatureOf(frozen(feature.squeeze(1)), frozen(sign.squeeze(1)), frozen(living), dictionary.shape[1])


def feature_fates(start: Tensor, clean: Tensor | None, now: Tensor, dictionary: Tensor) -> FeatureFates:
    """Compare w⁰ ``start``, w ``clean`` and ``now``, each (m, d), in ``dictionary`` (d, D)."""
    return FeatureFates(
        feature_of(start, dictionary),
        None if clean is None else feature_of(clean, dictionary),
        feature_of(now, dictionary),
    )


def scalars(result: FeatureFates) -> dict[str, float]:
    """Features held now, and the share of neurons that kept theirs, by the names of :mod:`engine.core.metrics`."""
    found = {metrics.HELD: float(result.now.held)}
    if not math.isnan(result.kept_share):
        found[metrics.KEPT] = result.kept_share
    return found
