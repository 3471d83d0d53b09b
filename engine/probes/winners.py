"""Lottery tickets: neurons that lead on one feature from the start, and what becomes of them (SPEC.md section 4).

After the paper's sets S_j,sure (section 6: the "lottery ticket winning" neurons): at the random start a neuron wins
feature j if ⟨w⁰ᵢ, M_j⟩ has the sign of w_star_j, exceeds the scale σ₀√(2 ln d), and clearly leads the others. That is
a theorem for large d; here it may well not hold, so losers are followed as closely as winners.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.core.arrays import frozen
from engine.core.results import GAP, Winners
from engine.probes.mixture import alive


@dataclass(frozen=True, slots=True)
class Leads:
    """Who leads on which feature at the start: of each neuron (m,), but for ``signed`` (m, D), sign(w_star_j)·C⁰."""

    feature: Tensor
    leads: Tensor
    right_sign: Tensor
    signed: Tensor
    threshold: float


def winners(start: Tensor, now: Tensor, dictionary: Tensor, target: Tensor, sigma_0: float) -> Winners:
    """Winners among the rows of w⁰ ``start`` (m, d) and their fate in ``now`` (m, d).

    ``dictionary`` (d, D), ``target`` (D,); ``sigma_0`` the start's standard deviation: with it σ₀√(2 ln d), the bias at
    the start, which about the largest of d random coefficients reaches.
    """
    living = alive(torch.linalg.vector_norm(now, dim=1))
    return fate(leads_at_start(start, dictionary, target, sigma_0), now @ dictionary, living, target)


def leads_at_start(start: Tensor, dictionary: Tensor, target: Tensor, sigma_0: float) -> Leads:
    """The half of :func:`winners` that does not change."""
    C0 = start @ dictionary
    top = C0.abs().topk(2, dim=1)
    feature = top.indices[:, 0]
    first, second = top.values.unbind(1)
    threshold = sigma_0 * math.sqrt(2 * math.log(start.shape[1]))
    leads = (first >= threshold) & (first >= (1 + GAP) * second)
    right_sign = _at(C0, feature) * target[feature] > 0
    return Leads(feature, leads, right_sign, C0 * target.sign(), threshold)


def fate(start: Leads, C: Tensor, living: Tensor, target: Tensor) -> Winners:
    """The other half: what became of them, now that the coefficients are ``C`` (m, D) and ``living`` (m,) are alive."""
    feature, leads, right_sign = start.feature, start.leads, start.right_sign
    feature_now = C.abs().argmax(dim=1)
    sound = living & (_at(C, feature_now) * target[feature_now] > 0)
    became = sound & (feature_now == feature)
    winner = leads & right_sign
    signed = start.signed
    head_start = (signed < _at(signed, feature_now).unsqueeze(1)).sum(1) / (len(target) - 1) * sound

    def count(members: Tensor, features: Tensor) -> Tensor:
        return torch.bincount(features[members], minlength=len(target))

    return Winners(
        feature=frozen(feature),
        leads=frozen(leads),
        right_sign=frozen(right_sign),
        became=frozen(became),
        sound=frozen(sound),
        head_start=frozen(head_start),
        winners=frozen(count(winner, feature)),
        fulfilled=frozen(count(winner & became, feature)),
        neurons=frozen(count(sound, feature_now)),
        threshold=start.threshold,
    )


def _at(values: Tensor, column: Tensor) -> Tensor:
    return values.gather(1, column.unsqueeze(1)).squeeze(1)
