"""Which runs a sweep has: every combination of the values given for knobs, with every seed; each is judged first.

Imports no torch.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from math import prod

from engine.config.assignments import assigned
from engine.config.curves import PREFIX
from engine.config.experiment import Config, from_dict, knobs, setting_of, to_dict, with_value, with_values
from engine.config.presets import load_preset
from engine.core.cores import check_threads
from engine.core.errors import ConfigError
from engine.core.quoting import plain, quote
from engine.run.recipe import versions
from engine.sweeps.record import MOST_RUNS, PlannedRun, Sweep, Value, text_of

SEEDS_ALLOWED = "whole numbers and ranges, e.g. 0-4 or 0,2,5"
GRID_ALLOWED = "knob=value,value,…, e.g. attack.tau=0.05,0.1,0.2"
LONGEST_NAME = 100  # characters of a run's name, without what makes it unique


def read_grid(texts: Iterable[str]) -> dict[str, list[str]]:
    """Knob → its values as text, of texts ``knob=value,value,…``; a comma in brackets belongs to a curve's points.

    Raises :class:`ConfigError` for a text of another form, and for a knob that is named twice.
    """
    grid: dict[str, list[str]] = {}
    for text in texts:
        name, separator, values = text.partition("=")
        name = name.strip()
        found = [each.strip() for each in _split(values)]
        if not separator or not name or not all(found) or not text.isprintable():
            raise ConfigError(f"--grid: got {quote(text)}; allowed: {GRID_ALLOWED}")
        if name in grid:
            raise ConfigError(f"--grid {plain(name)}: is given twice; allowed: all its values in one --grid")
        grid[name] = found
    return grid


def _split(text: str) -> list[str]:
    parts, depth = [""], 0
    for character in text:
        depth += {"[": 1, "]": -1}.get(character, 0)
        if character == "," and not depth:
            parts.append("")
        else:
            parts[-1] += character
    return parts


def read_seeds(text: str) -> tuple[int, ...]:
    """The seeds that ``text`` names: ``0-4``, ``0,2,5``, ``0-2,7``. Raises :class:`ConfigError`."""
    found: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,10})\s*(?:-\s*(\d{1,10})\s*)?", part, re.ASCII)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if not first <= last < first + MOST_RUNS:
            raise ConfigError(f"--seeds: got {quote(text)}; allowed: {SEEDS_ALLOWED}, at most {MOST_RUNS} of them")
        found += range(first, last + 1)
    if len(set(found)) < len(found):
        raise ConfigError(f"--seeds: got {quote(text)}; allowed: different seeds")
    return tuple(found)


def plan(
    preset: str,
    grid: Mapping[str, Sequence[str]],
    seeds: Sequence[int] | None = None,
    settings: Sequence[tuple[str, str]] = (),
    *,
    verify: bool = False,
    known: Sequence[PlannedRun] = (),
    base: Config | None = None,
) -> Sweep:
    """The sweep of ``preset``, a name or the path of a .toml file, over ``grid``: knob → its values as text.

    A ``base`` stands in the place of what is read by that name, which then only tells where it is from.

    ``seeds`` are by default the preset's one; ``settings`` are knobs with their values as text that all runs have; a
    curve in place of a number is one by schedule, as everywhere. A run has one CPU thread unless the knob ``threads``
    says otherwise, so that its figures depend neither on the machine nor on how many are trained side by side. Runs
    that are ``known`` already keep their names.

    Raises :class:`ConfigError` naming the knob, its value and what is allowed: for an unknown knob, a value that is not
    allowed in some combination, one given twice, too many runs.
    """
    base = load_preset(preset) if base is None else base
    axes = dict(grid)
    given = {*axes, *(name for name, _ in settings)}
    if "seed" in axes:
        seeds = _only(seeds, read_seeds(",".join(axes.pop("seed"))), "--grid seed")
    if "seed" in dict(settings) and seeds is not None:
        raise ConfigError("--set seed: got a seed, and seeds to sweep; allowed: one of them")
    fixed = [*settings, *([] if base.threads or "threads" in given else [("threads", "1")])]
    count = prod(len(texts) for texts in axes.values()) * (1 if seeds is None else len(seeds))
    if not 1 <= count <= MOST_RUNS:
        raise ConfigError(f"--grid: got {count} runs; allowed: 1 to {MOST_RUNS}")

    shared, combinations = _judged(base, fixed, axes)
    columns = _columns(axes, combinations)
    first = with_values(base, {**shared, **combinations[0]})
    chosen = (first.seed,) if seeds is None else tuple(seeds)
    for seed in chosen:
        with_value(first, "seed", seed)
    return Sweep(
        preset=preset, config=to_dict(base), settings=shared, grid=columns, seeds=chosen, verify=verify,
        created=time.time(), versions=versions(),
        runs=_named([(values, seed) for values in combinations for seed in chosen], columns, known),
    )  # fmt: skip


def replan(
    old: Sweep,
    preset: str | None = None,
    grid: Mapping[str, Sequence[str]] | None = None,
    seeds: Sequence[int] | None = None,
    settings: Sequence[tuple[str, str]] | None = None,
    *,
    verify: bool = False,
) -> Sweep:
    """The sweep ``old`` with further values and seeds; what is not given stays as it is.

    Raises :class:`ConfigError` that names what differs otherwise: a run that there is must be one of the new sweep,
    with the same knobs.
    """
    if preset is None and grid is None and seeds is None and settings is None:
        return old.model_copy(update={"verify": old.verify or verify})
    new = plan(
        old.preset if preset is None else preset,
        {path: [text_of(value) for value in column] for path, column in old.grid.items()} if grid is None else grid,
        old.seeds if seeds is None and not (grid and "seed" in grid) else seeds,
        [(path, text_of(value)) for path, value in old.settings.items()] if settings is None else settings,
        verify=old.verify or verify,
        known=old.runs,
        base=from_dict(old.config) if preset is None else None,
    )
    if list(new.grid) != list(old.grid):
        raise ConfigError(f"--grid: got {_listed(new.grid)}; this sweep is over {_listed(old.grid)}")
    for path, column in old.grid.items():
        _expect_kept(f"--grid {path}", new.grid[path], column)
    _expect_kept("--seeds", new.seeds, old.seeds)
    one, other = (with_values(from_dict(each.config), each.settings) for each in (new, old))
    for knob in knobs(other):
        got, had = (setting_of(each, knob.path) if _has(each, knob.path) else None for each in (one, other))
        if got != had and knob.path not in (*old.grid, "seed") and knob.group != "about":
            raise ConfigError(f"{knob.path}: got {got}; this sweep has {had}, which cannot change")
    return new.model_copy(update={"created": old.created})


def _listed(names: Iterable[str]) -> str:
    return ", ".join(map(plain, names)) or "no knob"


def _expect_kept(where: str, new: Sequence[object], old: Sequence[object]) -> None:
    if missing := [each for each in old if each not in new]:
        raise ConfigError(
            f"{where}: {text_of(missing[0])} is missing, of which there are runs; further ones may be added"
        )


def _has(config: Config, path: str) -> bool:
    return any(knob.path == path for knob in knobs(config))


def _only(seeds: Sequence[int] | None, others: tuple[int, ...], where: str) -> tuple[int, ...]:
    if seeds is not None:
        raise ConfigError(f"{where}: got seeds, and --seeds as well; allowed: one of them")
    return others


def _judged(
    base: Config, fixed: Sequence[tuple[str, str]], axes: Mapping[str, Sequence[str]]
) -> tuple[dict[str, Value | None], list[dict[str, Value]]]:
    """What all runs have, and the swept values of each combination, by path, in the order of ``axes``."""
    shared: dict[str, Value | None] = {}
    combinations: list[dict[str, Value]] = []
    for texts in product(*axes.values()):
        pairs = list(zip(axes, texts, strict=True))
        where = f"{', '.join(f'{name}={plain(text)}' for name, text in pairs)}: " if len(axes) > 1 else ""
        try:
            found = assigned(base, [*fixed, *pairs])
            config = with_values(base, found)
            check_threads(config.threads)
        except ConfigError as error:
            raise ConfigError(f"--grid {where}{error}" if where else str(error)) from None
        swept = {path.removeprefix(PREFIX): found.pop(path) for path in [_path_of(name, found) for name in axes]}
        if unset := next((path for path, value in swept.items() if value is None), None):
            raise ConfigError(f"--grid {unset}: got no points; allowed: those of a curve, or a number")
        combinations.append({path: _plain(value) for path, value in swept.items()})
        shared = shared or {path: None if value is None else _plain(value) for path, value in found.items()}
    return shared, combinations


def _path_of(name: str, found: Mapping[str, object]) -> str:
    """Which of the knobs ``found`` has been named: by its path or by the last part of it."""
    name = name.removeprefix(PREFIX)
    targets = {path.removeprefix(PREFIX): path for path in found}
    return targets[name] if name in targets else next(path for at, path in targets.items() if at.endswith(f".{name}"))


def _plain(value: object) -> Value:
    """A value as JSON has it."""
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    assert isinstance(value, bool | int | float | str)
    return value


def _columns(
    axes: Mapping[str, Sequence[str]], combinations: Sequence[dict[str, Value]]
) -> dict[str, tuple[Value, ...]]:
    """Path → the values of each knob. Raises :class:`ConfigError` for one that is given twice."""
    columns: dict[str, tuple[Value, ...]] = {}
    stride = len(combinations)
    for (name, texts), path in zip(axes.items(), combinations[0], strict=True):
        stride //= len(texts)
        column = [combinations[at * stride][path] for at in range(len(texts))]
        if twice := [text for at, text in enumerate(texts) if column[at] in column[:at]]:
            raise ConfigError(f"--grid {plain(name)}: got {quote(twice[0])} twice; allowed: different values")
        columns[path] = tuple(column)
    return columns


def _named(
    planned: Sequence[tuple[dict[str, Value], int]], columns: Mapping[str, Sequence[Value]], known: Sequence[PlannedRun]
) -> tuple[PlannedRun, ...]:
    """A run for each of ``planned``, values and seed, under a name that no other has; the ``known`` keep theirs."""
    names = {_key(run.values, run.seed): run.name for run in known}
    taken = {name.lower() for name in names.values()}
    leaves = [path.rpartition(".")[2] for path in columns]
    labels = {path: leaf if leaves.count(leaf) == 1 else path for path, leaf in zip(columns, leaves, strict=True)}
    runs = []
    for values, seed in planned:
        name = names.get(_key(values, seed))
        if name is None:
            parts = [f"{labels[path]}={_word(value, columns[path])}" for path, value in values.items()]
            name = _unique("-".join([*parts, f"seed={seed}"]), taken)
            taken.add(name.lower())
        runs.append(PlannedRun(name=name, values=values, seed=seed))
    return tuple(runs)


def _key(values: Mapping[str, Value], seed: int) -> str:
    return f"{sorted((path, text_of(value)) for path, value in values.items())} {seed}"


def _word(value: Value, column: Sequence[Value]) -> str:
    """One of the ``column``'s values in a folder's name, without what a file system or a shell takes for its own."""
    return (
        f"curve{column.index(value) + 1}"
        if isinstance(value, list)
        else re.sub(r"[^A-Za-z0-9._+-]+", "_", text_of(value))
    )


def _unique(name: str, taken: set[str]) -> str:
    """``name``, cut where it is too long, with a number behind it if it is ``taken``, however it is capitalised."""
    short, number = name[:LONGEST_NAME], 2
    found = short
    while found.lower() in taken:
        found, number = f"{short}-{number}", number + 1
    return found
