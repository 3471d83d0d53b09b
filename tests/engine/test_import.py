"""Two checkpoints that were trained elsewhere become a run folder: the same figures, to the digit, and every view."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from engine import worlds
from engine.cli.main import run_command_line
from engine.compare.export import compare
from engine.core import metrics
from engine.core.errors import ConfigError, StoreError
from engine.core.results import Filters, LayersPrinciple1
from engine.core.spectra import LayersSpectrum
from engine.figures.base import figures
from engine.run.index import RunIndex
from engine.run.recipe import build
from engine.run.store import Store
from engine.studies.evidence import gather
from engine.studies.questions.local import LocalStudy
from engine.studies.questions.transfer import TransferStudy
from engine.studies.replay import replay
from tests.tiny_imports import prefixed, settings, states, train

VIEWS = ("filters", "cosines", "layers", "spectrum", "examples")  # those that need no history
OPTIONS = {"layers": {"n": "32"}, "examples": {"n": "16"}}


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(tmp_path_factory.mktemp("own") / "run")


@pytest.fixture(scope="module")
def files(own: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The three moments of that run: plain, in a wrapper with a prefix, as safetensors."""
    folder, found = tmp_path_factory.mktemp("files"), states(own)
    paths = {"start": folder / "init.pt", "clean": folder / "clean.pth", "robust": folder / "robust.safetensors"}
    torch.save(found["start"], paths["start"])
    torch.save({"state_dict": prefixed(found["clean"], "module."), "epoch": 3, "best": 0.9}, paths["clean"])
    save_file({name: tensor.contiguous() for name, tensor in found["robust"].items()}, paths["robust"])
    return paths


def command(files: dict[str, Path], out: Path, *words: str) -> list[str]:
    named = [word for what, path in files.items() for word in (f"--{what}", str(path))]
    return ["import", "--model", "two_layer", "--data", "digits", "--out", str(out), "--device", "cpu", *named,
            *settings(model__width="16"), *words]  # fmt: skip


