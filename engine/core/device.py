"""Where tensors live, and how torch is set up in the thread that trains."""

from __future__ import annotations

import os

import torch

from engine.core.errors import DeviceError
from engine.core.quoting import quote


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

    ``threads`` = 0 takes every core but one where there are more than two, so that a window stays responsive.
    Returns the number in force.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    chosen = threads or (cores - 1 if cores > 2 else cores)
    torch.set_grad_enabled(False)
    torch.set_num_threads(chosen)
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    return chosen
