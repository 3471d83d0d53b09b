"""Reading files that anybody may have written: what is opened is a file and not too large, JSON is plain and finite.

Whatever is wrong with one becomes a :class:`StoreError` in one line that names it. Looking before opening matters: a
pipe in place of a file would never end, a device would never begin.
"""

from __future__ import annotations

import json
import math
import stat
from itertools import chain
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from engine.core.errors import StoreError

MOST_JSON = (
    16 * 2**20
)  # bytes of a JSON file: a run's config takes some kilobytes, a study's answer some megabytes at most
MOST_DEPTH = 64  # of lists and tables in one another
MOST_QUOTED = 100  # characters of a value in an error line


def check_file(path: Path, most: int | None = None) -> int:
    """The size in bytes of the regular file at ``path``.

    Raises ``FileNotFoundError`` if nothing is there, :class:`StoreError` for what is no file, may not be looked at or
    has more than ``most`` bytes.
    """
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(path) from None
    except OSError as error:
        raise StoreError(f"{quoted(str(path))} cannot be read: {error.strerror}") from None
    except ValueError as error:  # a name that no file can have
        raise StoreError(f"{quoted(str(path))} cannot be read: {error}") from None
    if not stat.S_ISREG(found.st_mode):
        raise StoreError(f"{path} is damaged: {_kind(found.st_mode)} in place of a file")
    if most is not None and found.st_size > most:
        raise StoreError(f"{path} is damaged: {found.st_size} bytes; allowed: at most {most}")
    return found.st_size


def _kind(mode: int) -> str:
    names = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
    return names.get(stat.S_IFMT(mode), "a device")


def read_bytes(path: Path, most: int = MOST_JSON) -> bytes:
    """The content of a file of at most ``most`` bytes; errors as those of :func:`check_file`."""
    check_file(path, most)
    try:
        with path.open("rb") as file:
            data = file.read(most + 1)  # it may have grown since
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror}") from None
    if len(data) > most:
        raise StoreError(f"{path} is damaged: more than {most} bytes")
    return data


def read_json(path: Path) -> Any:
    """The JSON in a file; errors as those of :func:`check_file`, and :class:`StoreError` for what is no JSON."""
    try:
        return parse_json(read_bytes(path))
    except ValueError as error:
        raise StoreError(f"{path} is damaged: {error}") from None


def parse_json(text: str | bytes) -> Any:
    """JSON whose numbers are finite. Raises ``ValueError``, in one line, for anything else."""
    try:
        found = json.loads(text, parse_constant=_not_finite, parse_float=_finite)
    except RecursionError:
        raise ValueError(f"nested too deeply; allowed: {MOST_DEPTH} levels") from None
    except UnicodeDecodeError:
        raise ValueError("not JSON: not UTF-8 text") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error}") from None
    except ValueError as error:
        reason = "a number of too many digits" if "digits" in str(error) else str(error)
        raise ValueError(f"not JSON: {reason}") from None
    _check_depth(found)
    return found


def _not_finite(name: str) -> float:
    raise ValueError(f"{name}, which is no number")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{quoted(text)}, which is too large a number")
    return value


def _check_depth(found: Any) -> None:
    level: list[Any] = [found]
    for _ in range(MOST_DEPTH + 1):
        inner = [each.values() if isinstance(each, dict) else each for each in level if isinstance(each, dict | list)]
        if not inner:
            return
        level = list(chain.from_iterable(inner))
    raise ValueError(f"nested too deeply; allowed: {MOST_DEPTH} levels")


def quoted(value: object) -> str:
    """``value`` as it may stand in an error line: in one line, and not longer than a few words."""
    try:
        text = repr(value) if not isinstance(value, str) or not value.isprintable() else value
    except (ValueError, RecursionError):  # a number of more digits than python writes
        text = type(value).__name__
    return text if len(text) <= MOST_QUOTED else text[:MOST_QUOTED] + "…"


def first_fault(error: ValidationError) -> str:
    """The first thing that a pydantic model refused, as ``field: reason, got value``, in one line."""
    first = error.errors(include_url=False)[0]
    where = ".".join(map(str, first["loc"]))
    got = "" if first["type"] == "missing" or isinstance(first["input"], dict) else f", got {quoted(first['input'])}"
    return " ".join(f"{where + ': ' if where else ''}{first['msg']}{got}".split())
