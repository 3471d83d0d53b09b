"""The panel Sweep in the real window: planning, a real sweep, its figure and its runs, pausing and closing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtWidgets import QApplication, QMenu
from pytestqt.qtbot import QtBot

from engine import worlds
from engine.cli.main import run_command_line
from engine.core import metrics
from engine.core.lock import holder
from engine.sweeps.planning import plan, read_grid
from engine.sweeps.results import results
from engine.sweeps.runner import SweepRunner
from fp_gui.main_window import MainWindow
from fp_gui.sweep.curves import KnobPlot
from fp_gui.sweep.heatmap import HeatTable, shade
from fp_gui.sweep.planner import HERE, NOTHING
from fp_gui.theme import DARK
from fp_gui.tools.sweep import SweepPanel
from tests.engine.inline_executor import InlineExecutor
from tests.gui.test_main_window import edit, open_window
from tests.tiny_runs import table, tiny_config

SHORT = {"schedule.clean_steps": 10, "schedule.second_steps": 10, "evaluation.certify_every": 0}
LONG = {"schedule.clean_steps": 5000, "schedule.second_steps": 5000, "evaluation.certify_every": 0}
GRID = ("attack.tau=0.1,0.3", "schedule.second=adversarial,gaussian_noise")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two knobs of two values each, seeds 0 and 1: eight runs, trained in this process."""
    folder = tmp_path_factory.mktemp("sweeps") / "finished"
    sweep = plan("tiny", read_grid(GRID), (0, 1), base=tiny_config(**SHORT))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        with closing(SweepRunner.create(folder, sweep, InlineExecutor())) as runner:
            runner.run()
    return folder


@pytest.fixture
def window(qapp: QApplication, qtbot: QtBot) -> Iterator[MainWindow]:
    made = open_window(worlds, qapp, types=(), config=tiny_config(seed=5, **LONG))
    qtbot.waitUntil(lambda: made.controller.last is not None, timeout=20_000)
    yield made
    made.close()
    made.deleteLater()


@pytest.fixture
def panel(window: MainWindow) -> SweepPanel:
    found = window.bring_tool("sweep")
    assert isinstance(found, SweepPanel)
    return found


def sweep_it(panel: SweepPanel, path: str, values: str) -> None:
    assert panel.planner.sweep_knob(path)
    row = panel.planner.rows.row(path)
    assert row is not None
    row.field.setText(values)


@pytest.mark.qt_log_ignore("This plugin does not support", extend=True)  # a menu that grabs the keyboard, offscreen
def test_a_plan_is_judged_as_it_is_typed(window: MainWindow, panel: SweepPanel, qtbot: QtBot) -> None:
    planner = panel.planner
    assert planner.words.text() == NOTHING
    assert not planner.start.isEnabled()
    knob = next(iter(window.form.parameters["attack.tau"].items.keys()))
    control = knob.field.control
    control.customContextMenuRequested.emit(QPoint(2, 2))
    menu = next(each for each in control.findChildren(QMenu) if each.isVisible())
    next(action for action in menu.actions() if action.text() == "Sweep this knob…").trigger()
    menu.close()
    row = planner.rows.row("attack.tau")
    assert row is not None
    assert row.field.text() == "0.2"  # as the window has it
    row.field.setText("0.1, 0.2, 0.3")
    planner.seeds.setText("0-3")
    planner.jobs.setValue(2)
    qtbot.waitUntil(planner.start.isEnabled)
    assert planner.words.text() == "12 runs · 2 jobs; how long is not known: the preset does not say"
    row.field.setText("0.1, many")
    assert not planner.start.isEnabled()  # at once: what was judged is not what is typed
    qtbot.waitUntil(lambda: bool(row.wrong.text()))
    assert row.wrong.text() == "attack.tau: got 'many'; allowed: a number from 0 to 10"
    assert planner.words.text() == "To be corrected: attack.tau"
    row.field.setText("0.1")
    planner.seeds.setText("0-")
    qtbot.waitUntil(lambda: bool(planner.seeds_wrong.text()))
    assert planner.seeds_wrong.text().startswith("got '0-'; allowed: whole numbers and ranges")
    assert not row.wrong.text()
    planner.seeds.setText("")
    edit(window, "model.m", "30")  # waits for a reset in the form: the sweep begins with it
    sweep_it(panel, "schedule.second", "adversarial")
    choice = planner.rows.row("schedule.second")
    assert choice is not None
    choice.menu.aboutToShow.emit()
    next(action for action in choice.menu.actions() if action.text() == "trades").trigger()
    assert choice.field.text() == "adversarial, trades"
    qtbot.waitUntil(planner.start.isEnabled)
    answer = planner.answer
    assert answer is not None
    assert answer.sweep is not None
    configs = [answer.sweep.config_of(run) for run in answer.sweep.runs]
    assert [(c.attack.tau, c.schedule.second, c.seed) for c in configs] == [
        (0.1, "adversarial", 5), (0.1, "trades", 5)
    ]  # fmt: skip
    assert {c.model.m for c in configs} == {30}  # type: ignore[attr-defined]
    planner.base.value = "small"
    planner.seeds.setText("0-3")
    qtbot.waitUntil(planner.start.isEnabled)
    assert planner.words.text().startswith("8 runs · about ")
    assert planner.words.text().endswith(" with 2 jobs (estimated)")
    planner.base.value = HERE
    qtbot.waitUntil(planner.start.isEnabled)  # else the thread would end in the middle


