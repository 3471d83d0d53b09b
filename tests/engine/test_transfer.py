from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
import torch
from torch import Tensor

from engine import worlds
from engine.core.errors import ConfigError
from engine.core.generators import seeded
from engine.core.measurement import Measurement, wilson
from engine.core.slices import finish
from engine.data.sparse_coding import SparseCodingWorld
from engine.data.sparse_stream import SparseCoding
from engine.models.symmetric_relu import SymmetricRelu
from engine.probes import oracle, robustness
from engine.probes.transfer import transfer
from engine.studies.transfer import CLEAN, NOW, OTHER, between_phases_and_starts, other_start
from engine.theory.training import retrain
from tests.tiny_runs import advance, tiny_config

T = TypeVar("T")
N = 300
FGM, PGD = Measurement("fgm", "l2", 0.2, 1, 1, N), Measurement("pgd", "l2", 0.2, 4, 3, N)


def end(slices: Generator[float, None, T]) -> T:
    """Run to the end; what is yielded on the way never falls and stays within 0 and 1."""
    seen = [0.0]
    while True:
        try:
            seen.append(next(slices))
        except StopIteration as stop:
            assert seen == sorted(seen)
            assert seen[-1] <= 1
            result: T = stop.value
            return result


@pytest.fixture
def world() -> SparseCoding:
    return SparseCoding.draw(SparseCodingWorld(d=64), torch.Generator().manual_seed(3), torch.device("cpu"))


@pytest.fixture
def sample(world: SparseCoding, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    return world.sample(N, generator)


@pytest.fixture
def nets(world: SparseCoding, generator: torch.Generator) -> dict[str, SymmetricRelu]:
    ideal = oracle.network(world, 0.2)
    mixed = ideal.weight + 0.6 * world.dense_direction + 0.05 * torch.randn(64, 64, generator=generator)
    return {"pure": ideal, "mixed": SymmetricRelu(mixed, 0.2), "random": SymmetricRelu(torch.randn(9, 64), 0.1)}


@pytest.mark.parametrize("protocol", [FGM, PGD, Measurement("dense", "l2", 0.2, 0, 0, N)], ids=lambda p: p.attack)
def test_a_net_s_own_perturbations_are_the_white_box_attack(
    world: SparseCoding, nets: dict[str, SymmetricRelu], sample: tuple[Tensor, Tensor], protocol: Measurement
) -> None:
    found = end(transfer(nets, *sample, protocol, world.dense_direction, seed=7))
    for index, (name, net) in enumerate(nets.items()):
        draws = seeded(7, f"transfer {name}", "cpu")
        white = finish(robustness.accuracy(net, *sample, protocol, world.dense_direction, draws))
        assert found.right[index, index] == white.right
        assert found.accuracy(name, name) == white.accuracy
        assert found.clean[index] == int((net.margin(*sample) > 0).sum())
    assert (found.right <= found.clean[None, :]).all()


def test_between_nets(world: SparseCoding, nets: dict[str, SymmetricRelu], sample: tuple[Tensor, Tensor]) -> None:
    x, y = sample
    found = end(transfer(nets, x, y, FGM, world.dense_direction, seed=0))
    delta = robustness.build(FGM, None)(nets["mixed"], x, y, torch.Generator()).clone()  # type: ignore[misc]
    right = (nets["pure"].margin(x + delta, y) > 0) & (nets["pure"].margin(x, y) > 0)
    assert found.accuracy("mixed", "pure") == int(right.sum()) / N
    assert found.interval("mixed", "pure") == wilson(int(right.sum()), N)
    assert found.accuracy("mixed", "pure") > found.accuracy("mixed", "mixed")
    assert found.nets == ("pure", "mixed", "random")
    assert found.protocol == FGM
    assert not found.right.flags.writeable
    again = end(transfer(nets, x, y, PGD, world.dense_direction, seed=0))
    same = end(transfer(nets, x, y, PGD, world.dense_direction, seed=0))
    assert np.array_equal(again.right, same.right)


def test_without_an_attack_every_row_is_the_clean_one(
    world: SparseCoding, nets: dict[str, SymmetricRelu], sample: tuple[Tensor, Tensor]
) -> None:
    found = end(transfer(nets, *sample, Measurement("clean", "l2", 0.0, 0, 0, N), world.dense_direction, seed=0))
    assert (found.right == found.clean).all()


def test_training_without_a_record_is_the_session_s(tmp_path: Path) -> None:
    config = tiny_config()
    session = worlds.create(config, tmp_path / "run")
    start = session.model.weight.clone()
    advance(session, 39)
    session.close()
    model = end(retrain(config, session.world, start, "clean", 0, 39, "", config.seed))
    assert torch.equal(model.weight, session.model.weight)
    assert model.bias == session.bias_at(39)


def test_a_clean_net_from_another_start(tmp_path: Path) -> None:
    config = tiny_config()
    session = worlds.create(config, tmp_path / "run")
    advance(session, 60)
    session.close()
    assert session.weight_clean is not None
    before = session.weight_clean.clone()
    other = end(other_start(config, session.world, 40))
    again = end(other_start(config, session.world, 40))
    assert torch.equal(other.weight, again.weight)
    assert torch.equal(session.weight_clean, before)
    cosine = torch.nn.functional.cosine_similarity(other.weight.flatten(), before.flatten(), dim=0)
    assert abs(float(cosine)) < 0.95
    with pytest.raises(ConfigError, match="clean_steps"):
        next(other_start(config, session.world, 0))
    x, y = session.held_out.take(64, config.world.sigma_x)
    clean = SymmetricRelu(session.weight_clean, session.bias_at(session.clean_step))
    protocol = Measurement("fgm", "l2", 0.2, 1, 1, 64)
    found = end(
        between_phases_and_starts(config, session.world, clean, session.model, session.clean_step, x, y, protocol)
    )
    assert found.nets == (CLEAN, NOW, OTHER)
    assert found.clean[2] == int((other.margin(x, y) > 0).sum())


def test_the_step_at_which_clean_training_ended_survives_a_resume(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    session = worlds.create(tiny_config(), folder)
    assert session.clean_step == 0
    advance(session, 45)
    assert session.clean_step == 40
    session.close()
    session = worlds.resume(folder)
    assert session.clean_step == 40
    session.close()
