"""The training step on images against a plain PyTorch loop, written here: bit by bit the same networks."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from engine.attacks.fgm import RANDOM_STEP, Fgm
from engine.attacks.objectives.adversarial import training_attack
from engine.attacks.pgd import Pgd
from engine.attacks.threat import threats
from engine.config.objectives import objectives
from engine.core.generators import seeded
from engine.data.augment import ImageStream, pixels
from engine.data.images import BOX
from engine.images.config import ImageConfig
from engine.images.data import load
from engine.images.layout import GENERATORS
from engine.images.session import ImageSession
from engine.images.training import ImageTrainer, restrict, start
from engine.models.classifier import ImageClassifier
from engine.models.layers import layer, layers
from engine.models.low_rank import Factors
from engine.run.commands import SetKnob, SwitchPhase
from engine.run.session import Session
from tests.tiny_image_runs import tiny_images
from tests.tiny_runs import advance, tiny_config

STEPS = 6  # of each phase: the fewest in which the rate rises, is highest, and falls
CPU = torch.device("cpu")
Create = Callable[..., Session]


def short(**values: object) -> ImageConfig:
    phases = {"schedule.clean_steps": STEPS, "schedule.second_steps": STEPS, "evaluation.every": 100}
    return tiny_images(**phases | values)


# --- the loop of the test: nothing of the engine but the batches and the network's start


def one_cycle(lr: float, share: float) -> float:
    """Up to lr over the first 30% of a phase, down to 0 over the rest."""
    return lr * (share / 0.3 if share < 0.3 else (1 - share) / (1 - 0.3))


def cosine(lr: float, share: float) -> float:
    return lr * 0.5 * (1 + math.cos(share * math.pi))


def constant(lr: float, share: float) -> float:
    return lr


SCHEDULES = {"one_cycle": one_cycle, "cosine": cosine, "constant": constant}


class PlainLoop:
    """SGD with momentum and weight decay, and PGD in evaluation mode that keeps x + δ in [0, 1]."""

    def __init__(self, config: ImageConfig, network: nn.Module) -> None:
        self.config, self.network = config, network
        self.random = {name: seeded(config.seed, name) for name in GENERATORS}
        data = load(config).to("cpu", channels_last=config.training.channels_last)
        order = torch.channels_last if config.training.channels_last else torch.contiguous_format
        n = config.training.batch_size
        self.x = torch.empty((n, *data.shape), memory_format=order)
        self.y = torch.empty(n, dtype=torch.long)
        self.stream = ImageStream(
            data.train_x, data.train_y, self.random["order"], self.random["augment"],
            flip=config.training.flip, crop=config.training.crop,
        )  # fmt: skip
        self.losses: list[float] = []

    def phase(self, objective: str, steps: int, until: int | None = None) -> None:
        """The first ``until`` (or all) steps of a phase of ``steps``, with a new optimiser."""
        t = self.config.training
        optimiser = torch.optim.SGD(self.network.parameters(), t.lr, t.momentum, weight_decay=t.weight_decay)
        schedule = SCHEDULES[t.lr_schedule]
        self.network.train()
        for step in range(steps if until is None else until):
            optimiser.param_groups[0]["lr"] = schedule(t.lr, step / steps)
            self.stream.fill(self.x, self.y)
            x = self.x + self.pgd(self.x, self.y) if objective == "adversarial" else self.x
            optimiser.zero_grad()
            loss = nn.functional.cross_entropy(self.network(x), self.y)
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            self.losses.append(loss.item())

    def pgd(self, x: Tensor, y: Tensor) -> Tensor:
        """n steps of size 2.5·tau/n in the ball, each followed by the way back into it and into [0, 1]."""
        a = self.config.attack
        self.network.eval()
        delta = torch.zeros_like(x)
        if a.random_start and a.norm == "linf":
            delta.uniform_(-a.tau, a.tau, generator=self.random["attack"])
        elif a.random_start:
            delta.normal_(generator=self.random["attack"])
            radius = torch.rand(len(x), generator=self.random["attack"]) ** (1 / x[0].numel())
            delta = delta / norms(delta).clamp_min(1e-12) * (a.tau * radius)[:, None, None, None]
        delta = delta.clamp(-x, 1 - x)
        for _ in range(a.steps):
            at = (x + delta).requires_grad_()
            (slope,) = torch.autograd.grad(nn.functional.cross_entropy(self.network(at), y, reduction="sum"), at)
            slope = slope.sign() if a.norm == "linf" else slope / norms(slope).clamp_min(1e-12)
            delta = self.back(x, torch.add(delta, slope, alpha=2.5 * a.tau / a.steps))
        self.network.train()
        return self.back(x, delta)  # rounding may have left it a last bit outside

    def back(self, x: Tensor, delta: Tensor) -> Tensor:
        """Onto the ball, then x + δ into [0, 1]."""
        tau = torch.tensor(self.config.attack.tau)  # a number is divided with other last bits
        if self.config.attack.norm == "linf":
            delta = delta.clamp(-tau, tau)
        else:
            delta = delta * (tau / norms(delta).clamp_min(tau))
        return delta.clamp(-x, 1 - x)


def norms(delta: Tensor) -> Tensor:
    sizes: Tensor = delta.flatten(1).norm(dim=1)
    return sizes[:, None, None, None]


def started(config: ImageConfig) -> nn.Module:
    return start(config, load(config), CPU)


def assert_equal(network: nn.Module, other: nn.Module) -> None:
    """All parameters and statistics of batch norm, bit for bit."""
    theirs = other.state_dict()
    assert set(network.state_dict()) == set(theirs)
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, theirs[name]), f"{name}: off by {(tensor - theirs[name]).abs().max()}"


def trained(create: Create, config: ImageConfig, until: int = 2 * STEPS) -> ImageSession:
    session = create(config)
    assert isinstance(session, ImageSession)
    advance(session, until)
    return session


@pytest.mark.parametrize(
    "knobs",
    [
        {},
        {"training.channels_last": False, "training.lr_schedule": "cosine"},
        {"attack.norm": "linf", "attack.tau": 0.1, "attack.steps": 3, "training.lr_schedule": "constant"},
        {"attack.random_start": False, "attack.steps": 3, "attack.tau": 2.0, "training.momentum": 0.0},
        {"model.name": "two_layer", "model.width": 12, "training.flip": False, "training.crop": 0, "seed": 5},
        {"model.name": "resnet", "model.width": 4, "training.weight_decay": 0.01},
    ],
    ids=lambda knobs: "-".join(f"{k}={v}" for k, v in knobs.items()) or "tiny",
)
def test_a_plain_loop_trains_the_same_network_to_the_bit(new_session: Create, knobs: dict[str, object]) -> None:
    config = short(**knobs)
    with torch.enable_grad():
        plain = PlainLoop(config, started(config))
        plain.phase("clean", STEPS)
        clean = copy.deepcopy(plain.network)
        plain.phase("adversarial", STEPS)
    session = trained(new_session, config)
    assert session.clean is not None
    assert all(torch.equal(session.clean[name], tensor) for name, tensor in clean.state_dict().items())
    assert_equal(session.network, plain.network)
    moved = [n for n, p in plain.network.named_parameters() if not torch.equal(p, clean.state_dict()[n])]
    assert len(moved) == len(list(plain.network.parameters()))
    recorded = session.snapshot().history["loss"].values.tolist()
    assert recorded == plain.losses
    assert len(set(recorded)) == 2 * STEPS


def test_a_knob_that_is_changed_counts_from_the_next_step(new_session: Create) -> None:
    session = trained(new_session, short(), 3)
    before = copy.deepcopy(session.network.state_dict())
    session.apply(SetKnob("training.lr", 0.0))
    advance(session, 5)
    assert all(torch.equal(p, before[n]) for n, p in session.network.named_parameters())
    session.apply(SetKnob("training.lr", 0.1))
    session.apply(SetKnob("training.batch_size", 16))
    session.step()
    assert all(not torch.equal(p, before[n]) for n, p in session.network.named_parameters())


def test_a_switch_begins_at_rate_0_without_the_old_momentum(new_session: Create) -> None:
    session = trained(new_session, short(), 3)
    assert session._trainer.momenta()
    session.apply(SwitchPhase("adversarial"))
    assert not session._trainer.momenta()
    before = copy.deepcopy(session.network.state_dict())
    session.step()
    moved = {n for n, tensor in session.network.state_dict().items() if not torch.equal(tensor, before[n])}
    statistics = ("running_mean", "running_var", "num_batches_tracked")
    assert moved == {f"{norm}.{name}" for norm in ("norm2", "norm3") for name in statistics}
    session.step()
    assert all(not torch.equal(p, before[n]) for n, p in session.network.named_parameters())


def test_after_a_switch_the_loop_is_the_same_too(new_session: Create) -> None:
    config = short()
    with torch.enable_grad():
        plain = PlainLoop(config, started(config))
        plain.phase("clean", STEPS, until=4)
        plain.phase("adversarial", STEPS, until=2)
        plain.phase("clean", STEPS, until=3)
    session = trained(new_session, config, 4)
    session.apply(SwitchPhase("adversarial"))
    advance(session, 6)
    session.apply(SwitchPhase("clean"))
    advance(session, 9)
    assert_equal(session.network, plain.network)


def test_bf16_is_without_effect_on_the_cpu(new_session: Create) -> None:
    a, b = (trained(new_session, short(**{"training.bf16": value}), STEPS + 2) for value in (False, True))
    assert_equal(a.network, b.network)


# --- what is trained on


@pytest.mark.parametrize("second", ["gaussian_noise", "adversarial"])
def test_what_is_trained_on_stays_in_the_box(new_session: Create, second: str) -> None:
    knobs = {"schedule.second": second, "training.noise": 4.0, "attack.tau": 4.0, "training.crop": 0}
    session = trained(new_session, short(**knobs), STEPS)
    seen: list[Tensor] = []
    handle = session.network.register_forward_pre_hook(lambda module, args: seen.append(args[0].clone()))
    advance(session, STEPS + 3)
    handle.remove()
    assert len(seen) == 3  # the attack's passes are another tree's
    for x in seen:
        assert float(x.min()) == 0
        assert float(x.max()) == 1
        assert not torch.equal(x * 16, (x * 16).round())  # digits have 16 greys; these are perturbed


def test_noise_has_its_norm_where_the_box_leaves_room() -> None:
    x, y = torch.full((200, 1, 8, 8), 0.5), torch.zeros(200, dtype=torch.long)
    config = tiny_images(**{"training.noise": 0.5})
    model = ImageClassifier(started(config))
    objectives["gaussian_noise"].perturb(config, model, x, y, seeded(0, "noise"), BOX)
    assert float((x - 0.5).square().sum((1, 2, 3)).mean().sqrt()) == pytest.approx(0.5, rel=0.05)
    objectives["gaussian_noise"].perturb(tiny_images(**{"training.noise": 20.0}), model, x, y, seeded(0, "noise"), BOX)
    assert (float(x.min()), float(x.max())) == BOX


def test_one_step_is_fgm_on_images_with_a_random_start_too() -> None:
    for random in (True, False):
        knobs = tiny_images(**{"attack.steps": 1, "attack.random_start": random}).attack
        attack = training_attack(knobs, BOX)
        assert isinstance(attack, Fgm)
        assert (attack.random_start, attack.box, attack.tau) == (random, BOX, 0.3)
        assert attack.step == pytest.approx((RANDOM_STEP if random else 1) * 0.3)
    theory = training_attack(tiny_config(**{"attack.random_start": True}).attack)
    assert isinstance(theory, Pgd)  # PGD of one step in the world of the theory, as it always was
    assert (theory.steps, theory.restarts, theory.random_start, theory.box) == (1, 1, True, None)
    assert isinstance(training_attack(tiny_images(**{"attack.steps": 1, "attack.restarts": 2}).attack, BOX), Pgd)


def test_the_perturbation_of_training_is_that_attack() -> None:
    config = tiny_images(**{"attack.steps": 1})
    data = load(config)
    x, y = pixels(data.train_x[:40]), data.train_y[:40]
    model = ImageClassifier(started(config))
    moved = x.clone()
    objectives["adversarial"].perturb(config, model, moved, y, seeded(0, "attack"), BOX)
    by_hand = Fgm(threats["l2"], 0.3, random_start=True, box=BOX)(model, x, y, seeded(0, "attack"))
    assert torch.equal(moved, x + by_hand)
    assert (threats["l2"].size(moved - x) <= 0.3 + 1e-5).all()


# --- a rank that restricts nothing


def trainer(config: ImageConfig) -> ImageTrainer:
    placed = load(config).to("cpu", channels_last=config.training.channels_last)
    return ImageTrainer(started(config), placed, {name: seeded(config.seed, name) for name in GENERATORS}, config)


def train(of: ImageTrainer, config: ImageConfig) -> None:
    measured = torch.empty(2)
    for step in range(STEPS):
        of.step(config, "adversarial", step / STEPS, 0, measured[0], measured[1])


@pytest.mark.parametrize("rank", [8, 9, 4096])
def test_a_rank_from_the_smaller_side_is_ordinary_training_of_that_layer(rank: int) -> None:
    config = short(**{"low_rank.layers": "conv1"})  # 8 units of 9 pixels
    ours = trainer(config)
    ours.begin(restrict(ours.network, config, rank, 0, 0))
    assert not ours.factors
    train(ours, config)
    plain = PlainLoop(config, started(config))
    for each in layers(plain.network)[1:]:
        each.module.weight.requires_grad_(False)
    plain.phase("adversarial", STEPS)
    assert_equal(ours.network, plain.network)
    assert not torch.equal(layer(ours.network, "conv1", "").matrix, layer(started(config), "conv1", "").matrix)


def test_factors_of_full_rank_take_the_ordinary_step() -> None:
    """Not by the shortcut above: U V with as many orthonormal rows V as there are columns."""
    config = short()
    ours = trainer(config)
    base = ours.layers[0].matrix.clone()
    rows = torch.linalg.qr(torch.randn(9, 9, generator=seeded(0, "rows"), dtype=torch.float64)).Q.float()
    free = dict.fromkeys(each.name for each in ours.layers)
    ours.begin(free | {"conv1": Factors(base, torch.zeros(8, 9), rows)})
    train(ours, config)
    plain = PlainLoop(config, started(config))
    plain.phase("adversarial", STEPS)
    theirs = plain.network.state_dict()
    assert float((theirs["conv1.weight"].flatten(1) - base).abs().max()) > 1e-3
    for name, tensor in ours.network.state_dict().items():
        torch.testing.assert_close(tensor, theirs[name], rtol=1e-3, atol=1e-5)


def test_a_session_of_such_a_rank_is_one_without_any(tmp_path: Path, new_session: Create) -> None:
    a, b = (trained(new_session, short(**{"low_rank.rank": rank})) for rank in (0, 4096))
    assert_equal(a.network, b.network)
    assert b._trainer.unlimited == tuple(each.name for each in layers(b.network))


def test_training_makes_no_optimiser_of_torchs(new_session: Create, monkeypatch: pytest.MonkeyPatch) -> None:
    def made(*_: object, **how: object) -> None:
        raise AssertionError("it imports torch's compiler, which takes seconds")

    monkeypatch.setattr(torch.optim.Optimizer, "__init__", made)
    assert trained(new_session, short()).steps_done == 2 * STEPS