@pytest.fixture(scope="module")
def imported(files: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("imported") / "run"
    assert run_command_line(command(files, folder)) == 0
    return folder


@pytest.fixture(scope="module")
def without_start(files: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ends") / "run"
    assert run_command_line(command({name: files[name] for name in ("clean", "robust")}, folder)) == 0
    return folder


def collected(folder: Path, view: str, step: int) -> dict[str, list[np.ndarray[Any, Any]]]:
    """The tables of a view's figure."""
    drawer = figures[view]
    with closing(Store.open(folder, read_only=True)) as store:
        found = drawer().collect(store, store.load(step), drawer.view.complete(OPTIONS.get(view, {})))
    return {name: [column.values for column in table] for name, table in found.tables.items()}


@pytest.mark.parametrize("step", [4, 8])
def test_evaluation_gives_the_figures_of_the_run_to_the_digit(
    own: Path, imported: Path, capsys: pytest.CaptureFixture[str], step: int
) -> None:
    found = []
    for folder in (own, imported):
        words = ["--checkpoint", str(step), "--steps", "3", "--restarts", "2", "--n", "64", "--json"]
        assert run_command_line(["evaluate", str(folder), *words]) == 0
        told = json.loads(capsys.readouterr().out)
        assert ("imported" in told) == (folder == imported)
        found.append(told["figures"])
    assert found[0] == found[1]
    assert len(found[0]) == 3


@pytest.mark.parametrize("view", VIEWS)
def test_views_draw_the_same_numbers(own: Path, imported: Path, view: str) -> None:
    ours, theirs = (collected(folder, view, 8) for folder in (own, imported))
    assert ours.keys() == theirs.keys()
    for name, columns in ours.items():
        for mine, other in zip(columns, theirs[name], strict=True):
            np.testing.assert_array_equal(mine, other)


def test_reports_and_estimates_are_those_of_the_run(own: Path, imported: Path) -> None:
    summaries = [json.loads((folder / "summary.json").read_text()) for folder in (own, imported)]
    assert summaries[0]["reports"] == summaries[1]["reports"]
    assert len(summaries[0]["reports"]) == 2
    assert summaries[0]["latest"] == summaries[1]["latest"]
    with closing(Store.open(own, read_only=True)) as ours, closing(Store.open(imported, read_only=True)) as theirs:
        known, columns = ours.columns(), theirs.columns()
        assert set(known) - set(columns) == {metrics.LOSS, metrics.TRAIN_ACCURACY}
        for name, series in columns.items():
            np.testing.assert_array_equal(series.steps, known[name].steps, name)
            np.testing.assert_array_equal(series.values, known[name].values, name)


def test_the_run_says_where_its_weights_come_from(imported: Path, files: dict[str, Path]) -> None:
    with closing(Store.open(imported, read_only=True)) as store:
        assert store.checkpoints() == [0, 4, 8]
        known, checkpoint = store.config.imported, store.load(8)
        assert known is not None
        assert checkpoint.config.imported == known
        for what, file in known.files.items():
            assert file.file == files[what].name
            assert file.sha256 == hashlib.sha256(files[what].read_bytes()).hexdigest()
        assert known.clean.taken_off == "state_dict, module."
        assert known.robust.taken_off == ""
        assert known.normalisation == "inside"
        recipe = build(store, checkpoint)
        caption = figures["filters"]().collect(store, checkpoint, figures["filters"].view.complete({})).caption
    assert recipe["config"]["imported"]["robust"]["file"] == "robust.safetensors"
    assert json.loads((imported / "summary.json").read_text())["imported"]["clean"]["sha256"] == known.clean.sha256
    assert "Weights imported: start init.pt" in caption
    assert "trained elsewhere" in caption
    assert "steps of" not in caption
    listed = RunIndex(imported, cache=imported.parent / "cache").look()
    assert [run.standing for run in listed] == ["imported"]


def test_files_are_only_read_and_not_written(files: dict[str, Path], tmp_path: Path) -> None:
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in files.values()}
    for path in files.values():
        path.chmod(0o444)
    assert run_command_line(command(files, tmp_path / "run")) == 0
    assert before == {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in files.values()}
    assert {path.name for path in next(iter(files.values())).parent.iterdir()} == {p.name for p in files.values()}


def test_looking_at_it_writes_nothing(imported: Path) -> None:
    def seen() -> dict[str, bytes]:
        return {str(p): p.read_bytes() for p in imported.rglob("*") if p.is_file() and not p.name.endswith("-shm")}

    before = seen()
    with closing(worlds.past(imported)) as past:
        assert past.state == "imported"
        assert past.finished
        for step in (0, 4, 8):
            assert past.go(step) == step
            assert past.snapshot(frozenset({Filters})).get(Filters) is not None
    assert seen() == before


def test_without_a_start_what_needs_it_is_not_measured(without_start: Path) -> None:
    with closing(Store.open(without_start, read_only=True)) as store:
        assert store.checkpoints() == [4, 8]
        assert not any(name.startswith("principle1") or "/cos_" in name for name in store.names())
        assert all(np.isfinite(series.values).all() for series in store.columns().values())
    for view in VIEWS:
        tables = collected(without_start, view, 8)
        tables.pop("over_time", None)  # a series has a gap where it was not measured, in any run
        numbers = [column for table in tables.values() for column in table if column.dtype.kind == "f"]
        if view != "layers":  # whose last layer has no activity in any run
            assert all(np.isfinite(each).all() for each in numbers), view
    assert "units" not in collected(without_start, "cosines", 8)
    with closing(worlds.past(without_start)) as past:
        wanted = frozenset({Filters, LayersPrinciple1, LayersSpectrum})
        past.snapshot(wanted)
        while past.measuring:
            past.measure()
        shown = past.snapshot(wanted)
        filters, spectra = shown.get(Filters), shown.get(LayersSpectrum)
        assert shown.problems == ()
        assert shown.get(LayersPrinciple1) is None
        assert filters is not None
        assert filters.start is None
        assert filters.clean is not None
        assert spectra is not None
        assert set(next(iter(spectra.of.values()))) == {"now", "clean", "change"}
    with pytest.raises(StoreError, match="before any training were not imported"):
        worlds.load(without_start).network("start")  # type: ignore[union-attr, arg-type]


def test_transfer_measures_the_nets_that_there_are(without_start: Path, imported: Path) -> None:
    found = [TransferStudy().run(folder, n=16) for folder in (without_start, imported)]
    assert [net.key for net in found[0].nets] == ["clean", "now"]
    assert [net.key for net in found[1].nets] == ["start", "clean", "now"]


def test_studies_that_would_train_as_the_run_was_trained_refuse(imported: Path) -> None:
    with pytest.raises(ConfigError, match="local trains as the run was trained, which is not known") as refused:
        LocalStudy().run(imported)
    assert "\n" not in str(refused.value)


def test_a_comparison_with_it_has_no_script_that_would_train_it_again(
    own: Path, imported: Path, tmp_path: Path
) -> None:
    compare([own, imported], ["robustness"], tmp_path / "out", formats=[])
    found = {path.name for path in (tmp_path / "out").iterdir()}
    assert found == {"robustness", "knobs.csv", "recipe.json"}


def test_it_cannot_be_replayed_or_resumed(imported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with closing(Store.open(imported, read_only=True)) as store:
        recipe = build(store, store.load())
    path = tmp_path / "recipe.json"
    path.write_text(json.dumps(recipe))
    with pytest.raises(ConfigError, match="imported weights, whose training is not known"):
        replay(path, tmp_path / "again")
    assert not (tmp_path / "again").exists()
    before = {p: p.stat().st_mtime_ns for p in (imported / "checkpoints").iterdir()}
    assert run_command_line(["run", "--out", str(imported), "--resume"]) == 2
    error = capsys.readouterr().err
    assert "was imported: its weights stay as they are; a branch trains on" in error
    assert error.count("\n") == 1
    assert before == {p: p.stat().st_mtime_ns for p in (imported / "checkpoints").iterdir()}


@pytest.mark.parametrize("name", ["imported", "without_start"])
def test_a_branch_of_it_trains_on_from_the_imported_weights(
    name: str, request: pytest.FixtureRequest, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parent = request.getfixturevalue(name)
    out = tmp_path / "branch"
    assert run_command_line(["branch", str(parent), "--step", "8", "--out", str(out), "--steps", "3"]) == 0
    with closing(Store.open(out, read_only=True)) as store:
        first, last = store.load(8), store.load()
        assert last.step == 11
        assert last.config.imported is not None
        assert not last.config.untrained
        assert any(name.startswith("momentum.") for name in last.arrays)
        assert not any(name.startswith("momentum.") for name in first.arrays)
        weight = next(name for name in last.arrays if name.startswith("now.") and name.endswith("weight"))
        assert not np.array_equal(first.arrays[weight], last.arrays[weight])
        assert len(store.series(metrics.LOSS)) == 3
        caption = figures["training"]().collect(store, last, figures["training"].view.complete({})).caption
    assert "trained elsewhere, nobody here knows how, then 3 steps of adversarial training" in caption
    worlds.resume(out).close()  # it is a run like any other
    assert [run.standing for run in RunIndex(out, cache=tmp_path / "cache").look()] == ["finished"]


def test_a_new_run_from_its_knobs_is_trained_from_a_random_start(imported: Path, tmp_path: Path) -> None:
    with closing(Store.open(imported, read_only=True)) as store:
        config = store.config
    with closing(worlds.create(config, tmp_path / "new")) as session:
        assert session.config.imported is None


def test_slow_figures_are_measured_as_far_as_no_training_is_repeated(
    without_start: Path, tmp_path: Path, quick: None
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(without_start, folder)
    gather(folder, n=16)
    with closing(Store.open(folder, read_only=True)) as store:
        names = store.names()
    assert "verified/worst@0.3" in names
    assert metrics.transfer("clean", "now") in names
    assert not [name for name in names if name.startswith(("local/", "low_rank/")) or "other" in name]


def test_claims_that_can_be_decided_are(
    imported: Path, without_start: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder in (imported, without_start):
        assert run_command_line(["claims", str(folder)]) == 0
        told = capsys.readouterr().out
        assert "NOT MEASURED" in told
        assert " nan" not in told
        first = next(line for line in told.splitlines() if "Clean training is accurate and not robust" in line)
        assert "NOT MEASURED" not in first


def test_expected_accuracy(files: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--expect-accuracy", "0.99", "--tolerance", "0.01"]
    assert run_command_line(command(files, tmp_path / "run", *words)) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: --expect-accuracy: got 0.99; the clean network has clean accuracy 0.")
    assert "n = 32 test images" in error
    assert "likely another normalisation" in error
    assert os.listdir(tmp_path) == []  # noqa: PTH208 - hidden ones, too
