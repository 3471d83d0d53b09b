"""The list of runs in the window: what it shows of real folders, and what can be done with them."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import QModelIndex, QSettings, Qt
from PySide6.QtGui import QDesktopServices
from PySide6.QtWidgets import QApplication, QFileDialog, QLineEdit, QMessageBox, QToolButton
from pytestqt.qtbot import QtBot

from engine import worlds
from engine.core.lock import FolderLock
from engine.run import entry as entries
from fp_gui.main_window import MainWindow
from fp_gui.run_actions import RunAction, run_actions
from fp_gui.run_table import COLUMNS
from fp_gui.tools.runs import RunsPanel
from tests.engine.test_runs_index import held_elsewhere, stopped_run, stored  # noqa: F401 - a fixture
from tests.gui.test_main_window import open_window
from tests.tiny_runs import tiny_config

HEADS = [column.head for column in COLUMNS]
Chosen = list[tuple[str, list[str]]]


@pytest.fixture
def root(tmp_path: Path, finished_run: Path, stopped_run: Path) -> Path:  # noqa: F811
    """The window's folder of runs: ``a`` finished, ``b`` left in its second phase, ``broken``."""
    made = tmp_path / "runs"
    shutil.copytree(finished_run, made / "a")
    shutil.copytree(stopped_run, made / "b")
    shutil.copytree(finished_run, made / "broken")
    (made / "broken" / "config.json").write_text("{")
    for number, name in enumerate(("a", "b", "broken")):
        for path in (made / name).rglob("*"):
            os.utime(path, (1e9 + number, 1e9 + number))
    return made


@pytest.fixture
def done() -> Iterator[Chosen]:
    """What a further action was asked to do, beside those that the window has."""
    asked: Chosen = []
    weigh = RunAction(
        "Weigh", "Both", lambda window, folders: asked.append((window.label, [f.name for f in folders])), 2, 3
    )
    run_actions.register("weigh")(weigh)
    yield asked
    run_actions.remove("weigh")


@pytest.fixture
def window(root: Path, done: Chosen, qapp: QApplication, qtbot: QtBot) -> Iterator[MainWindow]:
    made = open_window(worlds, qapp, types=(), config=tiny_config())
    qtbot.waitUntil(lambda: made.controller.last is not None, timeout=20_000)
    made.panels.bring("runs")
    yield made
    made.close()
    made.deleteLater()


@pytest.fixture
def panel(window: MainWindow, qtbot: QtBot) -> RunsPanel:
    found = window.panels.docks["runs"].widget()
    assert isinstance(found, RunsPanel)
    own = window.controller.run
    assert own is not None
    qtbot.waitUntil(lambda: own.folder.name in names(found), timeout=20_000)
    return found


def names(panel: RunsPanel) -> list[str]:
    return [panel.order.run(row).name for row in range(panel.order.rowCount())]


def cell(panel: RunsPanel, name: str, head: str, role: Qt.ItemDataRole = Qt.ItemDataRole.DisplayRole) -> str:
    return str(panel.order.index(names(panel).index(name), HEADS.index(head)).data(role))


def choose(panel: RunsPanel, root: Path, *runs: str) -> None:
    panel.choose(*(root / name for name in runs))
    assert sorted(run.name for run in panel.chosen()) == sorted(runs)


def enabled(panel: RunsPanel) -> set[str]:
    return {name for name, action in panel.actions_.items() if action.isEnabled()}


def entry(panel: RunsPanel, fill: Callable[[], None], text: str) -> None:
    """Choose the entry that begins with ``text`` of the menu that ``fill`` fills."""
    fill()
    menus = (panel.trash.menu, panel.folders_menu)
    next(a for m in menus for a in m.actions() if a.text().startswith(text)).trigger()


# --- what is shown


def test_runs_are_shown_as_their_folders_say(panel: RunsPanel, window: MainWindow, root: Path) -> None:
    own = window.controller.run
    assert own is not None
    assert names(panel) == [own.folder.name, "broken", "b", "a"]  # what was written last first
    assert cell(panel, "a", "State") == "finished"
    assert cell(panel, "b", "State") == "interrupted"
    assert cell(panel, own.folder.name, "State") == "in this window"
    assert cell(panel, "a", "Step") == "80 of 80"
    assert cell(panel, "b", "Seed") == "7"
    for head, step in (("Clean phase", 40), ("2nd phase", 80)):
        for short, name in (("accuracy", "clean"), ("PGD", "pgd"), ("certified", "certified")):
            value = stored(root / "a", step, f"report/accuracy/{name}")
            assert cell(panel, "a", f"{head}\n{short}") == f"{value:.3f}"
    tip = cell(panel, "a", "2nd phase\nPGD", Qt.ItemDataRole.ToolTipRole)
    assert "after 80 steps" in tip
    assert "PGD-4 × 2 restarts, ℓ2 radius 0.2, n = 48, 95% Wilson interval" in tip
    assert cell(panel, "b", "2nd phase\nPGD") == "–"
    assert "not ended" not in cell(panel, "b", "Clean phase\nPGD", Qt.ItemDataRole.ToolTipRole)
    assert "no such phase has ended" in cell(panel, "b", "2nd phase\nPGD", Qt.ItemDataRole.ToolTipRole)
    assert cell(panel, "broken", "State") == "damaged"
    assert "config.json is damaged" in cell(panel, "broken", "State", Qt.ItemDataRole.ToolTipRole)
    assert panel.status.text() == "4 runs"