@pytest.mark.qt_log_ignore("This plugin does not support", extend=True)  # a menu that grabs the keyboard, offscreen
def test_the_heatmap_holds_the_results_and_leads_to_the_runs(
    window: MainWindow, panel: SweepPanel, finished: Path, qtbot: QtBot
) -> None:
    panel.open_sweep(finished)
    heatmap = panel.page.heatmap
    qtbot.waitUntil(lambda: len(heatmap.tables) == 3, timeout=10_000)
    assert panel.words.text() == "ended: 8 finished, of 8 runs"
    assert not panel.go.isEnabled()
    found = results(finished)
    robust = next(each for each in heatmap.tables if each.accessibleName() == "Heatmap of robust accuracy (PGD)")
    for row, second in enumerate(("gaussian_noise", "adversarial")):  # from the top
        for column, tau in enumerate((0.1, 0.3)):
            rows = [
                each
                for each in found.rows
                if (each.values["attack.tau"], each.values["schedule.second"]) == (tau, second)
            ]
            values = [figure.value for each in rows if (figure := each.figure("second", "pgd")) is not None]
            recorded = [
                table(
                    each.folder, f"SELECT value FROM metrics WHERE name = '{metrics.REPORT}{metrics.PGD}' ORDER BY step"
                )
                for each in rows
            ]
            assert values == [each[-1][0] for each in recorded]
            item = robust.item(row, column)
            assert item is not None
            assert item.text() == f"{np.mean(values):.2f}"
            assert robust.panel is not None
            assert item.background().color().name() == shade(float(np.mean(values)), robust.panel.scale)
            assert f"seed 1: {values[1]:.4f}" in item.toolTip()
    assert "8 runs: 8 finished." in panel.page.caption.text()
    assert "PGD-4 × 2 restarts" in panel.page.caption.text()

    robust.setCurrentCell(0, 1)
    robust.setFocus()
    qtbot.keyClick(robust, Qt.Key.Key_Return)
    assert panel._menu is not None
    seeds = panel._menu.actions()
    assert [action.text() for action in seeds] == ["seed 0 · finished", "seed 1 · finished"]
    seeds[1].trigger()
    panel._menu.close()
    name = "tau=0.3-second=gaussian_noise-seed=1"
    qtbot.waitUntil(lambda: window.controller.run is not None and window.controller.run.folder.name == name)
    assert window.controller.run is not None
    assert not window.controller.run.watched

    panel.set_theme(DARK)
    panel.page.shown.value = "runs"
    assert panel.page.runs.order.rowCount() == 8
    panel.page.shown.value = "figure"
    panel.page.boxes["quantity"].value = "pgd"
    qtbot.waitUntil(lambda: len(heatmap.tables) == 1)
    assert isinstance(heatmap.tables[0], HeatTable)


