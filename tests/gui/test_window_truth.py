"""What the window says is of the run, step, radius and protocol that it names."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import QSettings
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from engine import worlds
from engine.config.experiment import with_value
from engine.config.presets import load_preset, preset_names
from engine.core import metrics
from engine.core.history import History
from engine.core.measurement import Measurement, wilson
from engine.core.results import RadiusCurves
from engine.probes import radius
from engine.run.snapshot import Event, Problem, Snapshot
from fp_gui.bridge.controller import Controller
from fp_gui.form import Form, changes
from fp_gui.main_window import MainWindow
from fp_gui.runs import preset_name, preset_of
from fp_gui.tasks import TaskState
from fp_gui.theme import ThemeManager
from fp_gui.views.base import View
from fp_gui.views.claims import VERIFY, ClaimsView
from fp_gui.views.examples import ExamplesView
from fp_gui.views.layers import LayersView
from fp_gui.views.perturbation import PerturbationView
from fp_gui.views.radius import RadiusView
from fp_gui.views.robustness import RobustnessView
from fp_gui.views.widgets import Pages, aged
from tests.gui.fakes import BOTH_KINDS, FakeFactory
from tests.tiny_runs import advance, tiny_config

FIRST, SECOND = 1914, 2809
OLD, NEW = (Measurement("pgd", "l2", tau, 40, 5, 1000) for tau in (0.3, 0.5))


def two_reports(now: int, *, complete: bool) -> Snapshot:
    """T at step 1,914, then another tau, then T at 2,809, whose report is ``complete`` or under way."""
    history = History()
    for name in metrics.ACCURACIES:
        history.append(FIRST, metrics.REPORT + name, 0.25)
        if complete or name in (metrics.CLEAN, metrics.FGM):
            history.append(SECOND, metrics.REPORT + name, 0.75)
        history.append(2800, name, 0.5)
    history.append(2000, metrics.CERTIFIED, 0.125)
    history.append(2810, metrics.CLEAN, 0.9)  # of an evaluation that goes on
    steps = {metrics.CLEAN: ((FIRST, OLD), (SECOND, NEW)), metrics.FGM: ((FIRST, OLD), (SECOND, NEW))}
    logs = {metrics.REPORT + name: steps.get(name, ((FIRST, OLD),)) for name in metrics.ACCURACIES}
    if complete:
        logs = dict.fromkeys(logs, ((FIRST, OLD), (SECOND, NEW)))
    logs |= dict.fromkeys((*metrics.ACCURACIES, metrics.CERTIFIED), ((0, OLD), (2810, NEW)))
    events = (
        Event(FIRST, 0.0, "phase", "clean", "adversarial"), Event(2000, 0.0, "attack.tau", "0.3", "0.5"),
        Event(SECOND, 0.0, "phase", "adversarial", "clean"),
    )  # fmt: skip
    return Snapshot(
        "a", Path(), now, "clean", False, False, "cpu", 1, load_preset("small"), history, events, logs, {}, (), FIRST
    )  # fmt: skip


@pytest.mark.parametrize("complete", [False, True])
def test_one_column_is_of_one_report(qtbot: QtBot, complete: bool) -> None:
    view = RobustnessView()
    qtbot.addWidget(view)
    view.render(two_reports(SECOND + 1, complete=complete))
    value, step, how = (0.75, SECOND, NEW) if complete else (0.25, FIRST, OLD)
    assert view.heads[3].text() == f"report [95%], step {step:,}, tau {how.tau:g}"
    low, high = wilson(value * 1000, 1000)
    for name in metrics.ACCURACIES:
        assert view.rows[name].report.text() == f"{value:.3f} [{low:.3f}, {high:.3f}]"
        assert f"{how.tau:g}" in view.rows[name].report.toolTip()
    assert how.text() in view.report.text()
    assert view.heads[2].text() == "live estimate [95%], step 2,800, 10 steps ago, tau 0.3"
    for name in metrics.ACCURACIES:
        assert view.rows[name].live.text().startswith("0.500 ["), name
        assert view.rows[name].protocol.text() == OLD.short()
    assert view.rows[metrics.CERTIFIED].live.text().endswith("at step 2,000")
    assert view.rows[metrics.CERTIFIED].report.text() == "–"


def test_an_age_in_words() -> None:
    assert aged(159, 958) == "step 159, 799 steps ago"
    assert aged(157, 158) == "step 157, 1 step ago"
    assert aged(958, 958) == "step 958"


def test_what_is_being_measured_is_measured_to_its_end_while_the_run_is_paused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oracle's curve, too, which is measured one radius at a time: nothing waits for a further step."""
    monkeypatch.setattr(radius, "POINTS", 3)
    monkeypatch.setattr(radius, "SIZE", 16)
    session = worlds.create(tiny_config(), tmp_path / "run")
    advance(session, 45)
    until, found = time.monotonic() + 20, None
    while (found is None or session.measuring) and time.monotonic() < until:
        found = session.snapshot(frozenset({RadiusCurves})).get(RadiusCurves) or found
        session.measure()
    session.close()
    assert found is not None
    assert found.step == 45
    assert found.oracle is not None
    assert len(found.oracle) == len(found.radii)


