from __future__ import annotations

import math

import pytest
import torch

from engine.core.errors import ConfigError
from engine.core.generators import seeded
from engine.data.sparse_coding import SparseCodingWorld
from engine.data.sparse_stream import MARGIN, POOL, SparseCoding, Stream

CPU = torch.device("cpu")


def world(
    d: int = 16, k: float = 3.0, p_large: float = 1.0, sigma_x: float = 0.1, name: str = "random"
) -> SparseCoding:
    knobs = SparseCodingWorld(d=d, k=k, p_large=p_large, sigma_x=sigma_x, dictionary=name)  # type: ignore[arg-type]
    return SparseCoding.draw(knobs, torch.Generator().manual_seed(3), CPU)


def exact(d: int, k: float, p_large: float) -> dict[float, float]:
    """Probabilities of the values of one coordinate, SPEC.md section 1."""
    large = p_large / d
    small = (1 - large) * k / d
    out = {0.0: 1 - large - small}
    for size, p in ((1.0, large), (1 / math.sqrt(k), small)):
        for sign in (1, -1):
            out[round(sign * size, 5)] = out.get(round(sign * size, 5), 0.0) + p / 2
    return out


def assert_frequency(count: float, n: int, p: float) -> None:
    """A count lies within 4.5 standard deviations of its mean."""
    assert abs(count - n * p) <= 4.5 * math.sqrt(n * p * (1 - p)) + 1e-9, (count / n, p)


