"""Small promises of the window that go wrong unseen: undo, export, files of two runs, the display's share of time."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from PySide6.QtGui import QUndoStack
from pytestqt.qtbot import QtBot

from engine.run.commands import SaveCheckpoint
from engine.run.snapshot import Snapshot
from fp_gui import export, undo
from fp_gui.bridge import controller as bridge
from fp_gui.bridge.controller import Controller
from fp_gui.bridge.requests import Answer
from fp_gui.export import Exporter, ExportRequest
from fp_gui.undo import KnobChange
from fp_gui.views.claims import ClaimsView
from fp_gui.views.race import RaceView
from fp_gui.views.task_view import TaskView
from tests.engine.test_race_figure import CLAIMS, RACE
from tests.gui.fakes import FakeFactory, NeuronsFake
from tests.gui.test_bridge import started
from tests.gui.test_claims_view import make

Then = Callable[[Answer], None]

# --- undo


class Clock:
    """A clock that is set by hand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(undo.time, "monotonic", lambda: self.now)


def edits(clock: Clock, *edits: tuple[float, str, float, float]) -> tuple[QUndoStack, list[tuple[str, object]]]:
    """A stack to which changes (seconds after the one before, knob, old, new) were pushed; and what was sent."""
    sent: list[tuple[str, object]] = []
    stack = QUndoStack()
    for pause, path, old, new in edits:
        clock.now += pause
        stack.push(KnobChange(path, old, new, lambda path, value: sent.append((path, value))))
    return stack, sent


def test_nudges_that_follow_at_once_are_one_change(monkeypatch: pytest.MonkeyPatch) -> None:
    stack, sent = edits(Clock(monkeypatch), (0, "a", 1, 2), (0.7, "a", 2, 3), (0.7, "a", 3, 4))
    assert stack.count() == 1
    stack.undo()
    stack.redo()
    assert sent == [("a", 2), ("a", 3), ("a", 4), ("a", 1), ("a", 4)]


@pytest.mark.parametrize("pause", [0.9, 5.0, 3600.0])
def test_an_edit_after_a_pause_is_a_change_of_its_own(monkeypatch: pytest.MonkeyPatch, pause: float) -> None:
    stack, sent = edits(Clock(monkeypatch), (0, "a", 1, 2), (pause, "a", 2, 3), (0.1, "b", 5, 6), (0.1, "a", 3, 4))
    assert stack.count() == 4
    sent.clear()
    for _ in range(4):
        stack.undo()
    assert sent == [("a", 3), ("b", 5), ("a", 2), ("a", 1)]
    for _ in range(4):
        stack.redo()
    assert sent[4:] == [("a", 2), ("a", 3), ("b", 6), ("a", 4)]


# --- export

ENGINE = "print('progress 0.5 half')"


class Saves:
    """Checkpoints that are answered when the test says so."""

    def __init__(self) -> None:
        self.waiting: list[Then] = []

    def __call__(self, then: Then) -> None:
        self.waiting.append(then)

    def answer(self, folder: Path, step: int) -> None:
        self.waiting.pop(0)(Answer(1, SaveCheckpoint(), folder=folder, step=step))


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, tuple[str, ...]]]:
    """Step and views of each process that was started in place of the engine."""
    found: list[tuple[int, tuple[str, ...]]] = []

    def line(run: Path, step: int, request: ExportRequest) -> list[str]:
        found.append((step, tuple(request.views)))
        return ["-c", ENGINE if "slow" not in request.views else "import time; time.sleep(60)"]

    monkeypatch.setattr(export, "arguments", line)
    return found


def test_what_was_cancelled_is_never_drawn_and_the_next_request_is(
    qtbot: QtBot, tmp_path: Path, drawn: list[tuple[int, tuple[str, ...]]]
) -> None:
    saves = Saves()
    exporter = Exporter(saves)
    said: list[str] = []
    exporter.failed.connect(lambda text, details: said.append(text))
    exporter.request(ExportRequest({"neurons": {}, "mixtures": {}}, tmp_path))
    exporter.cancel()
    assert not exporter.busy
    assert len(said) == 1
    exporter.request(ExportRequest({"race": {}}, tmp_path))
    saves.answer(tmp_path, 3)  # the one that was cancelled
    assert drawn == []
    with qtbot.waitSignal(exporter.done, timeout=10_000):
        saves.answer(tmp_path, 4)
    assert drawn == [(4, ("race",))]
    assert not exporter.busy
    assert len(said) == 1
    exporter.cancel()  # nothing is under way
    assert len(said) == 1


