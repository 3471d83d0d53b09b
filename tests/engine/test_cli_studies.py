"""The commands about data and studies, and the others on a run on images, as somebody types them."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.image import imread

from engine.cli.main import run_command_line
from engine.config.presets import load_preset, preset_names
from engine.core import metrics
from engine.data import catalogue
from tests.tiny_image_runs import tiny_images
from tests.tiny_runs import read, run, table, values

Call = Callable[..., tuple[int, str, str]]
IMAGE_PRESETS = (
    "digits", "mnist5k", "cifar10-filters", "cifar10-local", "cifar10-low-rank", "cifar10-resnet18",
    "cifar10-resnet18-small",
)  # fmt: skip


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Call:
    """Run a command in this process, with no data set downloaded: exit code, stdout, stderr."""
    monkeypatch.setenv(catalogue.VARIABLE, str(tmp_path / "data"))

    def inner(*arguments: object) -> tuple[int, str, str]:
        code = run_command_line([str(a) for a in arguments])
        out, err = capsys.readouterr()
        return code, out, err

    return inner


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny run on digits that learns something, through its schedule; only to be read."""
    folder = tmp_path_factory.mktemp("runs") / "digits"
    grad = torch.is_grad_enabled()
    run(tiny_images(**{"training.flip": False, "training.crop": 0, "training.batch_size": 100}), folder)
    torch.set_grad_enabled(grad)
    return folder


@pytest.fixture
def digits(original: Path, tmp_path: Path) -> Path:
    """A copy of that run, for a command that writes into it."""
    return shutil.copytree(original, tmp_path / "digits")


def refused(call: Call, *arguments: object) -> str:
    """The error of a command that takes one line and code 2."""
    code, out, err = call(*arguments)
    assert code == 2
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    return err


def steps_of_progress(out: str) -> list[str]:
    """What was under way, from lines that a window reads; their shares never fall and end at 1."""
    found = re.findall(r"^progress (\d\.\d\d) (.+)$", out, re.MULTILINE)
    shares = [float(share) for share, _ in found]
    assert len(found) == out.count("progress ")
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0.0, 1.0)
    return list(dict.fromkeys(what for _, what in found))


# --- data


def test_data_lists_what_is_there_and_how_to_get_the_rest(call: Call, tmp_path: Path) -> None:
    code, out, err = call("data")
    assert (code, err) == (0, "")
    for name in ("cifar10", "digits", "image_folder", "mnist5k"):
        assert re.search(rf"^{name} ", out, re.MULTILINE)
    assert "not installed" in out
    assert "part of scikit-learn" in out
    assert str(tmp_path / "data") in out
    assert call("data", "digits")[1].startswith("digits")
    assert "cifar10" not in call("data", "digits")[1]


def test_data_as_json(call: Call, tmp_path: Path) -> None:
    code, out, _ = call("data", "--json")
    found = {each["name"]: each for each in json.loads(out)}
    assert code == 0
    assert set(found) == {"cifar10", "digits", "image_folder", "mnist5k"}
    assert found["digits"]["installed"]
    assert found["digits"]["size_bytes"] > 0
    assert not found["cifar10"]["installed"]
    assert found["cifar10"]["size_bytes"] == 0
    for name in ("a/0.png", "a/1.png", "b/0.png", "b/1.png"):
        (tmp_path / "mine" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "mine" / name).write_bytes(b"12345")
    (own,) = json.loads(call("data", "image_folder", "--folder", tmp_path / "mine", "--json")[1])
    assert (own["installed"], own["where"], own["size_bytes"]) == (True, str(tmp_path / "mine"), 20)
    assert "2 classes (a, b), 2 images for training, 2 held out" in own["note"]


def test_what_data_refuses(call: Call, tmp_path: Path) -> None:
    error = refused(call, "data", "imagenet")
    assert "data: got 'imagenet'; allowed: digits, mnist5k, cifar10, image_folder" in error
    assert "got 'digits'; allowed with --download: cifar10" in refused(call, "data", "digits", "--download")
    assert "allowed with --download: cifar10" in refused(call, "data", "--download")
    assert not (tmp_path / "data").exists()


