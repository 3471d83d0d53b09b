"""The baselines on images: that they are what they are called, and how they are trained, measured and recorded."""

from __future__ import annotations

import shutil
from contextlib import closing
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from engine.claims.base import check
from engine.claims.source import StoreSource
from engine.core.errors import ConfigError
from engine.core.generators import seeded
from engine.images.loading import ImageNetwork
from engine.models.base import DataFacts
from engine.models.classifier import ImageClassifier
from engine.models.layers import build
from engine.models.networks.two_layer import TwoLayerModel
from engine.run.store import Store
from engine.studies import image_baselines
from engine.studies.image_baseline_models import Centred, FeatureClassifier, Squares, TangentKernel, makers
from engine.studies.questions.comparison import ComparisonStudy
from tests.tiny_image_runs import tiny_images
from tests.tiny_runs import run

SHAPE, CLASSES = (1, 3, 3), 4


def pictures(n: int = 40, name: str = "x") -> Tensor:
    return torch.rand(n, *SHAPE, generator=seeded(0, name), dtype=torch.float64)


def two_layer(width: int = 6) -> nn.Module:
    facts = DataFacts(SHAPE, CLASSES, torch.tensor([0.4]), torch.tensor([0.3]))
    return build(TwoLayerModel(width=width, init_scale=1.0), facts, 0).double()


def filled(model: nn.Module) -> nn.Module:
    for name, each in model.named_parameters():
        each.data.normal_(generator=seeded(1, name))
    return model.double()


def test_the_tangent_kernel_holds_the_networks_own_tangent_space() -> None:
    """A step of the hidden layer changes the logits, to first order, by a member of the kernel's class."""
    network, x = two_layer(), pictures()
    hidden, output = network.get_submodule("hidden"), network.get_submodule("output")
    kernel = TangentKernel(network, x, CLASSES).double()
    assert len(kernel.weight) == 6
    step = {n: torch.randn(p.shape, generator=seeded(2, n), dtype=p.dtype) for n, p in hidden.named_parameters()}

    def logits(weight: Tensor, bias: Tensor) -> Tensor:
        changed = {"hidden.weight": weight, "hidden.bias": bias}
        result: Tensor = torch.func.functional_call(network, changed, (x,))
        return result

    _, along = torch.autograd.functional.jvp(logits, (hidden.weight, hidden.bias), (step["weight"], step["bias"]))
    second = output.weight.detach()  # (K, m)
    with torch.no_grad():
        kernel.theta.weight.copy_((second[:, :, None] * step["weight"]).flatten(0, 1) * kernel.scale)
        kernel.theta.bias.copy_((second * step["bias"]).flatten() * kernel.scale)
        assert torch.allclose(kernel(x), along, rtol=1e-10, atol=1e-10)


def test_its_gradients_are_those_of_its_definition() -> None:
    x, network = pictures(), two_layer()
    kernel = filled(TangentKernel(network, x, CLASSES))
    assert isinstance(kernel, TangentKernel)
    y = torch.arange(len(x)) % CLASSES
    found = ImageClassifier(kernel).input_gradient(x, y)
    pixels = ((x - 0.4) / 0.3).flatten(1)
    gates = (pixels @ kernel.weight.T + kernel.bias > 0).double()
    theta = kernel.theta.weight.view(CLASSES, 6, -1)
    offset = kernel.theta.bias.view(CLASSES, 6)
    scale = float(kernel.scale)
    logits = torch.einsum("nm,kmd,nd->nk", gates, theta, pixels) + gates @ offset.T
    logits = logits / scale + kernel.constant
    pull = torch.softmax(logits, 1) - torch.nn.functional.one_hot(y, CLASSES)
    expected = torch.einsum("nk,nm,kmd->nd", pull, gates, theta) / (scale * 0.3)
    assert torch.allclose(found.flatten(1), expected.detach(), rtol=1e-6, atol=1e-9)


def test_all_products_make_the_kernel_of_degree_two(monkeypatch: pytest.MonkeyPatch) -> None:
    z = pictures().flatten(1)
    found = Squares(9, 0).double()(z)
    inner = z @ z.T
    assert torch.allclose(found @ found.T, inner + inner**2)
    monkeypatch.setattr("engine.studies.image_baseline_models.EXACT_SQUARES", 10)
    monkeypatch.setattr("engine.studies.image_baseline_models.RANDOM_SQUARES", 7)
    some = Squares(9, 0).double()
    assert some.words == "degree 2: 7 squares of random directions, 9 pixels"
    assert torch.allclose(some(z)[:, 9:], (z @ some.directions.T) ** 2)
    assert torch.equal(some.directions, Squares(9, 0).directions.double())  # by the seed alone


