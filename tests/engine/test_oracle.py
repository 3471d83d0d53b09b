from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch

from engine.config.experiment import with_value
from engine.core.generators import seeded
from engine.core.measurement import Measurement
from engine.core.slices import finish
from engine.data.sparse_stream import SparseCoding
from engine.probes import oracle
from tests.tiny_runs import tiny_config

CPU = torch.device("cpu")


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> SparseCoding:
    monkeypatch.setattr(oracle, "FIT_SIZE", 300)
    knobs = with_value(tiny_config(), "world.d", 25).world
    return SparseCoding.draw(knobs, seeded(0, "world"), CPU)


def test_the_ideal_network_by_its_formula(world: SparseCoding) -> None:
    x, _ = world.sample(50, seeded(1, "x"))
    u = x @ world.dictionary
    expected = (world.target * torch.sign(u) * (u.abs() - 0.1).clamp_min(0)).sum(1)
    assert torch.allclose(oracle.network(world, 0.1).logits(x), expected, atol=1e-5)


def test_the_best_bias_beats_others_on_held_out_samples(world: SparseCoding) -> None:
    x, y = world.sample(500, seeded(2, "held out"))
    protocol = Measurement("pgd", "l2", 0.25, 20, 1, 500)
    (found,) = finish(oracle.measure(world, 0, x, y, [protocol]))
    assert 0 <= found.bias <= 1 / math.sqrt(3)
    assert found.measured.protocol == protocol
    for bias in (0.0, 0.3, 0.5):
        other = finish(
            oracle.accuracy(oracle.network(world, bias), x, y, protocol, world.dense_direction, seeded(0, "a"))
        )
        assert found.measured.accuracy >= other.accuracy - 0.03
    assert found.measured.accuracy > 0.5


def test_a_larger_radius_leaves_the_oracle_less(world: SparseCoding) -> None:
    x, y = world.sample(400, seeded(2, "held out"))
    protocols = [Measurement("pgd", "l2", tau, 10, 1, 400) for tau in (0.0, 0.1, 0.2, 0.4, 3.0)]
    accuracies = [c.measured.accuracy for c in finish(oracle.measure(world, 0, x, y, protocols))]
    assert accuracies[0] >= 0.99
    assert accuracies[-1] == 0
    assert all(later <= earlier + 0.02 for earlier, later in pairwise(accuracies))


def test_cached_by_everything_that_matters(world: SparseCoding, monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = world.sample(100, seeded(2, "held out"))
    protocol = Measurement("pgd", "l2", 0.2, 5, 1, 100)
    cache: oracle.Cache = {}
    first = finish(oracle.measure(world, 0, x, y, [protocol], cache))
    filled = len(cache)
    calls = []
    real = oracle.accuracy
    monkeypatch.setattr(oracle, "accuracy", lambda *a: calls.append(a) or real(*a))
    assert finish(oracle.measure(world, 0, x, y, [protocol], cache)) == first
    assert not calls
    assert len(cache) == filled
    other = SparseCoding.draw(world.knobs, seeded(1, "world"), CPU)
    for changed in (
        lambda: oracle.measure(other, 0, x, y, [protocol], cache),
        lambda: oracle.measure(world, 1, x, y, [protocol], cache),
        lambda: oracle.measure(world, 0, x + 0.1, y, [protocol], cache),
        lambda: oracle.measure(world, 0, x, y, [Measurement("pgd", "l2", 0.1, 5, 1, 100)], cache),
        lambda: oracle.measure(world, 0, x, y, [Measurement("pgd", "linf", 0.2, 5, 1, 100)], cache),
        lambda: oracle.measure(world, 0, x, y, [Measurement("pgd", "l2", 0.2, 6, 1, 100)], cache),
    ):
        calls.clear()
        finish(changed())
        assert calls


def test_deterministic_and_in_slices(world: SparseCoding) -> None:
    assert finish(oracle.best_bias(world, 0, "l2", 0.2)) == finish(oracle.best_bias(world, 0, "l2", 0.2))
    slices = oracle.best_bias(world, 0, "l2", 0.2)
    for _ in range(20):
        next(slices)
    slices.close()


def test_the_cache_tells_everything_apart_that_decides() -> None:
    world = SparseCoding.draw(tiny_config().world, seeded(0, "world"), torch.device("cpu"))
    other = SparseCoding.draw(tiny_config().world, seeded(1, "world"), torch.device("cpu"))
    sample = torch.zeros(3, 16)
    keys = [
        oracle.key(world, 0, "l2 100", 0.2, sample), oracle.key(world, 1, "l2 100", 0.2, sample),
        oracle.key(world, 0, "linf 100", 0.2, sample), oracle.key(world, 0, "l2 100", 0.25, sample),
        oracle.key(world, 0, "l2 100", 0.2, sample + 1), oracle.key(other, 0, "l2 100", 0.2, sample),
    ]  # fmt: skip
    assert len(set(keys)) == len(keys)
    assert keys[0] == oracle.key(world, 0, "l2 100", 0.2, sample.clone())
