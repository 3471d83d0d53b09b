"""TRADES and smoothed adversarial training: their losses and gradients against autograd, their limits, and a run."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, kl_div, logsigmoid, softplus

from engine import worlds
from engine.attacks.objectives.trades import (
    ClassDivergence,
    LogitDivergence,
    Trades,
    class_divergence,
    logit_divergence,
)
from engine.attacks.threat import threats
from engine.config.experiment import Config
from engine.config.objectives import objectives
from engine.core.errors import ConfigError
from engine.core.generators import seeded
from engine.core.slices import finish
from engine.data.images import BOX
from engine.data.sparse_stream import SparseCoding
from engine.images.config import ImageConfig
from engine.images.data import load
from engine.images.training import ImageTrainer
from engine.images.training import start as started
from engine.models.classifier import ImageClassifier
from engine.models.low_rank import Factors
from engine.models.symmetric_relu import NoisyRelu, Partner, SymmetricRelu
from engine.run.commands import SetKnob, SwitchPhase
from engine.studies.baseline_training import run_baselines
from engine.studies.clean_end import CleanEnd
from engine.theory.config import sparse_coding
from engine.theory.training import initial_weight, retrain
from tests.engine.test_local_study import make
from tests.tiny_image_runs import tiny_images
from tests.tiny_runs import Plan, advance, assert_same, drain, read, run, tiny_config

BETA, BIAS, SIGMA, LR, DECAY, M, D, N = 3.0, 0.2, 0.1, 0.7, 1e-2, 20, 12, 40


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def labels(n: int = N) -> Tensor:
    return drawn(n, seed=9).sign()


def noisy(weight: Tensor) -> NoisyRelu:
    model = NoisyRelu(SymmetricRelu(weight.clone(), BIAS))
    model.draw(N, SIGMA, torch.Generator().manual_seed(1))
    return model


def answers(weight: Tensor, x: Tensor, noise: Tensor) -> Tensor:
    """f(x; ρ) as SPEC.md section 2 writes it, ``noise`` being ρ − b."""
    u = x @ weight.T
    return (torch.relu(u + noise) - torch.relu(-u + noise)).sum(1)


def divergence(plain: Tensor, moved: Tensor) -> Tensor:
    """KL of the two Bernoulli distributions, from its definition."""
    p, q = plain.sigmoid(), moved.sigmoid()
    return p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()


# --- the loss


def test_the_closed_form_of_one_logit_is_autograd() -> None:
    y = labels()
    with torch.enable_grad():
        plain, moved = (2 * drawn(N, seed=s).requires_grad_() for s in (1, 2))
        loss = -logsigmoid(y * plain) + BETA * divergence(plain, moved)
        slopes = torch.autograd.grad(loss.sum(), (plain, moved))
    found = Trades(BETA).of_logit(plain.detach(), moved.detach(), y)
    for ours, expected in zip(found, (loss.detach(), *slopes), strict=True):
        assert torch.allclose(ours, expected, rtol=1e-9, atol=1e-12)


def test_one_logit_is_two_classes() -> None:
    plain, moved, y = 2 * drawn(N, seed=1), 2 * drawn(N, seed=2), labels()
    two = [torch.stack([torch.zeros_like(f), f], 1) for f in (plain, moved)]
    assert torch.allclose(logit_divergence(plain, moved), class_divergence(two[0], two[1]), atol=1e-12)
    value = Trades(BETA).of_classes(two[0], two[1], (y > 0).long())
    assert torch.allclose(Trades(BETA).of_logit(plain, moved, y)[0], value, atol=1e-12)
    assert float(logit_divergence(plain, plain).abs().max()) < 1e-15
    assert float(logit_divergence(plain, moved).min()) > 0


def test_several_classes_are_cross_entropy_and_divergence() -> None:
    plain, moved, y = drawn(N, 5, seed=1), drawn(N, 5, seed=2), torch.arange(N) % 5
    kl = kl_div(moved.log_softmax(1), plain.log_softmax(1), reduction="none", log_target=True).sum(1)
    expected = cross_entropy(plain, y, reduction="none") + BETA * kl
    assert torch.allclose(Trades(BETA).of_classes(plain, moved, y), expected, atol=1e-12)


@pytest.mark.parametrize("decay", [0.0, DECAY])
def test_the_step_is_sgd_through_both_answers(decay: float) -> None:
    weight, x, moved, y = drawn(M, D), drawn(N, D, seed=3), drawn(N, D, seed=4), labels()
    model = noisy(weight)
    noise = model.model.buffers(N).noise.clone()
    with torch.enable_grad():
        leaf = weight.clone().requires_grad_()
        plain = answers(leaf, x, noise)
        losses = softplus(-y * plain) + BETA * divergence(plain, answers(leaf, moved, noise))
        norms = leaf.norm(dim=1)
        (gradient,) = torch.autograd.grad(losses.mean() + decay * (norms**2 / 2 + norms**3 / 3).sum(), leaf)
    found = model.sgd_step(moved.clone(), y, LR, decay, Partner(x.clone(), Trades(BETA)))
    assert torch.allclose(found.loss, losses.detach(), rtol=1e-8, atol=1e-10)
    assert torch.allclose(found.margin, y * plain.detach(), rtol=1e-12, atol=1e-12)
    assert torch.allclose(model.model.weight, weight - LR * gradient, rtol=1e-8, atol=1e-10)


def test_the_step_within_a_rank_is_the_full_one_seen_through_v() -> None:
    weight, x, moved, y = drawn(M, D), drawn(N, D, seed=3), drawn(N, D, seed=4), labels()
    factors = Factors.begin(weight, 2, 0, 0)
    assert factors is not None
    V = factors.V.clone()
    one, other = noisy(weight), noisy(weight)
    factors.sgd_step(one, moved.clone(), y, LR, 0, Partner(x, Trades(BETA)))
    other.sgd_step(moved.clone(), y, LR, 0, Partner(x, Trades(BETA)))
    assert torch.allclose(one.model.weight - weight, (other.model.weight - weight) @ V.T @ V, atol=1e-10)
    assert float((one.model.weight - weight).norm()) > 0.1


# --- what is trained on


@pytest.mark.parametrize("far", [0.0, 0.3])
def test_the_attack_climbs_the_divergence(far: float) -> None:
    weight, x, y = 0.2 * drawn(M, D), drawn(N, D, seed=3), labels()  # answers that are not saturated
    model = SymmetricRelu(weight, BIAS)
    nudge, point = 1e-3 * drawn(N, D, seed=5), x + far * drawn(N, D, seed=6)
    climbed = LogitDivergence(model, x, y, nudge)
    with torch.enable_grad():
        leaf = (point + nudge).requires_grad_()
        f = answers(weight, leaf, torch.full((N, M), -BIAS))
        (gradient,) = torch.autograd.grad(divergence(model.logits(x), f).sum(), leaf)
    found = climbed.input_gradient(point, y)
    assert float(torch.cosine_similarity(found, gradient).min()) > 1 - 1e-6
    assert torch.allclose(climbed.margin(point, y), -divergence(model.logits(x), model.logits(point)), atol=1e-10)
    unmoved = LogitDivergence(model, x, y, None).input_gradient(x, y)
    assert float(unmoved.abs().max()) == 0  # why the first one is taken beside x


def test_the_attack_climbs_the_divergence_of_classes() -> None:
    network = network_of(tiny_images(**{"model.name": "two_layer", "model.init_scale": 5.0}))
    x, y = torch.rand(8, 1, 8, 8, generator=seeded(0, "x")), torch.zeros(8, dtype=torch.long)
    point = x + 0.1 * torch.randn(x.shape, generator=seeded(0, "δ"))
    climbed = ClassDivergence(network, x, None)
    with torch.enable_grad():
        leaf = point.clone().requires_grad_()
        before = network.logits(x).softmax(1)
        loss = (before * (before.log() - network._forward(leaf).log_softmax(1))).sum()
        (gradient,) = torch.autograd.grad(loss, leaf)
    assert torch.allclose(climbed.input_gradient(point, y), gradient, atol=1e-6)
    assert float(climbed.margin(x, y).abs().max()) < 1e-6
    assert float(climbed.margin(point, y).max()) < 0


def network_of(config: ImageConfig) -> ImageClassifier:
    return ImageClassifier(started(config, load(config), torch.device("cpu")))


@pytest.mark.parametrize("norm", ["l2", "linf"])
@pytest.mark.parametrize(
    "knobs", [{}, {"attack.steps": 5}, {"attack.restarts": 3}, {"attack.random_start": True}], ids=str
)
def test_trades_moves_inside_the_ball_to_another_answer(norm: str, knobs: dict[str, object]) -> None:
    config = tiny_config(**{"attack.norm": norm, "attack.tau": 0.3, **knobs})
    model, x, y = SymmetricRelu(drawn(M, D).float(), BIAS), drawn(400, D, seed=3).float(), labels(400).float()
    moved, point = x.clone(), x.clone()
    objectives["trades"].perturb(config, model, moved, y, seeded(0, "attack"))
    assert (threats[norm].size(moved - x) <= 0.3 + 1e-5).all()
    point += threats[norm].start(torch.empty_like(x), 0.3, seeded(0, "chance"))
    far, chance = (logit_divergence(model.logits(x), model.logits(at)).mean() for at in (moved, point))
    assert float(far) > 3 * float(chance) > 0


@pytest.mark.parametrize("objective", ["trades", "smoothed_adversarial"])
def test_images_stay_in_the_box(objective: str) -> None:
    config = tiny_images(**{"attack.tau": 2.0, "training.noise": 3.0})
    network = network_of(config)
    x, y = torch.rand(30, 1, 8, 8, generator=seeded(0, "x")), torch.zeros(30, dtype=torch.long)
    before = x.clone()
    objectives[objective].perturb(config, network, x, y, seeded(0, "attack"), BOX)
    assert (float(x.min()), float(x.max())) == BOX
    assert float((x - before).flatten(1).norm(dim=1).min()) > 0.5


@pytest.mark.parametrize("knobs", [{}, {"attack.random_start": True, "attack.steps": 2}], ids=str)
@pytest.mark.parametrize(
    ("of", "zero", "same"),
    [
        ("smoothed_adversarial", {"training.noise": 0.0}, "adversarial"),
        ("smoothed_adversarial", {"attack.tau": 0.0}, "gaussian_noise"),
        ("trades", {"training.beta": 0.0}, "clean"),
        ("trades", {"attack.tau": 0.0}, "clean"),
    ],
)
def test_in_the_limit_it_is_another_objective_bit_by_bit(
    of: str, zero: dict[str, object], same: str, knobs: dict[str, object]
) -> None:
    def trained(objective: str, **more: object) -> Tensor:
        config = sparse_coding(tiny_config(**knobs, **more), "a test")
        world = SparseCoding.draw(config.world, seeded(0, "world"), torch.device("cpu"))
        return finish(retrain(config, world, initial_weight(config, 0), objective, 0, 10, "t", 0)).weight

    assert torch.equal(trained(of, **zero), trained(same, **zero))
    assert not torch.equal(trained(of), trained(same))


def test_smoothed_perturbs_the_noisy_sample() -> None:
    config = tiny_config(**{"training.noise": 0.7})
    model, x, y = SymmetricRelu(drawn(M, D).float(), BIAS), drawn(N, D, seed=3).float(), labels().float()
    ours, by_hand = x.clone(), x.clone()
    objectives["smoothed_adversarial"].perturb(config, model, ours, y, seeded(0, "attack"))
    generator = seeded(0, "attack")
    for name in ("gaussian_noise", "adversarial"):
        objectives[name].perturb(config, model, by_hand, y, generator)
    assert torch.equal(ours, by_hand)
    assert not torch.equal(ours, x)


# --- a run with them


PLAN: Plan = {
    4: [SwitchPhase("trades")],
    8: [SetKnob("training.beta", 1.0), SetKnob("attack.steps", 2)],
    12: [SetKnob("low_rank.rank", 2), SwitchPhase("smoothed_adversarial")],
    16: [SwitchPhase("trades")],
}
END = 20
FEW = {"evaluation.every": 100, "evaluation.report_steps": 1, "evaluation.report_restarts": 1}
SMALL: dict[str, Config] = {
    "theory": tiny_config(**FEW), "images": tiny_images(**FEW, **{"model.name": "two_layer", "model.width": 8}),
}  # fmt: skip


@pytest.mark.parametrize("kind", SMALL)
def test_a_resumed_run_is_the_uninterrupted_one(kind: str, tmp_path: Path) -> None:
    config = SMALL[kind]
    whole = run(config, tmp_path / "whole", END, PLAN)
    session = worlds.create(config, tmp_path / "parts")
    for until in (6, 14, 18, END):  # in the middle of each phase
        advance(session, until, PLAN)
        if until < END:
            session.close()
            session = worlds.resume(tmp_path / "parts")
    drain(session)
    session.close()
    assert_same(read(tmp_path / "parts"), whole)


def test_a_phase_of_low_rank_stays_within_it(tmp_path: Path) -> None:
    config = tiny_config(**{"schedule.second": "trades", "low_rank.rank": 2})
    arrays = run(config, tmp_path / "run").arrays
    change = torch.tensor(arrays["weight"] - arrays["weight_clean"]).double()
    assert int(torch.linalg.matrix_rank(change, rtol=1e-4)) == 2


def test_the_recorded_loss_on_images_is_that_of_both_batches(tmp_path: Path) -> None:
    found = CleanEnd.load(make(tmp_path / "run", model={"name": "two_layer", "width": 8}), 16)
    trainer: ImageTrainer = found.trainer("t")
    before = ImageClassifier(trainer.network).copy()
    seen: list[Tensor] = []
    handle = trainer.network.register_forward_pre_hook(lambda module, args: seen.append(args[0].clone()))
    loss, right = torch.empty(()), torch.empty(())
    trainer.step(found.config, "trades", 0.5, 0, loss, right)
    handle.remove()
    plain, moved = (before.logits(x) for x in seen)
    expected = cross_entropy(plain, trainer._y) + found.config.training.beta * class_divergence(plain, moved).mean()
    assert float(loss) == pytest.approx(float(expected), rel=1e-5)
    assert float(right) == float((plain.argmax(1) == trainer._y).float().mean())
    assert not torch.equal(seen[0], seen[1])


def test_baselines_refuse_a_loss_of_two_batches() -> None:
    with pytest.raises(ConfigError, match="got 'trades'; allowed: fgm, pgd, clean, adversarial, gaussian_noise, smoo"):
        next(run_baselines(tiny_config(), objectives=("trades",)))


def test_beta_is_a_live_number() -> None:
    with pytest.raises(ConfigError, match=r"training\.beta: got -1; allowed: a number from 0 to 1000"):
        tiny_config(**{"training.beta": -1})
    config = tiny_config(**{"schedule.knobs.training.beta": [[0, 1.0], [10, 6.0]]})
    assert config.schedule.curve("training.beta") is not None
