"""The files of other projects: their layouts of keys are imported, and what does not fit is refused in one line."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from engine.cli.main import run_command_line
from engine.core.errors import ConfigError
from engine.images.loading import ImageNetwork
from engine.imports import files
from engine.imports.files import read_file
from engine.imports.importing import import_checkpoints
from engine.imports.keys import fit
from engine.imports.request import ImportRequest
from engine.run.store import Store
from tests.tiny_images import tree, write
from tests.tiny_imports import KNOBS, CifarResNet, normaliser, prefixed

MEAN, STD = 0.31, 0.37
Saved = tuple[dict[str, Any], Callable[[Tensor], Tensor], tuple[str, ...]]


def request(clean: Path, robust: Path, out: Path, **changes: Any) -> ImportRequest:
    knobs = (*KNOBS.items(), ("model.width", "4"))
    made = ImportRequest("resnet18", "digits", clean, robust, out, settings=knobs)
    return replace(made, **changes)


def parallel(network: CifarResNet) -> Saved:
    """As the usual CIFAR training scripts save: DataParallel, under ``net``; images were normalised by the loader."""
    state = {"net": prefixed(network.state_dict(), "module."), "acc": 95.1, "epoch": 199}
    words = ("outside", f"{MEAN}", f"{STD}")
    return state, lambda x: network((x - MEAN) / STD), words


def attacker(network: CifarResNet) -> Saved:
    """As a library of robust training saves: the network twice, in an attacker, with a normaliser of its own."""
    inside = normaliser(MEAN, STD).state_dict()
    state: dict[str, Any] = {}
    for prefix in ("module.model.", "module.attacker.model."):
        state |= prefixed(network.state_dict(), prefix)
    for prefix in ("module.normalizer.new_", "module.attacker.normalize.new_"):
        state |= prefixed(inside, prefix)
    found = {"model": state, "optimizer": {"param_groups": [{"lr": 0.1}]}, "schedule": None, "epoch": 150}
    return found, lambda x: network((x - MEAN) / STD), ("inside",)


def sequence(network: CifarResNet) -> Saved:
    """As a benchmark of robust networks saves: normalisation and network in a sequence, compiled."""
    whole = nn.Sequential(normaliser(MEAN, STD), network)
    return {"state_dict": prefixed(whole.state_dict(), "_orig_mod.")}, lambda x: whole(x), ("inside",)


@pytest.mark.parametrize("layout", [parallel, attacker, sequence])
def test_key_layouts_of_other_projects(layout: Callable[[CifarResNet], Saved], tmp_path: Path) -> None:
    paths, expected = [], []
    for seed, name in enumerate(("clean.pth", "robust.ckpt")):
        state, function, (how, *numbers) = layout(CifarResNet(seed, 1, 10))
        torch.save(state, tmp_path / name)
        paths.append(tmp_path / name)
        expected.append(function)
    mean, std = ((float(numbers[0]),), (float(numbers[1]),)) if numbers else ((), ())
    asked: Any = how if numbers else None  # what a file holds need not be said
    made = import_checkpoints(request(*paths, tmp_path / "run", normalisation=asked, mean=mean, std=std), device="cpu")
    network = ImageNetwork.load(tmp_path / "run")
    x, _ = network.held_out(8)
    for moment, function in zip(("clean", "now"), expected, strict=True):
        torch.testing.assert_close(network.network(moment)(x), function(x), rtol=1e-4, atol=1e-4)  # type: ignore[arg-type]
    assert made.imported.normalisation == how
    assert "shortcut. → downsample." in made.imported.clean.taken_off
    assert "linear. → fc." in made.imported.clean.taken_off
    assert (made.imported.mean, made.imported.std) == ("0.31", "0.37")


def test_the_command_says_what_was_taken_off_and_which_normalisation(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Pictures in colour from a folder: weights of three channels, in half precision and without counters."""
    images = write(tmp_path / "images", tree("train/", "test/", count=8))
    for seed, name in enumerate(("clean.pt", "robust.pt")):
        state = prefixed(CifarResNet(seed, 3, 2).state_dict(), "encoder.")
        torch.save({"state_dict": {name: each.half() if each.is_floating_point() else each for name, each in
                                   state.items() if "num_batches" not in name}}, tmp_path / name)  # fmt: skip
    sets = {**KNOBS, "model.width": "4", "world.train_size": "0", "world.folder": str(images)}
    words = [word for name, value in sets.items() for word in ("--set", f"{name}={value}")]
    line = ["import", "--model", "resnet18", "--data", "image_folder", "--clean", str(tmp_path / "clean.pt"),
            "--robust", str(tmp_path / "robust.pt"), "--out", str(tmp_path / "run"), "--device", "cpu",
            "--normalisation", "outside", "--mean", "0.49,0.48,0.45", "--std", "0.25,0.24,0.26"]  # fmt: skip
    assert run_command_line([*line, *words]) == 0
    told = capsys.readouterr().out
    assert "taken off: state_dict, encoder., shortcut. → downsample., linear. → fc." in told
    assert "normalisation: outside (mean 0.49, 0.48, 0.45; std 0.25, 0.24, 0.26)" in told
    with closing(Store.open(tmp_path / "run", read_only=True)) as store:
        mean = store.load().arrays["now.normalise.mean"]
    assert mean.flatten().tolist() == pytest.approx([0.49, 0.48, 0.45])


