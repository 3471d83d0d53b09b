"""ART's parts of AutoAttack find what ours find, on a small convolutional network.

Needs the extra ``verify`` (adversarial-robustness-toolbox); skipped without it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from engine.attacks.apgd import Apgd
from engine.attacks.base import Attack, Box
from engine.attacks.losses import cross_entropy, dlr
from engine.attacks.square import SquareImages
from engine.attacks.threat import threats
from engine.core.slices import finish
from engine.models.classifier import ImageClassifier
from engine.probes.autoattack import autoattack
from tests.tiny_digits import held_out, trained

pytestmark = [
    pytest.mark.verify,
    pytest.mark.filterwarnings("default"),  # their warnings are not ours
    pytest.mark.skipif(not find_spec("art"), reason="needs the extra verify"),
]

N, STEPS, QUERIES, SLACK = 300, 50, 1000, 0.02
SIZES = {"apgd_ce": (STEPS, 1), "apgd_t": (STEPS, 9), "square": (QUERIES, 1)}
UNIT: Box = (0.0, 1.0)
CASES = [("l2", 0.5), ("linf", 0.08)]
every_case = pytest.mark.parametrize(("norm", "tau"), CASES, ids=[norm for norm, _ in CASES])
NORM: dict[str, Any] = {"l2": 2, "linf": np.inf}


@pytest.fixture
def classifier() -> ImageClassifier:
    return ImageClassifier(trained()).copy()


@contextmanager
def art_estimator(
    classifier: ImageClassifier, shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Any]:
    """The same network in ART's terms, for pictures of this shape."""
    pytest.importorskip("art")
    monkeypatch.setattr("tqdm.tqdm.monitor_interval", 0)  # its monitor is a thread that stays
    from art.estimators.classification import PyTorchClassifier

    np.random.seed(0)
    module = classifier.module.eval().requires_grad_(True)
    with torch.enable_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield PyTorchClassifier(
            model=module, loss=nn.CrossEntropyLoss(), input_shape=shape, nb_classes=10, clip_values=UNIT,
            device_type="cpu",
        )  # fmt: skip


@pytest.fixture
def estimator(classifier: ImageClassifier, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    with art_estimator(classifier, (1, 8, 8), monkeypatch) as found:
        yield found


def share(classifier: ImageClassifier, norm: str, tau: float, *points: Tensor) -> float:
    """Share right without attack and at all of these points, each of which must be feasible."""
    x, y = held_out(N)
    right = classifier.margin(x, y) > 0
    for point in points:
        assert (threats[norm].size(point - x) <= tau * (1 + 1e-4)).all()
        assert ((point >= 0) & (point <= 1)).all()
        right &= classifier.margin(point, y) > 0
    return float(right.float().mean())


def theirs(attack: Any, labels: Tensor | None = None) -> Tensor:
    x, y = held_out(N)
    found: Tensor = torch.from_numpy(attack.generate(x.numpy(), (y if labels is None else labels).numpy())).float()
    return found


def ours(classifier: ImageClassifier, attack: Attack) -> Tensor:
    x, y = held_out(N)
    return x + attack(classifier, x, y, torch.Generator().manual_seed(0))


def assert_agrees(name: str, norm: str, tau: float, found: float, reference: float) -> None:
    print(f"{name}, {norm} {tau:g}: ART {reference:.3f}, ours {found:.3f} (n = {N})")  # noqa: T201 - shown by pytest -s
    assert found == pytest.approx(reference, abs=SLACK)


def art_apgd(estimator: Any, norm: str, tau: float, loss: str, *, targeted: bool = False) -> Any:
    from art.attacks.evasion import AutoProjectedGradientDescent

    return AutoProjectedGradientDescent(
        estimator, norm=NORM[norm], eps=tau, eps_step=2 * tau, max_iter=STEPS, nb_random_init=1, batch_size=N,
        loss_type=loss, targeted=targeted, verbose=False,
    )  # fmt: skip


def art_square(estimator: Any, norm: str, tau: float) -> Any:
    from art.attacks.evasion import SquareAttack

    return SquareAttack(
        estimator, norm=NORM[norm], eps=tau, max_iter=QUERIES, p_init=0.8, nb_restarts=1, batch_size=N, verbose=False
    )


@every_case
@pytest.mark.parametrize(("name", "loss"), [("cross_entropy", cross_entropy), ("difference_logits_ratio", dlr)])
def test_apgd(classifier: ImageClassifier, estimator: Any, norm: str, tau: float, name: str, loss: Any) -> None:
    reference = share(classifier, norm, tau, theirs(art_apgd(estimator, norm, tau, name)))
    attack = Apgd(threats[norm], tau, steps=STEPS, random_start=True, loss=loss, box=UNIT)
    assert_agrees(f"APGD {name}", norm, tau, share(classifier, norm, tau, ours(classifier, attack)), reference)


class Cropped(nn.Module):
    """The network on the upper left 8 × 8 pixels."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.module(x[..., :8, :8])
        return logits


@every_case
def test_square(norm: str, tau: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """On pictures with four rows and columns more, which the network does not see.

    ART 1.20 never draws the last place of a window, so that the last row and column are out of its reach: here nothing
    is there to be found. With fewer than ten rows its first ℓ2 tiles are 0/0, with eleven a window has no place. Its ℓ2
    proposals divide by the budget of the window where algorithm 3 multiplies; it is therefore only a bound there.
    """
    classifier = ImageClassifier(Cropped(ImageClassifier(trained()).copy().module))
    x, y = held_out(N)
    x = nn.functional.pad(x, (0, 4, 0, 4))
    with art_estimator(classifier, (1, 12, 12), monkeypatch) as estimator:
        point = torch.from_numpy(art_square(estimator, norm, tau).generate(x.numpy(), y.numpy())).float()
    assert (threats[norm].size(point - x) <= tau * (1 + 1e-4)).all()
    attack = SquareImages(threats[norm], tau, queries=QUERIES, box=UNIT)
    delta = attack(classifier, x, y, torch.Generator().manual_seed(0))
    reference, found = (float((classifier.margin(at, y) > 0).float().mean()) for at in (point, x + delta))
    if norm == "l2":
        print(f"Square, l2 {tau:g}: ART {reference:.3f}, ours {found:.3f} (n = {N})")  # noqa: T201 - shown by pytest -s
        assert found <= reference + SLACK
    else:
        assert_agrees("Square", norm, tau, found, reference)


@every_case
def test_worst_case(classifier: ImageClassifier, estimator: Any, norm: str, tau: float) -> None:
    """Their parts put together as AutoAttack does: both untargeted losses, and each wrong class as a target.

    Their targeted search climbs the cross-entropy towards the class; Square adds nothing to it on this network.
    """
    _, y = held_out(N)
    points = [theirs(art_apgd(estimator, norm, tau, loss)) for loss in ("cross_entropy", "difference_logits_ratio")]
    targeted = art_apgd(estimator, norm, tau, "cross_entropy", targeted=True)
    points += [theirs(targeted, (y + shift) % 10) for shift in range(1, 10)]
    reference = share(classifier, norm, tau, *points)
    x, y = held_out(N)
    found = finish(autoattack(classifier, x, y, norm, [tau], 0, sizes=SIZES)).radii[0]
    for attack in found.attacks.values():
        print(f"  {attack.protocol.text()}: {attack.accuracy:.3f}")  # noqa: T201 - shown by pytest -s
    assert_agrees("worst case", norm, tau, found.worst.accuracy, reference)
