from __future__ import annotations

import math
from dataclasses import fields

import numpy as np
import pytest
import torch
from torch import Tensor

from engine.core import metrics
from engine.core.arrays import frozen
from engine.core.errors import ConfigError
from engine.core.generators import seeded
from engine.core.measurement import Measurement
from engine.data.dictionaries import dictionaries
from engine.models.symmetric_relu import SymmetricRelu
from engine.probes import mixture, principle1, robustness, sparsity
from engine.theory.evaluation import HeldOut, Request, evaluate
from tests.tiny_runs import tiny_config

D, M = 16, 24


@pytest.fixture
def dictionary() -> Tensor:
    return dictionaries["random"](D, torch.Generator().manual_seed(3))


@pytest.fixture
def target() -> Tensor:
    return torch.randint(0, 2, (D,), generator=torch.Generator().manual_seed(4)).float() * 2 - 1


def weights(seed: int = 5) -> Tensor:
    return torch.randn(M, D, generator=torch.Generator().manual_seed(seed))


def test_frozen_is_a_read_only_copy() -> None:
    tensor = torch.zeros(3)
    array = frozen(tensor)
    tensor.add_(1)
    assert array.tolist() == [0, 0, 0]
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 1


def test_mixture_neuron_by_neuron(dictionary: Tensor, target: Tensor) -> None:
    """SPEC.md section 4, one neuron at a time, in numpy."""
    weight = weights() * torch.linspace(0.05, 1, M).unsqueeze(1)
    found = mixture.mixture(weight, dictionary, target)
    W, dense = weight.double().numpy(), target.double().numpy()
    C = W @ dictionary.double().numpy()
    largest = max(np.linalg.norm(w) for w in W)
    for i in range(M):
        j = int(np.argmax(np.abs(C[i])))
        v = C[i].copy()
        v[j] = 0
        size = np.linalg.norm(C[i])
        expected = {
            "feature": j,
            "pure": abs(C[i, j]),
            "mixture": np.linalg.norm(v),
            "relative": np.linalg.norm(v) / size,
            "purity": abs(C[i, j]) / size,
            "dense_alignment": abs(v @ dense) / (np.linalg.norm(dense) * size),
            "norm": np.linalg.norm(W[i]),
            "alive": np.linalg.norm(W[i]) > 0.3 * largest,
        }
        assert set(expected) == {f.name for f in fields(found)}
        for name, value in expected.items():
            assert getattr(found, name)[i] == pytest.approx(value, rel=1e-4, abs=1e-6), name


def test_mixture_of_extremes(dictionary: Tensor, target: Tensor) -> None:
    pure, dense, dead = dictionary[:, 5] * -2, dictionary @ target, torch.zeros(D)
    found = mixture.mixture(torch.stack([pure, dense, dead]), dictionary, target)
    assert found.feature[0] == 5
    assert found.purity[0] == pytest.approx(1, abs=1e-5)
    assert found.mixture[0] == pytest.approx(0, abs=1e-5)
    assert found.purity[1] == pytest.approx(1 / math.sqrt(D), abs=1e-5)
    assert found.dense_alignment[1] == pytest.approx((D - 1) / D, abs=1e-5)
    assert found.alive.tolist() == [True, True, False]
    for name in ("pure", "mixture", "purity", "relative", "dense_alignment"):
        assert np.isfinite(getattr(found, name)).all()
    for name in (f.name for f in fields(found)):
        assert not getattr(found, name).flags.writeable


def test_mixture_scalars_are_over_alive_neurons(dictionary: Tensor, target: Tensor) -> None:
    weight = weights()
    weight[:10] *= 0.01
    found = mixture.mixture(weight, dictionary, target)
    scalars = mixture.scalars(found)
    assert scalars[metrics.ALIVE] == 14
    assert scalars[metrics.mixture("purity", "mean")] == pytest.approx(found.purity[10:].mean(), rel=1e-6)
    assert scalars[metrics.mixture("purity", "median")] == pytest.approx(np.median(found.purity[10:]), rel=1e-6)
    assert scalars[metrics.mixture("magnitude", "q90")] == pytest.approx(np.quantile(found.mixture[10:], 0.9), rel=1e-5)
    assert set(scalars) == {metrics.ALIVE, metrics.SMALL} | {
        metrics.mixture(q, s) for q in metrics.MIXTURE_QUANTITIES for s in metrics.SUMMARIES
    }


def test_mixture_scalars_without_an_alive_neuron(dictionary: Tensor, target: Tensor) -> None:
    scalars = mixture.scalars(mixture.mixture(torch.zeros(M, D), dictionary, target))
    assert scalars[metrics.ALIVE] == 0
    assert math.isnan(scalars[metrics.mixture("purity", "mean")])