def test_pixels_as_they_are_and_the_training_images_own(tmp_path: Path) -> None:
    path = tmp_path / "w.pt"
    torch.save({"hidden": {}, "net": two_layer_state()}, path)
    knobs = (*KNOBS.items(), ("model.width", "8"))
    asked = request(path, path, tmp_path / "a", model="two_layer", settings=knobs, normalisation="none")
    plain = import_checkpoints(asked, device="cpu")
    assert (plain.imported.mean, plain.imported.std) == ("0", "1")
    own = import_checkpoints(replace(asked, out=tmp_path / "b", normalisation="outside"), device="cpu")
    facts = ImageNetwork.load(tmp_path / "b").facts
    assert float(own.imported.mean) == pytest.approx(float(facts.mean), abs=1e-5)


def two_layer_state() -> dict[str, Tensor]:
    """Eight neurons on digits, without a normalisation."""
    return {
        "hidden.weight": torch.ones(8, 64), "hidden.bias": torch.zeros(8), "output.weight": torch.ones(10, 8),
        "output.bias": torch.zeros(10),
    }  # fmt: skip


class Danger:
    """Whoever loads it runs its code."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (pytest.fail, ("code of a file was run",))


def saved(value: object, path: Path) -> Path:
    torch.save(value, path)
    return path


def changed(**tensors: Tensor | None) -> dict[str, Tensor]:
    """The network's state dict with some tensors replaced or taken out (two underscores for a dot)."""
    state = dict(CifarResNet(0, 1, 10).state_dict())
    for name, tensor in tensors.items():
        state.pop(name.replace("__", "."), None)
        if tensor is not None:
            state[name.replace("__", ".")] = tensor
    return state


NAN = torch.full((10,), torch.nan)
REFUSED: dict[str, tuple[Callable[[Path], Path], str]] = {
    "pickled": (lambda p: saved({"model": Danger()}, p / "w.pt"), "would run code of whoever made it; allowed"),
    "whole module": (lambda p: saved(nn.Linear(2, 2), p / "w.pth"), r"torch.load\(OLD, weights_only=False\)"),
    "damaged": (lambda p: _written(p / "w.pt", b"PK\x03\x04 nothing"), "is damaged, or no file of torch.save"),
    "plain pickle": (lambda p: _written(p / "w.pt", pickle.dumps({"a": 1})), "no file of torch.save|no tensors"),
    "safetensors": (lambda p: _written(p / "w.safetensors", b"12345678nothing"), "is no safetensors file"),
    "ending": (lambda p: _written(p / "w.npz", b""), r"ends with .safetensors, .pt, .pth, .ckpt"),
    "absent": (lambda p: p / "w.pt", "does not exist"),
    "folder": (lambda p: _made(p / "w.pt"), "a folder in place of a file"),
    "no tensors": (lambda p: saved({"state_dict": {"epoch": 3}}, p / "w.pt"), "holds a table of epoch, no tensors"),
    "a list": (lambda p: saved([torch.zeros(2)], p / "w.pt"), "holds a list, no tensors by name"),
    "not finite": (lambda p: saved(changed(linear__bias=NAN), p / "w.pt"), "linear.bias holds values that are not"),
    "missing": (lambda p: saved(changed(conv1__weight=None), p / "w.pt"), "1 missing: conv1.weight"),
    "unexpected": (lambda p: saved(changed(head__weight=torch.zeros(3)), p / "w.pt"), "1 unexpected: head.weight"),
    "misshapen": (
        lambda p: saved(changed(linear__bias=torch.zeros(100)), p / "w.pt"),
        r"1 misshapen: fc.bias \(100,\) in place of \(10,\)",
    ),
    "two networks": (
        lambda p: saved({**prefixed(changed(), "model."), **prefixed(CifarResNet(1, 1, 10).state_dict(), "net.")},
                        p / "w.pt"),
        "are two different tensors for conv1.weight",
    ),
    "no batch norm": (
        lambda p: saved({n: t for n, t in changed().items() if "bn" not in n and "shortcut.1" not in n}, p / "w.pt"),
        "this network has batch norms that the file has not",
    ),
    "half a normalisation": (lambda p: saved(changed(mean=torch.zeros(1)), p / "w.pt"), "a mean of the images alone"),
}  # fmt: skip


