"""The Compare panel in the real window: what its plots hold against the records, live and stored, and its command."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtGui import QWheelEvent
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from engine import worlds
from engine.core import metrics
from fp_gui.compare.chooser import FOLDER
from fp_gui.main_window import MainWindow
from fp_gui.theme import DARK
from fp_gui.tools.compare import CHOOSE, MEASURE, ComparePanel
from fp_gui.views.widgets import Choice
from tests.gui.test_main_window import open_window
from tests.tiny_runs import run, table, tiny_config

SHORT = {"schedule.clean_steps": 20, "schedule.second_steps": 20}


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Seeds 0 and 1 of one config, and seed 0 with another tau."""
    base = tmp_path_factory.mktemp("stored")
    run(tiny_config(seed=0, **SHORT), base / "seed0")
    run(tiny_config(seed=1, **SHORT), base / "seed1")
    run(tiny_config(tau=0.1, **SHORT), base / "weak")
    return [base / "seed0", base / "seed1", base / "weak"]


@pytest.fixture
def window(qapp: QApplication, qtbot: QtBot) -> Iterator[MainWindow]:
    made = open_window(worlds, qapp, types=(), config=tiny_config(seed=5, **SHORT))
    qtbot.waitUntil(lambda: made.controller.last is not None, timeout=20_000)
    yield made
    made.close()
    made.deleteLater()


@pytest.fixture
def panel(window: MainWindow) -> ComparePanel:
    window.panels.bring("compare")
    found = window.panels.docks["compare"].widget()
    assert isinstance(found, ComparePanel)
    return found


def recorded(folder: Path, metric: str) -> dict[int, float]:
    rows = table(folder, "SELECT step, name, value FROM metrics ORDER BY step")
    return {step: value for step, name, value in rows if name == metric}


def plot_of(panel: ComparePanel, label: str):  # type: ignore[no-untyped-def]
    return next(p for p in panel.plots.plots if label in p.title.text())


def curve(panel: ComparePanel, label: str, key: str) -> dict[int, float]:
    found = plot_of(panel, label).curves[key].line
    x, y = found.getData()
    return {} if x is None else dict(zip(map(int, x), map(float, y), strict=True))


def test_stored_runs_are_overlaid_with_their_mean(panel: ComparePanel, stored: list[Path], qtbot: QtBot) -> None:
    assert panel.pages.message.text() == CHOOSE
    panel.compare(stored)
    assert panel.chooser.chosen() == tuple(stored)
    qtbot.waitUntil(lambda: len(panel.plots.plots) == 5, timeout=20_000)
    for i, folder in enumerate(stored):
        assert curve(panel, "PGD", str(i)) == recorded(folder, metrics.PGD)
    texts = [[panel.knobs.item(r, c).text() for c in range(4)] for r in range(panel.knobs.rowCount())]
    assert texts == [["seed", "0", "1", "0"], ["attack.tau", "0.2", "0.2", "0.1"]]
    assert "PGD accuracy, DIFFERS between the runs" in panel.caption.text()
    panel.mean.setChecked(True)
    qtbot.waitUntil(lambda: "tau 0.2, seeds 0, 1" in plot_of(panel, "PGD").curves, timeout=20_000)
    seeds = np.array([list(recorded(folder, metrics.PGD).values()) for folder in stored[:2]])
    assert np.allclose(list(curve(panel, "PGD", "tau 0.2, seeds 0, 1").values()), seeds.mean(0))
    mean = plot_of(panel, "PGD").curves["tau 0.2, seeds 0, 1"]
    assert np.array_equal(mean.low, seeds.min(0))
    assert np.array_equal(mean.high, seeds.max(0))
    seed, other = (plot_of(panel, "PGD").curves[key] for key in "02")
    assert (len(seed.marks.data), seed.low) == (0, None)  # a thin line; the marks are the mean's
    assert len(other.marks.data) > 0
    panel.set_theme(DARK)
    assert mean.line.opts["pen"].width() == 3  # and is thick in the dark, too
    panel.view.value = "mixtures"
    qtbot.waitUntil(lambda: len(panel.plots.plots) == 3, timeout=20_000)
    assert curve(panel, "purity", "2") == recorded(stored[2], "mixture/purity/median")
    panel.chooser.item(1).setCheckState(Qt.CheckState.Unchecked)
    panel.chooser.item(2).setCheckState(Qt.CheckState.Unchecked)
    panel.chooser.item(3).setCheckState(Qt.CheckState.Unchecked)
    assert panel.pages.empty


def test_options_that_come_with_a_comparison_ignore_the_wheel(panel: ComparePanel) -> None:
    panel.view.value = "mixtures"
    box = panel.boxes["quantity"]
    assert isinstance(box, Choice)
    before = box.value
    at = QPointF(5, 5)
    for turn in (-120, 120):
        event = QWheelEvent(
            at, at, QPoint(), QPoint(0, turn), Qt.MouseButton.NoButton, Qt.KeyboardModifier.NoModifier,
            Qt.ScrollPhase.NoScrollPhase, False,
        )  # fmt: skip
        QApplication.sendEvent(box, event)
        assert box.value == before
        assert not event.isAccepted()
    assert box.count() > 1


