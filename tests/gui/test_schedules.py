"""Knobs that follow a curve: in the form (shown, drawn, edited, ended, undone) and on the plots over steps."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from PySide6.QtCore import QEvent, QPoint, QPointF, QSettings, Qt
from PySide6.QtGui import QContextMenuEvent, QMouseEvent
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QLineEdit, QMenu, QToolTip, QWidget
from pytestqt.qtbot import QtBot

from engine import worlds
from engine.config.curves import Curve
from engine.config.experiment import Config, at_step, from_dict, setting_of, with_value, with_values
from engine.config.presets import load_preset
from engine.run.snapshot import Event, Snapshot
from fp_gui.bridge.controller import Controller
from fp_gui.curve_editor import CurveEditor, judge
from fp_gui.curve_field import EDIT, END
from fp_gui.form import Form, changes
from fp_gui.knob_row import KnobItem
from fp_gui.main_window import MainWindow
from fp_gui.theme import ThemeManager
from fp_gui.views.curves import HINT, TimePlot
from fp_gui.views.mixtures import MixturesView
from fp_gui.views.robustness import RobustnessView
from tests.gui.fakes import FakeFactory
from tests.gui.test_views import make
from tests.tiny_runs import TINY, table

THEOREM = load_preset("theorem")
LR = THEOREM.schedule.curve("training.lr")
BIAS = THEOREM.schedule.curve("model.bias")
assert LR is not None
assert BIAS is not None


@pytest.fixture(autouse=True)
def menus(monkeypatch: pytest.MonkeyPatch) -> list[QMenu]:
    """The menus that were to pop up, which the offscreen platform cannot."""
    found: list[QMenu] = []
    monkeypatch.setattr(QMenu, "popup", lambda menu, place: found.append(menu))
    return found


@pytest.fixture
def form(qtbot: QtBot) -> Form:
    made = Form(at_step(THEOREM, 0))
    made.start(at_step(THEOREM, 0), THEOREM)
    made.resize(350, 900)
    qtbot.addWidget(made)
    made.show()
    qtbot.waitExposed(made)
    return made


def row(form: Form, path: str) -> KnobItem:
    return next(iter(form.parameters[path].items.keys()))


def edit(form: Form, path: str) -> QLineEdit:
    control = row(form, path).field.control
    assert isinstance(control, QLineEdit)
    return control


def stand(form: Form, step: int) -> None:
    """The run stands at ``step``."""
    form.follow(dataclasses.replace(make(), step=step, newest=step, config=at_step(form._config, step)))


def type_into(qtbot: QtBot, form: Form, path: str, text: str) -> None:
    control = edit(form, path)
    control.setFocus(Qt.FocusReason.TabFocusReason)
    control.selectAll()
    qtbot.keyClicks(control, text)
    qtbot.keyClick(control, Qt.Key.Key_Return)


def opened(qtbot: QtBot, form: Form, path: str) -> CurveEditor:
    """The editor of a knob that follows a curve, opened by a click on its picture."""
    qtbot.mouseClick(row(form, path).curve, Qt.MouseButton.LeftButton)
    editor = form.schedules.editors[path]
    qtbot.waitExposed(editor)
    for _ in range(3):  # the axes take their room when they are painted
        editor.grab()
        QTest.qWait(20)
    return editor


def cell(qtbot: QtBot, editor: CurveEditor, place: tuple[int, int], text: str) -> None:
    """Type ``text`` into a cell of the table, and Return."""
    table = editor.table
    table.setCurrentCell(*place)
    table.setFocus()
    qtbot.waitUntil(lambda: table.findChild(QLineEdit) is None)  # of the cell before
    table.editItem(table.item(*place))
    field = table.findChild(QLineEdit)
    field.selectAll()
    qtbot.keyClicks(field, text)
    qtbot.keyClick(field, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: table.item(*place).text() == text)


def on_plot(editor: CurveEditor, step: float, value: float) -> QPoint:
    plot = editor.plot.plot
    return plot.mapFromScene(editor.plot.box.mapViewToScene(QPointF(step, value)))


def send(widget: QWidget, kind: QEvent.Type, place: QPoint, held: Qt.MouseButton) -> None:
    button = Qt.MouseButton.LeftButton if kind != QEvent.Type.MouseMove else Qt.MouseButton.NoButton
    there = QPointF(widget.mapToGlobal(place))
    QApplication.sendEvent(
        widget, QMouseEvent(kind, QPointF(place), there, button, held, Qt.KeyboardModifier.NoModifier)
    )


def drag(editor: CurveEditor, start: QPoint, end: QPoint) -> None:
    viewport, left = editor.plot.plot.viewport(), Qt.MouseButton.LeftButton
    send(viewport, QEvent.Type.MouseMove, start, Qt.MouseButton.NoButton)
    send(viewport, QEvent.Type.MouseButtonPress, start, left)
    for share in (0.3, 0.6, 1.0):
        QTest.qWait(20)  # the plot leaves out moves that come faster
        send(viewport, QEvent.Type.MouseMove, start + (end - start) * share, left)
    send(viewport, QEvent.Type.MouseButtonRelease, end, Qt.MouseButton.NoButton)


# --- the row


def test_a_scheduled_knob_shows_its_present_value_and_where_it_stands(form: Form) -> None:
    for step, lr in ((0, "6.5"), (1650, "6.5"), (1651, "3")):
        stand(form, step)
        assert edit(form, "training.lr").text() == lr
        assert row(form, "training.lr").curve.step == step
    stand(form, 900)
    assert float(edit(form, "model.bias").text()) == pytest.approx(0.33 + 0.14 * 700 / 1400)
    stand(form, 347)
    assert edit(form, "model.bias").text() == "0.3447"
    assert row(form, "model.bias").field.value() == BIAS.at(347)
    button = row(form, "model.bias").curve
    assert button.isVisible()
    assert button.curve == BIAS
    assert not row(form, "attack.tau").curve.isVisible()
    tip = edit(form, "model.bias").toolTip()
    assert "Follows a schedule" in tip
    assert "A value typed here ends it" in tip
    assert "ends it" not in edit(form, "attack.tau").toolTip()


def test_the_picture_is_the_curve_with_the_present_step(form: Form) -> None:
    stand(form, 1600)  # where the bias is greatest
    button = row(form, "model.bias").curve
    top, bottom = button.place(1600, 0.47), button.place(1650, 0.074)
    assert top.y() < bottom.y()
    assert button.place(0, 0.1625).x() < top.x() < bottom.x() < button.place(2250, 0.074).x() < button.width()
    image = button.grab().toImage()
    ratio = image.width() / button.width()
    marked = image.pixelColor(round(top.x() * ratio), round(top.y() * ratio))
    assert marked.lightness() < 80  # the mark, on light ground
    stand(form, 2250)
    moved = button.grab().toImage().pixelColor(round(top.x() * ratio), round(top.y() * ratio))
    assert moved != marked


def test_a_changed_curve_has_room_in_a_narrow_form(form: Form, qtbot: QtBot) -> None:
    form.resize(form.minimumWidth(), 500)
    form.parameters["training.lr"].ask(Curve(((0, 6.5), (2250, 2.0))))
    form.parameters["training.batch_size"].ask(Curve(((0, 256), (2250, 512))))  # it has a unit, too
    stand(form, 333)
    for path in ("training.lr", "training.batch_size"):
        item = row(form, path)
        form.tree.scrollToItem(item)
        parts = [item.field, item.curve, item.back, item.badge]
        assert all(part.isVisible() for part in parts)
        QTest.qWait(30)  # the rows are laid out
        boxes = [part.geometry() for part in parts]
        assert all(a.right() < b.left() for a, b in pairwise(boxes)), boxes
        assert boxes[-1].right() < item.row.width()
        assert item.badge.width() >= item.badge.sizeHint().width()


def test_what_moves_by_its_curve_is_not_changed(form: Form) -> None:
    stand(form, 1650)
    for path in ("training.lr", "model.bias"):
        assert not row(form, path).back.isVisible()
    assert changes(form._config, THEOREM) == []
    form.parameters["training.lr"].ask(Curve(((0, 6.5), (1651, 2.0))))
    assert row(form, "training.lr").back.isVisible()
    assert changes(form._config, THEOREM) == [
        "training.lr [[0, 6.5], [1651, 2]] instead of [[0, 6.5], [1650, 6.5], [1651, 3]]"
    ]


def test_the_value_stands_still_while_the_keys_are_in_it(form: Form, qtbot: QtBot) -> None:
    control = edit(form, "model.bias")
    control.setFocus()
    qtbot.waitUntil(control.hasFocus)
    control.selectAll()
    qtbot.keyClicks(control, "0.2")
    stand(form, 700)
    assert control.text() == "0.2"
    assert row(form, "model.bias").curve.step == 700
    qtbot.keyClick(control, Qt.Key.Key_Escape)
    edit(form, "attack.tau").setFocus()
    stand(form, 800)
    assert float(control.text()) == pytest.approx(0.39)


def test_a_typed_value_ends_the_curve_and_the_way_back_brings_it_again(form: Form, qtbot: QtBot) -> None:
    stand(form, 100)
    with qtbot.waitSignal(form.live_edited) as met:
        type_into(qtbot, form, "training.lr", "2.5")
    assert met.args == ["training.lr", LR, 2.5]
    assert not row(form, "training.lr").curve.isVisible()
    assert row(form, "training.lr").back.isVisible()
    stand(form, 1700)
    assert edit(form, "training.lr").text() == "2.5"
    with qtbot.waitSignal(form.live_edited) as met:
        qtbot.mouseClick(row(form, "training.lr").back, Qt.MouseButton.LeftButton)
    assert met.args == ["training.lr", 2.5, LR]
    assert edit(form, "training.lr").text() == "3"
    assert row(form, "training.lr").curve.isVisible()
    assert not row(form, "training.lr").back.isVisible()


def test_the_value_it_has_anyway_ends_the_curve_when_it_is_typed(form: Form, qtbot: QtBot) -> None:
    with qtbot.waitSignal(form.live_edited) as met:
        type_into(qtbot, form, "training.lr", "6.50")
    assert met.args == ["training.lr", LR, 6.5]


def test_a_bad_value_leaves_the_curve(form: Form, qtbot: QtBot) -> None:
    with qtbot.waitSignal(form.rejected) as met:
        type_into(qtbot, form, "training.lr", "900")
    assert "training.lr: got 900.0; allowed: a number from 0 to 100" in met.args[0]
    assert edit(form, "training.lr").text() == "6.5"
    assert row(form, "training.lr").curve.isVisible()


def test_a_reset_keeps_changed_curves(form: Form, qtbot: QtBot) -> None:
    changed = Curve(((0, 6.5), (1651, 2.0)))
    form.parameters["training.lr"].ask(changed)
    stand(form, 2000)
    type_into(qtbot, form, "seed", "3")
    config = form.next_config()
    assert config.schedule.curve("training.lr") == changed
    assert config.schedule.curve("model.bias") == BIAS
    form.start(at_step(config, 0), THEOREM)
    assert edit(form, "training.lr").text() == "6.5"
    assert row(form, "training.lr").back.isVisible()


def choose(form: Form, path: str, menus: list[QMenu], words: str) -> None:
    """Press the menu key in a knob's field and choose an entry."""
    control = edit(form, path)
    asked = QContextMenuEvent(QContextMenuEvent.Reason.Keyboard, QPoint(5, 5), control.mapToGlobal(QPoint(5, 5)))
    QApplication.sendEvent(control, asked)
    menu = menus.pop()
    action = next(action for action in menu.actions() if action.text() == words)
    assert action.isEnabled()
    action.trigger()
    menu.deleteLater()


