"""Write figures, the plotted data, captions and a recipe from a run folder; the run folder itself is only read.

All views are drawn from one checkpoint. Each view's files lie in ``OUT/<view>/``: the figure in each format; what is
plotted as CSV, one file a table, a line of names with units first; pictures and matrices as ``<view>.npz``, which no
CSV file repeats; ``caption.txt``, which lists them. ``OUT/recipe.json`` holds the options of every view, and
``OUT/reproduce.py`` replays the run by it (see :mod:`engine.run.recipe`). Everything is drawn before anything is
written, and every file is renamed into place whole.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from engine.config.experiment import Config
from engine.core.errors import ConfigError, ExplorerError
from engine.core.files import absolute, refusal, write_atomically
from engine.core.quoting import quote
from engine.core.slices import Progress, silent
from engine.figures import figures
from engine.figures.base import FigureData, Table
from engine.figures.fonts import undrawable
from engine.figures.style import FORMATS, check_format, check_width, render_all
from engine.run.recipe import RECIPE, REPRODUCE, WEIGHT, build, script, weights
from engine.run.store import Checkpoint, Store
from engine.run.timeline import until
from engine.studies.base import NotMeasured

Options = Mapping[str, str]


class ExportError(ExplorerError):
    """Some views could not be drawn: ``failures`` is view → why. ``written`` are the files of the others."""

    def __init__(self, failures: Mapping[str, str], written: Sequence[Path]) -> None:
        super().__init__("\n".join(f"{view}: {' '.join(text.split())}" for view, text in failures.items()))
        self.failures = dict(failures)
        self.written = tuple(written)


def export(
    run_folder: Path,
    views: Sequence[str] | Literal["all"],
    out: Path,
    *,
    formats: Sequence[str] = FORMATS,
    step: int | None = None,
    options: Options | None = None,
    width: float = 6.75,
    progress: Progress = silent,
) -> list[Path]:
    """Export ``views`` of a run at the checkpoint of ``step`` (the newest by default); return the files written.

    ``options`` are names and values of the views' options: ``neurons.sort`` that of one view, ``sort`` that of every
    view that has it and is given none of its own. ``width`` is 3.25 or 6.75 inches. ``progress`` is told which share is
    done and what is under way. Of all views, those that were not measured on this run are skipped.

    Raises :class:`ConfigError` for an unknown view, format, option, value or width, and :class:`StoreError` if there is
    no such run or checkpoint or ``out`` cannot be written. Then no file is left half-written. Views whose reading or
    drawing fails are named by an :class:`ExportError` at the end; the others are written. If but one view was asked for
    and fails by an error for the user, such as :class:`NotMeasured`, that is raised itself.
    """
    chosen = tuple(figures) if views == "all" else tuple(dict.fromkeys(views))
    given = _options_of(chosen, options or {})
    for form in formats:
        check_format(form)
    check_width(width)
    out = absolute(out)
    store = Store.open(run_folder, read_only=True)
    try:
        store.check()
        checkpoint = store.load(step)
        chosen = _drawable(chosen, checkpoint.config, named=views != "all")
        completed = {view: figures[view].view.complete(given[view]) for view in chosen}
        content: dict[Path, bytes] = {}
        failures: dict[str, str] = {}
        for i, view in enumerate(chosen):
            steps = Steps(progress, view, i, len(chosen), len(formats) + 1)
            try:
                found = _draw(view, store, checkpoint, completed[view], formats, width, steps)
            except NotMeasured as error:
                if len(chosen) == 1 and views != "all":
                    raise
                if views == "all":
                    steps(f"skipped, {error}")
                else:
                    failures[view] = str(error)
            except ExplorerError as error:
                if len(chosen) == 1:
                    raise
                failures[view] = str(error)
            except BrokenPipeError:  # nobody listens any more
                raise
            except Exception as error:  # whatever it is, the other views are drawn
                failures[view] = f"{type(error).__name__}: {error}"
            else:
                content |= {out / view / name: file for name, file in found.items()}
                continue
            del completed[view]
        if completed:
            progress(1.0, "writing")
            drawn = {"views": completed, "formats": list(formats), "width": width}
            recipe = build(store, checkpoint) | {"figures": drawn}
            content[out / RECIPE] = (json.dumps(recipe, indent=1, ensure_ascii=False) + "\n").encode()
            content[out / REPRODUCE] = script().encode()
            content[out / WEIGHT] = npz(weights(checkpoint.arrays))
    finally:
        store.close()
    write_files(content)
    if failures:
        raise ExportError(failures, list(content))
    return list(content)


class Steps:
    """Tells the progress of one view among ``views``, each of ``steps`` equal steps: call it with what comes next."""

    def __init__(self, say: Progress, view: str, index: int, views: int, steps: int) -> None:
        self._say, self._view, self._done, self._total = say, view, index * steps, views * steps

    def __call__(self, what: str) -> None:
        """``what`` begins."""
        self._say(self._done / self._total, f"{self._view}: {what}")
        self._done += 1


def _options_of(views: Sequence[str], given: Options) -> dict[str, dict[str, str]]:
    """View → what is given for it. Raises :class:`ConfigError` for a name that is an option of none of ``views``."""
    if not views:
        raise ConfigError(f"view: got none; allowed: {', '.join(figures)}, or all")
    known = {view: {n for o in figures[view].view.options for n in (o.name, o.was) if n} for view in views}
    found: dict[str, dict[str, str]] = {view: {} for view in views}
    for name in sorted(given, key=lambda name: "." in name):  # what is given for one view comes later, and stays
        view, _, option = name.rpartition(".")
        if view and view not in views:
            raise ConfigError(f"option: got {quote(name)}, but the views chosen are {', '.join(views)}")
        fitting = [each for each in ([view] if view else views) if option in known[each]]
        if not fitting:
            names = dict.fromkeys(o.name for each in ([view] if view else views) for o in figures[each].view.options)
            raise ConfigError(f"option: got {quote(name)}; allowed: {', '.join(names) or 'none for this view'}")
        for each in fitting:
            found[each][option] = given[name]
    return found


def _drawable(views: Sequence[str], config: Config, *, named: bool) -> tuple[str, ...]:
    """Those of ``views`` that a run of ``config`` has; with ``named`` each must be one of them."""
    fitting = tuple(view for view in figures if config.kind in figures[view].view.kinds)
    for view in views:
        if named and view not in fitting:
            allowed = f"allowed for a run on {config.world.name}: {', '.join(fitting)}"
            raise ConfigError(f"view: got {quote(view)}; {allowed}")
    return tuple(view for view in views if view in fitting)


def _draw(
    view: str,
    store: Store,
    checkpoint: Checkpoint,
    options: Options,
    formats: Sequence[str],
    width: float,
    say: Callable[[str], None],
) -> dict[str, bytes]:
    """File name → content of everything in one view's folder."""
    say("reading")
    declared = figures[view].view
    recorded = lambda name: bool(len(until(store.series(name), checkpoint.step)))  # noqa: E731
    if not declared.file and (why := declared.missing(store.folder, recorded)):  # a study's file says it by its error
        raise NotMeasured(f"{view}: {why}, up to step {checkpoint.step}")
    data = figures[view]().collect(store, checkpoint, options)
    found = {f"{view}.{form}": file for form, file in render_all(data, formats, width, say).items()}
    for name, table in data.tables.items():
        found[f"{view}.{name}.csv" if name else f"{view}.csv"] = table_csv(table)
    if data.arrays:
        found[f"{view}.npz"] = npz(data.arrays)
    found["caption.txt"] = caption(view, data).encode()
    return found


