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

    def cosine(a: Tensor, b: Tensor) -> Tensor:
        return (a * b).sum(1) / (norm(a) * norm(b)).clamp_min(TINY)

    def norm(a: Tensor) -> Tensor:
        size: Tensor = torch.linalg.vector_norm(a, dim=1)
        return size

    beta = (clean * now).sum(1) / (now * now).sum(1).clamp_min(TINY)
    kept = beta.unsqueeze(1) * now
    return Principle1(
        cos_start_clean=frozen(cosine(start, clean)),
        cos_start_now=frozen(cosine(start, now)),
        cos_clean_now=frozen(cosine(clean, now)),
        beta=frozen(beta),
        pure_part=frozen(norm(kept)),
        rest=frozen(norm(clean - kept)),
        alive=frozen(alive(norm(clean))),
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
