"""A new data set is offered, checked, loaded with its own knobs, trained on and exported once its file is imported."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import QSettings
from pytestqt.qtbot import QtBot

from engine.config.experiment import from_dict, resolve, value_of, with_value
from engine.data import catalogue
from engine.data.images import sources
from engine.images.config import images
from engine.images.data import load
from fp_gui.data_dialog import DataDialog
from fp_gui.form import Form
from fp_gui.runs import with_data
from tests.examples.conftest import IMAGES, Call, captions, example, settings

MOONS = {"world": {"name": "moons"}, "model": {"name": "two_layer"}}


@pytest.fixture(autouse=True)
def _there() -> Iterator[None]:
    yield from example("data_set", sources, "moons")


def test_it_is_offered_with_its_knobs_and_checked(call: Call, tmp_path: Path) -> None:
    config = from_dict(MOONS)
    assert resolve("world.name", config).choices[-1] == "moons"
    assert (resolve("world.count", config).high, value_of(config, "world.blur")) == (100_000, 0.1)
    assert "Moons" in call("data")
    (row,) = json.loads(call("data", "moons", "--json"))
    assert (row["installed"], row["where"]) == (True, "made by the program")
    call("data", "moons", "--download", fails="got 'moons'; allowed with --download: cifar10")
    start = ("run", "digits", "--out", tmp_path / "run", "--set", "world.name=moons", "--set")
    call(*start, "world.blur=2", fails="world.blur: got 2.0; allowed: a number from 0 to 1")
    call(*start, "world.side=9", fails="world.side: no knob has this name")


def test_its_knobs_reach_it() -> None:
    few = images(with_value(from_dict(MOONS), "world.count", 40), "a test")
    assert len(load(few).train_y) == 30
    assert len(load(images(with_value(few, "world.count", 80), "a test")).train_y) == 60
    sharp, same = (images(with_value(few, "world.blur", blur), "a test") for blur in (0.0, 0.1))
    assert load(sharp).digest() != load(few).digest() == load(same).digest()
    some = images(with_value(few, "world.train_size", 10), "a test")
    assert len(load(some).train_y) == 10
    assert catalogue.load(few.world).classes == ("upper", "lower")


def test_the_window_offers_it(qtbot: QtBot, tmp_path: Path) -> None:
    form = Form(from_dict(MOONS))
    qtbot.addWidget(form)
    assert {"world.count", "world.blur", "world.train_size"} <= set(form.parameters)
    dialog = DataDialog(QSettings(str(tmp_path / "window.ini"), QSettings.Format.IniFormat))
    qtbot.addWidget(dialog)
    dialog._found = {row["name"]: row for row in json.loads(_survey())}
    dialog._fill()
    dialog.table.selectRow([row["name"] for row in dialog.rows].index("moons"))
    enabled = [b.isEnabled() for b in (dialog.use, dialog.folder, dialog.zip, dialog.download)]
    assert enabled == [True, False, False, False]
    config, label = with_data(from_dict({"world": {"name": "digits"}, "training": {"lr": 0.01}}), "mine", "moons", "")
    assert (config.world.name, config.training.lr, label) == ("moons", 0.01, "mine")


def _survey() -> str:
    from dataclasses import asdict

    return json.dumps([asdict(each) for each in catalogue.survey()])


def test_it_is_trained_on_and_exported(call: Call, tmp_path: Path) -> None:
    run, out = tmp_path / "run", tmp_path / "figures"
    call("run", "digits", "--out", run, *settings("world.name=moons", "world.count=400", *IMAGES))
    assert "FGM (1 step), ℓ2 radius" in call("evaluate", run, "--n", "32", "--steps", "2", "--restarts", "1")
    call("export", run, "--view", "all", "--out", out, "--format", "svg")
    assert "Moons (200 training images), two-layer ReLU network" in captions(out)
    assert "upper" in (out / "examples" / "examples.svg").read_text(encoding="utf-8")
