"""Pictures of the views for the documentation, taken from the window itself on a finished run.

``python docs/make_pictures.py RUN [RUN …]`` opens each run folder in a window, brings one view after the other to the
front and writes it to ``docs/pictures/VIEW.png``; of views that both kinds of run have the first run's is kept. It
needs no screen.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
os.environ["XDG_CONFIG_HOME"] = tempfile.mkdtemp()

import torch  # noqa: F401  before Qt
from PIL import Image
from PySide6.QtCore import QEventLoop
from PySide6.QtWidgets import QApplication

from engine.run.store import Store
from fp_gui.app import make_app
from fp_gui.bridge.controller import Controller
from fp_gui.bridge.requests import Worlds
from fp_gui.main_window import MainWindow
from fp_gui.theme import ThemeManager
from fp_gui.views.base import view_types

SIZE = (860, 560)
MOST = 25.0  # seconds that a view may take to be measured
OUT = Path(__file__).parent / "pictures"


def wait(app: QApplication, seconds: float) -> None:
    """Let the window work for so long."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        app.processEvents(QEventLoop.ProcessEventsFlag.AllEvents, 20)


def pictures(folder: Path, done: set[str]) -> None:
    """Take those of the views of one run that are not ``done``."""
    app = make_app()
    store = Store.open(folder, read_only=True)
    config = store.config
    store.close()
    window = MainWindow(Controller(Worlds()), view_types(), ThemeManager(app, "light"), folder.name, config)
    window.resize(1600, 1000)
    window.controller.load(folder)
    window.show()
    wait(app, 4)
    for name in window.shelf.names(config.kind):
        if name in done:
            continue
        done.add(name)
        window.panels.bring(name)
        dock = window.panels.docks[name]
        dock.setFloating(True)
        dock.resize(*SIZE)
        view = window.shelf.get(name)
        end = time.monotonic() + MOST
        wait(app, 1.5)
        while time.monotonic() < end and (last := window.controller.last) is not None:
            if all(last.get(kind) is not None for kind in view.wants):
                break
            wait(app, 0.5)
        wait(app, 1.0)
        file = OUT / f"{name}.png"
        view.grab().save(str(file))
        Image.open(file).convert("RGB").quantize(96).save(file, optimize=True)
        sys.stdout.write(f"{file}\n")
        dock.setFloating(False)
        dock.close()
    window.close()


def main() -> None:
    """Take the pictures of the runs named on the command line."""
    OUT.mkdir(exist_ok=True)
    done: set[str] = set()
    for folder in sys.argv[1:]:
        pictures(Path(folder), done)


if __name__ == "__main__":
    main()
