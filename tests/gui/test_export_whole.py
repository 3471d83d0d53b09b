"""The real thing: real runs in the real window, Ctrl+E, every view, Return, and what then lies in the folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PySide6.QtCore import QSettings, Qt
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from engine import worlds
from engine.config.experiment import Config
from fp_gui.bridge.controller import Controller
from fp_gui.export_dialog import ExportDialog
from fp_gui.main_window import MainWindow
from fp_gui.theme import ThemeManager
from fp_gui.views.base import view_types
from tests.tiny_image_runs import tiny_images
from tests.tiny_runs import tiny_config

KINDS = {"theory": tiny_config(), "alexnet": tiny_images()}
CHANGED = {
    "theory": {
        "neurons": {"space": "dictionary", "sort": "purity", "count": "144", "alive": "false", "normalise": "true"},
        "mixtures": {"quantity": "relative"},
        "radius": {"clean": "false"},
        "robustness": {"alignment": "true"},
        "perturbation": {"sample": "2"},
    },
    "alexnet": {"filters": {"layer": "conv2"}, "layers": {"layer": "conv2"}, "radius": {"intervals": "false"}},
}
FORMATS = {"theory": ("svg",), "alexnet": ("pdf",)}
STEPS = 23  # neither a checkpoint's step nor an evaluation's
WAIT = 240_000


def open_window(qapp: QApplication, config: Config) -> MainWindow:
    themes = ThemeManager(qapp, "light")
    window = MainWindow(Controller(worlds), view_types(), themes, "tiny", config, QSettings())
    window.begin(config, "tiny")
    window.show()
    return window


@pytest.mark.parametrize("kind", KINDS)
def test_every_view_is_exported_as_it_is_shown(qapp: QApplication, qtbot: QtBot, kind: str) -> None:
    window = open_window(qapp, KINDS[kind])
    controller = window.controller
    try:
        for _ in range(STEPS):
            controller.step_once()
        qtbot.waitUntil(lambda: controller.last is not None and controller.last.step == STEPS, timeout=WAIT)
        for name, changed in CHANGED[kind].items():
            view = window.shelf.get(name)
            window.panels.bring(name)  # which layers there are, it learns from a snapshot
            qtbot.waitUntil(lambda view=view: not view.visibleRegion().isEmpty(), timeout=WAIT)  # type: ignore[misc]
            view.set_options(changed)
            qtbot.waitUntil(lambda: changed.items() <= view.options().items(), timeout=WAIT)  # noqa: B023
        window.activateWindow()
        qtbot.keyClick(window, Qt.Key.Key_E, Qt.KeyboardModifier.ControlModifier)
        (dialog,) = window.findChildren(ExportDialog)
        for box in dialog.views.values():
            box.setChecked(box.isEnabled())
        for form, box in dialog.formats.items():
            box.setChecked(form in FORMATS[kind])
        chosen, out = dialog.chosen, dialog.out
        offered = set(dialog.views)
        assert offered == {each.name for each in view_types() if controller.config.kind in each.kinds}
        unmeasured = {"race", "local", "low_rank", "objectives", "transfer", "sparse_code", "claims"}
        assert offered - set(chosen) <= unmeasured
        shown = {name: window.shelf.get(name).options() for name in chosen}
        qtbot.keyClick(dialog.focusWidget() or dialog, Qt.Key.Key_Return)
        assert window.exporter.busy
        controller.play()  # training goes on meanwhile, through checkpoints of its own
        qtbot.waitUntil(lambda: not window.exporter.busy, timeout=WAIT)
        assert window.banner.level == "notice", window.banner.text + window.banner.details
        assert str(out) in window.banner.text
    finally:
        window.close()
        window.deleteLater()
    check(out, shown, FORMATS[kind])


def check(out: Path, shown: dict[str, dict[str, str]], formats: tuple[str, ...]) -> None:
    """Every view's files are there, and one recipe says with which options each was drawn at the step asked for."""
    recipe = json.loads((out / "recipe.json").read_text())
    assert recipe["step"] == STEPS
    drawn = recipe["figures"]["views"]
    assert set(drawn) == set(shown)
    assert {name: {key: drawn[name].get(key) for key in chosen} for name, chosen in shown.items()} == shown
    for name in shown:
        files = {path.name for path in (out / name).iterdir()}
        assert files & {f"{name}.{form}" for form in ("png", "svg", "pdf")} == {f"{name}.{form}" for form in formats}
        assert f"step {STEPS}" in (out / name / "caption.txt").read_text(), name
    assert {path.name for path in out.iterdir() if path.is_dir()} == set(shown)
