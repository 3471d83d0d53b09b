"""Pictures for the documentation, taken from the window itself on finished runs.

    .venv/bin/python docs/make_pictures.py RUN [RUN ...] [SWEEP]

Writes docs/pictures/NAME.png: of every view, of the panels, of the dialogs and of the whole window. A view that several
runs can show is taken of the first of them; one that needs a study is taken of the first run that has it. The whole
window shows the first run. Compare shows the runs of that preset of which there are most, Events the last of these: a
run and a branch of it, say. Of a sweep its figures are drawn, and the panel Sweep is taken. It needs no screen.

The pictures that are there are of `theorem` (with race, transfer, low-rank, objectives and claims), a short
`cifar10-filters` (with sparse), `digits` (with local), `small`, and a branch of that at step 1,500 with tau 0.1; and of
the sweep `small --grid attack.tau=0.1,0.2,0.3 --grid schedule.second=adversarial,gaussian_noise --seeds 0-2`
with reports of 200 samples and PGD-10.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
os.environ["XDG_CONFIG_HOME"] = tempfile.mkdtemp()
os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp()

import torch  # noqa: F401  before Qt
from PIL import Image
from PySide6.QtCore import QEventLoop, QSettings
from PySide6.QtWidgets import QApplication, QDialog, QWidget

from engine.compare.sweeps.collect import collect
from engine.compare.sweeps.declare import VIEW as SWEEP
from engine.config.experiment import Config
from engine.core.results import Filters
from engine.figures.style import render
from engine.run.store import Store
from engine.sweeps.record import is_sweep
from engine.sweeps.results import results
from fp_gui.app import make_app
from fp_gui.bridge.controller import Controller
from fp_gui.bridge.requests import Worlds
from fp_gui.command_palette import CommandPalette
from fp_gui.main_window import MainWindow
from fp_gui.question_dialog import QuestionDialog
from fp_gui.theme import ThemeManager
from fp_gui.tools.sweep import SweepPanel
from fp_gui.views.base import view_types

WINDOW, SMALLER, PANEL = (1600, 1000), (1280, 800), (860, 560)  # pixels
PLAN = 280  # pixels that planning a sweep is high
MOST = 180.0  # seconds that a view may take to be measured
PANELS = ("events", "runs", "compare")
DEEP = "features"  # a view without a panel of its own
OUT = Path(__file__).parent / "pictures"


def wait(app: QApplication, seconds: float, until: Callable[[], bool] = lambda: False) -> None:
    """Let the window work for so long, or until something is so."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and not until():
        app.processEvents(QEventLoop.ProcessEventsFlag.AllEvents, 20)
        time.sleep(0.005)


def shrink(file: Path, colours: int = 128) -> None:
    """Write the picture with so few colours that it is small."""
    with Image.open(file) as picture:
        picture.convert("RGB").quantize(colours, kmeans=2, dither=Image.Dither.NONE).save(file, optimize=True)


def take(widget: QWidget, name: str, colours: int = 128) -> None:
    """Write what ``widget`` looks like to NAME.png."""
    file = OUT / f"{name}.png"
    widget.grab().save(str(file))
    shrink(file, colours)
    sys.stdout.write(f"{file.name} {file.stat().st_size // 1000} kB\n")
    sys.stdout.flush()


def config_of(folder: Path) -> Config:
    """The settings of the run in ``folder``."""
    with closing(Store.open(folder, read_only=True)) as store:
        return store.config


def opened(app: QApplication, folder: Path) -> MainWindow:
    """A window with the run in ``folder``, paused."""
    controller = Controller(Worlds(), runs=folder.parent)
    settings = QSettings()
    settings.setValue("tour/offered", True)  # else the offer of the first start is in the picture
    themes = ThemeManager(app, "light")
    window = MainWindow(controller, view_types(), themes, folder.name, config_of(folder), settings)
    window.show()
    window.resize(*WINDOW)
    window.panels.arrange()  # as in a window that was of this size from the start
    window.controller.load(folder)
    wait(app, 60, lambda: window.controller.last is not None)
    wait(app, 2)
    window.banner.hide()
    return window


def measured(window: MainWindow, name: str) -> bool:
    """Whether all that a view wants has arrived."""
    last = window.controller.last
    return last is not None and all(last.get(kind) is not None for kind in window.shelf.get(name).wants)


def views(app: QApplication, window: MainWindow, folder: Path, done: set[str]) -> None:
    """Take those of the views of one run that are not ``done`` and have something to show."""
    last = window.controller.last
    assert last is not None
    kind = last.config.kind
    missing = window.shelf.missing(kind, folder, last.history)
    for name in window.shelf.names(kind):
        if name in done or name in missing:
            continue
        done.add(name)
        window.panels.bring(name)
        dock = window.panels.docks[name]
        dock.setFloating(True)
        dock.resize(*PANEL)
        wait(app, 1.5)
        wait(app, MOST, lambda name=name: measured(window, name))  # type: ignore[misc]
        wait(app, 1.0)
        take(window.shelf.get(name), name)
        dock.setFloating(False)
        dock.close()


