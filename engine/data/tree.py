"""What lies in a folder, a .zip or a .tar: names and sizes, how to open each file, and whether any of it has changed.

Archives are read where they are: nothing is unpacked, so no name in one can reach outside of it. Imports no torch.
"""

from __future__ import annotations

import bz2
import gzip
import hashlib
import lzma
import os
import stat
import tarfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, Any

from engine.core.errors import ConfigError

MAX_FILES = 2_000_000  # in one tree: more is no data set, but a disk that was chosen by mistake
MAX_READ = 2**26 + 2**16  # bytes of a .tar in one go: a header can claim any length
ARCHIVES = ".zip, .tar, .tar.gz, .tar.bz2 or .tar.xz"
SUFFIXES = (".zip", ".tar", ".tgz", ".tbz2", ".txz", ".tar.gz", ".tar.bz2", ".tar.xz")
PATTERNS = " ".join(f"*{suffix}" for suffix in SUFFIXES)  # for a question which one
LEFT_BEHIND = ("thumbs.db", "desktop.ini", "__macosx", "@eadir", "$recycle.bin")  # by systems, beside dotfiles
DAMAGE = (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, ValueError, RuntimeError)

Opener = Callable[[str], IO[bytes]]


@dataclass(frozen=True, slots=True)
class Tree:
    """The ``files`` with their bytes and the ``folders``, by their paths in it with ``/``; how to ``open`` a file.

    ``order`` tells where in the archive a file lies, if reading in that order is quicker; ``skipped`` counts what is
    neither a file nor a folder, by kind. What systems leave behind, such as ``.DS_Store``, is not in it.
    """

    files: dict[str, int]
    folders: tuple[str, ...]
    open: Opener
    order: Mapping[str, int] = field(default_factory=dict)
    skipped: Counter[str] = field(default_factory=Counter)


def archive_beside(folder: Path) -> Path | None:
    """``folder``, if there is such a folder or archive, or an archive of that name beside it."""
    candidates = (folder, *(Path(f"{folder}{suffix}") for suffix in SUFFIXES))
    return next((path for path in candidates if path.exists()), None)


@contextmanager
def opened(where: Path) -> Iterator[Tree]:
    """The tree of a folder or an archive, open meanwhile.

    Raises :class:`ConfigError` naming ``world.folder`` if it cannot be read or holds more than ``MAX_FILES`` files.
    """
    with ExitStack() as stack:
        try:
            kind = where.stat().st_mode
            if stat.S_ISDIR(kind):
                tree = _folder(where)
            elif not stat.S_ISREG(kind):  # a pipe or a device: to open it could wait for ever
                raise ConfigError(
                    f"world.folder: {where} is no file; allowed: a folder of images, or a {ARCHIVES} of one"
                )
            else:
                file = stack.enter_context(where.open("rb"))
                tree = stack.enter_context(_tar(file, where) if _is_tar(where) else _zip(file))
        except OSError as error:
            named = error.filename or where
            raise ConfigError(f"world.folder: {named} cannot be read: {error.strerror or error}") from None
        yield tree


def signature(where: Path) -> str:
    """SHA-256 over path, size, times and identity of a file, or of everything in a folder: it changes with any of them.

    Empty if there is nothing. No content is read.
    """
    found = hashlib.sha256()
    try:
        if not where.is_dir():
            found.update(_mark("", where.stat()))
            return found.hexdigest()
        for path, about, is_folder in sorted(_walk(where, Counter()), key=lambda each: each[0]):
            found.update(f"{path}/".encode(errors="surrogateescape") if is_folder else _mark(path, about))
    except OSError:
        return ""
    return found.hexdigest()


def left_behind(path: str) -> bool:
    """Whether a system left it there: ``.DS_Store``, ``._name.jpg``, ``__MACOSX``, ``Thumbs.db``."""
    return any(part.startswith(".") or part.casefold() in LEFT_BEHIND for part in path.split("/"))


def kind_of(path: str) -> str:
    """A file's kind by its name: ``.txt``, or ``without a suffix``."""
    suffix = PurePosixPath(path).suffix.lower()
    return suffix if 1 < len(suffix) <= 12 else "without a suffix"


# --- folders


def _mark(path: str, about: os.stat_result) -> bytes:
    times = f"{about.st_mtime_ns} {about.st_ctime_ns}"  # the second sees an older file put in place with its own time
    return f"{path}\0{about.st_size} {times} {about.st_ino}\0".encode(errors="surrogateescape")


def _folder(where: Path) -> Tree:
    skipped: Counter[str] = Counter()
    files: dict[str, int] = {}
    folders: list[str] = []
    for path, about, is_folder in _walk(where, skipped):
        if is_folder:
            folders.append(path)
        else:
            files[path] = about.st_size
    return Tree(files, tuple(folders), lambda path: (where / path).open("rb"), skipped=skipped)


