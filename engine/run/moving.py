"""Runs that are renamed, put into the trash beside the others, taken out of it again, or removed for good.

The trash is a hidden folder in the folder that holds the runs, so that all of this is a rename, which succeeds or
leaves all as it was. A run that is in use stays where it is: its lock is held while its folder is renamed.
"""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from engine.core.errors import StoreError
from engine.core.files import absolute, refusal
from engine.core.lock import FolderLock
from engine.core.quoting import plain

TRASH = ".trash"
LONGEST_NAME = 200  # bytes


@dataclass(frozen=True, slots=True)
class Trashed:
    """A run that was put into the trash: where it was, and where it is now."""

    folder: Path
    place: Path


def rename(folder: Path, name: str) -> Path:
    """Call the run in ``folder`` ``name``; its new folder.

    Raises :class:`StoreError` in one line if that is no name or one that is taken, :class:`InUseError` if the run is in
    use.
    """
    if wrong := name_fault(name):
        raise StoreError(f"name: got {plain(name)!r}; allowed: {wrong}")
    new = folder.with_name(name)
    if name != folder.name:
        _move(folder, new, f"{folder} cannot be renamed")
    return new


def name_fault(name: str) -> str:
    """What a run's name must be and ``name`` is not; empty if it can be one."""
    if not name or name.startswith(".") or name != name.strip():
        return "a name that begins with neither a point nor a blank and does not end with a blank"
    if any(sign in name for sign in '/\\:*?"<>|') or not name.isprintable():
        return 'a name without / \\ : * ? " < > | and signs that are not printed'
    if len(name.encode("utf-8", "surrogateescape")) > LONGEST_NAME:
        return f"a name of at most {LONGEST_NAME} bytes"
    return ""


def put_into_trash(folder: Path, root: Path) -> Trashed:
    """Move the run in ``folder`` into the trash of ``root``, the folder that holds it directly or not.

    Raises as :func:`rename`.
    """
    folder, root = absolute(folder), absolute(root)
    trash = (root if root in folder.parents else folder.parent) / TRASH
    try:
        trash.mkdir(exist_ok=True)
    except OSError as error:
        raise refusal(f"{folder} cannot be deleted", error) from None
    place, n = trash / folder.name, 2
    while os.path.lexists(place):
        place, n = trash / f"{folder.name}-{n}", n + 1
    _move(folder, place, f"{folder} cannot be deleted")
    return Trashed(folder, place)


def take_back(trashed: Trashed) -> None:
    """Undo :func:`put_into_trash`. Raises :class:`StoreError` if another folder has taken its place."""
    what = f"{trashed.place} cannot be moved back"
    try:
        trashed.folder.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise refusal(what, error) from None
    _move(trashed.place, trashed.folder, what)


def in_trash(root: Path) -> list[Path]:
    """What is in the trash of ``root``, by name."""
    try:
        return sorted((absolute(root) / TRASH).iterdir())
    except OSError:
        return []


def empty_trash(root: Path) -> int:
    """Remove for good what is in the trash of ``root``; how many runs that were.

    Raises :class:`StoreError` for the first that cannot be removed, :class:`InUseError` for one that is in use: what
    came before it is gone.
    """
    found = in_trash(root)
    for place in found:
        what = f"{place} cannot be removed"
        try:
            if place.is_dir() and not place.is_symlink():
                lock = FolderLock(place)
                try:
                    shutil.rmtree(place)
                finally:
                    lock.release()
            else:
                place.unlink()
        except OSError as error:
            raise refusal(what, error) from None
    return len(found)


def _move(folder: Path, new: Path, what: str) -> None:
    if os.path.lexists(new) and not (folder.exists() and new.exists() and folder.samefile(new)):
        raise StoreError(f"{what}: {new} exists already")
    try:
        lock = FolderLock(folder)
    except OSError as error:
        raise refusal(what, error) from None
    try:
        if sys.platform == "win32":  # a folder is not renamed there while a file in it is open
            lock.release()
        folder.rename(new)
        lock.moved(new)
    except OSError as error:
        raise refusal(what, error) from None
    finally:
        lock.release()