def test_principle1_neuron_by_neuron() -> None:
    start, clean, now = weights(1), weights(2) * torch.linspace(0.1, 1, M).unsqueeze(1), weights(3)
    found = principle1.principle1(start, clean, now)

    def cosine(a: np.ndarray, b: np.ndarray) -> float:
        return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))

    sizes = clean.norm(dim=1)
    for i in range(M):
        w0, w, w1 = (t[i].double().numpy() for t in (start, clean, now))
        beta = w @ w1 / (w1 @ w1)
        assert found.cos_start_clean[i] == pytest.approx(cosine(w0, w), abs=1e-5)
        assert found.cos_start_now[i] == pytest.approx(cosine(w0, w1), abs=1e-5)
        assert found.cos_clean_now[i] == pytest.approx(cosine(w, w1), abs=1e-5)
        assert found.beta[i] == pytest.approx(beta, abs=1e-5)
        assert found.pure_part[i] == pytest.approx(np.linalg.norm(beta * w1), rel=1e-4)
        assert found.rest[i] == pytest.approx(np.linalg.norm(w - beta * w1), rel=1e-4)
        assert found.alive[i] == (sizes[i] > 0.3 * sizes.max())
    scalars = principle1.scalars(found)
    assert tuple(scalars) == metrics.PRINCIPLE1
    alive = found.alive
    assert scalars["principle1/cos_clean_now"] == pytest.approx(found.cos_clean_now[alive].mean(), rel=1e-5)
    assert scalars["principle1/share"] == pytest.approx((found.pure_part > found.rest)[alive].mean())


def test_principle1_of_extremes() -> None:
    w = weights()
    same = principle1.principle1(w, w, w)
    assert same.cos_start_clean == pytest.approx(np.ones(M), abs=1e-5)
    assert same.beta == pytest.approx(np.ones(M), abs=1e-5)
    assert principle1.scalars(same)["principle1/share"] == 1.0
    dead = principle1.principle1(w, w, torch.zeros(M, D))
    assert np.isfinite(dead.cos_clean_now).all()
    assert math.isnan(principle1.scalars(principle1.principle1(w, torch.zeros(M, D), w))["principle1/share"])


def test_sparsity_counts() -> None:
    model, x = SymmetricRelu(weights(), 1.0), torch.randn(600, D, generator=torch.Generator().manual_seed(1))
    found = sparsity.sparsity(model, x)
    expected = ((x @ model.weight.T).abs() > 1.0).double().mean(0)
    assert found.n == 600
    assert found.per_neuron == pytest.approx(expected.numpy(), abs=1e-6)
    assert sparsity.scalars(found)[metrics.ACTIVE_SHARE] == pytest.approx(float(expected.mean()), abs=1e-6)


@pytest.fixture
def world() -> tuple[HeldOut, SymmetricRelu]:
    from engine.data.sparse_stream import SparseCoding

    config = tiny_config()
    world = SparseCoding.draw(config.world, seeded(0, "world"), torch.device("cpu"))
    # Features with a dense mixture: accurate, and fragile.
    weight = (world.dictionary * world.target + 0.25 * (world.dictionary @ world.target).unsqueeze(1)).T.contiguous()
    return HeldOut(world, 0), SymmetricRelu(weight, 0.2)


def test_the_held_out_sample_is_fixed_and_a_smaller_one_begins_a_larger_one(
    world: tuple[HeldOut, SymmetricRelu],
) -> None:
    held, _ = world
    x, y = held.take(300, 0.1)
    more, labels = HeldOut(held.world, 0).take(2500, 0.1)
    assert more.shape == (2500, D)
    assert torch.equal(more[:300], x)
    assert torch.equal(labels[:300], y)
    quiet, same = held.take(300, 0.0)
    assert torch.equal(same, y)
    assert not torch.equal(quiet, x)
    assert torch.equal(held.take(300, 0.1)[0], x)
    assert not torch.equal(HeldOut(held.world, 1).take(300, 0.1)[0], x)


def measure(world: tuple[HeldOut, SymmetricRelu], protocol: Measurement) -> tuple[robustness.Measured, int]:
    held, model = world
    x, y = held.take(protocol.n, 0.1)
    slices = robustness.accuracy(model, x, y, protocol, held.world.dense_direction, seeded(0, "test"))
    count = 0
    while True:
        try:
            next(slices)
            count += 1
        except StopIteration as stop:
            return stop.value, count


def test_accuracies_by_hand(world: tuple[HeldOut, SymmetricRelu]) -> None:
    held, model = world
    n = 700  # not a multiple of the chunk
    x, y = held.take(n, 0.1)
    right = model.margin(x, y) > 0
    clean, slices = measure(world, Measurement("clean", "l2", 0, 0, 0, n))
    assert clean.right == int(right.sum())
    assert clean.accuracy == clean.right / n
    assert slices == math.ceil(n / robustness.CHUNK)

    step = model.input_gradient(x, y).clone()
    delta = 0.3 * step / step.norm(dim=1, keepdim=True)
    fgm, _ = measure(world, Measurement("fgm", "l2", 0.3, 1, 1, n))
    assert fgm.right == int((right & (model.margin(x + delta, y) > 0)).sum())

    dense, _ = measure(world, Measurement("dense", "l2", 0.3, 0, 0, n))
    away = -y.unsqueeze(1) * 0.3 * held.world.dense_direction
    assert dense.right == int((right & (model.margin(x + away, y) > 0)).sum())
    assert dense.accuracy < clean.accuracy

    pgd, slices = measure(world, Measurement("pgd", "l2", 0.3, 20, 3, n))
    assert pgd.right <= fgm.right
    assert slices <= robustness.slice_count([pgd.protocol])
    assert pgd.protocol.n == n


