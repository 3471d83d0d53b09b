"""The window and runs that are damaged, or may only be read: it says so in a line, and keeps what it has."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import QSettings
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from engine import worlds
from fp_gui.bridge.controller import Controller
from fp_gui.bridge.requests import RunInfo
from fp_gui.main_window import MainWindow
from fp_gui.theme import ThemeManager
from tests.faults.mutations import CHECKPOINT, MUTATIONS_OF_THEORY, newest
from tests.gui.test_main_window import VIEWS
from tests.tiny_runs import assert_same, read, tiny_config

DAMAGES = (
    "config.json: null",
    "config.json: deeper lists than python's",
    "config.json: a pipe",
    "config.json: a gigabyte of nothing",
    "config.json: tau below 0",
    "config.json: newer format",
    "run.sqlite: noise",
    "run.sqlite: a device",
    "run.sqlite: no events",
    "run.sqlite: accuracy 7",
    "run.sqlite: accuracy none",
    "run.sqlite: step is text",
    "run.sqlite: event's phase",
    "run.sqlite: protocol is no JSON",
    "checkpoint: unknown phase",
    "checkpoint: state.position is -1",
    "weight: not a number",
    "weight_clean: transposed",
    "dictionary: missing",
)


@pytest.fixture
def window(qapp: QApplication, qtbot: QtBot, tmp_path: Path) -> Iterator[MainWindow]:
    config = tiny_config()
    controller = Controller(worlds, tmp_path / "runs")
    made = MainWindow(controller, VIEWS, ThemeManager(qapp, "light"), "tiny", config, QSettings())
    with qtbot.waitSignal(controller.run_changed, timeout=20_000):
        made.begin(config, "tiny")
    yield made
    made.close()
    made.deleteLater()


@pytest.fixture
def said(window: MainWindow) -> list[str]:
    """The errors that the window was told or told itself."""
    found: list[str] = []
    window.controller.error.connect(lambda text, details: found.append(text + details))
    show = window.banner.error

    def error(text: str, details: str = "") -> None:
        found.append(text + details)
        show(text, details)

    window.banner.error = error  # type: ignore[method-assign]
    return found


def test_a_damaged_run_is_refused_in_a_line(
    window: MainWindow, said: list[str], finished_run: Path, tmp_path: Path, qtbot: QtBot
) -> None:
    for name in DAMAGES:  # in one window, which takes longer to make than to refuse them all
        folder = Path(shutil.copytree(finished_run, tmp_path / str(DAMAGES.index(name))))
        refuse(folder, name, window, said, qtbot)


def refuse(folder: Path, name: str, window: MainWindow, said: list[str], qtbot: QtBot) -> None:
    how = MUTATIONS_OF_THEORY[name]
    said.clear()
    how.damage(folder)
    if how.kind == CHECKPOINT:  # no other to go back to
        for path in (folder / CHECKPOINT).iterdir():
            if path != newest(folder):
                path.unlink()
    present = window.controller.run
    assert present is not None
    window.open_run(folder)
    qtbot.waitUntil(lambda: bool(said) and window.controller.run is not None, timeout=20_000)
    assert window.controller.run == present
    assert "\n" not in said[0], name
    assert "Traceback" not in said[0], name
    assert "The present run is kept." in said[0], name
    if how.kind != CHECKPOINT:
        assert how.says in said[0], name
    assert str(folder) in said[0], name


@pytest.fixture
def read_only(finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the tiny run that counts as one that may only be read."""
    folder = Path(shutil.copytree(finished_run, tmp_path / "archive" / "kept"))
    monkeypatch.setattr("engine.run.access.writable", lambda place: "archive" not in place.parts)
    return folder


def opened(window: MainWindow, folder: Path, qtbot: QtBot) -> RunInfo:
    with qtbot.waitSignal(window.controller.run_changed, timeout=20_000):
        window.open_run(folder)
    info = window.controller.run
    assert info is not None
    return info


def files(folder: Path) -> dict[str, bytes]:
    """Name and content of every file but those that SQLite makes to read by."""
    found = (path for path in folder.rglob("*") if path.is_file() and "-" not in path.suffix)
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def test_a_run_that_may_only_be_read_is_viewed(window: MainWindow, read_only: Path, qtbot: QtBot) -> None:
    before = files(read_only)
    info = opened(window, read_only, qtbot)
    assert (info.original, info.steps) == (read_only, 80)
    assert info.folder.parent == window.controller.runs
    text = window.banner.text
    assert "kept may only be read: opened for viewing at step 80" in text
    assert str(info.folder) in text
    qtbot.waitUntil(lambda: window.controller.last is not None and window.controller.last.step == 80, timeout=20_000)
    window.controller.close()
    assert files(read_only) == before
    assert not info.folder.exists(), "nothing was trained: nothing is left"


def test_going_on_with_it_trains_a_copy(window: MainWindow, read_only: Path, finished_run: Path, qtbot: QtBot) -> None:
    before = files(read_only)
    info = opened(window, read_only, qtbot)
    window.controller.step_once()
    qtbot.waitUntil(lambda: window.controller.last is not None and window.controller.last.step == 81, timeout=20_000)
    window.controller.close()
    assert files(read_only) == before
    assert read(info.folder).step == 81
    assert_same(read(read_only), read(finished_run))


def test_a_run_that_can_be_written_goes_on_where_it_is(
    window: MainWindow, finished_run: Path, tmp_path: Path, qtbot: QtBot
) -> None:
    folder = Path(shutil.copytree(finished_run, tmp_path / "own"))
    info = opened(window, folder, qtbot)
    assert (info.folder, info.original) == (folder, None)
    assert window.banner.text.startswith("Opened own at step 80.")
    window.controller.close()
    assert folder.exists()
