"""The program in a real window on a virtual screen, driven by keys and mouse as a person would."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

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
    same, and the second to end takes the first one's socket away.
    """
    for _ in range(10):
        number = random.randrange(1000, 60000)
        read, write = os.pipe()
        size = f"{width}x{height}x24"
        server = subprocess.Popen(
            ["Xvfb", f":{number}", "-displayfd", str(write), "-screen", "0", size, "-nolisten", "tcp"],
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
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited {seconds:g} s for {what}"
        time.sleep(0.1)


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
        self.wait(lambda: bool(self.found(title)), f"the window {title!r}")
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
