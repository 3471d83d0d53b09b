"""The command that lists runs."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from engine.cli.app import app, say
from engine.core.errors import StoreError
from engine.core.files import absolute
from engine.core.folders import runs_root
from engine.core.measurement import NORM_SIGN
from engine.core.quoting import plain
from engine.run.entry import SHOWN, PhaseEnd
from engine.run.index import ListedRun, RunIndex

HEADS = ("run", "preset", "seed", "state", "phase", "step", "clean end", "second end", "written", "MB")


@app.command
def runs(
    folder: Annotated[
        Path | None, Parameter(help="The folder that holds runs, or a run. Default: where the window keeps them.")
    ] = None,
    *,
    json_: Annotated[bool, Parameter(name="--json", help="Print JSON.", negative="")] = False,
) -> int:
    """List the runs below a folder: how far each came, how it stands, its accuracies at the ends of its phases.

    "Clean end" and "second end" are clean / PGD / certified accuracy in the report of the clean phase that ended last
    and of the phase that followed it; --json gives the protocol of each.
    """
    root = absolute(runs_root() if folder is None else folder)
    if folder is not None and not root.is_dir():
        raise StoreError(f"folder: {plain(str(folder))} {'is no folder' if root.exists() else 'does not exist'}")
    found = RunIndex(root).look()
    if json_:
        say(json.dumps([_record(run) for run in found], indent=1))
        return 0
    if not found:
        say(f"no runs below {plain(str(root))}")
        return 0
    rows = [HEADS, *(_row(run, root) for run in found)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        say("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())
    for run in found:
        if run.entry.reason:
            say(f"{plain(run.name)}: {plain(run.entry.reason)}")
    if how := _protocols(found):
        say(f"clean / PGD / certified, measured by: {'; '.join(how)}")
    return 0


def _row(run: ListedRun, root: Path) -> tuple[str, ...]:
    entry = run.entry
    name = str(run.folder.relative_to(root)) if run.folder != root else run.name
    state = f"{run.standing} (process {run.holder})" if run.holder and run.standing == "training" else run.standing
    if entry.reason:
        return plain(name), "", "", state, "", "", "", "", _when(entry.written), f"{entry.size / 1e6:.1f}"
    return (
        plain(name), entry.preset or "–", str(entry.seed), state, entry.phase, f"{entry.step}/{entry.total}",
        _accuracies(entry.clean_end), _accuracies(entry.second_end), _when(entry.written), f"{entry.size / 1e6:.1f}",
    )  # fmt: skip


def _accuracies(end: PhaseEnd | None) -> str:
    if end is None:
        return "–"
    found = [end.figures.get(name) for name in SHOWN]
    return " / ".join("–" if each is None else f"{each.value:.3f}" for each in found)


def _when(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))


def _protocols(found: tuple[ListedRun, ...]) -> list[str]:
    """The different protocols of the accuracies in the table, each in a few words."""
    words: dict[str, None] = {}
    for run in found:
        for end in (run.entry.clean_end, run.entry.second_end):
            for figure in [] if end is None else end.figures.values():
                how = figure.protocol
                if how is not None:
                    effort = f" {how.steps} steps × {how.restarts}" if how.steps else ""
                    ball = "" if how.attack == "clean" else f", {NORM_SIGN[how.norm]} radius {how.tau:g}"
                    words[f"{how.attack}{effort}{ball}, n = {how.n}"] = None
    return list(words)


def _record(run: ListedRun) -> dict[str, Any]:
    return {
        "name": run.name, "folder": str(run.folder), "state": run.standing, "process": run.holder or None,
        **run.entry.model_dump(exclude={"outcome", "lacking"}),
    }  # fmt: skip
