"""The parameters: one control a knob, live or pending, and values that cannot be."""

from __future__ import annotations

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QCheckBox, QComboBox, QFileDialog, QLineEdit
from pytestqt.qtbot import QtBot

from engine.config.assignments import read_value
from engine.config.experiment import Config, KnobInfo, from_dict, knobs, resolve, value_of, with_value
from engine.data.sets.cifar10 import Cifar10World
from engine.images.config import ImageConfig
from engine.theory.config import SparseCodingConfig
from fp_gui.fields import PathField, nudged, show
from fp_gui.form import SKIPPED, Form
from fp_gui.knob_row import KnobItem

KNOBS = [k for k in knobs() if k.group != SKIPPED]


@pytest.fixture
def form(qtbot: QtBot) -> Form:
    made = Form(SparseCodingConfig())
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
    assert row.field.value() == value_of(SparseCodingConfig(), knob.path)
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
    assert read_value(show(value), "float") == value


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
    form.sync(with_value(SparseCodingConfig(), "attack.tau", 0.4))
    assert shown(form, "attack.tau") == "0.4"
    assert form.pending == {"world.d": 100}
    form.start(with_value(SparseCodingConfig(), "world.d", 100))
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


# --- knobs that come and go


def of(*values: tuple[str, object]) -> Config:
    config: Config = from_dict({"world": {"name": "digits"}})
    for path, value in values:
        config = with_value(config, path, value)
    return config


@pytest.fixture
def images(qtbot: QtBot) -> Form:
    made = Form(of(("model.name", "alexnet"), ("model.width", 32)))
    qtbot.addWidget(made)
    return made


def choose(form: Form, path: str, value: str) -> None:
    combo = item(form, path).field.control
    assert isinstance(combo, QComboBox)
    combo.setCurrentText(value)
    combo.activated.emit(combo.currentIndex())


def rows(form: Form) -> list[str]:
    """The knobs as they stand in the tree, from top to bottom."""
    root = form.tree.topLevelItem(0)
    groups = [root.child(i) for i in range(root.childCount())]
    return [group.child(j).param.knob.path for group in groups for j in range(group.childCount())]


def paths(config: Config) -> list[str]:
    return [k.path for k in knobs(config) if k.group != SKIPPED]


def test_another_kind_of_run_has_other_knobs_in_their_order(form: Form, qtbot: QtBot) -> None:
    form.show()
    for config in (
        of(("world.name", "cifar10"), ("model.name", "resnet")),
        SparseCodingConfig(),
        from_dict({"world": {"name": "digits"}}),
    ):
        form.start(config)
        assert rows(form) == paths(config)
        assert set(form.parameters) == set(paths(config))
        for path in paths(config):
            row = item(form, path)
            assert row.field.value() == value_of(config, path)
            assert row.field.knob.choices == resolve(path, config).choices
            assert not row.param.pending
            assert row.parent().isExpanded()
    form.hide()


def test_another_name_shows_its_knobs_before_the_reset(images: Form, qtbot: QtBot) -> None:
    said: list[str] = []
    images.rejected.connect(said.append)
    enter(images, "model.stride", "3")
    choose(images, "model.name", "resnet")
    assert images.pending == {"model.name": "resnet"}  # the stride that waited is gone with its network
    assert rows(images) == paths(of(("model.name", "resnet")))
    assert shown(images, "model.width") == "64"  # the new network's default, not the old network's 32
    assert all(item(images, f"model.{name}").badge.text() == "pending" for name in ("name", "depth", "width"))
    choose(images, "model.depth", "34")
    enter(images, "model.width", "16")
    config = images.next_config()
    assert isinstance(config, ImageConfig)
    assert config.model.model_dump() == {"name": "resnet", "depth": "34", "width": 16}
    assert "Preset: 64" in item(images, "model.width").toolTip(0)
    item(images, "model.width").back.click()
    assert images.pending == {"model.name": "resnet", "model.depth": "34"}
    enter(images, "model.width", "1000")
    assert "model.width" in said[0]
    assert "Kept: 64" in said[0]
    assert len(said) == 1


def test_discard_puts_the_old_names_knobs_back(images: Form, qtbot: QtBot) -> None:
    choose(images, "model.name", "two_layer")
    choose(images, "world.name", "cifar10")
    assert "world.folder" in images.parameters
    enter(images, "world.folder", "/data")
    images.discard()
    assert not images.pending
    assert rows(images) == paths(of(("model.name", "alexnet")))
    assert shown(images, "model.width") == "32"
    assert item(images, "model.name").field.value() == "alexnet"
    assert item(images, "model.width").badge.text() == "restarts"


def test_choosing_the_running_name_again_discards_the_other(images: Form) -> None:
    choose(images, "model.name", "two_layer")
    enter(images, "model.width", "100")
    choose(images, "model.name", "alexnet")
    assert not images.pending
    assert shown(images, "model.width") == "32"


def test_live_edits_and_the_session_leave_a_pending_name_alone(images: Form, qtbot: QtBot) -> None:
    choose(images, "model.name", "two_layer")
    with qtbot.waitSignal(images.live_edited) as met:
        enter(images, "attack.tau", "0.5")
    assert met.args[0] == "attack.tau"
    running = of(("model.name", "alexnet"), ("model.width", 32), ("attack.tau", 0.5), ("training.momentum", 0.8))
    images.sync(running)
    assert shown(images, "training.momentum") == "0.8"
    assert shown(images, "model.width") == "256"
    assert images.pending == {"model.name": "two_layer"}
    enter(images, "model.width", "32")  # as wide as the running network, but it is another one
    images.sync(running)
    assert images.pending == {"model.name": "two_layer", "model.width": 32}
    images.start(images.next_config())
    assert not images.pending
    assert item(images, "model.width").badge.text() == "restarts"


def test_pending_values_are_judged_together(form: Form) -> None:
    enter(form, "world.k", "50")
    enter(form, "world.d", "100")
    enter(form, "world.k", "60")
    enter(form, "world.d", "81")
    assert form.next_config().world.model_dump(include={"d", "k"}) == {"d": 81, "k": 60.0}


def test_filter_stays_when_knobs_change(images: Form) -> None:
    images.search.setText("width")
    choose(images, "model.name", "two_layer")
    assert item(images, "model.init_scale").isHidden()
    assert not item(images, "model.width").isHidden()


def test_folder_is_typed_or_chosen(qtbot: QtBot, monkeypatch: pytest.MonkeyPatch) -> None:
    form = Form(of(("world.name", "cifar10")))
    qtbot.addWidget(form)
    field = item(form, "world.folder").field
    assert isinstance(field, PathField)
    assert isinstance(field.control, QLineEdit)
    assert field.control.placeholderText() == "empty: default place"
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *a: "/data/cifar")
    field.button.click()
    assert form.pending == {"world.folder": "/data/cifar"}
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *a: "")  # cancelled
    field.button.click()
    assert shown(form, "world.folder") == "/data/cifar"
    choose(form, "world.name", "image_folder")
    field = item(form, "world.folder").field
    assert isinstance(field, PathField)
    assert shown(form, "world.folder") == ""
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *a: ("/data/my.zip", ""))
    field.button.menu().actions()[1].trigger()
    config = form.next_config()
    assert not isinstance(config.world, Cifar10World)
    assert value_of(config, "world.folder") == "/data/my.zip"
