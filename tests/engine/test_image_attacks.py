"""Attacks on pictures: ball and box for all of them, the losses, and what each promises on a trained network."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from engine.attacks.apgd import Apgd, ApgdTargeted
from engine.attacks.base import Attack, Box
from engine.attacks.dense import DenseDirection
from engine.attacks.fgm import RANDOM_STEP, Fgm
from engine.attacks.losses import cross_entropy, dlr, dlr_targeted, margins
from engine.attacks.pgd import Pgd
from engine.attacks.square import Square, SquareImages, _profile
from engine.attacks.threat import Threat, threats
from engine.core.measurement import Measurement
from engine.core.slices import finish
from engine.models.classifier import ImageClassifier
from engine.models.symmetric_relu import SymmetricRelu
from engine.probes.robustness import Measured, accuracy, build, slice_count
from tests.tiny_digits import held_out, trained

UNIT: Box = (0.0, 1.0)
N = 120

# One row an attack.
ATTACKS: dict[str, Callable[[Threat, float, Box | None], Attack]] = {
    "fgm": lambda threat, tau, box: Fgm(threat, tau, box=box),
    "fgm random": lambda threat, tau, box: Fgm(threat, tau, random_start=True, box=box),
    "pgd": lambda threat, tau, box: Pgd(threat, tau, steps=3, restarts=2, box=box),
    "pgd from x": lambda threat, tau, box: Pgd(threat, tau, steps=3, random_start=False, box=box),
    "apgd": lambda threat, tau, box: Apgd(threat, tau, steps=4, restarts=2, box=box),
    "apgd ce": lambda threat, tau, box: Apgd(threat, tau, steps=4, random_start=True, loss=cross_entropy, box=box),
    "apgd dlr": lambda threat, tau, box: Apgd(threat, tau, steps=4, loss=dlr, box=box),
    "apgd t": lambda threat, tau, box: ApgdTargeted(threat, tau, steps=3, targets=2, box=box),
    "square": lambda threat, tau, box: SquareImages(threat, tau, queries=12, box=box),
    "square vectors": lambda threat, tau, box: Square(threat, tau, queries=12, box=box),
}
every_attack = pytest.mark.parametrize("build_", ATTACKS.values(), ids=ATTACKS)
every_norm = pytest.mark.parametrize("norm", ["l2", "linf"])


def seed(value: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(value)


def linear(shape: tuple[int, ...], classes: int, value: int) -> ImageClassifier:
    """Random weights on all pixels."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(value)
        size = torch.Size(shape[1:]).numel()
        return ImageClassifier(nn.Sequential(nn.Flatten(), nn.Linear(size, classes)))


@pytest.fixture(scope="module")
def classifier() -> ImageClassifier:
    return ImageClassifier(trained())


@pytest.fixture(scope="module")
def sample() -> tuple[Tensor, Tensor]:
    return held_out(N)


@every_norm
@every_attack
@settings(max_examples=15, deadline=None)
@given(
    tau=st.floats(1e-3, 2.0),
    low=st.sampled_from([0.0, -0.3, -1.7, 0.1]),
    width=st.sampled_from([1.0, 0.7, 3.3]),
    shape=st.sampled_from([(2, 1, 4, 4), (3, 3, 5, 7), (2, 2, 1, 1), (2, 1, 9, 3)]),
    corner=st.booleans(),
    value=st.integers(0, 1000),
)
def test_ball_and_box_hold(
    build_: Callable[[Threat, float, Box | None], Attack],
    norm: str,
    tau: float,
    low: float,
    width: float,
    shape: tuple[int, ...],
    corner: bool,
    value: int,
) -> None:
    """Exactly in the numbers as they are computed, pixels at the very edge included."""
    box = float(torch.tensor(low)), float(torch.tensor(low + width))
    x = (torch.rand(shape, generator=seed(value)) * width + low).clamp_(*box)
    if corner:
        x = torch.where(torch.rand(shape, generator=seed(value + 1)) < 0.5, box[0], x)
    y = torch.randint(0, 5, (len(x),), generator=seed(value))
    before, threat = x.clone(), threats[norm]
    model = linear(shape, 5, value)
    delta = build_(threat, tau, box)(model, x, y, seed(value))
    assert delta.shape == x.shape
    assert torch.isfinite(delta).all()
    assert ((x + delta) >= box[0]).all()
    assert ((x + delta) <= box[1]).all()
    assert (threat.size(delta.double()) <= tau * (1 + 1e-6)).all()
    assert torch.equal(x, before)


