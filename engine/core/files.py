"""Writing files whole: to a temporary name beside the final one, made durable, then renamed."""

from __future__ import annotations

import json
import os
import tempfile
from contextlib import suppress
from pathlib import Path

from engine.core.errors import StoreError


def write_atomically(path: Path, data: bytes) -> None:
    """Write ``data`` to a temporary name beside ``path``, make it durable, then rename it to ``path``."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)  # noqa: PTH101 - mkstemp makes private files, a run folder is to be shared
        Path(name).replace(path)
    except BaseException:
        with suppress(FileNotFoundError):
            Path(name).unlink()
        raise


def write_json(path: Path, value: object) -> None:
    """Write JSON atomically. Raises :class:`StoreError` where the folder cannot be written."""
    try:
        write_atomically(path, json.dumps(value, indent=1, ensure_ascii=False).encode())
    except OSError as error:
        raise StoreError(f"{path} cannot be written: {error.strerror}") from None
