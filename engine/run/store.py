"""The run folder: what was configured, measured and changed, and checkpoints to go on from.

``config.json`` (as started), ``run.sqlite`` (scalars, events, protocols), ``checkpoints/step-XXXXXXXX.safetensors``,
``frames/`` of the same names (:mod:`engine.run.frames`) and ``summary.json``. The folder comes into being by one rename
(:mod:`engine.run.creation`) and every file in it by another, and SQLite journals its own writes, so a process killed at
any moment leaves a folder that opens and resumes. Nothing is pickled. One process writes a run at a time
(:mod:`engine.core.lock`); any number may read it meanwhile.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from engine.config.experiment import Config
from engine.config.knobs import Objective
from engine.core import plugins
from engine.core.errors import StoreError, VersionError, WriteError
from engine.core.files import absolute, refusal, write_atomically
from engine.core.history import Series
from engine.core.lock import FolderLock
from engine.core.measurement import Measurement
from engine.core.notices import notice
from engine.core.plugins import MadeWith
from engine.core.reading import check_file
from engine.run import creation, database, schema
from engine.run.access import check_writable
from engine.run.contents import frame_layouts, layouts
from engine.run.made_with import remember, write_run
from engine.run.schema import RunRecord
from engine.run.snapshot import Event
from engine.run.state_files import StateFiles

_TABLES = """
CREATE TABLE metrics (
  step INTEGER NOT NULL, name TEXT NOT NULL, value REAL, PRIMARY KEY (step, name)
) WITHOUT ROWID;
CREATE TABLE events (
  id INTEGER PRIMARY KEY, step INTEGER NOT NULL, time REAL NOT NULL,
  name TEXT NOT NULL, old TEXT NOT NULL, new TEXT NOT NULL
);
CREATE TABLE protocols (
  step INTEGER NOT NULL, name TEXT NOT NULL, protocol TEXT NOT NULL, PRIMARY KEY (step, name)
) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A saved state: the tensors by name and what is needed to go on from it.

    ``arrays`` are named as in SPEC.md section 11; ``config`` and ``phase`` as they were after ``step`` steps;
    ``events`` the id of the last event before it; ``state`` whatever else the session keeps (JSON); ``plugins`` those
    that were loaded when it was written.
    """

    step: int
    arrays: dict[str, np.ndarray[Any, Any]]
    config: Config
    phase: Objective
    events: int
    state: dict[str, Any]
    plugins: tuple[MadeWith, ...] = ()


class Store:
    """One open run folder. Its users take turns: two threads may hold it, but not call it at the same time.

    ``damaged`` says of each checkpoint that :meth:`load` had to pass over what is wrong with it, newest first;
    ``plugins`` are those that the run was made with.
    """

    def __init__(
        self, folder: Path, connection: sqlite3.Connection, record: RunRecord, config: Config,
        lock: FolderLock | None = None,
    ) -> None:  # fmt: skip
        self.folder = folder
        self.config = config
        self.run = run = record.run
        self.plugins = record.plugins
        self.damaged: list[str] = []
        self._db = connection
        self._lock = lock
        self._checkpoints = StateFiles(folder / "checkpoints", run, layouts)
        self._frames = StateFiles(folder / "frames", run, frame_layouts)
        self._new = False  # the folder was made by this store
        self._database = (folder / "run.sqlite").stat()
        self._version: object = None

    # --- opening

    @classmethod
    def create(
        cls, folder: Path, config: Config, begin: Callable[[Store], object] | None = None,
        made_with: Iterable[MadeWith] = (),
    ) -> Store:  # fmt: skip
        """Make a new run folder, ``begin`` writing what it starts with before it is seen under its name.

        It remembers the plugins that are loaded, and those in ``made_with``.

        Raises :class:`StoreError` if ``folder`` holds anything, or cannot be written.
        """
        folder = absolute(folder)
        run = uuid.uuid4().hex

        def fill(new: Path) -> None:
            (new / "checkpoints").mkdir()
            write_run(new / "config.json", run, config, made_with)
            db = sqlite3.connect(new / "run.sqlite")
            try:
                db.execute("PRAGMA journal_mode=WAL")
                db.executescript(_TABLES)
            finally:
                db.close()
            if begin is not None:
                with closing(cls._opened(new, None)) as store:
                    begin(store)

        lock, new = creation.make(folder, fill)
        store = cls._opened(folder, lock)
        store._new = new
        return store

    @classmethod
    def open(cls, folder: Path, *, read_only: bool = False, beside: bool = False) -> Store:
        """Open a run folder, to train it unless it is ``read_only``; ``beside`` is for figures about the stored run.

        Those who train it are alone: raises :class:`InUseError` if another process does. Raises :class:`StoreError` if
        the folder is no run, may not be written, or is damaged, and :class:`VersionError` if a newer version made it.
        """
        folder = absolute(folder)
        if read_only or beside:
            return cls._opened(folder, None, read_only=read_only)
        cls._identity(folder)  # nothing is written into a folder that is no run
        check_writable(folder)
        try:
            lock = FolderLock(folder)
        except OSError as error:
            raise refusal(f"{folder} cannot be written", error) from None
        store = cls._opened(folder, lock)
        creation.sweep(folder)
        return store

    @classmethod
    def _opened(cls, folder: Path, lock: FolderLock | None, *, read_only: bool = False) -> Store:
        try:
            record, config = cls._identity(folder)
            for line in plugins.remarks(folder, record.plugins):
                notice(line)
            return cls(folder, database.connect(folder / "run.sqlite", read_only=read_only), record, config, lock)
        except BaseException as error:
            if lock is not None:
                lock.release()
            if isinstance(error, OSError):
                raise refusal(f"{folder / 'run.sqlite'} cannot be read", error) from None
            raise

    @staticmethod
    def _identity(folder: Path) -> tuple[RunRecord, Config]:
        """What the run says of itself, and its config as started."""
        try:
            check_file(folder / "run.sqlite")
            return schema.read_record(folder / "config.json")
        except FileNotFoundError:
            raise StoreError(f"{folder} is not a run folder: it holds no config.json and run.sqlite") from None
        except OSError as error:
            raise refusal(f"{folder} cannot be read", error) from None

    def close(self) -> None:
        """Close the folder; harmless when closed already."""
        self._db.close()
        if self._lock is not None:
            self._lock.release()

    def discard(self) -> None:
        """Close the folder and undo :meth:`create`."""
        self._db.close()
        if self._new:
            shutil.rmtree(self.folder, ignore_errors=True)
        else:
            creation.remove_content(self.folder)
        self.close()

    # --- writing

    def record(self, scalars: Iterable[tuple[int, str, float]]) -> None:
        """Write (step, name, value) scalars in one transaction; a second value for a step and name replaces it."""
        with self._writing(), self._transaction():
            self._db.executemany("INSERT OR REPLACE INTO metrics VALUES (?, ?, ?)", scalars)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Raise :class:`WriteError` for what cannot be written, or would go into files that nobody finds any more."""
        self._check_there()
        try:
            yield
        except sqlite3.IntegrityError:
            raise
        except (OSError, sqlite3.Error) as error:
            self._check_there()  # it may have gone meanwhile
            reason = getattr(error, "strerror", None) or error
            raise WriteError(f"{self.folder} cannot be written: {reason}") from error

    def _check_there(self) -> None:
        try:
            there = os.path.samestat(self._database, (self.folder / "run.sqlite").stat())
        except OSError:
            there = False
        if not there:
            raise WriteError(f"{self.folder} cannot be written: the run has been removed or moved while it was in use")

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """All or nothing; a failed one does not stand in the way of the next."""
        self._db.execute("BEGIN")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    def event(self, event: Event) -> None:
        """Write one change."""
        with self._writing():
            if event.name == "phase":  # the objective may be one that a plugin brought
                self.plugins = remember(self.folder / "config.json", self.plugins)
            self._db.execute(
                "INSERT INTO events (step, time, name, old, new) VALUES (?, ?, ?, ?, ?)",
                (event.step, event.time, event.name, event.old, event.new),
            )

    def set_protocol(self, step: int, name: str, protocol: Measurement) -> None:
        """Say that from ``step`` on the metric ``name`` is measured by ``protocol``."""
        with self._writing():
            self._db.execute("INSERT OR REPLACE INTO protocols VALUES (?, ?, ?)", (step, name, protocol.to_json()))

    def save(
        self, step: int, arrays: Mapping[str, np.ndarray[Any, Any]], config: Config, phase: Objective, state: Any
    ) -> Path:
        """Write a checkpoint; all scalars and events up to it must have been written before."""
        with self._writing():
            self._checkpoints.write(step, arrays, config, phase, state, self._last_event())
        return self._checkpoints.path(step)

    def save_frame(
        self, step: int, arrays: Mapping[str, np.ndarray[Any, Any]], config: Config, phase: Objective, state: Any
    ) -> int:
        """Write a frame; its size in bytes. A power cut may damage it, and with it nothing else."""
        with self._writing():
            self._frames.folder.mkdir(exist_ok=True)
            return self._frames.write(step, arrays, config, phase, state, self._last_event(), durable=False)

    def rewind(self, step: int, events: int) -> None:
        """Forget what was recorded after a checkpoint, so that going on from it records each thing once.

        Later checkpoints, which cannot be read (:meth:`load`), are set aside: renamed to ``*.damaged``. Later frames
        will be taken again.
        """
        try:
            for later in self.frames():
                if later > step:
                    self._frames.remove(later)
            for later in self.checkpoints():  # first: were this cut short, the record would still be whole
                if later > step:
                    path = self._checkpoints.path(later)
                    path.replace(path.with_name(f"{path.name}.damaged"))
            with self._transaction():
                self._db.execute("DELETE FROM metrics WHERE step > ?", (step,))
                self._db.execute("DELETE FROM protocols WHERE step > ?", (step,))
                self._db.execute("DELETE FROM events WHERE id > ?", (events,))
        except (OSError, sqlite3.DatabaseError) as error:
            raise refusal(f"{self.folder / 'run.sqlite'} cannot be written", error) from None

    def delete_checkpoint(self, step: int) -> None:
        """Remove one checkpoint, if it is there."""
        with self._writing():
            self._checkpoints.remove(step)

    def delete_frame(self, step: int) -> None:
        """Remove one frame, if it is there."""
        with self._writing():
            self._frames.remove(step)

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Write ``summary.json``."""
        with self._writing():
            write_atomically(self.folder / "summary.json", json.dumps(summary, indent=1, ensure_ascii=False).encode())

    # --- reading

    def check_fresh(self) -> None:
        """Raise :class:`StoreError` if anything was recorded: without checkpoints nothing can go on from it."""
        rows = self._rows(
            "SELECT max(step), count(*) FROM (SELECT step FROM metrics UNION ALL SELECT step FROM events)"
        )
        newest, count = next(iter(rows))
        if count or any((self.folder / "checkpoints").glob("step-*")):
            raise StoreError(
                f"{self.folder} holds no checkpoint to go on from, though its record reaches step {newest or 0}: they "
                "have been removed; the record can still be read, train again into a new folder"
            )

    def names(self) -> list[str]:
        """Names of the metrics recorded so far."""
        return [str(row[0]) for row in self._rows("SELECT DISTINCT name FROM metrics ORDER BY name")]

    def series(self, name: str) -> Series:
        """All values of one metric in the order of steps; empty if there is none."""
        rows = self._rows("SELECT step, value FROM metrics WHERE name = ? ORDER BY step", (name,))
        return schema.series(name, rows, self._path)

    def metrics(self, first: int | None = None, last: int = schema.MOST_STEPS) -> list[tuple[int, str, float]]:
        """All metrics as (step, name, value), in the order of steps; with ``first`` those of the steps to ``last``."""
        if first is None:  # every row, so that one with a step that is none is found, too
            return schema.metrics(self._rows("SELECT step, name, value FROM metrics ORDER BY step, name"), self._path)
        query = "SELECT step, name, value FROM metrics WHERE step BETWEEN ? AND ? ORDER BY step, name"
        return schema.metrics(self._rows(query, (first, last)), self._path)

    def columns(self) -> dict[str, Series]:
        """All metrics by name."""
        try:  # row by row: a list of all of them would take longer, for the garbage collector
            return schema.columns(self._db.execute("SELECT step, name, value FROM metrics ORDER BY step"), self._path)
        except sqlite3.DatabaseError as error:
            raise StoreError(f"{self._path} is damaged: {error}") from None

    def newest(self) -> int:
        """The newest step of any metric, 0 for none."""
        return int(next(iter(self._rows("SELECT coalesce(max(step), 0) FROM metrics")))[0])

    def changed(self) -> bool:
        """Whether the database, opened to be read, has changed since this was asked; the first time: True.

        One that stands still, as nothing may be written beside it, is opened again then.
        """
        before = self._version
        if isinstance(self._db, database.Standing):
            self._version = database.fingerprint(self._path)
            if self._version != before and before is not None:
                new = database.connect(self._path, read_only=True)
                self._db.close()
                self._db = new
        else:
            self._version = next(iter(self._rows("PRAGMA data_version")))
        return self._version != before

    def events(self) -> tuple[Event, ...]:
        """All changes, in the order in which they were made."""
        rows = self._rows("SELECT id, step, time, name, old, new FROM events ORDER BY id")
        with schema.needing(self.plugins, self.folder):
            return schema.events(rows, self.config, self._path)

    def protocol(self, name: str, step: int) -> Measurement | None:
        """How the metric ``name`` was measured at ``step``; None if it carries no protocol."""
        query = "SELECT step, name, protocol FROM protocols WHERE name = ? AND step <= ? ORDER BY step DESC LIMIT 1"
        return next((schema.protocol(row, self._path)[2] for row in self._rows(query, (name, step))), None)

    def protocols(self) -> list[tuple[int, str, Measurement]]:
        """All protocols as (first step, metric, protocol)."""
        rows = self._rows("SELECT step, name, protocol FROM protocols ORDER BY step")
        return [schema.protocol(row, self._path) for row in rows]

    def check(self) -> None:
        """Read all that is recorded. Raises :class:`StoreError` naming the first row that no run writes."""
        self.columns(), self.events(), self.protocols()

    def checkpoints(self) -> list[int]:
        """Steps of the checkpoints, ascending."""
        return self._checkpoints.steps()

    def frames(self) -> dict[int, int]:
        """Size in bytes of each frame by its step, ascending."""
        return self._frames.sizes()

    def load(self, step: int | None = None) -> Checkpoint:
        """Read the checkpoint at ``step``, by default the newest that can be read.

        What had to be passed over for that is said (:mod:`engine.core.notices`) and listed in :attr:`damaged`. Raises
        :class:`StoreError` naming the existing ones if there is no such checkpoint, or if it is damaged, and
        :class:`VersionError` for one that a newer version wrote: that is never passed over.
        """
        known = self.checkpoints()
        if step is not None:
            if step not in known:
                raise StoreError(
                    f"checkpoint: got {step}; allowed: {', '.join(map(str, known)) or 'none was written yet'}"
                )
            return _checkpoint(self._checkpoints, step)
        damaged: list[tuple[Path, str]] = []
        for newest in reversed(known):
            path = self._checkpoints.path(newest)
            try:
                checkpoint = _checkpoint(self._checkpoints, newest)
            except VersionError:
                raise
            except StoreError as error:
                if not os.path.lexists(path):
                    continue  # who trains this run has just thinned it out
                if not os.access(path, os.R_OK):
                    raise StoreError(f"{path} cannot be read: permission denied") from None
                damaged.append((path, str(error)))
            else:
                self._pass_over(damaged, newest)
                return checkpoint
        first = f"; {damaged[0][1]}" if damaged else ""
        raise StoreError(f"{self.folder} holds no checkpoint that can be read{first}")

    def _pass_over(self, damaged: list[tuple[Path, str]], step: int) -> None:
        for path, reason in damaged:
            aside = f"set aside as {path.name}.damaged, and " if self._lock is not None else ""
            line = f"{reason}; {aside}the checkpoint of step {step} is used instead"
            self.damaged.append(line)
            notice(line)

    def load_frame(self, step: int) -> Checkpoint:
        """Read the frame at ``step``: no more than what its world says of frames is in it.

        Raises :class:`StoreError` if there is none, or if it is damaged.
        """
        return _checkpoint(self._frames, step)

    @property
    def _path(self) -> Path:
        return self.folder / "run.sqlite"

    def _last_event(self) -> int:
        return int(next(iter(self._rows("SELECT coalesce(max(id), 0) FROM events")))[0])

    def _rows(self, query: str, values: tuple[object, ...] = ()) -> Iterable[tuple[Any, ...]]:
        try:
            return cast(list[tuple[Any, ...]], self._db.execute(query, values).fetchall())
        except sqlite3.DatabaseError as error:
            raise StoreError(f"{self._path} is damaged: {error}") from None


def _checkpoint(files: StateFiles, step: int) -> Checkpoint:
    header, config, arrays = files.read(step)
    made_with = tuple(header.plugins)
    return Checkpoint(header.step, arrays, config, header.phase, header.events, header.state, made_with)
