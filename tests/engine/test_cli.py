from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from engine import __version__, worlds
from engine.cli.main import run_command_line
from engine.config.experiment import Config, to_dict
from engine.core import metrics
from tests.forked import forked
from tests.tiny_runs import Record, assert_same, read, run, table, tiny_config, values

COMMAND = [sys.executable, "-m", "engine"]
ROOT = Path(__file__).parents[2]


def toml(config: Config, path: Path) -> Path:
    """The config as a preset file."""
    data = to_dict(config)
    lines = [f"{k} = {json.dumps(v)}" for k, v in data.items() if not isinstance(v, dict)]
    for group, knobs in data.items():
        if isinstance(knobs, dict):
            lines += [f"[{group}]", *(f"{k} = {json.dumps(v)}" for k, v in knobs.items())]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


@pytest.fixture
def preset(tmp_path: Path) -> Path:
    return toml(tiny_config(), tmp_path / "tiny.toml")


Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Call:
    """Run a command in this process: exit code, stdout, stderr."""

    def inner(*arguments: object) -> tuple[int, str, str]:
        code = run_command_line([str(a) for a in arguments])
        out, err = capsys.readouterr()
        return code, out, err

    return inner


# --- run


def test_run_trains_the_schedule_and_reports(call: Call, preset: Path, tmp_path: Path, finished_run: Path) -> None:
    folder = tmp_path / "run"
    code, out, _ = call("run", preset, "--out", folder)
    assert code == 0
    assert_same(read(folder), read(finished_run))
    assert f"run folder: {folder}" in out
    assert "after 40 steps (clean):" in out
    assert "after 80 steps (adversarial):" in out
    rows = table(folder, "SELECT step, name, value FROM metrics")
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    for report in summary["reports"]:
        for name in (metrics.CLEAN, metrics.PGD, metrics.ALIGNMENT):
            assert report[name]["value"] == values(rows, metrics.REPORT + name)[report["step"]]
            assert f"{report[name]['value']:.3f}" in out
    assert "PGD-4 × 2 restarts, ℓ2 radius 0.2, n = 48, 95% Wilson interval" in out


