"""Engine commands beside the window: progress, ends of every kind, and the panels they are started from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar

import pytest
from PySide6.QtCore import QProcess, QSettings, Qt
from PySide6.QtWidgets import QApplication, QVBoxLayout
from pytestqt.qtbot import QtBot

from engine.run.commands import SaveCheckpoint
from engine.run.snapshot import Snapshot
from engine.studies.base import NotMeasured
from fp_gui import task_runner, tasks
from fp_gui.bridge.controller import Controller
from fp_gui.bridge.requests import Answer
from fp_gui.main_window import MainWindow
from fp_gui.task_runner import Tasks
from fp_gui.tasks import EngineProcess, Task, TaskState, arguments, progress_of
from fp_gui.theme import ThemeManager
from fp_gui.views.base import Place
from fp_gui.views.task_view import TaskView
from tests.gui.fakes import VIEWS, FakeFactory, FakeView
from tests.gui.test_main_window import SMALL

TASK = Task("claims", "Verify", ("--verify",))
OTHER = Task("race", "Run the race")
FIRST = {"neurons", "mixtures", "robustness"}
SLEEP = "import time; print('progress 0.25 attacking', flush=True); time.sleep(60)"


class Tasked(TaskView):
    name: ClassVar[str] = "claims"
    title: ClassVar[str] = "Claims"
    file: ClassVar[str] = "claims.json"
    tasks: ClassVar[tuple[tuple[Task, str], ...]] = ((TASK, "measure it"),)

    def __init__(self) -> None:
        super().__init__()
        QVBoxLayout(self).addWidget(self.task_bar)
        self.text = ""
        self.updates = 0

    def read(self, folder: Path) -> None:
        try:
            self.text = (folder / self.file).read_text()
        except FileNotFoundError:
            raise NotMeasured("nothing yet") from None

    def unread(self) -> None:
        self.text = ""

    def update_view(self, snapshot: Snapshot) -> None:
        self.updates += 1


class Radius(FakeView):
    name: ClassVar[str] = "radius"
    title: ClassVar[str] = "Radius"
    place: ClassVar[Place] = "lower"


class Perturbation(FakeView):
    name: ClassVar[str] = "perturbation"
    title: ClassVar[str] = "Perturbation"
    place: ClassVar[Place] = "upper"


class Race(FakeView):
    name: ClassVar[str] = "race"
    title: ClassVar[str] = "Race"


SEVEN = (*VIEWS, Radius, Perturbation, Race, Tasked)


def open_window(factory: FakeFactory, qapp: QApplication, folder: Path) -> MainWindow:
    settings = QSettings(str(folder / "window.ini"), QSettings.Format.IniFormat)
    window = MainWindow(Controller(factory), SEVEN, ThemeManager(qapp, "light"), "small", SMALL, settings)
    window.begin(SMALL, "small")
    if window.panels.fresh:  # a window that has room for all: the screen of these tests is small
        window.resize(1400, 900)
        window.panels.arrange()
    window.show()
    return window


@pytest.fixture
def window(qapp: QApplication, qtbot: QtBot, tmp_path: Path) -> Iterator[MainWindow]:
    made = open_window(FakeFactory(), qapp, tmp_path)
    try:
        qtbot.waitUntil(lambda: made.controller.last is not None)
        qtbot.waitUntil(lambda: seen(made) == FIRST)
        yield made
    finally:
        made.close()
        assert not [p for p in made.findChildren(QProcess) if p.state() != QProcess.ProcessState.NotRunning]
        made.deleteLater()


def claims(window: MainWindow) -> Tasked:
    view = window.shelf.get("claims")
    assert isinstance(view, Tasked)
    return view


def pretend(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    monkeypatch.setattr(task_runner, "arguments", lambda run, task: ["-c", f"FOLDER = {str(run)!r}\n{code}"])


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("progress 0.34 what is under way\n", (0.34, "what is under way")),
        ("progress 1\r\n", (1.0, "")),
        ("progress 7 too far", (1.0, "too far")),
        ("progress -1 too early", (0.0, "too early")),
        ("progress nan what", None),
        ("progress soon", None),
        ("progressed 0.3 what", None),
        (" 1  HOLDS  a claim", None),
        ("", None),
    ],
)
def test_progress_lines(line: str, found: tuple[float, str] | None) -> None:
    assert progress_of(line) == found


def test_command_line(tmp_path: Path) -> None:
    assert arguments(tmp_path, TASK) == ["-m", "engine", "claims", str(tmp_path), "--verify"]


def test_process_tells_progress_in_whole_lines_and_ends(qtbot: QtBot) -> None:
    process = EngineProcess()
    told: list[tuple[float, str]] = []
    process.progressed.connect(lambda share, text: told.append((share, text)))
    code = (
        "import sys, time\n"
        "for text in ('a table\\nprogr', 'ess 0.1 Größe ‖δ‖\\nprogress 0.', '5 half\\n', 'progress 0.9 last'):\n"
        "    sys.stdout.write(text); sys.stdout.flush(); time.sleep(0.05)"
    )
    with qtbot.waitSignal(process.succeeded, timeout=10_000):
        process.start(["-c", code])
    assert [t for t in told if t[0] < 0.9] == [(0.1, "Größe ‖δ‖"), (0.5, "half")]
    assert not process.busy


def test_closing_a_process_ends_it_without_a_word(qtbot: QtBot) -> None:
    process = EngineProcess()
    said: list[object] = []
    for signal in (process.succeeded, process.failed, process.cancelled):
        signal.connect(lambda *a: said.append(a))
    with qtbot.waitSignal(process.progressed, timeout=10_000):
        process.start(["-c", SLEEP])
    (child,) = process.findChildren(QProcess)
    process.close()
    assert child.state() == QProcess.ProcessState.NotRunning
    assert said == []
    process.close()


def test_python_that_cannot_start_is_said(qtbot: QtBot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks.sys, "executable", "/nowhere/python")
    process = EngineProcess()
    with qtbot.waitSignal(process.failed, timeout=10_000) as met:
        process.start(["-c", ""])
    assert "could not be started" in met.args[0]


def test_one_task_a_run_at_a_time_and_a_lost_checkpoint_is_said(
    qtbot: QtBot, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pretend(monkeypatch, SLEEP)
    saves: list[Callable[[Answer], None]] = []
    central = Tasks(saves.append, QSettings())
    states: list[TaskState] = []
    notices: list[str] = []
    central.changed.connect(states.append)
    central.notice.connect(notices.append)
    central.request(TASK, tmp_path)
    central.request(OTHER, tmp_path)
    assert len(saves) == 1
    assert "Verify" in notices[0]
    saves[0](Answer(1, SaveCheckpoint(), error="the disk is full"))
    assert states[-1].state == "failed"
    assert "could not be saved" in states[-1].text
    central.request(OTHER, tmp_path)
    central.cancel(tmp_path)
    assert states[-1].state == "cancelled"
    central.request(TASK, tmp_path)
    saves[1](Answer(2, SaveCheckpoint(), folder=tmp_path))  # the save for the one that was cancelled starts nothing
    assert states[-1].state == "saving"
    saves[2](Answer(3, SaveCheckpoint(), folder=tmp_path))
    assert states[-1].state == "running"
    central.close()


# --- in the window


def test_button_saves_runs_and_shows_the_result(
    window: MainWindow, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch, "print('progress 0.5 on it'); open(FOLDER + '/claims.json', 'w').write('decided')")
    window.actions_["step"].trigger()
    window.panels.bring("claims")
    view = claims(window)
    qtbot.waitUntil(lambda: view.updates > 0)
    states: list[TaskState] = []
    window.tasks.changed.connect(states.append)
    view.task_bar.buttons[0].click()
    qtbot.waitUntil(lambda: bool(states) and states[-1].state == "done", timeout=10_000)
    assert [s.state for s in states][:2] == ["saving", "running"]
    assert (0.5, "on it") in [(s.share, s.text) for s in states]
    session = window.controller._worker._factory.last  # type: ignore[attr-defined]
    assert any(isinstance(c, SaveCheckpoint) for c in session.commands())
    assert view.text == "decided"
    assert window.banner.text.startswith("Verify: done for ")
    assert window.banner.level == "notice"
    assert view.task_bar.buttons[0].isEnabled()
    assert not view.task_bar.bar.isVisible()


def test_progress_and_cancel_in_the_view(window: MainWindow, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, SLEEP)
    window.panels.bring("claims")
    bar = claims(window).task_bar
    qtbot.waitUntil(bar.buttons[0].isVisible)
    bar.buttons[0].click()
    qtbot.waitUntil(lambda: "attacking" in bar.text.text(), timeout=10_000)
    assert bar.bar.isVisible()
    assert bar.bar.value() / bar.bar.maximum() == 0.25
    assert "25%" in bar.text.text()
    assert not bar.buttons[0].isEnabled()
    window.controller.play()  # training goes on meanwhile
    qtbot.waitUntil(lambda: window.controller.last is not None and window.controller.last.step > 3)
    bar.cancel.click()
    qtbot.waitUntil(lambda: not window.tasks.under_way)
    assert "ancelled" in bar.text.text()
    assert window.banner.level != "error"


def test_failure_is_one_line_with_details(window: MainWindow, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(
        monkeypatch, "import sys; sys.stderr.write('a warning\\nerror: clean training has not ended\\n'); sys.exit(2)"
    )
    window.panels.bring("claims")
    with qtbot.waitSignal(window.tasks.failed, timeout=10_000):
        window._ask_task(TASK)
    assert window.banner.text.startswith("Verify failed: clean training has not ended.")
    assert "a warning" in window.banner.details
    assert "has not ended" in claims(window).task_bar.text.text()
    assert claims(window).task_bar.buttons[0].isEnabled()


def test_a_task_of_another_view_blocks_the_button(qtbot: QtBot) -> None:
    view = Tasked()
    qtbot.addWidget(view)
    view.show_task(TaskState(OTHER, "running", 0.1, "racing"))
    assert not view.task_bar.buttons[0].isEnabled()
    assert "Run the race" in view.task_bar.text.text()
    view.show_task(TaskState(OTHER, "done"))
    assert view.task_bar.buttons[0].isEnabled()
    assert view.task_bar.text.text() == ""


def test_closing_the_window_ends_the_task(
    qapp: QApplication, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pretend(monkeypatch, SLEEP)
    window = open_window(FakeFactory(), qapp, tmp_path)
    qtbot.waitUntil(lambda: window.controller.last is not None)
    window._ask_task(TASK)
    qtbot.waitUntil(lambda: bool(window.findChildren(QProcess)), timeout=10_000)
    (child,) = window.findChildren(QProcess)
    window.close()
    assert child.state() == QProcess.ProcessState.NotRunning
    window.deleteLater()


@pytest.mark.parametrize("unrelated", [True, False])
def test_only_its_own_save_drops_a_task(
    window: MainWindow, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch, unrelated: bool
) -> None:
    pretend(monkeypatch, SLEEP)
    session = window.controller._worker._factory.last  # type: ignore[attr-defined]
    session.fail_save = "" if unrelated else "the disk is full"
    states: list[TaskState] = []
    window.tasks.changed.connect(states.append)
    window.controller.set_knob("world.d", 100)  # refused: it takes effect with a new run only
    window._ask_task(TASK)
    with qtbot.waitSignal(window.controller.error):
        pass
    qtbot.waitUntil(lambda: states[-1].state == ("running" if unrelated else "failed"), timeout=10_000)
    assert [s.state for s in states][:1] == ["saving"]
    window.tasks.cancel(session.folder)
    qtbot.waitUntil(lambda: not window.tasks.under_way)


# --- panels


def seen(window: MainWindow) -> set[str]:
    return {v.name for v in window.views if not v.visibleRegion().isEmpty()}


def test_seven_views_three_in_front_and_keys_bring_each(window: MainWindow, qtbot: QtBot) -> None:
    names = lambda name: {d.objectName() for d in window.tabifiedDockWidgets(window.panels.docks[name])}  # noqa: E731
    assert names("neurons") == {"race", "claims"}
    assert names("mixtures") == {"perturbation"}
    assert names("robustness") - set(window.tool_shelf.types) == {"radius"}
    window.activateWindow()
    order = ["neurons", "mixtures", "robustness", "radius", "perturbation", "race", "claims"]
    for number, name in enumerate(order, 1):
        qtbot.keyClick(window, Qt.Key(int(Qt.Key.Key_0) + number))
        qtbot.waitUntil(lambda name=name: name in seen(window))  # type: ignore[misc]
    assert seen(window) == {"claims", "perturbation", "radius"}
    window.actions_["reset_layout"].trigger()
    qtbot.waitUntil(lambda: seen(window) == FIRST)


def test_hidden_tabs_cost_nothing(window: MainWindow, qtbot: QtBot) -> None:
    assert {v.name for v in window.views} == FIRST  # the others are not even made
    hidden = [v for v in map(window.shelf.get, ("radius", "perturbation", "race")) if isinstance(v, FakeView)]
    before = [len(v.seen) for v in hidden], claims(window).updates
    window.controller.play()
    front = next(v for v in window.views if v.name == "neurons")
    assert isinstance(front, FakeView)
    qtbot.waitUntil(lambda: bool(front.seen) and front.seen[-1].step > 5)
    assert ([len(v.seen) for v in hidden], claims(window).updates) == before


def test_the_tab_in_front_is_remembered(window: MainWindow, qapp: QApplication, qtbot: QtBot, tmp_path: Path) -> None:
    window.panels.bring("race")
    qtbot.waitUntil(lambda: "race" in seen(window))
    window.close()
    again = open_window(FakeFactory(), qapp, tmp_path)
    try:
        qtbot.wait(100)
        qtbot.waitUntil(lambda: seen(again) == {"race", "mixtures", "robustness"})
    finally:
        again.close()
        again.deleteLater()


def test_show_brings_the_view(window: MainWindow, qtbot: QtBot) -> None:
    claims(window).view_requested.emit("radius")
    qtbot.waitUntil(lambda: "radius" in seen(window))
    claims(window).view_requested.emit("nowhere")  # a view that this window does not have