def test_the_menu_ends_a_curve_at_the_present_value(form: Form, qtbot: QtBot, menus: list[QMenu]) -> None:
    stand(form, 200)
    with qtbot.waitSignal(form.live_edited) as met:
        choose(form, "model.bias", menus, END)
    assert met.args == ["model.bias", BIAS, 0.33]
    edit(form, "attack.tau").customContextMenuRequested.emit(QPoint(5, 5))
    menu = menus.pop()
    assert not next(action for action in menu.actions() if action.text() == END).isEnabled()
    menu.deleteLater()


# --- the editor


def test_the_menu_gives_a_curve_to_a_knob_that_has_none(form: Form, qtbot: QtBot, menus: list[QMenu]) -> None:
    stand(form, 250)
    choose(form, "attack.tau", menus, EDIT)
    editor = form.schedules.editors["attack.tau"]
    qtbot.waitExposed(editor)
    assert editor.points == [(250, 0.195), (2250, 0.195)]
    assert not editor.end_button.isEnabled()
    qtbot.keyClick(editor.table, Qt.Key.Key_Return)
    assert editor.isVisible()
    cell(qtbot, editor, (1, 1), "0.3")
    with qtbot.waitSignal(form.live_edited) as met:
        qtbot.mouseClick(editor.ok_button, Qt.MouseButton.LeftButton)
    assert met.args == ["attack.tau", 0.195, Curve(((250, 0.195), (2250, 0.3)))]
    assert form.schedules.editors == {}
    assert row(form, "attack.tau").curve.isVisible()
    stand(form, 1250)
    assert float(edit(form, "attack.tau").text()) == pytest.approx(0.2475)


