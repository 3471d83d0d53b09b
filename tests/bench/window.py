"""What the window costs: training speed beside it, its lateness, its start and its memory.

Each measurement is a process of its own (``python -m tests.bench.window TASK …``) that prints one line of JSON.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.bench.measure import FULL, Result, Sizes, Times
from tests.bench.screen import screen

if TYPE_CHECKING:  # a task imports torch, and then Qt, when it needs them
    from engine.config.experiment import Config
    from engine.run.past import Past
    from engine.run.session import Session

# --- tasks, each in a process of its own


class TimedWorlds:
    """Makes sessions as :mod:`engine.worlds` does, and notes when one of them trains.

    ``marks`` are the times before its first step and after the last of each phase of ``steps`` steps.
    """

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.marks: list[float] = []

    def create(self, config: Config, folder: Path) -> Session:
        """A new run in ``folder``, timed."""
        from engine import worlds

        session = worlds.create(config, folder)
        step = session.step

        def timed() -> None:
            if session.steps_done == 0:
                self.marks.append(time.perf_counter())
            step()
            if session.steps_done in (self.steps, 2 * self.steps):
                self.marks.append(time.perf_counter())

        session.step = timed  # type: ignore[method-assign] - whatever kind of session it is
        return session

    def resume(self, folder: Path, device: str | None = None, data: Path | None = None) -> Session:
        """The run in ``folder``, not timed."""
        from engine import worlds

        return worlds.resume(folder, device, data)

    def past(self, *arguments: Any, **how: Any) -> Past:
        """A run or a stored step of it, only to be looked at."""
        from engine import worlds

        return worlds.past(*arguments, **how)

    def phases(self) -> dict[str, float]:
        """Seconds a phase."""
        return {"clean": self.marks[1] - self.marks[0], "adversarial": self.marks[2] - self.marks[1]}


def headless(preset: str, steps: int) -> dict[str, float]:
    """Train both phases without a window."""
    factory = TimedWorlds(steps)
    session = factory.create(config(preset, steps), Path(tempfile.mkdtemp()) / "run")
    for _ in range(2 * steps):
        session.step()
    session.close()
    return factory.phases()


def config(preset: str, steps: int) -> Config:
    """The preset with ``steps`` steps in each phase, on the CPU."""
    from engine.config.experiment import with_value
    from engine.config.presets import load_preset

    made = load_preset(preset)
    for name in ("schedule.clean_steps", "schedule.second_steps"):
        made = with_value(made, name, steps)
    return with_value(made, "device", "cpu")


class Opened:
    """The program's window, as large as a laptop's screen, with settings and runs of its own; ``preset`` is chosen."""

    def __init__(self, factory: TimedWorlds, preset: str) -> None:
        from PySide6.QtCore import QSettings

        from fp_gui.app import make_app
        from fp_gui.bridge.controller import Controller
        from fp_gui.main_window import MainWindow
        from fp_gui.theme import ThemeManager
        from fp_gui.views.base import view_types

        self.app = make_app(["bench"])
        home = Path(tempfile.mkdtemp())
        settings = QSettings(str(home / "settings.ini"), QSettings.Format.IniFormat)
        self.controller = Controller(factory, home / "runs")
        chosen = config(preset, factory.steps)
        themes = ThemeManager(self.app, "light")
        self.window = MainWindow(self.controller, view_types(), themes, preset, chosen, settings)
        self.window.resize(1600, 1000)
        self.window.show()

    @property
    def visible(self) -> list[str]:
        """Names of the views that can be seen."""
        return [view.name for view in self.window.views if not view.visibleRegion().isEmpty()]

    def bring(self, shown: str) -> None:
        """Put these views (comma between) over Mixtures, where they hide none of the others.

        ``all``: every panel becomes a window of its own, so that all can be seen at once.
        """
        docks = self.window.panels.docks
        if shown == "all":
            for name in self.window._present():
                docks[name].show()
                docks[name].setFloating(True)
        for name in filter(None, shown.split(",")) if shown != "all" else ():
            self.window.tabifyDockWidget(docks["mixtures"], docks[name])
            self.window.panels.bring(name)

    def shown(self) -> int | None:
        """The step that is drawn."""
        return None if self.controller.last is None else self.controller.last.step

    def load(self, folder: Path) -> None:
        """Open a run and return when its views are painted."""
        self.controller.load(folder)
        self.wait(lambda: self.controller.run is not None and self.controller.last is not None)

    def wait(self, met: Callable[[], bool], seconds: float = 120) -> None:
        """Let the window live until ``met``, and paint what that changed."""
        from PySide6.QtCore import QEventLoop

        end = time.perf_counter() + seconds
        while not met():
            assert time.perf_counter() < end
            self.app.processEvents(QEventLoop.ProcessEventsFlag.WaitForMoreEvents)
        self.app.processEvents()

    def pass_time(self, seconds: float) -> None:
        """Let it rest."""
        from PySide6.QtCore import QTimer

        QTimer.singleShot(int(1000 * seconds), self.app.quit)
        self.app.exec()

    def close(self) -> None:
        """Close the window, and the run with it."""
        self.window.close()
        self.controller.close()


def window(preset: str, steps: int, minutes: float = 0.0, shown: str = "") -> dict[str, Any]:
    """Train the same in the window with the default views visible, or those ``shown`` (names, comma between) in front.

    Or for ``minutes``, noting the memory after each tenth of them.
    """
    import psutil
    from PySide6.QtCore import QTimer

    factory = TimedWorlds(steps)
    opened = Opened(factory, preset)
    app, controller, main_window = opened.app, opened.controller, opened.window
    main_window.begin(config(preset, steps), preset)
    QTimer.singleShot(1000, lambda: opened.bring(shown))
    late: list[float] = []
    memory: list[float] = []
    process, begun = psutil.Process(), [0.0]  # when it began to train; 0 before

    def look() -> None:
        """Four times a second: how far it is, and every beat's lateness."""
        late.extend(controller.lateness)
        controller.lateness.clear()
        if controller.last is None or not controller.last.step:
            return
        begun[0] = begun[0] or time.perf_counter()
        elapsed = time.perf_counter() - begun[0]
        if minutes:
            if elapsed / 60 >= (len(memory) + 1) * minutes / 10:
                memory.append(process.memory_info().rss / 2**20)
            if len(memory) == 10:
                main_window.close()
            elif not controller.playing:
                controller.play()
        elif controller.last.step >= 2 * steps:
            main_window.close()

    timer = QTimer()
    timer.timeout.connect(look)
    QTimer.singleShot(1500, controller.play)
    QTimer.singleShot(1400, controller.lateness.clear)
    timer.start(250)
    visible: list[str] = []
    QTimer.singleShot(1450, lambda: visible.extend(opened.visible))
    app.exec()
    timer.stop()
    assert controller.last is not None
    return {
        **(factory.phases() if not minutes else {}), "views": visible,
        "late_p99_ms": sorted(late)[int(0.99 * len(late))], "late_max_ms": max(late), "beats": len(late),
        "memory_mb": memory, "steps": controller.last.step,
    }  # fmt: skip