def test_data_downloads_where_it_is_told(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def pretend(folder: Path, *, progress: Any, cancelled: Any) -> Path:
        assert not cancelled()
        progress(0.5, "downloading")
        progress(0.501, "downloading")  # the same percent: no second line
        return folder / "cifar-10-batches-bin"

    monkeypatch.setattr("engine.data.sets.cifar10.download", pretend)
    code, out, err = call("data", "cifar10", "--download", "--folder", tmp_path / "mine")
    assert (code, err) == (0, "")
    assert out.splitlines() == ["progress 0.50 downloading", f"saved: {tmp_path / 'mine' / 'cifar-10-batches-bin'}"]


# --- presets, knobs, run


def test_presets_of_images_are_listed(call: Call) -> None:
    code, out, _ = call("presets")
    assert code == 0
    names = [line.split()[0] for line in out.splitlines() if line.startswith(preset_names())]
    assert [name for name in names if name in IMAGE_PRESETS] == list(IMAGE_PRESETS)
    for name in IMAGE_PRESETS:
        assert load_preset(name).about.question.split()[0] in out


def test_knobs_of_a_preset_on_images(call: Call) -> None:
    code, out, _ = call("knobs", "digits")
    assert code == 0
    for text in (
        "world.name = digits  restarts; digits, mnist5k, cifar10, image_folder", "model.name = two_layer",
        "model.init_scale = 0.15", "training.momentum = 0.9  live; a number from 0 to 0.999", "low_rank.layers = all",
        "local.redraw_at = 200 steps  restarts",
    ):  # fmt: skip
        assert text in out
    for text in ("sigma_x", "model.b_end", "certify_every", "about."):
        assert text not in out
    assert "model.kernel = 9 pixels" in call("knobs", "cifar10-filters")[1]


TINY = ("clean_steps=3", "second_steps=2", "train_size=200", "report_size=20", "report_steps=2", "size=16")


def test_run_trains_a_preset_on_images(call: Call, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    knobs = [word for text in ("model.width=8", *TINY) for word in ("--set", text)]
    code, out, err = call("run", "digits", "--out", folder, "--device", "cpu", *knobs)
    assert (code, err) == (0, "")
    record = read(folder)
    assert record.step == 5
    assert record.arrays["now.hidden.weight"].shape == (8, 64)
    assert "after 3 steps (clean):" in out
    assert "after 5 steps (adversarial):" in out
    assert "PGD-2 × 2 restarts, ℓ2 radius 0.75, n = 20, 95% Wilson interval" in out
    rows = table(folder, "SELECT step, name, value FROM metrics")
    assert f"{values(rows, metrics.REPORT + metrics.PGD)[5]:.3f}" in out
    assert f"run folder: {folder}" in out
    code, out, _ = call("run", "--out", folder, "--resume")
    assert code == 0
    assert read(folder).step == 5


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        (["model.name=vgg"], "model.name: got 'vgg'; allowed: two_layer, alexnet, resnet, torchvision"),
        (["world.d=64"], "world.d: no knob has this name"),
        (["world.name=sparse_coding"], "world.name: got 'sparse_coding'; allowed: digits, mnist5k, cifar10"),
        (["train_size=5"], "world.train_size: got 5; allowed: 0 (all) or 10 (one a class) to 1402"),
        (["model.name=alexnet"], "model.kernel: got 9; allowed for images of 8 pixels: at most 8"),
        (["local.layer=conv1"], "local.layer: got 'conv1'; allowed: hidden, output"),
        (["world.name=cifar10"], "world.folder: "),
    ],
)
def test_what_run_refuses(call: Call, tmp_path: Path, knobs: list[str], message: str) -> None:
    words = [word for text in knobs for word in ("--set", text)]
    assert message in refused(call, "run", "digits", "--out", tmp_path / "run", *words)


# --- evaluate


