"""A branch goes on from a checkpoint as a new run: whole by itself, bit-identical, without a trace in its parent."""

from __future__ import annotations

import json
import shlex
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from engine import worlds
from engine.cli.main import run_command_line
from engine.config.curves import Curve
from engine.config.experiment import Config, value_of, with_value
from engine.config.presets import load_preset
from engine.core.errors import ConfigError, StoreError
from engine.core.lock import FolderLock
from engine.figures.base import figures
from engine.figures.declare import DIMMED
from engine.figures.export import export
from engine.figures.style import render
from engine.run.branch import divergence, halved, new_folder
from engine.run.store import Store
from engine.studies.replay import replay
from engine.theory.loading import TheoryNetwork
from tests.engine.test_cli import Call, toml
from tests.forked import forked
from tests.tiny_runs import Record, advance, assert_same, drain, read, table, tiny_config

ROOT = Path(__file__).parents[2]


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Call:
    def inner(*arguments: object) -> tuple[int, str, str]:
        code = run_command_line([str(a) for a in arguments])
        out, err = capsys.readouterr()
        return code, out, err

    return inner


def inside(folder: Path) -> dict[str, bytes]:
    """Every file of a folder with its content, but for those through which SQLite's readers share memory."""
    files = [p for p in sorted(folder.rglob("*")) if p.is_file() and not p.name.startswith("run.sqlite-")]
    return {str(p.relative_to(folder)): p.read_bytes() for p in files}


@pytest.fixture
def parent(finished_run: Path) -> Iterator[Path]:
    """A run of 40 clean and 40 adversarial steps with checkpoints 0, 25, 40, 50, 75, 80; it must not change."""
    before = inside(finished_run)
    yield finished_run
    assert inside(finished_run) == before


def own(folder: Path) -> Record:
    """The record of a run without the event that says that it is a branch."""
    found = read(folder)
    return replace(found, events=[event for event in found.events if event[1] != "branch"])


def config_of(folder: Path) -> Config:
    store = Store.open(folder, read_only=True)
    store.close()
    return store.config


def trained(session: worlds.Session, until: int) -> Path:
    advance(session, until)
    drain(session)
    session.close()
    return session.folder


@pytest.mark.parametrize("step", [0, 25, 40, 75])
def test_without_settings_a_branch_trains_what_its_parent_trained(parent: Path, tmp_path: Path, step: int) -> None:
    folder = trained(worlds.branch(parent, step, tmp_path / "new"), 80)
    assert_same(own(folder), read(parent))
    times = f"SELECT time FROM events WHERE step < {step} AND name != 'branch'"
    assert table(folder, times) == table(parent, times)
    protocols = "SELECT * FROM protocols ORDER BY step, name"
    assert table(folder, protocols) == table(parent, protocols)


def test_it_knows_its_parent_and_has_an_id_of_its_own(parent: Path, tmp_path: Path) -> None:
    worlds.branch(parent, 25, tmp_path / "new").close()
    record, of_parent = (json.loads((f / "config.json").read_text()) for f in (tmp_path / "new", parent))
    assert record["run"] != of_parent["run"]
    assert record["config"].pop("branch") == {"parent": str(parent), "run": of_parent["run"], "step": 25}
    assert record["config"] == of_parent["config"]  # as started: a recipe begins with it
    again = worlds.resume(tmp_path / "new")
    again.close()
    assert again.config.branch == config_of(tmp_path / "new").branch
    assert config_of(parent).branch is None


def test_a_branch_of_a_branch_knows_the_nearest(parent: Path, tmp_path: Path) -> None:
    worlds.branch(parent, 25, tmp_path / "one").close()
    trained(worlds.branch(tmp_path / "one", 25, tmp_path / "two"), 80)
    origin = config_of(tmp_path / "two").branch
    assert origin is not None
    assert Path(origin.parent) == tmp_path / "one"
    assert_same(own(tmp_path / "two"), read(parent))


