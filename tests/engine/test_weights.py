"""A run's weights load in plain PyTorch, by the script beside them, in a process that cannot import this project."""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from engine import worlds
from engine.api.weights import write_weights
from engine.cli.main import run_command_line
from engine.config.experiment import Config
from engine.core.errors import ConfigError, StoreError
from engine.images.loading import ImageNetwork
from engine.models.base import networks
from engine.models.plain import SymmetricNet, expression
from engine.models.symmetric_relu import SymmetricRelu
from engine.theory.loading import TheoryNetwork
from tests.tiny_image_runs import tiny_images
from tests.tiny_runs import tiny_config

SHORT = {"schedule.clean_steps": 4, "schedule.second_steps": 3, "evaluation.every": 100}
CONFIGS: dict[str, Config] = {
    "theory, low rank": tiny_config(**SHORT | {"schedule.clean_steps": 20, "low_rank.rank": 2}),
    "two-layer, low rank": tiny_images(**SHORT | {"model.name": "two_layer", "low_rank.rank": 2}),
    "alexnet, a layer drawn again": tiny_images(**SHORT | {"local.layer": "conv2", "local.redraw_at": 2}),
    "resnet": tiny_images(
        **SHORT | {"model.name": "resnet", "model.width": 4, "schedule.clean_steps": 1, "schedule.second_steps": 1}
    ),
}
Moment = Literal["start", "clean", "now"]
MOMENTS: dict[str, tuple[Moment, ...]] = {
    name: ("now",) if name == "resnet" else ("start", "clean", "now")  # to build it takes half a second
    for name in CONFIGS
}
TWO_LAYER = {f"{layer}.{parameter}" for layer in ("hidden", "output") for parameter in ("weight", "bias")}
OUTSIDE = """
import runpy, sys
sys.modules["engine"] = None  # as where it is not installed
from pathlib import Path
from safetensors.torch import load_file, save_file
for path in sorted(Path(sys.argv[1]).glob("*/load_*.py")):
    if path.parent.name == "resnet": continue  # torchvision is long to import
    x = load_file(path.parent / "x.st")["x"]
    save_file({"logits": runpy.run_path(str(path))["logits"](x)}, path.with_suffix(".st"))
"""


def train(config: Config, folder: Path) -> None:
    """To its end, with no report measured."""
    session = worlds.create(config, folder)
    while not session.finished:
        session.step()
    session.close()


def ours(folder: Path, moment: Moment, x: Tensor) -> Tensor:
    """What the project itself makes of x: as its attacks and probes see the network."""
    network = worlds.load(folder)
    if isinstance(network, ImageNetwork):
        return network.classifier(moment).logits(x)
    weight, bias = network.states[moment]
    return SymmetricRelu(weight, bias).logits(x).clone()


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """By kind of run the weights of all moments, the scripts and what these make of x in another process."""
    root = tmp_path_factory.mktemp("weights")
    for name, config in CONFIGS.items():
        train(config, root / "runs" / name)
        for moment in MOMENTS[name]:
            arguments = ["--moment", moment, "--out", str(root / name / f"{moment}.safetensors")]
            assert run_command_line(["weights", str(root / "runs" / name), *arguments]) == 0
        save_file({"x": worlds.load(root / "runs" / name).samples(20)[0].contiguous()}, root / name / "x.st")
    line = [sys.executable, "-I", "-c", OUTSIDE, str(root)]
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(line, capture_output=True, text=True, cwd=root, timeout=120, env=env)
    assert (done.returncode, done.stderr) == (0, "")
    return root


