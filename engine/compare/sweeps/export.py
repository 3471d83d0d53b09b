"""Write the figure of a sweep, with its data, caption and a recipe; the sweep's folder is only read.

The files lie in ``OUT/sweep/``, as those of a run's view do (:mod:`engine.figures.export`); ``OUT/recipe.json`` holds
the whole of ``sweep.json`` and the figure's options, and ``OUT/reproduce.py`` trains the sweep again by it and compares
its figures.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from engine.compare.sweeps.collect import collect
from engine.compare.sweeps.declare import VIEW
from engine.config.curves import PREFIX
from engine.core.errors import ConfigError
from engine.core.files import absolute
from engine.core.quoting import quote
from engine.core.slices import Progress, silent
from engine.figures.export import caption, table_csv, write_files
from engine.figures.style import FORMATS, check_format, check_width, render
from engine.run.recipe import RECIPE, REPRODUCE, git_commit, versions
from engine.run.schema import FORMAT
from engine.sweeps.record import FORMAT as SWEEP_FORMAT
from engine.sweeps.record import Sweep, text_of
from engine.sweeps.results import SweepResults, results


def export_sweep(
    folder: Path,
    views: Sequence[str] | Literal["all"],
    out: Path,
    *,
    formats: Sequence[str] = FORMATS,
    options: Mapping[str, str] | None = None,
    width: float = 6.75,
    found: SweepResults | None = None,
    progress: Progress = silent,
) -> list[Path]:
    """Export the view of the sweep in ``folder``; return the files written.

    ``options`` are those of the view, ``sweep.kind`` or ``kind``. ``found`` are its results, if they are read already.
    Raises :class:`ConfigError` for another view, an unknown option, value, format or width, :class:`StoreError` if
    there is no such sweep or ``out`` cannot be written, :class:`NotMeasured` if no run has anything of what is asked.
    """
    name = VIEW.name
    if views != "all" and (other := next((view for view in views if view != name), None)):
        raise ConfigError(f"view: got {quote(other)}, and {folder} holds a sweep; allowed: {name}, or a run's folder")
    if not views:
        raise ConfigError(f"view: got none; allowed: {name}")
    for form in formats:
        check_format(form)
    check_width(width)
    completed = VIEW.complete(_given(options or {}))
    out = absolute(out)
    progress(0.0, f"{name}: reading")
    found = found or results(folder)
    data = collect(found, completed)
    content: dict[Path, bytes] = {}
    for i, form in enumerate(formats):
        progress((i + 1) / (len(formats) + 1), f"{name}: drawing {form}")
        content[out / name / f"{name}.{form}"] = render(data, form, width)
    for table, columns in data.tables.items():
        content[out / name / (f"{name}.{table}.csv" if table else f"{name}.csv")] = table_csv(columns)
    content[out / name / "caption.txt"] = caption(name, data).encode()
    progress(1.0, "writing")
    recipe = {
        "format": FORMAT,
        "sweep": {"format": SWEEP_FORMAT, **found.sweep.model_dump(mode="json")},
        "command": command(found.sweep),
        "states": {row.name: row.state for row in found.rows},
        "figures": {"views": {name: completed}, "formats": list(formats), "width": width},
        "versions": versions(),
        "git": git_commit(),
    }
    content[out / RECIPE] = (json.dumps(recipe, indent=1, ensure_ascii=False) + "\n").encode()
    content[out / REPRODUCE] = _SCRIPT.encode()
    write_files(content)
    return list(content)


def _given(options: Mapping[str, str]) -> dict[str, str]:
    """The options without the view's name. Raises :class:`ConfigError` for one that it does not have."""
    found = {}
    for name in sorted(options, key=lambda name: "." in name):
        view, _, option = name.rpartition(".")
        if view not in ("", VIEW.name) or option not in {each.name for each in VIEW.options}:
            raise ConfigError(f"option: got {quote(name)}; allowed: {', '.join(each.name for each in VIEW.options)}")
        found[option] = options[name]
    return found


def command(sweep: Sweep) -> str:
    """The command line that plans such a sweep anew, for a shell; ``FOLDER`` stands for its folder."""
    parts = ["python", "-m", "engine", "sweep", sweep.preset]
    for path, values in sweep.grid.items():
        parts += ["--grid", f"{path.removeprefix(PREFIX)}={','.join(map(text_of, values))}"]
    parts += ["--seeds", ",".join(map(str, sweep.seeds))]
    for path, value in sweep.settings.items():
        if value is not None:
            parts += ["--set", f"{path.removeprefix(PREFIX)}={text_of(value)}"]
    return shlex.join([*parts, *(["--verify"] if sweep.verify else []), "--out", "FOLDER"])


_SCRIPT = '''\
"""Train the sweep again from recipe.json beside this file, draw its figure, and compare the numbers.

Needs the package "feature-purification-explorer" (versions, commit, command line: see recipe.json).
Usage: python reproduce.py FOLDER [--plugin FILE]
The exit code is 0 if every run that was finished shows the same figures, 1 if not, 2 if a file is wrong.
"""

import sys

if not sys.flags.safe_path:  # what lies beside this file must not be taken for a module of the same name
    sys.path.append(sys.path.pop(0))

import argparse
import csv
import json
from pathlib import Path

from engine.cli.main import run_command_line


def finished(path):
    """The lines of a table whose runs were finished."""
    with path.open(encoding="utf-8", newline="") as file:
        head, *lines = csv.reader(file)
    state = head.index("state [name]")
    return [line for line in lines if line[state] == "finished"]


def main():
    """Train, draw and compare; returns the exit code."""
    here = Path(__file__).parent
    parser = argparse.ArgumentParser(description="Train the sweep of recipe.json again and compare its figures.")
    parser.add_argument("folder", type=Path, help="new folder for the sweep; one that holds it is gone on with")
    parser.add_argument("--plugin", action="append", default=[], help="a plugin that it needs; may be repeated")
    given = parser.parse_args()
    folder, plugins = given.folder, [word for each in given.plugin for word in ("--plugin", each)]
    recipe = json.loads((here / "recipe.json").read_text(encoding="utf-8"))
    if not (folder / "sweep.json").exists():
        folder.mkdir(parents=True)
        (folder / "sweep.json").write_text(json.dumps(recipe["sweep"]), encoding="utf-8")
    if run_command_line(["sweep", "--out", str(folder), "--resume", *plugins]) not in (0, 1):
        return 2
    figures = recipe["figures"]
    (options,) = figures["views"].values()
    arguments = ["--width", str(figures["width"])]
    arguments += [each for form in figures["formats"] for each in ("--format", form)]
    arguments += [each for name, value in options.items() for each in ("--option", f"{name}={value}")]
    out = folder / "figures"
    if run_command_line(["export", str(folder), "--view", "sweep", "--out", str(out), *arguments]):
        return 2
    again = finished(out / "sweep" / "sweep.csv")
    before = finished(here / "sweep" / "sweep.csv")
    other = [line for line in before if line not in again]
    for line in other:
        print("before:", ",".join(line))
    print(f"{len(before) - len(other)} of {len(before)} values are the same")
    return 1 if other else 0


if __name__ == "__main__":
    sys.exit(main())
'''