@pytest.mark.parametrize("view_type", [RadiusView, LayersView, PerturbationView, ExamplesView])
def test_what_failed_is_not_said_to_be_under_way(qtbot: QtBot, view_type: type[View]) -> None:
    view = view_type()
    qtbot.addWidget(view)
    kind = getattr(view, "result", None) or next(iter(view.wants))  # beside it may stand what the clean net does
    snapshot = two_reports(3000, complete=True)
    view.render(snapshot)
    assert "being measured" in view.findChild(Pages).message.text()
    view.render(dataclasses.replace(snapshot, problems=(Problem(kind.__name__, "MemoryError: no room", 7, ""),)))
    assert view.findChild(Pages).message.text() == "This could not be measured. MemoryError: no room"


# --- the preset's promise


def test_presets_are_known_by_their_runs() -> None:
    for name in preset_names():
        config = with_value(load_preset(name), "seed", 12)
        assert preset_of(config) == load_preset(name)
        assert preset_name(config, "run") == name
    own = tiny_config()
    assert preset_of(own) is own
    assert preset_name(own, "run") == "run"


def test_a_reset_keeps_what_is_changed_in_sight(qtbot: QtBot) -> None:
    preset = load_preset("small")
    form = Form(preset)
    qtbot.addWidget(form)
    changed = with_value(with_value(preset, "attack.tau", 0.123), "device", "cpu")
    form.start(changed, preset)
    row = next(iter(form.parameters["attack.tau"].items.keys()))
    assert not row.back.isHidden()
    assert form.parameters["attack.tau"].defaultValue() == preset.attack.tau
    assert changes(changed, preset) == [f"attack.tau 0.123 instead of {preset.attack.tau:g}"]
    text = form._about.text()
    assert "not of this run" in text
    assert "attack.tau 0.123" in text
    assert preset.about.expect in text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    form.sync(with_value(changed, "attack.tau", preset.attack.tau))
    assert row.back.isHidden()
    assert "not of this run" not in form._about.text()


# --- another run


@pytest.fixture
def window(qapp: QApplication, qtbot: QtBot) -> Iterator[MainWindow]:
    config = with_value(load_preset("small"), "attack.tau", 0.123)
    made = MainWindow(Controller(FakeFactory()), BOTH_KINDS, ThemeManager(qapp, "light"), "small", config, QSettings())
    made.begin(config, "small")
    made.show()
    qtbot.waitUntil(lambda: made.controller.last is not None)
    yield made
    made.close()
    made.deleteLater()


def test_every_view_is_told_of_another_run_and_an_opened_one_is_called_opened(
    window: MainWindow, qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = next(iter(window.form.parameters["attack.tau"].items.keys()))
    assert not row.back.isHidden()  # another than the preset's from the beginning
    told: list[str] = []
    for name in window.shelf.types:
        view = window.shelf.get(name)  # all of them, hidden ones and those of the other kind of run, too
        monkeypatch.setattr(view, "forget", lambda name=name: told.append(name))
    window.controller.step_once()
    qtbot.waitUntil(lambda: window.controller.last is not None and window.controller.last.step == 1)
    stored = tmp_path / "stored"
    stored.mkdir()
    window.controller.load(stored)
    qtbot.waitUntil(lambda: window.controller.run is not None and window.controller.run.resumed)
    assert sorted(told) == sorted(window.shelf.types)
    text = window.banner.text
    assert text.startswith("Opened stored at step 7.")
    assert "New run" not in text


def test_how_a_task_on_another_run_ended_is_not_shown(qtbot: QtBot, tmp_path: Path) -> None:
    view = ClaimsView()
    qtbot.addWidget(view)
    view.render(dataclasses.replace(two_reports(3000, complete=True), folder=tmp_path))
    view.show_task(TaskState(VERIFY, "cancelled", None, "Cancelled.", tmp_path))
    assert "Cancelled" in view.task_bar.text.text()
    view.render(dataclasses.replace(two_reports(3000, complete=True), run="b", folder=tmp_path / "b"))
    assert view.task_bar.text.text() == ""
