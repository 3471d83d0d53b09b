"""The window on runs that are in use, damaged or removed, and the signals that close it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from engine import worlds
from engine.core.lock import NAME, FolderLock
from fp_gui.main_window import MainWindow
from tests.faults.processes import ROOT, toml, wait_for
from tests.forked import forked
from tests.gui.test_main_window import open_window
from tests.tiny_runs import advance, read, tiny_config

LONG = tiny_config(clean_steps=20_000, second_steps=100, every=50, **{"checkpoint_every": 20, "storage.keep": 3})


@pytest.fixture
def window(qapp: QApplication, qtbot: QtBot) -> Iterator[MainWindow]:
    """The window on a new run of the real engine, without views."""
    made = open_window(worlds, qapp, types=(), config=LONG)
    qtbot.waitUntil(lambda: made.controller.last is not None, timeout=20_000)
    yield made
    made.close()
    made.deleteLater()


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    session = worlds.create(tiny_config(), tmp_path / "stored")
    advance(session, 30)
    session.close()
    return tmp_path / "stored"


def test_a_run_in_use_is_said_and_the_present_one_kept(window: MainWindow, stored: Path, qtbot: QtBot) -> None:
    lock = FolderLock(stored)  # by a writer of this process, so that the test needs no other
    present = window.controller.run
    assert present is not None
    window.open_run(stored)
    qtbot.waitUntil(lambda: window.banner.level == "error", timeout=20_000)
    assert f"{stored}: in use by this process" in window.banner.text
    assert "The present run is kept" in window.banner.text
    assert window.controller.run == present
    lock.release()
    window.open_run(stored)
    qtbot.waitUntil(lambda: window.controller.run is not None and window.controller.run.folder == stored)


def test_the_present_run_opens_again_by_another_path(window: MainWindow, tmp_path: Path, qtbot: QtBot) -> None:
    window.controller.step_once()
    qtbot.waitUntil(lambda: window.controller.last is not None and window.controller.last.step == 1)
    present = window.controller.run
    assert present is not None
    (tmp_path / "link").symlink_to(present.folder)
    window.open_run(tmp_path / "link")
    qtbot.waitUntil(lambda: window.controller.run is not None and window.controller.run.resumed, timeout=20_000)
    assert window.controller.run is not None
    assert (window.controller.run.run, window.controller.run.steps) == (present.run, 1)


def test_a_damaged_checkpoint_is_named(window: MainWindow, stored: Path, qtbot: QtBot) -> None:
    newest = stored / "checkpoints" / "step-00000030.safetensors"
    newest.write_bytes(newest.read_bytes()[:-9])
    window.open_run(stored)
    qtbot.waitUntil(lambda: "stored, step 25" in window.banner.text, timeout=20_000)
    assert f"{newest} is damaged" in window.banner.text
    assert f"set aside as {newest.name}.damaged" in window.banner.text


def test_a_run_that_is_removed_stops_with_a_word(window: MainWindow, qtbot: QtBot) -> None:
    present = window.controller.run
    assert present is not None
    window.controller.play()
    qtbot.waitUntil(lambda: window.controller.last is not None and window.controller.last.step > 3)
    while present.folder.exists():  # a file that is written meanwhile keeps its folder
        shutil.rmtree(present.folder, ignore_errors=True)
    qtbot.waitUntil(lambda: window.banner.level == "error", timeout=20_000)
    assert "removed or moved while it was in use" in window.banner.text


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT])
def test_a_signal_closes_the_window_and_saves(number: signal.Signals, tmp_path: Path) -> None:
    preset = toml(LONG, tmp_path / "long.toml")
    runs = tmp_path / "runs"

    def begun() -> bool:
        return any(runs.glob("*/checkpoints/step-*[1-9]*.safetensors"))

    environment = {"FP_RUNS": str(runs), "QT_QPA_PLATFORM": "offscreen", "HOME": str(tmp_path)}
    with forked("fp_gui", preset, "--autoplay", folder=tmp_path, **environment) as process:
        wait_for(begun)
        process.send_signal(number)
        code, _, err = process.end()
    assert "Traceback" not in err
    assert code == 130
    (folder,) = runs.iterdir()
    assert not (folder / NAME).exists()  # closed, not only gone
    assert (folder / "summary.json").exists()
    assert read(folder).step >= 20


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_without_a_screen_a_signal_reaches_the_training_once(tmp_path: Path) -> None:
    """Ctrl+C in a terminal is one signal to the whole group; the run is saved, and no figures are drawn of it."""
    preset = toml(LONG, tmp_path / "long.toml")

    def begun() -> bool:
        return any((tmp_path / "runs").glob("*/checkpoints/step-*[1-9]*.safetensors"))

    process = subprocess.Popen(
        [sys.executable, "-m", "fp_gui", str(preset)],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    try:
        wait_for(begun)
        os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert err.startswith("interrupted at step")
    (folder,) = (tmp_path / "runs").iterdir()
    assert read(folder).step >= 20
    assert not (folder / NAME).exists()
    assert not (folder / "figures").exists()
