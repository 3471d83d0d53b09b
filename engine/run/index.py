"""An index over run folders: what a list of runs shows of each, remembered while the run's files stay as they are.

A look walks through the folders and compares names, sizes and times of their files with those of the last look; a run
in which any differs is read again (:mod:`engine.run.entry`). What was read is kept in one file in the user's cache
folder, so that nothing is written beside the runs and runs on a medium that may only be read are listed as quickly.
The file may be removed at any time; one that is damaged, or of another version, is as good as none.
"""

from __future__ import annotations

import os
import time
from collections.abc import Generator, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from engine.core.errors import StoreError
from engine.core.files import absolute, refusal, write_atomically
from engine.core.folders import user_cache
from engine.core.lock import NAME as LOCK
from engine.core.lock import holder
from engine.core.reading import read_bytes
from engine.run.entry import CONFIG, DATABASE, UNREADABLE, Outcome, RunEntry, read_entry
from engine.run.schema import Record

VERSION = 2  # of what an entry holds: an index of another one is made anew
DEPTH = 2  # folders below the root in which runs are looked for: root/run and root/group/run
SWEEP, RUNS = "sweep.json", "runs"  # a folder with the file keeps its runs in the folder, one level deeper
MOST_INDEX = 256 * 2**20  # bytes; of 1,000 runs it has about 1.5 million
YOUNG = 0.05  # seconds in which a file may change again without another time
Standing = Literal["training", "here"] | Outcome

STANDINGS: dict[Standing, str] = {
    "training": "another process has it open",
    "here": "this window has it open",
    "finished": "its schedule has run to its end",
    "imported": "its weights were trained elsewhere; it can be looked at, and branched from",
    "interrupted": "it can be gone on with from its newest checkpoint",
    "diverged": "its loss was no number any more; an earlier checkpoint is sound",
    "damaged": "it cannot be read",
    "newer": "a newer version wrote it, or one with other knobs",
    "plugin": "it was made with a plugin that is not loaded",
}


@dataclass(frozen=True, slots=True)
class ListedRun:
    """A run in a list: ``entry`` as its files stand, and how it stands now.

    ``holder`` is the number of the process that has it open, 0 if that did not say, None if nobody has.
    """

    folder: Path
    entry: RunEntry
    holder: int | None = None

    @property
    def name(self) -> str:
        """The folder's."""
        return self.folder.name

    @property
    def standing(self) -> Standing:
        """One of :data:`STANDINGS`."""
        if self.holder is None or self.entry.outcome in UNREADABLE:
            return self.entry.outcome
        return "here" if self.holder == os.getpid() else "training"


class Remembered(Record):
    """An entry, and of which files."""

    files: str
    entry: RunEntry


class IndexFile(Record):
    """The index's file: entries by the path of the folder."""

    version: int
    runs: dict[str, Remembered]


@dataclass(frozen=True, slots=True)
class _Files:
    """A run folder's files: a digest of names, sizes and times, bytes in all, the newest time."""

    digest: str
    size: int
    written: float


class RunIndex:
    """The runs below ``root``. One thread uses it at a time.

    ``cache`` is the folder in which it remembers, by default the user's own; what cannot be written there is not
    remembered.
    """

    def __init__(self, root: Path, cache: Path | None = None) -> None:
        self.root = absolute(root)
        place = user_cache() if cache is None else cache
        name = blake2b(os.fsencode(self.root), digest_size=12).hexdigest()
        self.path = None if place is None else place / f"runs-{name}.json"
        self._known: dict[str, Remembered] | None = None
        self.read = 0  # runs that the last look had to read

    def look(self) -> tuple[ListedRun, ...]:
        """All runs as they stand now, in the order of their paths.

        Raises :class:`StoreError` if the root cannot be read; one that does not exist holds no runs.
        """
        return tuple(self.runs())

    def runs(self) -> Generator[ListedRun, None, None]:
        """The same, one by one. Whoever closes this before its end loses nothing of what was read until then."""
        known = self._load() if self._known is None else self._known
        fresh: dict[str, Remembered] = {}
        self.read, changed, whole = 0, False, False
        try:
            for folder in sorted(_runs_in(self.root, DEPTH)):
                held = holder(folder)
                files, key = _files(folder), str(folder)
                found = known.get(key)
                if found is None or found.files != files.digest or found.entry.stale:
                    self.read += 1
                    entry = read_entry(folder, in_use=held is not None)
                    sizes = {"written": files.written, "size": files.size}
                    found = Remembered(files=files.digest, entry=entry.model_copy(update=sizes))
                    changed |= held is None
                if time.time() - files.written >= YOUNG:
                    fresh[key] = found
                yield ListedRun(folder, found.entry, held)
            whole = True
        finally:
            self._known = fresh if whole else known | fresh
            if changed or len(self._known) < len(known):
                self._save(self._known)

    def _load(self) -> dict[str, Remembered]:
        if self.path is not None:
            with suppress(StoreError, FileNotFoundError, ValidationError):
                found = IndexFile.model_validate_json(read_bytes(self.path, MOST_INDEX))
                if found.version == VERSION:
                    return found.runs
        return {}

    def _save(self, runs: dict[str, Remembered]) -> None:
        if self.path is None:
            return
        text = {key: value for key, value in runs.items() if key.isprintable()}
        with suppress(OSError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self.path, IndexFile(version=VERSION, runs=text).model_dump_json().encode())


def is_run(folder: Path) -> bool:
    """Whether ``folder`` holds a run, or what is left of one."""
    return any((folder / name).is_file() for name in (CONFIG, DATABASE))


def _runs_in(folder: Path, depth: int) -> Iterator[Path]:
    """``folder`` itself if it is a run, else the runs up to ``depth`` levels below it; hidden folders are passed by."""
    try:
        if is_run(folder):
            yield folder
            return
        inner = [Path(each.path) for each in _entries(folder) if not each.name.startswith(".") and each.is_dir()]
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        if depth == DEPTH:
            raise refusal(f"{folder} cannot be read", error) from None
        return
    for each in inner:
        if (each / SWEEP).is_file():
            yield from _runs_in(each / RUNS, 1)
        elif depth > 1:
            yield from _runs_in(each, depth - 1)
        elif is_run(each):
            yield each


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as found:
        return list(found)


def _files(folder: Path) -> _Files:
    """All files below ``folder``, but for those that readers make."""
    seen = sorted(_walk(folder, ""))
    digest = blake2b(repr(seen).encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()
    newest = max((changed for _, _, changed in seen), default=0)
    return _Files(digest, sum(size for _, size, _ in seen), newest / 1e9)


def _walk(folder: Path | str, prefix: str) -> Iterable[tuple[str, int, int]]:
    """(name, bytes, nanoseconds since 1970) of each file."""
    with suppress(OSError), os.scandir(folder) as found:
        for each in found:
            with suppress(OSError):  # gone meanwhile
                if each.is_dir(follow_symlinks=False):
                    yield from _walk(each.path, f"{prefix}{each.name}/")
                    continue
                facts = each.stat(follow_symlinks=False)
                log = each.name.endswith("-wal") and not facts.st_size
                if each.name != LOCK and not log and not each.name.endswith("-shm"):
                    yield prefix + each.name, facts.st_size, facts.st_mtime_ns