# Rejection changes the distribution, and only through <w*, z>: its exact law is checked without it, by restoring the
# rejected samples' share from the same enumeration.
@pytest.mark.parametrize(
    ("d", "k", "p_large"),
    [(64, 3.0, 1.0), (16, 3.0, 1.0), (9, 2.0, 0.0), (9, 8.9, 0.5), (4, 4.0, 4.0), (4, 4.0, 1.0), (16, 1.0, 1.0)],
)
def test_codes_have_the_exact_distribution(d: int, k: float, p_large: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.data.sparse_stream.MARGIN", -1.0)  # keep all: the law before rejection
    n = 40_000
    z = world(d, k, p_large).codes(n, torch.Generator().manual_seed(1))
    assert z.shape == (n, d)
    probabilities = exact(d, k, p_large)
    for column in (0, d // 2, d - 1):
        seen = z[:, column]
        for value, p in probabilities.items():
            assert_frequency(int((seen - value).abs().lt(1e-4).sum()), n, p)
    rounded = {round(v, 5) for v in z.unique().tolist()}
    assert rounded <= set(probabilities)


def test_neighbours_are_independent_also_over_the_end_of_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.data.sparse_stream.MARGIN", -1.0)
    d, n = 9, 60_000
    z = world(d, 3.0, 1.0).codes(n, torch.Generator().manual_seed(2))
    active = (z != 0).double()
    p = 1 - exact(d, 3.0, 1.0)[0.0]
    for first, second in ((active[:, 0], active[:, 1]), (active[:, 4], active[:, 5]), (active[:-1, 8], active[1:, 0])):
        assert_frequency(float((first * second).sum()), len(first), p * p)
    both = (z[:, 2] * z[:, 3]).sign()
    assert_frequency(int((both > 0).sum()), n, p * p / 2)  # signs are independent, too
    counts = active.sum(1)
    assert float(counts.var()) == pytest.approx(d * p * (1 - p), rel=0.05)


def test_labels_are_the_sign_and_unclear_samples_are_thrown_away() -> None:
    w = world(9, 3.0, 1.0, name="identity")  # x is z itself
    x, y = w.noiseless(5000, torch.Generator().manual_seed(1))
    score = x @ w.target
    assert x.shape == (5000, 9)
    assert float(score.abs().min()) > MARGIN
    assert torch.equal(y, score.sign())
    assert set(y.unique().tolist()) == {-1.0, 1.0}
    assert_frequency(int((y > 0).sum()), 5000, 0.5)


def test_rejection_keeps_the_law_of_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """Accepted codes are distributed as all codes given a clear label."""
    w = world(9, 3.0, 1.0, name="identity")
    kept = w.codes(60_000, torch.Generator().manual_seed(5))
    monkeypatch.setattr("engine.data.sparse_stream.MARGIN", -1.0)
    everything = w.codes(60_000, torch.Generator().manual_seed(6))
    reference = everything[(everything @ w.target).abs() > 1e-3]
    assert len(kept) == pytest.approx(len(reference), rel=0.02)
    for size in range(1, 6):
        a, b = (((z != 0).sum(1) == size).double().mean() for z in (kept, reference))
        assert float(a) == pytest.approx(float(b), abs=0.015)


def test_the_noise_has_norm_sigma_x_and_the_signal_lies_in_the_dictionary() -> None:
    w = world(64, sigma_x=0.1)
    g = torch.Generator().manual_seed(1)
    state = g.get_state()
    signal, y = w.noiseless(4000, g)
    g.set_state(state)
    x, y_again = w.sample(4000, g)
    assert torch.equal(y, y_again)
    size = (x - signal).norm(dim=1)
    assert float(size.square().mean().sqrt()) == pytest.approx(0.1, rel=0.02)
    assert float((x - signal).mean()) == pytest.approx(0, abs=5 * 0.1 / math.sqrt(64 * 4000 * 64))
    code = signal @ w.dictionary
    assert {round(abs(v), 3) for v in code.unique().tolist()} <= {0.0, 1.0, round(1 / math.sqrt(3), 3)}
    quiet, _ = w.sample(100, torch.Generator().manual_seed(1), 0.0)
    assert torch.equal(quiet, w.noiseless(100, torch.Generator().manual_seed(1))[0])


def test_draw_is_a_sign_vector_and_an_orthonormal_dictionary() -> None:
    w = world(64)
    assert set(w.target.tolist()) == {-1.0, 1.0}
    assert float(w.dense_direction.norm()) == pytest.approx(1, abs=1e-5)
    assert torch.allclose(w.dictionary.T @ w.dense_direction * 8, w.target, atol=1e-4)


def test_a_world_without_labels_is_an_error_not_an_endless_loop() -> None:
    w = world(4, 0.5, 0.0)
    w.target.zero_()  # nothing has a label
    with pytest.raises(ConfigError, match=r"world\.k"):
        w.noiseless(10, torch.Generator().manual_seed(0))


def stream(w: SparseCoding) -> tuple[Stream, torch.Generator, torch.Generator]:
    pool, noise = seeded(0, "pool"), seeded(0, "input_noise")
    return Stream(w, pool, noise), pool, noise


def fill(s: Stream, n: int, d: int = 16, sigma_x: float = 0.1) -> tuple[torch.Tensor, torch.Tensor]:
    x, y = torch.empty(n, d), torch.empty(n)
    s.fill(x, y, sigma_x)
    return x, y


def test_a_stream_hands_out_the_pool_whatever_the_batch_sizes() -> None:
    w = world()
    one, _, _ = stream(w)
    x, y = fill(one, 2 * POOL + 10, sigma_x=0.0)
    other, _, _ = stream(w)
    sizes = [1, 255, 32, POOL - 1, 500, POOL]
    sizes.append(2 * POOL + 10 - sum(sizes))
    parts = [fill(other, n, sigma_x=0.0) for n in sizes if n > 0]
    assert torch.equal(torch.cat([p[0] for p in parts])[: len(x)], x[: sum(sizes)])
    assert torch.equal(torch.cat([p[1] for p in parts])[: len(y)], y[: sum(sizes)])
    expected, labels = w.noiseless(POOL, seeded(0, "pool"))
    assert torch.equal(x[:POOL], expected)
    assert torch.equal(y[:POOL], labels)


def test_batches_are_fresh() -> None:
    s, _, _ = stream(world())
    a, b = fill(s, 64)[0], fill(s, 64)[0]
    assert not torch.equal(a, b)
    rows = torch.cat([fill(s, POOL)[0] for _ in range(2)])
    assert len(rows.unique(dim=0)) == 2 * POOL


@pytest.mark.parametrize("taken", [0, 1, 100, POOL - 1, POOL, POOL + 1, 2 * POOL, 2 * POOL + 77])
def test_seek_comes_back_to_the_same_place(taken: int) -> None:
    w = world()
    s, _, noise = stream(w)
    done = 0
    while done < taken:
        n = min(300, taken - done)
        fill(s, n)
        done += n
    pool_state, position, noise_state = s.pool_state.clone(), s.position, noise.get_state()
    ahead = [fill(s, n) for n in (33, POOL, 5)]
    pool_again, noise_again = torch.Generator(), torch.Generator()
    pool_again.set_state(pool_state)
    noise_again.set_state(noise_state)
    back = Stream(w, pool_again, noise_again)
    back.seek(position)
    for x, y in ahead:
        again = fill(back, len(y))
        assert torch.equal(again[0], x)
        assert torch.equal(again[1], y)
