"""Tasks of several runs, leaving during one, the way back, banners, *Attack now*, and what can be exported."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import QPoint, QSettings, Qt
from PySide6.QtGui import QCloseEvent
from PySide6.QtWidgets import QApplication, QMessageBox, QPushButton
from pytestqt.qtbot import QtBot

from engine.core import metrics
from engine.core.errors import ConfigError
from engine.core.measurement import Measurement
from engine.figures.robustness import VIEW as ROBUSTNESS
from engine.run.commands import Command, EvaluateNow, SaveCheckpoint
from engine.run.snapshot import Snapshot
from fp_gui import task_runner
from fp_gui.bridge.requests import Answer
from fp_gui.durations import Durations, in_words, seconds_left
from fp_gui.export_dialog import ExportDialog
from fp_gui.main_window import MainWindow
from fp_gui.task_runner import Tasks
from fp_gui.task_status import TaskStatus
from fp_gui.tasks import Task, TaskState
from fp_gui.view_shelf import ViewShelf
from fp_gui.views.base import view_types
from tests.gui.conftest import _no_thread_left, isolated  # noqa: F401 - fixtures for all tests here
from tests.gui.fakes import FakeFactory, FakeSession
from tests.gui.test_tasks import SLEEP, TASK, claims, open_window, pretend

CLEAN = Measurement("clean", "l2", 0.2, 0, 0, 400)
PGD = Measurement("pgd", "l2", 0.2, 10, 1, 400, estimate=True)


class Evaluated(FakeSession):
    """Measures its accuracies in a few slices, or beside the next steps, as a session does."""

    def __init__(self, *args: object) -> None:
        super().__init__(*args)  # type: ignore[arg-type]
        self.asked: list[int] = []
        self.found = 0.5

    def apply(self, command: Command) -> None:
        super().apply(command)
        if isinstance(command, EvaluateNow):
            self.asked.append(self.steps_done)
            self.to_measure = 3

    def _done(self) -> None:
        self.found += 0.1
        for step in self.asked:
            self.history.append(step, metrics.CLEAN, 0.9)
            self.history.append(step, metrics.PGD, self.found)
        self.asked = []

    def measure(self) -> None:
        super().measure()
        if self.to_measure == 0:
            self._done()

    def step(self) -> None:
        super().step()
        if self.asked and self.steps_done > self.asked[0] + 3:
            self.to_measure = 0
            self._done()

    def snapshot(self, wanted: frozenset[type] = frozenset()) -> Snapshot:
        from dataclasses import replace

        protocols = {metrics.CLEAN: ((0, CLEAN),), metrics.PGD: ((0, PGD),)}
        return replace(super().snapshot(wanted), protocols=protocols, evaluating=tuple(self.asked))


class EvaluatedFactory(FakeFactory):
    def create(self, config: object, folder: Path) -> FakeSession:
        self.made.append(Evaluated(config, folder))
        return self.last


@pytest.fixture
def factory() -> EvaluatedFactory:
    return EvaluatedFactory()


@pytest.fixture
def window(factory: FakeFactory, qapp: QApplication, qtbot: QtBot, tmp_path: Path) -> Iterator[MainWindow]:
    made = open_window(factory, qapp, tmp_path)
    qtbot.waitUntil(lambda: made.controller.last is not None)
    yield made
    made.close()
    made.deleteLater()


def steps(window: MainWindow, qtbot: QtBot, number: int) -> None:
    for _ in range(number):
        window.controller.step_once()
    qtbot.waitUntil(lambda: window.controller.last is not None and window.controller.last.step == number)


def button(box: QMessageBox, text: str) -> QPushButton:
    return next(b for b in box.findChildren(QPushButton) if b.text().replace("&", "") == text)


def begun(window: MainWindow, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A task that does not end, on the present run."""
    pretend(monkeypatch, SLEEP)
    assert window.controller.run is not None
    folder = window.controller.run.folder
    window._ask_task(TASK)
    qtbot.waitUntil(lambda: any(s.share == 0.25 for s in window.tasks.under_way), timeout=10_000)
    return folder


def other_run(window: MainWindow, qtbot: QtBot) -> Path:
    """Open another run from the present one, agreeing to what is asked."""
    with qtbot.waitSignal(window.controller.run_changed):
        window.choose_preset("small")
        if window.leaving.question is not None:
            button(window.leaving.question, "Open").click()
    qtbot.waitUntil(lambda: window.controller.last is not None)
    assert window.controller.run is not None
    return window.controller.run.folder