def import_torch() -> dict[str, float]:
    """Seconds from the start of this process until torch is imported."""
    import torch  # noqa: F401

    return {"seconds": since_start()}


def start_window() -> dict[str, float]:
    """Seconds from the start of this process until the window of the default preset has been painted once."""
    from PySide6.QtCore import QEvent, QObject, QTimer

    import fp_gui.__main__ as entry

    found: list[float] = []

    class FirstPaint(QObject):
        def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802 - Qt's name
            if event.type() == QEvent.Type.Paint and not found and watched.isWidgetType():
                found.append(since_start())
                QTimer.singleShot(100, lambda: app_quit())
            return False

    def app_quit() -> None:
        from PySide6.QtWidgets import QApplication

        QApplication.closeAllWindows()

    import torch  # noqa: F401

    from fp_gui.app import make_app

    watcher = FirstPaint()
    make_app().installEventFilter(watcher)
    entry.main(["small"])
    return {"seconds": found[0]}


def since_start() -> float:
    """Seconds since this process began, imports of the interpreter included."""
    import psutil

    return time.time() - psutil.Process().create_time()


# --- the measurements


def task(name: str, *arguments: str, env: dict[str, str]) -> dict[str, Any]:
    """Run one task in a new process and return what it printed."""
    with tempfile.TemporaryDirectory() as home:
        done = subprocess.run(
            [sys.executable, "-m", "tests.bench.window", name, *arguments],
            env={**env, "FP_RUNS": f"{home}/runs", "XDG_CONFIG_HOME": home},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


Pairs = dict[str, list[tuple[float, float]]]  # phase → seconds beside the window and without it


def beside_window(sizes: Sizes, shown: str = "") -> tuple[Pairs, list[float]]:
    """Both phases' seconds beside the window and headless, pair by pair, and the window's lateness (p99, ms)."""
    pairs: Pairs = {"clean": [], "adversarial": []}
    late, preset, steps = [], sizes.window_preset, str(sizes.window_steps)
    with screen() as env:
        for _ in range(sizes.window_pairs):
            with_it = task("window", preset, steps, "0", shown, env=env)
            without = task("headless", preset, steps, env=env)
            for phase, found in pairs.items():
                found.append((with_it[phase], without[phase]))
            late.append(with_it["late_p99_ms"])
    return pairs, late


def steps_per_second(pairs: Pairs, what: str, aim: str) -> list[Result]:
    """Those beside the window over those without it."""
    rows = []
    for phase, found in pairs.items():
        ratio = Times(tuple(b for _, b in found)).over(Times(tuple(a for a, _ in found)))
        rows.append(Result(f"{phase}: {what} / headless, steps per second", ratio, aim=aim))
    return rows


def speed(sizes: Sizes = FULL) -> list[Result]:
    """Steps per second beside the window against headless (aim ≥ 0.85), and the window's lateness (aim ≤ 50 ms)."""
    pairs, late = beside_window(sizes)
    rows = steps_per_second(pairs, f"{sizes.window_preset} with the window", ">= 0.85")
    return [
        *rows,
        Result(f"{sizes.window_preset}: GUI heartbeat lateness, p99", statistics.median(late), "ms", "<= 50 ms"),
    ]


def all_views(sizes: Sizes = FULL) -> list[Result]:
    """The same with every view and panel to be seen at once (aim ≥ 0.85, ≤ 50 ms)."""
    pairs, late = beside_window(sizes, shown="all")
    what = f"{sizes.window_preset} with all views and panels open"
    rows = steps_per_second(pairs, what, ">= 0.85")
    return [*rows, Result(f"{what}: GUI heartbeat lateness, p99", statistics.median(late), "ms", "<= 50 ms")]


def live_cost(sizes: Sizes = FULL) -> list[Result]:
    """Steps per second with Robustness and Radius both open against headless (aim ≥ 0.8)."""
    pairs, _ = beside_window(sizes, shown="radius")
    return steps_per_second(pairs, f"{sizes.window_preset} with Robustness and Radius open", ">= 0.8")


def start(sizes: Sizes = FULL) -> list[Result]:
    """Time until the window is painted over the time of ``import torch`` (aim ≤ 1.7)."""
    with screen() as env:
        if sizes.start_pairs > 1:
            task("start_window", env=env)  # files come from the disk the first time
        pairs = [
            (task("start_window", env=env)["seconds"], task("import_torch", env=env)["seconds"])
            for _ in range(sizes.start_pairs)
        ]
    ratio = Times(tuple(a for a, _ in pairs)).over(Times(tuple(b for _, b in pairs)))
    seconds = statistics.median(a for a, _ in pairs)
    return [
        Result("window painted / import torch, time since process start", ratio, aim="<= 1.7"),
        Result("window painted", seconds, "s"),
    ]


def memory(sizes: Sizes = FULL) -> list[Result]:
    """Growth of the resident memory from the first tenth of the training to the last (aim ≤ 20 MB in ten minutes)."""
    minutes = sizes.minutes
    with screen() as env:
        found = task("window", sizes.window_preset, str(sizes.window_steps), str(minutes), env=env)
    grown = found["memory_mb"][-1] - found["memory_mb"][0]
    return [
        Result(f"memory after {minutes:g} minutes of training minus after a tenth of them", grown, "MB", "<= 20 MB"),
        Result("  steps trained in that time", float(found["steps"]), "steps"),
        Result("  GUI heartbeat lateness in that time, p99", found["late_p99_ms"], "ms", "<= 50 ms"),
    ]


def perform(name: str, *rest: str) -> dict[str, Any]:
    """Do the task of that name, with arguments as a command line has them, in this process."""
    from tests.bench.looking import TASKS

    tasks: dict[str, Any] = {
        **TASKS,
        "headless": headless,
        "window": window,
        "import_torch": import_torch,
        "start_window": start_window,
    }
    arguments: list[Any] = [*rest[:1], *map(int, rest[1:2]), *map(float, rest[2:3]), *rest[3:]]
    found: dict[str, Any] = tasks[name](*arguments)
    return found


if __name__ == "__main__":
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    sys.stdout.write(json.dumps(perform(*sys.argv[1:])) + "\n")
