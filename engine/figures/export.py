"""Write figures, the plotted data, captions and a recipe from a run folder; the run folder itself is only read.

Each view's files lie in ``OUT/<view>/``; ``OUT/recipe.json`` and ``OUT/reproduce.py`` replay the run (see
:mod:`engine.run.recipe`). Everything is drawn before anything is written, and every file is renamed into place whole.
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
from engine.core.errors import ConfigError, StoreError
from engine.core.files import write_atomically
from engine.figures import figures
from engine.figures.base import FigureData, Table
from engine.figures.style import FORMATS, check_format, check_width, render
from engine.run.recipe import RECIPE, REPRODUCE, WEIGHT, build, script, weights
from engine.run.store import Store
from engine.studies.base import NotMeasured


def export(
    run_folder: Path,
    views: Sequence[str] | Literal["all"],
    out: Path,
    *,
    formats: Sequence[str] = FORMATS,
    step: int | None = None,
    options: Mapping[str, str] | None = None,
    width: float = 6.75,
    progress: Callable[[str], None] | None = None,
) -> list[Path]:
    """Export ``views`` of a run at the checkpoint of ``step`` (the newest by default); return the files written.

    ``options`` are names and values of the views' options (``sort=purity``); one is passed on to every view that has
    it. ``width`` is 3.25 or 6.75 inches. ``progress`` is told what is being done, in a few words. Of all views, those
    that were not measured on this run are skipped; one asked for by name raises :class:`NotMeasured`.

    Raises :class:`ConfigError` for an unknown view, format, option, value or width, and :class:`StoreError` if there is
    no such run or checkpoint or ``out`` cannot be written. Then no file is left half-written.
    """
    say = progress or (lambda _: None)
    chosen = tuple(figures) if views == "all" else tuple(dict.fromkeys(views))
    given = dict(options or {})
    _check(chosen, given, formats, width)
    out = Path(out)
    store = Store.open(run_folder, read_only=True)
    try:
        checkpoint = store.load(step)
        chosen = _drawable(chosen, checkpoint.config, named=views != "all")
        completed = {view: figures[view].complete(given) for view in chosen}
        content: dict[Path, bytes] = {}
        for view in chosen:
            say(f"{view}: reading")
            try:
                data = figures[view]().collect(store, checkpoint, completed[view])
            except NotMeasured as error:
                if views != "all":
                    raise
                say(f"{view}: skipped, {error}")
                del completed[view]
                continue
            for name, file in _files(view, data, formats, width, say).items():
                content[out / view / name] = file
        say("recipe: reading")
        drawn = {"views": completed, "formats": list(formats), "width": width}
        recipe = build(store, checkpoint) | {"figures": drawn}
    finally:
        store.close()
    content[out / RECIPE] = (json.dumps(recipe, indent=1, ensure_ascii=False) + "\n").encode()
    content[out / REPRODUCE] = script().encode()
    content[out / WEIGHT] = npz(weights(checkpoint.arrays))
    for path, file in content.items():
        say(f"writing {path.relative_to(out)}")
        _write(path, file)
    return list(content)


def _check(views: Sequence[str], given: Mapping[str, str], formats: Sequence[str], width: float) -> None:
    if not views:
        raise ConfigError(f"view: got none; allowed: {', '.join(figures)}, or all")
    for form in formats:
        check_format(form)
    check_width(width)
    known = dict.fromkeys(o.name for view in views for o in figures[view].options)
    for name in given:
        if name not in known:
            allowed = ", ".join(known) or "none for this view"
            raise ConfigError(f"option: got {name!r}; allowed: {allowed}")


def _drawable(views: Sequence[str], config: Config, *, named: bool) -> tuple[str, ...]:
    """Those of ``views`` that a run of ``config`` has; with ``named`` each must be one of them."""
    fitting = tuple(view for view in figures if config.kind in figures[view].kinds)
    for view in views:
        if named and view not in fitting:
            raise ConfigError(f"view: got {view!r}; allowed for a run on {config.world.name}: {', '.join(fitting)}")
    return tuple(view for view in views if view in fitting)


def _files(
    view: str, data: FigureData, formats: Sequence[str], width: float, say: Callable[[str], None]
) -> dict[str, bytes]:
    """File name → content of everything in one view's folder."""
    found: dict[str, bytes] = {}
    for form in formats:
        say(f"{view}: drawing {form}")
        found[f"{view}.{form}"] = render(data, form, width)
    for name, table in data.tables.items():
        found[f"{view}.{name}.csv" if name else f"{view}.csv"] = table_csv(table)
    found[f"{view}.npz"] = npz(data.arrays)
    found["caption.txt"] = (data.caption + "\n").encode()
    return found


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


def _write(path: Path, content: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, content)
    except OSError as error:
        raise StoreError(f"out: {path} cannot be written: {error.strerror or error}") from None
