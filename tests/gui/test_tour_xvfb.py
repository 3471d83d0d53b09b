"""The first start in a real window: the tour is offered, taken with the keys, ends with a folder; not offered again."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import pytest

from fp_gui.theme import LIGHT, mix
from tests.real_window import RealWindow, like, needs_a_screen, real_window, virtual_screen
from tests.tiny_runs import table

pytestmark = [pytest.mark.window, needs_a_screen, pytest.mark.timeout(400)]

LEARNS = """
device = "cpu"
threads = 1
[world]
d = 36
[model]
m = 80
sigma_0 = 0.01
sigma_rho = 0.1
b_end = 0.3
bias_ramp = 0.6
lambda = 1e-4
[training]
lr = 1.5
batch_size = 64
[attack]
tau = 0.22
[schedule]
clean_steps = 6000
second_steps = 300
[evaluation]
every = 20
size = 128
steps = 5
report_size = 64
report_steps = 3
report_restarts = 1
"""
OFFER = mix(LIGHT.window, LIGHT.accent, 0.20)  # what the offer is drawn on, and nothing else at a start


def offer(window: RealWindow) -> int:
    """How many pixels of the offer's colour are on the screen."""
    return int(like(window.pixels(), tuple(bytes.fromhex(OFFER[1:])), 0).sum())


def losses(run: Path) -> int:
    return int(table(run, "SELECT count(*) FROM metrics WHERE name = 'loss'")[0][0])


def events(run: Path, name: str) -> list[tuple[str, str]]:
    return [(old, new) for old, new in table(run, f"SELECT old, new FROM events WHERE name = '{name}' ORDER BY id")]


def rested(run: Path) -> bool:
    """Whether training has stopped; what it records comes to the disk some times a second, fewer on a busy machine."""
    before = losses(run)
    time.sleep(4)
    return losses(run) == before


def test_the_first_start_offers_the_tour_and_the_second_does_not(tmp_path: Path) -> None:
    preset = tmp_path / "learns.toml"
    preset.write_text(LEARNS)
    with virtual_screen() as screen:
        with real_window(screen, tmp_path, str(preset), "--theme", "light") as window:
            window.focus()
            run = window.run_folder()
            window.wait(lambda: offer(window) > 3000, "the offer")
            window.xdo("key", "ctrl+shift+p")
            window.focus("Commands")
            window.xdo("type", "tour")
            window.xdo("key", "Return")
            window.wait(lambda: offer(window) == 0, "the tour in the place of its offer")
            window.focus()
            window.xdo("key", "space")
            window.wait((run / "run.sqlite").exists, "the record")
            window.wait(lambda: losses(run) >= 3000 and rested(run), "the rest once the attack has won", 180)
            assert events(run, "phase") == []
            window.xdo("key", "t")
            window.wait(lambda: ("clean", "adversarial") in events(run, "phase"), "the switch")
            window.xdo("key", "space")
            switched = losses(run)
            window.wait(lambda: losses(run) >= switched + 400, "steps by which it has purified")
            time.sleep(2)  # until the window has drawn that
            for key in ("space", "bracketleft", "n"):
                window.xdo("key", key)
                time.sleep(1.5)
            window.xdo("key", "ctrl+a")  # the tour has given the keys to the field of attack.tau
            window.xdo("type", "0.3")
            window.xdo("key", "Return")
            window.wait(lambda: events(run, "attack.tau") == [("0.22", "0.3")], "the change")
            time.sleep(1)
            window.xdo("key", "ctrl+z")
            window.wait(lambda: events(run, "attack.tau")[1:] == [("0.3", "0.22")], "the change taken back")
            time.sleep(1)
            window.xdo("key", "Return")  # a neuron is marked by the mouse
            window.xdo("key", "ctrl+e")
            window.focus("Export figures")
            window.xdo("key", "Return")
            window.wait((run / "figures" / "recipe.json").exists, "the export", 200)
            window.wait(window.idle, "the end of the export")
            window.focus()
            window.xdo("key", "Return")  # Finish
            window.quit()
        assert json.loads((run / "figures" / "recipe.json").read_text())["figures"]["views"]
        settings = "".join(file.read_text() for file in (tmp_path / "config").rglob("*.conf"))
        assert re.search(r"offered=true", settings)
        with real_window(screen, tmp_path, str(preset), "--theme", "light") as window:
            window.focus()
            window.wait(lambda: len([p for p in window.runs.iterdir() if p.name[0] != "."]) == 2, "the second run")
            time.sleep(2)
            assert offer(window) == 0
            window.quit()