# --- tasks


def test_a_task_belongs_to_its_run(window: MainWindow, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch) -> None:
    window.panels.bring("claims")
    view = claims(window)
    qtbot.waitUntil(lambda: view.snapshot is not None)
    steps(window, qtbot, 2)
    first = begun(window, qtbot, monkeypatch)
    (status,) = window.status.findChildren(TaskStatus)
    row = status.rows[first]
    assert row.isVisible()  # whatever tab is in front
    assert first.name in row.bar.toolTip()
    assert "25%" in row.bar.toolTip()
    assert "25%" in view.task_bar.text.text()
    second = other_run(window, qtbot)
    qtbot.waitUntil(lambda: view.snapshot is not None and view.snapshot.folder == second)
    assert view.task_bar.text.isHidden()  # nothing of the other run's
    assert not view.task_bar.bar.isVisible()
    assert view.task_bar.buttons[0].isEnabled()
    assert row.isVisible()
    view.task_bar.buttons[0].click()  # the other run's task does not block this one
    qtbot.waitUntil(lambda: {s.folder for s in window.tasks.under_way} == {first, second})
    qtbot.waitUntil(lambda: "25%" in view.task_bar.text.text(), timeout=10_000)
    row.cancel.click()  # that of the first
    qtbot.waitUntil(lambda: [s.folder for s in window.tasks.under_way] == [second], timeout=10_000)
    assert "ancelled" not in view.task_bar.text.text()
    state = window.tasks.state_of(first)
    assert state is not None
    assert (state.state, state.folder) == ("cancelled", first)
    view.task_bar.cancel.click()
    qtbot.waitUntil(lambda: not window.tasks.under_way, timeout=10_000)
    assert "ancelled" in view.task_bar.text.text()
    assert not status.rows


def test_no_more_tasks_at_once_than_the_limit(monkeypatch: pytest.MonkeyPatch, qtbot: QtBot, tmp_path: Path) -> None:
    monkeypatch.setattr(task_runner, "LIMIT", 2)
    saves: list[Callable[[Answer], None]] = []
    central, notices = Tasks(saves.append, QSettings()), []
    central.notice.connect(notices.append)
    for name in ("a", "b", "c"):
        central.request(TASK, tmp_path / name)
    assert len(saves) == 2
    assert [s.folder.name for s in central.under_way] == ["a", "b"]
    assert "on a" in notices[0]
    assert "on b" in notices[0]
    central.cancel(tmp_path / "a")
    central.request(TASK, tmp_path / "c")
    assert [s.folder.name for s in central.under_way] == ["b", "c"]
    central.close()


def test_a_task_is_guessed_by_the_last_time_and_by_its_progress(qtbot: QtBot, tmp_path: Path) -> None:
    durations = Durations(QSettings())
    run, again = tmp_path / "20260101-101010-small", tmp_path / "20270202-111111-small"
    assert durations.expected(TASK, run) is None
    durations.took(TASK, run, 200.0)
    assert durations.expected(TASK, again) == 200.0
    assert durations.expected(Task("claims", "Verify"), again) is None  # other options
    assert durations.expected(TASK, tmp_path / "20270202-111111-standard") is None
    assert seconds_left(50.0, None, 200.0) == 150.0
    assert seconds_left(50.0, 0.01, 200.0) == 150.0
    assert seconds_left(50.0, 0.25, 200.0) == 150.0
    assert seconds_left(30.0, 0.75, 4000.0) == 10.0
    assert seconds_left(30.0, None, None) is None
    assert [in_words(s) for s in (3, 42, 150, 7000)] == ["a few seconds", "about 40 s", "about 2 min", "about 2 h"]
    said: list[str] = []
    states: list[TaskState] = []
    central = Tasks(lambda then: None, QSettings())
    central.notice.connect(said.append)
    central.changed.connect(states.append)
    central.request(TASK, again)
    assert "about 3 min" in said[0]
    assert states[0].left == 200.0
    central.close()


# --- leaving


