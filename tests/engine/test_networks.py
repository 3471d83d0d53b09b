"""Networks on images: shapes, layers by name, a start that depends on the seed alone, and layers drawn again."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from engine.config.knobs import Model
from engine.core.errors import ConfigError
from engine.data.augment import pixels
from engine.models.base import DataFacts
from engine.models.layers import Normalise, build, layer, layers, redraw
from engine.models.networks.alexnet import AlexNetModel
from engine.models.networks.resnet import ResNetModel
from engine.models.networks.two_layer import TwoLayerModel

MODELS: dict[str, Model] = {
    "two_layer": TwoLayerModel(width=12),
    "alexnet": AlexNetModel(kernel=3, padding=1, stride=1, width=4),
    "alexnet, large filters": AlexNetModel(kernel=9, padding=1, width=4, dropout=0.5),
    "resnet 18": ResNetModel(width=4),
    "resnet 34": ResNetModel(depth="34", width=4),
}
SHAPES = [(1, 8, 8), (1, 28, 28), (3, 32, 32)]
every_model = pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)


def images(shape: tuple[int, int, int] = (3, 32, 32), n: int = 20) -> Tensor:
    return torch.randint(0, 256, (n, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def data(shape: tuple[int, int, int] = (3, 32, 32), classes: int = 10) -> DataFacts:
    return DataFacts.of(images(shape), classes)


def same(a: nn.Module, b: nn.Module) -> bool:
    theirs = b.state_dict()
    return all(torch.equal(tensor, theirs[name]) for name, tensor in a.state_dict().items())


def logits(network: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad():
        found: Tensor = network(x)
    return found


# --- shapes and names


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@every_model
def test_a_logit_a_class_whatever_the_size(model: Model, shape: tuple[int, int, int]) -> None:
    for classes in (10, 3):
        network = build(model, data(shape, classes), 0)
        assert network.training
        found = logits(network, pixels(images(shape, 5)))
        assert found.shape == (5, classes)
        assert found.dtype == torch.float32
        assert found.isfinite().all()
        assert len(layers(network)[-1].matrix) == classes


def test_pictures_need_not_be_square() -> None:
    for model in MODELS.values():
        assert logits(build(model, data((3, 12, 20)), 0), pixels(images((3, 12, 20), 4))).shape == (4, 10)


def test_layers_of_the_small_networks() -> None:
    two = layers(build(TwoLayerModel(width=12), data((1, 8, 8)), 0))
    assert [(e.name, e.info.kind, e.info.shape, e.norm) for e in two] == [
        ("hidden", "linear", (12, 64), None), ("output", "linear", (10, 12), None)
    ]  # fmt: skip
    network = build(AlexNetModel(), data(), 0)
    found = layers(network)
    assert [(e.name, e.info.kind, e.info.shape) for e in found] == [
        ("conv1", "conv", (64, 3, 9, 9)), ("conv2", "conv", (128, 64, 3, 3)), ("conv3", "conv", (192, 128, 3, 3)),
        ("fc1", "linear", (256, 192)), ("fc2", "linear", (10, 256)),
    ]  # fmt: skip
    norms = [e.norm for e in found]
    assert norms == [None, network.get_submodule("norm2"), network.get_submodule("norm3"), None, None]
    assert found[0].matrix.shape == (64, 243)
    assert found[0].matrix.data_ptr() == network.get_parameter("conv1.weight").data_ptr()  # the living weights


@pytest.mark.parametrize(("depth", "blocks"), [("18", (2, 2, 2, 2)), ("34", (3, 4, 6, 3))])
def test_layers_of_resnets_have_each_its_own_norm(depth: Any, blocks: tuple[int, ...]) -> None:
    network = build(ResNetModel(depth=depth, width=4), data(), 0)
    found = {each.name: each for each in layers(network)}
    expected = {"net.conv1": "net.bn1"}
    for stage, count in enumerate(blocks, 1):
        for block in range(count):
            at = f"net.layer{stage}.{block}"
            expected |= {f"{at}.conv1": f"{at}.bn1", f"{at}.conv2": f"{at}.bn2"}
            if stage > 1 and block == 0:
                expected[f"{at}.downsample.0"] = f"{at}.downsample.1"
    assert list(found) == [*expected, "net.fc"]
    assert len(found) - 3 == int(depth)  # the layers of three shortcuts are not counted
    for name, norm in expected.items():
        assert found[name].norm is network.get_submodule(norm), name
    assert found["net.fc"].norm is None
    assert found["net.conv1"].info.shape == (4, 3, 3, 3)
    assert found["net.fc"].info.shape == (10, 32)
    assert found["net.layer2.0.conv1"].module.stride == (2, 2)


def test_a_resnet_is_torchvisions_where_the_width_is() -> None:
    from torchvision.models import resnet18  # type: ignore[import-untyped]

    ours = build(ResNetModel(), data(), 0)
    theirs = resnet18(num_classes=10)
    theirs.conv1, theirs.maxpool = nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.Identity()
    theirs.load_state_dict({n.removeprefix("net."): t for n, t in ours.state_dict().items() if n.startswith("net.")})
    x = pixels(images(n=2))
    assert torch.equal(logits(ours.eval(), x), logits(theirs.eval(), ours.get_submodule("normalise")(x)))


def test_alexnet_is_the_reference_network() -> None:
    """SPEC.md section 8: conv 64@9×9 stride 2, pool, conv 128@3×3 + BN, pool, conv 192@3×3 + BN, pool, 256, 10."""
    ours = build(AlexNetModel(), data(), 0)
    x = images().float() / 255
    mean, std = x.mean((0, 2, 3)).view(3, 1, 1), x.std((0, 2, 3), correction=0).view(3, 1, 1)
    theirs = nn.Sequential(
        nn.Conv2d(3, 64, 9, stride=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(64, 128, 3, padding=1), nn.BatchNorm2d(128), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(128, 192, 3, padding=1), nn.BatchNorm2d(192), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(192, 256), nn.ReLU(), nn.Linear(256, 10),
    )  # fmt: skip
    state = [t for n, t in ours.state_dict().items() if not n.startswith("normalise")]
    theirs.load_state_dict(dict(zip(theirs.state_dict(), state, strict=True)))
    torch.testing.assert_close(logits(ours, x), logits(theirs, (x - mean) / std), rtol=1e-4, atol=1e-5)


# --- the start


@every_model
def test_the_start_depends_on_the_seed_alone(model: Model) -> None:
    first = build(model, data(), 3)
    torch.manual_seed(1)
    state = torch.get_rng_state()
    again = build(model, data(), 3)
    assert torch.equal(torch.get_rng_state(), state)
    assert same(first, again)
    other = build(model, data(), 4)
    for a, b in zip(layers(first), layers(other), strict=True):
        assert not torch.equal(a.matrix, b.matrix), a.name


@pytest.mark.parametrize("scale", [0.0, 0.15, 2.0])
@pytest.mark.parametrize("name", ["two_layer", "alexnet"])
def test_init_scale_scales_the_first_weights_and_nothing_else(name: str, scale: float) -> None:
    ones, scaled = (build(MODELS[name].model_copy(update={"init_scale": s}), data(), 0) for s in (1.0, scale))
    first = f"{layers(ones)[0].name}.weight"
    theirs = scaled.state_dict()
    for key, tensor in ones.state_dict().items():
        assert torch.equal(theirs[key], tensor * scale if key == first else tensor), key
    weight = ones.get_parameter(first).detach()
    bound = weight[0].numel() ** -0.5  # PyTorch's default: uniform in ±1/√(inputs)
    assert 0.9 * bound < float(weight.abs().max()) <= bound


def test_resnets_start_as_he_et_al_do() -> None:
    for each in layers(build(ResNetModel(width=16), data(), 0))[:-1]:
        units, _, *kernel = each.info.shape
        expected = (2 / (units * kernel[0] * kernel[1])) ** 0.5
        assert float(each.matrix.std()) == pytest.approx(expected, rel=0.15), each.name


# --- the normalisation


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_mean_and_deviation_are_the_training_images(shape: tuple[int, int, int]) -> None:
    found = data(shape)
    x = images(shape).double() / 255
    torch.testing.assert_close(found.mean.double(), x.mean((0, 2, 3)), rtol=1e-6, atol=0)
    torch.testing.assert_close(found.std.double(), x.std((0, 2, 3), correction=0), rtol=1e-6, atol=0)
    assert (found.shape, found.classes) == (shape, 10)


@every_model
def test_the_network_normalises_its_pixels(model: Model) -> None:
    network = build(model, data(), 0)
    x = pixels(images())
    seen: list[Tensor] = []
    normalise = network.get_submodule("normalise")
    assert isinstance(normalise, Normalise)
    normalise.register_forward_hook(lambda module, args, out: seen.append(out))
    logits(network, x)
    torch.testing.assert_close(seen[0].mean((0, 2, 3)), torch.zeros(3), rtol=0, atol=1e-5)
    torch.testing.assert_close(seen[0].std((0, 2, 3), correction=0), torch.ones(3), rtol=1e-5, atol=0)
    assert not list(normalise.parameters())  # nothing to learn
    assert {"normalise.mean", "normalise.std"} <= set(network.state_dict())  # a checkpoint knows them


def test_a_constant_channel_divides_by_no_zero() -> None:
    x = images()
    x[:, 1], x[:, 2] = 255, 0
    found = DataFacts.of(x, 10)
    assert found.mean[1:].tolist() == [1.0, 0.0]
    assert (found.std[1:] > 0).all()
    network = build(MODELS["alexnet"], found, 0).eval()
    moved = pixels(x) + torch.tensor([0.0, -1.0, 1.0]).view(3, 1, 1)  # as far as an attack may go
    for each in (pixels(x), moved):
        assert logits(network, each).isfinite().all()


# --- a layer drawn again


@every_model
def test_a_layer_is_drawn_again_as_it_was_at_the_start(model: Model) -> None:
    start = build(model, data(), 0)
    network = copy.deepcopy(start)
    with torch.no_grad():  # as training leaves it, roughly
        for tensor in network.state_dict().values():
            tensor.add_(1)
    trained = copy.deepcopy(network)
    names = [each.name for each in layers(network)]
    for name in {names[0], names[1], names[-2], names[-1]}:
        chosen, old = layer(network, name, "x"), layer(start, name, "x")
        torch.manual_seed(1)
        state = torch.get_rng_state()
        redraw(network, chosen, model, data(), 0)
        assert torch.equal(torch.get_rng_state(), state)
        assert not torch.equal(chosen.matrix, old.matrix)  # drawn, not restored
        rms = [float(each.matrix.square().mean().sqrt()) for each in (chosen, old)]
        assert rms[0] == pytest.approx(rms[1], rel=0.3), name
        if chosen.module.bias is not None:
            assert float(chosen.module.bias.detach().abs().max()) < 0.4  # not around 1
        if chosen.norm is not None:
            assert old.norm is not None
            assert same(chosen.norm, old.norm)  # scale 1, shift 0, no statistics yet
        again = copy.deepcopy(trained)
        redraw(again, layer(again, name, "x"), model, data(), 0)
        assert torch.equal(layer(again, name, "x").matrix, chosen.matrix)  # whatever it was before
        redraw(again, layer(again, name, "x"), model, data(), 1)
        assert not torch.equal(layer(again, name, "x").matrix, chosen.matrix)


def test_nothing_but_the_layer_and_its_norm_is_drawn_again() -> None:
    for model, name, norm in ((MODELS["alexnet"], "conv2", "norm2"), (MODELS["resnet 18"], "net.conv1", "net.bn1")):
        network = build(model, data(), 0)
        logits(network, pixels(images()))  # moves all statistics
        before = copy.deepcopy(network.state_dict())
        redraw(network, layer(network, name, "x"), model, data(), 0)
        moved = {key for key, tensor in network.state_dict().items() if not torch.equal(tensor, before[key])}
        assert f"{name}.weight" in moved
        assert f"{norm}.running_mean" in moved
        assert all(key.startswith((f"{name}.", f"{norm}.")) for key in moved)


def test_a_layer_drawn_again_keeps_its_memory() -> None:
    model = MODELS["alexnet"]
    network = build(model, data(), 0).to(memory_format=torch.channels_last)
    weight = network.get_parameter("conv2.weight")
    place, strides = weight.data_ptr(), weight.stride()
    redraw(network, layer(network, "conv2", "x"), model, data(), 0)
    assert (weight.data_ptr(), weight.stride()) == (place, strides)
    assert weight.requires_grad


# --- errors


@pytest.mark.parametrize(
    ("kernel", "padding", "shape", "most"),
    [(9, 0, (1, 8, 8), 8), (11, 1, (1, 8, 8), 10), (31, 0, (1, 28, 28), 28), (13, 0, (3, 12, 20), 12)],
)
def test_images_too_small_for_the_filters_name_the_field(
    kernel: int, padding: int, shape: tuple[int, int, int], most: int
) -> None:
    model = AlexNetModel(kernel=kernel, padding=padding, width=4)
    message = rf"^model\.kernel: got {kernel}; allowed for images of {shape[1]} pixels: at most {most}$"
    with pytest.raises(ConfigError, match=message):
        build(model, data(shape), 0)
    largest = AlexNetModel(kernel=most, padding=padding, width=4)
    assert logits(build(largest, data(shape), 0), pixels(images(shape, 3))).shape == (3, 10)


def test_a_layer_that_is_not_there_names_those_that_are() -> None:
    network = build(MODELS["two_layer"], data(), 0)
    with pytest.raises(ConfigError, match=r"^local\.layer: got 'conv1'; allowed: hidden, output$"):
        layer(network, "conv1", "local.layer")
