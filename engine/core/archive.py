"""A folder as bytes and back: a plain tar archive, of which nothing is taken but files and folders within it."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path, PurePosixPath

from engine.core.errors import StoreError
from engine.core.files import refusal


def pack(folder: Path) -> bytes:
    """The regular files below ``folder``; links and what else there may be are left out.

    Raises :class:`StoreError` if one cannot be read.
    """
    data = io.BytesIO()
    try:
        with tarfile.open(fileobj=data, mode="w", format=tarfile.PAX_FORMAT) as archive:
            for path in sorted(folder.rglob("*")):
                if path.is_symlink() or not (path.is_file() or path.is_dir()):
                    continue
                archive.add(path, path.relative_to(folder).as_posix(), recursive=False, filter=_nobodys)
    except OSError as error:
        raise refusal(f"{folder} cannot be read", error) from None
    return data.getvalue()


def _nobodys(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    """Without the names of who owns a file here."""
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    return entry


def unpack(data: bytes, folder: Path) -> None:
    """Write what :func:`pack` has packed into ``folder``, which is made and must not exist.

    Raises :class:`StoreError` for bytes that are no such archive, a name that leads out of the folder and anything but
    a file or a folder; what came before it is written then. :class:`engine.core.errors.WriteError` on a full disk.
    """
    try:
        folder.mkdir(parents=True)
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
            for entry in archive:
                _take(archive, entry, folder)
    except (tarfile.TarError, EOFError, ValueError) as error:
        raise StoreError(f"archive of {folder.name}: it is damaged: {error}") from None
    except OSError as error:
        raise refusal(f"{folder} cannot be written", error) from None


def _take(archive: tarfile.TarFile, entry: tarfile.TarInfo, folder: Path) -> None:
    name = PurePosixPath(entry.name)
    inside = name.parts and not name.is_absolute() and ".." not in name.parts
    if not inside or any(sign in entry.name for sign in "\\:") or not entry.name.isprintable():
        raise StoreError(f"archive of {folder.name}: got the name {entry.name!r}; allowed: one within the folder")
    place = folder.joinpath(*name.parts)
    if entry.isdir():
        place.mkdir(parents=True, exist_ok=True)
        return
    if not entry.isreg():
        raise StoreError(f"archive of {folder.name}: {entry.name} is neither a file nor a folder")
    source = archive.extractfile(entry)
    assert source is not None
    place.parent.mkdir(parents=True, exist_ok=True)
    with source, place.open("xb") as target:
        while part := source.read(1 << 20):
            target.write(part)
