"""torchvision's classifiers by name: any of them, on grey images or photographs, trained, measured and resumed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from engine import worlds
from engine.config.experiment import from_dict
from engine.core.errors import ConfigError
from engine.core.results import FeatureRequest
from engine.core.slices import finish
from engine.images.training import _may_draw
from engine.models.base import DataFacts
from engine.models.classifier import ImageClassifier
from engine.models.layers import build, layer, layers, redraw
from engine.models.networks.torchvision_models import TorchvisionModel
from engine.models.plain import of_images
from engine.probes.features import visualise
from engine.probes.layers import activity, chunk_of
from tests.examples.conftest import SMALL, call, captions, settings  # noqa: F401 - a fixture
from tests.tiny_images import encoded, write

ARCH = "shufflenet_v2_x0_5"
TINY: dict[str, Any] = {
    "device": "cpu", "threads": 1,
    "model": {"name": "torchvision", "arch": "squeezenet1_1"}, "training": {"batch_size": 4, "lr_schedule": "constant"},
    "schedule": {"clean_steps": 1, "second_steps": 1},
    "evaluation": {"every": 100, "size": 16, "steps": 1, "report_size": 16, "report_steps": 1},
}  # fmt: skip


def facts(shape: tuple[int, int, int] = (3, 32, 32), classes: int = 4) -> DataFacts:
    return DataFacts(shape, classes, torch.full((shape[0],), 0.5), torch.full((shape[0],), 0.25))


def made(arch: str, shape: tuple[int, int, int] = (3, 32, 32), seed: int = 0) -> nn.Module:
    return build(TorchvisionModel(arch=arch), facts(shape), seed)


def test_it_is_torchvisions_network_with_the_datas_classes() -> None:
    from torchvision.models import shufflenet_v2_x0_5  # type: ignore[import-untyped]

    ours = made(ARCH).eval()
    theirs = shufflenet_v2_x0_5(num_classes=4).eval()
    theirs.load_state_dict({n.removeprefix("net."): t for n, t in ours.state_dict().items() if n.startswith("net.")})
    x = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(ours(x), theirs((x - 0.5) / 0.25))
    assert [layers(ours)[i].name for i in (0, -1)] == ["net.conv1.0", "net.fc"]
    assert layers(ours)[0].norm is ours.get_submodule("net.conv1.1")
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), made(ARCH).parameters(), strict=True))
    assert not torch.equal(layers(made(ARCH, seed=1))[0].matrix, layers(ours)[0].matrix)


def test_grey_images_are_three_equal_channels() -> None:
    grey, colour = made(ARCH, (1, 32, 32)).eval(), made(ARCH).eval()
    assert layers(grey)[0].info.shape == (24, 1, 3, 3)
    x = torch.rand(2, 1, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(grey(x), colour(x.expand(-1, 3, -1, -1)))


def test_others_build_it_without_this_project() -> None:
    for arch, shape in ((ARCH, (1, 32, 32)), ("googlenet", (3, 64, 64))):
        ours = made(arch, shape).eval()
        plain = of_images(ours, TorchvisionModel(arch=arch), facts(shape))
        names: dict[str, Any] = {"torch": torch, "nn": nn}
        exec(plain.code, names)
        names["network"].load_state_dict(plain.state)
        x = torch.rand(2, *shape)
        with torch.no_grad():
            assert torch.allclose(names["network"].eval()(eval(plain.before, {"x": x})), ours(x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("arch", "shape", "words"),
    [
        ("resnet5", (3, 32, 32), "model.arch: got 'resnet5'; did you mean resnet50 .* allowed: alexnet, convnext_base"),
        ("alexnet", (3, 32, 32), "alexnet takes no images of 32×32 pixels .*Output size is too small"),
        ("inception_v3", (3, 48, 32), "inception_v3 takes no images of 32×48 pixels .*world.side = 224"),
        ("maxvit_t", (3, 32, 32), "maxvit_t takes no images of 32×32 pixels .*not divisible"),
        (ARCH, (2, 32, 32), "images of 1 or 3 channels; these have 2"),
    ],
)
def test_what_cannot_be_is_one_line_before_anything_is_trained(
    arch: str, shape: tuple[int, int, int], words: str
) -> None:
    with pytest.raises(ConfigError, match=rf"^model\.arch: .*{words.removeprefix('model.arch: ')}") as met:
        made(arch, shape)
    assert len(str(met.value).splitlines()) == 1


def test_no_run_is_left_of_one_that_cannot_be(call: Any, tmp_path: Path) -> None:  # noqa: F811
    words = settings("model.name=torchvision", "model.arch=squeezenet9", *SMALL)
    call("run", "digits", "--out", tmp_path / "run", *words, fails="did you mean squeezenet1_1")
    assert not (tmp_path / "run").exists()


def test_knobs_are_listed_without_torchvision() -> None:
    program = (
        "import sys; from engine.cli.main import run_command_line as run; "
        "from engine.config.experiment import from_dict; "
        "from_dict({'world': {'name': 'digits'}, 'model': {'name': 'torchvision', 'arch': 'none'}}); "
        "code = run(['knobs']); sys.exit(code or 'torchvision' in sys.modules or 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_batch_norms_belong_to_the_layer_before_them() -> None:
    """In a DenseNet some stand before the next one, which has other inputs than the last one has units."""
    found = {each.name: each for each in layers(made("densenet121"))}
    assert found["net.features.denseblock1.denselayer1.conv1"].norm is not None
    assert found["net.features.denseblock1.denselayer1.conv2"].norm is None


def test_layers_inside_an_attention_are_compared_though_they_put_nothing_out() -> None:
    from torchvision.models.vision_transformer import VisionTransformer

    net = VisionTransformer(16, 8, 1, 2, 8, 16, num_classes=3).eval()
    names = [each.name for each in layers(net)]
    attention = "encoder.layers.encoder_layer_0.self_attention.out_proj"
    assert attention in names
    active = finish(activity(net, torch.rand(2, 3, 16, 16), 2))
    assert set(active) == set(names[:-1]) - {attention}
    mlp = FeatureRequest("encoder.layers.encoder_layer_0.mlp.0", (0, 15), steps=2)
    found = finish(visualise({"now": net}, mlp, None, (3, 16, 16), 0, 0))
    assert found.pictures["now"].shape == (2, 3, 16, 16)
    with pytest.raises(ConfigError, match=r"out_proj', which puts nothing out by itself"):
        finish(visualise({"now": net}, FeatureRequest(attention, (0,), steps=1), None, (3, 16, 16), 0, 0))


def test_a_layer_is_drawn_again_as_the_architecture_draws_it() -> None:
    model, network = TorchvisionModel(arch="mobilenet_v2"), made("mobilenet_v2")
    start = {each.name: each.matrix.clone() for each in layers(network)}
    name = "net.classifier.1"  # N(0, 0.01²), which is not how torch draws a linear layer
    redraw(network, layer(network, name, "x"), model, facts(), 0)
    now = layer(network, name, "x").matrix
    assert not torch.equal(now, start[name])
    assert float(now.std()) == pytest.approx(0.01, rel=0.1)
    assert all(torch.equal(each.matrix, start[each.name]) for each in layers(network) if each.name != name)


def test_what_may_draw_while_training_is_seeded() -> None:
    from torchvision.ops import StochasticDepth

    assert _may_draw(StochasticDepth(0.5, "row"))
    assert _may_draw(nn.Dropout(0.1))
    assert _may_draw(nn.MultiheadAttention(4, 2, dropout=0.1))
    assert not any(map(_may_draw, (nn.Dropout(0.0), nn.MultiheadAttention(4, 2), nn.Conv2d(1, 1, 1), nn.ReLU())))


def test_attacks_see_it_in_evaluation_mode() -> None:
    network = made(ARCH)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    found = ImageClassifier(network)
    x, y = torch.rand(3, 3, 32, 32), torch.tensor([0, 1, 2])
    both, alone = found.input_gradient(x, y), found.input_gradient(x[:1], y[:1])  # no image of a batch sees another
    torch.testing.assert_close(both[:1], alone)
    assert network.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_a_run_is_trained_resumed_to_the_bit_and_exported(call: Any, tmp_path: Path) -> None:  # noqa: F811
    files = {f"{name}/{i}.png": encoded(60 * (name == "b") + i, (32, 32)) for name in "ab" for i in range(15)}
    photos = {"name": "image_folder", "folder": str(write(tmp_path / "photos", files))}
    config, ends = from_dict(TINY | {"world": photos}), []
    for stops in ((2,), (1, 2)):
        folder = tmp_path / f"run{len(stops)}"
        for number, stop in enumerate(stops):
            session = worlds.resume(folder) if number else worlds.create(config, folder)
            while session.steps_done < stop:
                session.step()
            assert session.problems == ()
            session.close()
        ends.append(worlds.load(folder).checkpoint.arrays)
    assert ends[0].keys() >= {"now.net.features.0.weight", "momentum.net.features.0.weight"}
    assert all(np.array_equal(array, ends[1][name]) for name, array in ends[0].items() if name.startswith("now."))
    assert not np.array_equal(ends[0]["now.net.features.0.weight"], ends[0]["init.net.features.0.weight"])
    out = tmp_path / "figures"
    views = [word for view in ("filters", "layers") for word in ("--view", view)]
    call("export", tmp_path / "run2", *views, "--out", out, "--format", "svg")
    assert "torchvision's squeezenet1_1" in captions(out)
    assert "net.features.0" in captions(out)


def test_slices_of_large_images_are_smaller() -> None:
    assert [chunk_of((9, 3, side, side)) for side in (8, 64, 65, 224, 5000)] == [128, 128, 124, 10, 1]


def test_photographs_at_224_are_learned_from_a_folder(tmp_path: Path) -> None:
    """With ``world.side`` the middle square of each picture is resized; all are kept as bytes in main memory."""
    files = {f"{name}/{i}.png": encoded(60 * (name == "b") + i, (40, 30)) for name in "ab" for i in range(10)}
    world = {"name": "image_folder", "folder": str(write(tmp_path / "photos", files)), "side": 224}
    config = TINY | {"world": world, "training": {"batch_size": 2}}
    session = worlds.create(from_dict(config), tmp_path / "run")
    try:
        assert session.images.train_x.shape == (16, 3, 224, 224)  # type: ignore[attr-defined]
        assert session.images.train_x.dtype == torch.uint8  # type: ignore[attr-defined]
        assert {each.chunk for each in session._evaluations.requests} == {20}  # of small images 256
        session.step()
        session.step()
        assert not session.diverged
    finally:
        session.close()
