from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from engine.core.results import GAP, Winners
from engine.probes.winners import winners
from engine.run.session import Session
from tests.tiny_runs import advance

D, SIGMA = 16, 0.01
SCALE = SIGMA * math.sqrt(2 * math.log(D))
TARGET = torch.tensor([1.0, -1.0] * (D // 2))


@pytest.fixture
def dictionary(generator: torch.Generator) -> Tensor:
    return torch.linalg.qr(torch.randn(D, D, generator=generator)).Q


def rows(*entries: dict[int, float]) -> Tensor:
    """Neurons in the dictionary, by their non-zero coefficients."""
    C = torch.zeros(len(entries), D)
    for row, entry in enumerate(entries):
        for column, value in entry.items():
            C[row, column] = value
    return C


START = rows(
    {0: 2 * SCALE},  # wins feature 0
    {1: -2 * SCALE, 0: SCALE},  # wins feature 1: the sign of w_star there is −
    {2: -2 * SCALE},  # leads on 2 with the wrong sign
    {3: 0.9 * SCALE},  # too small to lead
    {4: 2 * SCALE, 5: -2 * SCALE / (1 + GAP / 2)},  # no clear lead
    {6: 2 * SCALE},  # wins feature 6
    {8: 2 * SCALE},  # wins feature 8
)
NOW = rows({0: 1.0}, {1: -1.0}, {2: -1.0}, {3: 1.0}, {4: 1.0}, {6: 0.1}, {10: 1.0})


def test_constructed_weights(dictionary: Tensor) -> None:
    found = winners(START @ dictionary.T, NOW @ dictionary.T, dictionary, TARGET, SIGMA)
    assert found.feature.tolist() == [0, 1, 2, 3, 4, 6, 8]
    assert found.leads.tolist() == [True, True, True, False, False, True, True]
    assert found.winner.tolist() == [True, True, False, False, False, True, True]
    # 2 and 3 have the wrong sign, 6 is no longer alive, 8 went to another feature.
    assert found.became.tolist() == [True, True, False, False, True, False, False]
    assert found.sound.tolist() == [True, True, False, False, True, False, True]
    assert found.fate("winners") == (2, 4)
    assert found.fate("wrong sign") == (0, 1)
    assert found.fate("unclear") == (1, 2)
    assert found.fate("others") == (1, 3)
    assert np.flatnonzero(found.winners).tolist() == [0, 1, 6, 8]
    assert np.flatnonzero(found.fulfilled).tolist() == [0, 1]
    assert np.flatnonzero(found.neurons).tolist() == [0, 1, 4, 10]
    # The last one had nothing on feature 10: exactly nothing only where no rotation has rounded.
    exact = winners(START, NOW, torch.eye(len(TARGET)), TARGET, SIGMA)
    assert exact.head_start[[0, 1, 4, 6]].tolist() == [1, 1, 1, 0]
    assert not found.head_start[[2, 3, 5]].any()
    assert not found.winners.flags.writeable


def test_head_start_is_a_half_where_the_start_decides_nothing(generator: torch.Generator) -> None:
    dictionary = torch.eye(D)
    start = torch.randn(4000, D, generator=generator) * SIGMA
    feature = torch.randint(0, D, (4000,), generator=generator)
    now = torch.zeros(4000, D).scatter_(1, feature[:, None], TARGET[feature][:, None])
    found = winners(start, now, dictionary, TARGET, SIGMA)
    assert found.sound.all()
    assert found.mean_head_start == pytest.approx(0.5, abs=0.02)
    for group in ("winners", "wrong sign", "unclear"):
        became, n = found.fate(group)
        assert n > 100
        assert became / n == pytest.approx(1 / D, abs=0.05)


def test_the_start_beside_itself(generator: torch.Generator) -> None:
    start = torch.randn(500, D, generator=generator) * SIGMA
    found = winners(start, start, torch.eye(D), TARGET, SIGMA)
    became, n = found.fate("winners")
    assert became == n > 0
    assert found.fate("wrong sign")[0] == 0
    assert found.winners.sum() == n
    none = winners(start, -start, torch.eye(D), TARGET, SIGMA)
    assert none.fate("winners")[0] == 0
    assert none.fate("wrong sign")[0] == none.fate("wrong sign")[1]


def test_in_a_session(new_session: Callable[..., Session]) -> None:
    session = new_session()
    advance(session, 45)
    found = session.snapshot(frozenset({Winners})).get(Winners)
    assert found is not None
    assert found.feature.shape == (24,)
    assert found.winners.shape == (16,)
    assert found.fate("winners")[1] + found.fate("others")[1] == 24
