"""A new probe with a view and a figure is one file: measured, offered, wanted, rendered and exported once imported."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from pytestqt.qtbot import QtBot

from engine import worlds
from engine.cli.main import run_command_line
from engine.config.experiment import IMAGES, SPARSE_CODING, Config
from engine.figures.base import figures
from engine.run.live import live_probes
from engine.run.store import Store
from fp_gui.bridge.controller import Controller
from fp_gui.theme import DARK
from fp_gui.views.base import View, view_types, views
from tests.gui.conftest import _no_thread_left, isolated, qapp_args  # noqa: F401 - what holds for every window
from tests.tiny_image_runs import tiny_images
from tests.tiny_runs import drain, run, tiny_config

NAME = "tests.examples.probe_with_view"
CONFIGS: dict[str, Config] = {"theory": tiny_config(), "images": tiny_images(**{"schedule.clean_steps": 6})}


@pytest.fixture(autouse=True)
def example() -> Iterator[ModuleType]:
    """The example, imported for one test; afterwards nothing is left of it."""
    module = import_module(NAME)
    yield module
    for kind in (SPARSE_CODING, IMAGES):
        live_probes[kind].remove("WeightNorms")
    views.remove("weight_norms")
    figures.remove("weight_norms")
    del sys.modules[NAME]


@pytest.mark.parametrize("world", CONFIGS)
def test_sessions_measure_it_for_whoever_asks(example: ModuleType, world: str, tmp_path: Path) -> None:
    session = worlds.create(CONFIGS[world], tmp_path / "run")
    assert session.snapshot().results == {}
    session.step()
    found = session.snapshot(frozenset({example.WeightNorms})).get(example.WeightNorms)
    assert found is not None
    assert (found.step, len(found.norms)) == (1, {"theory": 24, "images": 8}[world])
    assert session.problems == ()
    drain(session)
    session.close()


def test_the_window_offers_it() -> None:
    assert "weight_norms" in [view.name for view in view_types()]
    assert view_types()[-1].title == "Weight norms"
    assert "weight_norms" in figures


@pytest.mark.parametrize("world", CONFIGS)
def test_the_controller_wants_it_and_a_snapshot_of_the_run_shows_it(
    example: ModuleType, world: str, qtbot: QtBot, tmp_path: Path
) -> None:
    kind: type[View] = views["weight_norms"]
    view = kind()
    qtbot.addWidget(view)
    view.set_theme(DARK)
    view.show()
    qtbot.waitExposed(view)
    controller = Controller(worlds, tmp_path / "runs")
    try:
        controller.set_views([view])
        with qtbot.waitSignal(controller.run_changed):
            controller.reset(CONFIGS[world], "example")
        units = {"theory": 24, "images": 8}[world]
        qtbot.waitUntil(lambda: view.curve.yData.sum() == units)  # type: ignore[attr-defined]
        before = view.curve.xData[-1]  # type: ignore[attr-defined]
        for _ in range(3):
            controller.step_once()
        qtbot.waitUntil(lambda: view.curve.xData[-1] != before)  # type: ignore[attr-defined]
    finally:
        controller.close()
    assert view.options() == {"bins": "12"}


@pytest.mark.parametrize("world", CONFIGS)
def test_the_figure_is_exported(world: str, tmp_path: Path) -> None:
    record = run(CONFIGS[world], tmp_path / "run", until=2)
    out = tmp_path / "figures"
    words = ["export", str(tmp_path / "run"), "--view", "weight_norms", "--option", "bins=5", "--out", str(out)]
    assert run_command_line(words) == 0
    table = np.genfromtxt(out / "weight_norms" / "weight_norms.csv", delimiter=",", skip_header=1)
    weight = record.arrays["weight" if world == "theory" else "now.conv1.weight"]
    counts, edges = np.histogram(np.linalg.norm(weight.reshape(len(weight), -1), axis=1), 5)
    assert table[:, 2].tolist() == counts.tolist()
    np.testing.assert_allclose(table[:, 0], edges[:-1], rtol=1e-5)
    for form in ("png", "svg", "pdf"):
        assert (out / "weight_norms" / f"weight_norms.{form}").stat().st_size > 1000


def test_a_wrong_option_is_refused_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(CONFIGS["theory"], tmp_path / "run", until=1)
    words = ["export", str(tmp_path / "run"), "--view", "weight_norms", "--option", "bins=few", "--out", "nowhere"]
    assert run_command_line(words) == 2
    assert "bins: got 'few'; allowed: a whole number from 1" in capsys.readouterr().err


def test_nothing_of_it_is_left_in_the_run(tmp_path: Path) -> None:
    """What is measured for a view is never recorded."""
    run(CONFIGS["theory"], tmp_path / "run", until=1)
    store = Store.open(tmp_path / "run", read_only=True)
    assert not [name for name in store.names() if "norms" in name]
    store.close()