def test_features_have_mean_square_one_and_no_mean() -> None:
    x = pictures()
    model = FeatureClassifier(nn.Sequential(Centred(x), Squares(9, 0).double()), x, CLASSES)
    features = (model.features(x) - model.mean) / model.scale
    assert float(features.mean(0).abs().max()) < 1e-9
    assert float(features.square().sum(1).mean()) == pytest.approx(1)
    kernel = TangentKernel(two_layer(), x, CLASSES)
    pixels = kernel.normalise(x).flatten(1)
    gates = pixels @ kernel.weight.T + kernel.bias > 0
    size = (gates.sum(1) * (pixels.square().sum(1) + 1)).mean()
    assert float(kernel.scale) ** 2 == pytest.approx(float(size))


def test_neurons_that_no_image_opens_are_left_out() -> None:
    network, x = two_layer(), pictures()
    with torch.no_grad():
        network.get_submodule("hidden").bias[2] = -1000.0  # type: ignore[index,operator]
    kernel = TangentKernel(network, x, CLASSES)
    assert len(kernel.weight) == 5
    assert kernel.neurons == "5 neurons (of 6)"


def test_a_network_without_two_layers_has_no_ntk_of_now() -> None:
    x = pictures().float()
    network = two_layer().float()
    assert list(makers(x, CLASSES, 0, network, None)) == ["linear", "quadratic", "ntk"]
    both = makers(x, CLASSES, 0, network, network)
    assert list(both) == ["linear", "quadratic", "ntk", "ntk_now"]
    assert both["ntk"][1].endswith("of 6 neurons at their start")
    assert both["ntk_now"][1].endswith("of 6 neurons as they are now")


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_baselines, "STEPS", 6)
    monkeypatch.setattr(image_baselines, "SEARCH_STEPS", 3)


@pytest.fixture(scope="module")
def digits_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("baselines") / "run"
    grad = torch.is_grad_enabled()
    config = tiny_images(
        **{
            "model.name": "two_layer", "model.width": 12, "schedule.clean_steps": 8, "schedule.second_steps": 8,
            "attack.random_start": False,
        }
    )  # fmt: skip
    run(config, folder)
    torch.set_grad_enabled(grad)
    return folder


@pytest.mark.usefixtures("short")
def test_the_race_on_images_is_written_recorded_and_decides(digits_run: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(digits_run, tmp_path / "run"))
    heard: list[float] = []
    found = ComparisonStudy().run(folder, n=24, progress=lambda share, what: heard.append(share))
    assert heard == sorted(heard)
    assert heard[-1] == 1
    assert ComparisonStudy.read(folder) == found
    names = ("linear", "quadratic", "ntk", "ntk_now")
    assert {(r.name, r.trained_by) for r in found.baselines} == {(n, o) for n in names for o in ("clean", "fgm", "pgd")}
    assert found.oracle is None
    assert (found.n, found.tau, found.step) == (24, 0.3, 16)
    assert "ntk_now" not in found.rivals()
    with closing(Store.open(folder, read_only=True)) as store:
        for name, best in found.best().items():
            assert store.series(f"rival/robust/{name}").values[-1] == best.robust
            protocol = store.protocol(f"rival/robust/{name}", 16)
            assert protocol is not None
            assert (protocol.attack, protocol.n) == ("pgd", 24)
        (claim,) = [c for c in check(StoreSource(store)) if c.id == 6]
    assert claim.applies
    assert claim.verdict == "not measured"  # the network under the worst attack is not
    assert {f.name for f in claim.evidence} == {f"rival/robust/{name}" for name in names}


def test_a_sweep_over_d_is_refused_on_images(digits_run: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(digits_run, tmp_path / "run"))
    with pytest.raises(ConfigError, match="--sweep: got a run on images; allowed"):
        ComparisonStudy().run(folder, sweep=True, n=24)


def test_baselines_learn_the_digits(digits_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And training by FGM makes them more robust than clean training does."""
    monkeypatch.setattr(image_baselines, "STEPS", 40)
    monkeypatch.setattr(image_baselines, "SEARCH_STEPS", 10)
    monkeypatch.setattr(image_baselines, "SEARCH_TAIL", 5)
    monkeypatch.setattr(image_baselines, "OBJECTIVES", ("clean", "fgm"))
    results = image_baselines.run_image_baselines(ImageNetwork.load(digits_run), 128, lambda share, what: None)
    by = {(r.name, r.trained_by): r for r in results}
    for name in ("linear", "quadratic", "ntk", "ntk_now"):
        assert by[name, "clean"].clean.accuracy > 0.5, name  # of ten classes
        assert by[name, "fgm"].robust.accuracy > by[name, "clean"].robust.accuracy - 0.05, name
        assert by[name, "clean"].robust.accuracy <= by[name, "clean"].clean.accuracy