@every_norm
@settings(max_examples=60, deadline=None)
@given(
    low=st.floats(-5, 1, width=32),
    width=st.floats(0.125, 10, width=32),
    tau=st.floats(0, 20),
    value=st.integers(0, 10_000),
)
def test_feasible_moves_every_coordinate_towards_zero(
    norm: str, low: float, width: float, tau: float, value: int
) -> None:
    high = float(torch.tensor(low + width))
    x = (torch.rand(4, 30, generator=seed(value)) * (high - low) + low).clamp_(low, high)
    wild = torch.randn(4, 30, generator=seed(value + 1)) * 3
    attack = Fgm(threats[norm], tau, box=(low, high))
    delta = attack.feasible(x, wild)
    assert delta.data_ptr() == wild.data_ptr()
    assert ((x + delta >= low) & (x + delta <= high)).all()
    unboxed = threats[norm].project(torch.randn(4, 30, generator=seed(value + 1)) * 3, tau)
    assert (delta.abs() <= unboxed.abs()).all()
    assert (delta * unboxed >= 0).all()
    inside = (x + unboxed > low) & (x + unboxed < high)
    assert torch.equal(delta[inside], unboxed[inside])


@every_norm
@every_attack
def test_slices_and_the_generator_decide_alone(
    build_: Callable[[Threat, float, Box | None], Attack],
    norm: str,
    classifier: ImageClassifier,
    sample: tuple[Tensor, Tensor],
) -> None:
    x, y = (part[:30] for part in sample)
    attack = build_(threats[norm], 0.8 if norm == "l2" else 0.08, UNIT)
    whole = attack(classifier, x, y, seed())
    slices = attack.slices(classifier, x, y, seed())
    next(slices)
    assert torch.equal(finish(slices), whole)
    assert float(classifier.margin(x + whole, y).mean()) < float(classifier.margin(x, y).mean())
    nothing = build_(threats[norm], 0.0, UNIT)(classifier, x, y, seed())
    assert torch.equal(nothing, torch.zeros_like(x))


def test_dense_direction_keeps_to_a_box_that_is_set() -> None:
    attack = DenseDirection(threats["l2"], 0.5, torch.ones(4))
    attack.box = UNIT
    x = torch.rand(6, 4, generator=seed())
    moved = x + attack(SymmetricRelu(torch.eye(4), 0.0), x, -torch.ones(6), seed())
    assert ((moved >= 0) & (moved <= 1)).all()


@every_norm
def test_fgm_with_a_random_start(norm: str, classifier: ImageClassifier, sample: tuple[Tensor, Tensor]) -> None:
    x, y = sample
    threat, tau = threats[norm], 0.5
    start = threat.start(torch.empty_like(x), tau, seed(3))
    step = threat.steepest(classifier.input_gradient(x + start, y)) * (RANDOM_STEP * tau)
    expected = threat.project(start + step, tau)
    found = Fgm(threat, tau, random_start=True)(classifier, x, y, seed(3))
    assert torch.allclose(found, expected, atol=1e-6)
    assert not torch.equal(found, Fgm(threat, tau)(classifier, x, y, seed(3)))
    short = Fgm(threat, tau, step=0.1)(classifier, x, y, seed())
    assert threat.size(short).max() == pytest.approx(0.1, rel=1e-5)


# The losses, at numbers that can be checked by hand.
LOGITS = torch.tensor([[4.0, 1.0, 3.0, -2.0, 0.0], [4.0, 1.0, 3.0, -2.0, 0.0]])
LABELS = torch.tensor([0, 1])


