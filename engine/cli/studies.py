"""The slow commands, and those about data: claims, race, local purification, low rank, data sets.

A window runs them in another process and reads their ``progress`` lines; SIGTERM and Ctrl+C end them.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from engine.cli.app import RunFolder, app, interruptible, say
from engine.core.errors import ConfigError


class Progress:
    """Prints a line for each percent: a window reads it, and a person understands it."""

    def __init__(self) -> None:
        self._last = ""

    def __call__(self, share: float, what: str) -> None:
        """Say that ``share`` of the work is done, and what is under way."""
        line = f"progress {share:.2f} {what}"
        if line != self._last:
            self._last = line
            say(line)


@app.command
def claims(
    folder: RunFolder,
    *,
    verify: Annotated[
        bool,
        Parameter(help="First measure the slow figures: verified evaluation, rivals, transfer, low rank.", negative=""),
    ] = False,
    n: Annotated[int, Parameter(help="Held-out samples of the slow figures.")] = 1000,
    seeds: Annotated[
        int, Parameter(help="Repeat the run's config with seeds 0 … N−1, below DIR/seeds; print mean and spread.")
    ] = 0,
) -> int:
    """Decide the paper's claims on a run, print the table and write claims.json (with --seeds claims-seeds.json)."""
    from engine.studies.decide import claims_of, over_seeds, seeds_table, table
    from engine.studies.files import read_warnings

    for name, value, low, high in (("--n", n, 16, 100_000), ("--seeds", seeds, 0, 1000)):
        if not low <= value <= high:
            raise ConfigError(f"{name}: got {value}; allowed: a whole number from {low} to {high}")
    if seeds:
        say(seeds_table(over_seeds(folder, seeds, verify=verify, n=n, progress=Progress())))
    else:
        say(table(claims_of(folder, verify=verify, n=n, progress=Progress())))
        for found in read_warnings(folder):
            say(f"WARNING at step {found.step}: {found.text} ({found.evidence})")
    return 0


@app.command
def race(
    folder: RunFolder,
    *,
    sweep: Annotated[
        bool, Parameter(help="Also train network and rivals at several dimensions d.", negative="")
    ] = False,
    n: Annotated[int, Parameter(help="Held-out samples.")] = 1000,
) -> int:
    """Train the rivals (linear, polynomial, NTK) on the run's world and write race.json."""
    from engine.studies.comparison import compare as run_race

    _check_n(n)
    say(run_race(folder, sweep=sweep, n=n, progress=Progress()))
    return 0


@app.command
def local(
    folder: RunFolder,
    *,
    layer: Annotated[
        list[str] | None, Parameter(help="A layer to draw again; may be repeated. Default: first and last convolution.")
    ] = None,
    clean_steps: Annotated[
        int | None, Parameter(help="Clean steps of the layer alone. Default: half the run's.")
    ] = None,
    adversarial_steps: Annotated[int | None, Parameter(help="Adversarial steps. Default: half the run's.")] = None,
    n: Annotated[int, Parameter(help="Held-out images.")] = 1000,
) -> int:
    """Draw single layers of a run on images again and train them alone, clean, then adversarially; write local.json."""
    from engine.studies.layerwise import local_study, table

    _check_n(n)
    found = local_study(
        folder, layer, clean_steps=clean_steps, adversarial_steps=adversarial_steps, n=n, progress=Progress()
    )
    say(table(found))
    return 0


@app.command
def low_rank(
    folder: RunFolder,
    *,
    rank: Annotated[
        list[int] | None, Parameter(help="Rank; may be repeated; 0 is the full update. Default: 1 2 4 8 16 0.")
    ] = None,
    layers: Annotated[str, Parameter(help="all, or names separated by commas.")] = "all",
    steps: Annotated[int | None, Parameter(help="Steps of each phase. Default: the run's.")] = None,
    n: Annotated[int, Parameter(help="Held-out samples.")] = 1000,
) -> int:
    """Repeat the adversarial phase from the clean weights at several ranks and write low_rank.json."""
    from engine.studies.low_rank import RANKS, rank_study, table

    _check_n(n)
    found = rank_study(folder, tuple(rank or RANKS), layers=layers, steps=steps, n=n, progress=Progress())
    say(table(found))
    return 0


@app.command
def data(
    name: Annotated[
        str | None, Parameter(help="One of them; with --download one that can be had, such as cifar10. Default: all.")
    ] = None,
    *,
    download: Annotated[bool, Parameter(help="Download it.", negative="")] = False,
    folder: Annotated[
        Path | None, Parameter(help="Where to look or to put it. Default: the user's data folder.")
    ] = None,
    json_: Annotated[bool, Parameter(name="--json", help="Print JSON.", negative="")] = False,
) -> int:
    """List the data sets: installed or not, where, how large; or download one."""
    from engine.data import catalogue
    from engine.data.images import sources

    where = "" if folder is None else str(folder)
    if download:
        with interruptible() as seen:  # so that nothing half-done is left behind
            saved = catalogue.download(name, where, progress=Progress(), cancelled=lambda: bool(seen))
        say(f"saved: {saved}")
        return 0
    if name is not None and name not in sources:
        raise ConfigError(f"data: got {name!r}; allowed: {', '.join(sources)}")
    found = catalogue.survey(where) if name is None else (catalogue.look(name, where),)
    if json_:
        say(json.dumps([asdict(each) for each in found]))
        return 0
    for each in found:
        state = f"{each.size_bytes / 1e6:.1f} MB" if each.installed else "not installed"
        say(f"{each.name:<13}{each.title}: {state}; {each.images}\n{'':13}{each.where}")
        if each.note:
            say(f"{'':13}{each.note}")
    return 0


def _check_n(n: int) -> None:
    if not 16 <= n <= 100_000:
        raise ConfigError(f"--n: got {n}; allowed: a whole number from 16 to 100000")
