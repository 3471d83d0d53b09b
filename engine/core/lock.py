"""One writer a folder: an advisory lock that dies with its process, however that ends. Readers need none.

The lock is the operating system's, on the file ``.lock`` in the folder, which says the number of the process that holds
it. A file system that knows no locks (some network mounts) gives none: there two writers are not kept apart.
"""

from __future__ import annotations

import errno
import os
import sys
import time
from contextlib import suppress
from pathlib import Path

from engine.core.errors import InUseError

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

NAME = ".lock"
_HELD = {errno.EACCES, errno.EAGAIN, errno.EWOULDBLOCK, errno.EDEADLK}
_NO_LOCKS = {errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.ENOLCK}


class FolderLock:
    """Held from when it is made until :meth:`release`, or until the process is gone.

    Raises :class:`InUseError` if it is held elsewhere, OSError if the folder cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME
        self._handle: int | None = None
        while True:
            handle = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
            try:
                _lock_patiently(handle)
                current = _same(handle, self._path)
            except OSError as error:
                holder = _holder(handle)
                os.close(handle)
                if error.errno in _HELD:
                    raise InUseError(_in_use(folder, holder)) from None
                raise
            if current:
                break
            os.close(handle)  # whoever held it has removed the file meanwhile
        self._handle = handle
        with suppress(OSError):  # on a full disk it is held all the same, only without a number
            os.ftruncate(handle, 0)
            os.lseek(handle, 0, os.SEEK_SET)
            os.write(handle, b"%d\n" % os.getpid())

    def moved(self, folder: Path) -> None:
        """The locked folder has been renamed to ``folder``."""
        self._path = folder / NAME

    def release(self) -> None:
        """Let others write; harmless when released already."""
        handle, self._handle = self._handle, None
        if handle is None:
            return
        with suppress(OSError):  # removed while it is held, so that nobody is left with a lock on a file that is gone
            if _same(handle, self._path):
                self._path.unlink()
        os.close(handle)

    def __del__(self) -> None:
        self.release()


def held(folder: Path, recent: float = 10.0) -> bool:
    """Whether some process writes the run in ``folder``, as far as one can tell: see :func:`holder`.

    One on another machine may not be seen so: it writes if its lock file is there and its database was written in the
    last ``recent`` seconds.
    """
    if holder(folder) is not None:
        return True
    if not (folder / NAME).exists():
        return False
    for name in ("run.sqlite-wal", "run.sqlite"):
        with suppress(OSError):
            if time.time() - (folder / name).stat().st_mtime < recent:
                return True
    return False


def holder(folder: Path) -> int | None:
    """The number of the process that has ``folder`` locked, 0 if it did not say; None if nobody has.

    It writes nothing, and locks for an instant what is left of a process that was killed. Where the file may not be
    read, or the file system knows no locks, nobody seems to have it.
    """
    try:
        handle = os.open(folder / NAME, os.O_RDWR if sys.platform == "win32" else os.O_RDONLY)
    except OSError:
        return None
    try:
        _lock(handle, shared=True)  # so that two who look do not see each other
    except OSError as error:
        return (_holder(handle) or 0) if error.errno in _HELD else None
    finally:
        os.close(handle)
    return None


def _lock_patiently(handle: int) -> None:
    """Lock, though somebody may be looking (:func:`holder`) just now."""
    for wait in (0.002, 0.01):
        try:
            return _lock(handle)
        except OSError as error:
            if error.errno not in _HELD:
                raise
        time.sleep(wait)
    return _lock(handle)


def _lock(handle: int, *, shared: bool = False) -> None:
    try:
        if sys.platform == "win32":
            os.lseek(handle, 1 << 20, os.SEEK_SET)  # beyond the number, which others are to read
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
            os.lseek(handle, 0, os.SEEK_SET)
        else:
            fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise


def _same(handle: int, path: Path) -> bool:
    """Whether ``path`` is still the file that ``handle`` has open."""
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


def _holder(handle: int) -> int | None:
    """The number of the process that holds the lock; it writes that just after taking it."""
    for _ in range(20):
        with suppress(OSError, ValueError):
            os.lseek(handle, 0, os.SEEK_SET)
            return int(os.read(handle, 32))
        time.sleep(0.005)
    return None


def _in_use(folder: Path, holder: int | None) -> str:
    if holder == os.getpid():
        return f"{folder}: in use by this process, which has it open already; close it there first"
    return f"{folder}: in use by {'another process' if holder is None else f'process {holder}'}; only one may write it"
