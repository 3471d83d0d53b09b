"""What a person waits for who looks at what is there: scrubbing, opening a long run, a figure, an animation; and rest.

Each measurement is a task of :mod:`tests.bench.window`, a process of its own, or the real command.
"""

from __future__ import annotations

import random
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests import trial_data
from tests.bench.measure import FULL, Result, Sizes
from tests.bench.screen import screen
from tests.bench.window import task

if TYPE_CHECKING:  # a task imports torch, and then Qt, when it needs them
    from engine.config.experiment import Config
    from tests.bench.window import Opened

PER_CLASS = 60  # trial images of each class, where scrubbing is measured on images
EVALUATED = 25  # steps between two live evaluations of a long run


# --- tasks, each in a process of its own


def scrub(preset: str, steps: int) -> dict[str, Any]:
    """Look at stored steps of a run of ``preset`` in any order; milliseconds until each is painted, and of CPU time."""
    with tempfile.TemporaryDirectory() as home:
        folder = trained(configured(preset, steps, Path(home)), Path(home) / "run", 2 * steps)
        opened = open_window(preset, steps)
        opened.load(folder)
        known = [each.step for each in opened.controller.stored_steps]
        order = random.Random(0).sample(known, min(len(known), 25))
        found = []
        for step in order:
            start, cpu = time.perf_counter(), time.process_time()
            opened.controller.look(step)
            opened.wait(lambda step=step: opened.shown() == step)  # type: ignore[misc]
            found.append(((time.perf_counter() - start) * 1000, (time.process_time() - cpu) * 1000))
        views = opened.visible
        opened.close()
    return {"ms": [each[0] for each in found], "cpu_ms": [each[1] for each in found], "views": views}


def open_long(preset: str, steps: int) -> dict[str, Any]:
    """Open a run of so many steps: seconds until the engine can go on with it, and until the window has drawn it."""
    from engine import worlds

    with tempfile.TemporaryDirectory() as home:
        folder = Path(home) / "run"
        rows = long_run(configured(preset, 1, Path(home)), folder, steps)
        start, cpu = time.perf_counter(), time.process_time()
        worlds.resume(folder).close()
        engine = time.perf_counter() - start, time.process_time() - cpu
        opened = open_window("small", 1)
        start, cpu = time.perf_counter(), time.process_time()
        opened.load(folder)
        window = time.perf_counter() - start, time.process_time() - cpu
        assert opened.shown() == steps
        opened.close()
    return {"rows": rows, "engine": engine, "window": window}


def idle(preset: str, steps: int, seconds: float) -> dict[str, Any]:
    """The share of one core that the window takes with a run open, paused after ``steps`` steps of each phase."""
    with tempfile.TemporaryDirectory() as home:
        folder = trained(configured(preset, steps, Path(home)), Path(home) / "run", 2 * steps)
        opened = open_window(preset, steps)
        opened.load(folder)
        opened.pass_time(seconds / 2)  # until what is measured late is measured
        start, cpu = time.perf_counter(), time.process_time()
        opened.pass_time(seconds)
        share = (time.process_time() - cpu) / (time.perf_counter() - start)
        opened.close()
    return {"share": share}


TASKS: dict[str, Callable[..., dict[str, Any]]] = {"scrub": scrub, "open_long": open_long, "idle": idle}


def open_window(preset: str, steps: int) -> Opened:
    """A window of ``preset``."""
    from tests.bench.window import Opened, TimedWorlds

    return Opened(TimedWorlds(steps), preset)


def configured(preset: str, steps: int, home: Path) -> Config:
    """The preset with ``steps`` steps a phase; one on CIFAR-10 with some of the trial images, put below ``home``."""
    from engine.config.experiment import from_dict, to_dict, with_value
    from engine.config.presets import load_preset

    made = to_dict(load_preset(preset))
    made["device"] = "cpu"
    if made["world"]["name"] == "cifar10":
        made["world"] = {"name": "image_folder", "folder": str(some_images(home / "images"))}
    found = from_dict(made)
    for name in ("schedule.clean_steps", "schedule.second_steps"):
        found = with_value(found, name, steps)
    return found


def some_images(folder: Path) -> Path:
    """The first trial images of each class, unpacked into ``folder``."""
    where = trial_data.find()
    assert where is not None
    taken: dict[str, int] = {}
    with zipfile.ZipFile(where) as file:
        for name in sorted(file.namelist()):
            place, _, _ = name.rpartition("/")
            if name.lower().endswith((".jpg", ".jpeg", ".png")) and taken.get(place, 0) < PER_CLASS:
                taken[place] = taken.get(place, 0) + 1
                file.extract(name, folder)
    return folder


