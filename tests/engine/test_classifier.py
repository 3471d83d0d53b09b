"""The classifier computes the network in evaluation mode, whatever the module is doing, and changes nothing of it."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from engine.attacks.apgd import Apgd
from engine.attacks.base import Attack
from engine.attacks.fgm import Fgm
from engine.attacks.losses import cross_entropy, dlr
from engine.attacks.pgd import Pgd
from engine.attacks.square import SquareImages
from engine.attacks.threat import threats
from engine.models.classifier import ImageClassifier
from tests.tiny_digits import digits, net

BOX = (0.0, 1.0)
ATTACKS: dict[str, Callable[[], Attack]] = {
    "fgm": lambda: Fgm(threats["l2"], 0.5, box=BOX),
    "fgm random": lambda: Fgm(threats["linf"], 0.1, random_start=True, box=BOX),
    "pgd": lambda: Pgd(threats["linf"], 0.1, steps=4, restarts=2, box=BOX),
    "apgd": lambda: Apgd(threats["l2"], 0.5, steps=5, box=BOX),
    "apgd ce": lambda: Apgd(threats["l2"], 0.5, steps=5, loss=cross_entropy, box=BOX),
    "square": lambda: SquareImages(threats["linf"], 0.1, queries=10, box=BOX),
}
every_attack = pytest.mark.parametrize("build", ATTACKS.values(), ids=ATTACKS)


def batch(n: int = 32) -> tuple[Tensor, Tensor]:
    x, y = digits()
    return x[:n].clone(), y[:n]


def seed(value: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(value)


def warmed() -> nn.Sequential:
    """In training mode, running statistics other than those of the start."""
    module = net()
    module(batch()[0])
    return module


def step(module: nn.Module, optimiser: torch.optim.Optimizer) -> None:
    x, y = batch()
    with torch.enable_grad():
        optimiser.zero_grad()
        nn.functional.cross_entropy(module(x), y).backward()
        optimiser.step()


def assert_same_network(classifier: ImageClassifier, module: nn.Module) -> None:
    x, _ = batch()
    expected = copy.deepcopy(module).eval()
    with torch.no_grad():
        assert torch.equal(classifier.logits(x), expected(x))


@every_attack
def test_an_attack_leaves_no_trace_in_the_module(build: Callable[[], Attack]) -> None:
    module = warmed()
    module[1].eval()  # modes are a matter of each layer
    module[4].requires_grad_(False)
    marker = torch.ones_like(module[0].weight)
    module[0].weight.grad = marker
    state = {name: value.clone() for name, value in module.state_dict().items()}
    modes = [layer.training for layer in module.modules()]
    classifier = ImageClassifier(module)
    x, y = batch()
    random = torch.get_rng_state()
    build()(classifier, x, y, seed())
    assert torch.equal(torch.get_rng_state(), random)  # dropout drew nothing
    assert [layer.training for layer in module.modules()] == modes
    assert all(torch.equal(state[name], value) for name, value in module.state_dict().items())
    assert [name for name, p in module.named_parameters() if p.grad is not None] == ["0.weight"]
    assert module[0].weight.grad is marker
    assert torch.equal(marker, torch.ones_like(marker))
    assert all(p.requires_grad for p in module.parameters())


@every_attack
@pytest.mark.parametrize("grad", [True, False])
def test_an_attack_is_that_on_the_network_in_evaluation_mode(build: Callable[[], Attack], grad: bool) -> None:
    module = warmed()
    x, y = batch()
    torch.set_grad_enabled(grad)
    in_training = build()(ImageClassifier(module), x, y, seed())
    assert torch.is_grad_enabled() == grad
    in_evaluation = build()(ImageClassifier(copy.deepcopy(module).eval()), x, y, seed())
    assert torch.equal(in_training, in_evaluation)
    assert not in_training.requires_grad


def test_the_mode_is_right_while_an_attack_is_suspended() -> None:
    module, (x, y) = warmed(), batch()
    classifier = ImageClassifier(module)
    alone = Pgd(threats["l2"], 0.5, steps=6, box=BOX)(classifier, x, y, seed())
    slices = Pgd(threats["l2"], 0.5, steps=6, box=BOX).slices(classifier, x, y, seed())
    frozen_statistics = [b.clone() for b in module.buffers()]
    for k in range(6):
        next(slices)
        module.train(k % 2 == 0)
        assert module[1].training == (k % 2 == 0)
    with pytest.raises(StopIteration) as stop:
        next(slices)
    assert torch.equal(stop.value.value, alone)
    assert all(torch.equal(a, b) for a, b in zip(frozen_statistics, module.buffers(), strict=True))


@pytest.mark.parametrize("kind", [{}, {"foreach": True}, {"fused": True}, {"nesterov": True}], ids=str)
def test_training_is_seen_at_once(kind: dict[str, bool]) -> None:
    module = net()
    classifier = ImageClassifier(module)
    before = classifier.logits(batch()[0])
    optimiser = torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4, **kind)
    for _ in range(3):
        step(module, optimiser)
        classifier.input_gradient(*batch())
        assert_same_network(classifier, module)
    assert not torch.equal(classifier.logits(batch()[0]), before)


def test_what_replaces_the_tensors_is_followed() -> None:
    module = warmed()
    classifier = ImageClassifier(module)
    other = net(seed=5)
    other(batch()[0] / 2)
    module.load_state_dict(other.state_dict())
    assert_same_network(classifier, module)
    module.load_state_dict({k: v + 0.1 for k, v in other.state_dict().items()}, assign=True)
    assert_same_network(classifier, module)
    module.to(memory_format=torch.channels_last)
    step(module, torch.optim.SGD(module.parameters(), lr=0.1))
    assert_same_network(classifier, module)
    module.double()
    x, y = batch()
    expected = copy.deepcopy(module).eval()
    assert torch.equal(classifier.logits(x.double()), expected(x.double()))
    assert classifier.input_gradient(x.double(), y).dtype == torch.float64
    assert all(p.requires_grad for p in module.parameters())


def test_a_copy_stays_as_it_was() -> None:
    module = warmed()
    classifier = ImageClassifier(module, autocast=True)
    x, _ = batch()
    kept, before = classifier.copy(), classifier.logits(x)
    step(module, torch.optim.SGD(module.parameters(), lr=0.1))
    assert torch.equal(kept.logits(x), before)
    assert not torch.equal(classifier.logits(x), before)
    assert kept.autocast


def test_shared_parameters_stay_shared() -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(64, 64, bias=False), nn.ReLU(), nn.Linear(64, 64))
    module[3].weight = module[1].weight
    classifier = ImageClassifier(module)
    with torch.no_grad():
        module[1].weight.mul_(2)
    assert_same_network(classifier, module)


def test_the_gradient_is_that_of_the_loss_in_one_pass() -> None:
    module, (x, y) = warmed(), batch()
    classifier = ImageClassifier(module)
    calls: list[int] = []
    classifier._network.register_forward_hook(lambda *_: calls.append(1))
    values, logits, slope = classifier.gradient(x, y, dlr)
    assert len(calls) == 1
    point = x.clone().requires_grad_()
    expected = copy.deepcopy(module).eval()(point)
    dlr(expected, y).sum().backward()
    assert torch.allclose(logits, expected.detach(), atol=1e-6)
    assert torch.allclose(values, dlr(expected, y).detach(), atol=1e-6)
    assert point.grad is not None
    assert torch.allclose(slope, point.grad, atol=1e-5)
    assert not any(tensor.requires_grad for tensor in (values, logits, slope, x))
    point.grad = None
    nn.functional.cross_entropy(copy.deepcopy(module).eval()(point), y, reduction="sum").backward()
    assert torch.allclose(classifier.input_gradient(x, y), point.grad, atol=1e-5)


class Fixed(nn.Module):
    """Answers what it is told."""

    def __init__(self, logits: list[list[float]]) -> None:
        super().__init__()
        self.register_buffer("answer", torch.tensor(logits))

    def forward(self, x: Tensor) -> Tensor:
        return self.answer + 0 * x.flatten(1).sum(1, keepdim=True)


@pytest.mark.parametrize(
    ("logits", "margin"),
    [
        ([3.0, 1.0, 2.0], 1.0),
        ([1.0, 4.0, 2.0], -3.0),
        ([2.0, 2.0, 0.0], 0.0),
        ([float("nan"), 1.0, 1.0], -torch.inf),
        ([1.0, 0.0, float("nan")], -torch.inf),
        ([torch.inf, torch.inf, 0.0], -torch.inf),
        ([torch.inf, 0.0, 0.0], torch.inf),
    ],
)
def test_margin_is_positive_only_for_a_right_answer(logits: list[float], margin: float) -> None:
    classifier = ImageClassifier(Fixed([logits]))
    assert classifier.margin(torch.zeros(1, 1, 2, 2), torch.tensor([0])).tolist() == [margin]


def test_a_gradient_that_is_not_finite_leads_nowhere() -> None:
    class Root(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            total = x.flatten(1).sum(1, keepdim=True)
            return torch.cat([total.sqrt(), -total.sqrt()], dim=1)  # infinite slope at 0

    x, y = torch.zeros(4, 1, 3, 3), torch.zeros(4, dtype=torch.int64)
    for norm in ("l2", "linf"):
        delta = Apgd(threats[norm], 0.1, steps=5, loss=cross_entropy, box=BOX)(ImageClassifier(Root()), x, y, seed())
        assert torch.isfinite(delta).all()


def test_channels_last_stays_so() -> None:
    """Neither the perturbation nor what the network is asked for loses the layout that x has."""
    seen: list[bool] = []
    module = nn.Sequential(nn.Conv2d(3, 1, 1), *warmed()).to(memory_format=torch.channels_last)
    module[0].register_forward_hook(lambda _, x, __: seen.append(x[0].is_contiguous(memory_format=torch.channels_last)))
    x = digits()[0][:8].expand(8, 3, 8, 8).contiguous(memory_format=torch.channels_last)
    for build in ATTACKS.values():
        delta = build()(ImageClassifier(module), x, digits()[1][:8], seed())
        assert delta.is_contiguous(memory_format=torch.channels_last)
    assert len(seen) > 20
    assert all(seen)


def test_autocast_changes_nothing_without_cuda() -> None:
    module, (x, _) = warmed(), batch()
    assert torch.equal(ImageClassifier(module, autocast=True).logits(x), ImageClassifier(module).logits(x))