def test_cancel_while_drawing_ends_the_process_and_says_so_once(
    qtbot: QtBot, tmp_path: Path, drawn: list[tuple[int, tuple[str, ...]]]
) -> None:
    saves = Saves()
    exporter = Exporter(saves)
    done: list[str] = []
    exporter.done.connect(done.append)
    exporter.request(ExportRequest({"slow": {}}, tmp_path))
    saves.answer(tmp_path, 5)
    with qtbot.waitSignal(exporter.failed, timeout=10_000) as met:
        exporter.cancel()
    assert "cancelled" in met.args[0]
    assert (exporter.busy, done) == (False, [])
    exporter.request(ExportRequest({"race": {}}, tmp_path))
    with qtbot.waitSignal(exporter.done, timeout=10_000):
        saves.answer(tmp_path, 6)
    assert drawn == [(5, ("slow",)), (6, ("race",))]


# --- a file in two runs' folders


@pytest.mark.parametrize(
    ("kind", "one", "other"),
    [
        (RaceView, RACE, RACE | {"network": RACE["network"] | {"robust": 0.81}}),
        (ClaimsView, CLAIMS, [CLAIMS[0] | {"title": CLAIMS[0]["title"].replace("not", "NOT")}, *CLAIMS[1:]]),
    ],
)
def test_a_file_of_the_same_size_and_time_in_another_runs_folder_is_another_file(
    qtbot: QtBot, tmp_path: Path, kind: type[TaskView], one: object, other: object
) -> None:
    folders = [tmp_path / "one", tmp_path / "two", tmp_path / "none"]
    for folder, content in zip(folders, (one, other), strict=False):
        folder.mkdir()
        file = folder / kind.file
        file.write_text(json.dumps(content), encoding="utf-8")
        os.utime(file, ns=(10**18, 10**18))
    assert len({(folder / kind.file).stat().st_size for folder in folders[:2]}) == 1
    view, read = kind(), list[Path]()
    qtbot.addWidget(view)
    keep = view.read
    view.read = lambda folder: (read.append(folder), keep(folder))[1]  # type: ignore[method-assign]
    view.show()
    for run, folder in enumerate((folders[0], folders[1], folders[2], folders[0])):
        view.render(make(folder, run=str(run)))
    assert read == [folders[0], folders[1], folders[2], folders[0]]
    view.render(make(folders[0], 2100, run="3"))
    view.refresh()
    assert len(read) == 4  # the same file is not read again …
    os.utime(folders[0] / kind.file, ns=(10**18 + 10**9, 10**18 + 10**9))
    view.refresh()
    assert len(read) == 5  # … until it has changed


# --- the display's share of time


class Costly(NeuronsFake):
    """A view whose drawing costs so many seconds of the window's time."""

    cost = 0.02

    def render(self, snapshot: Snapshot) -> None:  # type: ignore[override]
        super().render(snapshot)
        end = time.thread_time() + self.cost
        while time.thread_time() < end:
            pass


@pytest.fixture
def costly(qtbot: QtBot) -> Costly:
    view = Costly()
    qtbot.addWidget(view)
    view.show()
    return view


@pytest.mark.parametrize(("share", "least", "most"), [(0.1, 0.2, bridge.SLOWEST), (0.5, 0.033, 0.2)])
def test_pictures_that_cost_more_come_less_often(
    qtbot: QtBot, costly: Costly, share: float, least: float, most: float
) -> None:
    """While playing, the pause between two pictures is what the last ones cost, divided by the display's share."""
    factory = FakeFactory()
    made = Controller(factory, share=share)
    try:
        made.set_views([costly])
        started(made, qtbot)
        made.play()
        qtbot.waitUntil(lambda: len(costly.seen) >= 6, timeout=30_000)
        assert least <= made._interval <= most
        first, begin = len(costly.seen), time.perf_counter()
        qtbot.waitUntil(lambda: len(costly.seen) >= first + 3, timeout=30_000)
        assert time.perf_counter() - begin >= 2 * least - 0.05  # and that long it does wait
        made.pause()
        qtbot.waitUntil(lambda: not made.playing)
        made.step_once()
        qtbot.waitUntil(lambda: made._interval == bridge.FRAME)  # paused, the picture of a step comes at once
    finally:
        made.close()


def test_cheap_pictures_come_thirty_times_a_second_and_dear_ones_at_least_once(
    qtbot: QtBot, costly: Costly, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bridge, "SLOWEST", 0.15)
    made = Controller(FakeFactory(), share=0.01)
    try:
        made.set_views([costly])
        started(made, qtbot)
        made.play()
        qtbot.waitUntil(lambda: len(costly.seen) >= 4, timeout=30_000)
        assert made._interval == 0.15
        costly.cost, made.share = 0.0, 1.0
        qtbot.waitUntil(lambda: made._interval <= 0.04, timeout=30_000)
        assert made._interval >= bridge.FRAME
    finally:
        made.close()


def test_two_cores_leave_the_display_less(qtbot: QtBot, monkeypatch: pytest.MonkeyPatch) -> None:
    shares = []
    for cores in (1, 2, 3, 16):
        monkeypatch.setattr(bridge, "cores_available", lambda cores=cores: cores)
        made = Controller(FakeFactory())
        shares.append(made.share)
        made.close()
    assert shares == [0.07, 0.07, 0.2, 0.2]