@pytest.mark.usefixtures("quick")
def test_evaluate_with_autoattack(call: Call, original: Path) -> None:
    before = read(original)
    protocol = ("--n", 16, "--steps", 3, "--radius", 0.3)
    words = ("evaluate", original, "--attack", "pgd", "--attack", "autoattack", *protocol)
    code, out, err = call(*words)
    assert (code, err) == (0, "")
    first, *rows = [line.strip() for line in out.splitlines()]
    assert first.startswith(f"{original}: step 40, phase adversarial, run ")
    assert len(rows) == 1 + 1 + 4  # clean, PGD; three attacks and their worst case
    assert all("n = 16" in row for row in rows)
    assert "APGD-CE" in rows[2]
    shares = [float(row.split()[0]) for row in rows]
    assert all(shares[-1] <= share <= shares[0] for share in shares)
    assert shares[0] > 0.6
    found = json.loads(call(*words, "--json")[1])
    assert [f"{figure['value']:.3f}" for figure in found["figures"]] == [row.split()[0] for row in rows]
    assert [figure["tau"] for figure in found["figures"]] == [0.0, *[0.3] * 5]
    assert all(figure["low"] <= figure["value"] <= figure["high"] for figure in found["figures"])
    after = read(original)
    assert all(np.array_equal(array, after.arrays[name]) for name, array in before.arrays.items())
    assert before.metrics == after.metrics


def test_evaluate_by_default_and_at_another_checkpoint(call: Call, original: Path) -> None:
    code, out, _ = call("evaluate", original, "--json", "--n", 48, "--steps", 3, "--restarts", 1)
    assert code == 0
    found = {figure["attack"]: figure["value"] for figure in json.loads(out)["figures"]}
    assert list(found) == ["clean", "fgm", "pgd"]
    report = json.loads((original / "summary.json").read_text(encoding="utf-8"))["reports"][-1]
    for name in ("clean", "fgm"):
        assert found[name] == report[f"accuracy/{name}"]["value"]  # free of chance, on the same images
    start = json.loads(call("evaluate", original, "--json", "--n", 48, "--attack", "fgm", "--checkpoint", 0)[1])
    assert (start["step"], start["phase"]) == (0, "clean")


def test_attacks_of_another_world_are_refused(call: Call, original: Path, finished_run: Path) -> None:
    error = refused(call, "evaluate", finished_run, "--attack", "autoattack", "--n", 16)
    assert "--attack: got 'autoattack'; allowed for this run: fgm, dense, pgd, apgd, square" in error
    error = refused(call, "evaluate", original, "--attack", "dense", "--n", 16)
    assert "--attack: got 'dense'; allowed for this run: fgm, pgd, apgd, apgd_ce, apgd_t, square, autoattack" in error


# --- claims


ABOUT_THE_THEORY = (2, 3, 4, 5)


def test_claims_of_a_run_on_images(call: Call, digits: Path) -> None:
    code, out, err = call("claims", digits)
    assert (code, err) == (0, "")
    written = json.loads((digits / "claims.json").read_text(encoding="utf-8"))
    assert "progress" not in out  # nothing slow is measured without --verify
    for claim in written:
        elsewhere = r" \(about another kind of run\)" if claim["id"] in ABOUT_THE_THEORY else ""
        line = rf"^ *{claim['id']}  {claim['verdict'].upper()} +{re.escape(claim['title'])}{elsewhere}$"
        assert re.search(line, out, re.MULTILINE)
        assert f"rule: {claim['rule']}" in out
    verdicts = {claim["id"]: claim["verdict"] for claim in written}
    assert {1, 8, 9} <= set(verdicts)
    assert verdicts[1] in ("holds", "does not hold")  # the run's own reports decide it
    assert {verdicts[8], verdicts[9]} == {"not measured"}
    report = json.loads((digits / "summary.json").read_text(encoding="utf-8"))["reports"][0]
    assert f"report/accuracy/pgd = {report['accuracy/pgd']['value']:.3f}" in out


def test_claims_refuses_wrong_numbers(call: Call, digits: Path, tmp_path: Path) -> None:
    assert "--n: got 3; allowed: a whole number from 16 to 100000" in refused(call, "claims", digits, "--n", 3)
    assert "--seeds: got -1" in refused(call, "claims", digits, "--seeds", -1)
    assert "not a run folder" in refused(call, "claims", tmp_path)
    assert not (digits / "claims.json").exists()