@pytest.mark.parametrize(
    ("place", "typed", "said"),
    [
        ((1, 0), "0", "point 2: step 0 comes after step 0; allowed: rising steps"),
        ((2, 1), "900", "point 3: got 900 at step 1651; allowed: a number from 0 to 100"),
        ((2, 0), "2251", "point 3: got step 2251; allowed: at most 2250, the run's last step"),
        ((0, 1), "fast", "point 1: got \"[0, 'fast']\"; allowed: [[step, value], …]"),
    ],
)
def test_a_bad_point_is_named_and_not_taken(
    form: Form, qtbot: QtBot, place: tuple[int, int], typed: str, said: str
) -> None:
    editor = opened(qtbot, form, "training.lr")
    good = editor.table.item(*place).text()
    cell(qtbot, editor, place, typed)
    assert said in editor.message.text()
    assert editor.message.isVisible()
    assert not editor.ok_button.isEnabled()
    assert not editor.apply_button.isEnabled()
    tinted = [r for r in range(3) if editor.table.item(r, 0).background().color().alpha()]
    assert len({editor.table.item(r, 0).background().color().name() for r in range(3)}) == 2
    assert place[0] in tinted
    cell(qtbot, editor, place, good)
    assert not editor.message.isVisible()
    assert editor.ok_button.isEnabled()
    assert editor.curve == LR
    editor.close()


