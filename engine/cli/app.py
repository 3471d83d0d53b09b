"""What every command shares: the application, its types of arguments, output, and how it is interrupted."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from engine import __version__
from engine.core.signals import INTERRUPTED
from engine.core.signals import noted as interruptible

app = App(
    name="fp-engine",
    help="Feature Purification Explorer without a window: train, evaluate, export.",
    help_epilogue=(
        "Every command takes --plugin FILE.py, or the name of an installed plugin; may be repeated. It loads networks, "
        "data sets, attacks, objectives, probes, views and studies of one's own."
    ),
    version=__version__,
    result_action="return_value",
)

__all__ = ["INTERRUPTED", "Device", "RunFolder", "app", "interruptible", "say"]

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