# --- local and low-rank


def test_local_writes_and_prints(call: Call, digits: Path) -> None:
    words = ("--layer", "conv2", "--layer", "fc1", "--clean-steps", 4, "--adversarial-steps", 3, "--n", 20)
    code, out, err = call("local", digits, *words)
    assert (code, err) == (0, "")
    done = steps_of_progress(out)
    assert done[0] == "conv2: clean training"
    assert done[-1] == "done"
    assert {"conv2: adversarial training", "fc1: measuring"} <= set(done)
    written = json.loads((digits / "local.json").read_text(encoding="utf-8"))
    assert [(e["name"], e["clean_steps"], e["adversarial_steps"]) for e in written["layers"]] == [
        ("conv2", 4, 3), ("fc1", 4, 3),
    ]  # fmt: skip
    assert out.splitlines()[-9].startswith("PGD-3 × 1 restart")  # then four lines a layer
    assert "n = 20" in out
    for each in written["layers"]:
        after = each["robust_after"]
        assert f"  {each['name']}: 4 clean, 3 adversarial steps, {len(each['rest'])} units" in out
        assert f"→ {after['value']:.3f} [{after['low']:.3f}, {after['high']:.3f}]" in out
    rows = table(digits, "SELECT step, name, value FROM metrics")
    assert values(rows, metrics.local("fc1", "robust_after")) == {40: written["layers"][1]["robust_after"]["value"]}


def test_local_of_the_default_layers(call: Call, digits: Path) -> None:
    code, out, _ = call("local", digits, "--clean-steps", 1, "--adversarial-steps", 1, "--n", 16)
    assert code == 0
    assert re.findall(r"^  (\w+): 1 clean", out, re.MULTILINE) == ["conv1", "conv3"]


def test_low_rank_writes_and_prints(call: Call, digits: Path) -> None:
    words = ("--rank", 2, "--rank", 0, "--layers", "conv2,fc1", "--steps", 3, "--n", 20)
    code, out, err = call("low-rank", digits, *words)
    assert (code, err) == (0, "")
    assert steps_of_progress(out) == [
        "clean network: measuring", "rank 2: adversarial training", "rank 2: measuring",
        "full rank: adversarial training", "full rank: measuring", "done",
    ]  # fmt: skip
    written = json.loads((digits / "low_rank.json").read_text(encoding="utf-8"))
    assert [row["rank"] for row in written["ranks"]] == [2, 0]
    assert (written["layers"], written["steps"], written["n"]) == ("conv2,fc1", 3, 20)
    title, *rows = out.splitlines()[-4:]
    assert title.endswith("3 adversarial steps from the clean weights of step 20, layers: conv2,fc1")
    for name, text, row in zip(("before", "rank 2", "full"), rows, (written["before"], *written["ranks"]), strict=True):
        assert text.split("robust")[0].strip() == name
        assert f"robust {row['robust']:.3f} [{row['low']:.3f}, {row['high']:.3f}]" in text
    recorded = values(table(digits, "SELECT step, name, value FROM metrics"), metrics.rank("robust", 2))
    assert recorded == {40: written["ranks"][0]["robust"]}


def test_objectives_writes_and_prints(call: Call, digits: Path) -> None:
    words = ("--objective", "trades", "--objective", "smoothed_adversarial", "--steps", 2, "--n", 20)
    code, out, err = call("objectives", digits, *words)
    assert (code, err) == (0, "")
    assert steps_of_progress(out) == [
        "clean network: measuring", "TRADES training", "TRADES training: measuring", "smoothed adversarial training",
        "smoothed adversarial training: measuring", "done",
    ]  # fmt: skip
    written = json.loads((digits / "objectives.json").read_text(encoding="utf-8"))
    rows = [written["before"], *written["objectives"]]
    title, head, *lines = out.splitlines()[-5:]
    assert title.endswith("n = 20, 95% Wilson interval; 2 steps of each from the clean weights of step 20")
    assert head.split() == ["clean", "robust", "cosine"]
    for name, text, row in zip(("before", "TRADES", "smoothed adversarial"), lines, rows, strict=True):
        assert text.startswith(f"  {name}  ")
        assert text.endswith(f"{row['cosine']:.3f}")
        assert f"{row['robust']['value']:.3f} [{row['robust']['low']:.3f}, {row['robust']['high']:.3f}]" in text
    recorded = table(digits, "SELECT step, name, value FROM metrics")
    robust = values(recorded, metrics.after_objective("robust", "trades"))
    assert robust == {40: written["objectives"][0]["robust"]["value"]}