def test_a_point_is_dragged_between_its_neighbours_and_within_the_range(form: Form, qtbot: QtBot) -> None:
    editor = opened(qtbot, form, "model.bias")
    drag(editor, on_plot(editor, 200, 0.33), on_plot(editor, 600, 0.2))
    step, value = editor.points[1]
    pixel_step, pixel_value = editor.plot.box.viewPixelSize()
    assert abs(step - 600) <= 2 * pixel_step  # type: ignore[operator]
    assert abs(value - 0.2) <= 2 * pixel_value  # type: ignore[operator]
    assert editor.table.item(1, 0).text() == str(step)
    assert editor.curve == Curve((BIAS.points[0], (step, value), *BIAS.points[2:]))  # type: ignore[arg-type]
    drag(editor, on_plot(editor, step, value), on_plot(editor, 2200, -5))  # type: ignore[arg-type]
    assert editor.points[1] == (1599, 0)
    assert len(editor.points) == 4
    with qtbot.waitSignal(form.live_edited) as met:
        qtbot.mouseClick(editor.apply_button, Qt.MouseButton.LeftButton)
    assert met.args[2].points[1] == (1599, 0)
    assert editor.isVisible()
    editor.close()


def test_points_are_added_and_removed_by_mouse_keys_and_buttons(form: Form, qtbot: QtBot) -> None:
    editor = opened(qtbot, form, "training.lr")
    viewport, left = editor.plot.plot.viewport(), Qt.MouseButton.LeftButton
    place = on_plot(editor, 800, 5)
    for kind in (QEvent.Type.MouseButtonPress, QEvent.Type.MouseButtonRelease, QEvent.Type.MouseButtonDblClick,
                 QEvent.Type.MouseButtonRelease):  # fmt: skip
        send(viewport, kind, place, left if kind != QEvent.Type.MouseButtonRelease else Qt.MouseButton.NoButton)
    assert len(editor.points) == 4
    step, value = editor.points[1]
    assert abs(step - 800) < 10  # type: ignore[operator]
    assert abs(value - 5) < 0.1  # type: ignore[operator]
    editor.table.setFocus()
    editor.table.setCurrentCell(1, 1)
    qtbot.keyClick(editor.table, Qt.Key.Key_Delete)
    assert editor.curve == LR
    editor.table.setCurrentCell(0, 0)
    qtbot.mouseClick(editor.add_button, left)
    assert editor.points[1] == (825, 6.5)
    qtbot.mouseClick(editor.remove_button, left)
    assert editor.curve == LR
    for _ in range(3):
        editor.table.setCurrentCell(0, 0)
        qtbot.mouseClick(editor.remove_button, left)
    assert len(editor.points) == 1  # a curve has one point at least
    qtbot.keyClick(editor, Qt.Key.Key_Escape)
    assert form.schedules.editors == {}
    assert setting_of(form._config, "training.lr") == LR


