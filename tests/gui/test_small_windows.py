"""A window with little room: names on tabs stay whole, messages stay in front, texts give way before plots."""

from __future__ import annotations

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QDockWidget, QMainWindow, QPushButton, QVBoxLayout, QWidget
from pytestqt.qtbot import QtBot

from fp_gui.folding import Fold, FoldingLabel, ViewArea
from fp_gui.theme import LIGHT, stylesheet
from fp_gui.views.base import View
from tests.faults.screen_walk import tab_faults

NAMES = ("Neurons", "Mixtures", "Perturbation", "Race", "Low rank", "Claims", "Robustness", "Radius")


@pytest.mark.parametrize("whole", [True, False], ids=["ours", "planted"])
def test_names_on_tabs_are_never_cut(qtbot: QtBot, whole: bool) -> None:
    window = QMainWindow()
    qtbot.addWidget(window)
    sheet = stylesheet(LIGHT)
    planted = sheet.replace("elideMode: ElideNone", "elideMode: ElideRight").replace(
        "usesScrollButtons: true", "usesScrollButtons: false"
    )
    assert planted != sheet
    window.setStyleSheet(sheet if whole else planted)
    docks = [QDockWidget(name, window) for name in NAMES]
    for before, dock in zip([None, *docks], docks, strict=False):
        dock.setWidget(QWidget())
        window.addDockWidget(Qt.DockWidgetArea.RightDockWidgetArea, dock)
        if before is not None:
            window.tabifyDockWidget(before, dock)
    window.resize(300, 300)
    window.show()
    qtbot.wait(50)
    assert bool(tab_faults(window)) != whole


class TwoTexts(View):
    """A caption, a part that needs 140 pixels, and a longer text."""

    def __init__(self) -> None:
        super().__init__()
        self.caption = FoldingLabel("What this is. " * 20)
        self.plot = QPushButton()
        self.plot.setMinimumHeight(140)
        self.more = FoldingLabel("How it was measured. " * 40)
        layout = QVBoxLayout(self)
        for part in (self.caption, self.plot, self.more):
            layout.addWidget(part)


def test_texts_fold_into_one_line_and_then_away_and_come_back(qtbot: QtBot) -> None:
    view = TwoTexts()
    area = ViewArea(view, view.folding)
    qtbot.addWidget(area)
    folds = []
    for height in (600, 205, 182, 600):
        area.resize(400, height)
        area.show()
        qtbot.wait(60)
        assert view.plot.height() >= 140
        folds.append((view.caption.fold, view.more.fold))
    assert folds == [
        (Fold.FULL, Fold.FULL), (Fold.LINE, Fold.LINE), (Fold.LINE, Fold.AWAY), (Fold.FULL, Fold.FULL),
    ]  # fmt: skip
    area.resize(400, 182)
    qtbot.waitUntil(lambda: view.more.fold is Fold.AWAY)
    assert view.more.text() in view.caption.whole()
    assert view.caption.text() in view.caption.whole()
