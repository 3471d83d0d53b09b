"""Named random generators: every source of randomness has its own, so that none disturbs another.

What the network trains on never depends on what is measured or shown.
"""

from __future__ import annotations

import hashlib

import torch


def seeded(seed: int, name: str, device: torch.device | str = "cpu") -> torch.Generator:
    """A new generator whose state depends on ``seed`` and ``name`` alone."""
    return torch.Generator(device).manual_seed(number(seed, name))


def number(seed: int, name: str) -> int:
    """The number that ``seed`` and ``name`` make together, below 2⁵⁶."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{name}".encode()).digest()[:7], "big")
