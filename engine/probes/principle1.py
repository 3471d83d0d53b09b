"""Principle 1: adversarial training keeps a clean neuron's direction and drops a small rest (SPEC.md section 4)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.core import metrics
from engine.core.arrays import frozen
from engine.core.results import Principle1
from engine.probes.mixture import alive

TINY = 1e-20


def principle1(start: Tensor, clean: Tensor, now: Tensor) -> Principle1:
    """Compare the rows of w⁰ ``start``, w ``clean`` and w′ ``now``, each (m, d)."""

    def norm(a: Tensor) -> Tensor:
        size: Tensor = torch.linalg.vector_norm(a, dim=1)
        return size

    clean_now = (clean * now).sum(1)
    of_start, of_clean, of_now = norm(start), norm(clean), norm(now)
    beta = clean_now / (now * now).sum(1).clamp_min(TINY)
    kept = beta.unsqueeze(1) * now
    return Principle1(
        cos_start_clean=frozen((start * clean).sum(1) / (of_start * of_clean).clamp_min(TINY)),
        cos_start_now=frozen((start * now).sum(1) / (of_start * of_now).clamp_min(TINY)),
        cos_clean_now=frozen(clean_now / (of_clean * of_now).clamp_min(TINY)),
        beta=frozen(beta),
        pure_part=frozen(norm(kept)),
        rest=frozen(norm(clean - kept)),
        alive=frozen(alive(of_clean)),
    )


def scalars(result: Principle1) -> dict[str, float]:
    """Means over the neurons alive after clean training, and the share with ‖βw′‖ > ‖w − βw′‖."""
    living = result.alive
    values: tuple[NDArray[Any], ...] = (
        result.cos_start_clean,
        result.cos_start_now,
        result.cos_clean_now,
        result.pure_part > result.rest,
    )
    return {
        name: float(np.mean(v[living], dtype=np.float64)) if living.any() else float("nan")
        for name, v in zip(metrics.PRINCIPLE1, values, strict=True)
    }
