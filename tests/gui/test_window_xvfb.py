"""The whole program in a real window on a virtual screen, driven by keys as a person would."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.real_window import ROOT, needs_a_screen, real_window, virtual_screen

FRONT = {"small": {"neurons", "mixtures", "robustness"}, "digits": {"filters", "layers", "robustness"}}

pytestmark = [pytest.mark.window, needs_a_screen, pytest.mark.timeout(400)]


@pytest.fixture
def screen() -> Iterator[str]:
    with virtual_screen() as name:
        yield name


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


@pytest.mark.parametrize("preset", ["digits"])  # the theory: test_instrument_xvfb
def test_play_switch_export_and_quit_by_keys(screen: str, tmp_path: Path, preset: str) -> None:
    with real_window(screen, tmp_path, preset) as window:
        window.focus()
        run = window.run_folder()
        window.xdo("key", "space")
        window.wait(lambda: recorded(run, "loss") > 10, "recorded losses")
        window.xdo("key", "t")
        window.wait(lambda: "adversarial" in phases(run), "the switch to adversarial training")
        assert len(np.unique(window.pixels().reshape(-1, 3), axis=0)) > 200, "the screen is blank"
        window.xdo("key", "space")  # rest: test_instrument_xvfb exports while training goes on
        window.xdo("key", "ctrl+e")
        window.focus("Export figures")
        window.xdo("key", "Return")
        window.wait((run / "figures" / "recipe.json").exists, "the export", 200)
        window.wait(window.idle, "the end of the export")  # else it is asked first
        window.quit()
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
