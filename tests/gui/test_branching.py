"""Branching in the window: the action, what is offered after a divergence, what is dimmed; the panel of events."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QPushButton
from pytestqt.qtbot import QtBot

from engine import worlds
from engine.config.experiment import Config, value_of
from engine.config.knobs import Origin
from engine.run.commands import SaveCheckpoint, SetKnob, SwitchPhase
from engine.run.snapshot import Event
from engine.run.store import Store
from fp_gui.bridge.requests import Worlds
from fp_gui.main_window import MainWindow
from fp_gui.parts.branching import BranchDialog, Branching
from fp_gui.theme import DARK
from fp_gui.tools.events import HEADS, EventsPanel, row_of
from fp_gui.undo import KnobChange
from fp_gui.views.robustness import RobustnessView
from tests.gui.test_main_window import open_window
from tests.tiny_runs import table, tiny_config

WAIT = 20_000


def opened(qapp: QApplication, qtbot: QtBot, config: Config) -> MainWindow:
    window = open_window(Worlds(), qapp, types=(RobustnessView,), config=config)  # type: ignore[arg-type]
    qtbot.waitUntil(lambda: window.controller.last is not None, timeout=WAIT)
    return window


@pytest.fixture
def window(qapp: QApplication, qtbot: QtBot) -> Iterator[MainWindow]:
    made = opened(qapp, qtbot, tiny_config(**{"storage.checkpoint_every": 10}))
    yield made
    made.close()
    made.deleteLater()


def folder_of(window: MainWindow) -> Path:
    assert window.controller.run is not None
    return window.controller.run.folder


def step_of(window: MainWindow) -> int:
    return -1 if window.controller.last is None else window.controller.last.step


def take(window: MainWindow, qtbot: QtBot, steps: int) -> None:
    for _ in range(steps):
        window.controller.step_once()
    qtbot.waitUntil(lambda: step_of(window) == steps, timeout=WAIT)
    if steps >= 10:  # checkpoints are written by a thread of their own
        written = folder_of(window) / "checkpoints" / "step-00000010.safetensors"
        qtbot.waitUntil(written.exists, timeout=WAIT)


def dialog_of(window: MainWindow) -> BranchDialog:
    return next(each for each in window.findChildren(BranchDialog) if each.isVisible())


def texts(dialog: BranchDialog) -> list[str]:
    return [dialog.steps.itemText(i) for i in range(dialog.steps.count())]


def test_of_a_step_that_is_looked_at_the_checkpoint_before_it_is_chosen(window: MainWindow, qtbot: QtBot) -> None:
    take(window, qtbot, 12)
    window.controller.look(11)
    qtbot.waitUntil(lambda: window.controller.last is not None and window.controller.last.looking, timeout=WAIT)
    assert step_of(window) < 12
    window.actions_["branch"].trigger()
    dialog = dialog_of(window)
    assert texts(dialog)[0] == "now, step 12"
    assert dialog.steps.currentText() == "checkpoint of step 10"
    dialog.reject()


def test_the_action_goes_on_from_the_present_step(window: MainWindow, qtbot: QtBot) -> None:
    take(window, qtbot, 12)
    parent = folder_of(window)
    window.controller.set_knob("attack.tau", 0.3)
    window.actions_["branch"].trigger()
    dialog = dialog_of(window)
    assert texts(dialog) == ["now, step 12", "checkpoint of step 10", "checkpoint of step 0"]
    dialog.go.click()
    qtbot.waitUntil(lambda: window.controller.run is not None and folder_of(window) != parent, timeout=WAIT)
    qtbot.waitUntil(lambda: step_of(window) == 12, timeout=WAIT)
    assert folder_of(window) == window.controller.runs / f"{parent.name}-from-12"
    last = window.controller.last
    assert last is not None
    assert last.config.branch is not None
    assert (last.config.branch.parent, last.config.branch.step) == (str(parent), 12)
    assert [event.name for event in last.events] == ["attack.tau", "checkpoint", "branch"]
    assert last.config.attack.tau == 0.3
    assert not window.controller.playing
    window.controller.step_once()
    qtbot.waitUntil(lambda: step_of(window) == 13, timeout=WAIT)
    store = Store.open(parent)  # it was closed, and nothing locks it
    assert store.load().step == 12
    store.close()


def test_a_checkpoint_can_be_chosen_and_undone_by_going_back(window: MainWindow, qtbot: QtBot) -> None:
    take(window, qtbot, 12)
    parent = folder_of(window)
    window.actions_["branch"].trigger()
    dialog = dialog_of(window)
    dialog.steps.setCurrentText("checkpoint of step 10")
    dialog.go.click()
    qtbot.waitUntil(lambda: step_of(window) == 10, timeout=WAIT)
    assert table(folder_of(window), "SELECT max(step) FROM metrics") == [(10,)]
    assert f"Run {parent.name} was left at step 12" in window.banner.text
    window.banner.offer_button.click()
    qtbot.waitUntil(lambda: step_of(window) == 12 and folder_of(window) == parent, timeout=WAIT)
    assert (window.controller.runs / f"{parent.name}-from-10").is_dir()  # it was asked for: it stays


def test_cancel_changes_nothing(window: MainWindow, qtbot: QtBot) -> None:
    parent = folder_of(window)
    window.actions_["branch"].trigger()
    dialog = dialog_of(window)
    cancel = next(each for each in dialog.findChildren(QPushButton) if each is not dialog.go)
    cancel.click()
    take(window, qtbot, 1)
    assert folder_of(window) == parent
    assert [each.name for each in window.controller.runs.iterdir()] == [parent.name]


def test_a_branch_that_cannot_be_made_leaves_the_present_run(window: MainWindow, qtbot: QtBot) -> None:
    take(window, qtbot, 2)
    parent = folder_of(window)
    part = window.parts["branching"]
    assert isinstance(part, Branching)
    part.branch(parent, 1)
    qtbot.waitUntil(lambda: "step: got 1" in window.banner.text, timeout=WAIT)
    assert "The present run is kept." in window.banner.text
    qtbot.waitUntil(lambda: step_of(window) == 2 and folder_of(window) == parent, timeout=WAIT)
    part.ask(parent / "nothing")
    assert "is not a run folder" in window.banner.text


def test_a_divergence_stops_explains_and_offers_half_the_rate(qapp: QApplication, qtbot: QtBot) -> None:
    wild = tiny_config(lr=100, sigma_0=1.0, **{"lambda": 0.1, "schedule.clean_steps": 500})
    window = opened(qapp, qtbot, wild)
    try:
        parent, banner = folder_of(window), window.banner
        window.controller.play()
        qtbot.waitUntil(lambda: banner.offering and banner.level == "error", timeout=WAIT)
        assert "training diverged before step" in banner.text
        assert "half the learning rate" in banner.text
        assert not window.controller.playing
        banner.notice("something else")  # which does not cover it
        assert banner.offer_button.text() == "Branch"
        banner.offer_button.click()
        qtbot.waitUntil(lambda: window.controller.run is not None and folder_of(window) != parent, timeout=WAIT)
        qtbot.waitUntil(lambda: window.controller.last is not None, timeout=WAIT)
        last = window.controller.last
        assert last is not None
        assert last.config.branch is not None
        assert value_of(last.config, "training.lr") == 50
        assert [(e.name, e.old, e.new) for e in last.events][-1] == ("training.lr", "100.0", "50.0")
        assert "diverged" not in banner.text
    finally:
        window.close()
        window.deleteLater()


def test_an_offer_after_a_divergence_goes_with_the_run(qapp: QApplication, qtbot: QtBot) -> None:
    wild = tiny_config(lr=100, sigma_0=1.0, **{"lambda": 0.1, "schedule.clean_steps": 500})
    window = opened(qapp, qtbot, wild)
    try:
        window.controller.play()
        qtbot.waitUntil(lambda: window.banner.offering, timeout=WAIT)
        window.start(tiny_config(), "small")
        qtbot.waitUntil(lambda: window.controller.run is not None, timeout=WAIT)
        assert "diverged" not in window.banner.text
        window.banner.dismiss()
        assert "diverged" not in window.banner.text
    finally:
        window.close()
        window.deleteLater()


# --- what the parent trained is dimmed


@pytest.fixture(scope="module")
def branch(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("branches") / "new"
    session = worlds.branch(finished_run, 50, folder)
    for _ in range(20):
        session.step()
    while session.measuring:
        session.measure()
    session.close()
    return folder


def test_the_inherited_part_is_dimmed_and_says_whose_it_is(branch: Path, finished_run: Path, qtbot: QtBot) -> None:
    view = RobustnessView()
    qtbot.addWidget(view)
    view.resize(700, 500)
    view.show()
    session = worlds.resume(branch)
    view.render(session.snapshot())
    session.close()
    inherited = view.plot.inherited
    assert inherited.veil.isVisible()
    assert (inherited.veil.rect().left(), inherited.veil.rect().right()) == (0, 50)
    assert inherited.veil.rect().top() < view.plot.y_range[0]
    assert inherited.veil.rect().bottom() > view.plot.y_range[1]
    assert inherited.line.pos().x() == 50
    assert inherited.words.toPlainText() == f"branched from {finished_run.name} at step 50"
    below = [curve.line.zValue() for curve in view.plot.curves.values()]
    assert inherited.veil.zValue() > max(below)
    view.set_theme(DARK)
    colour = inherited.veil.brush().color()
    assert (colour.name(), 0 < colour.alpha() < 255) == (DARK.base, True)
    view.plot.clear()  # another run
    assert not inherited.veil.isVisible()
    assert not inherited.line.isVisible()
    assert not inherited.words.isVisible()


def test_a_run_that_is_no_branch_has_nothing_dimmed(window: MainWindow, qtbot: QtBot) -> None:
    take(window, qtbot, 3)
    view = next(each for each in window.views if isinstance(each, RobustnessView))
    assert not view.plot.inherited.veil.isVisible()


# --- the panel of events


@pytest.fixture
def panel(window: MainWindow) -> EventsPanel:
    window.panels.bring("events")
    found = window.panels.docks["events"].widget()
    assert isinstance(found, EventsPanel)
    return found


def cells(panel: EventsPanel) -> list[list[str]]:
    found = []
    for i in range(panel.table.rowCount()):
        row = [panel.table.item(i, j) for j in range(panel.table.columnCount())]
        found.append(["" if cell is None else cell.text() for cell in row])
    return found


def test_every_change_is_a_row_in_words(window: MainWindow, panel: EventsPanel, qtbot: QtBot) -> None:
    take(window, qtbot, 2)
    for command in (
        SetKnob("attack.tau", 0.3), SwitchPhase("gaussian_noise"), SaveCheckpoint(),
        SetKnob("training.lr", [[0, 0.2], [80, 0.1]]), SetKnob("training.lr", 0.05),
    ):  # fmt: skip
        window.controller.send(command)
    qtbot.waitUntil(lambda: panel.table.rowCount() == 6, timeout=WAIT)
    rows = cells(panel)
    assert all(row[0] == "2" for row in rows)
    assert all(len(row[1]) == len("2020-05-20 10:11:12") for row in rows)
    assert [row[2:] for row in rows] == [
        ["attack.tau", "0.2", "0.3"],
        ["Training switched", "clean", "Gaussian noise"],
        ["Checkpoint saved by hand", "", ""],
        ["Schedule of training.lr", "none", "[[0, 0.2], [80, 0.1]]"],
        ["Schedule of training.lr", "[[0, 0.2], [80, 0.1]]", "none"],
        ["training.lr", rows[5][3], "0.05"],
    ]
    headers = [panel.table.horizontalHeaderItem(j) for j in range(panel.table.columnCount())]
    assert tuple(head.text() for head in headers if head is not None) == HEADS
    window.reset()
    qtbot.waitUntil(lambda: panel.table.rowCount() == 0, timeout=WAIT)


def test_a_row_leads_to_its_step(window: MainWindow, panel: EventsPanel, qtbot: QtBot) -> None:
    take(window, qtbot, 3)
    window.controller.set_knob("attack.tau", 0.3)
    qtbot.waitUntil(lambda: panel.table.rowCount() == 1, timeout=WAIT)
    heard: list[int] = []
    panel.step_requested.connect(heard.append)
    panel.table.cellDoubleClicked.emit(0, 2)
    panel.table.setCurrentCell(0, 0)
    panel.table.setFocus()
    QTest.keyClick(panel.table, Qt.Key.Key_Return)
    QTest.keyClick(panel.table, Qt.Key.Key_Enter)
    assert heard == [3, 3, 3]


def test_undo_and_redo_are_those_of_the_window(window: MainWindow, panel: EventsPanel, qtbot: QtBot) -> None:
    assert not panel.undo.isEnabled()
    window.undo_stack.push(KnobChange("attack.tau", 0.2, 0.3, window.controller.set_knob))
    qtbot.waitUntil(lambda: panel.table.rowCount() == 1, timeout=WAIT)
    assert panel.undo.isEnabled()
    panel.undo.click()
    qtbot.waitUntil(lambda: panel.table.rowCount() == 2, timeout=WAIT)
    panel.redo.click()
    qtbot.waitUntil(lambda: panel.table.rowCount() == 3, timeout=WAIT)
    assert [row[2:] for row in cells(panel)] == [
        ["attack.tau", "0.2", "0.3"], ["attack.tau", "0.3", "0.2"], ["attack.tau", "0.2", "0.3"],
    ]  # fmt: skip


def test_a_hidden_panel_waits_and_catches_up(window: MainWindow, panel: EventsPanel, qtbot: QtBot) -> None:
    window.panels.docks["events"].hide()
    window.controller.set_knob("attack.tau", 0.3)
    take(window, qtbot, 1)
    assert panel.table.rowCount() == 0
    window.panels.bring("events")
    qtbot.waitUntil(lambda: panel.table.rowCount() == 1, timeout=WAIT)


def test_a_branch_and_a_layer_drawn_again_have_words() -> None:
    assert row_of(Event(5, 0.0, "branch", "", "parent")).texts == ("5", "", "Branched from parent", "", "")
    assert row_of(Event(8, 0.0, "redraw", "", "conv2")).texts[2:] == ("Layer drawn again at random", "", "conv2")
    assert Event(5, 0.0, "branch", "", "parent").words == "branched from parent"


def test_the_origin_of_another_run_replaces_that_of_the_first(qtbot: QtBot) -> None:
    view = RobustnessView()
    qtbot.addWidget(view)
    for step in (5, 60):
        origin = Origin(parent="/runs/a", run="r", step=step)
        view.plot.set_time(70, 80, (), (), tiny_config().model_copy(update={"branch": origin}))
        assert view.plot.inherited.veil.rect().right() == step
    assert view.plot.inherited.words.anchor.x() == 1  # to the left of a line far right
