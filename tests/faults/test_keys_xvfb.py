"""Keys and wheel in a real window on a virtual screen: nothing is dead after a dialog, and no turn abandons a run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.gui.test_window_xvfb import MISSING, ROOT, TITLE, phases, recorded, screen, wait_for  # noqa: F401

pytestmark = [
    pytest.mark.window,
    pytest.mark.skipif(bool(MISSING), reason=f"needs xvfb, xdotool and imagemagick; missing: {', '.join(MISSING)}"),
    pytest.mark.timeout(400),
]


def test_keys_after_a_dialog_and_the_wheel_over_preset(screen: str, tmp_path: Path) -> None:  # noqa: F811
    runs = tmp_path / "runs"
    environment = os.environ | {
        "DISPLAY": screen,
        "QT_QPA_PLATFORM": "xcb",
        "FP_RUNS": str(runs),
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
    }
    environment.pop("WAYLAND_DISPLAY", None)

    def xdo(*words: str) -> str:
        done = subprocess.run(["xdotool", *words], env=environment, capture_output=True, text=True, check=False)
        return done.stdout.strip()

    app = subprocess.Popen(
        [sys.executable, "-m", "fp_gui", "digits"], cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True
    )
    try:
        wait_for(lambda: bool(xdo("search", "--onlyvisible", "--name", TITLE)) or app.poll() is not None, "the window")
        wait_for(lambda: runs.is_dir() and any(not p.name.startswith(".") for p in runs.iterdir()), "the run folder")
        (run,) = runs.iterdir()
        window = xdo("search", "--onlyvisible", "--name", TITLE).splitlines()[-1]
        xdo("windowfocus", "--sync", window)
        xdo("key", "space")
        wait_for(lambda: recorded(run, "loss") > 3, "recorded losses")
        for x in (90, 120, 150):  # over the preset, the first control of the toolbar
            xdo("mousemove", "--window", window, str(x), "45")
            for notch in ("5", "5", "4"):
                xdo("click", notch)
        before = recorded(run, "loss")
        wait_for(lambda: recorded(run, "loss") > before + 3, "training that goes on under the wheel")
        assert list(runs.iterdir()) == [run]
        xdo("key", "ctrl+o")
        wait_for(lambda: bool(xdo("search", "--onlyvisible", "--name", "Open a run")), "the dialog")
        xdo("windowfocus", "--sync", xdo("search", "--onlyvisible", "--name", "Open a run").splitlines()[-1])
        xdo("key", "Escape")
        wait_for(lambda: not xdo("search", "--onlyvisible", "--name", "Open a run"), "the dialog's end")
        xdo("windowfocus", "--sync", window)
        xdo("key", "t")
        wait_for(lambda: "adversarial" in phases(run), "the switch to adversarial training")
        xdo("key", "ctrl+q")
        _, errors = app.communicate(timeout=60)
    finally:
        if app.poll() is None:
            app.kill()
            app.communicate()
    assert errors == ""
    assert app.returncode == 0