@pytest.mark.parametrize("attack", ["clean", "fgm", "pgd", "dense"])
@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_at_radius_zero_every_accuracy_is_the_clean_one(
    world: tuple[HeldOut, SymmetricRelu], attack: str, norm: str
) -> None:
    clean, _ = measure(world, Measurement("clean", "l2", 0, 0, 0, 500))
    zero, _ = measure(world, Measurement(attack, norm, 0.0, 3, 2, 500))
    assert zero.right == clean.right


def test_a_network_that_is_always_wrong(world: tuple[HeldOut, SymmetricRelu]) -> None:
    held, model = world
    wrong = SymmetricRelu(-model.weight, 0.2)
    found, _ = measure((held, SymmetricRelu(wrong.weight * 10, 0.0)), Measurement("pgd", "l2", 0.2, 5, 2, 100))
    assert found.right <= 1


def test_an_unknown_attack_is_refused() -> None:
    with pytest.raises(ConfigError, match="attack: got 'cw'; allowed: fgm, dense, pgd"):
        robustness.build(Measurement("cw", "l2", 0.1, 1, 1, 10), None)


def test_alignment_by_hand(world: tuple[HeldOut, SymmetricRelu]) -> None:
    held, model = world
    x, y = held.take(600, 0.1)
    direction = held.world.dense_direction
    code = (
        model.input_gradient(x, y).clone()
    ) @ held.world.dictionary  # in the dictionary, as SPEC.md section 9 says it
    cosine = torch.nn.functional.cosine_similarity(code, -y.unsqueeze(1) * held.world.target, dim=1)
    assert robustness.alignment(model, x, y, direction) == pytest.approx(float(cosine.mean()), abs=1e-4)
    everywhere = SymmetricRelu(direction.repeat(3, 1), 0.0)
    assert robustness.alignment(everywhere, x, y, direction) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("report", [False, True])
@pytest.mark.parametrize("ended", [False, True])
def test_an_evaluation_records_everything_once(world: tuple[HeldOut, SymmetricRelu], report: bool, ended: bool) -> None:
    held, model = world
    clean = model.weight if ended else None
    request = Request(7, report, tiny_config(), 0.2, model.weight, model.weight * 0.1, clean)
    seen: list[tuple[int, str, float]] = []
    protocols: dict[str, Measurement] = {}
    slices = 0
    job = evaluate(
        request, held, lambda *row: seen.append(row), lambda step, name, protocol: protocols.update({name: protocol})
    )
    for _ in job:
        slices += 1
    assert slices > 1
    if request.certified() is None:
        assert slices <= request.slices()
    prefix = metrics.REPORT if report else ""
    expected = [*metrics.ACCURACIES, metrics.ALIGNMENT, metrics.COORDINATES90, metrics.ALIVE, metrics.ACTIVE_SHARE]
    expected += [metrics.mixture(q, s) for q in metrics.MIXTURE_QUANTITIES for s in metrics.SUMMARIES]
    expected += [metrics.SMALL, metrics.HELD, metrics.REPRESENTED, metrics.MIXED]
    ranks = (metrics.EFFECTIVE_RANK, metrics.PARTICIPATION, *([metrics.CHANGE_RANK] if ended else []))
    expected += [metrics.layer(metrics.HIDDEN, rank) for rank in ranks]
    expected += [*metrics.PRINCIPLE1, metrics.KEPT] if ended else []
    expected += [metrics.CERTIFIED] if report else []  # step 7 is not its turn, a report always is
    names = [name for _, name, _ in seen]
    assert sorted(names) == sorted(prefix + name for name in expected)
    assert {step for step, _, _ in seen} == {7}
    found = {name.removeprefix(prefix): value for _, name, value in seen}
    if report:
        assert found[metrics.CERTIFIED] <= found[metrics.PGD]
        assert protocols[prefix + metrics.CERTIFIED].n == protocols[prefix + metrics.PGD].n
    carried = {*metrics.ACCURACIES, *([metrics.CERTIFIED] if report else [])}
    assert set(protocols) == {prefix + name for name in carried}
    pgd = protocols[prefix + metrics.PGD]
    assert (pgd.steps, pgd.restarts, pgd.n) == ((4, 2, 48) if report else (3, 1, 32))
    assert pgd.estimate is not report
    assert pgd.tau == 0.2
