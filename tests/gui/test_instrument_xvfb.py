"""The window as an instrument that remembers, in a real window by keys and mouse: time, branches, watching, leaving."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import psutil
import pytest

from engine import worlds
from engine.run.store import Store
from tests.real_window import ROOT, RealWindow, SeenTimeline, like, needs_a_screen, real_window, virtual_screen
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

    window.wait(met, what)
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
        for _ in range(3):  # one after the other: what is looked for is where the last one leads
            window.xdo("key", "bracketleft")
            time.sleep(1)
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


@pytest.fixture(scope="module")
def two_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds "runs" with two finished runs that differ in a knob."""
    folder = tmp_path_factory.mktemp("two")
    for name, tau in (("first", 0.2), ("second", 0.1)):
        run(tiny_config(**{"attack.tau": tau}), folder / "runs" / name)
    return folder


def test_compare_two_present_one_and_larger_text(screen: str, two_runs: Path) -> None:
    out = two_runs / "compared"
    out.mkdir()
    with real_window(screen, two_runs, str(two_runs / "runs" / "first"), "--theme", "light") as window:
        window.focus()
        look(window, "the run", lambda seen: seen.now and seen.at > 0.99)
        window.command("Go to Compare")
        before = window.pixels()
        window.xdo("key", *["Tab"] * 5)  # view, curve, mean, Refresh, the runs
        window.xdo("key", "space", "Down", "space")
        orange = (0xD5, 0x5E, 0x00)  # the second run's
        already = like(before, orange, 0).sum()
        window.wait(lambda: like(window.pixels(), orange, 0).sum() - already > 200, "its curves")
        window.xdo("key", "shift+Tab", "space")  # Export…
        window.focus("Export the comparison")
        window.xdo("key", "ctrl+a")
        window.xdo("type", str(out))
        window.xdo("key", "Return")
        window.wait((out / "robustness" / "robustness.pdf").exists, "the export")
        window.wait(window.idle, "the end of the export")
        window.focus()

        window.command("Go to Neurons")
        before, bar = window.pixels(), window.timeline()
        window.xdo("key", "F11")
        window.wait(lambda: full(before, window.pixels()), "a view on the whole screen")
        window.xdo("key", "Escape")
        look(window, "the window again", lambda seen: place_of(seen) == place_of(bar))
        window.wait(lambda: not full(before, window.pixels()), "the view back in its place")
        window.focus()
        window.xdo("key", "ctrl+equal", "ctrl+equal")
        look(window, "larger text", lambda seen: seen.left > bar.left + 5)
        window.xdo("key", "ctrl+0")
        look(window, "text of its own size", lambda seen: place_of(seen) == place_of(bar))
        window.quit()
    written = {file.name for file in (out / "robustness").iterdir()}
    assert {"robustness.pdf", "robustness.svg", "robustness.png", "robustness.csv", "caption.txt"} <= written
    recipe = json.loads((out / "recipe.json").read_text())
    folders = {each["name"]: Path(each["folder"]) for each in recipe["runs"]}
    assert folders == {"tau 0.2": two_runs / "runs" / "first", "tau 0.1": two_runs / "runs" / "second"}
    with (out / "robustness" / "robustness.csv").open(newline="") as file:
        written_values = [row[:4] for row in csv.reader(file) if row[0] == "accuracy/pgd"]
    for name, folder in folders.items():
        stored = rows(folder, "SELECT step, value FROM metrics WHERE name = 'accuracy/pgd' ORDER BY step")
        assert [(int(step), float(value)) for _, run, step, value in written_values if run == name] == stored
    assert (out / "knobs.csv").read_text().splitlines()[1] == "attack.tau,0.2,0.1"


def place_of(seen: SeenTimeline) -> tuple[int, int, int]:
    """Where it is: its buttons and the bars above it take more room with larger text."""
    return seen.left, seen.right, seen.middle


def full(before: np.ndarray, now: np.ndarray) -> bool:
    """Whether something stands where the window leaves the screen free: at the right and below."""
    free = before[-20:, -20:]
    return not free.any() and bool((now[-20:, -20:] > 0).mean() > 0.9)


def writing(pid: int, folder: Path) -> list[str]:
    """The files below ``folder`` that the process has open to write; SQLite's readers open its log that way, too."""
    found = [f.path for f in psutil.Process(pid).open_files() if f.path.startswith(str(folder)) and f.mode != "r"]
    return [path for path in found if not path.endswith(("-shm", "-wal"))]