def _walk(where: Path, skipped: Counter[str]) -> Iterator[tuple[str, os.stat_result, bool]]:
    """Path in ``where``, what is known of it, and whether it is a folder; each folder once, however it is linked.

    First all that lies in ``where`` itself, then the links to folders in the order of their names. One that leads to a
    folder met already, or to one around ``where``, is not followed.
    """
    root = where.stat()
    met = {(root.st_dev, root.st_ino)}
    around = {_identity(parent) for parent in Path(os.path.realpath(where)).parents}
    waiting: list[str] = [""]
    links: list[str] = []
    count = 0
    while waiting or links:
        if not waiting:
            path = links.pop(0)
            about = (where / path).stat()
            if (about.st_dev, about.st_ino) in met | around:
                skipped["link to a folder that is read already"] += 1
                continue
            met.add((about.st_dev, about.st_ino))
            yield path, about, True
            waiting.append(path)
        base = waiting.pop()
        new_links = []
        with os.scandir(where / base) as entries:
            for entry in sorted(entries, key=lambda each: each.name):
                path = f"{base}/{entry.name}" if base else entry.name
                if left_behind(entry.name):
                    continue
                count += 1
                if count > MAX_FILES:
                    raise ConfigError(f"world.folder: {where} holds more than {MAX_FILES:,} files; allowed: fewer")
                try:
                    about = entry.stat()
                except OSError:  # a link to nothing, or in a ring
                    skipped["broken link"] += 1
                    continue
                if stat.S_ISDIR(about.st_mode):
                    if entry.is_symlink():
                        new_links.append(path)
                        continue
                    if (about.st_dev, about.st_ino) in met:  # a folder mounted twice
                        continue
                    met.add((about.st_dev, about.st_ino))
                    yield path, about, True
                    waiting.append(path)
                elif stat.S_ISREG(about.st_mode):
                    yield path, about, False
                else:  # a pipe or device
                    skipped["special file"] += 1
        links = sorted([*links, *new_links])


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        about = path.stat()
    except OSError:
        return None
    return about.st_dev, about.st_ino


# --- archives


def _inside(name: str) -> str | None:
    """A name in an archive as a path with ``/`` (Windows writes backslashes); None if it would lead outside of it."""
    name = name.replace("\\", "/")
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts or name.startswith("/") or (parts and parts[0].endswith(":")):
        return None
    return "/".join(parts)


def _listed(entries: Iterable[tuple[str, int, bool, Any]], where: object) -> tuple[Tree, dict[str, Any]]:
    """A tree, not to be opened yet, of entries (name, bytes, is a folder, what the archive knows it by)."""
    files: dict[str, int] = {}
    folders: dict[str, None] = {}
    known: dict[str, Any] = {}
    order: dict[str, int] = {}
    skipped: Counter[str] = Counter()
    for i, (name, size, is_folder, key) in enumerate(entries):
        if i >= MAX_FILES:
            raise ConfigError(f"world.folder: {where} holds more than {MAX_FILES:,} files; allowed: fewer")
        path = _inside(name)
        if path is None:
            skipped["name that leads outside of the archive"] += 1
        elif not path or left_behind(path):
            continue
        elif is_folder:
            folders[path] = None
        elif key is None:
            skipped["link or special file"] += 1
        else:
            files[path], known[path], order[path] = size, key, i
    return Tree(files, tuple(folders), lambda path: known[path], order, skipped), known


def _zip_name(entry: zipfile.ZipInfo) -> str:
    """A name without the mark of UTF-8 was read as code page 437; some write UTF-8 all the same."""
    if entry.flag_bits & 0x800:
        return entry.filename
    try:
        return entry.filename.encode("cp437").decode("utf-8")
    except UnicodeError:
        return entry.filename


@contextmanager
def _zip(file: IO[bytes]) -> Iterator[Tree]:
    try:
        archive = zipfile.ZipFile(file)
        listed = ((_zip_name(e), e.file_size, _is_folder(e), e) for e in archive.infolist())
        tree, known = _listed(listed, file.name)
    except DAMAGE:
        raise ConfigError(
            f"world.folder: {file.name} is not a .zip, or a truncated one; allowed: a folder of images, or a "
            f"{ARCHIVES} of one"
        ) from None
    with archive:
        yield Tree(tree.files, tree.folders, lambda path: archive.open(known[path]), skipped=tree.skipped)


def _is_folder(entry: zipfile.ZipInfo) -> bool:
    return entry.filename.replace("\\", "/").endswith("/")


def _is_tar(where: Path) -> bool:
    """By its name: the start of a compressed one says nothing of what is in it."""
    return where.name.lower().endswith(tuple(suffix for suffix in SUFFIXES if suffix != ".zip"))


class _Bounded:
    """A file that reads at most ``MAX_READ`` bytes in one go."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= MAX_READ:
            raise tarfile.ReadError(f"a header claims {size:,} bytes")
        return bytes(self._file.read(size))


@contextmanager
def _tar(file: IO[bytes], where: Path) -> Iterator[Tree]:
    magic = file.read(6)
    file.seek(0)
    plain: Any = file
    if magic.startswith(b"\x1f\x8b"):
        plain = gzip.GzipFile(fileobj=file, mode="rb")
    elif magic.startswith(b"BZh"):
        plain = bz2.BZ2File(file)
    elif magic.startswith(b"\xfd7zXZ"):
        plain = lzma.LZMAFile(file)  # noqa: SIM115 - ends with the file below it
    try:
        archive = tarfile.open(fileobj=_Bounded(plain), mode="r:")  # type: ignore[call-overload]  # noqa: SIM115
        tree, known = _listed(
            ((m.name, m.size, m.isdir(), m if m.isreg() or m.isdir() else None) for m in archive), where
        )
    except (*DAMAGE, OSError) as error:
        raise ConfigError(
            f"world.folder: {where} is not a .tar, or a damaged one ({' '.join(str(error).split())}); allowed: a folder"
            f" of images, or a {ARCHIVES} of one"
        ) from None
    with archive:
        yield Tree(tree.files, tree.folders, lambda path: _content(archive, known[path]), tree.order, tree.skipped)


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    found = archive.extractfile(member)
    if found is None:
        raise tarfile.ReadError("it is no file")
    return found