def test_settings_are_changes_at_that_step(call: Call, parent: Path, tmp_path: Path) -> None:
    new = tmp_path / "new"
    code, out, err = call(
        "branch", parent, "--step", 25, "--out", new, "--set", "attack.tau=0.4",
        "--set", "training.lr=[[0,0.2],[80,0.1]]", "--phase", "adversarial", "--steps", 20,
    )  # fmt: skip
    assert (code, err) == (0, "")
    assert f"branched from {parent} at step 25" in out
    found = read(new)
    assert found.step == 45
    changes = [(25, "branch"), (25, "attack.tau"), (25, "schedule.knobs.training.lr"), (25, "phase")]
    assert [event[:2] for event in found.events] == changes
    until = "SELECT step, name, value FROM metrics WHERE step <= 25 AND name NOT LIKE 'report/%' ORDER BY step, name"
    now = {row[:2]: row[2] for row in table(new, until)}
    assert {row[:2]: row[2] for row in table(parent, until)}.items() <= now.items()
    after = "SELECT value FROM metrics WHERE name = 'loss' AND step = 45"
    assert table(new, after) != table(parent, after)


def test_its_recipe_replays_the_parent_and_then_the_branch(parent: Path, tmp_path: Path) -> None:
    settings = [("attack.tau", "0.4"), ("training.lr", "0.02")]
    session = worlds.branch(parent, 50, tmp_path / "new", settings, phase="gaussian_noise")
    trained(session, 70)
    export(tmp_path / "new", ["robustness"], tmp_path / "out", formats=["svg"])
    done = replay(tmp_path / "out" / "recipe.json", tmp_path / "again")
    assert (done.step, done.equal, done.data_equal) == (70, True, True)
    assert config_of(tmp_path / "again").branch is None  # it was trained from the start


def test_a_new_run_of_its_config_is_no_branch(parent: Path, tmp_path: Path) -> None:
    session = worlds.branch(parent, 25, tmp_path / "new")
    session.close()
    fresh = worlds.create(session.config, tmp_path / "fresh")
    fresh.close()
    assert fresh.config.branch is None
    assert config_of(tmp_path / "fresh").branch is None


def test_it_works_when_the_parent_has_gone(finished_run: Path, tmp_path: Path) -> None:
    parent = shutil.copytree(finished_run, tmp_path / "parent")
    worlds.branch(parent, 75, tmp_path / "new", [("attack.tau", "0.3")]).close()
    shutil.rmtree(parent)
    trained(worlds.resume(tmp_path / "new"), 80)
    assert len(export(tmp_path / "new", ["robustness", "mixtures"], tmp_path / "out", formats=["svg"])) >= 2
    clean = TheoryNetwork.load(tmp_path / "new", 40)  # the clean phase's end, which studies compare with
    original = TheoryNetwork.load(finished_run, 40)
    assert clean.run != original.run
    assert np.array_equal(read(tmp_path / "new").arrays["weight_clean"], read(finished_run).arrays["weight_clean"])


def test_the_checkpoint_it_began_with_is_never_thinned_out(parent: Path, tmp_path: Path) -> None:
    session = worlds.branch(parent, 25, tmp_path / "new", [("storage.keep", "2"), ("storage.checkpoint_every", "10")])
    folder = trained(session, 79)
    store = Store.open(folder, read_only=True)
    store.close()
    assert {0, 25, 40} <= set(store.checkpoints())
    assert len(store.checkpoints()) == 5