def trained(config: Config, folder: Path, steps: int) -> Path:
    """A run of so many steps in ``folder``."""
    from engine import worlds

    session = worlds.create(config, folder)
    for _ in range(steps):
        session.step()
    while session.measuring:
        session.measure()
    session.close()
    return folder


def long_run(config: Config, folder: Path, steps: int) -> int:
    """A run whose record says that it took ``steps`` steps, though it took one; the number of its values."""
    from engine import worlds
    from engine.config.experiment import with_value
    from engine.core import metrics
    from engine.run.store import Store

    for name in ("schedule.clean_steps", "schedule.second_steps"):
        config = with_value(config, name, steps // 2)
    session = worlds.create(config, folder)
    session.step()
    while session.measuring:
        session.measure()
    session.steps_done = steps
    session.close()
    store = Store.open(folder)
    names = [name for name in store.names() if name not in (metrics.LOSS, metrics.TRAIN_ACCURACY)]
    draw = random.Random(0)
    every = [(s, name, draw.random()) for s in range(2, steps) for name in (metrics.LOSS, metrics.TRAIN_ACCURACY)]
    every += [(step, name, draw.random()) for step in range(EVALUATED, steps, EVALUATED) for name in names]
    store.record(every)
    store.close()
    return len(every)


# --- the measurements


def scrubbing(sizes: Sizes = FULL) -> Iterator[Result]:
    """Time until a stored step is painted (aim ≤ 100 ms on ``standard``, ≤ 200 ms on ``cifar10-filters``)."""
    for preset, aim in sizes.scrubbed:
        if preset.startswith("cifar") and trial_data.find() is None:
            yield Result(f"{preset}: scrubbing, without the trial images", None)
            continue
        with screen() as env:
            found = task("scrub", preset, str(sizes.scrub_steps), env=env)
        name = f"{preset}: a stored step is looked at until {len(found['views'])} views are painted"
        yield Result(f"{name}, median", statistics.median(found["ms"]), "ms", f"<= {aim} ms")
        yield Result("  the slowest", max(found["ms"]), "ms")
        yield Result("  CPU time of the process, median", statistics.median(found["cpu_ms"]), "ms")


def opening(sizes: Sizes = FULL) -> Iterator[Result]:
    """Time until a long run can go on, and until its window is drawn (aim ≤ 2 s)."""
    with screen() as env:
        found = task("open_long", "small", str(sizes.long_steps), env=env)
    for who, words in (("engine", "until it can go on"), ("window", "until the window has drawn it")):
        name = f"a run of {sizes.long_steps:,} steps, {found['rows']:,} values: opened {words}"
        yield Result(name, found[who][0], "s", "<= 2 s")
        yield Result("  CPU time of the process", found[who][1], "s")


def resting(sizes: Sizes = FULL) -> Iterator[Result]:
    """CPU time of the window while nothing happens (aim ≤ 2% of one core)."""
    with screen() as env:
        found = task("idle", sizes.window_preset, "40", str(sizes.idle_seconds), env=env)
    yield Result(f"{sizes.window_preset}: window that rests, share of one core", 100 * found["share"], "%", "<= 2 %")


def drawing(sizes: Sizes = FULL) -> Iterator[Result]:
    """The commands that draw, the start of their process included (aim ≤ 3 s a view, ≤ 20 s 60 frames)."""
    with tempfile.TemporaryDirectory() as home:
        run = trained(
            configured(sizes.window_preset, sizes.scrub_steps, Path(home)), Path(home) / "run", 2 * sizes.scrub_steps
        )
        for view in sizes.exported:
            yield from _timed(
                f"{sizes.window_preset}: export of {view}",
                "<= 3 s",
                "export",
                run,
                "--view",
                view,
                "--out",
                f"{home}/{view}",
            )
        frames = str(sizes.frames)
        yield from _timed(
            f"{sizes.window_preset}: animation of {frames} frames", "<= 20 s",
            "animate", run, "--view", "neurons", "--frames", frames, "--out", f"{home}/purify.gif",
        )  # fmt: skip


def _timed(name: str, aim: str, *arguments: str | Path) -> Iterator[Result]:
    import psutil

    start = time.perf_counter()
    process = psutil.Popen([sys.executable, "-m", "engine", *map(str, arguments)], stdout=subprocess.DEVNULL)
    cpu = 0.0
    while process.poll() is None:
        with suppress(psutil.Error):
            times = process.cpu_times()
            cpu = max(cpu, times.user + times.system)
        time.sleep(0.01)
    seconds = time.perf_counter() - start
    assert process.returncode == 0, name
    yield Result(name, seconds, "s", aim)
    yield Result("  CPU time of the process", cpu, "s")
