"""The command that makes an animation of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from engine.cli.app import Data, RunFolder, app, say
from engine.cli.options import images_at


@app.command
def animate(
    folder: RunFolder,
    *,
    view: Annotated[str, Parameter(help="neurons, filters or mixtures.")],
    out: Annotated[Path, Parameter(help="File to write: its name ends with .gif, or .mp4 (extra video).")],
    frames: Annotated[int, Parameter(help="Stored steps to draw at most; evenly chosen among them.")] = 60,
    fps: Annotated[int, Parameter(help="Frames a second.")] = 10,
    from_: Annotated[int, Parameter(name="--from", help="The first step.")] = 0,
    to: Annotated[int | None, Parameter(help="The last step. Default: the newest.")] = None,
    beside: Annotated[
        bool, Parameter(help="Draw the start and the end of clean training beside each frame.", negative="")
    ] = False,
    data: Data = None,
) -> int:
    """Draw a view of a run at its stored steps as an animation, on one contrast."""
    from engine.cli.studies import ProgressLines
    from engine.figures.animation import animate as write

    with images_at(folder, data):
        steps = write(
            folder, view, out, frames=frames, fps=fps, first=from_, last=to, beside=beside, progress=ProgressLines()
        )
    say(f"{len(steps)} frames, steps {steps[0]} to {steps[-1]}: {out}")
    return 0
