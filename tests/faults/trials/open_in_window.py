"""Opens run folders one after the other in one window without a screen; says of each in a line of JSON what came."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tests.faults.trials.base import until


def main(folders: list[str]) -> int:
    """``opened`` (its first picture is there), ``refused`` (in the banner or by a message) or ``silent``, each."""
    import torch  # noqa: F401 - before Qt, as the explorer does

    from engine.config.presets import load_preset
    from fp_gui.app import Problems, make_app
    from fp_gui.bridge.controller import Controller
    from fp_gui.bridge.requests import RunInfo, Worlds
    from fp_gui.main_window import MainWindow
    from fp_gui.theme import ThemeManager
    from fp_gui.views.base import view_types

    app = make_app()
    problems = Problems()
    sys.excepthook = problems.exception
    controller = Controller(Worlds())
    window = MainWindow(controller, view_types(), ThemeManager(app, "light"), "small", load_preset("small"))
    window.show()
    said: list[tuple[str, str]] = []
    controller.error.connect(lambda text, details: said.append(("refused", text)))
    controller.run_changed.connect(lambda info: said.append(("opened", _name(info))))

    def _name(info: RunInfo) -> str:
        return info.folder.name

    def come() -> bool:
        app.processEvents()
        if not said and window.banner.level == "error" and window.banner.isVisible():
            said.append(("refused", window.banner.text))
        return bool(said)

    for folder in folders:
        said.clear()
        window.banner.dismiss()
        window.open_run(Path(folder))
        until(come, 20)
        for _ in range(5):  # what the opening sets off: the first picture, its views
            app.processEvents()
        state, text = said[0] if said else ("silent", "")
        sys.stdout.write(json.dumps({"folder": folder, "state": state, "text": text}) + "\n")
        sys.stdout.flush()
    window.close()
    controller.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
