"""Processes that need not import torch and Qt again: each is forked from one that has, and has done nothing else.

For tests of what a process does, not of how it starts.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    # torch before PySide6, as the program does
    ["engine.worlds", "engine.run.session", "engine.cli.run", "tests.tiny_runs", "fp_gui.main_window"]
)


class Forked:
    """``python -m MODULE ARGUMENTS`` under way; what it writes goes to files in ``folder``."""

    def __init__(self, module: str, arguments: list[str], folder: Path, environment: dict[str, str]) -> None:
        self._files = (folder / "stdout.txt", folder / "stderr.txt")
        self._process = CONTEXT.Process(target=_run, args=(module, arguments, self._files, environment))
        self._process.start()

    def send_signal(self, number: signal.Signals) -> None:
        """As :meth:`subprocess.Popen.send_signal`."""
        assert self._process.pid is not None
        os.kill(self._process.pid, number)

    def end(self, seconds: float = 60) -> tuple[int | None, str, str]:
        """Wait for its end: exit code (None if it goes on), stdout, stderr."""
        self._process.join(seconds)
        out, err = (path.read_text(encoding="utf-8") for path in self._files)
        return self._process.exitcode, out, err

    def kill(self) -> None:
        """End it if it goes on."""
        self._process.kill()
        self._process.join()


@contextmanager
def forked(module: str, *arguments: object, folder: Path, **environment: str) -> Iterator[Forked]:
    """``python -m module arguments``, gone at the end."""
    process = Forked(module, [str(each) for each in arguments], folder, environment)
    try:
        yield process
    finally:
        process.kill()


def _run(module: str, arguments: list[str], files: tuple[Path, Path], environment: dict[str, str]) -> None:
    for number, path in enumerate(files, start=1):
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(handle, number)
        os.close(handle)
    os.environ.update(environment)
    sys.argv = [module, *arguments]
    sys.exit(importlib.import_module(f"{module}.__main__").main())
