"""Write comparisons of runs as figures, with their data, captions and a recipe; the run folders are only read.

Each view's files lie in ``OUT/<view>/``, as those of one run do (:mod:`engine.figures.export`); ``OUT/knobs.csv`` holds
the knobs that differ, ``OUT/recipe.json`` the recipe of every run with its folder, and the options, ``OUT/runs/1`` and
so on what replays each run by itself. ``OUT/reproduce.py`` trains them all again and draws the comparison anew
(:mod:`engine.compare.reproduce`). Everything is drawn before anything is written, and every file is renamed into place
whole.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from engine.compare.base import ComparedRuns, ComparedView, comparisons
from engine.compare.naming import differ_table
from engine.compare.record import RecordedRun, check_kinds, folders_of
from engine.compare.script import RUNS, script
from engine.config.experiment import Config, to_dict
from engine.core.errors import ConfigError
from engine.core.files import absolute
from engine.core.quoting import quote
from engine.core.slices import Progress, silent
from engine.figures.export import ExportError, Steps, caption, npz, table_csv, write_files
from engine.figures.style import FORMATS, check_format, check_width, render_all
from engine.run.recipe import RECIPE, REPRODUCE, WEIGHT, build, weights
from engine.run.schema import FORMAT
from engine.run.store import Store
from engine.studies.base import NotMeasured

KNOBS = "knobs.csv"


@dataclass(frozen=True)
class Compared:
    """What was compared, and the ``files`` written of it."""

    compared: ComparedRuns
    files: tuple[Path, ...]


def compare(
    folders: Sequence[Path],
    views: Sequence[str] | Literal["all"],
    out: Path,
    *,
    formats: Sequence[str] = FORMATS,
    step: int | None = None,
    options: Mapping[str, str] | None = None,
    width: float = 6.75,
    mean: bool = False,
    progress: Progress = silent,
) -> Compared:
    """Compare the runs in ``folders`` in ``views``, each at its checkpoint of ``step`` (its newest by default).

    With ``mean`` runs that differ in the seed alone are drawn as their mean and range. ``options`` are names and values
    of the comparisons' options, as :func:`engine.figures.export.export` takes them.

    Raises :class:`ConfigError` for less than two runs, runs of different kinds, an unknown view, option or format,
    :class:`StoreError` for a folder that is no run or cannot be written, and :class:`NotMeasured` if nothing of the one
    view that was asked for is recorded; of several an :class:`ExportError` names those that could not be drawn.
    """
    for form in formats:
        check_format(form)
    check_width(width)
    out = absolute(out)
    chosen = tuple(comparisons) if views == "all" else tuple(dict.fromkeys(views))
    drawers = {view: comparisons[view]() for view in chosen}
    if not drawers:
        raise ConfigError(f"view: got none; allowed: {', '.join(comparisons)}, or all")
    completed = {view: drawer.complete(_given(view, drawers, options or {})) for view, drawer in drawers.items()}
    runs, recipes, trained = _read(folders_of(folders), step, drawers, progress)
    kind = runs[0].config.kind
    fitting = tuple(view for view in comparisons if kind in comparisons[view].view.kinds)
    unfit = [view for view in chosen if view not in fitting]
    if unfit and views != "all":
        allowed = f"allowed for runs on {runs[0].config.world.name}: {', '.join(fitting)}"
        raise ConfigError(f"view: got {quote(unfit[0])}; {allowed}")
    chosen = tuple(view for view in chosen if view in fitting)
    compared = ComparedRuns.of(runs, mean=mean)
    content: dict[Path, bytes] = {}
    failures: dict[str, str] = {}
    for i, view in enumerate(chosen):
        say = Steps(progress, view, i, len(chosen), len(formats) + 1)
        say("reading")
        try:
            data = drawers[view].collect(compared, completed[view])
        except NotMeasured as error:
            if len(chosen) == 1:
                raise
            failures[view] = str(error)
            continue
        content |= {out / view / f"{view}.{form}": file for form, file in render_all(data, formats, width, say).items()}
        for name, table in data.tables.items():
            content[out / view / (f"{view}.{name}.csv" if name else f"{view}.csv")] = table_csv(table)
        if data.arrays:
            content[out / view / f"{view}.npz"] = npz(data.arrays)
        content[out / view / "caption.txt"] = caption(view, data).encode()
    if content:
        progress(1.0, "writing")
        content[out / KNOBS] = table_csv(differ_table(compared.differing, compared.names))
        shown = {"views": {v: completed[v] for v in chosen if v not in failures}, "formats": list(formats)}
        recipe = {
            "format": FORMAT,
            "runs": [{"name": name} | each for name, each in zip(compared.names, recipes, strict=True)],
            "comparison": shown | {"width": width, "mean": mean},
        }
        content[out / RECIPE] = _json(recipe)
        if all(run.config.imported is None for run in runs):  # else nobody knows how to train one of them again
            content[out / REPRODUCE] = script().encode()
            for i, (each, kept) in enumerate(zip(recipes, trained, strict=True), start=1):
                content[out / RUNS / str(i) / RECIPE] = _json(each)
                content[out / RUNS / str(i) / WEIGHT] = kept
    write_files(content)
    if failures:
        raise ExportError(failures, list(content))
    return Compared(compared, tuple(content))


def _read(
    folders: Sequence[Path], step: int | None, drawers: Mapping[str, ComparedView], progress: Progress
) -> tuple[tuple[RecordedRun, ...], list[dict[str, Any]], list[bytes]]:
    """Every run's record up to its checkpoint, its recipe, and its weights there as an NPZ file."""
    configs = []
    for folder in folders:
        with closing(Store.open(folder, read_only=True)) as store:
            configs.append((folder, store.config))
    check_kinds(configs)
    runs, recipes, trained = [], [], []
    for folder in folders:
        progress(0.0, f"reading {folder.name}")
        with closing(Store.open(folder, read_only=True)) as store:
            store.check()
            checkpoint = store.load(step)
            wanted = lambda name: any(drawer.wants(name) for drawer in drawers.values())  # noqa: E731
            runs.append(RecordedRun.of_store(store, wanted, checkpoint))
            where = {"folder": str(folder), "config_hash": config_hash(store.config)}
            recipes.append(where | build(store, checkpoint))
            trained.append(npz(weights(checkpoint.arrays)))
    return tuple(runs), recipes, trained


def _json(record: Mapping[str, Any]) -> bytes:
    return (json.dumps(record, indent=1, ensure_ascii=False) + "\n").encode()


def config_hash(config: Config) -> str:
    """SHA-256 of the config as started, without what it says about itself."""
    knobs = {name: value for name, value in to_dict(config).items() if name != "about"}
    return hashlib.sha256(json.dumps(knobs, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def _given(view: str, drawers: Mapping[str, ComparedView], options: Mapping[str, str]) -> dict[str, str]:
    """What is given for one view. Raises :class:`ConfigError` for a name that is an option of none of them."""
    known = {each: {option.name for option in drawer.options} for each, drawer in drawers.items()}
    found: dict[str, str] = {}
    for name in sorted(options, key=lambda name: "." in name):  # what is given for one view comes later, and stays
        of, _, option = name.rpartition(".")
        if (of and of not in known) or not any(option in known[each] for each in ([of] if of else known)):
            allowed = dict.fromkeys(f"{each}.{option}" for each in known for option in sorted(known[each]))
            raise ConfigError(f"option: got {quote(name)}; allowed: {', '.join(allowed) or 'none for these views'}")
        if option in known[view] and of in ("", view):
            found[option] = options[name]
    return found