def deep(app: QApplication, window: MainWindow, done: set[str]) -> None:
    """Take the units of the last convolution by feature visualisation, in the view Neurons."""
    view, dock = window.shelf.get("filters"), window.panels.docks["filters"]
    window.panels.bring("filters")
    dock.setFloating(True)
    dock.resize(*PANEL)
    wait(app, MOST, lambda: measured(window, "filters"))
    last = window.controller.last
    assert last is not None
    found = last.get(Filters)
    assert found is not None
    layers = [each.name for each in found.layers if each.kind == "conv"]
    if DEEP in done or len(layers) < 2:
        return
    done.add(DEEP)
    view.set_options({**view.options(), "layer": layers[-1]})
    wait(app, 1.0)
    view.feature_controls.start.click()  # type: ignore[attr-defined]
    wait(app, MOST, lambda: view.features is not None and view.features.share >= 1)  # type: ignore[attr-defined]
    wait(app, 1.0)
    take(view, DEEP)


def panels(app: QApplication, window: MainWindow, compared: list[Path]) -> None:
    """Take the panels that are no views, ``compared`` being the runs to compare."""
    for name in PANELS:
        window.panels.bring(name)
        dock = window.panels.docks[name]
        dock.setFloating(True)
        dock.resize(*PANEL)
        wait(app, 2.0)
        if name == "compare":
            window.tool_shelf.get(name).compare(compared)  # type: ignore[attr-defined]
            wait(app, 3.0)
        take(window.tool_shelf.get(name), name)
        dock.setFloating(False)
        dock.close()


def dialogs(app: QApplication, window: MainWindow) -> None:
    """Take the questions, the palette and an explanation."""
    questions = QuestionDialog("theorem", window)
    palette = CommandPalette(list(window.parts["palette"].entries()), window)  # type: ignore[attr-defined]
    palette.field.setText("rad")
    window.parts["what_is"].show_page("mixtures")  # type: ignore[attr-defined]
    explained = next(each for each in window.findChildren(QDialog) if each.windowTitle().startswith("What is this?"))
    for name, dialog in {"questions": questions, "palette": palette, "what-is-this": explained}.items():
        dialog.show()
        wait(app, 0.5)
        take(dialog, name)
        dialog.close()


def whole(app: QApplication, folder: Path) -> None:
    """Take the whole window: now, and looking at a step soon after the switch."""
    window = opened(app, folder)
    for name in ("robustness", "neurons"):
        window.panels.bring(name)
    wait(app, 45)  # the lateness in the status bar is of the last half minute: not of the opening
    take(window, "explorer")
    last = window.controller.last
    assert last is not None
    schedule = last.config.schedule
    timeline = window.parts["timeline"]
    timeline.look(schedule.clean_steps + (schedule.total - schedule.clean_steps) // 15)  # type: ignore[attr-defined]
    wait(app, 1)
    take(timeline.bar, "timeline")  # type: ignore[attr-defined]
    window.resize(*SMALLER)
    window.panels.size()
    wait(app, 4)
    take(window, "past", 96)
    window.close()


def alike(folders: list[Path]) -> list[Path]:
    """The runs of the preset of which there are most."""
    groups: dict[str, list[Path]] = {}
    for folder in folders:
        groups.setdefault(config_of(folder).about.title, []).append(folder)
    return max(groups.values(), key=len)


def sweep_figures(folder: Path) -> None:
    """Draw the sweep in ``folder``: its heatmaps, and curves over the first knob."""
    found = results(folder)
    for kind in ("heatmap", "curves"):
        file = OUT / f"sweep-{kind}.png"
        file.write_bytes(render(collect(found, SWEEP.complete({"kind": kind})), "png", 6.75))
        with Image.open(file) as picture:
            picture.reduce(2).save(file)
        shrink(file)


def sweep_panel(app: QApplication, folder: Path) -> None:
    """Take the panel Sweep: a plan, and the sweep in ``folder`` as it came out."""
    window = opened(app, results(folder).rows[0].folder)
    panel = window.tool_shelf.get("sweep")
    assert isinstance(panel, SweepPanel)
    window.panels.bring("sweep")
    dock = window.panels.docks["sweep"]
    dock.setFloating(True)
    dock.resize(PANEL[0], PLAN)
    panel.planner.base.value = "small"
    for path, values in (("attack.tau", "0.1, 0.2, 0.3"), ("schedule.second", "adversarial, gaussian_noise")):
        panel.sweep_knob(path)
        row = panel.planner.rows.row(path)
        assert row is not None
        row.field.setText(values)
    panel.planner.seeds.setText("0-2")
    panel.planner.folder.setText("runs/tau")
    panel.planner.jobs.setValue(2)
    panel.planner.jobs.setFocus()
    wait(app, 3.0)
    take(panel, "sweep-plan")
    dock.resize(*PANEL)
    panel.open_sweep(folder)
    wait(app, 3.0)
    take(panel, "sweep")
    window.close()


def main(folders: list[Path]) -> None:
    """Take all pictures."""
    OUT.mkdir(exist_ok=True)
    app = make_app()
    for folder in filter(is_sweep, folders):
        sweep_figures(folder)
        sweep_panel(app, folder)
    folders = [folder for folder in folders if not is_sweep(folder)]
    if not folders:
        return
    done: set[str] = set()
    whole(app, folders[0])
    for folder in folders:
        window = opened(app, folder)
        views(app, window, folder, done)
        if "filters" in window.shelf.names(config_of(folder).kind):
            deep(app, window, done)
        if folder == (group := alike(folders))[-1]:
            panels(app, window, group)
            dialogs(app, window)
        window.close()


if __name__ == "__main__":
    main([Path(each).absolute() for each in sys.argv[1:]])