def test_a_narrow_panel_shows_both_phases_without_scrolling(panel: RunsPanel, window: MainWindow, qtbot: QtBot) -> None:
    dock = window.panels.docks["runs"]
    dock.setFloating(True)
    dock.resize(595, 300)  # as wide as it is beside another panel
    qtbot.waitUntil(lambda: panel.table.width() < 595)
    assert panel.table.horizontalScrollBar().value() == 0
    for head in ("Clean phase\naccuracy", "Clean phase\nPGD", "2nd phase\naccuracy", "2nd phase\nPGD"):
        column = HEADS.index(head)
        right = panel.table.columnViewportPosition(column) + panel.table.columnWidth(column)
        assert right <= panel.table.viewport().width(), head
        shown = panel.fontMetrics().horizontalAdvance(max(head.split("\n"), key=len))
        assert panel.table.columnWidth(column) >= shown


def test_sorting_goes_by_numbers_and_puts_what_is_missing_last(panel: RunsPanel) -> None:
    column = HEADS.index("2nd phase\naccuracy")
    panel.table.sortByColumn(column, Qt.SortOrder.AscendingOrder)
    assert names(panel)[0] == "a"
    panel.table.sortByColumn(column, Qt.SortOrder.DescendingOrder)
    assert names(panel)[0] == "a"
    panel.table.sortByColumn(HEADS.index("Step"), Qt.SortOrder.DescendingOrder)
    assert names(panel)[:2] == ["a", "b"]


def test_the_filter_asks_for_every_word_in_the_row(panel: RunsPanel, qtbot: QtBot) -> None:
    qtbot.keyClicks(panel.search, "finished a")
    assert names(panel) == ["a"]
    assert panel.status.text() == "1 of 4 runs"
    panel.search.setText("nothing like it")
    assert names(panel) == []
    panel.search.clear()
    assert len(names(panel)) == 4


def test_what_goes_on_elsewhere_is_seen_by_itself(panel: RunsPanel, root: Path, qtbot: QtBot) -> None:
    choose(panel, root, "b")
    panel.lister._timer.setInterval(1)
    shutil.copytree(root / "a", root / "group" / "c")
    shutil.rmtree(root / "broken")
    with held_elsewhere(root / "a") as process:
        panel.lister.refresh()
        qtbot.waitUntil(lambda: "c" in names(panel) and "broken" not in names(panel))
        assert cell(panel, "a", "State") == f"training (process {process})"
    assert [run.name for run in panel.chosen()] == ["b"]  # still
    assert panel.lister._timer.isActive()
    assert panel.lister._timer.interval() >= 3000


