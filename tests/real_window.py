"""The program in a real window on a virtual screen, driven by keys and mouse as a person would."""

from __future__ import annotations

import io
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from PIL import Image

from engine.config.objectives import objectives

ROOT = Path(__file__).parents[1]
TITLE = "Feature Purification Explorer"
MISSING = [tool for tool in ("Xvfb", "xdotool", "import", "convert") if shutil.which(tool) is None]
needs_a_screen = pytest.mark.skipif(
    bool(MISSING), reason=f"needs xvfb, xdotool and imagemagick; missing: {', '.join(MISSING)}"
)


@contextmanager
def virtual_screen(width: int = 1600, height: int = 1000) -> Iterator[str]:
    """The name of a new virtual screen (":1234").

    The number is drawn here and not by the server: two servers that look for a free one at the same time may take the
    same, and the second to end takes the first one's socket away. It does not reset when its last client goes: a window
    that opens at that moment would be turned away.
    """
    for _ in range(10):
        number = random.randrange(1000, 60000)
        read, write = os.pipe()
        size = f"{width}x{height}x24"
        server = subprocess.Popen(
            ["Xvfb", f":{number}", "-displayfd", str(write), "-screen", "0", size, "-nolisten", "tcp", "-noreset"],
            pass_fds=[write], stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(write)
        with os.fdopen(read) as ready:
            up = bool(ready.readline().strip())  # at once "" where the number is taken
        if up:
            break
        server.wait(10)
    else:
        raise RuntimeError("no virtual screen came up")
    try:
        yield f":{number}"
    finally:
        server.terminate()
        server.wait(10)


def wait_for(condition: Callable[[], bool], what: str, seconds: float = 60) -> None:
    """Asks half of the time at most: looking at a picture takes the time of what is waited for."""
    end = time.monotonic() + seconds
    asked = time.monotonic()
    while not condition():
        took = time.monotonic() - asked
        assert time.monotonic() < end, f"waited {seconds:g} s for {what}"
        time.sleep(max(0.1, took))
        asked = time.monotonic()


Pixels = np.ndarray[Any, Any]
BAR, ACCENT = (247, 248, 249), (0, 114, 178)  # of the light theme: the toolbar, within 4, and what is marked
HEIGHT, BELOW, MARGIN = 16, 4, 10  # of the timeline's track, how far the mark of the step reaches beyond, room beside
SHADE = 70 / 255  # of a phase's colour


def like(pixels: Pixels, colour: tuple[float, ...], by: float = 3) -> Pixels:
    """Where ``pixels`` (…, 3) of whole numbers to 255 are of this colour."""
    least, most = (np.clip(np.array(colour) + each, 0, 255) for each in (-by, by))
    return ((pixels >= np.ceil(least).astype(np.uint8)) & (pixels <= np.floor(most).astype(np.uint8))).all(-1)


def phase_colour(objective: str) -> tuple[float, ...]:
    """That of a phase in the timeline."""
    text = objectives[objective].colour.lstrip("#")
    return tuple(255 - (255 - int(text[i : i + 2], 16)) * SHADE for i in (0, 2, 4))


@dataclass(frozen=True)
class SeenTimeline:
    """The timeline as its pixels show it: its place, and where the mark is, as a share of its length."""

    left: int
    right: int
    middle: int
    at: float
    now: bool  # the mark is filled: the views follow the run
    clean: float  # shares of the length that are shaded as the phases
    adversarial: float

    def x(self, share: float) -> int:
        """The column of that share."""
        return round(self.left + share * (self.right - self.left))


def seen_timeline(pixels: Pixels) -> SeenTimeline | None:
    """The timeline in a picture of the light theme; None where there is none, or it is just being painted."""
    shaded = like(pixels, phase_colour("clean"))
    rows = np.flatnonzero(shaded.sum(1) > 8)
    if not len(rows):
        return None
    top = int(rows[0])
    row = pixels[top + 2]  # above the marks of what is stored
    left = int(np.flatnonzero(shaded[top + 2])[0]) if shaded[top + 2].any() else 0
    beyond = np.flatnonzero(np.convolve(like(row[left:], BAR, 4), np.ones(MARGIN - 4), "valid") > MARGIN - 5)
    if not left or not len(beyond):
        return None
    right = left + int(beyond[0]) - 1
    low = top + HEIGHT
    mark = np.flatnonzero(like(pixels[low + 2 : low + BELOW, left - 4 : right + 5], ACCENT, 40).any(0))
    if not len(mark) or right - left < 50:
        return None
    x = left - 4 + (mark[0] + mark[-1]) / 2
    length = right - left
    return SeenTimeline(
        left, right, top + HEIGHT // 2, float(x - left) / length,
        bool(like(pixels[low + 1, round(x)], ACCENT, 40)),
        float(like(row[left:right], phase_colour("clean")).sum()) / length,
        float(like(row[left:right], phase_colour("adversarial")).sum()) / length,
    )  # fmt: skip


class RealWindow:
    """The program on a screen; its runs and settings lie under `folder`."""

    def __init__(self, display: str, folder: Path, *arguments: str) -> None:
        self.runs = folder / "runs"
        self.environment = os.environ | {
            "DISPLAY": display,
            "QT_QPA_PLATFORM": "xcb",
            "FP_RUNS": str(self.runs),
            "XDG_CONFIG_HOME": str(folder / "config"),
        }
        self.environment.pop("WAYLAND_DISPLAY", None)
        self._said = folder / "stderr"
        with self._said.open("w") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "fp_gui", *arguments], cwd=ROOT, env=self.environment, stderr=errors
            )

    def said(self) -> str:
        """What the program wrote to its error stream so far."""
        return self._said.read_text()

    def wait(self, condition: Callable[[], bool], what: str, seconds: float = 60) -> None:
        """Waits for `condition`; a program that ends meanwhile has failed."""

        def met() -> bool:
            assert self.process.poll() is None, f"ended with {self.process.returncode}: {self.said()}"
            return condition()

        wait_for(met, what, seconds)

    def xdo(self, *words: str) -> str:
        done = subprocess.run(["xdotool", *words], env=self.environment, capture_output=True, text=True, check=False)
        return done.stdout.strip()

    def found(self, title: str = TITLE) -> str:
        """The number of the visible window of that title, or ""."""
        return (self.xdo("search", "--onlyvisible", "--name", title).splitlines() or [""])[-1]

    def focus(self, title: str = TITLE) -> str:
        """Waits for the window of that title and gives it the keys; its number."""
        self.wait(lambda: bool(self.found(title)), f"the window {title!r}", 120)
        number = self.found(title)
        self.xdo("windowfocus", "--sync", number)
        return number

    def run_folder(self) -> Path:
        """The one run that it made. A folder whose name begins with a dot is one that is still being made."""

        def made() -> list[Path]:
            return [p for p in self.runs.iterdir() if not p.name.startswith(".")] if self.runs.is_dir() else []

        self.wait(lambda: bool(made()), "the run folder")
        (run,) = made()
        return run

    def picture(self, file: Path) -> None:
        """What a person sees, as a PNG."""
        subprocess.run(["import", "-window", "root", str(file)], env=self.environment, check=True)

    def pixels(self) -> Pixels:
        """The same as (height, width, 3), without the time that a PNG takes to be packed."""
        line = ["import", "-window", "root", "-depth", "8", "ppm:-"]
        done = subprocess.run(line, env=self.environment, capture_output=True, check=True)
        with Image.open(io.BytesIO(done.stdout)) as image:
            return np.asarray(image.convert("RGB"))

    def timeline(self) -> SeenTimeline:
        """The timeline as a person sees it; the theme must be the light one."""
        found: list[SeenTimeline] = []

        def there() -> bool:
            seen = seen_timeline(self.pixels())
            found.extend([seen] if seen is not None else [])
            return bool(found)

        self.wait(there, "the timeline")
        return found[-1]

    def command(self, text: str) -> None:
        """Does what the command palette finds first for ``text``."""
        self.focus()
        self.xdo("key", "ctrl+shift+p")
        self.focus("Commands")
        self.xdo("type", text)
        self.xdo("key", "Return")
        self.wait(lambda: not self.found("Commands"), "the end of the palette")
        self.focus()

    def click(self, x: int, y: int) -> None:
        """A click at a place of the screen."""
        self.xdo("mousemove", str(x), str(y), "click", "1")

    def idle(self) -> bool:
        """Whether no child process (an export, a study) is at work."""
        return not psutil.Process(self.process.pid).children()

    def quit(self) -> None:
        """Closes it by its key; it must end well, without a word."""
        self.focus()
        self.xdo("key", "ctrl+q")
        assert self.process.wait(60) == 0, self.said()
        assert self.said() == ""


@contextmanager
def real_window(display: str, folder: Path, *arguments: str) -> Iterator[RealWindow]:
    window = RealWindow(display, folder, *arguments)
    try:
        yield window
    finally:
        if window.process.poll() is None:
            window.process.kill()
        window.process.wait(10)
