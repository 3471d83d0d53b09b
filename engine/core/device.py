"""Where tensors live, and how torch is set up in the thread that trains."""

from __future__ import annotations

import torch

from engine.core.cores import threads_to_use
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

    Returns the number in force (:func:`engine.core.cores.threads_to_use`).
    """
    chosen = threads_to_use(threads)
    torch.set_grad_enabled(False)
    torch.set_num_threads(chosen)
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    return chosen