def test_losses_as_in_the_paper() -> None:
    assert torch.allclose(dlr(LOGITS, LABELS), torch.tensor([-(4 - 3) / (4 - 1), -(1 - 4) / (4 - 1)]))
    targeted = dlr_targeted(torch.tensor([4, 2]))(LOGITS, LABELS)
    assert torch.allclose(targeted, torch.tensor([-(4 - 0) / (4 - 0.5), -(1 - 3) / (4 - 0.5)]))
    assert torch.allclose(cross_entropy(LOGITS, LABELS), -LOGITS.log_softmax(1)[[0, 1], LABELS])
    assert margins(LOGITS, LABELS).tolist() == [1.0, -3.0]


def test_few_classes_and_equal_logits() -> None:
    three, two, y = LOGITS[:, :3], LOGITS[:, :2], torch.tensor([0, 1])
    assert torch.allclose(dlr_targeted(torch.tensor([2, 2]))(three, y), torch.tensor([-1 / 3, 2 / 3]))
    assert dlr_targeted(torch.tensor([1, 0]))(two, y).tolist() == [-3.0, 3.0]
    assert dlr(two, y).tolist() == [-3.0, 3.0]
    flat = torch.zeros(2, 10)
    assert torch.isfinite(dlr(flat, y)).all()
    assert torch.isfinite(dlr_targeted(torch.tensor([3, 4]))(flat, y)).all()


@pytest.mark.parametrize("loss", [dlr, dlr_targeted(torch.tensor([2, 3]))], ids=["dlr", "targeted"])
def test_dlr_is_neither_shifted_nor_scaled(loss: Callable[[Tensor, Tensor], Tensor]) -> None:
    assert torch.allclose(loss(7 * LOGITS - 3, LABELS), loss(LOGITS, LABELS), atol=1e-6)


@every_norm
@pytest.mark.parametrize("classes", [2, 3, 4, 10])
def test_apgd_reaches_the_optimum_of_a_linear_network(norm: str, classes: int) -> None:
    """The worst margin of a linear network is known: that of the nearest other class, less tau times a dual norm."""
    shape = (40, 1, 3, 3)
    x = torch.randn(shape, generator=seed(1)) * 3
    model = linear(shape, classes, 2)
    y = model.logits(x).argmax(1)
    weight = model.module[1].weight.detach()  # type: ignore[index, union-attr, operator]
    logits = model.logits(x)
    gap = logits.gather(1, y.unsqueeze(1)) - logits
    rows = weight[y].unsqueeze(1) - weight
    reach = rows.norm(dim=2) if norm == "l2" else rows.abs().sum(2)
    tau = float((gap / reach).scatter(1, y.unsqueeze(1), torch.inf).amin(1).median()) * 1.01  # fools half of them
    worst = (gap - tau * reach).scatter(1, y.unsqueeze(1), torch.inf).amin(1)
    clear = worst.abs() > 1e-3
    delta = ApgdTargeted(threats[norm], tau, steps=30)(model, x, y, seed())
    found = model.margin(x + delta, y)
    assert (found >= worst - 1e-4).all()
    assert torch.equal((found > 0)[clear], (worst > 0)[clear])
    assert 15 <= int((found <= 0).sum()) <= 25


class Counting(ImageClassifier):
    """Counts what is asked of it."""

    gradients = passes = rows = 0

    def gradient(self, x, y, loss):  # type: ignore[no-untyped-def]
        self.gradients += 1
        self.rows += len(x)
        return super().gradient(x, y, loss)

    def _forward(self, x: Tensor) -> Tensor:
        self.passes += 1
        return super()._forward(x)


def test_apgd_costs_one_pass_each_way_a_step(sample: tuple[Tensor, Tensor]) -> None:
    x, y = sample
    counting = Counting(trained())
    Apgd(threats["l2"], 0.1, steps=20, loss=cross_entropy, box=UNIT)(counting, x, y, seed())
    assert counting.gradients == 20
    assert counting.passes == 20 + 1 + 2  # the last point, and the margins at x and at what was found


