"""Opening the database of a run, whatever is found in its place, and where nothing may be written, too.

A database in WAL mode is read through files beside it that a reader makes if they are not there. In a folder that may
not be written that fails: then the database is read as it stands, or, if changes wait in its log, from a copy.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from pathlib import Path

from engine.core.errors import StoreError, WriteError
from engine.core.files import disk_failed
from engine.core.reading import check_file

COLUMNS = {
    "metrics": ("step", "name", "value"),
    "events": ("id", "step", "time", "name", "old", "new"),
    "protocols": ("step", "name", "protocol"),
}


class Standing(sqlite3.Connection):
    """A connection that does not see what is written after it was opened."""


def fingerprint(path: Path) -> object:
    """What changes with the database at ``path`` or its log: their sizes and times."""
    found = []
    for each in (path, path.with_name(path.name + "-wal")):
        try:
            stat = each.stat()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise StoreError(f"{each} cannot be read: {error.strerror}") from None
        found.append((each.name, stat.st_size, stat.st_mtime_ns))
    return tuple(found)


def connect(path: Path, *, read_only: bool) -> sqlite3.Connection:
    """Open the database at ``path``.

    Raises :class:`StoreError` in one line if it is damaged, lacks a table or column, or may not be read, or without
    ``read_only`` not be written.
    """
    try:
        check_file(path)
        for suffix in ("-wal", "-shm", "-journal"):
            beside = path.with_name(path.name + suffix)
            if beside.exists() or beside.is_symlink():
                check_file(beside)
        if not read_only and not all(os.access(place, os.W_OK) for place in (path, path.parent)):
            raise StoreError(f"{path.parent} may only be read; allowed: a copy of it elsewhere")
        return _reading(path) if read_only else _writing(path)
    except FileNotFoundError as error:
        raise StoreError(f"{error} does not exist") from None
    except sqlite3.Error as error:
        if disk_failed(error):
            raise WriteError(f"{path} cannot be opened: {error}") from None
        raise StoreError(f"{path} {_reason(error)}") from None
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror}") from None


def connect_at_rest(path: Path) -> sqlite3.Connection:
    """Open for reading a database that nobody writes, as it stands: then no file is made beside it. Else as above."""
    try:
        log = path.with_name(path.name + "-wal")
        if not check_file(path) or (log.exists() and log.stat().st_size):
            return connect(path, read_only=True)
        return _checked(path, "mode=ro&immutable=1")
    except FileNotFoundError as error:
        raise StoreError(f"{error} does not exist") from None
    except sqlite3.Error as error:
        raise StoreError(f"{path} {_reason(error)}") from None
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror}") from None


def _reason(error: sqlite3.Error) -> str:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM):
        return "cannot be written: it may only be read"
    if code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_FULL):
        return f"cannot be opened: {error}"
    return f"is damaged: {error}"


def _writing(path: Path) -> sqlite3.Connection:
    db = _open(path, "mode=rw")
    try:
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=FULL")  # or a power cut takes metrics from before a checkpoint
        _check_tables(db, path)
    except BaseException:
        db.close()
        raise
    return db


def _reading(path: Path) -> sqlite3.Connection:
    try:
        return _checked(path, "mode=ro")
    except sqlite3.OperationalError as error:
        if (error.sqlite_errorcode & 0xFF) not in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN):
            raise
    log = path.with_name(path.name + "-wal")
    if log.exists() and log.stat().st_size:
        return _copied(path, log)
    return _checked(path, "mode=ro&immutable=1")


def _copied(path: Path, log: Path) -> sqlite3.Connection:
    """The database with the changes in its log, in memory."""
    memory = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False, factory=Standing)
    try:
        with tempfile.TemporaryDirectory(prefix="run-") as folder:
            copy = Path(folder) / path.name
            shutil.copyfile(path, copy)
            shutil.copyfile(log, copy.with_name(log.name))
            source = _open(copy, "mode=rw")
            try:
                source.backup(memory)
            finally:
                source.close()
        _check_tables(memory, path)
    except BaseException:
        memory.close()
        raise
    return memory


def _checked(path: Path, how: str) -> sqlite3.Connection:
    db = _open(path, how)
    try:
        _check_tables(db, path)
    except BaseException:
        db.close()
        raise
    return db


def _open(path: Path, how: str) -> sqlite3.Connection:
    kind = Standing if "immutable" in how else sqlite3.Connection
    return sqlite3.connect(
        f"{path.as_uri()}?{how}", uri=True, timeout=10, isolation_level=None, check_same_thread=False, factory=kind
    )


def _check_tables(db: sqlite3.Connection, path: Path) -> None:
    db.execute("PRAGMA trusted_schema=OFF")
    kinds = dict(db.execute("SELECT name, type FROM sqlite_master").fetchall())
    for table, columns in COLUMNS.items():
        if kinds.get(table) != "table":
            raise StoreError(f"{path} is damaged: it has no table {table}")
        known = {row[1] for row in db.execute(f"PRAGMA table_info({table})")}
        missing = [column for column in columns if column not in known]
        if missing:
            raise StoreError(f"{path} is damaged: table {table} has no column {missing[0]}")
    if "trigger" in kinds.values():
        raise StoreError(f"{path} is damaged: it has triggers, which no run writes")