def test_closing_asks_while_a_task_is_under_way(
    window: MainWindow, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = begun(window, qtbot, monkeypatch)
    for answer in ("Stay", "Close"):
        window.actions_["quit"].trigger()
        box = window.leaving.question
        assert box is not None
        assert folder.name in box.text()
        assert "Verify" in box.text()
        assert window.isVisible()
        button(box, answer).click()
        qtbot.waitUntil(lambda: window.leaving.question is None)
        assert window.isVisible() == (answer == "Stay")
        assert bool(window.tasks.under_way) or answer == "Close"


def test_nothing_is_asked_while_nothing_is_under_way_nor_of_the_program(
    window: MainWindow, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun(window, qtbot, monkeypatch)
    event = QCloseEvent()
    assert not event.spontaneous()
    window.close()  # a signal, say: it must not wait for an answer
    assert window.leaving.question is None
    assert not window.isVisible()


def test_quit_closes_at_once_without_tasks(window: MainWindow) -> None:
    window.actions_["quit"].trigger()
    assert not window.isVisible()


@pytest.mark.parametrize("answer", ["Stay", "End it and open"])
def test_opening_another_run_asks_while_a_task_is_under_way(
    window: MainWindow, factory: FakeFactory, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    folder = begun(window, qtbot, monkeypatch)
    window.choose_preset("small")
    box = window.leaving.question
    assert box is not None
    assert folder.name in box.text()
    assert len(factory.made) == 1
    button(box, answer).click()
    if answer == "Stay":
        qtbot.wait(50)
        assert len(factory.made) == 1
        assert window.tasks.under_way
    else:
        qtbot.waitUntil(lambda: len(factory.made) == 2 and not window.tasks.under_way, timeout=10_000)


# --- the way back


def test_a_run_with_steps_is_never_left_without_a_way_back(
    window: MainWindow, factory: FakeFactory, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fp_gui.main_window.check_run", lambda folder: None)  # those of the fakes hold no files
    assert not window.actions_["back"].isEnabled()
    steps(window, qtbot, 3)
    first = factory.last.folder
    other_run(window, qtbot)
    assert first.name in window.banner.text
    assert "at step 3" in window.banner.text
    assert window.banner.offer_button.isVisible()
    window.banner.error("something else")
    assert not window.banner.offer_button.isVisible()
    window.banner.close_button.click()
    assert first.name in window.banner.text  # still on offer
    other_run(window, qtbot)  # from a run without a step: there is nothing to go back to but the first
    assert window.banner.offer_button.isVisible()
    with qtbot.waitSignal(window.controller.run_changed):
        window.banner.offer_button.click()
    assert factory.last.folder == first
    assert not window.banner.offer_button.isVisible()
    assert not window.actions_["back"].isEnabled()


def test_the_menu_goes_back_after_the_banner_was_closed(
    window: MainWindow, factory: FakeFactory, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fp_gui.main_window.check_run", lambda folder: None)
    steps(window, qtbot, 1)
    first = factory.last.folder
    other_run(window, qtbot)
    window.banner.close_button.click()
    assert not window.banner.isVisible()
    with qtbot.waitSignal(window.controller.run_changed):
        window.actions_["back"].trigger()
    assert factory.last.folder == first
    assert window.banner.text == f"Opened {first.name} at step 7."


# --- banners


def test_a_banner_moves_nothing_and_follows_the_window(window: MainWindow, qtbot: QtBot) -> None:
    window.banner.dismiss()
    qtbot.wait(50)
    parts = [*window.panels.docks.values(), window.toolbar, window.status, window.form.tree, *window.views]
    places = [(part.mapTo(window, QPoint(0, 0)), part.size()) for part in parts]
    window.banner.error("It broke " * 60, "Traceback")
    qtbot.wait(50)
    assert [(part.mapTo(window, QPoint(0, 0)), part.size()) for part in parts] == places
    banner = window.banner
    assert banner.isVisible()
    for width in (window.width(), window.width() + 120):
        window.resize(width, window.height())
        qtbot.wait(30)
        assert window.rect().contains(banner.geometry())
        assert banner.geometry().bottom() <= window.status.y()
        assert abs(banner.geometry().center().x() - window.width() // 2) <= 1


def test_a_banner_goes_when_it_is_no_longer_true(window: MainWindow, factory: FakeFactory, qtbot: QtBot) -> None:
    from tests.gui.test_main_window import edit

    edit(window, "attack.tau", "99")
    assert window.banner.level == "error"
    edit(window, "attack.tau", "0.3")  # the mistake was mended
    assert window.banner.level == ""
    window.controller.notice.emit("Schedule done after 5 steps: press Play to go on training.")
    window.controller.play()
    qtbot.waitUntil(lambda: window.banner.level == "")
    window.controller.pause()
    window.controller.error.emit("A measurement failed.", "")
    window.exporter.failed.emit("Export failed: no room", "")  # that is true of the next run as well
    other_run(window, qtbot)
    assert window.banner.text == "Export failed: no room"
    window.exporter.progressed.emit(-1.0, "starting")
    assert "no room" not in window.banner.text
    window.controller.error.emit("A measurement failed.", "")
    other_run(window, qtbot)
    assert "measurement" not in window.banner.text


# --- Attack now


@pytest.mark.parametrize("playing", [False, True])
def test_attack_now_says_that_it_measures_and_what_it_found_each_time(
    window: MainWindow, factory: FakeFactory, qtbot: QtBot, playing: bool
) -> None:
    steps(window, qtbot, 4)
    if playing:
        window.controller.play()
    said: list[str] = []
    for expected in (0.6, 0.7):
        window.actions_["attack"].trigger()
        assert window.banner.text == "Attack now: measuring the present weights…"
        qtbot.waitUntil(lambda: "accuracy" in window.banner.text)
        said.append(window.banner.text)
        assert f"robust accuracy {expected:.3f} [" in window.banner.text
        assert PGD.text() in window.banner.text
        assert "clean accuracy 0.900 [0.867, 0.926] (no attack, n = 400" in window.banner.text
    assert all("step " in text for text in said)
    if not playing:
        assert all(text.startswith("Attack now, step 4: ") for text in said)
    window.controller.pause()


def test_attack_now_without_a_run_says_so(window: MainWindow, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(session: FakeSession, command: Command) -> None:
        raise ConfigError("no such thing here")

    monkeypatch.setattr(Evaluated, "apply", refuse)
    window.actions_["attack"].trigger()
    qtbot.waitUntil(lambda: window.banner.level == "error")
    assert "no such thing" in window.banner.text


# --- what can be exported


def test_views_are_offered_only_with_something_to_draw(qapp: QApplication, qtbot: QtBot, tmp_path: Path) -> None:
    from engine.core.history import History
    from fp_gui.theme import LIGHT

    shelf = ViewShelf(view_types(), QSettings(), LIGHT, qapp)
    empty = shelf.missing("sparse_coding", tmp_path, History())
    assert set(empty) == {"robustness", "training", "race", "low_rank", "objectives", "transfer", "claims"}
    history = History()
    history.append(0, metrics.PGD, 0.5)
    (tmp_path / "claims.json").write_text("[]")
    unmeasured = {"training", "race", "low_rank", "objectives", "transfer"}
    assert set(shelf.missing("sparse_coding", tmp_path, history)) == unmeasured
    assert ROBUSTNESS.missing(tmp_path, lambda name: name == metrics.REPORT + metrics.CLEAN) == ""
    titles = {name: shelf.types[name].title for name in shelf.names("sparse_coding")}
    dialog = ExportDialog(titles, list(titles), empty, tmp_path)
    qtbot.addWidget(dialog)
    assert not set(dialog.chosen) & set(empty)
    for name, why in empty.items():
        assert not dialog.views[name].isEnabled()
        assert dialog.views[name].toolTip() == why
        (said,) = [text for text in dialog.why.text().split("\n") if titles[name] in text.partition(":")[0].split(", ")]
        assert said.endswith(f": {why}.")
    assert dialog.why.text().count("\n") + 1 == len(set(empty.values()))  # a reason is given once
    assert np.all([dialog.views[name].isEnabled() for name in titles if name not in empty])


def test_cancelling_an_export_drops_all_its_figures(
    window: MainWindow, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from fp_gui import export
    from fp_gui.export import ExportRequest

    started: list[list[str]] = []
    code = "import time; print('progress 0.1 a', flush=True); time.sleep(60)"
    monkeypatch.setattr(export, "arguments", lambda *a: started.append([]) or ["-c", code])
    ends: list[object] = []
    window.exporter.failed.connect(lambda *a: ends.append(a))
    window.exporter.done.connect(ends.append)
    window.exporter.request(ExportRequest({"neurons": {}, "mixtures": {}, "robustness": {}}, tmp_path / "out"))
    qtbot.waitUntil(lambda: bool(started))
    window.exporter.cancel()
    qtbot.waitUntil(lambda: not window.exporter.busy)
    answers: list[Answer] = []
    window.controller.send(SaveCheckpoint(), answers.append)
    qtbot.waitUntil(lambda: bool(answers))
    qtbot.wait(50)
    assert len(started) == 1
    assert len(ends) == 1
    assert not (tmp_path / "out").exists()


def test_a_way_back_key_is_in_the_sheet() -> None:
    from fp_gui.actions import key_rows

    assert ("Alt+Left", "Open the run again that was left last") in key_rows([])
    assert Qt.Key.Key_Left
