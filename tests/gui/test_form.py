"""The parameters: one control a knob, live or pending, and values that cannot be."""

from __future__ import annotations

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QCheckBox, QComboBox, QLineEdit
from pytestqt.qtbot import QtBot

from engine.config import Config, KnobInfo, knobs, resolve, value_of, with_value
from fp_gui.fields import nudged, read, show
from fp_gui.form import SKIPPED, Form, KnobItem

KNOBS = [k for k in knobs() if k.group != SKIPPED]


@pytest.fixture
def form(qtbot: QtBot) -> Form:
    made = Form(Config())
    qtbot.addWidget(made)
    return made


def item(form: Form, path: str) -> KnobItem:
    return next(iter(form.parameters[path].items.keys()))


def enter(form: Form, path: str, text: str) -> None:
    control = item(form, path).field.control
    assert isinstance(control, QLineEdit)
    control.setText(text)
    control.editingFinished.emit()


def shown(form: Form, path: str) -> str:
    control = item(form, path).field.control
    assert isinstance(control, QLineEdit)
    return control.text()


@pytest.mark.parametrize("knob", KNOBS, ids=lambda k: k.path)
def test_every_knob_has_a_control_with_all_it_needs(form: Form, knob: KnobInfo) -> None:
    row = item(form, knob.path)
    control = row.field.control
    assert isinstance(control, {"bool": QCheckBox, "choice": QComboBox}.get(knob.kind, QLineEdit))
    assert row.field.value() == value_of(Config(), knob.path)
    assert row.badge.text() == ("live" if knob.live else "restarts")
    assert control.accessibleName() == knob.path
    for part in (knob.path, "Allowed", "Preset", "live" if knob.live else "restarts"):
        assert part in control.toolTip()


def test_description_is_no_knob(form: Form) -> None:
    assert not any(path.startswith("about") for path in form.parameters)


def test_live_edit_leaves_with_old_and_new(form: Form, qtbot: QtBot) -> None:
    with qtbot.waitSignal(form.live_edited) as met:
        enter(form, "attack.tau", "0.35")
    assert met.args == ["attack.tau", 0.2, 0.35]
    assert not form.pending


def test_small_number_is_kept_to_the_digit(form: Form, qtbot: QtBot) -> None:
    with qtbot.waitSignal(form.live_edited) as met:
        enter(form, "model.lambda", "3e-05")
    assert met.args[2] == 3e-05
    assert shown(form, "model.lambda") == "3e-05"


@pytest.mark.parametrize("value", [3e-05, 0.1, 1 / 3, 1.5, 1e-300, 100.0, 0.0, 123456.789])
def test_shown_numbers_read_back_exactly(value: float) -> None:
    assert read(show(value), "float") == value


def test_whole_number_typed_into_a_decimal_knob(form: Form, qtbot: QtBot) -> None:
    with qtbot.waitSignal(form.live_edited) as met:
        enter(form, "training.lr", "2")
    assert met.args[2] == 2.0
    assert shown(form, "training.lr") == "2"


@pytest.mark.parametrize(
    ("path", "typed"),
    [
        ("attack.tau", "11"),
        ("attack.tau", "abc"),
        ("attack.tau", "nan"),
        ("attack.tau", ""),
        ("attack.steps", "1.5"),
        ("attack.steps", "0"),
        ("world.d", "-3"),
        ("world.d", "65"),
        ("seed", "one"),
    ],
)
def test_bad_value_is_named_and_the_old_one_put_back(form: Form, qtbot: QtBot, path: str, typed: str) -> None:
    before = shown(form, path)
    edits: list[object] = []
    form.live_edited.connect(lambda *a: edits.append(a))
    with qtbot.waitSignal(form.rejected) as met:
        enter(form, path, typed)
    text = met.args[0]
    assert path in text
    assert "allowed" in text or "square" in text
    assert f"Kept: {before}" in text
    assert shown(form, path) == before
    assert not edits
    assert not form.pending


def test_restart_edit_waits_and_can_be_discarded(form: Form, qtbot: QtBot) -> None:
    form.show()
    enter(form, "world.d", "100")
    enter(form, "model.m", "50")
    assert form.pending == {"world.d": 100, "model.m": 50}
    assert item(form, "world.d").badge.text() == "pending"
    assert item(form, "world.d").font(0).bold()
    assert form.apply_button.isVisible()
    config = form.next_config()
    assert (config.world.d, config.model.m) == (100, 50)
    with qtbot.waitSignal(form.reset_requested):
        qtbot.mouseClick(form.apply_button, Qt.MouseButton.LeftButton)
    qtbot.mouseClick(form.discard_button, Qt.MouseButton.LeftButton)
    assert not form.pending
    assert shown(form, "world.d") == "64"
    assert item(form, "world.d").badge.text() == "restarts"
    assert not form.apply_button.isVisible()
    form.hide()


def test_edit_back_to_the_running_value_is_no_longer_pending(form: Form) -> None:
    enter(form, "world.d", "100")
    enter(form, "world.d", "64")
    assert not form.pending


def test_follows_the_session_without_answering(form: Form) -> None:
    edits: list[object] = []
    form.live_edited.connect(lambda *a: edits.append(a))
    enter(form, "world.d", "100")
    form.sync(with_value(Config(), "attack.tau", 0.4))
    assert shown(form, "attack.tau") == "0.4"
    assert form.pending == {"world.d": 100}
    form.start(with_value(Config(), "world.d", 100))
    assert not form.pending
    assert shown(form, "attack.tau") == "0.2"
    assert shown(form, "world.d") == "100"
    assert not edits


def test_way_back_to_the_presets_value(form: Form, qtbot: QtBot) -> None:
    enter(form, "attack.tau", "0.4")
    with qtbot.waitSignal(form.live_edited) as met:
        item(form, "attack.tau").back.click()
    assert met.args == ["attack.tau", 0.4, 0.2]


def test_choice_and_check_box(form: Form, qtbot: QtBot) -> None:
    combo = item(form, "attack.norm").field.control
    assert isinstance(combo, QComboBox)
    combo.setCurrentText("linf")
    with qtbot.waitSignal(form.live_edited) as met:
        combo.activated.emit(combo.currentIndex())
    assert met.args == ["attack.norm", "l2", "linf"]
    box = item(form, "attack.random_start").field.control
    assert isinstance(box, QCheckBox)
    with qtbot.waitSignal(form.live_edited) as met:
        box.click()
    assert met.args == ["attack.random_start", False, True]


def test_arrow_keys_nudge(form: Form, qtbot: QtBot) -> None:
    control = item(form, "attack.tau").field.control
    with qtbot.waitSignal(form.live_edited) as met:
        qtbot.keyClick(control, Qt.Key.Key_Up)
    assert met.args == ["attack.tau", 0.2, 0.21]
    assert nudged(3e-05, resolve("model.lambda"), 1) == 3.1e-05
    assert nudged(1, resolve("attack.steps"), -1) == 1


def test_filter_hides_what_does_not_match(form: Form) -> None:
    form.search.setText("tau")
    assert not item(form, "attack.tau").isHidden()
    assert item(form, "seed").isHidden()