def test_the_editor_marks_the_present_step_and_follows_what_is_undone(form: Form, qtbot: QtBot) -> None:
    editor = opened(qtbot, form, "training.lr")
    stand(form, 333)
    assert editor.plot.now.value() == 333
    held = with_value(form._config, "training.lr", 2.0)
    form.sync(held)
    assert not editor.end_button.isEnabled()
    form.sync(with_values(held, {"training.lr": [[0, 1.0], [10, 2.0]]}))
    assert editor.points == [(0, 1.0), (10, 2.0)]
    assert editor.end_button.isEnabled()
    cell(qtbot, editor, (0, 1), "1.5")
    form.sync(at_step(THEOREM, 333))
    assert editor.points[0] == (0, 1.5)  # what the user began to change stays
    with qtbot.waitSignal(form.live_edited) as met:
        qtbot.mouseClick(editor.end_button, Qt.MouseButton.LeftButton)
    assert met.args == ["training.lr", LR, 6.5]
    assert form.schedules.editors == {}


def test_the_first_bad_point_is_found_among_many() -> None:
    config = THEOREM

    def check(points: object) -> Curve:
        found = with_values(config, {"schedule.knobs.attack.tau": points}).schedule.curve("attack.tau")
        assert found is not None
        return found

    points: list[tuple[object, object]] = [(step, 0.1) for step in range(900)]
    assert judge(points, check)[0] == Curve(tuple((s, 0.1) for s in range(900)))
    points[617] = (617, 11.0)
    curve, text, bad = judge(points, check)
    assert (curve, bad) == (None, 617)
    assert "point 618" in text


# --- with a real run


@pytest.fixture
def window(qapp: QApplication, qtbot: QtBot) -> Iterator[MainWindow]:
    curves = {"training.lr": [[0, 2.0], [40, 2.0], [80, 0.5]]}
    config = from_dict({**TINY, "schedule": {**TINY["schedule"], "knobs": curves}})
    settings, manager = QSettings(), ThemeManager(qapp, "light")
    made = MainWindow(Controller(worlds), [RobustnessView, MixturesView], manager, "small", config, settings)
    made.begin(config, "small")
    made.show()
    qtbot.waitUntil(lambda: made.controller.last is not None, timeout=20_000)
    yield made
    made.close()
    made.deleteLater()


def advance(window: MainWindow, qtbot: QtBot, steps: int) -> None:
    assert window.controller.last is not None
    target = window.controller.last.step + steps
    for _ in range(steps):
        window.controller.step_once()
    qtbot.waitUntil(
        lambda: window.controller.last is not None and window.controller.last.step == target, timeout=20_000
    )


def events_of(window: MainWindow) -> list[Event]:
    assert window.controller.last is not None
    return [event for event in window.controller.last.events if event.name != "phase"]


def test_a_curve_drawn_during_a_run_is_sent_recorded_marked_and_undone(
    window: MainWindow, qtbot: QtBot, menus: list[QMenu]
) -> None:
    form = window.form
    advance(window, qtbot, 3)
    choose(form, "attack.tau", menus, EDIT)
    editor = form.schedules.editors["attack.tau"]
    cell(qtbot, editor, (1, 1), "0.977")
    qtbot.mouseClick(editor.ok_button, Qt.MouseButton.LeftButton)
    advance(window, qtbot, 2)
    assert window.controller.last is not None
    assert window.controller.last.config.attack.tau == pytest.approx(0.2 + 0.777 * 2 / 77)
    assert edit(form, "attack.tau").text() == f"{0.2 + 0.777 * 2 / 77:.4g}"
    told = [(e.step, e.name, e.old, e.new) for e in events_of(window)]
    assert told == [(3, "schedule.knobs.attack.tau", "None", "[[3, 0.2], [80, 0.977]]")]

    window.undo_stack.undo()
    advance(window, qtbot, 1)
    assert edit(form, "attack.tau").text() == "0.2"
    assert not row(form, "attack.tau").curve.isVisible()
    window.undo_stack.redo()
    advance(window, qtbot, 1)
    assert row(form, "attack.tau").curve.isVisible()
    type_into(qtbot, form, "training.lr", "1.25")
    advance(window, qtbot, 1)
    assert window.controller.last.config.training.lr == 1.25
    window.undo_stack.undo()
    advance(window, qtbot, 1)
    assert window.controller.last.config.training.lr == 2.0
    assert window.controller.last.config.schedule.curve("training.lr") == Curve(((0, 2.0), (40, 2.0), (80, 0.5)))
    assert row(form, "training.lr").curve.isVisible()
    names = [(e.step, e.name) for e in events_of(window)]
    assert names[-3:] == [
        (7, "schedule.knobs.training.lr"), (7, "training.lr"), (8, "schedule.knobs.training.lr"),
    ]  # fmt: skip


