"""A run of another process in the window: it is offered, followed, plainly read-only, and taken over once free."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import QSettings, Qt
from PySide6.QtWidgets import QApplication, QFileDialog, QLineEdit, QMessageBox
from pytestqt.qtbot import QtBot

from engine import worlds
from engine.config.experiment import with_value
from engine.run.commands import SetKnob
from engine.run.session import Session
from engine.run.snapshot import Snapshot
from fp_gui.bridge.controller import Controller
from fp_gui.bridge.requests import Answer, Worlds
from fp_gui.main_window import MainWindow
from fp_gui.parts.branching import BranchDialog, Branching
from fp_gui.parts.watching import TRAINS, WHY, Watching
from fp_gui.run_actions import run_actions
from fp_gui.theme import ThemeManager
from fp_gui.views.base import views
from tests.faults.test_data_moved import config as image_config
from tests.faults.test_data_moved import pictures
from tests.gui.test_main_window import open_window
from tests.tiny_runs import advance, run, tiny_config

LONG = with_value(tiny_config(**{"storage.checkpoint_every": 10}), "schedule.clean_steps", 1_000_000)
WAIT = 20_000


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    """What another process would have open."""
    made = worlds.create(LONG, tmp_path / "other")
    advance(made, 12)
    made.flush(wait=True)
    yield made
    made.close()


@pytest.fixture
def window(qapp: QApplication, qtbot: QtBot) -> Iterator[MainWindow]:
    made = open_window(Worlds(), qapp, types=(views["robustness"],), config=LONG)  # type: ignore[arg-type]
    qtbot.waitUntil(lambda: made.controller.last is not None, timeout=WAIT)
    yield made
    made.close()
    made.deleteLater()


def part(window: MainWindow) -> Watching:
    found = window.parts["watching"]
    assert isinstance(found, Watching)
    return found


def last(window: MainWindow) -> Snapshot:
    found = window.controller.last
    assert found is not None
    return found


def shows(window: MainWindow, folder: Path) -> bool:
    found = window.controller.last
    return found is not None and found.folder == folder


def edit_of(window: MainWindow, path: str) -> QLineEdit:
    row = next(iter(window.form.parameters[path].items.keys()))
    assert isinstance(row.field.control, QLineEdit)
    return row.field.control


def test_a_run_in_use_is_offered_to_be_watched_and_trained_here_once_it_is_free(
    window: MainWindow, session: Session, qtbot: QtBot
) -> None:
    own, folder = last(window).folder, session.folder
    assert not part(window).bar.isVisible()
    window.open_run(folder)
    qtbot.waitUntil(lambda: window.banner.offering, timeout=WAIT)
    assert window.banner.level == "error"
    assert "in use by" in window.banner.text
    qtbot.waitUntil(lambda: shows(window, own), timeout=WAIT)  # it is kept meanwhile
    qtbot.mouseClick(window.banner.offer_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: shows(window, folder), timeout=WAIT)

    # whose it is, and that it is only read
    words = f"Watching other, read-only: training in process {os.getpid()}"
    qtbot.waitUntil(lambda: part(window).words.text() == words, timeout=WAIT)
    assert part(window).bar.isVisible()
    assert window.windowTitle().startswith("other (watched)")
    assert "in use by" not in window.banner.text
    for name in TRAINS:
        assert not window.actions_[name].isEnabled()
        assert window.actions_[name].toolTip() == WHY
    assert not any(button.isEnabled() for button in window.toolbar.objectives.values())
    window.themes.set_mode("dark")  # which names the actions anew
    assert window.actions_["play"].toolTip() == WHY
    window.themes.set_mode("light")
    assert not window.form.note.isHidden()
    tau = edit_of(window, "attack.tau")
    assert tau.isReadOnly()
    edited: list[object] = []
    window.form.live_edited.connect(lambda *what: edited.append(what))
    qtbot.keyClick(tau, Qt.Key.Key_Up)
    window.form.parameters["attack.tau"].ask(0.9)
    assert (tau.text(), edited) == ("0.2", [])
    window._show_stats()
    assert window.status.speed.text() == "watching"
    assert not part(window).train.isEnabled()

    # what is trained there arrives here
    session.apply(SetKnob("attack.tau", 0.3))
    advance(session, 30)
    begun = time.monotonic()
    session.flush(wait=True)
    qtbot.waitUntil(lambda: last(window).newest == 30, timeout=WAIT)
    assert time.monotonic() - begun < 2
    qtbot.waitUntil(lambda: tau.text() == "0.3", timeout=WAIT)
    assert tau.isReadOnly()

    # an earlier step is looked at, and what is exported of now is the newest checkpoint
    window.controller.look(4)
    qtbot.waitUntil(lambda: last(window).looking, timeout=WAIT)
    answers: list[Answer] = []
    window.controller.save_checkpoint(answers.append)
    qtbot.waitUntil(lambda: bool(answers), timeout=WAIT)
    assert (answers[0].error, answers[0].step) == ("", 30)

    # it ends, and is taken over
    session.close()
    qtbot.waitUntil(lambda: part(window).words.text().endswith("interrupted at step 30"), timeout=WAIT)
    qtbot.mouseClick(part(window).train, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: not part(window).bar.isVisible(), timeout=WAIT)
    qtbot.waitUntil(lambda: shows(window, folder), timeout=WAIT)
    assert window.windowTitle().startswith("other — ")
    assert window.actions_["play"].isEnabled()
    assert window.actions_["play"].toolTip().startswith("Train until paused")
    assert window.form.note.isHidden()
    assert not tau.isReadOnly()
    window.controller.step_once()
    qtbot.waitUntil(lambda: last(window).newest == 31, timeout=WAIT)


def test_it_is_watched_by_the_menu_and_from_the_list_of_runs(
    window: MainWindow, session: Session, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    window.controller.step_once()  # else it is not kept
    qtbot.waitUntil(lambda: last(window).newest == 1, timeout=WAIT)
    own = last(window).folder
    run_actions["watch"].do(window, [own])
    assert window.banner.text == f"{own.name} is open in this window already."
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(session.folder))
    window.actions_["watch"].trigger()
    qtbot.waitUntil(lambda: shows(window, session.folder), timeout=WAIT)
    assert window.controller.run is not None
    assert window.controller.run.watched
    part(window).watch(session.folder / "nothing")
    assert "does not exist. The present run is kept." in window.banner.text
    window.open_run(own)
    qtbot.waitUntil(lambda: shows(window, own), timeout=WAIT)
    assert window.actions_["play"].isEnabled()
    run_actions["watch"].do(window, [session.folder])
    qtbot.waitUntil(lambda: shows(window, session.folder), timeout=WAIT)
    assert window.banner.text.startswith("Watching other from step 12: it is only read.")
    # to train it fails while it is in use, and it is watched on
    window.open_run(session.folder)
    qtbot.waitUntil(lambda: "in use by" in window.banner.text, timeout=WAIT)
    qtbot.waitUntil(lambda: shows(window, session.folder), timeout=WAIT)
    assert window.controller.run.watched


def test_a_finished_run_says_so_and_branches_from_its_checkpoints(
    window: MainWindow, tmp_path: Path, qtbot: QtBot
) -> None:
    folder = tmp_path / "finished"
    run(tiny_config(clean_steps=5, second_steps=5), folder)
    part(window).watch(folder)
    qtbot.waitUntil(lambda: part(window).words.text().endswith("read-only: finished"), timeout=WAIT)
    assert part(window).train.isEnabled()
    branching = window.parts["branching"]
    assert isinstance(branching, Branching)
    branching.ask(folder)
    dialog = next(each for each in window.findChildren(BranchDialog) if each.isVisible())
    assert [dialog.steps.itemData(i) for i in range(dialog.steps.count())] == [10, 5, 0]  # none that must be saved
    dialog.reject()


# --- images that were moved


@pytest.fixture
def moved(tmp_path: Path) -> Path:
    """A run on images that are ``elsewhere`` now."""
    session = worlds.create(image_config(pictures(tmp_path / "pictures")), tmp_path / "run")
    session.step()
    session.close()
    (tmp_path / "pictures").rename(tmp_path / "elsewhere")
    return tmp_path / "run"


@pytest.fixture
def empty(qapp: QApplication, moved: Path, tmp_path: Path) -> Iterator[MainWindow]:
    """A window with nothing open."""
    config = image_config(tmp_path / "elsewhere")
    made = MainWindow(Controller(Worlds()), (), ThemeManager(qapp, "light"), "x", config, QSettings())
    made.show()
    yield made
    made.close()
    made.deleteLater()


def answer(window: MainWindow, qtbot: QtBot) -> None:
    """The question where the images are is asked, and answered."""
    qtbot.waitUntil(lambda: window.moved_images.box is not None, timeout=WAIT)
    box = window.moved_images.box
    assert isinstance(box, QMessageBox)
    assert box.informativeText().startswith("run: ")
    (button,) = [each for each in box.buttons() if each.text().replace("&", "").startswith("Choose folder")]
    with qtbot.waitSignal(window.controller.run_changed, timeout=30_000):
        qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def test_moved_images_are_asked_for_when_a_run_is_watched_or_branched(
    empty: MainWindow, moved: Path, tmp_path: Path, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    window = empty
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(tmp_path / "elsewhere"))
    part(window).watch(moved)
    answer(window, qtbot)
    assert window.controller.run is not None
    assert (window.controller.run.folder, window.controller.run.watched) == (moved, True)
    branching = window.parts["branching"]
    assert isinstance(branching, Branching)
    branching.branch(moved, 1)
    answer(window, qtbot)
    assert window.controller.run.folder.name == "run-from-1"
    assert not window.controller.run.watched
    assert window.controller.config is not None
    assert window.controller.config.world.folder == str(tmp_path / "elsewhere")  # type: ignore[attr-defined]
