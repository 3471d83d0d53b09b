"""Stored steps in the window: looked at while the run goes on, and runs that another process writes."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import QSettings
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from engine import worlds
from engine.config.experiment import with_value
from engine.core.results import Mixture, Weights
from engine.run.commands import SetKnob
from engine.run.session import Session
from engine.run.snapshot import Snapshot, StoredStep
from fp_gui import __main__ as program
from fp_gui import app
from fp_gui.bridge.controller import Controller
from fp_gui.bridge.requests import Answer, Worlds
from tests.tiny_runs import advance, run, tiny_config

LONG = with_value(tiny_config(), "schedule.clean_steps", 1_000_000)


class Always:
    """A view that is always seen, and no widget."""

    wants = frozenset({Weights, Mixture})

    def __init__(self) -> None:
        self.seen: list[Snapshot] = []

    def render(self, snapshot: Snapshot) -> None:
        self.seen.append(snapshot)

    def isVisible(self) -> bool:  # noqa: N802 - Qt's name
        return True


@pytest.fixture
def view() -> Always:
    return Always()


@pytest.fixture
def controller(qtbot: QtBot, view: Always, tmp_path: Path) -> Iterator[Controller]:
    made = Controller(Worlds(), tmp_path / "runs")
    made.set_views([view])
    yield made
    made.close()


def last(controller: Controller) -> Snapshot:
    assert controller.last is not None
    return controller.last


def begin(controller: Controller, qtbot: QtBot, steps: int) -> None:
    """A run that has taken some steps and goes on."""
    with qtbot.waitSignal(controller.run_changed):
        controller.reset(LONG, "test")
    controller.play()
    qtbot.waitUntil(lambda: controller.last is not None and controller.last.step >= steps)


def test_a_stored_step_is_shown_while_training_goes_on(controller: Controller, view: Always, qtbot: QtBot) -> None:
    stored: list[tuple[StoredStep, ...]] = []
    controller.stored_changed.connect(stored.append)
    begin(controller, qtbot, 12)
    controller.look(5)
    qtbot.waitUntil(lambda: last(controller).looking and last(controller).get(Weights) is not None)
    first = last(controller)
    assert (first.step, first.phase) == (5, "clean")
    qtbot.waitUntil(lambda: last(controller).newest > first.newest + 5)  # it trains, and the curves grow
    now = last(controller)
    assert (now.step, now.looking, controller.playing) == (5, True, True)
    assert len(now.history["loss"]) > len(first.history["loss"]) - 1 > 5
    assert now.get(Weights) is first.get(Weights)  # measured once
    assert controller.stats().steps_per_second > 0
    assert view.seen[-1] is now
    assert stored
    assert stored[-1] == controller.stored_steps
    assert StoredStep(5, False) in controller.stored_steps
    controller.look(None)
    qtbot.waitUntil(lambda: not last(controller).looking)
    assert last(controller).step > 5


def test_what_is_done_meanwhile_is_done_to_the_run(controller: Controller, qtbot: QtBot) -> None:
    begin(controller, qtbot, 12)
    controller.look(3)
    controller.switch_phase("adversarial")
    controller.set_knob("attack.tau", 0.125)
    assert controller.phase == "adversarial"
    qtbot.waitUntil(lambda: last(controller).looking and last(controller).newest_phase == "adversarial")
    assert (last(controller).phase, last(controller).step) == ("clean", 3)
    assert controller.phase == "adversarial"
    qtbot.waitUntil(lambda: controller.config is not None and controller.config.attack.tau == 0.125)
    assert last(controller).config.attack.tau == 0.2
    controller.pause()
    qtbot.waitUntil(lambda: not controller.playing)
    controller.look(10**7)
    qtbot.waitUntil(lambda: last(controller).step > 3)  # the newest that is stored, frames of just now included
    assert last(controller).step in [each.step for each in controller.stored_steps]


def test_a_look_at_a_run_that_was_left_shows_nothing_of_it(controller: Controller, qtbot: QtBot) -> None:
    begin(controller, qtbot, 5)
    controller.look(3)
    with qtbot.waitSignal(controller.run_changed):
        controller.reset(LONG, "next")
    qtbot.waitUntil(lambda: controller.last is not None)
    assert (last(controller).step, last(controller).looking) == (0, False)


def test_what_cannot_be_looked_at_is_said_and_the_run_goes_on(controller: Controller, qtbot: QtBot) -> None:
    begin(controller, qtbot, 12)
    assert controller.run is not None
    controller.pause()
    qtbot.waitUntil(lambda: not controller.playing)
    for path in (controller.run.folder / "checkpoints").iterdir():
        path.write_bytes(b"")
    with qtbot.waitSignal(controller.error) as said:
        controller.look(5)
    assert "holds no checkpoint that can be read" in said.args[0]
    controller.step_once()
    step = last(controller).step
    qtbot.waitUntil(lambda: last(controller).step > step)
    assert not last(controller).looking


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    """What another process would have open."""
    made = worlds.create(LONG, tmp_path / "other")
    advance(made, 10)
    made.flush(wait=True)
    yield made
    made.close()


def test_a_run_of_another_process_is_followed_and_not_touched(
    controller: Controller, session: Session, qtbot: QtBot
) -> None:
    with qtbot.waitSignal(controller.run_changed) as opened:
        controller.watch(session.folder)
    assert opened.args[0].watched
    qtbot.waitUntil(lambda: controller.last is not None)
    assert (last(controller).step, last(controller).newest, last(controller).state) == (10, 10, "training")
    advance(session, 20)
    session.flush(wait=True)
    qtbot.waitUntil(lambda: last(controller).newest == 20, timeout=2000)
    assert last(controller).step == 20
    controller.look(4)
    qtbot.waitUntil(lambda: last(controller).looking)
    assert last(controller).step == 4
    for ask in (controller.play, controller.step_once):
        with qtbot.waitSignal(controller.error) as said:
            ask()
        assert said.args[0].startswith("This run is only watched")
    answers: list[Answer] = []
    controller.send(SetKnob("attack.tau", 0.1), answers.append)
    controller.save_checkpoint(answers.append)
    qtbot.waitUntil(lambda: len(answers) == 2)
    assert "only watched" in answers[0].error
    assert (answers[1].error, answers[1].step) == ("", 0)  # the checkpoint that can be exported
    assert not controller.playing
    controller.look(None)
    qtbot.waitUntil(lambda: last(controller).step == 20)
    folder = session.folder
    with qtbot.waitSignal(controller.run_changed):
        controller.reset(LONG, "own")
    assert (folder / "config.json").exists()  # leaving it removes nothing


def test_a_run_that_goes_while_it_is_watched_is_said_to_be_gone(
    controller: Controller, qtbot: QtBot, tmp_path: Path
) -> None:
    folder = tmp_path / "finished"
    run(tiny_config(), folder, 20)
    with qtbot.waitSignal(controller.run_changed):
        controller.watch(folder)
    qtbot.waitUntil(lambda: controller.last is not None)
    assert last(controller).state == "interrupted"
    with qtbot.waitSignal(controller.error, timeout=3000) as said:
        shutil.rmtree(folder)
    assert said.args[0].startswith(f"The run cannot be followed any more: {folder} is gone")


def test_watching_is_a_matter_of_the_command_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert program.main(["small", "--watch"]) == 2
    assert capsys.readouterr().err == "fp-gui: --watch: got small; allowed: the folder of a run\n"
    folder = tmp_path / "run"
    run(tiny_config(), folder, 5)
    assert program.main([str(folder), "--watch", "--autoplay"]) == 2
    assert "--autoplay: not with --watch" in capsys.readouterr().err
    asked: list[object] = []
    monkeypatch.setattr(app, "run_app", lambda *args, **how: asked.append((args[2], how["watch"])) or 0)
    assert program.main([str(folder), "--watch"]) == 0
    assert asked == [(folder, True)]


def test_the_window_opens_on_a_run_that_is_watched(
    session: Session, qapp: QApplication, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Snapshot] = []

    def loop() -> int:
        (window,) = [each for each in qapp.topLevelWidgets() if isinstance(each, app.MainWindow) and each.isVisible()]
        qtbot.waitUntil(lambda: window.controller.last is not None, timeout=10_000)
        seen.append(last(window.controller))
        window.close()
        window.deleteLater()
        return 0

    monkeypatch.setattr(QApplication, "exec", lambda _: loop())
    monkeypatch.setattr(app, "view_types", lambda: ())
    monkeypatch.setattr(app, "qInstallMessageHandler", lambda handler: None)  # pytest-qt has its own
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)  # put back afterwards
    QSettings().clear()
    assert app.run_app("other", LONG, session.folder, watch=True) == 0
    assert (seen[0].run, seen[0].step) == (session.run, 10)