def files(folder: Path) -> set[str]:
    """What lies in a run folder, SQLite's log aside."""
    every = (file for file in folder.rglob("*") if not file.name.endswith(("-shm", "-wal")))
    return {str(file.relative_to(folder)) for file in every if file.is_file()}


def test_watch_a_run_of_another_process(screen: str, tmp_path: Path, preset: str) -> None:
    folder = tmp_path / "elsewhere"
    engine = [sys.executable, "-m", "engine", "run"]
    session = worlds.create(tiny_config(**{"schedule.clean_steps": 1500, "schedule.second_steps": 500}), folder)
    advance(session, 100)
    session.close()
    with real_window(screen, tmp_path, str(folder), "--watch", "--theme", "light") as window:
        window.focus()
        first = look(window, "the run", lambda seen: seen.now)
        assert abs(first.at - 100 / 2000) < 0.01
        line = [*engine, "--out", str(folder), "--resume"]
        with (tmp_path / "errors").open("w") as errors:
            trainer = subprocess.Popen(line, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=errors)
        try:
            seen = look(window, "steps of the other process", lambda seen: seen.now and seen.at > 0.2)
            open_files = writing(window.process.pid, folder)
            window.xdo("key", "bracketleft")
            back = look(window, "an earlier step", lambda seen: not seen.now)
            assert trainer.wait(120) == 0, (tmp_path / "errors").read_text()
            open_files += writing(window.process.pid, folder)
            later = look(window, "the end of the run", lambda seen: seen.adversarial > 0.2)
            assert not later.now
            assert abs(later.at - back.at) < 0.002
            assert later.clean > seen.clean
            window.xdo("key", "n")
            look(window, "its last step", lambda seen: seen.now and seen.at > 0.995)
            assert not window.runs.exists() or not list(window.runs.iterdir())
            left = files(folder)
            window.quit()
        finally:
            trainer.kill()
            trainer.wait(10)
    assert open_files == []
    said = (tmp_path / "errors").read_text().splitlines()
    assert [line for line in said if "ETA" not in line] == []  # nothing but its progress
    assert files(folder) == left
    assert {Path(name).parts[0] for name in left} == {
        "config.json", "run.sqlite", "summary.json", "checkpoints", "frames",
    }  # fmt: skip
    with closing(Store.open(folder)) as store:  # nothing holds it any more
        assert store.load().step == 2000


def test_close_while_everything_goes_on(screen: str, tmp_path: Path, preset: str) -> None:
    with real_window(screen, tmp_path, preset, "--autoplay", "--theme", "light") as window:
        window.focus()
        folder = window.run_folder()
        window.wait(lambda: step_of(folder) > 200, "200 steps")
        window.command("Animate")
        window.focus("Animate")
        window.xdo("key", "Return")
        window.focus()
        window.xdo("key", "ctrl+e")
        window.focus("Export figures")
        window.xdo("key", "Return")
        window.wait(lambda: len(children(window)) == 2, "an export and an animation")
        window.focus()
        window.xdo("key", "braceleft")  # plays the stored steps backwards
        look(window, "earlier steps", lambda seen: not seen.now)
        window.xdo("key", "ctrl+q")
        window.focus("Close the window")
        others = children(window)
        window.xdo("key", "Return")  # Stay
        window.wait(lambda: not window.found("Close the window"), "the end of the question")
        before = step_of(folder)
        window.wait(lambda: step_of(folder) > before, "training that goes on")
        assert others, "both had ended before they were asked about"
        window.focus()
        window.xdo("key", "ctrl+q")
        window.wait(lambda: bool(window.found("Close the window")), "the question again")
        window.focus("Close the window")
        window.xdo("key", "Tab", "space")  # Close
        assert window.process.wait(60) == 0, window.said()
        assert window.said() == ""
    assert not [each for each in others if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]
    step = step_of(folder)
    session = worlds.resume(folder)
    try:
        assert session.steps_done >= step > 200
        session.step()
    finally:
        session.close()
    assert json.loads((folder / "config.json").read_text())["config"]["schedule"]["clean_steps"] == 3000
    assert not [file for file in folder.rglob("*") if file.suffix in (".tmp", ".part")]


def children(window: RealWindow) -> list[psutil.Process]:
    return psutil.Process(window.process.pid).children()
