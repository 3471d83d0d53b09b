"""How many cores this process has, and how many threads make sense on them. Imports no torch."""

from __future__ import annotations

import os
from contextlib import suppress
from math import ceil
from pathlib import Path

from engine.core.errors import ConfigError

THREADS_PER_CORE = 4
CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")  # Linux: microseconds of all cores together in a period, and the period
MEMORY = Path("/proc/meminfo")  # Linux: a table of kilobytes
MEMORY_LIMIT = Path("/sys/fs/cgroup/memory.max")  # Linux: bytes that a container may take


def threads_to_use(threads: int) -> int:
    """The number of threads for the knob ``threads``.

    0 takes what ``OMP_NUM_THREADS`` says, else every core but one where there are more than two, so that a window stays
    responsive. More than :func:`most_threads` are never used: a run may come from a larger machine.
    """
    cores = cores_available()
    return min(threads or _asked_of_openmp() or (cores - 1 if cores > 2 else cores), most_threads())


def check_threads(threads: int) -> None:
    """Raise :class:`ConfigError` if a new run asks for more threads than this machine can make use of."""
    if threads > most_threads():
        cores = cores_available()
        raise ConfigError(
            f"threads: got {threads}; allowed on this machine ({cores} core{'s' if cores > 1 else ''} available): "
            f"0 (chosen by itself) to {most_threads()}"
        )


def most_threads() -> int:
    """More threads than this only wait for each other, hundreds of times as long as a step takes."""
    return THREADS_PER_CORE * cores_available()


def cores_available() -> int:
    """Cores that this process may use: those of its affinity, or fewer where a container is given less."""
    found = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    try:
        quota, period = CPU_QUOTA.read_text(encoding="ascii").split()
        return max(1, min(found, ceil(int(quota) / int(period))))
    except (OSError, ValueError, ZeroDivisionError):  # no such file, or "max": no limit
        return found


def _asked_of_openmp() -> int:
    first = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()  # one number for each level of nesting
    return int(first) if first.isascii() and first.isdecimal() and len(first) < 6 else 0


def memory_available() -> int:
    """Bytes of memory that processes may still take, as far as the system says; else a generous guess."""
    found = [2**40]
    with suppress(OSError, ValueError, IndexError):
        found.append(1024 * int(MEMORY.read_text(encoding="ascii").partition("MemAvailable:")[2].split()[0]))
    with suppress(OSError, ValueError):  # "max": no limit
        found.append(int(MEMORY_LIMIT.read_text(encoding="ascii")))
    return min(found)
