"""Where tensors live, and how torch is set up in the thread that trains."""

from __future__ import annotations

import os
from math import ceil
from pathlib import Path

import torch

from engine.core.errors import ConfigError, DeviceError
from engine.core.quoting import quote

THREADS_PER_CORE = 4
CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")  # Linux: microseconds of all cores together in a period, and the period


def available() -> tuple[str, ...]:
    """Devices of this machine, the preferred one first."""
    found = []
    if torch.cuda.is_available():
        found.append("cuda")
    if torch.backends.mps.is_available():
        found.append("mps")
    return (*found, "cpu")


def choose(name: str) -> torch.device:
    """The device called ``name``, ``auto`` being the first available. Raises :class:`DeviceError`."""
    found = available()
    if name != "auto" and name not in found:
        raise DeviceError(f"device: got {quote(name)}; this machine has: {', '.join(found)} (or auto)")
    return torch.device(found[0] if name == "auto" else name)


def prepare_thread(threads: int) -> int:
    """Set grad mode, thread count and precision, all of which torch keeps per thread or per process.

    ``threads`` = 0 takes what ``OMP_NUM_THREADS`` says, else every core but one where there are more than two, so that
    a window stays responsive. More than :func:`most_threads` are never used: a run may come from a larger machine.
    Returns the number in force.
    """
    cores = cores_available()
    chosen = threads or _asked_of_openmp() or (cores - 1 if cores > 2 else cores)
    chosen = min(chosen, most_threads())
    torch.set_grad_enabled(False)
    torch.set_num_threads(chosen)
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    return chosen


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
