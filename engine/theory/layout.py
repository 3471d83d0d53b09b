"""What a checkpoint of the theory's world holds (SPEC.md section 11). Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from engine.config.experiment import SPARSE_CODING, from_dict
from engine.core.errors import ConfigError
from engine.run.contents import Tensors, frame_layouts, generators_fault, layouts, mismatch, state_fault
from engine.run.schema import FrameState, State, Waits
from engine.theory.config import SparseCodingConfig

GENERATORS = ("pool", "input_noise", "rho", "attack")  # those of a session in this world
FACTORS = ("low_rank.base", "low_rank.U", "low_rank.V")


class TheoryWaits(Waits):
    """An evaluation that was still to be made."""

    bias: float
    clean: bool
    rank: Annotated[int, Field(ge=0, le=4096)] = 0


class TheoryState(State):
    """What a session of the theory keeps beside tensors."""

    clean_bias: float | None = None
    pending: list[TheoryWaits]


class TheoryFrameState(FrameState):
    """What a frame of the theory says: the bias that belongs to the clean weights, and the rank of what may change."""

    clean_bias: float | None
    rank: Annotated[int, Field(ge=0, le=4096)]


@frame_layouts.register(SPARSE_CODING)
def frame_layout(config: SparseCodingConfig, state: Mapping[str, Any], tensors: Tensors) -> str:
    """What of a frame does not fit ``config``, as ``field: reason``; empty if all does."""
    shapes = {"weight": (config.model.m, config.world.d), "bias": ()}
    faults = (mismatch(tensors, name, shape) for name, shape in shapes.items())
    return state_fault(TheoryFrameState, state) or next(filter(None, faults), "")


@layouts.register(SPARSE_CODING)
def layout(config: SparseCodingConfig, state: Mapping[str, Any], tensors: Tensors) -> str:
    """What of a checkpoint does not fit ``config``, as ``field: reason``; empty if all does."""
    if wrong := state_fault(TheoryState, state) or _pending_fault(state):
        return wrong
    d, atoms, weight = config.world.d, config.world.features, (config.model.m, config.world.d)
    wanted: dict[str, tuple[int, ...]] = {
        "weight": weight, "weight_init": weight, "bias": (), "dictionary": (d, atoms), "target": (atoms,),
    }  # fmt: skip
    if "weight_clean" in tensors or state.get("clean_bias") is not None:
        wanted["weight_clean"] = weight
    if any(name in tensors for name in FACTORS):
        shape = tensors["low_rank.U"].shape if "low_rank.U" in tensors else ()
        rank = shape[-1] if shape and 0 < shape[-1] < min(weight) else 1
        wanted |= dict(zip(FACTORS, (weight, (weight[0], rank), (rank, d)), strict=True))
    for index, entry in enumerate(state["pending"]):
        wanted[f"pending.{index}.weight"] = weight
        if entry["clean"]:
            wanted[f"pending.{index}.clean"] = weight
    faults = (mismatch(tensors, name, shape) for name, shape in wanted.items())
    return next(filter(None, faults), "") or generators_fault(tensors, GENERATORS)


def _pending_fault(state: Mapping[str, Any]) -> str:
    for index, entry in enumerate(state["pending"]):
        try:
            from_dict(entry["config"])
        except ConfigError as error:
            return f"state.pending.{index}.config.{error}"
    return ""
