"""The whole program in a real window on a virtual screen, driven by keys as a person would."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

TOOLS = ("Xvfb", "xdotool", "import", "convert")
MISSING = [tool for tool in TOOLS if shutil.which(tool) is None]
ROOT = Path(__file__).parents[2]
TITLE = "Feature Purification Explorer"
FRONT = {"small": {"neurons", "mixtures", "robustness"}, "digits": {"filters", "layers", "robustness"}}

pytestmark = [
    pytest.mark.window,
    pytest.mark.skipif(bool(MISSING), reason=f"needs xvfb, xdotool and imagemagick; missing: {', '.join(MISSING)}"),
    pytest.mark.timeout(400),
]


def wait_for(condition: Callable[[], bool], what: str, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited {seconds:g} s for {what}"
        time.sleep(0.1)


@pytest.fixture
def screen(tmp_path: Path) -> Iterator[str]:
    number = tmp_path / "display"
    with number.open("wb") as pipe:
        xvfb = subprocess.Popen(
            ["Xvfb", "-displayfd", str(pipe.fileno()), "-screen", "0", "1600x1000x24", "-nolisten", "tcp"],
            pass_fds=[pipe.fileno()],
            stderr=subprocess.DEVNULL,
        )
        try:
            wait_for(lambda: number.read_bytes().endswith(b"\n"), "the virtual screen", 20)
            yield ":" + number.read_text().strip()
        finally:
            xvfb.terminate()
            xvfb.wait(10)


def recorded(run: Path, name: str) -> int:
    if not (run / "run.sqlite").exists():
        return 0
    connection = sqlite3.connect(f"file:{run / 'run.sqlite'}?mode=ro", uri=True, timeout=5)
    try:
        return int(connection.execute("SELECT count(*) FROM metrics WHERE name = ?", (name,)).fetchone()[0])
    except sqlite3.OperationalError:
        return 0  # being created
    finally:
        connection.close()


@pytest.mark.parametrize("preset", ["small", "digits"])
def test_play_switch_export_and_quit_by_keys(screen: str, tmp_path: Path, preset: str) -> None:
    runs = tmp_path / "runs"
    environment = os.environ | {
        "DISPLAY": screen,
        "QT_QPA_PLATFORM": "xcb",
        "FP_RUNS": str(runs),
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
    }
    environment.pop("WAYLAND_DISPLAY", None)

    def xdo(*words: str) -> str:
        return subprocess.run(
            ["xdotool", *words], env=environment, capture_output=True, text=True, check=False
        ).stdout.strip()

    app = subprocess.Popen(
        [sys.executable, "-m", "fp_gui", preset], cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True
    )
    try:
        wait_for(lambda: bool(xdo("search", "--onlyvisible", "--name", TITLE)) or app.poll() is not None, "the window")
        assert app.poll() is None, app.stderr.read() if app.stderr else ""
        # A folder whose name begins with a dot is one that is still being made.
        wait_for(lambda: runs.is_dir() and any(not p.name.startswith(".") for p in runs.iterdir()), "the run folder")
        (run,) = runs.iterdir()
        window = xdo("search", "--onlyvisible", "--name", TITLE).splitlines()[-1]
        xdo("windowfocus", "--sync", window)
        xdo("key", "space")
        wait_for(lambda: recorded(run, "loss") > 10, "recorded losses")
        xdo("key", "t")
        wait_for(lambda: "adversarial" in phases(run), "the switch to adversarial training")
        picture = tmp_path / "window.png"
        subprocess.run(["import", "-window", "root", str(picture)], env=environment, check=True)
        colours = subprocess.run(
            ["convert", str(picture), "-format", "%k", "info:"], capture_output=True, text=True, check=True
        )
        assert int(colours.stdout) > 200, "the screen is blank"
        xdo("key", "ctrl+e")
        wait_for(lambda: bool(xdo("search", "--onlyvisible", "--name", "Export figures")), "the export dialog")
        xdo("windowfocus", "--sync", xdo("search", "--onlyvisible", "--name", "Export figures").splitlines()[-1])
        xdo("key", "Return")
        wait_for((run / "figures" / "recipe.json").exists, "the export", 200)
        wait_for(lambda: not psutil.Process(app.pid).children(), "the end of the export")  # else it is asked first
        xdo("windowfocus", "--sync", window)
        xdo("key", "ctrl+q")
        _, errors = app.communicate(timeout=60)
    finally:
        if app.poll() is None:
            app.kill()
            app.communicate()
    assert errors == ""
    assert app.returncode == 0
    assert any((run / "checkpoints").iterdir())
    recipe = json.loads((run / "figures" / "recipe.json").read_text())
    assert set(recipe["figures"]["views"]) == FRONT[preset]
    assert all((run / "figures" / name / f"{name}.pdf").exists() for name in FRONT[preset])


def phases(run: Path) -> set[str]:
    connection = sqlite3.connect(f"file:{run / 'run.sqlite'}?mode=ro", uri=True, timeout=5)
    try:
        return {row[0] for row in connection.execute("SELECT new FROM events WHERE name = 'phase'")}
    finally:
        connection.close()


@pytest.mark.parametrize("argument", ["smal", "/nowhere/run"])
def test_bad_argument_is_one_line_and_code_2(argument: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "fp_gui", argument], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert argument in done.stderr


def test_help_imports_neither_torch_nor_qt() -> None:
    code = (
        "import sys\nfrom fp_gui.__main__ import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "sys.exit(any(m in sys.modules for m in ('torch', 'PySide6')))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "usage" in done.stdout


def test_without_a_screen_it_runs_headless(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    import fp_gui.__main__ as program

    lines: list[list[str]] = []

    def pretend(line: list[str], env: dict[str, str]) -> int:
        lines.append(line)
        return 0

    for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(program.sys, "platform", "linux")
    monkeypatch.setattr(program, "run_child", pretend)
    assert program.main(["small", "--device", "cpu"]) == 0
    assert lines[0][1:5] == ["-m", "engine", "run", "small"]
    assert lines[1][1:4] == ["-m", "engine", "export"]
    assert lines[1][4] == lines[0][6]
    assert len(capfd.readouterr().out.splitlines()) == 1
