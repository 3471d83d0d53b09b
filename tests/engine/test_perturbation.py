from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from engine.core import metrics
from engine.core.measurement import Measurement
from engine.core.results import Perturbations
from engine.core.slices import finish
from engine.data.sparse_coding import SparseCodingWorld
from engine.data.sparse_stream import SparseCoding
from engine.models.symmetric_relu import SymmetricRelu
from engine.probes import oracle, perturbation, robustness
from engine.run.session import Session
from tests.tiny_runs import advance, run, tiny_config, values

D, TAU = 64, 0.2


@pytest.fixture
def world() -> SparseCoding:
    return SparseCoding.draw(SparseCodingWorld(d=D), torch.Generator().manual_seed(3), torch.device("cpu"))


@pytest.fixture
def sample(world: SparseCoding, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    return world.sample(300, generator)


def of(
    model: SymmetricRelu, world: SparseCoding, x: Tensor, y: Tensor, attack: str = "fgm", norm: str = "l2"
) -> Perturbations:
    steps = 1 if attack == "fgm" else 5
    return finish(perturbation.perturbations(model, world, x, y, Measurement(attack, norm, TAU, steps, 1, len(y))))


def test_of_a_dense_network_it_is_the_dense_mixture(world: SparseCoding, sample: tuple[Tensor, Tensor]) -> None:
    dense = SymmetricRelu(world.dense_direction.repeat(5, 1), 0.0)
    for attack in ("fgm", "pgd"):
        found = of(dense, world, *sample, attack=attack)
        assert found.cosine == pytest.approx(1, abs=1e-5)
        assert (found.coordinates90 == np.ceil(0.9 * D)).all()  # 58 of 64 equal coordinates


def test_of_a_pure_network_it_is_the_features_that_are_there(
    world: SparseCoding, sample: tuple[Tensor, Tensor]
) -> None:
    x, y = sample
    pure = oracle.network(world, 0.3)
    found = of(pure, world, x, y)
    on = (x @ world.dictionary).abs() > 0.3  # each active neuron adds its own feature, all of one size
    count = on.sum(1)
    expected = torch.where(count > 0, count.sqrt() / D**0.5, 0.0)
    assert found.cosine == pytest.approx(expected.numpy(), abs=1e-4)
    assert found.coordinates90.tolist() == torch.ceil(0.9 * count - 1e-4).long().tolist()
    assert 2 < found.mean_coordinates90 < 6
    assert found.mean_cosine == pytest.approx(float(expected.mean()), abs=1e-4)


def test_without_a_gradient_there_is_nothing(world: SparseCoding, sample: tuple[Tensor, Tensor]) -> None:
    found = of(SymmetricRelu(torch.randn(5, D), 1e3), world, *sample)
    assert not found.cosine.any()
    assert not found.coordinates90.any()
    assert not found.delta.any()


def test_the_examples(world: SparseCoding, sample: tuple[Tensor, Tensor], generator: torch.Generator) -> None:
    x, y = sample
    model = SymmetricRelu(torch.randn(30, D, generator=generator) * 0.3, 0.1)
    found = of(model, world, x, y)
    k = perturbation.EXAMPLES
    shapes = {"x": (k, D), "delta": (k, D), "y": (k,), "before": (k,), "after": (k,), "coefficients": (k, D)}
    for name, shape in shapes.items():
        array = getattr(found, name)
        assert array.shape == shape, name
        assert not array.flags.writeable, name
    assert np.linalg.norm(found.delta, axis=1) == pytest.approx(TAU, abs=1e-5)
    assert found.coefficients == pytest.approx(found.delta @ world.dictionary.numpy(), abs=1e-6)
    assert np.array_equal(found.x, x[:k].numpy())
    assert np.array_equal(found.before, model.margin(x[:k], y[:k]).numpy())
    assert found.after == pytest.approx(
        model.margin(x[:k] + torch.from_numpy(found.delta.copy()), y[:k]).numpy(), abs=1e-5
    )
    assert (found.after < found.before).all()
    cosine = (found.coefficients @ world.target.numpy()) * -found.y / (TAU * D**0.5)
    assert found.cosine[:k] == pytest.approx(cosine, abs=1e-5)
    assert found.protocol.n == 300


def test_linf(world: SparseCoding, sample: tuple[Tensor, Tensor], generator: torch.Generator) -> None:
    model = SymmetricRelu(torch.randn(30, D, generator=generator), 0.1)
    assert np.abs(of(model, world, *sample, norm="linf").delta) == pytest.approx(TAU, abs=1e-6)


def test_only_an_attack_has_an_anatomy(world: SparseCoding, sample: tuple[Tensor, Tensor]) -> None:
    with pytest.raises(ValueError, match="needs an attack"):
        of(oracle.network(world, 0.3), world, *sample, attack="clean")


def test_scalars_agree_with_the_record(world: SparseCoding, sample: tuple[Tensor, Tensor]) -> None:
    model = SymmetricRelu(torch.randn(30, D, generator=torch.Generator().manual_seed(5)) * 0.3, 0.1)
    found = of(model, world, *sample)
    assert perturbation.scalars(model, world, *sample) == {metrics.COORDINATES90: found.mean_coordinates90}
    aligned = robustness.alignment(model, *sample, world.dense_direction)
    assert found.mean_cosine == pytest.approx(aligned, abs=1e-5)


def test_in_a_session(new_session: Callable[..., Session], tmp_path: Path) -> None:
    session = new_session()
    advance(session, 20)
    found = session.snapshot(frozenset({Perturbations})).get(Perturbations)
    assert found is not None
    assert found.protocol == Measurement("fgm", "l2", 0.2, 1, 1, perturbation.SIZE, estimate=True)
    record = run(tiny_config(), tmp_path / "run")
    assert values(record.metrics, metrics.COORDINATES90).keys() == values(record.metrics, metrics.ALIGNMENT).keys()
    report = values(record.metrics, metrics.REPORT + metrics.COORDINATES90)
    assert set(report) == {40, 80}
    assert all(1 <= value <= 16 for value in report.values())
