"""Writing files whole: to a temporary name beside the final one, made durable, then renamed."""

from __future__ import annotations

import errno
import json
import os
import sqlite3
import tempfile
from contextlib import suppress
from pathlib import Path

from engine.core.errors import StoreError, WriteError

_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO} if hasattr(errno, "EDQUOT") else {errno.ENOSPC, errno.EIO}
_DATABASE = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR}


def absolute(path: Path) -> Path:
    """``path`` from the root, with ``~`` as the home folder (a shell leaves it in ``--out=~/run``, and in quotes)."""
    with suppress(RuntimeError):  # no such user: then it is a name like any other
        path = Path(path).expanduser()
    return Path(path).absolute()


def refusal(what: str, error: OSError | sqlite3.Error) -> StoreError:
    """The error that says in one line why ``what``: a :class:`WriteError` where the disk is full or failing."""
    reason = getattr(error, "strerror", None) or error
    return (WriteError if disk_failed(error) else StoreError)(f"{what}: {reason}")


def disk_failed(error: OSError | sqlite3.Error) -> bool:
    """Whether the disk is full or failing."""
    if isinstance(error, OSError):
        return error.errno in _DISK
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _DATABASE


def write_atomically(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Write ``data`` to a temporary name beside ``path``, make it ``durable``, then rename it to ``path``."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.chmod(name, 0o644)  # noqa: PTH101 - mkstemp makes private files, a run folder is to be shared
        Path(name).replace(path)
    except BaseException:
        with suppress(FileNotFoundError):
            Path(name).unlink()
        raise


def write_json(path: Path, value: object) -> None:
    """Write JSON atomically. Raises :class:`StoreError` where that is not possible, see :func:`refusal`."""
    try:
        write_atomically(path, json.dumps(value, indent=1, ensure_ascii=False).encode())
    except OSError as error:
        raise refusal(f"{path} cannot be written", error) from None
