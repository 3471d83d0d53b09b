"""The command that puts several runs beside each other."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from engine.cli.app import app, say
from engine.cli.options import options_of


@app.command
def compare(
    *folders: Annotated[Path, Parameter(help="Two or more run folders.")],
    view: Annotated[
        list[str],
        Parameter(help="robustness, mixtures, radius, neurons; on images layers, filters; or all. May be repeated."),
    ],
    out: Annotated[Path, Parameter(help="Folder to write to; made if it is not there.")],
    mean: Annotated[
        bool, Parameter(help="Draw runs that differ in the seed alone as their mean and range.", negative="")
    ] = False,
    checkpoint: Annotated[
        int | None, Parameter(help="Step of the checkpoint in every run. Default: the newest of each.")
    ] = None,
    format_: Annotated[
        list[Literal["png", "svg", "pdf"]] | None,
        Parameter(name="--format", help="May be repeated. Default: all three."),
    ] = None,
    width: Annotated[float, Parameter(help="Width in inches; 3.25 is one column, 6.75 two.")] = 6.75,
    option: Annotated[
        list[str] | None,
        Parameter(help="view.name=value, e.g. neurons.moment=clean, or name=value; may be repeated."),
    ] = None,
) -> int:
    """Overlay the curves of two or more runs, or set their galleries side by side, and list the knobs that differ.

    Writes figures, the plotted data with a column for the run, captions and a recipe of all the runs.
    """
    from engine.cli.studies import ProgressLines
    from engine.compare.export import compare as write
    from engine.compare.naming import differ_lines

    found = write(
        folders, "all" if "all" in view else view, out, formats=tuple(format_ or ("png", "svg", "pdf")),
        step=checkpoint, options=options_of(option or []), width=width, mean=mean, progress=ProgressLines(),
    ).compared  # fmt: skip
    for line in differ_lines(found.differing, found.names):
        say(line)
    return 0