def test_a_run_that_is_being_trained_can_be_branched(parent: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(parent, tmp_path / "busy")
    lock = FolderLock(folder)
    try:
        worlds.branch(folder, 25, tmp_path / "new").close()
    finally:
        lock.release()
    assert read(tmp_path / "new").step == 25


def test_a_run_that_may_only_be_read_can_be_branched(parent: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(parent, tmp_path / "locked")
    for place in (folder, *folder.rglob("*")):
        place.chmod(0o555 if place.is_dir() else 0o444)
    try:
        worlds.branch(folder, 25, tmp_path / "new").close()
    finally:
        for place in (folder, *folder.rglob("*")):
            place.chmod(0o755 if place.is_dir() else 0o644)
    assert read(tmp_path / "new").step == 25


ERRORS: dict[str, tuple[list[str], tuple[str, ...]]] = {
    "no such step": (["--step", "30"], ("step: got 30", "allowed: 0, 25, 40, 50, 75, 80")),
    "step below zero": (["--step", "-1"], ("step: got -1", "allowed: 0, 25")),
    "no step": ([], ("step",)),
    "full folder": (["--step", "25", "--out", "FULL"], ("--out", "not empty")),
    "the parent itself": (["--step", "25", "--out", "RUN"], ("--out", "outside")),
    "inside the parent": (["--step", "25", "--out", "RUN/branches/new"], ("--out", "outside")),
    "not live": (["--step", "25", "--set", "model.m=30"], ("model.m: takes effect with a new run only",)),
    "schedule": (["--step", "25", "--set", "schedule.clean_steps=30"], ("schedule.clean_steps: takes effect",)),
    "origin": (["--step", "25", "--set", "branch.step=30"], ("branch.step: no knob has this name",)),
    "out of range": (["--step", "25", "--set", "attack.tau=-1"], ("attack.tau: got -1", "from 0 to 10")),
    "phase": (["--step", "25", "--phase", "dirty"], ("phase: got 'dirty'", "adversarial")),
    "steps": (["--step", "25", "--steps", "-1"], ("--steps: got -1", "allowed")),
}


@pytest.mark.parametrize(("arguments", "parts"), ERRORS.values(), ids=ERRORS)
def test_what_is_refused_takes_one_line_and_leaves_nothing(
    arguments: list[str], parts: tuple[str, ...], call: Call, parent: Path, tmp_path: Path
) -> None:
    full = tmp_path / "full"
    full.mkdir()
    (full / "x").touch()
    out = [] if "--out" in arguments else ["--out", "NEW"]
    words = [a.replace("RUN", str(parent)).replace("FULL", str(full)) for a in (*arguments, *out)]
    code, _, err = call("branch", parent, *[str(tmp_path / "new") if a == "NEW" else a for a in words])
    assert code == 2
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    for part in parts:
        assert part in err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["full"]


def cut(folder: Path) -> None:
    path = folder / "checkpoints" / "step-00000025.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def no_record(folder: Path) -> None:
    (folder / "run.sqlite").write_bytes(b"x" * 4096)


def wrong_row(folder: Path) -> None:
    db = sqlite3.connect(folder / "run.sqlite")
    db.execute("UPDATE metrics SET value = 'much' WHERE step = 10")
    db.commit()
    db.close()


@pytest.mark.parametrize("harm", [cut, no_record, wrong_row])
def test_a_damaged_parent_is_refused_and_nothing_is_left(
    harm: Callable[[Path], None], call: Call, finished_run: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(finished_run, tmp_path / "parent")
    harm(folder)
    code, _, err = call("branch", folder, "--step", 25, "--out", tmp_path / "new")
    assert (code, err.count("\n")) == (2, 1)
    assert "damaged" in err
    assert str(folder) in err
    assert [p.name for p in tmp_path.iterdir()] == ["parent"]


def test_an_earlier_checkpoint_that_is_damaged_is_left_out(call: Call, finished_run: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(finished_run, tmp_path / "parent")
    path = folder / "checkpoints" / "step-00000040.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    code, _, err = call("branch", folder, "--step", 75, "--out", tmp_path / "new", "--steps", 0)
    assert code == 0
    assert err.startswith("warning: ")
    assert "the branch has no checkpoint of step 40" in err
    assert sorted(p.name[5:13] for p in (tmp_path / "new" / "checkpoints").iterdir()) == ["00000000", "00000075"]


def test_a_full_disk_ends_it_in_one_line(
    call: Call, parent: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("engine.run.state_files.save_tensors", full)
    code, _, err = call("branch", parent, "--step", 25, "--out", tmp_path / "new")
    assert code == 1
    assert err == f"error: {tmp_path / 'new'} cannot be written: [Errno 28] No space left on device\n"
    assert list(tmp_path.iterdir()) == []


def test_a_branch_at_the_end_says_that_nothing_is_left_to_train(call: Call, parent: Path, tmp_path: Path) -> None:
    code, out, _ = call("branch", parent, "--step", 80, "--out", tmp_path / "new")
    assert code == 0
    assert "nothing is trained; --steps says how far" in out
    assert_same(own(tmp_path / "new"), read(parent))


def test_the_origin_in_a_file_is_checked(parent: Path, tmp_path: Path, call: Call) -> None:
    worlds.branch(parent, 25, tmp_path / "new").close()
    path = tmp_path / "new" / "config.json"
    record = json.loads(path.read_text())
    record["config"]["branch"]["step"] = "soon"
    path.write_text(json.dumps(record))
    code, _, err = call("evaluate", tmp_path / "new")
    assert (code, err.count("\n")) == (2, 1)
    assert "branch.step: got 'soon'; allowed: parent, run and step of the run's origin" in err


def test_the_command_in_a_process_of_its_own(parent: Path, tmp_path: Path) -> None:
    arguments = ["branch", parent, "--step", 75, "--out", tmp_path / "new"]
    with forked("engine", *arguments, folder=tmp_path) as process:
        code, _, err = process.end()
    assert (code, err) == (0, "")
    assert_same(own(tmp_path / "new"), read(parent))


# --- after a divergence


@pytest.fixture(scope="module")
def wild(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A preset whose training diverges soon."""
    config = tiny_config(lr=100, sigma_0=1.0, **{"lambda": 0.1, "schedule.clean_steps": 500})
    return toml(config, tmp_path_factory.mktemp("wild") / "wild.toml")


def test_the_error_says_the_command_that_goes_on(call: Call, wild: Path, tmp_path: Path) -> None:
    folder = tmp_path / "a run"
    code, _, err = call("run", wild, "--out", folder)
    assert (code, err.count("\n")) == (1, 1)
    assert "training diverged" in err
    command = err.rstrip().partition("python -m engine ")[2]
    words = shlex.split(command)
    step = words[words.index("--step") + 1]
    assert words == [
        "branch", str(folder), "--step", step, "--out", str(tmp_path / f"a run-from-{step}"),
        "--set", "training.lr=50.0",
    ]  # fmt: skip
    code, _, err = call(*words, "--steps", 2)  # typed as it stands
    assert (code, err) == (0, "")
    events = table(tmp_path / f"a run-from-{step}", "SELECT step, name, old, new FROM events")
    assert events == [(int(step), "branch", "", "a run"), (int(step), "training.lr", "100.0", "50.0")]


def test_half_of_a_curve_is_a_curve() -> None:
    config = with_value(tiny_config(), "training.lr", [[0, 0.5], [80, 0.1]])
    text = halved(config)
    half = with_value(config, "training.lr", json.loads(text))
    assert value_of(half, "schedule.knobs.training.lr") == Curve(((0, 0.25), (80, 0.05)))
    assert halved(with_value(config, "training.lr", 0.5)) == "0.25"


def test_the_sound_checkpoint_is_the_last_before_the_divergence(finished_store: Store) -> None:
    error = divergence(finished_store, tiny_config(lr=2), 78, "training.lr")
    assert (error.step, error.setting, error.folder) == (75, "1.0", finished_store.folder)


def test_a_branch_is_called_after_its_parent(tmp_path: Path) -> None:
    assert new_folder(tmp_path, "a-from-5") == tmp_path / "a-from-5"
    (tmp_path / "a-from-5").mkdir()
    assert new_folder(tmp_path, "a-from-5") == tmp_path / "a-from-5-2"


# --- configs without an origin


def test_runs_that_are_no_branches_say_nothing_of_one(finished_run: Path) -> None:
    assert "branch" not in json.loads((finished_run / "config.json").read_text())["config"]
    assert load_preset("small").branch is None


def test_a_step_is_refused_before_a_setting_is_read(parent: Path, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="step: got 3"):
        worlds.branch(parent, 3, tmp_path / "new", [("attack.tua", "1")])
    with pytest.raises(ConfigError, match=r"attack\.tua"):
        worlds.branch(parent, 25, tmp_path / "new", [("attack.tua", "1")])


# --- figures


def test_figures_over_steps_dim_what_was_inherited(parent: Path, tmp_path: Path) -> None:
    folder = trained(worlds.branch(parent, 50, tmp_path / "new"), 80)
    store = Store.open(folder, read_only=True)
    checkpoint = store.load()
    run = json.loads((parent / "config.json").read_text())["run"]
    for name in ("robustness", "mixtures"):
        drawer = figures[name]()
        data = drawer.collect(store, checkpoint, drawer.view.complete({}))
        assert f"Branched from run {run} at step 50." in data.caption
        figure = Figure(figsize=(6.75, data.height(6.75)))
        data.draw(figure)
        words = f"branched from {parent.name} at step 50"
        axes = next(a for a in figure.axes if any(t.get_text() == words for t in a.texts))
        veil = next(p for p in axes.patches if p.get_alpha() == DIMMED)
        assert (veil.get_x(), veil.get_width()) == (0, 50)
        assert all(veil.get_zorder() > line.get_zorder() for line in axes.lines if len(line.get_xdata()) > 2)
    store.close()
    render(data, "png", 3.25)