def test_transfer_writes_and_prints(call: Call, digits: Path) -> None:
    code, out, err = call("transfer", digits, "--other-seed", 9, "--n", 20)
    assert (code, err) == (0, "")
    assert steps_of_progress(out) == [
        "seed 9: clean training", "seed 9: adversarial training", "attacking every net, measuring all", "done",
    ]  # fmt: skip
    written = json.loads((digits / "transfer.json").read_text(encoding="utf-8"))
    assert [(net["key"], net["seed"]) for net in written["nets"]] == [
        ("start", 0), ("clean", 0), ("now", 0), ("other_clean", 9), ("other_now", 9),
    ]  # fmt: skip
    assert written["n"] == 20
    for row, line in zip(written["accuracy"], out.splitlines()[-6:-1], strict=True):
        assert re.findall(r"\d\.\d{3}", line) == [f"{cell['value']:.3f}" for cell in row]
    (digits / "transfer.json").unlink()


def test_sparse_writes_and_prints(call: Call, digits: Path) -> None:
    code, out, err = call("sparse", digits, "--n", 16, "--error", 0.5)
    assert (code, err) == (0, "")
    assert steps_of_progress(out)[0] == "attacking the clean network"
    written = json.loads((digits / "sparse_code.json").read_text(encoding="utf-8"))
    assert (written["n"], written["error"], written["layer"]) == (16, 0.5, "conv1")
    (row,) = re.findall(r"^  purified filters, matching pursuit +(.*)$", out, re.MULTILINE)
    chosen = [c for c in written["curves"] if (c["filters"], c["method"]) == ("now", "omp")]
    assert [c["vectors"] for c in chosen] == ["image", "clean", "now", "random"]

    def text(curve: dict[str, Any], key: str) -> str:
        value = curve["count"][key]
        return f">{len(curve['median']) - 1}" if value is None else str(value)

    assert re.split(r" {2,}", row) == [f"{text(c, 'median')} [{text(c, 'low')}, {text(c, 'high')}]" for c in chosen]
    assert "paper" in out.splitlines()[-3]


