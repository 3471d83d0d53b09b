"""Whatever the environment says, the program works or says in one line what is wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from engine.core import cores
from engine.core.cores import cores_available, most_threads
from engine.core.device import prepare_thread
from fp_gui import screen
from tests.faults.programs import ENGINE, WINDOW, environment, one_line, program

NOWHERE = "/proc/nowhere"
ODD = {
    "a Turkish terminal of one column": {
        "LC_ALL": "tr_TR.UTF-8", "LANG": "de_DE", "TERM": "dumb", "COLUMNS": "1", "NO_COLOR": "1",
    },
    "no home": {"HOME": None, "TMPDIR": NOWHERE},
    "no folder can be written": dict.fromkeys(("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"), NOWHERE),
    "odd Python": {"PYTHONHASHSEED": "7", "PYTHONOPTIMIZE": "2", "PYTHONWARNINGS": "error"},
}  # fmt: skip


@pytest.mark.parametrize("changed", ODD.values(), ids=ODD)
def test_odd_environments_do(changed: dict[str, str | None], tmp_path: Path) -> None:
    done = program(ENGINE, "presets", cwd=tmp_path, env=environment(**changed))
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"small" in done.stdout.replace(b"\n", b"")


def test_figures_are_drawn_whatever_matplotlib_is_told(tmp_path: Path) -> None:
    (tmp_path / "matplotlibrc").write_text("backend: rubbish\nlines.linewidth: rubbish\nrubbish: 1\n")
    code = (
        "import engine.figures; from engine.figures.style import narrow; from matplotlib.figure import Figure; "
        "import io; Figure().savefig(io.BytesIO(), format='svg')"
    )
    env = environment(MPLBACKEND="rubbish", MPLCONFIGDIR=NOWHERE, PYTHONWARNINGS="error")
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.skipif(not hasattr(os, "setuid") or os.getuid() != 0, reason="needs root, to become a nameless user")
def test_a_user_without_a_name_and_home(tmp_path: Path) -> None:
    code = (
        "import os\nfrom engine.core.folders import runs_root\n"
        "from engine.core.errors import ConfigError\nos.setuid(12345)\n"
        "try:\n    print(runs_root())\nexcept ConfigError as error:\n    print('refused:', error)"
    )
    for changed, expected in (
        ({"HOME": None, "FP_RUNS": None}, "refused: no home folder is known for this user: set HOME, or FP_RUNS"),
        ({"HOME": "/somewhere", "FP_RUNS": None}, "/somewhere/.local/share/"),
        ({"HOME": None, "FP_RUNS": "/runs"}, "/runs"),
    ):
        env = environment(XDG_DATA_HOME=None, **changed)
        done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
        assert done.stdout.startswith(expected), done.stderr


def test_the_home_of_an_unknown_user_takes_one_line() -> None:
    assert "~nobody-here" in one_line(program(WINDOW, "~nobody-here/run"), 2)


# --- threads


def test_more_threads_than_the_machine_can_use_are_refused(tmp_path: Path) -> None:
    line = one_line(program(ENGINE, "run", "small", "--out", tmp_path / "run", "--set", "threads=256"), 2)
    if most_threads() < 256:
        assert "threads: got 256; allowed on this machine" in line
        assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("asked", "openmp", "found", "used"),
    [
        (0, "", 1, 1),
        (0, "", 2, 2),
        (0, "", 8, 7),  # one is left to the window
        (0, "3", 8, 3),
        (0, "3,2", 8, 3),
        (0, "rubbish", 8, 7),
        (0, "-1", 8, 7),
        (0, "999999999999", 8, 7),
        (0, "512", 2, 8),
        (5, "3", 8, 5),  # what the config says goes before
        (256, "", 2, 8),  # a run from a larger machine is read on a smaller one
    ],
)
def test_threads(asked: int, openmp: str, found: int, used: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores, "cores_available", lambda: found)
    monkeypatch.setenv("OMP_NUM_THREADS", openmp)
    assert prepare_thread(asked) == used
    assert torch.get_num_threads() == used


def test_cores_are_those_of_affinity_and_container(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(6)), raising=False)
    for text, found in (("max 100000", 6), ("150000 100000", 2), ("900000 100000", 6), ("10 100000", 1), ("", 6)):
        (tmp_path / "cpu.max").write_text(text)
        monkeypatch.setattr(cores, "CPU_QUOTA", tmp_path / "cpu.max")
        assert cores_available() == found


# --- the display


@pytest.mark.skipif(sys.platform != "linux", reason="X11 and Wayland")
@pytest.mark.parametrize(
    "dead", [{"DISPLAY": ":4099"}, {"WAYLAND_DISPLAY": "wayland-99"}, {"DISPLAY": ":4099", "WAYLAND_DISPLAY": NOWHERE}]
)
def test_a_display_that_cannot_be_reached_is_none(
    dead: dict[str, str], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"):
        monkeypatch.delenv(name, raising=False)
    assert screen.obstacle() == screen.UNSET
    for name, value in dead.items():
        monkeypatch.setenv(name, value)
    why = screen.obstacle()
    assert why.endswith("cannot be reached")
    assert all(f"{name}={value}" in why for name, value in dead.items())
    assert capfd.readouterr() == ("", "")


@pytest.mark.skipif(sys.platform != "linux", reason="X11 and Wayland")
def test_the_window_runs_headless_where_the_display_is_dead(tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text("threads = 256\n[schedule]\nclean_steps = 0\nsecond_steps = 0\n")
    env = environment(DISPLAY=":4099", QT_QPA_PLATFORM=None)
    done = program(WINDOW, "bad.toml", cwd=tmp_path, env=env, text=True)  # the run itself is refused, quickly
    assert done.stdout.startswith("fp-gui: no display (DISPLAY=:4099 cannot be reached): running without a window into")
    if most_threads() < 256:
        assert "threads: got 256" in one_line(done, 2)


def test_a_platform_that_qt_lacks_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for asked, wrong in (
        ("", False),
        ("offscreen", False),
        ("wayland;xcb", False),
        ("xcb:option", False),
        ("what", True),
    ):
        monkeypatch.setenv("QT_QPA_PLATFORM", asked)
        assert bool(screen.unknown_platform()) is wrong
    assert "QT_QPA_PLATFORM: got 'what'; allowed: " in screen.unknown_platform()


@pytest.mark.skipif(sys.platform != "linux", reason="the plugin for X11")
def test_libraries_that_the_plugin_lacks_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("QT_QPA_PLATFORM", raising=False)
    (tmp_path / "libqxcb.so").write_bytes(b"no library")
    monkeypatch.setattr(screen, "_plugins", lambda: tmp_path)
    assert "libqxcb.so" in screen.lacking_library()
    assert "libxcb-cursor0" in screen.lacking_library()
    monkeypatch.setenv("QT_QPA_PLATFORM", "offscreen")
    assert screen.lacking_library() == ""