def caption(view: str, data: FigureData) -> str:
    """The figure's caption, the names that could not be drawn, and which files hold the data."""
    lines = [data.caption]
    if lost := undrawable(data.names()):
        lines.append(f"No font here has all characters of: {', '.join(lost)}.")
    files = [f"{view}.{name}.csv" if name else f"{view}.csv" for name in data.tables]
    if data.arrays:
        files.append(f"{view}.npz ({', '.join(data.arrays)})")
    return "\n".join([*lines, f"Data: {', '.join(files)}."]) + "\n"


def table_csv(table: Table) -> bytes:
    """The table as CSV (UTF-8): a line of names with units, then the values (see :meth:`Column.texts`)."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([c.header for c in table])
    writer.writerows(zip(*(c.texts() for c in table), strict=True))
    return file.getvalue().encode()


def npz(arrays: Mapping[str, Any]) -> bytes:
    """The arrays as an NPZ file's bytes; no pickle in it."""
    file = io.BytesIO()
    np.savez_compressed(file, allow_pickle=False, **arrays)
    return file.getvalue()


def write_files(content: Mapping[Path, bytes]) -> None:
    """Write every file whole, with the folders that it lies in. Raises :class:`StoreError` naming the first refused."""
    for path, file in content.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, file)
        except OSError as error:
            raise refusal(f"out: {path} cannot be written", error) from None
