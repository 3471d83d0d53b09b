"""Keys and wheel in a real window on a virtual screen: nothing is dead after a dialog, and no turn abandons a run."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.gui.test_window_xvfb import phases, recorded, screen  # noqa: F401
from tests.real_window import needs_a_screen, real_window

pytestmark = [pytest.mark.window, needs_a_screen, pytest.mark.timeout(400)]


def test_keys_after_a_dialog_and_the_wheel_over_preset(screen: str, tmp_path: Path) -> None:  # noqa: F811
    with real_window(screen, tmp_path, "digits") as window:
        number = window.focus()
        run = window.run_folder()
        window.xdo("key", "space")
        window.wait(lambda: recorded(run, "loss") > 3, "recorded losses")
        for x in (90, 120, 150):  # over the preset, the first control of the toolbar
            window.xdo("mousemove", "--window", number, str(x), "45")
            for notch in ("5", "5", "4"):
                window.xdo("click", notch)
        before = recorded(run, "loss")
        window.wait(lambda: recorded(run, "loss") > before + 3, "training that goes on under the wheel")
        assert list(window.runs.iterdir()) == [run]
        window.xdo("key", "ctrl+o")
        window.focus("Open a run")
        window.xdo("key", "Escape")
        window.wait(lambda: not window.found("Open a run"), "the dialog's end")
        window.focus()
        window.xdo("key", "t")
        window.wait(lambda: "adversarial" in phases(run), "the switch to adversarial training")
        window.quit()