def _written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def _made(path: Path) -> Path:
    path.mkdir()
    return path


@pytest.mark.parametrize("case", REFUSED)
def test_refused_in_one_line_that_names_option_and_reason(case: str, tmp_path: Path) -> None:
    make, words = REFUSED[case]
    good = saved(changed(), tmp_path / "good.pt")
    (tmp_path / "in").mkdir()
    with pytest.raises(ConfigError, match=words) as refused:
        import_checkpoints(request(good, make(tmp_path / "in"), tmp_path / "run", normalisation="none"), device="cpu")
    text = str(refused.value)
    assert text.startswith("--robust: ")
    assert "\n" not in text
    assert len(text) < 700
    assert sorted(path.name for path in tmp_path.iterdir()) == ["good.pt", "in"]


FIELDS: dict[str, tuple[Mapping[str, Any], str]] = {
    "model": ({"model": "vgg"}, "--model: got 'vgg'; allowed: "),
    "depth": ({"model": "resnet50"}, "--model: got 'resnet50'; allowed: "),
    "data": ({"data": "imagenet"}, "--data: got 'imagenet'; allowed: "),
    "knob": ({"settings": (("model.widht", "4"),)}, "model.widht: no knob has this name"),
    "steps": ({"settings": (("schedule.clean_steps", "0"),)}, "schedule.clean_steps: got 0; allowed: at least 1"),
    "second": ({"settings": (("schedule.second", "clean"),)}, "schedule.second: got 'clean'"),
    "curve": ({"settings": (("attack.tau", "[[0, 0.1], [1, 0.2]]"),)}, "nothing is trained; allowed: a value"),
    "mean alone": ({"normalisation": "outside", "mean": (0.5,)}, "--mean, --std: got one of them"),
    "mean inside": ({"mean": (0.5,), "std": (0.5,)}, "--mean: allowed with --normalisation outside"),
    "std": ({"normalisation": "outside", "mean": (0.5,), "std": (0.0,)}, "--std: got"),
    "channels": ({"normalisation": "outside", "mean": (0.5, 0.5), "std": (0.5,)}, "--mean: got 2 numbers; allowed: 1"),
    "no choice": ({"normalisation": None}, "--normalisation: none was given and --clean holds none; allowed: outside"),
    "not inside": ({"normalisation": "inside"}, "--normalisation: got inside, but --clean holds none"),
    "expected": ({"expected": 95.0}, "--expect-accuracy: got 95; allowed: a number from 0 to 1"),
}


@pytest.mark.parametrize("case", FIELDS)
def test_fields_are_refused_by_name(case: str, tmp_path: Path) -> None:
    changes, words = FIELDS[case]
    path = saved(changed(), tmp_path / "w.pt")
    with pytest.raises(ConfigError) as refused:
        import_checkpoints(request(path, path, tmp_path / "run", **{"normalisation": "none", **changes}), device="cpu")
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "run").exists()


def test_too_large_a_file_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(changed(), tmp_path / "w.pt")
    monkeypatch.setattr(files, "MOST_FILE", 1000)
    with pytest.raises(ConfigError, match=r"--clean: .* bytes; allowed: at most 1000"):
        read_file(path, "--clean")


def test_a_folder_that_holds_something_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "notes.txt").write_text("mine")
    with pytest.raises(Exception, match="exists and is not empty"):
        import_checkpoints(request(tmp_path / "no.pt", tmp_path / "no.pt", tmp_path / "run"), device="cpu")


def test_a_checkpoint_of_our_own_runs_gives_its_present_weights(tmp_path: Path) -> None:
    state = {name: each.contiguous() for name, each in changed().items()}
    own = {**prefixed(state, "now."), **prefixed({n: each * 0 for n, each in state.items()}, "init.")}
    save_file(own, tmp_path / "step-00000008.safetensors")
    found = read_file(tmp_path / "step-00000008.safetensors", "--clean")
    assert found.wrappers == ("now.",)
    torch.testing.assert_close(found.tensors["linear.weight"], state["linear.weight"])


@pytest.mark.parametrize(
    "names",
    [("normalize.mean", "normalize.std"), ("mu", "sigma"), ("module.normalizer.new_mean", "module.normalizer.new_std")],
)
def test_mean_and_deviation_are_told_apart_whatever_they_are_called(names: tuple[str, str]) -> None:
    weight = torch.ones(2, 3)
    mean, std = torch.tensor([0.1, 0.2, 0.3]), torch.tensor([0.5, 0.6, 0.7])
    found = fit({"fc.weight": weight, names[0]: mean, names[1]: std}, {"fc.weight": weight}, 3, "--clean")
    assert found.mean is not None
    assert found.std is not None
    assert torch.equal(found.mean, mean)
    assert torch.equal(found.std, std)
