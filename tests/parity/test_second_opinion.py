"""Other libraries' ℓ2 PGD finds what ours finds, on a trained network before and after purification.

Needs the extra ``verify`` (secml-torch, adversarial-robustness-toolbox); skipped without it.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from torch import Tensor

from engine import worlds
from engine.config.experiment import with_value
from engine.config.presets import load_preset
from engine.core.measurement import Measurement
from engine.data.sparse_stream import SparseCoding
from engine.models.symmetric_relu import SymmetricRelu
from engine.probes.robustness import accuracy
from engine.run.store import Store
from engine.theory.evaluation import HeldOut

pytestmark = [
    pytest.mark.verify,
    pytest.mark.filterwarnings("default"),  # their warnings are not ours
    pytest.mark.skipif(not (find_spec("secmlt") or find_spec("art")), reason="needs the extra verify"),
]

N, STEPS, RESTARTS, TAU = 500, 40, 5, 0.2
WIDE = 1e3  # bounds of the input space that no sample comes near


class TwoLogits(torch.nn.Module):
    """The network of a checkpoint as SPEC.md section 2 writes it, its one logit f as the two logits (0, f).

    f is divided by its typical size, which changes no answer and no direction: a saturated softmax would leave the
    attacks no gradient in float32.
    """

    def __init__(self, weight: Tensor, bias: float, x: Tensor) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(weight)
        self.bias, self.size = bias, 1.0
        self.size = float(self.f(x).detach().abs().mean())

    def f(self, x: Tensor) -> Tensor:
        u = x @ self.weight.T
        return (torch.relu(u - self.bias) - torch.relu(-u - self.bias)).sum(1)

    def forward(self, x: Tensor) -> Tensor:
        f = self.f(x) / self.size
        return torch.stack([torch.zeros_like(f), f], dim=1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    grad = torch.is_grad_enabled()
    config = with_value(with_value(load_preset("small"), "device", "cpu"), "evaluation.every", 100_000)
    session = worlds.create(config, tmp_path_factory.mktemp("verify") / "run")
    while not session.finished:
        session.step()
    session.close()
    torch.set_grad_enabled(grad)
    return session.folder


@pytest.fixture(scope="module", params=[1500, 3000], ids=["after clean", "after adversarial"])
def case(request: pytest.FixtureRequest, folder: Path) -> tuple[TwoLogits, Tensor, Tensor, float]:
    """The network to be attacked, x (n, d), y (n,) in {−1, +1}, and the accuracy that our PGD leaves."""
    store = Store.open(folder, read_only=True)
    saved = store.load(request.param)
    store.close()
    arrays = {name: torch.from_numpy(array.copy()) for name, array in saved.arrays.items()}
    world = SparseCoding(saved.config.world, arrays["dictionary"], arrays["target"])
    x, y = HeldOut(world, saved.config.seed).take(N, saved.config.world.sigma_x)
    bias = float(arrays["bias"])
    slices = accuracy(
        SymmetricRelu(arrays["weight"], bias), x, y, Measurement("pgd", "l2", TAU, STEPS, RESTARTS, N), None,
        torch.Generator().manual_seed(0),
    )  # fmt: skip
    while True:
        try:
            next(slices)
        except StopIteration as stop:
            return TwoLogits(arrays["weight"], bias, x), x, y, stop.value.accuracy


def assert_agrees(name: str, net: TwoLogits, x: Tensor, y: Tensor, adversarial: list[Tensor], ours: float) -> None:
    """Worst of all restarts; every point must lie in the ball."""
    right = net.f(x) * y > 0
    for point in adversarial:
        assert float((point - x).norm(dim=1).max()) <= TAU * (1 + 1e-4)
        right &= net.f(point) * y > 0
    theirs = float(right.float().mean())
    print(f"{name}: {theirs:.3f}, ours {ours:.3f} (n = {N})")  # noqa: T201 - shown by pytest -s
    assert theirs == pytest.approx(ours, abs=0.02)


def test_secml_torch(case: tuple[TwoLogits, Tensor, Tensor, float]) -> None:
    pytest.importorskip("secmlt")
    from secmlt.adv.backends import Backends
    from secmlt.adv.evasion.pgd import PGD
    from secmlt.models.pytorch.base_pytorch_nn import BasePyTorchClassifier
    from torch.utils.data import DataLoader, TensorDataset

    net, x, y, ours = case
    found = []
    with torch.enable_grad():
        for restart in range(RESTARTS):
            torch.manual_seed(restart)
            attack = PGD(
                perturbation_model="l2", epsilon=TAU, num_steps=STEPS, step_size=2.5 * TAU / STEPS,
                random_start=restart > 0, lb=-WIDE, ub=WIDE, backend=Backends.NATIVE,
            )  # fmt: skip
            loader = DataLoader(TensorDataset(x, (y > 0).long()), batch_size=N)
            found.append(torch.cat([batch[0] for batch in attack(BasePyTorchClassifier(net), loader)]).detach())
    assert_agrees("secml-torch", net, x, y, found, ours)


def test_art(case: tuple[TwoLogits, Tensor, Tensor, float], monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("art")
    monkeypatch.setattr("tqdm.tqdm.monitor_interval", 0)  # its monitor is a thread that stays
    from art.attacks.evasion import ProjectedGradientDescentPyTorch
    from art.estimators.classification import PyTorchClassifier

    net, x, y, ours = case
    found = []
    with torch.enable_grad():
        classifier = PyTorchClassifier(
            model=net, loss=torch.nn.CrossEntropyLoss(), input_shape=(x.shape[1],), nb_classes=2,
            clip_values=(-WIDE, WIDE), device_type="cpu",
        )  # fmt: skip
        for start in (0, RESTARTS - 1):
            attack = ProjectedGradientDescentPyTorch(
                classifier, norm=2, eps=TAU, eps_step=2.5 * TAU / STEPS, max_iter=STEPS, num_random_init=start,
                batch_size=N, verbose=False,
            )  # fmt: skip
            found.append(torch.from_numpy(attack.generate(x.numpy(), (y > 0).long().numpy())))
    assert_agrees("adversarial-robustness-toolbox", net, x, y, found, ours)