def test_curves_over_a_knob_and_the_exported_figure(
    panel: SweepPanel, finished: Path, qtbot: QtBot, tmp_path: Path
) -> None:
    panel.open_sweep(finished)
    qtbot.waitUntil(lambda: panel._turned, timeout=10_000)
    panel.page.set_options({"quantity": "clean", "kind": "curves"})
    plots = panel.page.plots
    qtbot.waitUntil(lambda: len(plots.plots) == 1, timeout=10_000)
    plot = plots.plots[0]
    assert isinstance(plot, KnobPlot)
    mean = plot.curves["second adversarial, seeds 0, 1"]
    rows = [each for each in results(finished).rows if each.values["schedule.second"] == "adversarial"]
    values = np.array([each.figure("second", "clean").value for each in rows]).reshape(2, 2)  # type: ignore[union-attr]
    assert np.allclose(mean.y, values.mean(1))
    assert np.array_equal(mean.low, values.min(1))  # type: ignore[arg-type]
    assert mean.x.tolist() == [0.1, 0.3]
    assert {row.name for row in plot.rows_at(plot.near(0.29))} == {
        f"tau=0.3-second={second}-seed={seed}" for second in ("adversarial", "gaussian_noise") for seed in (0, 1)
    }
    out = tmp_path / "figures"
    assert run_command_line(panel.arguments(out, ["png"])[2:]) == 0
    assert (out / "sweep" / "sweep.png").is_file()
    panel.page.set_options({"kind": "steps"})
    qtbot.waitUntil(lambda: not isinstance(plots.plots[0], KnobPlot), timeout=10_000)
    panel.plan_new()
    assert (panel.folder, panel.page.caption.text(), plots.plots) == (None, "", [])
    panel.open_sweep(tmp_path)
    assert "holds no sweep" in panel.main.banner.text
    qtbot.waitUntil(lambda: not panel.desk.busy)


def gone(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    return False


def test_a_sweep_is_started_paused_gone_on_with_and_outlives_the_window(
    window: MainWindow, panel: SweepPanel, qtbot: QtBot, tmp_path: Path
) -> None:
    """Every run is there afterwards, none is lost, and no process is left."""
    planner = panel.planner
    sweep_it(panel, "attack.tau", "0.1, 0.3")
    planner.seeds.setText("0,1")
    planner.jobs.setValue(1)
    planner.folder.setText(str(tmp_path / "sweep"))
    planner.folder.textEdited.emit(planner.folder.text())
    qtbot.waitUntil(planner.start.isEnabled)
    planner.start.click()
    folder = tmp_path / "sweep"
    assert panel.folder == folder
    assert panel.words.text().startswith("starting")
    assert (panel.go.text(), panel.new.isEnabled()) == ("Pause", False)
    assert panel.under_way() == "the sweep sweep (0%); it can be resumed"
    assert window.leaving.asks
    window.controller.play()
    qtbot.waitUntil(lambda: panel.note.isVisible())
    assert "training here is slower" in panel.note.text()
    window.controller.pause()
    qtbot.waitUntil(lambda: panel.training.share > 0.001, timeout=30_000)
    assert "0/4 runs done, 1 running" in panel.words.text()
    panel.go.click()
    assert panel.words.text().startswith("pausing")
    qtbot.waitUntil(lambda: not panel.training.busy, timeout=20_000)
    qtbot.waitUntil(lambda: panel.words.text().startswith("paused: "))
    assert panel.words.text().endswith("Resume goes on from the checkpoints")
    assert not panel.note.isVisible()
    before = results(folder)
    assert before.counts() == {"interrupted": 1, "waiting": 3}
    panel.open_row(next(row for row in before.rows if row.state == "interrupted"))
    qtbot.waitUntil(lambda: window.controller.run is not None and window.controller.run.watched, timeout=10_000)
    panel.open_row(before.rows[-1])
    assert window.banner.text == "tau=0.3-seed=1: waiting: it has not begun yet"

    assert panel.go.text() == "Resume"
    panel.go.click()
    qtbot.waitUntil(lambda: "1 running" in panel.words.text(), timeout=30_000)
    process = panel.training.process._process
    assert process is not None
    number = process.processId()
    window.close()
    assert gone(number)
    after = results(folder)
    assert after.counts() == {"interrupted": 1, "waiting": 3}
    assert holder(folder) is None
    first = after.rows[0]
    assert first.step >= before.rows[0].step > 0
    with closing(worlds.resume(first.folder)) as session:
        assert session.steps_done == first.step  # nothing is lost