def test_looking_is_done_by_another_thread_and_not_while_hidden(
    panel: RunsPanel, window: MainWindow, root: Path, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: set[int] = set()
    real = entries.read_entry

    def read(folder: Path, *, in_use: bool) -> entries.RunEntry:
        threads.add(threading.get_ident())
        return real(folder, in_use=in_use)

    monkeypatch.setattr("engine.run.index.read_entry", read)
    (root / "a" / "notes.txt").write_text("x")
    with qtbot.waitSignal(panel.lister.listed):
        panel.lister.refresh()
    assert threads
    assert threading.get_ident() not in threads
    window.panels.docks["runs"].close()
    assert not panel.lister._timer.isActive()
    window.controller.step_once()
    qtbot.waitUntil(lambda: window.controller.last is not None and window.controller.last.step == 1)
    assert not panel.lister.busy


def test_a_long_look_shows_what_it_has_found_so_far(
    panel: RunsPanel, root: Path, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = threading.Event()
    real = entries.read_entry

    def read(folder: Path, *, in_use: bool) -> entries.RunEntry:
        if folder.name == "d":
            gate.wait(20)
        return real(folder, in_use=in_use)

    monkeypatch.setattr("engine.run.index.read_entry", read)
    monkeypatch.setattr("fp_gui.run_lister.PARTLY", 0.0)
    for name in "cd":
        shutil.copytree(root / "a", root / name)
    panel.lister.refresh()
    try:
        qtbot.waitUntil(lambda: "c" in names(panel))
        assert {"broken", "d"} - set(names(panel)) == {"d"}  # what it has not come to yet stays
    finally:
        gate.set()
    qtbot.waitUntil(lambda: "d" in names(panel))


# --- what is done


def test_what_can_be_done_depends_on_what_is_chosen(panel: RunsPanel, window: MainWindow, root: Path) -> None:
    own = window.controller.run
    assert own is not None
    assert enabled(panel) == set()
    choose(panel, root, "a")
    assert enabled(panel) == {"open", "rename", "delete", "reveal", "branch", "watch", "sweep"}
    choose(panel, root, "a", "b")
    assert enabled(panel) == {"delete", "compare", "weigh"}
    choose(panel, root, "broken")
    assert enabled(panel) == {"rename", "delete", "reveal"}
    choose(panel, root, own.folder.name)
    assert enabled(panel) == {"reveal", "branch", "watch", "sweep"}


def test_a_further_action_gets_the_folders(panel: RunsPanel, root: Path, done: Chosen) -> None:
    choose(panel, root, "a", "b")
    panel.actions_["weigh"].trigger()
    assert done == [("small", ["b", "a"])]


def test_return_opens_the_run(panel: RunsPanel, window: MainWindow, root: Path, qtbot: QtBot) -> None:
    left = window.controller.run
    assert left is not None
    choose(panel, root, "b")
    panel.table.setFocus()
    with qtbot.waitSignal(window.controller.run_changed, timeout=20_000):
        qtbot.keyClick(panel.table, Qt.Key.Key_Return)
    assert window.controller.run is not None
    assert window.controller.run.folder == root / "b"
    qtbot.waitUntil(lambda: cell(panel, "b", "State") == "in this window")


def test_a_run_is_renamed_in_the_table(panel: RunsPanel, window: MainWindow, root: Path, qtbot: QtBot) -> None:
    choose(panel, root, "a")
    panel.table.setFocus()
    qtbot.keyClick(panel.table, Qt.Key.Key_F2)
    editor = panel.table.findChild(QLineEdit)
    assert isinstance(editor, QLineEdit)
    editor.setText("better")
    with qtbot.waitSignal(panel.lister.listed):
        qtbot.keyClick(editor, Qt.Key.Key_Return)
    assert (root / "better" / "config.json").exists()
    assert "better" in names(panel)
    assert "a" not in names(panel)
    assert [run.name for run in panel.chosen()] == ["better"]
    panel.rename(root / "better", "b")
    assert "b exists already" in window.banner.text
    panel.rename(root / "better", "x/y")
    assert "allowed: a name without" in window.banner.text


def test_a_deleted_run_is_put_back(panel: RunsPanel, root: Path, qtbot: QtBot) -> None:
    choose(panel, root, "a", "b")
    panel.table.setFocus()
    qtbot.keyClick(panel.table, Qt.Key.Key_Delete)
    assert not {"a", "b"} & set(names(panel))
    assert not (root / "a").exists()
    qtbot.waitUntil(lambda: not panel.lister.busy)
    entry(panel, panel.trash.fill, "Put back a")
    qtbot.waitUntil(lambda: "a" in names(panel))
    assert cell(panel, "a", "State") == "finished"
    assert [each.folder.name for each in panel.trash.content()] == ["b"]


def test_the_message_about_a_deletion_offers_to_undo_it(
    panel: RunsPanel, window: MainWindow, root: Path, qtbot: QtBot
) -> None:
    choose(panel, root, "a", "b")
    panel.delete_chosen()
    assert "Deleted: 2 runs." in window.banner.text
    window.banner.offer_button.click()
    qtbot.waitUntil(lambda: {"a", "b"} <= set(names(panel)))
    assert panel.trash.content() == []
    assert not window.banner.offering


def test_a_run_in_use_is_neither_deleted_nor_renamed(panel: RunsPanel, window: MainWindow, root: Path) -> None:
    own = window.controller.run
    assert own is not None
    panel.rename(own.folder, "other")
    assert "it is open in this window" in window.banner.text
    choose(panel, root, "a")
    with held_elsewhere(root / "a"):  # since the list was made
        panel.delete_chosen()
        assert "in use by process" in window.banner.text
    assert (root / "a").exists()
    mine = FolderLock(root / "b")
    panel.rename(root / "b", "c")
    assert "in use by this process" in window.banner.text
    mine.release()


def test_the_trash_is_emptied_when_that_is_confirmed(
    panel: RunsPanel, window: MainWindow, root: Path, qtbot: QtBot
) -> None:
    panel.trash.fill()
    assert [(a.text(), a.isEnabled()) for a in panel.trash.menu.actions()] == [("The trash is empty", False)]
    choose(panel, root, "a")
    panel.delete_chosen()
    entry(panel, panel.trash.fill, "Empty the trash (1 run)")
    assert isinstance(panel.trash.question, QMessageBox)
    assert "cannot be undone" in panel.trash.question.text()
    panel.trash.question.reject()
    assert [each.folder.name for each in panel.trash.content()] == ["a"]
    entry(panel, panel.trash.fill, "Empty the trash")
    assert isinstance(panel.trash.question, QMessageBox)
    button = next(b for b in panel.trash.question.buttons() if b.text() == "Remove for good")
    with qtbot.waitSignal(panel.lister.emptied):
        button.click()
    assert panel.trash.content() == []
    assert "Removed for good: 1 run" in window.banner.text


def test_a_folder_is_added_remembered_and_removed(
    panel: RunsPanel, root: Path, tmp_path: Path, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(root / "a", tmp_path / "elsewhere" / "far")
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *a: str(tmp_path / "elsewhere"))
    entry(panel, panel._fill_folders, "Add folder")
    qtbot.waitUntil(lambda: "far" in names(panel))
    assert panel.added == [tmp_path / "elsewhere"]
    panel.main.settings.sync()
    assert QSettings().value("runs/folders") in (str(tmp_path / "elsewhere"), [str(tmp_path / "elsewhere")])
    choose(panel, tmp_path / "elsewhere", "far")
    panel.delete_chosen()
    assert (tmp_path / "elsewhere" / ".trash" / "far").is_dir()
    panel.trash.put_back(panel.trash.content()[0])
    entry(panel, panel._fill_folders, f"List {tmp_path / 'elsewhere'} no more")
    qtbot.waitUntil(lambda: "far" not in names(panel))
    assert (tmp_path / "elsewhere" / "far").is_dir()


def test_the_folder_of_a_run_is_revealed(panel: RunsPanel, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr(QDesktopServices, "openUrl", lambda url: opened.append(url.toLocalFile()))
    choose(panel, root, "b")
    panel.actions_["reveal"].trigger()
    assert opened == [str(root / "b")]


def test_the_panel_is_whole_in_a_small_window(panel: RunsPanel, window: MainWindow, qtbot: QtBot) -> None:
    window.resize(1024, 768)
    qtbot.waitUntil(lambda: window.width() <= 1024)
    assert window.minimumSizeHint().width() <= 1024
    controls = [
        panel.search,
        *panel.controls.findChildren(QToolButton, options=Qt.FindChildOption.FindDirectChildrenOnly),
    ]
    assert len(controls) == 5
    for control in controls:
        assert panel.controls.rect().contains(control.geometry())
    assert panel.table.height() >= 90
    assert panel.order.index(0, 0) != QModelIndex()


def test_order_and_widths_of_the_columns_are_remembered(
    panel: RunsPanel, window: MainWindow, qapp: QApplication, qtbot: QtBot
) -> None:
    panel.table.setColumnWidth(0, 333)
    panel.table.sortByColumn(HEADS.index("Step"), Qt.SortOrder.AscendingOrder)
    window.close()
    again = open_window(worlds, qapp, types=(), config=tiny_config())
    try:
        again.panels.bring("runs")
        found = again.panels.docks["runs"].widget()
        assert isinstance(found, RunsPanel)
        qtbot.waitUntil(lambda: len(names(found)) >= 4)
        assert found.table.columnWidth(0) == 333
        steps = [found.order.run(row).entry.step for row in range(found.order.rowCount())]
        assert steps == sorted(steps)
    finally:
        again.close()
        again.deleteLater()


def test_columns_grow_with_the_text(panel: RunsPanel, window: MainWindow, qtbot: QtBot) -> None:
    column = HEADS.index("Clean phase\naccuracy")

    def cut() -> bool:
        metrics = panel.table.horizontalHeader().fontMetrics()
        return panel.table.columnWidth(column) < metrics.horizontalAdvance("Clean phase") + 8

    assert not cut()
    before = panel.table.columnWidth(column)
    for _ in range(2):
        window.actions_["larger"].trigger()
    qtbot.waitUntil(lambda: panel.table.columnWidth(column) > 1.2 * before, timeout=3000)
    assert not cut()
    assert panel.table.rowHeight(0) >= panel.table.fontMetrics().height()
    window.actions_["normal"].trigger()
    qtbot.waitUntil(lambda: abs(panel.table.columnWidth(column) - before) <= 1, timeout=3000)
