"""Numbers are read alike in every field and every locale; helper processes import nothing from the current folder."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import QLocale, QPoint, QPointF, Qt
from PySide6.QtGui import QWheelEvent
from PySide6.QtWidgets import QAbstractSpinBox, QApplication, QLineEdit
from pytestqt.qtbot import QtBot

from engine.config.experiment import from_dict, resolve
from fp_gui.fields import field_for
from fp_gui.number_boxes import DecimalBox, WholeBox
from fp_gui.tasks import EngineProcess
from fp_gui.views.study_view import steps_box
from tests.faults.programs import ROOT


@pytest.fixture(params=[QLocale.Language.German, QLocale.Language.French, QLocale.Language.C], ids=str)
def locale(request: pytest.FixtureRequest) -> Iterator[None]:
    before = QLocale()
    QLocale.setDefault(QLocale(request.param))
    yield
    QLocale.setDefault(before)


def enter(box: QAbstractSpinBox, text: str, qtbot: QtBot) -> None:
    qtbot.addWidget(box)
    box.show()
    box.selectAll()
    qtbot.keyClicks(box, text)
    qtbot.keyClick(box, Qt.Key.Key_Return)


@pytest.mark.usefixtures("locale")
@pytest.mark.parametrize(("text", "value"), [("0.25", 0.25), ("0,25", 0.25), ("3", 3.0), (".5", 0.5), ("12,5", 12.5)])
def test_decimals_in_every_locale(text: str, value: float, qtbot: QtBot) -> None:
    box = DecimalBox()
    box.setRange(0.001, 100_000)
    box.setDecimals(3)
    enter(box, text, qtbot)
    assert box.value() == value
    assert box.text() == f"{value:.3f}"


@pytest.mark.usefixtures("locale")
@pytest.mark.parametrize(("text", "value"), [("2500", 2500), ("2.5", 7), ("2,500", 7), ("2.500", 7), ("0,25", 7)])
def test_whole_numbers_in_every_locale(text: str, value: int, qtbot: QtBot) -> None:
    box = WholeBox()
    box.setRange(0, 1_000_000)
    box.setPrefix("neuron ")
    box.setValue(7)
    enter(box, text, qtbot)
    assert box.value() == value
    assert box.text() == f"neuron {value}"


@pytest.mark.usefixtures("locale")
def test_the_text_of_a_special_value_is_no_number(qtbot: QtBot) -> None:
    box = steps_box("as long as clean, 1.5 times", "Steps. Of it.")
    enter(box, "12000", qtbot)
    assert (box.value(), box.text()) == (12000, "12000")
    box.setValue(0)
    assert box.text() == "as long as clean, 1.5 times"
    qtbot.keyClick(box, Qt.Key.Key_Up)
    assert box.value() == 50


@pytest.mark.usefixtures("locale")
def test_the_form_reads_a_point_and_refuses_a_comma(qtbot: QtBot) -> None:
    field = field_for(resolve("attack.tau", from_dict({})))
    qtbot.addWidget(field)
    control = field.control
    assert isinstance(control, QLineEdit)
    for text, value in (("0.25", 0.25), ("0,25", "0,25")):  # the text itself: the check of the config names it
        control.setText(text)
        assert field.value() == value


def test_there_is_no_other_number_box() -> None:
    pattern = re.compile(r"Q(?:Double)?SpinBox|Q(?:Int|Double)Validator|QInputDialog|pg\.SpinBox")
    others = [
        path.name
        for path in sorted((ROOT / "fp_gui").rglob("*.py"))
        if path.name != "number_boxes.py" and pattern.search(path.read_text(encoding="utf-8"))
    ]
    assert others == []


@pytest.mark.parametrize("kind", [WholeBox, DecimalBox])
def test_the_wheel_without_focus_changes_nothing(kind: type[WholeBox] | type[DecimalBox], qtbot: QtBot) -> None:
    box = kind()
    qtbot.addWidget(box)
    box.setValue(7)
    box.show()
    box.clearFocus()
    at = QPointF(5, 5)
    turn = QWheelEvent(
        at, at, QPoint(), QPoint(0, 120), Qt.MouseButton.NoButton, Qt.KeyboardModifier.NoModifier,
        Qt.ScrollPhase.NoScrollPhase, False,
    )  # fmt: skip
    QApplication.sendEvent(box, turn)
    assert box.value() == 7
    assert not turn.isAccepted()


def test_helper_processes_import_nothing_from_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, qtbot: QtBot
) -> None:
    (tmp_path / "engine").mkdir()
    for name in ("engine/__init__", "random", "numpy", "argparse"):
        (tmp_path / f"{name}.py").write_text(f"raise SystemExit('imported the stranger {name}')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep + "." + os.pathsep + str(ROOT))
    process = EngineProcess()
    with qtbot.waitSignal(process.succeeded, timeout=30_000):
        process.start(["-m", "engine", "presets"])
    assert "small" in process.output