def test_apgd_stops_when_all_are_fooled_and_targets_skip_the_fooled(sample: tuple[Tensor, Tensor]) -> None:
    x, y = sample
    counting = Counting(trained())
    delta = Apgd(threats["l2"], 5.0, steps=50, loss=cross_entropy, box=UNIT)(counting, x, y, seed())
    assert (counting.margin(x + delta, y) <= 0).all()
    assert counting.gradients < 25
    one, nine = Counting(trained()), Counting(trained())
    ApgdTargeted(threats["l2"], 0.6, steps=10, targets=1, box=UNIT)(one, x, y, seed())
    ApgdTargeted(threats["l2"], 0.6, steps=10, targets=99, box=UNIT)(nine, x, y, seed())
    assert nine.gradients <= 9 * 10
    assert nine.rows < 9 * one.rows


def test_apgd_on_a_loss_returns_a_fooling_point_where_it_met_one(sample: tuple[Tensor, Tensor]) -> None:
    """A loss that grows where the answer becomes right again must not hide that the sample was fooled."""
    x, y = sample
    classifier = ImageClassifier(trained())

    def hiding(logits: Tensor, labels: Tensor) -> Tensor:
        loss = cross_entropy(logits, labels)
        return torch.where(margins(logits, labels) <= 0, loss - 100, loss)

    x, y = x[:40], y[:40]
    delta = Apgd(threats["l2"], 1.0, steps=15, loss=hiding, box=UNIT)(classifier, x, y, seed())
    assert int((classifier.margin(x + delta, y) <= 0).sum()) > 20


def test_a_loss_needs_a_network_with_logits() -> None:
    with pytest.raises(TypeError, match="SymmetricRelu"):
        Apgd(threats["l2"], 0.1, steps=2, loss=cross_entropy)(
            SymmetricRelu(torch.eye(4), 0.1), torch.zeros(2, 4), torch.ones(2), seed()
        )


def measure(model: ImageClassifier, sample: tuple[Tensor, Tensor], protocol: Measurement) -> Measured:
    return finish(accuracy(model, *sample, protocol, None, seed(), box=UNIT, chunk=70))


@pytest.mark.parametrize(("norm", "tau"), [("l2", 0.5), ("linf", 0.08)])
def test_strong_attacks_are_not_weaker_than_pgd(
    norm: str, tau: float, classifier: ImageClassifier, sample: tuple[Tensor, Tensor]
) -> None:
    share = {
        name: measure(classifier, sample, Measurement(name, norm, tau, steps, restarts, N)).right
        for name, steps, restarts in [
            ("clean", 0, 0), ("fgm", 1, 1), ("pgd", 20, 1), ("apgd", 20, 1), ("apgd_ce", 20, 1), ("apgd_t", 20, 3),
        ]
    }  # fmt: skip
    assert share["apgd_ce"] <= share["pgd"] + 2
    assert share["apgd_t"] <= share["pgd"] + 2
    assert share["apgd"] <= share["fgm"]
    assert share["fgm"] < share["clean"]
    assert share["clean"] > 0.95 * N


class Blind(ImageClassifier):
    """No gradient to be had."""

    def gradient(self, x, y, loss):  # type: ignore[no-untyped-def]
        raise AssertionError("looked at a gradient")


@pytest.mark.parametrize(("norm", "tau"), [("l2", 0.8), ("linf", 0.1)])
def test_square_needs_no_gradient_and_comes_near_those_that_have_one(
    norm: str, tau: float, sample: tuple[Tensor, Tensor]
) -> None:
    blind = Blind(trained())
    clean = measure(blind, sample, Measurement("clean", norm, 0.0, 0, 0, N)).accuracy
    few, many = (measure(blind, sample, Measurement("square", norm, tau, queries, 1, N)) for queries in (20, 200))
    with_gradient = measure(ImageClassifier(trained()), sample, Measurement("apgd_ce", norm, tau, 20, 1, N)).accuracy
    assert many.accuracy < few.accuracy < clean
    assert many.accuracy < clean - 0.3
    assert many.accuracy > with_gradient - 0.05


