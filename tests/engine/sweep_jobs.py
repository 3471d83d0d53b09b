"""Jobs that the tests of the pool give to its processes. They import no torch, so that a process starts at once."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable

from engine.core import plugins
from engine.core.errors import ConfigError
from engine.core.notices import notice
from engine.core.slices import Progress


def double(number: int, tell: Progress, stopped: Callable[[], bool]) -> dict[str, int]:
    sys.stdout.write("not a message\n")
    tell(1.0, "doubled")
    return {"number": 2 * number, "process": os.getpid()}


def plugins_there(tell: Progress, stopped: Callable[[], bool]) -> list[str]:
    return [each.name for each in plugins.loaded()]


def until_stopped(tell: Progress, stopped: Callable[[], bool]) -> str:
    tell(0.1, "waits")
    while not stopped():
        time.sleep(0.005)
    return "stopped when asked"


def told_until_stopped(tell: Progress, stopped: Callable[[], bool]) -> None:
    while True:
        tell(0.2, "in the middle")
        time.sleep(0.005)


def refuse(tell: Progress, stopped: Callable[[], bool]) -> None:
    notice("something is odd")
    raise ConfigError("attack.tau: got 11; allowed: a number from 0 to 10")


def break_down(tell: Progress, stopped: Callable[[], bool]) -> None:
    raise ZeroDivisionError("division\nby zero")


def leave(tell: Progress, stopped: Callable[[], bool]) -> None:
    sys.stderr.write("out of luck\n")
    sys.stderr.flush()
    os._exit(3)


def deaf(tell: Progress, stopped: Callable[[], bool]) -> None:
    tell(0.1, "listens to nobody")
    while True:
        time.sleep(0.01)