@pytest.mark.parametrize("name", CONFIGS)
def test_logits_are_ours(written: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bit for bit in the sparse-coding world; on images the order of memory decides the last bits of a sum."""
    x = load_file(written / name / "x.st")["x"]
    if name == "resnet":  # in this process, which has torchvision already
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, "engine", None)
            logits = runpy.run_path(str(written / name / "load_now.py"))["logits"](x)
        save_file({"logits": logits}, written / name / "load_now.st")
    seen = []
    for moment in MOMENTS[name]:
        there = load_file(written / name / f"load_{moment}.st")["logits"]
        here = ours(written / "runs" / name, moment, x)
        assert there.abs().max() > 0
        if name.startswith("theory"):
            assert torch.equal(there, here)
        else:
            assert torch.allclose(there, here, rtol=1e-5, atol=1e-6)
        seen.append(there)
    assert not any(torch.allclose(a, b) for a, b in pairwise(seen))


def test_the_names_are_those_of_plain_pytorch(written: Path) -> None:
    names = {name: set(load_file(written / name / "now.safetensors")) for name in CONFIGS}
    assert names["theory, low rank"] == {"weight", "bias", "dictionary", "target"}
    assert names["two-layer, low rank"] == TWO_LAYER
    assert {"bn1.running_var", "layer4.1.conv2.weight", "layer2.0.downsample.0.weight"} < names["resnet"]
    tops = {name.partition(".")[0] for name in names["resnet"]}
    assert tops == {"conv1", "bn1", "layer1", "layer2", "layer3", "layer4", "fc"}
    assert {"conv1.weight", "norm2.running_mean", "fc2.bias"} < names["alexnet, a layer drawn again"]


def test_the_dictionary_shows_the_mixtures(written: Path) -> None:
    from engine.api import open_run
    from engine.core.results import Mixture

    state = load_file(written / "theory, low rank" / "now.safetensors")
    coefficients = (state["weight"] @ state["dictionary"]).abs()
    purity = coefficients.amax(1) / coefficients.norm(dim=1)
    found = open_run(written / "runs" / "theory, low rank").at().result(Mixture)
    assert torch.allclose(purity, torch.tensor(found.purity), atol=1e-6)


def test_the_file_says_what_it_is(written: Path) -> None:
    path = written / "resnet" / "now.safetensors"
    with safe_open(path, framework="pt") as file:
        about = file.metadata()
    assert (about["format"], about["moment"], about["step"]) == ("pt", "now", "2")
    assert about["load"] == (written / "resnet" / "load_now.py").read_text(encoding="utf-8")
    assert json.loads(about["config"])["model"]["name"] == "resnet"


def test_an_earlier_checkpoint_and_what_is_not_there(written: Path, tmp_path: Path, capsys: Any) -> None:
    run = written / "runs" / "two-layer, low rank"

    def weights(*arguments: str, out: str = "w.safetensors") -> tuple[int, str]:
        code = run_command_line(["weights", str(run), *arguments, "--out", str(tmp_path / out)])
        return code, capsys.readouterr().err

    assert weights("--checkpoint", "0") == (0, "")
    first = load_file(tmp_path / "w.safetensors")
    start = load_file(written / "two-layer, low rank" / "start.safetensors")
    assert all(torch.equal(first[name], start[name]) for name in start)
    code, error = weights("--checkpoint", "0", "--moment", "clean")
    assert (code, error) == (2, f"error: {run}: clean training had not ended at step 0\n")
    code, error = weights("--checkpoint", "1")
    assert (code, error) == (2, "error: checkpoint: got 1; allowed: 0, 4, 7\n")
    code, error = weights(out="w.pt")
    assert (code, error) == (2, "error: --out: got 'w.pt'; allowed: a name that ends with .safetensors\n")
    code, error = weights("--moment", "then")
    assert (code, "Choose from" in error) == (2, True)
    with pytest.raises(ConfigError, match="moment: got 'then'; allowed: start, clean, now"):
        write_weights(run, tmp_path / "w.safetensors", moment="then")  # type: ignore[arg-type]
    with pytest.raises(StoreError, match="is not a run folder"):
        write_weights(tmp_path, tmp_path / "w.safetensors")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["load_w.py", "w.safetensors"]


class Doubled(nn.Module):
    """Something that plain PyTorch has not."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * x


@contextmanager
def built_with(*more: nn.Module) -> Iterator[None]:
    """The two-layer network ends with these."""
    kind = networks["two_layer"]
    original = kind.build
    object.__setattr__(kind, "build", lambda knobs, facts: original(knobs, facts).extend(more))  # type: ignore[operator]
    try:
        yield
    finally:
        object.__setattr__(kind, "build", original)


def test_of_a_network_of_ones_own_the_weights_alone(written: Path, tmp_path: Path, capsys: Any) -> None:
    run = written / "runs" / "two-layer, low rank"
    with built_with(Doubled()):
        assert run_command_line(["weights", str(run), "--out", str(tmp_path / "w.safetensors")]) == 0
    assert "plain PyTorch has no such one" in capsys.readouterr().out
    assert [p.name for p in tmp_path.iterdir()] == ["w.safetensors"]
    assert set(load_file(tmp_path / "w.safetensors")) == TWO_LAYER


def test_modules_as_code_are_the_same_modules() -> None:
    chain = nn.Sequential(
        nn.Conv2d(1, 3, (3, 2), stride=2, padding=(1, 0), bias=False), nn.BatchNorm2d(3, eps=1e-3), nn.GELU("tanh"),
        nn.Sequential(nn.AvgPool2d(2), nn.Dropout(0.1)), nn.Flatten(), nn.Linear(4, 2),
    )  # fmt: skip
    again = eval(expression(chain), {"nn": nn})
    assert repr(again) == repr(chain)
    assert expression(nn.Sequential(nn.Linear(2, 2), Doubled())) == ""
    assert expression(nn.TransformerEncoderLayer(4, 1)) == ""


def test_the_theory_network_of_a_run_can_be_trained_on(written: Path) -> None:
    loaded = worlds.load(written / "runs" / "theory, low rank")
    assert isinstance(loaded, TheoryNetwork)
    network = loaded.network("clean").requires_grad_()
    assert isinstance(network, SymmetricNet)
    x, y = loaded.samples(30)
    with torch.enable_grad():
        nn.functional.softplus(-y * network(x)).mean().backward()  # type: ignore[no-untyped-call]
    grad = network.weight.grad
    assert grad is not None
    assert grad.abs().sum() > 0
    assert network.dictionary.grad is None
