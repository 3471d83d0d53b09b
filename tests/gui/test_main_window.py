"""The window over a session: actions, undo, layout, export, and closing."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from PySide6.QtCore import QSettings, Qt
from PySide6.QtGui import QPaintEvent
from PySide6.QtWidgets import QApplication, QComboBox, QLabel, QLineEdit, QToolBar, QWidget
from pytestqt.qtbot import QtBot

from engine.config.experiment import Config, from_dict, with_value, with_values
from engine.config.presets import load_preset
from engine.core import metrics
from engine.core.results import Filters, LayersPrinciple1, Mixture, Weights
from engine.images.config import ImageConfig
from engine.run.commands import SetKnob, SwitchPhase
from engine.run.snapshot import Snapshot
from fp_gui import app
from fp_gui.actions import Toolbar
from fp_gui.bridge.controller import Controller
from fp_gui.main_window import MainWindow
from fp_gui.theme import DARK, LIGHT, ThemeManager
from fp_gui.views.base import View
from tests.gui.fakes import BOTH_KINDS, VIEWS, FakeFactory, FakeSession, FakeView, NeuronsFake

SMALL = with_value(load_preset("small"), "schedule.clean_steps", 1_000_000)
DIGITS = with_value(from_dict({"world": {"name": "digits"}}), "schedule.clean_steps", 1_000_000)


@pytest.fixture
def factory() -> FakeFactory:
    return FakeFactory()


def open_window(
    factory: FakeFactory,
    qapp: QApplication,
    types: Sequence[type[View]] = VIEWS,
    config: Config = SMALL,
    folder: Path | None = None,
) -> MainWindow:
    """The window on a new run of ``config``, or on the one in ``folder``."""
    window = MainWindow(Controller(factory), types, ThemeManager(qapp, "light"), "small", config, QSettings())
    if window.panels.fresh:  # a window that has room for all: the screen of these tests is small
        window.resize(1400, 900)
        window.panels.arrange()
    if folder is None:
        window.begin(config, "small")
    else:
        window.open_run(folder)
    window.show()
    return window


@pytest.fixture
def window(factory: FakeFactory, qapp: QApplication, qtbot: QtBot) -> Iterator[MainWindow]:
    made = open_window(factory, qapp)
    qtbot.waitUntil(lambda: made.controller.last is not None)
    yield made
    made.close()
    made.deleteLater()


def views(window: MainWindow) -> list[FakeView]:
    return [v for v in window.views if isinstance(v, FakeView)]


def edit(window: MainWindow, path: str, text: str) -> None:
    row = next(iter(window.form.parameters[path].items.keys()))
    assert isinstance(row.field.control, QLineEdit)
    row.field.control.setText(text)
    row.field.control.editingFinished.emit()


def field(window: MainWindow, path: str) -> str:
    row = next(iter(window.form.parameters[path].items.keys()))
    assert isinstance(row.field.control, QLineEdit)
    return row.field.control.text()


def test_all_views_are_seen_at_once(window: MainWindow, qtbot: QtBot) -> None:
    qtbot.waitUntil(lambda: all(v.seen for v in views(window)))
    for name, dock in window.panels.docks.items():  # but for tools, which stand behind the views at first
        assert dock.visibleRegion().isEmpty() == (name in window.tool_shelf.types)


def test_play_pause_step(window: MainWindow, factory: FakeFactory, qtbot: QtBot) -> None:
    play = window.actions_["play"]
    play.trigger()
    qtbot.waitUntil(lambda: factory.last.steps_done > 3 and play.text() == "Pause")
    play.trigger()
    qtbot.waitUntil(lambda: play.text() == "Play")
    steps = factory.last.steps_done
    window.actions_["step"].trigger()
    qtbot.waitUntil(lambda: window.controller.last is not None and window.controller.last.step == steps + 1)
    assert f"step {steps + 1}" in window.status.step.text()


def test_escape_lets_the_chosen_neuron_go_and_the_status_bar_names_it(window: MainWindow, qtbot: QtBot) -> None:
    assert window.status.neuron.isHidden()
    window.views[0].neuron_selected.emit(5)
    assert window.status.neuron.text() == "neuron 5"
    window.views[0].neuron_hovered.emit(7)
    window.views[0].neuron_hovered.emit(-1)
    assert [v.highlighted[-1] for v in views(window)] == [5, 5, 5]
    window.form.search.setFocus()
    qtbot.keyClick(window.form.search, Qt.Key.Key_Escape)  # the field's own key
    assert window.shelf.chosen == 5
    window.setFocus()
    qtbot.keyClick(window, Qt.Key.Key_Escape)
    qtbot.waitUntil(lambda: window.shelf.chosen == -1)
    assert window.status.neuron.isHidden()
    assert [v.highlighted[-1] for v in views(window)] == [-1, -1, -1]


def test_phase_switch_shows_what_is_in_force(window: MainWindow, factory: FakeFactory, qtbot: QtBot) -> None:
    assert window.toolbar.objectives["clean"].isChecked()
    window.actions_["toggle_phase"].trigger()
    qtbot.waitUntil(lambda: window.toolbar.objectives["adversarial"].isChecked())
    assert window.status.phase.text() == "Adversarial"
    window.toolbar.objectives["gaussian_noise"].click()
    qtbot.waitUntil(lambda: window.status.phase.text() == "Gaussian noise")
    assert factory.last.commands() == [SwitchPhase("adversarial"), SwitchPhase("gaussian_noise")]


def test_undo_and_redo_send_the_values_and_the_form_follows(
    window: MainWindow, factory: FakeFactory, qtbot: QtBot
) -> None:
    edit(window, "attack.tau", "0.3")
    qtbot.waitUntil(lambda: factory.last.config.attack.tau == 0.3)
    window.undo_stack.undo()
    qtbot.waitUntil(lambda: field(window, "attack.tau") == "0.2")
    window.undo_stack.redo()
    qtbot.waitUntil(lambda: field(window, "attack.tau") == "0.3")
    qtbot.wait(50)
    sent = [c.value for c in factory.last.commands() if isinstance(c, SetKnob)]
    assert sent == [0.3, 0.2, 0.3]


def test_bad_value_shows_a_message_and_the_run_goes_on(window: MainWindow, factory: FakeFactory, qtbot: QtBot) -> None:
    window.controller.play()
    edit(window, "attack.tau", "99")
    assert "attack.tau" in window.banner.text
    assert window.banner.isVisible()
    assert field(window, "attack.tau") == "0.2"
    steps = factory.last.steps_done
    qtbot.waitUntil(lambda: factory.last.steps_done > steps + 3)
    window.banner.close_button.click()
    assert not window.banner.isVisible()


def test_pending_edit_applies_with_reset(window: MainWindow, factory: FakeFactory, qtbot: QtBot) -> None:
    window.controller.step_once()
    qtbot.waitUntil(lambda: factory.last.steps_done == 1)
    edit(window, "model.m", "123")
    with qtbot.waitSignal(window.controller.run_changed):
        window.actions_["reset"].trigger()
    assert factory.last.config.model.m == 123
    assert not window.form.pending
    assert "stays on disk" in window.banner.text
    assert len(factory.made) == 2


def test_choosing_a_preset_starts_a_new_run(window: MainWindow, factory: FakeFactory, qtbot: QtBot) -> None:
    with qtbot.waitSignal(window.controller.run_changed):
        window.choose_preset("standard")
    assert factory.last.config == load_preset("standard")
    assert window.toolbar.preset.currentText() == "standard"
    assert factory.last.folder.name.endswith("-standard")
    assert field(window, "world.d") == str(load_preset("standard").world.d)


def test_space_plays_right_after_a_number_was_entered(window: MainWindow, factory: FakeFactory, qtbot: QtBot) -> None:
    control = next(iter(window.form.parameters["attack.tau"].items.keys())).field.control
    window.activateWindow()
    control.setFocus()
    qtbot.waitUntil(control.hasFocus)
    qtbot.keyClicks(control, "1")
    qtbot.keyClick(control, Qt.Key.Key_Return)
    qtbot.keyClick(control, Qt.Key.Key_Space)
    qtbot.waitUntil(lambda: factory.last.steps_done > 3)
    assert " " not in control.text()


def test_hover_reaches_every_view(window: MainWindow) -> None:
    window.views[0].neuron_hovered.emit(5)
    assert [v.highlighted for v in views(window)] == [[5], [5], [5]]


def test_open_run_refuses_what_is_no_run(window: MainWindow, tmp_path: Path) -> None:
    window.open_run(tmp_path / "nowhere")
    assert "nowhere" in window.banner.text
    assert "kept" in window.banner.text


def test_error_with_details_and_a_notice_does_not_cover_it(window: MainWindow) -> None:
    window.banner.error("It broke", "Traceback …")
    window.banner.notice("by the way")
    assert window.banner.text == "It broke"
    assert window.banner.details_button.isVisible()


def test_theme_switches_live(window: MainWindow, qapp: QApplication) -> None:
    window.actions_.themes["dark"].trigger()
    assert all(v.theme is DARK for v in window.views)
    assert qapp.palette().window().color().name() == DARK.window
    window.actions_.themes["light"].trigger()
    assert qapp.palette().window().color().name() == LIGHT.window


def test_layout_and_view_options_are_remembered(
    window: MainWindow, factory: FakeFactory, qapp: QApplication, qtbot: QtBot
) -> None:
    window.panels.docks["mixtures"].hide()
    views(window)[0].chosen = {"sort": "norm"}
    window.close()
    again = open_window(factory, qapp)
    try:
        assert again.panels.docks["mixtures"].isHidden()
        assert not again.panels.docks["neurons"].isHidden()
        assert views(again)[0].chosen == {"sort": "norm"}
        again.actions_["reset_layout"].trigger()
        assert not again.panels.docks["mixtures"].isHidden()
    finally:
        again.close()
        again.deleteLater()


def test_number_keys_bring_a_closed_view_back(window: MainWindow, qtbot: QtBot) -> None:
    window.panels.docks["robustness"].hide()
    window.activateWindow()
    qtbot.keyClick(window, Qt.Key.Key_3)
    qtbot.waitUntil(lambda: not window.panels.docks["robustness"].isHidden())


def test_every_toolbar_control_has_a_tooltip_and_takes_focus(window: MainWindow) -> None:
    bar = window.toolbar
    controls = [*bar.buttons, *bar.objectives.values(), bar.preset, bar.device]
    for control in controls:
        assert control.toolTip(), control
        assert control.focusPolicy() & Qt.FocusPolicy.TabFocus, control


def test_toolbar_buttons_are_those_of_the_actions(
    window: MainWindow, factory: FakeFactory, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = [window.actions_[name] for name in ("play", "step", "attack", "reset", "export")]
    assert [button.defaultAction() for button in window.toolbar.buttons] == shown
    play = window.toolbar.play
    assert play.text() == "Play"
    qtbot.mouseClick(play, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: play.text() == "Pause" and factory.last.steps_done > 0)
    # What Qt hands back for a button it made itself may be the wrapper of another, dead widget.
    monkeypatch.setattr(QToolBar, "widgetForAction", lambda bar, action: QLabel())
    again = Toolbar(window.actions_)
    assert {button.toolButtonStyle() for button in again.buttons} == {again.toolButtonStyle()}
    assert {button.iconSize().width() for button in again.buttons} == {18}
    again.deleteLater()


def test_presets_say_what_they_ask_when_the_list_opens(window: MainWindow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(QComboBox, "showPopup", lambda box: None)  # it would take the keyboard
    box = window.toolbar.preset
    assert box.itemData(0, Qt.ItemDataRole.ToolTipRole) is None
    box.showPopup()
    tips = [str(box.itemData(i, Qt.ItemDataRole.ToolTipRole)) for i in range(box.count())]
    assert load_preset("small").about.question in tips[box.findText("small")]
    assert load_preset("small").about.question in box.toolTip()
    assert all("<p>" in tip for tip in tips)


def test_no_heavy_import() -> None:
    import subprocess

    code = (
        "import sys, fp_gui.app; fp_gui.app.Worlds(); "
        "bad = {'matplotlib', 'torchvision', 'sklearn', 'engine.worlds', 'engine.run.session'} & set(sys.modules); "
        "sys.exit(bool(bad))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("label", ["small", "earlier"])
def test_the_run_begins_once_the_window_is_painted(
    label: str, qapp: QApplication, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    order: list[str] = []
    windows: list[MainWindow] = []

    class Painted(NeuronsFake):
        def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802 - Qt's name
            order.append("view painted")

    class Noting(FakeFactory):
        def create(self, config: Config, folder: Path) -> FakeSession:
            order.append("run begun")
            return super().create(config, folder)

        def resume(self, folder: Path, device: str | None = None, data: Path | None = None) -> FakeSession:
            order.append("run begun")
            return super().resume(folder, device, data)

    def loop() -> int:
        windows.extend(each for each in qapp.topLevelWidgets() if isinstance(each, MainWindow) and each.isVisible())
        qtbot.waitUntil(lambda: "run begun" in order and windows[0].controller.playing)
        windows[0].close()
        windows[0].deleteLater()
        return 0

    monkeypatch.setattr(QApplication, "exec", lambda _: loop())
    monkeypatch.setattr(app, "view_types", lambda: (Painted,))
    monkeypatch.setattr(app, "qInstallMessageHandler", lambda handler: None)  # pytest-qt has its own
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)  # put back afterwards
    (tmp_path / "earlier").mkdir()
    folder = None if label == "small" else tmp_path / label
    assert app.run_app(label, SMALL, folder, autoplay=True, factory=Noting()) == 0
    assert order.count("run begun") == 1
    assert "view painted" in order[: order.index("run begun")]


def test_what_follows_the_painting_follows_once_and_without_it_too(qtbot: QtBot) -> None:
    calls: list[str] = []
    windows = [QWidget(), QWidget()]
    for window, name in zip(windows, ("seen", "minimised"), strict=True):
        qtbot.addWidget(window)
        app.AfterPaint(window, lambda name=name: calls.append(name), patience=300)  # type: ignore[misc]
    windows[0].show()
    qtbot.waitUntil(lambda: calls == ["seen"], timeout=250)
    qtbot.waitUntil(lambda: calls == ["seen", "minimised"])
    windows[0].update()
    qtbot.wait(50)
    assert calls == ["seen", "minimised"]


# --- two kinds of run


@pytest.fixture
def both(factory: FakeFactory, qapp: QApplication, qtbot: QtBot) -> Iterator[MainWindow]:
    made = open_window(factory, qapp, BOTH_KINDS)
    qtbot.waitUntil(lambda: made.controller.last is not None)
    yield made
    made.close()
    made.deleteLater()


def begin(window: MainWindow, qtbot: QtBot, config: Config, label: str = "") -> None:
    window.begin(config, label or ("digits" if isinstance(config, ImageConfig) else "small"))
    qtbot.waitUntil(lambda: window.controller.last is not None and type(window.controller.last.config) is type(config))
    qtbot.waitUntil(lambda: not any(v.visibleRegion().isEmpty() for v in window.views if open_dock(window, v.name)))


def open_dock(window: MainWindow, name: str) -> bool:
    return not window.panels.docks[name].isHidden()


def seen(window: MainWindow) -> set[str]:
    return {name for name, dock in window.panels.docks.items() if not dock.visibleRegion().isEmpty()}


def test_each_kind_of_run_shows_its_own_views_in_the_same_places(both: MainWindow, qtbot: QtBot) -> None:
    first = {"parameters", "neurons", "mixtures", "robustness"}
    qtbot.waitUntil(lambda: seen(both) == first)
    assert "filters" not in both.shelf._made  # made when the first run of its kind opens
    place = both.panels.docks["neurons"].geometry()
    begin(both, qtbot, DIGITS)
    qtbot.waitUntil(lambda: seen(both) == {"parameters", "filters", "layers", "robustness"})
    assert [v.name for v in both.views] == ["filters", "layers", "robustness"]
    qtbot.waitUntil(lambda: abs(both.panels.docks["filters"].width() - place.width()) < 60)
    assert abs(both.panels.docks["filters"].x() - place.x()) < 60
    toggles = {d.objectName(): d.toggleViewAction().isVisible() for d in both.panels.docks.values()}
    present = {"parameters", "filters", "layers", "robustness", *both.tool_shelf.types}
    assert {name for name, visible in toggles.items() if visible} == present
    begin(both, qtbot, SMALL)
    qtbot.waitUntil(lambda: seen(both) == first)
    qtbot.waitUntil(lambda: abs(both.panels.docks["neurons"].width() - place.width()) < 60)


def test_nothing_is_asked_for_views_of_another_kind(both: MainWindow, factory: FakeFactory, qtbot: QtBot) -> None:
    theory, images = frozenset({Weights, Mixture}), frozenset({Filters, LayersPrinciple1})
    qtbot.waitUntil(lambda: factory.last.wanted[-1] == theory)
    for config, own, other in ((DIGITS, images, theory), (SMALL, theory, images), (DIGITS, images, theory)):
        before = {v.name: len(v.seen) for v in views(both)}
        begin(both, qtbot, config)
        both.controller.play()
        qtbot.waitUntil(lambda: factory.last.steps_done > 3)
        qtbot.waitUntil(lambda own=own: factory.last.wanted[-1] == own)  # type: ignore[misc]
        assert not any(wanted & other for wanted in factory.last.wanted)
        hidden = [v for v in both.shelf._made.values() if v not in both.views and isinstance(v, FakeView)]
        assert {v.name: len(v.seen) for v in hidden} == {v.name: before[v.name] for v in hidden}


def test_two_presets_chosen_at_once_end_with_the_second(both: MainWindow, factory: FakeFactory, qtbot: QtBot) -> None:
    factory.create_delay = 0.1
    both.begin(DIGITS, "digits")
    both.begin(SMALL, "small")
    qtbot.waitUntil(lambda: len(factory.made) == 3 and both.controller.last is not None)
    qtbot.waitUntil(lambda: factory.last.wanted[-1] == frozenset({Weights, Mixture}))
    assert not any(wanted & {Filters, LayersPrinciple1} for wanted in factory.last.wanted)
    assert [v.name for v in both.views] == ["neurons", "mixtures", "robustness"]


def test_keys_and_menu_follow_the_kind(both: MainWindow, qtbot: QtBot) -> None:
    def keys() -> dict[str, str]:
        return {a.shortcut().toString(): a.data() for a in both.goto.actions() if a.isVisible()}

    panels = {"4": "runs", "5": "compare", "6": "events", "7": "sweep"}  # after the views
    assert keys() == {"1": "neurons", "2": "mixtures", "3": "robustness"} | panels
    begin(both, qtbot, DIGITS)
    assert keys() == {"1": "filters", "2": "layers", "3": "robustness"} | panels
    both.panels.docks["layers"].hide()
    both.activateWindow()
    qtbot.keyClick(both, Qt.Key.Key_2)
    qtbot.waitUntil(lambda: "layers" in seen(both))
    assert both.panels.docks["mixtures"].isHidden()
    both.panels.bring("mixtures")  # asked for by a view of this kind: there is none
    assert both.panels.docks["mixtures"].isHidden()
    both.actions_["reset_layout"].trigger()
    qtbot.waitUntil(lambda: seen(both) == {"parameters", "filters", "layers", "robustness"})


def test_each_kind_keeps_its_layout(both: MainWindow, factory: FakeFactory, qapp: QApplication, qtbot: QtBot) -> None:
    both.panels.docks["mixtures"].hide()
    both.panels.docks["robustness"].setFloating(True)
    begin(both, qtbot, DIGITS)
    assert not both.panels.docks["robustness"].isFloating()
    both.panels.docks["layers"].setFloating(True)
    both.panels.docks["filters"].hide()
    begin(both, qtbot, SMALL)
    assert not open_dock(both, "mixtures")
    assert open_dock(both, "neurons")
    assert both.panels.docks["robustness"].isFloating()
    assert not open_dock(both, "layers")
    begin(both, qtbot, DIGITS)
    assert both.panels.docks["layers"].isFloating()
    assert not open_dock(both, "filters")
    both.close()
    for config, closed, floating in ((SMALL, "mixtures", "robustness"), (DIGITS, "filters", "layers")):
        again = open_window(factory, qapp, BOTH_KINDS, config)
        try:
            assert not open_dock(again, closed)
            assert again.panels.docks[floating].isFloating()
            shown = {n for n in again.panels.docks if open_dock(again, n)}
            assert shown == {"parameters", *(v.name for v in again.views), *again.tool_shelf.types} - {closed}
        finally:
            again.close()
            again.deleteLater()


def test_arranging_does_not_grow_the_window(both: MainWindow, qtbot: QtBot) -> None:
    for config in (DIGITS, SMALL):
        both.resize(1400, 900)
        begin(both, qtbot, config)
        both.resize(1200, 560)  # less than all panels one below the other would need
        both.panels.docks["robustness"].setFloating(True)
        both.actions_["reset_layout"].trigger()
        assert not both.panels.docks["robustness"].isFloating()
        qtbot.wait(50)
        assert both.height() == 560


def test_options_and_theme_reach_views_made_later(
    both: MainWindow, factory: FakeFactory, qapp: QApplication, qtbot: QtBot
) -> None:
    both.actions_.themes["dark"].trigger()
    begin(both, qtbot, DIGITS)
    assert all(v.theme is DARK for v in both.views)
    views(both)[0].chosen = {"sort": "norm"}
    both.actions_.themes["light"].trigger()
    assert both.shelf.get("neurons").theme is LIGHT
    both.close()
    again = open_window(factory, qapp, BOTH_KINDS)
    begin(again, qtbot, DIGITS)
    assert views(again)[0].chosen == {"sort": "norm"}
    again.close()
    again.deleteLater()


def test_loading_is_shown_while_it_lasts_and_the_window_answers(
    both: MainWindow, factory: FakeFactory, qtbot: QtBot
) -> None:
    factory.create_delay = 0.6
    both.begin(DIGITS, "digits")
    qtbot.waitUntil(lambda: "loading digits" in both.status.phase.text(), timeout=550)
    assert both.status.progress.maximum() == 0  # no end known
    assert both.views[0].name == "neurons"  # the old run is still what one sees
    qtbot.waitUntil(lambda: both.status.phase.text() == "Clean")
    assert both.status.progress.maximum() > 0
    both.begin(with_value(DIGITS, "device", "cuda"), "digits")
    qtbot.waitUntil(lambda: "loading" in both.status.phase.text())
    qtbot.waitUntil(lambda: "cuda" in both.banner.text)
    qtbot.waitUntil(lambda: both.status.phase.text() == "Clean")
    assert both.views[0].name == "filters"


def test_failing_to_open_the_first_run_is_not_shown_as_loading(
    factory: FakeFactory, qapp: QApplication, qtbot: QtBot
) -> None:
    window = open_window(factory, qapp, BOTH_KINDS, with_value(DIGITS, "device", "cuda"))
    qtbot.waitUntil(lambda: window.status.phase.text() == "no run")
    qtbot.wait(250)
    assert window.status.phase.text() == "no run"
    window.close()
    window.deleteLater()


def test_pending_network_applies_with_reset(both: MainWindow, factory: FakeFactory, qtbot: QtBot) -> None:
    begin(both, qtbot, DIGITS)
    row = next(iter(both.form.parameters["model.name"].items.keys()))
    row.field.set_value("alexnet")
    row.field.committed.emit()
    edit(both, "model.kernel", "5")
    with qtbot.waitSignal(both.controller.run_changed):
        both.actions_["reset"].trigger()
    assert isinstance(factory.last.config, ImageConfig)
    assert factory.last.config.model.model_dump(include={"name", "kernel"}) == {"name": "alexnet", "kernel": 5}
    assert not both.form.pending
    assert field(both, "model.kernel") == "5"


# --- with the real session


def open_real_window(qapp: QApplication, config: Config) -> MainWindow:
    from engine import worlds
    from fp_gui.views.base import view_types

    window = MainWindow(Controller(worlds), view_types(), ThemeManager(qapp, "light"), "small", config, QSettings())
    window.begin(config, "small")
    window.show()
    return window


def test_the_curves_go_on_across_the_switch(qapp: QApplication, qtbot: QtBot) -> None:
    """At every picture the newest clean and PGD accuracy are at most 2 × evaluation.every steps old."""
    config = load_preset("small")  # with its evaluations and report; what trains is small, so that a step costs little
    tiny = {"model.m": 64, "world.d": 36, "training.batch_size": 64, "schedule.clean_steps": 160}
    config = with_values(config, tiny | {"schedule.second_steps": 440})
    window = open_real_window(qapp, config)
    ages: dict[int, int] = {}

    def look(snapshot: Snapshot) -> None:
        live = [snapshot.history[name] for name in (metrics.CLEAN, metrics.PGD) if name in snapshot.history]
        newest = min((int(series.steps[-1]) for series in live), default=0) if len(live) == 2 else 0
        ages[snapshot.step] = snapshot.step - newest

    try:
        window.controller.share = 1.0  # as many pictures as there can be
        window.controller.snapshot_rendered.connect(look)
        window.controller.play()
        qtbot.waitUntil(lambda: bool(ages) and max(ages) >= 600, timeout=120_000)
        assert window.banner.level != "error", window.banner.text + window.banner.details
    finally:
        window.close()
        window.deleteLater()
    assert len([step for step in ages if step > 160]) > 1, ages
    assert max(ages.values()) <= 2 * config.evaluation.every, ages


def test_real_session_plays_switches_resets_and_closes(qapp: QApplication, qtbot: QtBot, tmp_path: Path) -> None:
    from fp_gui.views.base import view_types

    config = with_value(load_preset("small"), "model.m", 40)
    window = open_real_window(qapp, config)
    controller = window.controller
    try:
        controller.play()
        qtbot.waitUntil(lambda: controller.last is not None and controller.last.step > 5, timeout=60_000)
        edit(window, "attack.tau", "0.25")
        window.actions_["toggle_phase"].trigger()
        qtbot.waitUntil(lambda: window.status.phase.text() == "Adversarial", timeout=60_000)
        qtbot.waitUntil(lambda: controller.last.config.attack.tau == 0.25, timeout=60_000)
        window.undo_stack.undo()
        qtbot.waitUntil(lambda: controller.last.config.attack.tau == 0.2, timeout=60_000)
        first = controller.run.folder
        with qtbot.waitSignal(controller.run_changed, timeout=60_000):
            window.actions_["reset"].trigger()
        assert first.is_dir()
        controller.play()
        qtbot.waitUntil(lambda: controller.last is not None and controller.last.step > 2, timeout=60_000)
        for other in (with_value(load_preset("digits"), "evaluation.size", 16), config):
            window.begin(other, "other")
            qtbot.waitUntil(lambda: controller.last is not None, timeout=60_000)
            for name in window.shelf.names(other.kind):
                window.panels.bring(name)
            assert [type(v) for v in window.views] == [t for t in view_types() if other.kind in t.kinds]
            controller.play()
            qtbot.waitUntil(lambda: controller.last is not None and controller.last.step > 2, timeout=60_000)
        assert window.banner.level != "error", window.banner.text + window.banner.details
    finally:
        window.close()
        window.deleteLater()