def test_set_and_device(call: Call, preset: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    code, _, err = call(
        "run", preset, "--out", folder, "--set", "attack.tau=0.1", "--set", "clean_steps=5", "--set", "norm=linf",
        "--set", "second_steps=0", "--device", "cpu",
    )  # fmt: skip
    assert (code, err) == (0, "")
    session = worlds.resume(folder)
    config = session.config
    session.close()
    assert (config.attack.tau, config.attack.norm, config.device) == (0.1, "linf", "cpu")
    assert read(folder).step == 5


ERRORS: dict[str, tuple[list[str], tuple[str, ...]]] = {
    "preset": (
        ["run", "smal", "--out", "OUT"],
        ("preset: got 'smal'", "small, theorem, theorem-simple, standard, wide"),
    ),
    "no preset": (["run", "--out", "OUT"], ("preset", "small")),
    "no out": (["run", "small"], ("out",)),
    "unknown knob": (["run", "small", "--out", "OUT", "--set", "attack.tua=1"], ("attack.tua", "did you mean")),
    "bad value": (["run", "small", "--out", "OUT", "--set", "attack.tau=-1"], ("attack.tau: got -1", "from 0 to 10")),
    "no assignment": (["run", "small", "--out", "OUT", "--set", "tau"], ("--set: got 'tau'", "key=value")),
    "device": (["run", "small", "--out", "OUT", "--device", "tpu"], ("tpu", "cpu")),
    "full folder": (["run", "small", "--out", "FULL"], ("--out", "not empty")),
    "resume nothing": (["run", "--out", "OUT", "--resume"], ("not a run folder",)),
    "unknown option": (["run", "small", "--out", "OUT", "--fast"], ("--fast",)),
    "unknown command": (["train", "small"], ("train",)),
    "evaluate nothing": (["evaluate", "OUT"], ("not a run folder",)),
    "evaluate radius": (["evaluate", "RUN", "--radius", "-1"], ("--radius: got -1",)),
    "evaluate n": (["evaluate", "RUN", "--n", "0"], ("--n: got 0",)),
    "evaluate steps": (["evaluate", "RUN", "--steps", "x"], ("steps", "x")),
    "evaluate attack": (["evaluate", "RUN", "--attack", "cw"], ("cw", "pgd")),
    "evaluate checkpoint": (["evaluate", "RUN", "--checkpoint", "7"], ("checkpoint: got 7", "allowed: 0, 25, 40")),
}


@pytest.mark.parametrize(("arguments", "parts"), ERRORS.values(), ids=ERRORS)
def test_errors_take_one_line_and_code_2(
    arguments: list[str], parts: tuple[str, ...], call: Call, tmp_path: Path, finished_run: Path
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    places = {"OUT": tmp_path / "out", "FULL": tmp_path / "full", "RUN": finished_run}
    code, out, err = call(*[places.get(a, a) for a in arguments])
    assert code == 2
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    for part in parts:
        assert part in err
    assert not (tmp_path / "out").exists()


def test_divergence_has_code_1(call: Call, tmp_path: Path) -> None:
    config = tiny_config(lr=100, sigma_0=1.0, **{"lambda": 0.1, "schedule.clean_steps": 500})
    code, _, err = call("run", toml(config, tmp_path / "wild.toml"), "--out", tmp_path / "run")
    assert code == 1
    assert "diverged" in err
    assert err.count("\n") == 1


def test_resume_of_a_finished_run_and_with_a_live_knob(call: Call, preset: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    assert call("run", preset, "--out", folder)[0] == 0
    before = read(folder)
    assert call("run", "--out", folder, "--resume")[0] == 0
    assert_same(read(folder), before)
    code, _, err = call("run", "--out", folder, "--resume", "--set", "world.d=64")
    assert code == 2
    assert "world.d: takes effect with a new run only" in err
    assert call("run", "--out", folder, "--resume", "--set", "attack.tau=0.1")[0] == 0
    assert table(folder, "SELECT name, old, new FROM events ORDER BY id DESC LIMIT 1") == [("attack.tau", "0.2", "0.1")]


# --- evaluate


def lines(out: str) -> list[str]:
    return [line.strip() for line in out.splitlines()[1:]]


def test_evaluate_prints_a_protocol_a_line(call: Call, finished_run: Path) -> None:
    code, out, err = call(
        "evaluate", finished_run, "--radius", "0", "--radius", "0.2", "--steps", "5", "--restarts", "2", "--n", "300"
    )
    assert (code, err) == (0, "")
    found = lines(out)
    assert len(found) == 1 + 2 * 3
    clean = found[0].split()[0]
    assert "no attack, n = 300, 95% Wilson interval" in found[0]
    for line in found[1:4]:
        assert line.startswith(clean + " [")
        assert "radius 0," in line
    assert "FGM (1 step), ℓ2 radius 0.2, n = 300" in found[4]
    assert "PGD-5 × 2 restarts, ℓ2 radius 0.2, n = 300" in found[5]
    assert "dense direction" in found[6]
    assert all(float(line.split()[0]) <= float(clean) for line in found)


def test_evaluate_json_and_selection(call: Call, finished_run: Path) -> None:
    code, out, _ = call(
        "evaluate", finished_run, "--json", "--attack", "pgd", "--norm", "linf", "--radius", "0.05", "--n", "100",
        "--steps", "3", "--restarts", "1", "--checkpoint", "40",
    )  # fmt: skip
    assert code == 0
    found: dict[str, Any] = json.loads(out)
    assert found["step"] == 40
    assert [(f["attack"], f["norm"], f["tau"]) for f in found["figures"]] == [
        ("clean", "linf", 0.0),
        ("pgd", "linf", 0.05),
    ]
    for each in found["figures"]:
        assert each["low"] <= each["value"] <= each["high"]
        assert each["protocol"]["n"] == 100
    again = call("evaluate", finished_run, "--json", "--attack", "pgd", "--norm", "linf", "--radius", "0.05", "--n",
                 "100", "--steps", "3", "--restarts", "1", "--checkpoint", "40")[1]  # fmt: skip
    assert json.loads(again) == found


def test_evaluate_agrees_with_the_report(call: Call, finished_run: Path) -> None:
    """Clean, FGM and dense accuracies are free of chance: the report's, on the same held-out sample."""
    _, out, _ = call("evaluate", finished_run, "--json", "--n", "48", "--steps", "4", "--restarts", "2")
    summary = json.loads((finished_run / "summary.json").read_text(encoding="utf-8"))
    report = summary["reports"][-1]
    by_attack = {f["attack"]: f["value"] for f in json.loads(out)["figures"]}
    for attack in ("clean", "fgm", "dense"):
        assert by_attack[attack] == report[f"accuracy/{attack}"]["value"]


def test_evaluate_writes_nothing(call: Call, finished_run: Path) -> None:
    before = {p: p.stat().st_mtime_ns for p in (finished_run / "checkpoints").iterdir()}
    record = read(finished_run)
    assert call("evaluate", finished_run, "--n", "50", "--steps", "2")[0] == 0
    assert {p: p.stat().st_mtime_ns for p in (finished_run / "checkpoints").iterdir()} == before
    assert_same(read(finished_run), record)


# --- other processes


def test_help_and_wrong_arguments_import_no_torch() -> None:
    script = """
import sys
from engine.cli.main import run_command_line
for arguments in (["--help"], ["run", "--help"], ["evaluate", "--help"], ["--version"], ["presets"],
                  ["knobs"], ["data"], ["run", "small", "--out", "x", "--set", "schedule.second=gauss"],
                  ["data", "--download"], ["sweep", "small", "--seeds", "0-1", "--out", "x", "--dry-run"],
                  ["run", "smal", "--out", "x"], ["run", "small", "--out", "x", "--set", "attack.tau=-1"]):
    run_command_line(arguments)
for name in ("torch", "torchvision", "matplotlib", "PySide6"):
    assert name not in sys.modules, name
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    for word in ("run", "evaluate", "export", "--set", "--resume", "--radius", __version__, "standard"):
        assert word in done.stdout
    assert "Traceback" not in done.stderr


def test_exit_codes_of_the_process() -> None:
    bad = subprocess.run([*COMMAND, "run", "smal", "--out", "x"], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert bad.returncode == 2
    assert bad.stderr.startswith("error: preset: got 'smal'")
    fine = subprocess.run([*COMMAND, "--help"], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert fine.returncode == 0


LONG = tiny_config(clean_steps=900, second_steps=900, every=50)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Record:
    """What a run leaves that nothing interrupts."""
    grad, threads = torch.is_grad_enabled(), torch.get_num_threads()
    record = run(LONG, tmp_path_factory.mktemp("long") / "run")
    torch.set_grad_enabled(grad)
    torch.set_num_threads(threads)
    return record


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_is_resumed_to_the_same_end(
    tmp_path: Path, call: Call, whole: Record, number: signal.Signals
) -> None:
    folder = tmp_path / "run"
    first = folder / "checkpoints" / "step-00000100.safetensors"
    preset = toml(LONG, tmp_path / "long.toml")
    with forked("engine", "run", preset, "--out", folder, folder=tmp_path) as process:
        end = time.monotonic() + 60
        while not first.exists() and time.monotonic() < end:
            time.sleep(0.005)
        process.send_signal(number)
        code, _, err = process.end()
    assert code == 130
    assert "interrupted at step" in err
    assert f"--out {folder} --resume" in err
    assert "Traceback" not in err
    assert 100 <= read(folder).step < 1800
    assert call("run", "--out", folder, "--resume")[0] == 0
    assert_same(read(folder), whole)
