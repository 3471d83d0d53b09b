"""What gives a stranger a hand: questions, the palette, text size, one view on the whole screen, what a view means."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QImage
from PySide6.QtWidgets import QApplication, QDialog, QLabel, QScrollArea, QWidget
from pytestqt.qtbot import QtBot

from engine.config.experiment import IMAGES, SPARSE_CODING, from_dict, with_values
from engine.config.presets import load_preset, outcome_picture, preset_abouts, preset_names
from fp_gui.actions import KeySheet, key_rows
from fp_gui.command_palette import CommandPalette, Entry, found
from fp_gui.main_window import MainWindow
from fp_gui.parts.palette import Palette
from fp_gui.parts.presenting import Presenting
from fp_gui.parts.text_size import KEY, TextSize
from fp_gui.parts.what_is import WhatIs, page
from fp_gui.question_dialog import QuestionDialog
from fp_gui.runs import recent_runs
from fp_gui.views.base import view_types
from fp_gui.views.robustness import RobustnessView
from tests.gui.fakes import BOTH_KINDS, FakeFactory
from tests.gui.test_main_window import SMALL, open_window

ASKED = (
    "How little adversarial training is enough?", "Can Gaussian noise do it?", "When does single-step training break?",
    "Is a low-rank update enough?",
)  # fmt: skip
CONFIGS = {SPARSE_CODING: load_preset("small"), IMAGES: load_preset("digits")}


@pytest.fixture
def factory() -> FakeFactory:
    return FakeFactory()


@pytest.fixture
def window(factory: FakeFactory, qapp: QApplication, qtbot: QtBot) -> Iterator[MainWindow]:
    made = open_window(factory, qapp, (*BOTH_KINDS, RobustnessView))
    qtbot.waitUntil(lambda: made.controller.last is not None)
    made.activateWindow()
    qtbot.waitUntil(made.isActiveWindow)
    yield made
    made.close()
    made.deleteLater()


def dialog(window: MainWindow, kind: type[QDialog] = QDialog) -> QDialog:
    return next(each for each in window.findChildren(kind) if each.isVisible())


# --- questions


def test_every_preset_says_what_it_asks() -> None:
    abouts = preset_abouts()
    assert tuple(abouts) == preset_names()
    for name, about in abouts.items():
        assert about == load_preset(name).about
        assert about.question.endswith("?"), name
        assert min(map(len, (about.expect, about.claim, about.time))) > 12, name
        assert re.search("measured|estimated", about.time), name
    questions = [about.question for about in abouts.values()]
    assert len(set(questions)) == len(questions) >= 9
    assert set(ASKED) <= set(questions)


def test_pictures_are_of_the_presets_as_they_stand() -> None:
    drawn = [name for name in preset_names() if outcome_picture(name) is not None]
    assert len(drawn) >= 9
    for name in drawn:
        picture = QImage.fromData(outcome_picture(name) or b"")
        assert (picture.width(), picture.height()) == (480, 320)
        said = picture.text("Description")
        config = load_preset(name)
        assert said.startswith(f"{config.about.title}; seed {config.seed}; {config.schedule.total} steps")
    assert outcome_picture("no-such-preset") is None


def test_a_question_is_found_and_opened_by_keys_alone(window: MainWindow, factory: FakeFactory, qtbot: QtBot) -> None:
    qtbot.keyClick(window, Qt.Key.Key_N, Qt.KeyboardModifier.ControlModifier)
    chooser = dialog(window, QuestionDialog)
    assert isinstance(chooser, QuestionDialog)
    assert chooser.names() == list(preset_names())
    assert chooser.name == "small"
    assert chooser.width() <= 1024
    assert chooser.height() <= 700
    qtbot.keyClicks(chooser.search, "gaussian enough")  # both words, in any order
    assert chooser.names() == []
    assert not chooser.open_button.isEnabled()
    assert chooser.none.isVisible()
    chooser.search.clear()
    qtbot.keyClicks(chooser.search, "GAUSSIAN do it")
    assert chooser.names() == ["gaussian-noise"]
    about = load_preset("gaussian-noise").about
    assert about.question in chooser.question.text()
    for text in (about.expect, about.claim, about.time, "python -m engine run gaussian-noise"):
        assert text in chooser.text.text().replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    assert not chooser.picture.pixmap().isNull()
    made = len(factory.made)
    qtbot.keyClick(chooser.search, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: len(factory.made) > made)
    assert factory.made[-1].config.about == about


def test_arrows_go_through_the_questions_while_one_types(window: MainWindow, qtbot: QtBot) -> None:
    chooser = QuestionDialog("theorem", window)
    qtbot.addWidget(chooser)
    assert chooser.name == "theorem"
    chooser.mark(preset_names()[0])
    qtbot.keyClick(chooser.search, Qt.Key.Key_Down)
    assert chooser.name == preset_names()[1]
    qtbot.keyClicks(chooser.search, "resnet")
    assert "resnet18" in chooser.name
    assert chooser.picture.isHidden() == (outcome_picture(chooser.name) is None)


# --- the palette


def test_what_fits_best_comes_first() -> None:
    texts = ["attack.tau", "Attack now", "Go to Robustness", "training.lr", "Reset layout", "Larger text"]
    entries = [Entry(text, "preset x" if text == "training.lr" else "", lambda: None) for text in texts]

    def best(typed: str) -> list[str]:
        return [entry.text for entry in found(entries, typed)]

    assert best("") == texts
    assert best("tau")[0] == "attack.tau"
    assert best("attack") == ["attack.tau", "Attack now"]  # the shorter of two that begin with it
    assert best("text larger") == ["Larger text"]
    assert best("gtr")[0] == "Go to Robustness"  # initials
    assert best("rbst")[0] == "Go to Robustness"  # letters in their order
    assert best("preset") == ["training.lr"]  # what stands beside
    assert best("zzz") == []


def test_the_palette_offers_everything(window: MainWindow, tmp_path: Path) -> None:
    part = window.parts["palette"]
    assert isinstance(part, Palette)
    window.controller.runs = tmp_path / "many"
    for name in ("20260101-small", "other"):
        (window.controller.runs / name).mkdir(parents=True)
    (window.controller.runs / "20260101-small" / "config.json").touch()
    texts = [entry.text for entry in part.entries()]
    assert {"Play", "Questions…", "Larger text", "Go to Robustness", "Theme: Dark", "attack.tau"} <= set(texts)
    assert {about.question for about in preset_abouts().values()} <= set(texts)
    assert set(window.form.parameters) <= set(texts)
    assert any(text == "Close panel: Parameters" for text in texts)
    assert [text for text in texts if text.startswith("Run ")] == ["Run 20260101-small"]
    assert "Go to Layers" not in texts  # a view of image runs
    assert "Commands…" not in texts
    assert [text for text in texts if texts.count(text) > 1] == []


def test_the_palette_jumps_to_a_parameter(window: MainWindow, qtbot: QtBot) -> None:
    window.form.search.setText("sigma")  # it is filtered out
    qtbot.keyClick(window, Qt.Key.Key_P, Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.ShiftModifier)
    palette = dialog(window, CommandPalette)
    assert isinstance(palette, CommandPalette)
    qtbot.keyClicks(palette.field, "report_st")
    assert palette.shown[0].text == "evaluation.report_steps"
    assert (palette.list.currentItem().text(0), palette.list.currentItem().text(1)) == (
        "evaluation.report_steps", "parameter",
    )  # fmt: skip
    qtbot.keyClick(palette.field, Qt.Key.Key_Return)
    control = next(iter(window.form.parameters["evaluation.report_steps"].items.keys())).field.control
    qtbot.waitUntil(lambda: window.focusWidget() is control)
    assert not control.visibleRegion().isEmpty()


def test_the_palette_plays_and_brings_views(window: MainWindow, qtbot: QtBot) -> None:
    part = window.parts["palette"]
    assert isinstance(part, Palette)
    by_text = {entry.text: entry for entry in part.entries()}
    by_text["Play"].do()
    qtbot.waitUntil(lambda: window.controller.playing)
    window.panels.docks["robustness"].hide()
    by_text["Go to Robustness"].do()
    assert not window.panels.docks["robustness"].isHidden()
    window.panels.docks["runs"].hide()
    by_text["Go to Runs"].do()
    assert not window.panels.docks["runs"].isHidden()


def test_recent_runs_come_first(tmp_path: Path) -> None:
    import os

    for i in range(5):
        (tmp_path / f"run{i}").mkdir()
        (tmp_path / f"run{i}" / "config.json").touch()
        os.utime(tmp_path / f"run{i}", (i, i))
    (tmp_path / "file").touch()
    assert [folder.name for folder in recent_runs(tmp_path, 3)] == ["run4", "run3", "run2"]
    assert recent_runs(tmp_path / "none", 3) == []


# --- text size


def test_text_grows_in_the_window_and_in_plots_and_stays_so(
    window: MainWindow, factory: FakeFactory, qapp: QApplication, qtbot: QtBot
) -> None:
    view = window.shelf.get("robustness")
    assert isinstance(view, RobustnessView)
    axis = view.plot.plot.getPlotItem().getAxis("left")
    shown = {"control": window.toolbar.play, "form": window.form.search, "view": view.plot.readout}
    before = {name: each.font().pointSizeF() for name, each in shown.items()}
    label = axis.label.font().pointSizeF()
    qtbot.keyClick(window, Qt.Key.Key_Plus, Qt.KeyboardModifier.ControlModifier)
    window.actions_["larger"].trigger()
    for name, each in shown.items():
        assert each.font().pointSizeF() == pytest.approx(1.3 * before[name]), name
    assert axis.label.font().pointSizeF() == pytest.approx(1.3 * label)
    assert axis.style["tickFont"].pointSizeF() == pytest.approx(1.3 * label)
    assert float(str(window.settings.value(KEY))) == 1.3
    root, group = (next(iter(each.items.keys())) for each in (window.form._root, window.form._groups["attack"]))
    qtbot.waitUntil(lambda: group.font(0).pointSizeF() == window.form.tree.font().pointSizeF())
    assert root.text(0) == ""  # it is hidden
    other = open_window(factory, qapp, (*BOTH_KINDS, RobustnessView))  # the next start
    try:
        part = other.parts["text_size"]
        assert isinstance(part, TextSize)
        assert part.scale == 1.3
    finally:
        other.close()
        other.deleteLater()
    window.actions_["normal"].trigger()
    assert {name: each.font().pointSizeF() for name, each in shown.items()} == pytest.approx(before)
    for _ in range(9):
        window.actions_["smaller"].trigger()
    assert window.toolbar.play.font().pointSizeF() == pytest.approx(0.85 * before["control"])


# --- one view on the whole screen


def test_a_view_takes_the_screen_and_goes_back(window: MainWindow, qtbot: QtBot) -> None:
    part = window.parts["presenting"]
    assert isinstance(part, Presenting)
    window.panels.bring("robustness")
    dock = window.panels.docks["robustness"]
    beside = window.tabifiedDockWidgets(dock)
    qtbot.keyClick(window, Qt.Key.Key_F11)
    assert part.dock is dock
    assert dock.isFullScreen()
    assert dock.isWindow()
    assert dock.geometry() == window.screen().geometry()
    qtbot.keyClick(dock, Qt.Key.Key_Escape)
    assert part.dock is None
    assert not dock.isFloating()
    assert not dock.isFullScreen()
    assert set(window.tabifiedDockWidgets(dock)) == set(beside)
    qtbot.waitUntil(lambda: not dock.visibleRegion().isEmpty())
    part.toggle()
    part.save()  # what is remembered is the layout without it
    assert not dock.isFloating()


# --- what a view means


@pytest.mark.parametrize("view", view_types(), ids=lambda view: view.name)
def test_every_view_says_what_it_means(view: type[QWidget]) -> None:
    declaration = view.declaration  # type: ignore[attr-defined]
    meaning = declaration.meaning
    assert meaning is not None
    for text in (meaning.drawn, meaning.place, meaning.surprise):
        assert len(text) > 20
        assert text.rstrip().endswith("."), text
    assert meaning.drawn.casefold() != declaration.title.casefold()
    for kind in declaration.kinds:
        template = meaning.formula if isinstance(meaning.formula, str) else meaning.formula[kind]
        names = re.findall(r"\{(.*?)\}", template)
        assert names, "no value of the run stands in it"
        text = meaning.filled(CONFIGS[kind])
        assert not set("{}") & set(text)
        assert "l2" not in text


def test_values_are_those_of_the_run() -> None:
    small = with_values(CONFIGS[SPARSE_CODING], {"attack.tau": 0.125, "attack.norm": "linf", "evaluation.size": 4096})
    text = RobustnessView.declaration.meaning.filled(small)  # type: ignore[union-attr]
    assert "τ = 0.125" in text
    assert "ℓ∞" in text
    assert "4,096 inputs" in text
    other = page(RobustnessView.declaration, from_dict({"world": {"name": "digits"}, "attack": {"tau": 0.5}}))
    assert "τ = 0.5" in other


def test_a_panel_explains_itself(window: MainWindow, qtbot: QtBot) -> None:
    part = window.parts["what_is"]
    assert isinstance(part, WhatIs)
    window.panels.bring("robustness")
    button = part.buttons["robustness"]
    qtbot.waitUntil(button.isVisible)
    dock = window.panels.docks["robustness"]
    assert dock.rect().contains(button.geometry())
    assert not dock.widget().geometry().intersects(button.geometry())  # nothing of the view is hidden by it
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton, pos=QPoint(3, 3))
    shown = dialog(window)
    text = shown.findChild(QLabel, "what")
    assert isinstance(text, QLabel)
    for part_of_it in ("What one sees", "In the paper", "A surprise would be", f"τ = {SMALL.attack.tau:g}"):
        assert part_of_it in text.text()
    shown.close()


def test_the_key_sheet_fits_a_small_screen(window: MainWindow, qtbot: QtBot) -> None:
    sheet = KeySheet(key_rows(["View"] * 9), window)
    qtbot.addWidget(sheet)
    sheet.show()
    assert sheet.width() <= 1024
    assert sheet.height() <= 700
    texts = {label.text() for label in sheet.findChildren(QLabel)}
    assert {"<b>Ctrl+Shift+P</b>", "<b>Ctrl+N</b>", "<b>F11</b>", "<b>Shift+F1</b>", "<b>Ctrl++</b>"} <= texts
    area = sheet.findChildren(QScrollArea)[0]
    assert area.horizontalScrollBar().maximum() == 0  # no text is cut
