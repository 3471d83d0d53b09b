"""How a process is asked to stop: Ctrl+C, SIGTERM (a scheduler, a logout) and SIGHUP (the terminal is gone).

The first one is noted and seen between two steps, so that nothing is left half-done; a second one ends the process at
once and saves nothing, as nobody can say in the middle of what it came.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

INTERRUPTED = 130  # the exit code
STOPPING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK") if hasattr(signal, name))
_AT_ONCE = "interrupted at once: what was done since the last checkpoint is not saved"


def end_at_once(text: str) -> None:
    """End the process here, with one line and without cleaning up."""
    with suppress(OSError):
        os.write(2, f"{text}\n".encode())
    os._exit(INTERRUPTED)


@contextmanager
def noted(asked: Callable[[], object] = lambda: None) -> Iterator[list[int]]:
    """The signals seen so far, while this is open; ``asked`` is called at the first, the second ends the process.

    A signal that the process was started to ignore (``nohup``) stays ignored. To be called in the main thread.
    """
    seen: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        if seen:
            end_at_once(_AT_ONCE)
        seen.append(number)
        asked()

    before: dict[int, Any] = {}
    for number in STOPPING:
        if signal.getsignal(number) != signal.SIG_IGN:
            before[number] = signal.signal(number, note)
    try:
        yield seen
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


def quiet_imports() -> None:
    """From now on Ctrl+C amid an import ends the process with one line; elsewhere it is a KeyboardInterrupt as ever.

    What an import was doing cannot be unwound: libraries turn the KeyboardInterrupt into errors of their own. The other
    signals that ask a process to stop do the same, where nobody notes them (:func:`noted`).
    """
    for number in STOPPING:
        if signal.getsignal(number) in (signal.default_int_handler, signal.SIG_DFL):
            signal.signal(number, _interrupt)


def _interrupt(number: int, frame: FrameType | None) -> None:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            end_at_once("interrupted")
        frame = frame.f_back
    raise KeyboardInterrupt


def run_child(line: list[str], env: Mapping[str, str]) -> int:
    """Run a program to its end and return its exit code; what stops this process is passed on to it, once."""
    if sys.platform == "win32":
        child = subprocess.Popen(line, env=env)
    else:
        # In a group of its own: Ctrl+C in a terminal goes to a whole group, and would reach it a second time.
        child = subprocess.Popen(line, env=env, process_group=0)

    def pass_on(number: int, frame: FrameType | None) -> None:
        if sys.platform != "win32":  # there the console tells all its processes
            child.terminate()

    numbers = [number for number in STOPPING if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, pass_on) for number in numbers}
    try:
        code = child.wait()
        return code if code >= 0 else INTERRUPTED
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
