"""A recipe holds what a replay needs, and a replay reaches the same weights, bit for bit."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from engine import worlds
from engine.config.experiment import from_dict, resolve
from engine.core.errors import ConfigError, StoreError
from engine.figures.export import export
from engine.run.commands import EvaluateNow, SaveCheckpoint, SetKnob, SwitchPhase
from engine.run.recipe import build, data_hash, digest, git_commit, read, versions
from engine.run.snapshot import Event
from engine.run.store import Store
from engine.studies.replay import command_of, parse, replay, scheduled_switch
from engine.theory.config import SparseCodingConfig
from tests.engine.test_compare import run_script

CONFIG = {
    "threads": 1,
    "device": "cpu",
    "seed": 3,
    "world": {"d": 16},
    "model": {"m": 24},
    "schedule": {"clean_steps": 25, "second_steps": 25},
    "evaluation": {"every": 10, "size": 32, "steps": 2, "report_size": 32, "report_steps": 2, "report_restarts": 1},
}


def train(folder: Path, commands: dict[int, list[object]], steps: int) -> Path:
    session = worlds.create(from_dict(CONFIG), folder)
    while True:
        for command in commands.get(session.steps_done, []):
            session.apply(command)  # type: ignore[arg-type]
        if session.steps_done == steps:
            break
        session.step()
    session.close()
    return folder


# The user's own switch before the schedule's; the schedule's alone; the user's switch back after the schedule's.
RUNS: dict[str, tuple[dict[int, list[object]], int]] = {
    "own switch": (
        {
            5: [SetKnob("training.lr", 0.7351234567891234), SetKnob("attack.random_start", True)],
            12: [SetKnob("attack.norm", "linf"), SwitchPhase("adversarial"), SaveCheckpoint()],
            30: [EvaluateNow(), SetKnob("attack.steps", 3), SwitchPhase("gaussian_noise")],
        },
        60,
    ),
    "schedule": ({7: [SetKnob("training.batch_size", 100)], 40: [SetKnob("lambda", 1e-3)]}, 60),
    "back to clean": ({35: [SwitchPhase("clean")], 44: [SwitchPhase("adversarial")]}, 60),
}


@pytest.mark.parametrize("name", RUNS)
def test_replay_is_bit_identical(tmp_path: Path, name: str) -> None:
    run = train(tmp_path / "run", *RUNS[name])
    export(run, ["robustness"], tmp_path / "out", formats=["svg"])
    said: list[str] = []
    result = replay(
        tmp_path / "out" / "recipe.json", tmp_path / "again", progress=lambda share, what: said.append(what)
    )
    assert result.equal
    assert result.max_abs_difference == 0
    assert result.data_equal
    assert result.differences == ()
    assert result.step == 60
    assert said == ["step 50 of 60"]
    first, second = (Store.open(f, read_only=True) for f in (run, tmp_path / "again"))
    one, two = first.load(), second.load()
    for key in ("weight", "weight_init", "weight_clean", "dictionary", "target", "bias"):
        np.testing.assert_array_equal(one.arrays[key], two.arrays[key])
    assert [(e.step, e.name, e.old, e.new) for e in first.events()] == [
        (e.step, e.name, e.old, e.new) for e in second.events()
    ]
    assert one.phase == two.phase
    np.testing.assert_array_equal(first.series("loss").values, second.series("loss").values)
    first.close()
    second.close()


def test_replay_of_an_earlier_step(tmp_path: Path) -> None:
    run = train(tmp_path / "run", *RUNS["own switch"])
    export(run, ["robustness"], tmp_path / "out", formats=[], step=12)
    recipe, _ = read(tmp_path / "out" / "recipe.json")
    assert max(e.step for e in recipe.events) == 12
    assert json.loads((tmp_path / "out" / "recipe.json").read_text())["phase"] == "adversarial"
    result = replay(tmp_path / "out" / "recipe.json", tmp_path / "again")
    assert (result.equal, result.step) == (True, 12)


def test_a_difference_is_measured_and_explained(tmp_path: Path) -> None:
    run = train(tmp_path / "run", {}, 20)
    export(run, ["robustness"], tmp_path / "out", formats=[])
    path = tmp_path / "out" / "recipe.json"
    recipe = json.loads(path.read_text())
    recipe["config"]["training"]["lr"] = 1.4
    recipe["versions"]["torch"] = "1.0"
    path.write_text(json.dumps(recipe))
    result = replay(path, tmp_path / "again")
    assert not result.equal
    assert result.max_abs_difference is not None
    assert 0 < result.max_abs_difference < 1
    assert result.data_equal
    assert len(result.differences) == 1
    assert result.differences[0].startswith("torch 1.0 → ")
    assert "maximum absolute difference" in result.text()
    (tmp_path / "out" / "weight.npz").unlink()
    assert replay(path, tmp_path / "third").max_abs_difference is None


def test_reproduce_script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    run = train(tmp_path / "run", {3: [SetKnob("attack.tau", 0.1)]}, 8)
    export(run, ["robustness"], tmp_path / "out", formats=[])
    command = [sys.executable, str(tmp_path / "out" / "reproduce.py"), str(tmp_path / "again")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])
    assert done.returncode == 0, done.stderr
    assert "step 8: the weights are bit-identical to the recorded ones" in done.stdout
    assert run_script(tmp_path / "out" / "reproduce.py", tmp_path / "again", monkeypatch) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert "Traceback" not in error


def test_recipe_says_what_was_done_and_with_what(tmp_path: Path) -> None:
    run = train(tmp_path / "run", *RUNS["own switch"])
    store = Store.open(run, read_only=True)
    checkpoint = store.load()
    recipe = json.loads(json.dumps(build(store, checkpoint)))
    assert recipe["run"] == store.run
    assert from_dict(recipe["config"]) == store.config
    assert (recipe["seed"], recipe["step"], recipe["phase"]) == (3, 60, "gaussian_noise")
    assert recipe["events"][0] == {"step": 5, "name": "training.lr", "old": "1.5", "new": "0.7351234567891234"}
    assert recipe["hardware"] == {"device": "cpu", "threads": 1}
    assert set(recipe["versions"]) == {"python", "feature-purification-explorer", "torch", "numpy"}
    assert recipe["versions"] == versions()
    assert recipe["hashes"] == {"data": data_hash(checkpoint), "weight": digest(checkpoint.arrays["weight"])}
    texts = {p["metric"]: p["text"] for p in recipe["protocols"]}
    assert texts["accuracy/pgd"].startswith("PGD-2 × 1 restart")
    store.close()


def test_the_schedules_own_switch_is_told_from_the_users() -> None:
    config = SparseCodingConfig()  # clean for 1500 steps, then adversarial
    own = Event(1500, 0.0, "phase", "clean", "adversarial")
    early = Event(700, 0.0, "phase", "clean", "adversarial")
    other = Event(1500, 0.0, "phase", "adversarial", "clean")
    knob = Event(3, 0.0, "attack.tau", "0.2", "0.1")
    assert scheduled_switch([knob, own], config) is own
    assert scheduled_switch([knob, early, other], config) is None
    assert scheduled_switch([early, own], config) is None
    assert scheduled_switch([knob], config) is None


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("attack.tau", "0.30000000000000004", 0.30000000000000004),
        ("attack.steps", "7", 7),
        ("attack.random_start", "True", True),
        ("attack.random_start", "false", False),
        ("attack.norm", "linf", "linf"),
        ("model.lambda", "1e-05", 1e-05),
    ],
)
def test_recorded_values_are_read_by_the_knobs_kind(name: str, text: str, value: object) -> None:
    command = command_of(Event(0, 0.0, name, "", text), SparseCodingConfig())
    assert command == SetKnob(name, value)
    assert type(command.value) is type(value)  # type: ignore[union-attr]


def test_wrong_recorded_values_are_named() -> None:
    knob = resolve("attack.steps")
    with pytest.raises(ConfigError, match=r"attack.steps: got 'many'; allowed: a whole number from 1 to 100"):
        parse(knob.path, knob.kind, "many", knob.allowed)
    with pytest.raises(ConfigError, match=r"phase: got 'x'; allowed: clean, adversarial, gaussian_noise"):
        command_of(Event(0, 0.0, "phase", "clean", "x"), SparseCodingConfig())


def test_hash_depends_on_type_shape_and_values() -> None:
    a = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert digest(a) == digest(np.asfortranarray(a)) == digest(a.astype(">f4"))
    assert len({digest(a), digest(a.reshape(3, 2)), digest(a.astype(np.float64)), digest(a + 1)}) == 4


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "does not exist"),
        ("{", "recipe.json is damaged: not JSON"),
        ("[]", r"recipe.json is damaged: got \[\]"),
        ('{"format": 1}', "recipe.json is damaged: step: Field required"),
    ],
)
def test_what_is_no_recipe_is_said(tmp_path: Path, content: str | None, message: str) -> None:
    path = tmp_path / "recipe.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises((ConfigError, StoreError), match=message):
        replay(path, tmp_path / "again")
    assert not (tmp_path / "again").exists()


def test_replay_into_a_folder_in_use(tmp_path: Path) -> None:
    run = train(tmp_path / "run", {}, 5)
    export(run, ["robustness"], tmp_path / "out", formats=[])
    with pytest.raises(StoreError, match="not empty"):
        replay(tmp_path / "out" / "recipe.json", run)


def test_commit_is_a_hash_or_none() -> None:
    commit = git_commit()
    assert commit is None or len(commit.rstrip("+")) == 40
