"""How a run folder comes into being, whole or not at all, and what killed processes left is swept away.

A new folder is filled under a hidden name beside it and renamed. One that exists already and is empty (a mount point, a
link to a folder, the current folder) is kept and filled in place, ``config.json``, which makes it a run, last.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from engine.core.errors import InUseError, StoreError
from engine.core.files import refusal
from engine.core.lock import NAME, FolderLock

HIDDEN = ".new-run-"
CONTENT = ("checkpoints", "run.sqlite", "config.json")  # in the order in which they are put in place
_OURS = (*CONTENT, "frames", "run.sqlite-wal", "run.sqlite-shm", "summary.json")
_YOUNG, _OLD = 60.0, 3600.0  # seconds: may still be in the making | what takes so long is dead
Fill = Callable[[Path], object]


def make(folder: Path, fill: Fill) -> tuple[FolderLock, bool]:
    """Make ``folder`` and let ``fill`` put a run into it; its lock, and whether it is new.

    Raises :class:`StoreError` in one line if it holds anything or cannot be made.
    """
    try:
        if folder.is_symlink() and not folder.exists():
            raise StoreError(f"--out: {folder} is a link to a folder that does not exist")
        if os.path.lexists(folder):
            return _fill_in_place(folder, fill), False
        return _make_new(folder, fill), True
    except (OSError, sqlite3.Error, UnicodeError) as error:
        if isinstance(error, UnicodeError):
            raise StoreError(f"--out: {str(folder)!r} cannot be made: a name that is no text") from None
        raise refusal(f"--out: {folder} cannot be made", error) from None


def check_free(folder: Path) -> None:
    """Raise :class:`StoreError` if ``folder`` holds anything: what takes long need not be begun for nothing."""
    try:
        if os.path.lexists(folder):
            _check_empty(folder)
    except OSError as error:
        raise refusal(f"--out: {folder} cannot be read", error) from None


def _make_new(folder: Path, fill: Fill) -> FolderLock:
    folder.parent.mkdir(parents=True, exist_ok=True)
    sweep_hidden(folder.parent, _YOUNG)
    new = Path(tempfile.mkdtemp(dir=folder.parent, prefix=HIDDEN))
    lock = None
    try:
        new.chmod(0o755)
        lock = FolderLock(new)
        fill(new)
        new.rename(folder)
    except BaseException:
        if lock is not None:
            lock.release()
        shutil.rmtree(new, ignore_errors=True)
        raise
    lock.moved(folder)
    return lock


def _fill_in_place(folder: Path, fill: Fill) -> FolderLock:
    _check_empty(folder)  # before anything is written into it
    lock = FolderLock(folder)
    try:
        _check_empty(folder)
        sweep_hidden(folder, 0.0)
        new = Path(tempfile.mkdtemp(dir=folder, prefix=HIDDEN))
        try:
            fill(new)
            for name in CONTENT:
                (new / name).rename(folder / name)
            new.rmdir()
        except BaseException:
            shutil.rmtree(new, ignore_errors=True)
            remove_content(folder)
            raise
    except BaseException:
        lock.release()
        raise
    return lock


def _check_empty(folder: Path) -> None:
    """Raise unless nothing is in ``folder`` but what a file system puts there, or a creation that was killed."""
    if folder.is_dir():
        found = [each for each in folder.iterdir() if each.name not in (NAME, "lost+found")]
        found = [each for each in found if not each.name.startswith(HIDDEN)]
        if not found or (len(found) == 1 and found[0].name == CONTENT[0] and not any(found[0].iterdir())):
            return
    raise StoreError(f"--out: {folder} exists and is not empty; choose a new folder, or resume the run in it")


def remove_content(folder: Path) -> None:
    """Take a run out of a folder that was there before it."""
    for name in _OURS:
        path = folder / name
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            with suppress(OSError):
                path.unlink()


def sweep_hidden(parent: Path, age: float) -> None:
    """Remove what killed creations left in ``parent``: what nobody has locked, and is not younger than ``age`` s."""
    with suppress(OSError):
        for left in parent.glob(f"{HIDDEN}*"):
            with suppress(OSError, InUseError):
                if time.time() - left.stat().st_mtime >= age:
                    lock = FolderLock(left)
                    shutil.rmtree(left, ignore_errors=True)
                    lock.release()


def sweep(folder: Path) -> None:
    """Remove the temporary files that killed processes left in a run folder whose lock this process holds.

    Those of studies, which write without the lock, only when they are too old to be under way.
    """
    sweep_hidden(folder.parent, _YOUNG)
    for pattern in ("checkpoints/.step-*", "frames/.step-*", ".config.json.*", ".summary.json.*"):
        _remove(folder, pattern, 0.0)
    _remove(folder, ".*.json.*", _OLD)


def _remove(folder: Path, pattern: str, age: float) -> None:
    with suppress(OSError):
        for left in folder.glob(pattern):
            with suppress(OSError):
                if time.time() - left.stat().st_mtime >= age:
                    left.unlink()
