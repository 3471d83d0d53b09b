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
from pathlib import Path
from typing import Any, ClassVar

from tests.bench.measure import Result, Times
from tests.bench.screen import screen

STEPS = 1500  # per phase
PAIRS = 3


# --- tasks, each in a process of its own


def timed() -> Any:
    """A Session that notes the time before its first step and after the last of each phase."""
    from engine.run.session import Session

    class Timed(Session):
        marks: ClassVar[list[float]] = []

        def step(self) -> None:
            if self.steps_done == 0:
                self.marks.append(time.perf_counter())
            super().step()
            if self.steps_done in (STEPS, 2 * STEPS):
                self.marks.append(time.perf_counter())

    return Timed


def phases(marks: list[float]) -> dict[str, float]:
    """Seconds a phase."""
    return {"clean": marks[1] - marks[0], "adversarial": marks[2] - marks[1]}


def headless(preset: str) -> dict[str, float]:
    """Train both phases without a window."""
    session = timed().create(config(preset), Path(tempfile.mkdtemp()) / "run")
    for _ in range(2 * STEPS):
        session.step()
    session.close()
    return phases(session.marks)


def config(preset: str) -> Any:
    """The preset with ``STEPS`` steps in each phase, on the CPU."""
    from engine.config.experiment import with_value
    from engine.config.presets import load_preset

    made = load_preset(preset)
    for name in ("schedule.clean_steps", "schedule.second_steps"):
        made = with_value(made, name, STEPS)
    return with_value(made, "device", "cpu")


def window(preset: str, minutes: float = 0.0, shown: str = "") -> dict[str, Any]:
    """Train the same in the window with the default views visible, or those ``shown`` (names, comma between) in front.

    Or for ``minutes``, noting the memory each minute.
    """
    import psutil
    from PySide6.QtCore import QSettings, QTimer

    from fp_gui.app import make_app
    from fp_gui.bridge.controller import Controller
    from fp_gui.main_window import MainWindow
    from fp_gui.theme import ThemeManager
    from fp_gui.views.base import view_types

    app = make_app(["bench"])
    home = Path(tempfile.mkdtemp())
    settings = QSettings(str(home / "settings.ini"), QSettings.Format.IniFormat)
    factory = timed()
    controller = Controller(factory, home / "runs")
    main_window = MainWindow(controller, view_types(), ThemeManager(app, "light"), preset, config(preset), settings)
    main_window.resize(1600, 1000)
    main_window.begin(config(preset), preset)
    main_window.show()

    def bring() -> None:
        """Put a view over Mixtures, where it hides none of the others."""
        docks = main_window.panels.docks
        for name in filter(None, shown.split(",")):
            main_window.tabifyDockWidget(docks["mixtures"], docks[name])
            main_window.panels.bring(name)

    QTimer.singleShot(1000, bring)
    late: list[float] = []
    memory: list[float] = []
    process, started = psutil.Process(), time.perf_counter()

    def look() -> None:
        """Four times a second: how far it is, and every beat's lateness."""
        late.extend(controller.lateness)
        controller.lateness.clear()
        elapsed = time.perf_counter() - started
        if minutes:
            if elapsed / 60 >= len(memory) + 1:
                memory.append(process.memory_info().rss / 2**20)
            if elapsed / 60 >= minutes:
                main_window.close()
            elif not controller.playing:
                controller.play()
        elif controller.last is not None and controller.last.step >= 2 * STEPS:
            main_window.close()

    timer = QTimer()
    timer.timeout.connect(look)
    QTimer.singleShot(1500, controller.play)
    QTimer.singleShot(1400, controller.lateness.clear)
    timer.start(250)
    visible: list[str] = []
    QTimer.singleShot(
        1450, lambda: visible.extend(v.name for v in main_window.views if not v.visibleRegion().isEmpty())
    )
    app.exec()
    timer.stop()
    assert controller.last is not None
    return {
        **(phases(factory.marks) if not minutes else {}), "views": visible,
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


def speed(preset: str) -> list[Result]:
    """Steps per second beside the window against headless (aim ≥ 0.85), and the window's lateness (aim ≤ 50 ms)."""
    clean: list[tuple[float, float]] = []
    adversarial: list[tuple[float, float]] = []
    late = []
    with screen() as env:
        for _ in range(PAIRS):
            with_it, without = task("window", preset, env=env), task("headless", preset, env=env)
            clean.append((with_it["clean"], without["clean"]))
            adversarial.append((with_it["adversarial"], without["adversarial"]))
            late.append(with_it["late_p99_ms"])
    rows = []
    for name, pairs in (("clean", clean), ("adversarial", adversarial)):
        ratio = Times(tuple(b for _, b in pairs)).over(Times(tuple(a for a, _ in pairs)))
        rows.append(Result(f"{preset}, {name}: with the window / headless, steps per second", ratio, aim=">= 0.85"))
    rows.append(Result(f"{preset}: GUI heartbeat lateness, p99", statistics.median(late), "ms", "<= 50 ms"))
    return rows


def live_cost(preset: str) -> list[Result]:
    """Steps per second with Robustness and Radius both open against headless (aim ≥ 0.8)."""
    pairs = {"clean": [], "adversarial": []}  # type: dict[str, list[tuple[float, float]]]
    with screen() as env:
        for _ in range(PAIRS):
            with_it, without = task("window", preset, "0", "radius", env=env), task("headless", preset, env=env)
            for phase, found in pairs.items():
                found.append((with_it[phase], without[phase]))
    return [
        Result(
            f"{preset}, {phase}: with Robustness and Radius open / headless, steps per second",
            Times(tuple(b for _, b in found)).over(Times(tuple(a for a, _ in found))),
            aim=">= 0.8",
        )
        for phase, found in pairs.items()
    ]


def start() -> list[Result]:
    """Time until the window is painted over the time of ``import torch`` (aim ≤ 2)."""
    with screen() as env:
        task("start_window", env=env)
        pairs = [(task("start_window", env=env)["seconds"], task("import_torch", env=env)["seconds"]) for _ in range(5)]
    ratio = Times(tuple(a for a, _ in pairs)).over(Times(tuple(b for _, b in pairs)))
    seconds = statistics.median(a for a, _ in pairs)
    return [
        Result("window painted / import torch, time since process start", ratio, aim="<= 2"),
        Result("window painted", seconds, "s"),
    ]


def memory(minutes: float) -> list[Result]:
    """Growth of the resident memory from the first minute of training to the last (aim ≤ 20 MB over ten minutes)."""
    with screen() as env:
        found = task("window", "standard", str(minutes), env=env)
    grown = found["memory_mb"][-1] - found["memory_mb"][0]
    return [
        Result(f"memory after {minutes:g} minutes of training minus after one", grown, "MB", "<= 20 MB"),
        Result("  steps trained in that time", float(found["steps"]), "steps"),
        Result("  GUI heartbeat lateness in that time, p99", found["late_p99_ms"], "ms", "<= 50 ms"),
    ]


if __name__ == "__main__":
    name, *rest = sys.argv[1:]
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    tasks = {"headless": headless, "window": window, "import_torch": import_torch, "start_window": start_window}
    arguments: list[Any] = [*rest[:1], *map(float, rest[1:2]), *rest[2:]]
    sys.stdout.write(json.dumps(tasks[name](*arguments)) + "\n")
