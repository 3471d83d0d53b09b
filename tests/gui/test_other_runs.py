"""Nothing of another run is shown as this run's: every view after two runs looks as after the second alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyqtgraph as pg  # type: ignore[import-untyped]
import pytest
import torch
from PySide6.QtWidgets import QLabel, QProgressBar, QSpinBox, QTableWidget, QWidget
from pytestqt.qtbot import QtBot

from engine import worlds
from engine.config.experiment import Config, from_dict, to_dict
from engine.run.commands import SwitchPhase
from engine.run.snapshot import Snapshot
from fp_gui.views.base import View, view_types
from fp_gui.views.gallery import ColourBar
from fp_gui.views.neurons import NeuronsView
from fp_gui.views.study_view import StudyView
from tests.tiny_image_runs import tiny_images
from tests.tiny_runs import tiny_config

TYPES = view_types()
QUICK = {"schedule.clean_steps": 6, "schedule.second_steps": 6, "evaluation.every": 4}


def seen_by_all(config: Config, folder: Path, steps: int) -> Snapshot:
    """A run's snapshot with every result that any view asks for, all of them measured."""
    wanted = frozenset[type]().union(*(each.wants for each in TYPES if config.kind in each.kinds))
    session = worlds.create(config, folder)
    while session.steps_done < steps:
        session.step()
    session.apply(SwitchPhase("clean"))
    session.apply(SwitchPhase("adversarial"))
    snapshot = session.snapshot(wanted)
    for turn in range(3000):
        if not session.measuring:
            break
        session.measure()
        if turn % 10 == 0:
            session.snapshot(wanted)  # what nobody asks for is given up
    snapshot = session.snapshot(wanted)
    session.close()
    missing = [kind.__name__ for kind in wanted if snapshot.get(kind) is None]
    assert set(missing) <= {"Features", "Filters"}, missing  # the latter is wanted by a view of both kinds
    return snapshot


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, tuple[Snapshot, Snapshot]]]:
    """By kind of run: a larger one, and a smaller one in another world with fewer steps."""
    grad, threads = torch.is_grad_enabled(), torch.get_num_threads()
    root = tmp_path_factory.mktemp("runs")
    small = to_dict(tiny_config()) | {"seed": 3}
    small["world"] |= {"d": 9}
    small["model"] |= {"m": 12}
    digits = to_dict(tiny_images(**QUICK, **{"attack.tau": 0.4})) | {"seed": 3}
    digits["model"] |= {"width": 4}
    found = {
        "sparse_coding": (
            seen_by_all(tiny_config(**{"evaluation.certify_every": 10}), root / "a", 60),
            seen_by_all(from_dict(small), root / "b", 45),
        ),
        "images": (
            seen_by_all(tiny_images(**QUICK), root / "c", 9),
            seen_by_all(from_dict(digits), root / "d", 8),
        ),
    }
    yield found
    torch.set_grad_enabled(grad)
    torch.set_num_threads(threads)


def numbers(values: Any) -> Any:
    return None if values is None else np.round(np.nan_to_num(np.asarray(values, float).ravel()), 6).tolist()


def plotted(item: Any) -> Any:
    """What an item of a plot draws."""
    if isinstance(item, (pg.PlotCurveItem, pg.ScatterPlotItem)):
        return tuple(numbers(part) for part in item.getData())
    if isinstance(item, pg.BarGraphItem):
        return numbers(item.opts["x"]), numbers(item.opts["height"])
    if isinstance(item, pg.InfiniteLine):
        return numbers(item.value())
    if isinstance(item, pg.TextItem):
        return item.toPlainText(), numbers([item.pos().x(), item.pos().y()])
    if isinstance(item, pg.ImageItem):
        return None if item.image is None else (item.image.shape, int(np.asarray(item.image, np.int64).sum()))
    return None


def drawn(widget: QWidget) -> list[Any]:
    """What one part of a view shows."""
    if isinstance(widget, QLabel):
        return [widget.text(), widget.isHidden()] if widget.text() else []
    if isinstance(widget, QProgressBar):
        return [widget.value(), widget.isHidden()]
    if isinstance(widget, QSpinBox):
        return [widget.minimum(), widget.maximum(), widget.value()]
    if isinstance(widget, QTableWidget):
        cells = [widget.item(r, c) for r in range(widget.rowCount()) for c in range(widget.columnCount())]
        return [cell.text() if cell is not None else "" for cell in cells]
    if isinstance(widget, ColourBar):
        return [widget.texts()]
    if isinstance(widget, pg.GraphicsView):
        items = [i for i in widget.scene().items() if isinstance(i, pg.GraphicsObject) and i.isVisible()]
        shown = [(type(i).__name__, plotted(i)) for i in items if plotted(i) is not None]
        boxes = [i for i in widget.scene().items() if isinstance(i, pg.ViewBox)]
        ranges = [numbers(box.viewRange()) for box in boxes]
        if any(name == "ImageItem" for name, _ in shown):
            ranges = []  # follows from the size of the widget
        full = any(part not in (None, [], ([], [])) for name, part in shown if name != "InfiniteLine")
        return [sorted(shown, key=repr), ranges if full else [], widget.toolTip()]
    return []


def state(view: View) -> list[tuple[str, list[Any]]]:
    """All that a view shows, part by part."""
    parts = [(type(w).__name__, drawn(w)) for w in view.findChildren(QWidget) if w.isVisibleTo(view)]
    return [part for part in parts if part[1]]


def made(qtbot: QtBot, kind: type[View]) -> View:
    view = kind()
    qtbot.addWidget(view)
    view.resize(700, 520)
    view.show()
    return view


def same(left: list[tuple[str, list[Any]]], right: list[tuple[str, list[Any]]]) -> None:
    differing = [(a, b) for a, b in zip(left, right, strict=False) if a != b]
    assert not differing, differing[0]
    assert len(left) == len(right)


CASES = [(kind, each) for each in TYPES for kind in each.kinds]
NAMES = [f"{each.name}-{kind}" for kind, each in CASES]


@pytest.mark.parametrize(("kind", "view_type"), CASES, ids=NAMES)
def test_after_another_run_a_view_looks_as_if_it_had_seen_that_alone(
    qtbot: QtBot, runs: dict[str, tuple[Snapshot, Snapshot]], kind: str, view_type: type[View]
) -> None:
    before, after = runs[kind]
    bare = dataclasses.replace(after, results={})  # as while nothing is measured yet
    view, fresh = made(qtbot, view_type), made(qtbot, view_type)
    empty = state(fresh)
    view.render(before)
    view.highlight(3)
    assert state(view) != empty or issubclass(view_type, StudyView)  # nobody asked for a study
    view.forget()  # as the window does with every view, hidden ones too
    same(state(view), empty)
    view.render(before)
    view.highlight(3)
    for snapshot in (bare, after):  # and if nobody had said that the run is another
        view.render(snapshot)
        fresh.render(snapshot)
        same(state(view), state(fresh))


def test_the_inspector_turns_to_a_neuron_that_there_is(
    qtbot: QtBot, runs: dict[str, tuple[Snapshot, Snapshot]]
) -> None:
    before, after = runs["sparse_coding"]
    view = made(qtbot, NeuronsView)
    assert isinstance(view, NeuronsView)
    view.render(before)
    view.choose(23)
    view.render(after)  # of 12 neurons
    assert view.inspector.neuron == view.inspector.number.value() == view.order[0]
    assert view.inspector.record[-1][0] == after.step
    view.choose(7)
    view.render(before)
    assert view.inspector.neuron == 7  # which this run has, too
    assert [row[0] for row in view.inspector.record] == [before.step]