def test_the_form_keeps_up_while_training_runs(window: MainWindow, qtbot: QtBot) -> None:
    seen: list[float] = []
    window.controller.snapshot_rendered.connect(lambda _: seen.append(float(edit(window.form, "training.lr").text())))
    window.controller.play()
    qtbot.waitUntil(lambda: window.controller.last is not None and window.controller.last.finished, timeout=30_000)
    qtbot.waitUntil(lambda: edit(window.form, "training.lr").text() == "0.5")
    assert row(window.form, "training.lr").curve.step == 80
    assert seen == sorted(seen, reverse=True)
    assert table(Path(window.controller.run.folder), "SELECT name FROM events WHERE name != 'phase'") == []  # type: ignore[union-attr]


# --- plots over steps


def planned(step: int, config: Config = THEOREM, events: tuple[Event, ...] = ()) -> Snapshot:
    return dataclasses.replace(make(step, events=events), config=at_step(config, step))


@pytest.mark.parametrize("kind", [RobustnessView, MixturesView])
def test_the_points_of_curves_are_marked_those_to_come_too(
    qtbot: QtBot, monkeypatch: pytest.MonkeyPatch, kind: type[RobustnessView] | type[MixturesView]
) -> None:
    view = kind()
    qtbot.addWidget(view)
    view.resize(800, 600)
    view.show()
    view.render(planned(1000))
    plot: TimePlot = view.plot if isinstance(view, RobustnessView) else view.time
    marks = plot.stars.getData()
    assert marks[0].tolist() == [0, 200, 1600, 1650, 1651]
    assert not len(plot.marks.ticks.xData)  # nothing was changed by hand
    assert plot.stars.opts["symbol"] == "star"
    said: list[str] = []
    monkeypatch.setattr(QToolTip, "showText", lambda place, text, *more: said.append(text))
    plot.box.setXRange(1640, 1660, padding=0)
    plot._move(plot.box.mapViewToScene(QPointF(1651, 0.5)))
    plot._move(plot.box.mapViewToScene(QPointF(1650, 0.5)))
    assert said == [
        "step 1,651: training.lr 6.5 → 3, to come by schedule",
        "step 1,650: model.bias 0.47 → 0.074, to come by schedule\nstep 1,650: training.lr 6.5, to come by schedule",
    ]
    assert plot.plot.toolTip() == said[-1]  # not the plot's own, which would come when the mouse rests
    view.render(planned(1700))
    plot._move(plot.box.mapViewToScene(QPointF(1651, 0.5)))
    assert said[-1] == "step 1,651: training.lr 6.5 → 3, by schedule"
    hand = (
        Event(1700, 0.0, "schedule.knobs.model.bias", str(BIAS), "None"),
        Event(1700, 0.0, "model.bias", "0.074", "0.1"),
    )
    view.render(planned(1720, with_value(THEOREM, "model.bias", 0.1), hand))
    assert plot.marks.ticks.xData.tolist() == [1700] * 4
    assert plot.stars.getData()[0].tolist() == [0, 200, 1600, 1650, 1651]
    plot.box.setXRange(1690, 1710, padding=0)
    plot._move(plot.box.mapViewToScene(QPointF(1700, 0.5)))
    assert said[-1] == "step 1,700: model.bias: schedule ended by hand\nstep 1,700: model.bias 0.074 → 0.1"
    plot._move(plot.box.mapViewToScene(QPointF(1705, 0.5)))
    assert plot.plot.toolTip() == HINT
    view.forget()
    assert not len(plot.stars.getData()[0])
    view.hide()


def test_the_window_s_fakes_take_curves_too(qapp: QApplication, qtbot: QtBot) -> None:
    factory = FakeFactory()
    made = MainWindow(
        Controller(factory), [RobustnessView], ThemeManager(qapp, "dark"), "theorem", THEOREM, QSettings()
    )
    made.begin(THEOREM, "theorem")
    made.show()
    qtbot.waitUntil(lambda: made.controller.last is not None)
    editor = opened(qtbot, made.form, "training.lr")
    assert editor.plot.plot.backgroundBrush().color().lightness() < 60
    made.begin(THEOREM, "theorem")  # another run begins: its curves are not those of the open window
    qtbot.waitUntil(lambda: made.form.schedules.editors == {})
    made.close()
    made.deleteLater()