WRONG: dict[str, tuple[list[str], str]] = {
    "own seed": (["transfer", "RUN", "--other-seed", "0"], "--other-seed: got 0; allowed: a whole number from 0 to"),
    "transfer early": (["transfer", "EARLY"], "clean training has not ended in this run"),
    "no layer": (["local", "RUN", "--layer", "conv9"], "--layer: got 'conv9'; allowed: conv1, conv2, conv3, fc1, fc2"),
    "no steps": (["local", "RUN", "--clean-steps", "0"], "--clean-steps: got 0; allowed: a whole number from 1"),
    "few images": (["local", "RUN", "--n", "3"], "--n: got 3; allowed: a whole number from 16 to 100000"),
    "another world": (["local", "THEORY"], "needs a network on images; world.name of this run is 'sparse_coding'"),
    "nothing": (["local", "EMPTY"], "not a run folder"),
    "early": (["local", "EARLY"], "clean training has not ended in this run"),
    "rank": (["low-rank", "RUN", "--rank", "-1"], "--rank: got -1; allowed: 1 to 4096, and 0 (full)"),
    "rank layers": (["low-rank", "RUN", "--layers", "conv9"], "--layers: got 'conv9'; allowed: all, or some of conv1"),
    "rank steps": (["low-rank", "RUN", "--steps", "0"], "--steps: got 0; allowed"),
    "rank images": (["low-rank", "RUN", "--n", "3"], "--n: got 3; allowed"),
    "rank theory": (["low-rank", "THEORY", "--layers", "conv1"], "--layers: got 'conv1'; allowed: all"),
    "rank nothing": (["low-rank", "EMPTY"], "not a run folder"),
    "rank early": (["low-rank", "EARLY"], "clean training has not ended in this run"),
    "objective": (["objectives", "RUN", "--objective", "pgd"], "--objective: got 'pgd'; allowed: clean, adversarial"),
    "objective steps": (["objectives", "RUN", "--steps", "0"], "--steps: got 0; allowed"),
    "objective nothing": (["objectives", "EMPTY"], "not a run folder"),
    "objective early": (["objectives", "EARLY"], "clean training has not ended in this run"),
    "sparse error": (["sparse", "RUN", "--error", "1"], "--error: got 1; allowed: a number above 0 and below 1"),
    "sparse images": (["sparse", "RUN", "--n", "3"], "--n: got 3; allowed"),
    "sparse theory": (["sparse", "THEORY"], "needs a network on images"),
    "sparse early": (["sparse", "EARLY"], "clean training has not ended in this run"),
    "race": (["race", "RUN", "--sweep"], "--sweep: got a run on images; allowed: a run of the sparse-coding world"),
    "race power": (["race", "THEORY", "--k-power", "0.5"], "--k-power, --tau-power: got one without --sweep"),
    "race steep": (["race", "THEORY", "--sweep", "--k-power", "3"], "--k-power: got 3; allowed: 0 to 1"),
}


@pytest.mark.parametrize(("arguments", "message"), WRONG.values(), ids=WRONG)
def test_a_wrong_study_is_one_line_and_writes_nothing(
    arguments: list[str], message: str, call: Call, original: Path, finished_run: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    places = {"RUN": original, "THEORY": finished_run, "EMPTY": tmp_path / "empty", "EARLY": tmp_path / "early"}
    if "EARLY" in arguments:
        run(tiny_images(), places["EARLY"], until=3)
    assert message in refused(call, *[places.get(a, a) for a in arguments])
    for folder in places.values():
        names = ("local.json", "low_rank.json", "objectives.json", "race.json", "sparse_code.json", "transfer.json")
        assert not [name for name in names if (folder / name).exists()]


# --- export


def test_export_of_all_views_of_images(call: Call, digits: Path, tmp_path: Path) -> None:
    out = tmp_path / "figures"
    words = ("--format", "png", "--option", "n=40", "--option", "steps=4")
    code, said, err = call("export", digits, "--view", "all", "--out", out, *words)
    assert (code, err) == (0, "")
    written = {path.name for path in out.iterdir() if path.is_dir()}
    assert {"filters", "layers", "examples", "features", "radius", "robustness"} <= written
    assert not {"neurons", "mixtures", "perturbation", "race"} & written
    assert not {"local", "low_rank", "sparse_code"} & written  # no study was made; the reason is said
    assert re.search(r"local: skipped, .*python -m engine local", said)
    for view in written:
        height, width, _ = imread(out / view / f"{view}.png").shape
        assert min(height, width) > 300
        assert (out / view / "caption.txt").read_text(encoding="utf-8").strip()
        assert any(path.suffix == ".csv" for path in (out / view).iterdir())
    assert {path.name for path in out.iterdir() if path.is_file()} == {"recipe.json", "reproduce.py", "weight.npz"}


def test_export_refuses_views_of_the_other_world(call: Call, digits: Path, finished_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "figures"
    error = refused(call, "export", digits, "--view", "neurons", "--out", out)
    assert "view: got 'neurons'; allowed for a run on digits: " in error
    allowed = error.strip().split("digits: ")[1].split(", ")
    expected = {"filters", "layers", "examples", "features", "local", "low_rank", "radius", "robustness", "sparse_code"}
    assert expected <= set(allowed)
    assert not {"neurons", "mixtures", "perturbation"} & set(allowed)
    error = refused(call, "export", finished_run, "--view", "filters", "--out", out)
    assert "view: got 'filters'; allowed for a run on sparse_coding: " in error
    assert "neurons" in error
    assert not out.exists()
