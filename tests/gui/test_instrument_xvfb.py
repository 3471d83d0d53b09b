"""The window as an instrument that remembers, in a real window by keys and mouse: time, branches, watching, leaving."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import psutil
import pytest

from engine import worlds
from engine.run.store import Store
from tests.real_window import ROOT, TITLE, RealWindow, SeenTimeline, needs_a_screen, real_window, virtual_screen
from tests.tiny_runs import advance, run, table, tiny_config

pytestmark = [pytest.mark.window, needs_a_screen, pytest.mark.timeout(400)]

PRESET = """
device = "cpu"
threads = 1
[world]
d = 16
[model]
m = 24
[training]
batch_size = 32
[schedule]
clean_steps = 3000
second_steps = 3000
[evaluation]
every = 10
size = 32
steps = 3
report_size = 48
report_steps = 4
report_restarts = 2
[storage]
checkpoint_every = 100
"""
TOTAL = 6000
ONE_STEP = 1.5 / TOTAL


@pytest.fixture(scope="module")
def screen() -> Iterator[str]:
    with virtual_screen() as name:
        yield name


@pytest.fixture
def preset(tmp_path: Path) -> str:
    file = tmp_path / "tiny.toml"
    file.write_text(PRESET)
    return str(file)


def rows(folder: Path, query: str) -> list[tuple[object, ...]]:
    try:
        return table(folder, query)
    except Exception:  # it is being made
        return []


def step_of(folder: Path) -> int:
    return int(str((rows(folder, "SELECT max(step) FROM metrics") or [(0,)])[0][0] or 0))


def changes(folder: Path, name: str) -> list[tuple[object, ...]]:
    return rows(folder, f"SELECT old, new FROM events WHERE name = '{name}' ORDER BY id")


def pause(window: RealWindow, folder: Path) -> int:
    """Presses Space while it plays; the step at which it stands then, as far as it is recorded."""
    window.xdo("key", "space")
    steps = [-1]

    def stands() -> bool:
        steps.append(step_of(folder))
        return len(steps) > 5 and len(set(steps[-5:])) == 1

    window.wait(stands, "the end of playing")
    return steps[-1]


def look(window: RealWindow, what: str, condition: object) -> SeenTimeline:
    """Waits until the timeline is as it should be."""
    seen: list[SeenTimeline] = []

    def met() -> bool:
        seen.append(window.timeline())
        return bool(condition(seen[-1]))  # type: ignore[operator]

    window.wait(met, what, 20)
    return seen[-1]


def test_play_switch_undo_scrub_and_branch(screen: str, tmp_path: Path, preset: str) -> None:
    with real_window(screen, tmp_path, preset, "--theme", "light") as window:
        window.focus()
        parent = window.run_folder()
        window.xdo("key", "space")
        window.wait(lambda: step_of(parent) > 150, "150 steps")
        window.command("training.lr")
        window.xdo("key", "ctrl+a")
        window.xdo("type", "0.75")
        window.xdo("key", "Return")
        window.wait(lambda: changes(parent, "training.lr") == [("1.5", "0.75")], "the change of the learning rate")
        window.xdo("key", "ctrl+z")
        window.wait(lambda: changes(parent, "training.lr")[1:] == [("0.75", "1.5")], "the change taken back")
        window.command("Go to Neurons")
        window.xdo("key", "t")
        window.wait(lambda: changes(parent, "phase") == [("clean", "adversarial")], "the switch")
        switched = step_of(parent)
        window.wait(lambda: step_of(parent) > switched + 150, "150 steps more")
        stands = pause(window, parent)
        window.wait(lambda: step_of(parent) == stands, "the record")

        live = look(window, "the present", lambda seen: seen.now)
        assert abs(live.at * TOTAL - stands) < 40
        assert live.clean > 0.02
        assert live.adversarial > 0.01
        before = window.pixels()
        for _ in range(3):
            window.xdo("key", "bracketleft")
        back = look(window, "an earlier step", lambda seen: not seen.now and seen.at < live.at)
        window.xdo("key", "bracketright")
        look(window, "a later step", lambda seen: back.at < seen.at < live.at)
        window.click(live.x(120 / TOTAL), live.middle)
        far = look(window, "the step that was clicked at", lambda seen: abs(seen.at - 120 / TOTAL) < 24 / TOTAL)
        assert not far.now
        window.wait(lambda: changed(before, window.pixels(), live) > 0.01, "views of that step")
        window.xdo("key", "n")
        look(window, "the present again", lambda seen: seen.now and abs(seen.at - live.at) < ONE_STEP)
        window.click(live.x(120 / TOTAL), live.middle)
        look(window, "that step again", lambda seen: not seen.now)
        assert step_of(parent) == stands  # looking trains nothing

        window.xdo("key", "ctrl+b")
        window.focus("Branch ")
        window.xdo("key", "Return")
        child = parent.with_name(f"{parent.name}-from-100")  # the checkpoint before the step looked at
        window.wait(child.is_dir, "the branch")
        window.wait(lambda: bool(window.found(child.name)), "the branch in the window")
        window.focus()
        window.xdo("key", "space")
        window.wait(lambda: step_of(child) > 150, "steps of the branch")
        window.quit()
    with closing(Store.open(child, read_only=True)) as store:
        origin = store.config.branch
        assert (Path(origin.parent), origin.step) == (parent, 100)
        assert store.load().step > 150
        assert [event.step for event in store.events() if event.name == "branch"] == [100]
        assert not [event for event in store.events() if event.name in ("training.lr", "phase")]
    with closing(Store.open(parent, read_only=True)) as store:
        assert store.load().config.training.lr == 1.5
        assert step_of(parent) == stands


def changed(before: np.ndarray, after: np.ndarray, timeline: SeenTimeline) -> float:
    """The share of the pixels of the views that have changed."""
    views = slice(timeline.middle + 30, None), slice(timeline.left, None)
    return float((before[views] != after[views]).any(-1).mean())