def test_plots_beside_each_other_are_equally_wide(
    window: MainWindow, panel: ComparePanel, stored: list[Path], qtbot: QtBot
) -> None:
    dock = window.panels.docks["compare"]
    dock.setFloating(True)
    dock.resize(860, 560)
    panel.compare(stored)
    qtbot.waitUntil(lambda: len(panel.plots.plots) > 2 and panel.plots.plots[1].x() > 0, timeout=20_000)
    widths = [plot.width() for plot in panel.plots.plots]
    assert max(widths) - min(widths) <= 1


def test_the_open_run_is_followed_live(
    window: MainWindow, panel: ComparePanel, stored: list[Path], qtbot: QtBot
) -> None:  # fmt: skip
    run_info = window.controller.run
    assert run_info is not None
    qtbot.waitUntil(lambda: panel.chooser.count() > 0 and panel.chooser.item(0).data(FOLDER) == run_info.folder)
    assert panel.chooser.item(0).text().endswith("(open)")
    panel.compare([run_info.folder, stored[0]])
    window.controller.play()
    qtbot.waitUntil(lambda: len(curve_or_empty(panel, "0")) == 5, timeout=30_000)  # steps 0, 10, … 40
    last = window.controller.last
    assert last is not None
    series = last.history[metrics.PGD]
    assert curve(panel, "PGD", "0") == dict(zip(series.steps.tolist(), series.values.tolist(), strict=True))


def curve_or_empty(panel: ComparePanel, key: str) -> dict[int, float]:
    return curve(panel, "PGD", key) if panel.plots.plots else {}


def test_galleries_share_one_contrast_and_mark_the_neuron_of_one_start(
    panel: ComparePanel, stored: list[Path], qtbot: QtBot
) -> None:
    panel.compare(stored)
    panel.view.value = "neurons"
    qtbot.waitUntil(lambda: panel.galleries.data is not None, timeout=20_000)
    data, shown = panel.galleries.data, panel.galleries.galleries
    assert data is not None
    assert [gallery.title.text() for gallery in shown] == list(data.panels)
    assert panel.galleries.bar.scale == data.level
    assert list(panel.boxes) == ["moment", "sort", "count", "normalise"]
    least = panel.minimumSizeHint()  # it is to fit into the lower right of a small window
    assert (least.width() < 420, least.height() < 260) == (True, True), least
    neuron = int(data.order[0][2])
    grid = shown[0].grid
    assert grid is not None
    rect = grid.rect(neuron)
    assert rect is not None
    panel.galleries.hovered.emit(0, neuron)
    marked = [gallery._marks[0].isVisible() for gallery in shown]
    assert marked == [True, False, True]  # seed 1 began from other weights
    assert shown[2]._marks[0].rect() == shown[2].grid.rect(neuron)  # type: ignore[union-attr]
    panel.highlight(neuron)  # of the open run, which is not compared
    assert not any(gallery._marks[0].isVisible() for gallery in shown)


def test_radius_is_measured_and_exports_are_written_by_the_command(
    panel: ComparePanel, stored: list[Path], tmp_path: Path, qtbot: QtBot
) -> None:
    panel.compare(stored[:2])
    panel.view.value = "radius"
    qtbot.waitUntil(lambda: panel.pages.message.text() == MEASURE, timeout=20_000)
    line = panel.arguments(tmp_path / "out")
    assert line[:4] == ["-m", "engine", "compare", str(stored[0])]
    panel.view.value = "robustness"
    panel.mean.setChecked(True)
    with qtbot.waitSignal(panel.process.succeeded, timeout=120_000):
        panel.export_to(tmp_path / "out", ("svg",))
    recipe = json.loads((tmp_path / "out" / "recipe.json").read_text(encoding="utf-8"))
    assert [each["folder"] for each in recipe["runs"]] == [str(folder) for folder in stored[:2]]
    assert recipe["comparison"]["mean"] is True
    assert (tmp_path / "out/robustness/robustness.mean.csv").is_file()
    assert panel.bar.isHidden()


def test_runs_that_cannot_be_compared_are_said(
    panel: ComparePanel, stored: list[Path], tmp_path: Path, qtbot: QtBot
) -> None:
    (tmp_path / "none").mkdir()
    panel.compare([stored[0], tmp_path / "none"])
    qtbot.waitUntil(lambda: "is not a run folder" in panel.pages.message.text(), timeout=20_000)
    panel.mean.setChecked(True)
    panel.compare([stored[0], stored[2]])
    qtbot.waitUntil(lambda: "mean: no two of these runs" in panel.pages.message.text(), timeout=20_000)
