from __future__ import annotations

import math

import pytest
import torch

from engine.attacks.fgm import Fgm
from engine.attacks.objectives.adversarial import training_attack
from engine.attacks.pgd import Pgd
from engine.attacks.threat import threats
from engine.config.experiment import Config
from engine.config.objectives import objectives
from engine.models.symmetric_relu import SymmetricRelu
from tests.tiny_runs import tiny_config

D, N = 16, 400
MODEL = SymmetricRelu(torch.randn(24, D, generator=torch.Generator().manual_seed(1)), 0.3)


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(2)
    return torch.randn(N, D, generator=g), torch.randint(0, 2, (N,), generator=g).float() * 2 - 1


def moved(objective: str, config: Config, seed: int = 0) -> torch.Tensor:
    """What the objective adds to the batch."""
    x, y = batch()
    objectives[objective].perturb(config, MODEL, x, y, torch.Generator().manual_seed(seed))
    assert torch.equal(y, batch()[1])
    return x - batch()[0]


def test_clean_leaves_the_batch_alone() -> None:
    assert torch.equal(moved("clean", tiny_config()), torch.zeros(N, D))


@pytest.mark.parametrize("noise", [0.0, 0.2, 2.0])
def test_gaussian_noise_has_norm_noise(noise: float) -> None:
    delta = moved("gaussian_noise", tiny_config(**{"training.noise": noise}))
    assert float(delta.square().sum(1).mean().sqrt()) == pytest.approx(noise, rel=0.03)
    assert float(delta.std()) == pytest.approx(noise / math.sqrt(D), rel=0.03)


@pytest.mark.parametrize("norm", ["l2", "linf"])
@pytest.mark.parametrize(
    "knobs", [{}, {"attack.steps": 3}, {"attack.restarts": 2}, {"attack.random_start": True, "attack.steps": 2}]
)
def test_adversarial_stays_in_the_ball_and_hurts(norm: str, knobs: dict[str, object]) -> None:
    config = tiny_config(**{"attack.norm": norm, "attack.tau": 0.3, **knobs})
    x, y = batch()
    delta = moved("adversarial", config)
    assert (threats[norm].size(delta) <= 0.3 + 1e-5).all()
    assert float((MODEL.margin(x + delta, y) - MODEL.margin(x, y)).mean()) < -0.5


def test_adversarial_without_a_radius_is_clean() -> None:
    assert torch.equal(moved("adversarial", tiny_config(**{"attack.tau": 0.0})), torch.zeros(N, D))


def test_one_step_from_x_is_fgm_else_pgd() -> None:
    attack = training_attack(tiny_config().attack)
    assert isinstance(attack, Fgm)
    assert attack.tau == 0.2
    for knob in ({"attack.steps": 2}, {"attack.restarts": 2}, {"attack.random_start": True}):
        attack = training_attack(tiny_config(**knob).attack)
        assert isinstance(attack, Pgd)
        assert not attack.skip_fooled  # each row keeps its own noise
    attack = training_attack(tiny_config(**{"attack.steps": 3, "attack.restarts": 4, "random_start": True}).attack)
    assert isinstance(attack, Pgd)
    assert (attack.steps, attack.restarts, attack.random_start) == (3, 4, True)
