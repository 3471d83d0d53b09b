"""A session's state as a checkpoint holds it: tensors by the names of SPEC.md section 11, and plain JSON."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from engine.config.experiment import from_dict, to_dict
from engine.core.arrays import frozen
from engine.models.low_rank import Factors
from engine.run.state import Arrays, tensor
from engine.run.store import Checkpoint
from engine.theory.config import bias_at, sparse_coding
from engine.theory.evaluation import Request


def pack_requests(requests: Iterable[Request]) -> tuple[Arrays, list[dict[str, Any]]]:
    """What is still to be measured: arrays ``pending.<index>.…`` and an entry of JSON each."""
    arrays: Arrays = {}
    entries = []
    for index, request in enumerate(requests):
        arrays[f"pending.{index}.weight"] = frozen(request.weight)
        if request.clean is not None:
            arrays[f"pending.{index}.clean"] = frozen(request.clean)
        entries.append(
            {
                "step": request.step,
                "report": request.report,
                "bias": request.bias,
                "config": to_dict(request.config),
                "clean": request.clean is not None,
                "rank": request.rank,
            }
        )
    return arrays, entries


def unpack_requests(checkpoint: Checkpoint, start: Tensor) -> list[Request]:
    """Inverse of :func:`pack_requests`; ``start`` (m, d) are the run's initial weights."""
    requests = []
    for index, item in enumerate(checkpoint.state["pending"]):
        weight = tensor(checkpoint, f"pending.{index}.weight", start.device)
        clean = tensor(checkpoint, f"pending.{index}.clean", start.device) if item["clean"] else None
        config = sparse_coding(from_dict(item["config"]), "this checkpoint")
        rank = int(item.get("rank", 0))  # checkpoints of the first version have none
        requests.append(Request(item["step"], item["report"], config, item["bias"], weight, start, clean, rank))
    return requests


def pack_factors(factors: Factors | None) -> Arrays:
    """``low_rank.base`` (m, d), ``low_rank.U`` (m, r) and ``low_rank.V`` (r, d) while a phase has a restricted rank."""
    if factors is None:
        return {}
    return {f"low_rank.{name}": frozen(getattr(factors, name)) for name in ("base", "U", "V")}


def unpack_factors(checkpoint: Checkpoint, device: torch.device) -> Factors | None:
    """Inverse of :func:`pack_factors`."""
    if "low_rank.U" not in checkpoint.arrays:
        return None
    return Factors(*(tensor(checkpoint, f"low_rank.{name}", device) for name in ("base", "U", "V")))


def clean_step(checkpoint: Checkpoint) -> int:
    """The step at which ``weight_clean`` was taken; 0 while there is none."""
    schedule = checkpoint.config.schedule  # checkpoints of the first version do not say
    known = checkpoint.state.get("clean_step", min(schedule.clean_steps, checkpoint.step))
    return int(known) if "weight_clean" in checkpoint.arrays else 0


def clean_bias(checkpoint: Checkpoint) -> float | None:
    """The bias at the end of clean training, which belongs to ``weight_clean``; None while there is none."""
    if "weight_clean" not in checkpoint.arrays:
        return None
    known = checkpoint.state.get("clean_bias")  # older checkpoints do not say
    config = sparse_coding(checkpoint.config, "this checkpoint")
    return bias_at(config, clean_step(checkpoint)) if known is None else float(known)