def test_square_on_pictures_of_one_channel_wastes_no_query(sample: tuple[Tensor, Tensor]) -> None:
    """Setting a window to the sign that it has already would change nothing."""
    x = torch.full((50, 1, 8, 8), 0.5)
    attack = SquareImages(threats["linf"], 0.1, queries=10, box=UNIT)
    delta = torch.full_like(x, 0.1)
    for share in (0.8, 0.1, 0.01):
        proposal = attack._propose(x, delta, share, seed())
        assert (proposal != delta).flatten(1).any(1).all()


def test_squares_lie_in_the_picture_and_have_the_size_of_their_share() -> None:
    attack = SquareImages(threats["linf"], 0.1, queries=10)
    x = torch.zeros(200, 3, 10, 12)
    delta = attack._propose(x, torch.zeros_like(x), 0.3, seed())
    changed = (delta != 0).any(1)
    assert (changed.flatten(1).sum(1) == 36).all()  # √(0.3 · 120) = 6
    assert (changed.any(1).sum(1) == 6).all()
    assert (changed.any(2).sum(1) == 6).all()
    assert len(delta.abs().unique()) == 2
    assert changed.any(0).all()  # every pixel can be reached
    assert (delta.flatten(2).amin(2) * delta.flatten(2).amax(2) == 0).all()  # one sign a channel


def test_l2_squares_spend_the_whole_budget() -> None:
    """Without a box every proposal has norm tau, from the first on, and only two windows change."""
    attack = SquareImages(threats["l2"], 0.5, queries=10)
    x = torch.zeros(20, 3, 16, 16)
    delta = attack._first(x, seed())
    for _ in range(5):
        assert torch.allclose(threats["l2"].size(delta), torch.full((20,), 0.5), rtol=1e-4)
        proposal = attack._propose(x, delta, 0.05, seed())
        assert int((proposal != delta).any(1).flatten(1).sum(1).max()) <= 2 * 5**2  # √(0.05 · 256) ≈ 4, odd: 5
        delta = proposal


@pytest.mark.parametrize("side", [1, 2, 3, 5, 8, 13])
def test_profile_of_a_window(side: int) -> None:
    profile = _profile(side, torch.zeros(1))
    assert profile.shape == (side, side)
    assert float(profile.norm()) == pytest.approx(1, rel=1e-5)
    if side > 1:
        assert (profile[: side // 2] > 0).all()
    assert (profile[side // 2 :] < 0).all()
    if side == 5:  # the paper's sum, by hand: in a half of 3 × 5 the centre has 1 + 1/4 + 1/9, its neighbours 1/4 + 1/9
        assert float(profile[3, 2] / profile[3, 1]) == pytest.approx((1 + 1 / 4 + 1 / 9) / (1 / 4 + 1 / 9), rel=1e-5)
        assert float(profile[3, 1] / profile[3, 0]) == pytest.approx((1 / 4 + 1 / 9) / (1 / 9), rel=1e-5)


@pytest.mark.parametrize(
    ("attack", "kind", "words"),
    [
        ("fgm", Fgm, "FGM (1 step)"),
        ("pgd", Pgd, "PGD-15 × 2 restarts"),
        ("apgd", Apgd, "APGD-15 × 2 restarts"),
        ("apgd_ce", Apgd, "APGD-CE, 15 steps × 2 restarts, ℓ2"),
        ("apgd_t", ApgdTargeted, "APGD-T (targeted DLR, 2 targets), 15 steps, ℓ2"),
        ("square", SquareImages, "Square (15 queries, no gradient)"),
    ],
)
def test_named_by_a_protocol(attack: str, kind: type[Attack], words: str) -> None:
    protocol = Measurement(attack, "l2", 0.3, 15, 2, N)
    built = build(protocol, None, UNIT)
    assert type(built) is kind
    assert built.box == UNIT
    assert words in protocol.text()
    assert slice_count([protocol], 50) == 32 * 3
