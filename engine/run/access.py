"""Runs that may only be read: what is allowed in a folder, and a copy elsewhere to go on from."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import tempfile
from contextlib import closing, suppress
from pathlib import Path

from engine.core.errors import StoreError, WriteError
from engine.run import database
from engine.run.contents import CHECKPOINT_NAME


def writable(folder: Path) -> bool:
    """Whether the run in ``folder`` can be gone on with there."""
    places = (folder, folder / "checkpoints", folder / "frames", folder / "run.sqlite")
    return all(os.access(place, os.W_OK) for place in places if place.exists())


def check_writable(folder: Path) -> None:
    """Raise :class:`StoreError` if the run in ``folder`` may only be read: before the work, not after it."""
    if folder.is_dir() and not writable(folder):
        raise StoreError(f"{folder} may only be read; allowed: a copy of it elsewhere")


def copy_run(folder: Path, to: Path) -> None:
    """Copy the run in ``folder`` to ``to``, which does not exist: its record, checkpoints and frames, as now.

    Raises :class:`StoreError` if it cannot be read and :class:`WriteError` if the copy cannot be written.
    """
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        new = Path(tempfile.mkdtemp(dir=to.parent, prefix=f".{to.name}."))
    except OSError as error:
        raise WriteError(f"{to} cannot be made: {error.strerror}") from None
    try:
        new.chmod(0o755)
        for part in ("checkpoints", "frames"):
            (new / part).mkdir()
        with (
            closing(database.connect(folder / "run.sqlite", read_only=True)) as source,
            closing(sqlite3.connect(new / "run.sqlite")) as target,
        ):
            source.backup(target)
            target.execute("PRAGMA journal_mode=WAL")
        for path in (*folder.glob("*.json"), *(folder / "checkpoints").glob("*"), *(folder / "frames").glob("*")):
            with suppress(FileNotFoundError):  # who trains it has just thinned it out
                regular = stat.S_ISREG(path.stat().st_mode)
                if regular and (path.suffix == ".json" or CHECKPOINT_NAME.fullmatch(path.name)):
                    shutil.copyfile(path, new / path.relative_to(folder))
        new.rename(to)
    except BaseException as error:
        shutil.rmtree(new, ignore_errors=True)
        if isinstance(error, OSError | sqlite3.Error):
            raise WriteError(f"{folder} cannot be copied to {to}: {error}") from None
        raise
