"""What a list of runs says of one: read from its folder, without a checkpoint's tensors and without torch.

A run's figures are those of its reports, the fuller evaluations at the ends of its phases. Whether its training
diverged is in ``summary.json``, and in a loss that is no number where a process was killed before it wrote that.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any, Literal

from engine.config.experiment import Config
from engine.config.knobs import Objective
from engine.config.presets import preset_titles
from engine.core import metrics, plugins
from engine.core.errors import PluginMissingError, StoreError, VersionError
from engine.core.measurement import Measurement
from engine.core.reading import check_file
from engine.run import database, schema
from engine.run.contents import CHECKPOINT_NAME
from engine.run.schema import Protocol, Record
from engine.run.snapshot import protocol_at
from engine.run.timeline import objective_at, spans

SHOWN = {"clean": metrics.CLEAN, "pgd": metrics.PGD, "certified": metrics.CERTIFIED}
FIGURES = {**SHOWN, "purity": metrics.mixture("purity", "mean")}
"""The figures of a report that an entry holds: the accuracies that a list shows, and the mean purity of neurons."""

CONFIG, DATABASE, SUMMARY = "config.json", "run.sqlite", "summary.json"
Outcome = Literal["finished", "imported", "interrupted", "diverged", "damaged", "newer", "plugin"]
UNREADABLE: tuple[Outcome, ...] = ("damaged", "newer", "plugin")


class Reported(Record):
    """A figure of a report, and how it was measured; the purity of weights has no protocol."""

    value: float
    protocol: Protocol | None

    @property
    def measurement(self) -> Measurement | None:
        """Its protocol as the rest of the engine has it."""
        return None if self.protocol is None else Measurement(**self.protocol.model_dump())


class PhaseEnd(Record):
    """The report of the phase ``phase``, which ended at ``step``: those of :data:`FIGURES` that were measured."""

    step: int
    phase: str
    figures: dict[str, Reported]


class RunEntry(Record):
    """One run: what it began with, how far it came, what its reports say.

    ``preset`` is empty for a run of none; ``step`` is the last one that is recorded, ``total`` the schedule's;
    ``clean_end`` the report of the clean phase that ended last and ``second_end`` that of any other phase, each None if
    there is none; ``created`` and ``written`` are seconds since 1970, ``size`` bytes of all files. ``outcome`` is how
    it stands if nobody trains it now, ``reason`` why it cannot be read. Of the ``plugins`` that it was made with
    ``lacking`` are the names of those that were not loaded when it was read.
    """

    outcome: Outcome
    reason: str = ""
    run: str = ""
    preset: str = ""
    seed: int | None = None
    phase: str = ""
    step: int = 0
    total: int = 0
    clean_end: PhaseEnd | None = None
    second_end: PhaseEnd | None = None
    created: float = 0.0
    written: float = 0.0
    size: int = 0
    plugins: tuple[schema.PluginRecord, ...] = ()
    lacking: tuple[str, ...] = ()

    @property
    def stale(self) -> bool:
        """Whether other plugins are loaded now than when it was read."""
        return self.lacking != _lacking(self.plugins)


def _lacking(made_with: Iterable[schema.PluginRecord]) -> tuple[str, ...]:
    return tuple(each.name for each in plugins.missing(made_with))


def read_entry(folder: Path, *, in_use: bool) -> RunEntry:
    """What the files in ``folder`` say, but for size and time; ``in_use``: somebody is writing them.

    A run that cannot be read is an entry that says why.
    """
    try:
        check_file(folder / DATABASE)
        record, config = schema.read_record(folder / CONFIG)
        summary = schema.read_summary(folder / SUMMARY)
        path = folder / DATABASE
        with (
            closing(database.connect(path, read_only=True) if in_use else database.connect_at_rest(path)) as db,
            schema.needing(record.plugins, folder),
        ):
            found = _read(folder, record.run, record.created or 0.0, config, summary, db)
            return found.model_copy(update={"plugins": tuple(record.plugins), "lacking": _lacking(record.plugins)})
    except PluginMissingError as error:
        made_with = tuple(schema.plugins_of(folder / CONFIG))
        return RunEntry(outcome="plugin", reason=str(error), plugins=made_with, lacking=_lacking(made_with))
    except VersionError as error:
        return RunEntry(outcome="newer", reason=str(error))
    except StoreError as error:
        return RunEntry(outcome="damaged", reason=str(error))
    except FileNotFoundError as error:
        name = CONFIG if Path(str(error)).name == CONFIG else DATABASE
        return RunEntry(outcome="damaged", reason=f"{folder / name} does not exist")
    except sqlite3.DatabaseError as error:
        return RunEntry(outcome="damaged", reason=f"{folder / DATABASE} is damaged: {error}")
    except OSError as error:
        return RunEntry(outcome="damaged", reason=f"{folder} cannot be read: {error.strerror}")


def _read(
    folder: Path, run: str, created: float, config: Config, summary: schema.Summary, db: sqlite3.Connection
) -> RunEntry:
    path, total = folder / DATABASE, config.schedule.total
    last = db.execute(
        "SELECT step, name, value FROM metrics WHERE name = ? ORDER BY step DESC LIMIT 1", (metrics.LOSS,)
    ).fetchall()
    (step, _, loss) = next(iter(schema.metrics(last, path)), (0, "", 0.0))
    saved = _newest_checkpoint(folder)
    rows = db.execute("SELECT id, step, time, name, old, new FROM events WHERE name = 'phase' ORDER BY id")
    switches = schema.events(rows, config, path)
    first: Objective = "clean" if config.schedule.clean_steps else config.schedule.second
    phase = switches[-1].new if switches else first
    trained = spans(switches, phase, max(step, saved))
    outcome: Outcome = "interrupted"
    if math.isnan(loss) or (summary.diverged and summary.steps == step):
        outcome = "diverged"
    elif saved >= total:
        outcome = "imported" if config.untrained else "finished"
    ends = _ends(db, path, {total, *(switch.step for switch in switches)})
    clean = [(at, found) for at, found in ends if objective_at(trained, at) == "clean"]
    other = [(at, found) for at, found in ends if objective_at(trained, at) != "clean"]
    return RunEntry(
        outcome=outcome,
        run=run,
        preset=preset_titles().get(config.about.title, ""),
        seed=config.seed,
        phase=phase,
        step=max(step, saved),
        total=total,
        clean_end=_end(clean, "clean"),
        second_end=_end(other, objective_at(trained, other[-1][0]) if other else ""),
        created=created,
    )


def _end(reports: list[tuple[int, dict[str, Reported]]], phase: str) -> PhaseEnd | None:
    if not reports:
        return None
    step, figures = reports[-1]
    return PhaseEnd(step=step, phase=phase, figures=figures)


def _ends(db: sqlite3.Connection, path: Path, steps: set[int]) -> list[tuple[int, dict[str, Reported]]]:
    """The reports at those of ``steps`` that have one, ascending. Only they are looked up: a run has many metrics."""
    names = {metrics.REPORT + name: short for short, name in FIGURES.items()}
    marks = ", ".join("?" * len(names))
    protocols: dict[str, list[tuple[int, Measurement]]] = {name: [] for name in names}
    query = f"SELECT step, name, protocol FROM protocols WHERE name IN ({marks}) ORDER BY step"
    for row in db.execute(query, tuple(names)):
        start, name, protocol = schema.protocol(row, path)
        protocols[name].append((start, protocol))
    found = []
    for step in sorted(steps):
        query = f"SELECT step, name, value FROM metrics WHERE step = ? AND name IN ({marks})"
        figures = _figures(schema.metrics(db.execute(query, (step, *names)), path), protocols)
        if figures:
            found.append((step, {names[name]: figure for name, figure in figures}))
    return found


def _figures(
    rows: Iterable[tuple[int, str, float]], protocols: dict[str, list[tuple[int, Measurement]]]
) -> list[tuple[str, Reported]]:
    found = []
    for step, name, value in rows:
        how = protocol_at(tuple(protocols[name]), step)
        if math.isfinite(value):
            found.append((name, Reported(value=value, protocol=None if how is None else _protocol(how))))
    return found


def _protocol(how: Measurement) -> Protocol:
    fields: dict[str, Any] = {name: getattr(how, name) for name in Protocol.model_fields}
    return Protocol(**fields)


def _newest_checkpoint(folder: Path) -> int:
    """The step of the newest checkpoint. Raises :class:`StoreError` if there is none to go on from."""
    try:
        found = [CHECKPOINT_NAME.fullmatch(path.name) for path in (folder / "checkpoints").iterdir()]
    except (FileNotFoundError, NotADirectoryError):
        found = []
    steps = [int(each[1]) for each in found if each]
    if not steps:
        raise StoreError(f"{folder} holds no checkpoint to go on from; its record can still be read")
    return max(steps)
