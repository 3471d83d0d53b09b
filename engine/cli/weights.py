"""The command that writes a run's weights for plain PyTorch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from engine.cli.app import Data, RunFolder, app, say
from engine.cli.options import images_at


@app.command
def weights(
    folder: RunFolder,
    *,
    moment: Annotated[
        Literal["start", "clean", "now"],
        Parameter(help="Of which moment: the start, the end of clean training, or now."),
    ] = "now",
    checkpoint: Annotated[int | None, Parameter(help="Step of the checkpoint. Default: the newest.")] = None,
    out: Annotated[Path, Parameter(help="File to write; its name ends with .safetensors.")],
    data: Data = None,
) -> int:
    """Write a run's network as a plain state dict, and beside it the few lines of plain PyTorch that load it."""
    from engine.api.weights import write_weights

    with images_at(folder, data):
        written = write_weights(folder, out, moment=moment, step=checkpoint)
    say(f"weights: {written.weights}")
    if written.script is None:
        say("they load into the network that model.name builds: plain PyTorch has no such one")
    else:
        say(f"loaded by: {written.script}")
    return 0
