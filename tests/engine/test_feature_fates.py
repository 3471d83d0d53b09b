"""Which feature each neuron has, whether it was kept, and which features nobody has; one neuron at a time."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from engine.core import metrics
from engine.core.results import FATES
from engine.data.dictionaries import dictionaries
from engine.probes.feature_fates import feature_fates, scalars
from engine.probes.low_rank import without_direction
from engine.probes.mixture import mixture
from engine.probes.mixture import scalars as mixture_scalars

D = 16
DICTIONARY = dictionaries["random"](D, torch.Generator().manual_seed(3))
ATOMS = DICTIONARY.T


def rows(*neurons: tuple[int, float]) -> torch.Tensor:
    """One neuron each: its feature and the signed size."""
    return torch.stack([ATOMS[j] * size for j, size in neurons])


START = rows((0, 1.0), (1, 1.0), (2, 1.0), (3, 1.0), (4, 1.0), (5, 1.0))
CLEAN = rows((0, 2.0), (1, 2.0), (7, 2.0), (3, 0.1), (4, -2.0), (5, 2.0))
NOW = rows((0, 1.0), (1, -1.0), (8, 1.0), (3, 1.0), (4, -1.0), (5, 0.1))


def test_fates_one_neuron_at_a_time() -> None:
    found = feature_fates(START, CLEAN, NOW, DICTIONARY)
    assert found.clean is not None
    assert found.now.feature.tolist() == [0, 1, 8, 3, 4, 5]
    assert found.now.sign.tolist() == [1, -1, 1, 1, -1, 1]
    assert found.clean.alive.tolist() == [True, True, True, False, True, True]
    assert found.now.alive.tolist() == [True, True, True, True, True, False]
    assert found.clean.same(found.now).tolist() == [True, False, False, True, True, True]
    assert found.kept_share == pytest.approx(2 / 4)  # 0 and 4, of 0, 1, 2, 4
    assert (found.start.held, found.clean.held, found.now.held) == (6, 5, 5)
    assert np.flatnonzero(found.now.neurons).tolist() == [0, 1, 3, 4, 8]
    assert found.now.neurons.sum() == 5
    assert scalars(found) == {metrics.HELD: 5.0, metrics.KEPT: 0.5}


def test_each_neuron_has_one_fate_between_two_moments() -> None:
    found = feature_fates(START, CLEAN, NOW, DICTIONARY)
    assert found.clean is not None
    words = lambda fates: [FATES[i] for i in fates]  # noqa: E731
    assert words(found.start.fate(found.clean)) == ["kept", "kept", "changed", "died", "changed", "kept"]
    assert words(found.clean.fate(found.now)) == ["kept", "changed", "changed", "revived", "kept", "died"]
    dead = dataclasses.replace(found.now, alive=np.zeros(6, bool))
    assert words(dead.fate(dead)) == ["dead"] * 6
    assert list(found.moments) == ["start", "clean", "now"]


def test_before_the_end_of_clean_training_nothing_is_kept_or_lost() -> None:
    found = feature_fates(START, None, NOW, DICTIONARY)
    assert np.isnan(found.kept_share)
    assert scalars(found) == {metrics.HELD: 5.0}


def test_two_neurons_of_one_feature_hold_it_once() -> None:
    weight = rows((3, 1.0), (3, -1.0), (9, 0.5))
    found = feature_fates(weight, None, weight, DICTIONARY)
    assert found.now.held == 2
    assert found.now.neurons[3] == 2


def test_small_and_dense_are_told_apart() -> None:
    target = torch.ones(D)
    dense = DICTIONARY @ target  # of norm 4
    small_dense = ATOMS[0] + 0.05 * dense  # mixture .05·√15 beside 1.05
    large_dense = ATOMS[1] + 0.4 * dense  # 0.4·√15 = 1.55 beside 1.4
    sparse = ATOMS[2] + 0.5 * ATOMS[3]
    weight = torch.stack([small_dense, large_dense, sparse])
    result = mixture(weight, DICTIONARY, target)
    every = np.sqrt(15) / 4  # the rest of the dense direction without one's own coordinate
    np.testing.assert_allclose(result.dense_share, [every, every, 0.25], rtol=1e-4)
    values = mixture_scalars(result)
    assert values[metrics.SMALL] == pytest.approx(2 / 3)
    assert values[metrics.mixture("dense_share", "mean")] == pytest.approx((2 * every + 0.25) / 3, rel=1e-4)


def test_a_neuron_without_a_mixture_has_no_dense_share() -> None:
    result = mixture(torch.eye(D)[:2], torch.eye(D), torch.ones(D))
    assert result.dense_share.tolist() == [0.0, 0.0]


def test_a_direction_taken_out_is_gone_and_all_else_stays() -> None:
    weight = torch.randn(7, D, generator=torch.Generator().manual_seed(1))
    u = torch.nn.functional.normalize(torch.randn(D, generator=torch.Generator().manual_seed(2)), dim=0)
    left = without_direction(weight, u)
    torch.testing.assert_close(left @ u, torch.zeros(7), atol=1e-5, rtol=0)
    other = torch.linalg.qr(torch.stack([u, *torch.eye(D)[:5]], 1)).Q[:, 1:]
    torch.testing.assert_close(left @ other, weight @ other, atol=1e-5, rtol=1e-4)
