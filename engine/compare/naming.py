"""What differs between runs: the table of their knobs, names by it, and which runs differ in the seed alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from engine.compare.record import RecordedRun
from engine.config.curves import PREFIX, Curve
from engine.config.experiment import knobs, setting_of
from engine.core.errors import ConfigError
from engine.figures.base import Column, Table
from engine.figures.declare import phase
from engine.run.snapshot import NO_KNOB, Event

NONE = "—"  # a knob that the run does not have
SEED, PHASES = "seed", "phases"
# Of these a run is not named, unless nothing else differs: they leave what is trained as it is, or nearly so.
QUIET = ("about", "device", "threads", "storage", "evaluation")
NO_MATTER = ("about", "device", "threads", "storage")  # runs that differ in them are equal but for rounding
MOST_WORDS = 3  # knobs in a run's name

Differences = Mapping[str, tuple[str, ...]]  # knob → its value in words in each run


def differences(runs: Sequence[RecordedRun]) -> dict[str, tuple[str, ...]]:
    """The knobs that are not the same in all runs, in the order of the form: as started, and the changes by hand.

    The switches between phases stand under :data:`PHASES`, if they were not made at the same steps.
    """
    paths = dict.fromkeys(knob.path for each in runs for knob in knobs(each.config))
    table = {path: tuple(_value(each, path) for each in runs) for path in paths}
    table[PHASES] = tuple(_switches(each) for each in runs)
    return {path: values for path, values in table.items() if len(set(values)) > 1 and not path.startswith("about.")}


def _value(run: RecordedRun, path: str) -> str:
    if path not in {knob.path for knob in knobs(run.config)}:
        return NONE
    started = words(setting_of(run.config, path))
    changes = [_change(event) for event in run.events if event.name not in NO_KNOB and _path(event) == path]
    return ", ".join([started, *changes])


def _path(event: Event) -> str:
    return event.name.removeprefix(PREFIX)


def _change(event: Event) -> str:
    if event.name.startswith(PREFIX):
        return f"{'schedule ended' if event.new == str(None) else f'schedule {event.new}'} at step {event.step}"
    return f"{event.new} from step {event.step}"


def _switches(run: RecordedRun) -> str:
    """The phases but for their end, which is that of the run."""
    return ", ".join(f"{phase(span.objective).name} from step {span.start}" for span in run.phases)


def words(value: object) -> str:
    """A knob's value as it is typed."""
    if isinstance(value, Curve):
        return value.brief()
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.6g}" if isinstance(value, float) else str(value) or "none"


def differ_table(differing: Differences, names: Sequence[str]) -> Table:
    """One line a knob that differs, one column a run."""
    values = list(differing.values())
    return (
        Column("knob", "name", np.array(list(differing), np.str_)),
        *(Column(name, "value", np.array([row[i] for row in values], np.str_)) for i, name in enumerate(names)),
    )


def differ_lines(differing: Differences, names: Sequence[str]) -> list[str]:
    """The same in lines for a terminal."""
    if not differing:
        return ["No knob differs between these runs."]
    rows = [["knob", *names], *([path, *values] for path, values in differing.items())]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return ["  ".join(f"{text:<{width}}" for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def names_of(runs: Sequence[RecordedRun], differing: Differences) -> tuple[str, ...]:
    """A name for each run by what differs, e.g. ``tau 0.2``; that of its folder where this does not tell them apart."""
    found = _labels(differing, len(runs))
    folders = [each.folder.name for each in runs]
    if len(set(folders)) < len(runs):
        folders = [f"{each.folder.parent.name}/{each.folder.name}" for each in runs]
    if len(set(folders)) < len(runs):
        folders = [str(each.folder) for each in runs]
    named = zip(found, folders, strict=True)
    return tuple(name if found.count(name) == 1 else ", ".join(filter(None, (name, folder))) for name, folder in named)


def _labels(differing: Differences, count: int) -> list[str]:
    """What differs in each of ``count`` runs, in few words; empty texts if nothing does."""
    loud = [path for path in differing if path != PHASES and path.partition(".")[0] not in QUIET]
    shown = (loud or list(differing))[:MOST_WORDS]
    called = {path: _called(path, shown) for path in shown}
    return [", ".join(f"{called[path]} {differing[path][i]}" for path in shown) for i in range(count)]


def _called(path: str, among: Sequence[str]) -> str:
    """The last part of a knob's path if that says enough, else its group or the whole."""
    group, _, leaf = path.rpartition(".")
    if leaf == "name":
        return group
    return leaf if sum(other.rpartition(".")[2] == leaf for other in among) == 1 else path


@dataclass(frozen=True)
class SeedGroup:
    """Runs ``members`` (places among all) that differ in the seed alone, and what they are called together."""

    members: tuple[int, ...]
    name: str


def seed_groups(runs: Sequence[RecordedRun], differing: Differences) -> tuple[SeedGroup, ...]:
    """The groups of two or more runs with other seeds and all else equal, as it was started and as it was changed.

    Raises :class:`ConfigError` if there are none, or if two of a group have one seed: each counts once.
    """
    telling = {p: v for p, v in differing.items() if p != SEED and p.partition(".")[0] not in NO_MATTER}
    found: dict[tuple[str, ...], list[int]] = {}
    for i in range(len(runs)):
        found.setdefault(tuple(values[i] for values in telling.values()), []).append(i)
    groups = [tuple(members) for members in found.values() if len(members) > 1]
    if not groups:
        raise ConfigError("mean: no two of these runs differ in the seed alone; allowed: runs of one config")
    for members in groups:
        seeds = [runs[i].config.seed for i in members]
        if len(set(seeds)) < len(seeds):
            raise ConfigError(f"mean: seeds {seeds} of runs with equal knobs; allowed: each seed once")
    labels = _labels(telling, len(runs))
    found_names = []
    for members in groups:
        each = f"seeds {', '.join(str(runs[i].config.seed) for i in members)}"
        found_names.append(", ".join(filter(None, (labels[members[0]], each))))
    return tuple(SeedGroup(members, name) for members, name in zip(groups, found_names, strict=True))
