"""Standard output and standard error that never end a program: whatever their encoding, closed, missing or full."""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress
from typing import TextIO

NAMES = ("stdin", "stdout", "stderr")  # by their file descriptors 0, 1, 2


class _Output(io.FileIO):
    """A file descriptor that is written to for as long as that succeeds; what comes after a failure is dropped."""

    def __init__(self, number: int) -> None:
        super().__init__(number, "wb", closefd=False)
        self.failure: OSError | None = None

    def write(self, data: object) -> int:
        """Write, or keep why that failed as :attr:`failure`; the caller is always told that all is well."""
        size = memoryview(data).nbytes  # type: ignore[arg-type]
        if self.failure is None:
            try:
                return super().write(data)  # type: ignore[arg-type]
            except OSError as error:
                self.failure = error
        return size


def prepare() -> None:
    """Make the standard streams safe; to be called once, first thing in a program.

    A stream that is closed or missing (``2>&-``, a program without a console) leads nowhere, so that no file that is
    opened later takes its number and gets what Qt and torch write there. Characters that the encoding lacks are
    written as escape sequences. A reader that goes away and a full disk are met by :func:`finish`, not by whoever
    writes.
    """
    for number, name in enumerate(NAMES):
        _open_descriptor(number)
        stream: TextIO | None = getattr(sys, name)
        if stream is None:
            stream = open(os.devnull, "r" if number == 0 else "w", encoding="utf-8")  # noqa: PTH123, SIM115
            setattr(sys, name, stream)
        elif number and isinstance(stream, io.TextIOWrapper):
            if stream is getattr(sys, f"__{name}__") and type(_raw(stream)) is io.FileIO:
                setattr(sys, name, _safe(stream, number))
            else:
                stream.reconfigure(errors="backslashreplace")


def finish(code: int) -> int:
    """The exit code of a program that would end with ``code``: 1 where its output was lost, which takes one line.

    A reader that has seen enough (``| head -1``) loses nothing that it wants.
    """
    for name in NAMES[1:]:
        with suppress(OSError, ValueError):
            getattr(sys, name).flush()
    failure = _failure(sys.stdout)
    if failure is None or isinstance(failure, BrokenPipeError):
        return code
    sys.stderr.write(f"error: standard output cannot be written: {failure.strerror}\n")
    return code or 1


def reader_gone() -> bool:
    """Whether what was printed last found nobody who reads it any more: the program at the pipe's end has ended."""
    return isinstance(_failure(sys.stdout), BrokenPipeError)


def _open_descriptor(number: int) -> None:
    try:
        os.fstat(number)
    except OSError:
        opened = os.open(os.devnull, os.O_RDWR)
        if opened != number:
            os.dup2(opened, number)
            os.close(opened)


def _safe(stream: io.TextIOWrapper, number: int) -> TextIO:
    stream.flush()
    raw = _Output(number)
    buffered = _raw(stream) is not stream.buffer  # not so with PYTHONUNBUFFERED
    return io.TextIOWrapper(
        io.BufferedWriter(raw) if buffered else raw, encoding=stream.encoding, errors="backslashreplace",
        line_buffering=stream.line_buffering, write_through=stream.write_through,
    )  # fmt: skip


def _raw(stream: TextIO) -> object:
    buffer = getattr(stream, "buffer", None)
    return getattr(buffer, "raw", buffer)


def _failure(stream: TextIO) -> OSError | None:
    raw = _raw(stream)
    return raw.failure if isinstance(raw, _Output) else None
