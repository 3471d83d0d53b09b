"""The panels are one instrument: events lead to steps, runs in the list are compared and branched, neurons are linked,
and what is asked for while an earlier step is looked at says which step it is of."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QColor
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QLabel
from pytestqt.qtbot import QtBot

from engine import worlds
from engine.core.results import Weights
from engine.run.snapshot import Snapshot
from fp_gui.compare.galleries import GalleryRow
from fp_gui.export import ExportRequest
from fp_gui.export_dialog import ExportDialog
from fp_gui.main_window import MainWindow
from fp_gui.parts.branching import BranchDialog
from fp_gui.parts.timeline import Timeline
from fp_gui.run_actions import run_actions
from fp_gui.tools.compare import ComparePanel
from fp_gui.tools.events import HERE, EventsPanel
from fp_gui.undo import KnobChange
from fp_gui.views.base import views
from fp_gui.views.neurons import NeuronsView
from fp_gui.views.task_view import TaskView
from tests.gui.test_main_window import open_window
from tests.tiny_runs import run, tiny_config

WAIT = 20_000
CONFIG = tiny_config(clean_steps=20, second_steps=100_000, every=10, **{"storage.checkpoint_every": 10})


@pytest.fixture
def window(qapp: QApplication, qtbot: QtBot) -> Iterator[MainWindow]:
    """At step 12, one change made after 12 steps and one after 14."""
    types = tuple(views[name] for name in ("neurons", "claims"))
    made = open_window(worlds, qapp, types=types, config=CONFIG)
    qtbot.waitUntil(lambda: made.controller.last is not None, timeout=WAIT)
    for steps, tau in ((12, 0.3), (2, 0.4), (2, None)):
        for _ in range(steps):
            made.controller.step_once()
        if tau is not None:
            made.controller.set_knob("attack.tau", tau)
    qtbot.waitUntil(lambda: last(made).newest == 16 and len(last(made).events) == 2, timeout=WAIT)
    qtbot.waitUntil(lambda: [each.step for each in last(made).stored] == [*range(17)], timeout=WAIT)  # by itself
    qtbot.waitUntil((last(made).folder / "checkpoints" / "step-00000010.safetensors").exists, timeout=WAIT)
    yield made
    made.close()
    made.deleteLater()


def last(window: MainWindow) -> Snapshot:
    found = window.controller.last
    assert found is not None
    return found


def look(window: MainWindow, qtbot: QtBot, step: int) -> None:
    part = window.parts["timeline"]
    assert isinstance(part, Timeline)
    part.look(step)
    qtbot.waitUntil(lambda: last(window).looking and last(window).step == step, timeout=WAIT)


def events_of(window: MainWindow) -> EventsPanel:
    found = window.bring_tool("events")
    assert isinstance(found, EventsPanel)
    return found


def steps_in(panel: EventsPanel) -> list[str]:
    return [panel.table.item(i, 0).text() for i in range(panel.table.rowCount())]  # type: ignore[union-attr]


def test_an_event_leads_to_its_step_which_is_marked_and_undo_changes_the_present(
    window: MainWindow, qtbot: QtBot
) -> None:
    panel, banner = events_of(window), window.banner
    qtbot.waitUntil(lambda: steps_in(panel) == ["12", "14"], timeout=WAIT)
    panel.table.setCurrentCell(0, 0)
    panel.table.setFocus()
    QTest.keyClick(panel.table, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: last(window).looking and last(window).step == 12, timeout=WAIT)
    qtbot.waitUntil(lambda: steps_in(panel) == [f"{HERE} 12", "14"], timeout=WAIT)
    colours = [panel.table.item(i, 2).foreground().color() for i in range(2)]  # type: ignore[union-attr]
    assert colours == [QColor(window.themes.theme.text), QColor(window.themes.theme.muted)]
    assert window.status.step.text() == "looking at step 12 · now 16"
    look(window, qtbot, 15)
    qtbot.waitUntil(lambda: steps_in(panel) == ["12", f"{HERE} 14"], timeout=WAIT)
    look(window, qtbot, 3)
    qtbot.waitUntil(lambda: steps_in(panel) == ["12", "14"], timeout=WAIT)

    # what is changed meanwhile is the present, which is said once
    window.form.live_edited.emit("attack.tau", 0.4, 0.25)
    assert banner.text.startswith("You look at step 3: the change is made to the run as it is now, step 16")
    qtbot.waitUntil(lambda: steps_in(panel) == ["12", "14", "16"], timeout=WAIT)
    assert (last(window).step, last(window).config.attack.tau) == (3, 0.2)
    banner.dismiss()
    panel.undo.click()
    qtbot.waitUntil(lambda: steps_in(panel) == ["12", "14", "16", "16"], timeout=WAIT)
    window.form.live_edited.emit("attack.tau", 0.4, 0.35)
    window.actions_["toggle_phase"].trigger()
    assert not banner.text
    window.actions_["now"].trigger()
    qtbot.waitUntil(lambda: not last(window).looking, timeout=WAIT)
    qtbot.waitUntil(lambda: steps_in(panel) == ["12", "14", "16", "16", "16", "16"], timeout=WAIT)
    assert window.status.step.text().startswith("step 16 of")


def test_no_word_of_the_present_while_it_is_what_is_seen(window: MainWindow) -> None:
    window.undo_stack.push(KnobChange("attack.tau", 0.4, 0.3, window.controller.set_knob))
    window.form.live_edited.emit("attack.tau", 0.3, 0.2)
    assert "the change is made to the run as it is now" not in window.banner.text


def test_exports_are_of_the_step_looked_at_if_it_is_a_checkpoint_and_else_of_the_nearest(
    window: MainWindow, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[ExportRequest] = []
    monkeypatch.setattr(window.exporter, "request", asked.append)
    started: list[list[str]] = []
    monkeypatch.setattr(window.exporter._process, "start", started.append)

    def dialog() -> ExportDialog:
        window.actions_["export"].trigger()
        return next(each for each in window.findChildren(ExportDialog) if each.isVisible())

    def words(of: ExportDialog) -> str:
        return " ".join(label.text() for label in of.findChildren(QLabel) if label.isVisible())

    first = dialog()
    assert not first.step.isVisible()
    assert "looked at" not in words(first)
    first.accept()
    assert asked.pop().of is None
    folder = last(window).folder

    look(window, qtbot, 10)
    second = dialog()
    assert [second.step.itemText(i) for i in range(2)] == ["step 10 (looked at)", "now"]
    assert "Step 10 is looked at, and is a checkpoint" in words(second)
    second.accept()
    assert asked[0].of == (folder, 10)

    look(window, qtbot, 13)
    third = dialog()
    assert [third.step.itemText(i) for i in range(2)] == ["step 10, the checkpoint nearest", "now"]
    assert "of which there is a frame alone: figures are drawn from the nearest checkpoint, step 10" in words(third)
    third.step.setCurrentText("now")
    third.accept()
    assert asked[1].of is None

    monkeypatch.undo()
    monkeypatch.setattr(window.exporter._process, "start", started.append)
    saved: list[object] = []
    monkeypatch.setattr(window.exporter, "_save", saved.append)
    window.exporter.request(asked[0])
    assert started[0][3:6] == [str(folder), "--checkpoint", "10"]
    assert saved == []  # it is there already
    window.exporter._end()


def test_claims_say_that_they_stay_with_the_present(window: MainWindow, qtbot: QtBot) -> None:
    view = window.shelf.get("claims")
    assert isinstance(view, TaskView)
    window.panels.bring("claims")
    look(window, qtbot, 10)
    qtbot.waitUntil(lambda: view.task_bar.past.isVisible(), timeout=WAIT)
    assert view.task_bar.past.text() == "Of the run as it is now, not of step 10, which is looked at."
    window.actions_["now"].trigger()
    qtbot.waitUntil(lambda: not view.task_bar.past.isVisible(), timeout=WAIT)


# --- the list of runs, the Compare panel and the views


def frames(row: GalleryRow) -> list[bool]:
    return [gallery._marks[0].isVisible() for gallery in row.galleries]


def test_chosen_runs_are_compared_and_a_neuron_is_marked_in_all_of_one_start(
    window: MainWindow, qtbot: QtBot, tmp_path: Path
) -> None:
    window.controller.save_checkpoint(lambda answer: None)
    run(tiny_config(tau=0.1, clean_steps=5, second_steps=5), tmp_path / "twin")  # of the same seed
    run(tiny_config(seed=3, clean_steps=5, second_steps=5), tmp_path / "other")
    own = last(window).folder
    run_actions["compare"].do(window, [own, tmp_path / "twin", tmp_path / "other"])
    panel = window.panels.docks["compare"].widget()
    assert isinstance(panel, ComparePanel)
    assert panel.isVisible()
    assert panel.chooser.chosen() == (own, tmp_path / "twin", tmp_path / "other")
    panel.view.value = "neurons"
    qtbot.waitUntil(lambda: panel.galleries.data is not None, timeout=WAIT)
    data = panel.galleries.data
    assert data is not None
    neuron, second = int(data.order[0][2]), int(data.order[0][3])
    neurons = window.shelf.get("neurons")
    assert isinstance(neurons, NeuronsView)
    window.panels.bring("neurons")
    qtbot.waitUntil(lambda: last(window).get(Weights) is not None and bool(neurons.run), timeout=WAIT)

    neurons.neuron_hovered.emit(neuron)  # in a view: marked in the galleries of this start
    assert frames(panel.galleries) == [True, True, False]
    neurons.neuron_hovered.emit(-1)
    assert frames(panel.galleries) == [False, False, False]
    panel.galleries.galleries[1].clicked.emit(second)  # in a gallery of another run of this start: in the views
    assert window.shelf.chosen == second
    assert neurons.selected == second
    assert window.status.neuron.text() == f"neuron {second}"
    assert frames(panel.galleries) == [True, True, False]
    panel.galleries.galleries[1].hovered.emit(neuron)
    assert window.shelf.shown == neuron
    panel.galleries.galleries[1].hovered.emit(-1)  # the chosen one is marked again
    assert panel.galleries.galleries[0]._neurons == (second, -1)
    panel.galleries.galleries[2].clicked.emit(neuron)  # of another start: another neuron
    assert window.shelf.chosen == second
    panel.galleries.galleries[2].hovered.emit(int(data.order[2][0]))
    assert frames(panel.galleries) == [False, False, True]
    panel.galleries.galleries[2].hovered.emit(-1)
    panel.ask()  # drawn anew: marked still
    panel.galleries.mark(-1, -1)
    qtbot.waitUntil(lambda: frames(panel.galleries) == [True, True, False], timeout=WAIT)
    window.actions_["unmark"].trigger()
    assert frames(panel.galleries) == [False, False, False]


def test_a_chosen_run_is_branched(window: MainWindow, qtbot: QtBot) -> None:
    run_actions["branch"].do(window, [last(window).folder])
    dialog = next(each for each in window.findChildren(BranchDialog) if each.isVisible())
    assert [dialog.steps.itemData(i) for i in range(dialog.steps.count())] == [None, 10, 0]
    assert dialog.steps.currentText() == "now, step 16"
    dialog.reject()
    look(window, qtbot, 10)
    window.actions_["branch"].trigger()
    dialog = next(each for each in window.findChildren(BranchDialog) if each.isVisible() and each is not dialog)
    assert dialog.steps.itemText(0) == "now, step 16"
    assert dialog.steps.currentText() == "checkpoint of step 10"
    dialog.reject()
