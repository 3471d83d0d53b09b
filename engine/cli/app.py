"""What every command shares: the application, its types of arguments, output, and how it is interrupted."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from engine import __version__

app = App(
    name="fp-engine",
    help="Feature Purification Explorer without a window: train, evaluate, export.",
    version=__version__,
    result_action="return_value",
)
INTERRUPTED = 130

Device = Annotated[
    Literal["auto", "cpu", "cuda", "mps"] | None, Parameter(help="Where tensors live; by default what the preset says.")
]
DATA_HELP = "The folder or archive that the run's images are in now, if they were moved; they must be the same."
Data = Annotated[Path | None, Parameter(help=DATA_HELP)]
RunFolder = Annotated[Path, Parameter(help="A run folder.")]


def say(text: str = "") -> None:
    """A line on stdout, at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


@contextmanager
def interruptible() -> Iterator[list[int]]:
    """Turn Ctrl+C and SIGTERM into an entry of the list, seen between two steps; a second one interrupts at once."""
    seen: list[int] = []

    def note(number: int, frame: object) -> None:
        if seen:
            raise KeyboardInterrupt
        seen.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield seen
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
