"""The run folder: what was configured, measured and changed, and checkpoints to go on from.

``config.json`` (as started), ``run.sqlite`` (scalars, events, protocols), ``checkpoints/step-XXXXXXXX.safetensors``
and ``summary.json``. The folder comes into being by one rename and every file in it by another, and SQLite
journals its own writes, so a process killed at any moment leaves a folder that opens and resumes. Nothing is pickled.
"""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
import tempfile
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from safetensors.numpy import save as save_tensors

from engine.config.experiment import Config, to_dict
from engine.config.knobs import Objective
from engine.core.errors import StoreError
from engine.core.files import write_atomically
from engine.core.history import Series
from engine.core.measurement import Measurement
from engine.core.reading import check_file
from engine.run import database, schema
from engine.run.contents import read_checkpoint
from engine.run.schema import FORMAT
from engine.run.snapshot import Event

CHECKPOINT_NAME = re.compile(r"step-([0-9]{8})\.safetensors")
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
    ``events`` the id of the last event before it; ``state`` whatever else the session keeps (JSON).
    """

    step: int
    arrays: dict[str, np.ndarray[Any, Any]]
    config: Config
    phase: Objective
    events: int
    state: dict[str, Any]


class Store:
    """One open run folder. Its users take turns: two threads may hold it, but not call it at the same time."""

    def __init__(self, folder: Path, connection: sqlite3.Connection, config: Config, run: str) -> None:
        self.folder = folder
        self.config = config
        self.run = run
        self._db = connection

    # --- opening

    @classmethod
    def create(cls, folder: Path, config: Config) -> Store:
        """Make a new run folder. Raises :class:`StoreError` if ``folder`` holds anything, or cannot be written."""
        folder = Path(folder).absolute()
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise StoreError(f"--out: {folder} exists and is not empty; choose a new folder, or resume the run in it")
        run = uuid.uuid4().hex
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            new = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
        except OSError as error:
            raise StoreError(f"--out: {folder} cannot be made: {error.strerror}") from None
        try:
            new.chmod(0o755)
            (new / "checkpoints").mkdir()
            record = {"format": FORMAT, "run": run, "created": time.time(), "config": to_dict(config)}
            write_atomically(new / "config.json", json.dumps(record, indent=1, ensure_ascii=False).encode())
            db = sqlite3.connect(new / "run.sqlite")
            db.execute("PRAGMA journal_mode=WAL")
            db.executescript(_TABLES)
            db.close()
            if folder.exists():
                folder.rmdir()  # empty: a rename onto it is not allowed everywhere
            new.rename(folder)
        except BaseException as error:
            shutil.rmtree(new, ignore_errors=True)
            if isinstance(error, OSError):
                raise StoreError(f"--out: {folder} cannot be made: {error.strerror}") from None
            raise
        return cls.open(folder)

    @classmethod
    def open(cls, folder: Path, *, read_only: bool = False) -> Store:
        """Open a run folder. Raises :class:`StoreError` if it is none, or damaged."""
        folder = Path(folder).absolute()
        try:
            check_file(folder / "run.sqlite")
            run, config = schema.read_run(folder / "config.json")
        except FileNotFoundError:
            raise StoreError(f"{folder} is not a run folder: it holds no config.json and run.sqlite") from None
        return cls(folder, database.connect(folder / "run.sqlite", read_only=read_only), config, run)

    def close(self) -> None:
        """Close the folder; harmless when closed already."""
        self._db.close()

    # --- writing

    def record(self, scalars: Iterable[tuple[int, str, float]]) -> None:
        """Write (step, name, value) scalars in one transaction; a second value for a step and name replaces it."""
        with self._transaction():
            self._db.executemany("INSERT OR REPLACE INTO metrics VALUES (?, ?, ?)", scalars)

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
        self._db.execute(
            "INSERT INTO events (step, time, name, old, new) VALUES (?, ?, ?, ?, ?)",
            (event.step, event.time, event.name, event.old, event.new),
        )

    def set_protocol(self, step: int, name: str, protocol: Measurement) -> None:
        """Say that from ``step`` on the metric ``name`` is measured by ``protocol``."""
        self._db.execute("INSERT OR REPLACE INTO protocols VALUES (?, ?, ?)", (step, name, protocol.to_json()))

    def save(
        self, step: int, arrays: Mapping[str, np.ndarray[Any, Any]], config: Config, phase: Objective, state: Any
    ) -> Path:
        """Write a checkpoint; all scalars and events up to it must have been written before."""
        metadata = {
            "format": str(FORMAT),
            "run": self.run,
            "step": str(step),
            "phase": phase,
            "events": str(self._last_event()),
            "config": json.dumps(to_dict(config), ensure_ascii=False),
            "state": json.dumps(state),
        }
        contiguous = {name: np.ascontiguousarray(array).reshape(np.shape(array)) for name, array in arrays.items()}
        path = self._checkpoint_path(step)
        write_atomically(path, save_tensors(contiguous, metadata))
        return path

    def rewind(self, step: int, events: int) -> None:
        """Forget what was recorded after a checkpoint, so that going on from it records each thing once."""
        try:
            with self._transaction():
                self._db.execute("DELETE FROM metrics WHERE step > ?", (step,))
                self._db.execute("DELETE FROM protocols WHERE step > ?", (step,))
                self._db.execute("DELETE FROM events WHERE id > ?", (events,))
        except sqlite3.DatabaseError as error:
            raise StoreError(f"{self.folder / 'run.sqlite'} cannot be written: {error}") from None
        for later in self.checkpoints():
            if later > step:
                self.delete_checkpoint(later)

    def delete_checkpoint(self, step: int) -> None:
        """Remove one checkpoint, if it is there."""
        self._checkpoint_path(step).unlink(missing_ok=True)

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Write ``summary.json``."""
        write_atomically(self.folder / "summary.json", json.dumps(summary, indent=1, ensure_ascii=False).encode())

    # --- reading

    def names(self) -> list[str]:
        """Names of the metrics recorded so far."""
        return [str(row[0]) for row in self._rows("SELECT DISTINCT name FROM metrics ORDER BY name")]

    def series(self, name: str) -> Series:
        """All values of one metric in the order of steps; empty if there is none."""
        rows = self._rows("SELECT step, value FROM metrics WHERE name = ? ORDER BY step", (name,))
        return schema.series(name, rows, self._path)

    def metrics(self) -> list[tuple[int, str, float]]:
        """All metrics as (step, name, value), in the order of steps."""
        rows = self._rows("SELECT step, name, value FROM metrics ORDER BY step, name")
        return schema.metrics(rows, self._path)

    def events(self) -> tuple[Event, ...]:
        """All changes, in the order in which they were made."""
        rows = self._rows("SELECT id, step, time, name, old, new FROM events ORDER BY id")
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
        self.metrics(), self.events(), self.protocols()

    def checkpoints(self) -> list[int]:
        """Steps of the checkpoints, ascending."""
        try:
            names = [path.name for path in (self.folder / "checkpoints").iterdir()]
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise StoreError(f"{self.folder / 'checkpoints'} cannot be read: {error.strerror}") from None
        return sorted(int(found[1]) for name in names if (found := CHECKPOINT_NAME.fullmatch(name)))

    def load(self, step: int | None = None) -> Checkpoint:
        """Read the checkpoint at ``step``, by default the newest that can be read.

        Raises :class:`StoreError` naming the existing ones if there is no such checkpoint, or if it is damaged.
        """
        known = self.checkpoints()
        if step is not None:
            if step not in known:
                raise StoreError(
                    f"checkpoint: got {step}; allowed: {', '.join(map(str, known)) or 'none was written yet'}"
                )
            return self._read(step)
        for newest in reversed(known):
            with suppress(StoreError):
                return self._read(newest)
        raise StoreError(f"{self.folder} holds no checkpoint that can be read")

    def _read(self, step: int) -> Checkpoint:
        header, config, arrays = read_checkpoint(self._checkpoint_path(step), self.run, step)
        return Checkpoint(header.step, arrays, config, header.phase, header.events, header.state)

    def _checkpoint_path(self, step: int) -> Path:
        return self.folder / "checkpoints" / f"step-{step:08d}.safetensors"

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
