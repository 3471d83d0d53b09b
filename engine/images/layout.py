"""What a checkpoint of a network on images holds. Imports no torch.

Which shapes a network has, only its code knows, and it is built when it is needed; here the parts of a checkpoint are
held against each other: the network now, at its start, after clean training, and its momentum.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from engine.config.experiment import IMAGES, from_dict
from engine.core.errors import ConfigError
from engine.images.config import ImageConfig
from engine.run.contents import (
    FLOAT,
    INTEGER,
    TensorInfo,
    Tensors,
    frame_layouts,
    generators_fault,
    layouts,
    mismatch,
    state_fault,
)
from engine.run.schema import Digest, FrameState, Name, State, Step, Waits

GENERATORS = ("order", "augment", "attack")  # those of a session in this world
NOW, START, CLEAN, MOMENTUM, FACTORS = "now.", "init.", "clean.", "momentum.", "factors."
PENDING = "pending."


class ImageWaits(Waits):
    """An evaluation that was still to be made; ``same`` says whose weights are the checkpoint's own."""

    same: dict[str, bool]


class ImageState(State):
    """What a session on images keeps beside tensors."""

    phase_start: Step
    redrawn: bool
    unlimited: list[Name]
    data_hash: Digest
    classes: Annotated[list[str], Field(min_length=2)]
    pending: list[ImageWaits]


class ImageFrameState(FrameState):
    """What a frame of a network on images says: whether a layer had been drawn again."""

    redrawn: bool


@frame_layouts.register(IMAGES)
def frame_layout(config: ImageConfig, state: Mapping[str, Any], tensors: Tensors) -> str:
    """What of a frame does not fit, as ``field: reason``; empty if all does. Its shapes only the network knows."""
    network = _part(tensors, NOW)
    if extra := tensors.keys() - {NOW + name for name in network}:
        return f"{min(extra)}: no frame has such a tensor"
    return state_fault(ImageFrameState, state) or _network_fault(network)


@layouts.register(IMAGES)
def layout(config: ImageConfig, state: Mapping[str, Any], tensors: Tensors) -> str:
    """What of a checkpoint does not fit, as ``field: reason``; empty if all does."""
    if wrong := state_fault(ImageState, state) or _pending_fault(state):
        return wrong
    network = _part(tensors, NOW)
    if wrong := _network_fault(network):
        return wrong
    start = [START] * (config.start_known or bool(_part(tensors, START)))
    whole = start + [CLEAN] * bool(_part(tensors, CLEAN))
    whole += [f"{PENDING}{index}.{NOW}" for index in range(len(state["pending"]))]
    for prefix in whole:
        found = _part(tensors, prefix)
        for name, info in network.items():
            if wrong := mismatch(tensors, prefix + name, info.shape, info.dtype):
                return wrong
        if extra := found.keys() - network.keys():
            return f"{prefix}{min(extra)}: the network has no such tensor"
    return (
        _momentum_fault(tensors, network) or _factors_fault(tensors, network) or generators_fault(tensors, GENERATORS)
    )


def _network_fault(network: Tensors) -> str:
    if not network:
        return f"{NOW}…: missing; allowed: the network's parameters and buffers"
    for name, info in network.items():
        if info.dtype not in (FLOAT, INTEGER):
            return f"{NOW}{name}: got {info.text()}; allowed: {FLOAT}, or {INTEGER} for a counter"
    return ""


def _part(tensors: Tensors, prefix: str) -> dict[str, TensorInfo]:
    return {name.removeprefix(prefix): info for name, info in tensors.items() if name.startswith(prefix)}


def _momentum_fault(tensors: Tensors, network: Tensors) -> str:
    for name in _part(tensors, MOMENTUM):
        layer = name.removeprefix("low_rank.")
        if layer != name and f"{layer}.weight" in network:  # of a layer's matrix, one row a unit
            wanted: tuple[int, ...] = _matrix(network[f"{layer}.weight"])
        elif name in network:
            wanted = network[name].shape
        else:
            return f"{MOMENTUM}{name}: the network has no such parameter"
        if wrong := mismatch(tensors, MOMENTUM + name, wanted):
            return wrong
    return ""


def _factors_fault(tensors: Tensors, network: Tensors) -> str:
    for layer in sorted({name.rpartition(".")[0] for name in _part(tensors, FACTORS)}):
        if f"{layer}.weight" not in network:
            return f"{FACTORS}{layer}: the network has no such layer"
        units, inputs = _matrix(network[f"{layer}.weight"])
        shape = tensors[f"{FACTORS}{layer}.U"].shape if f"{FACTORS}{layer}.U" in tensors else ()
        rank = shape[-1] if shape and shape[-1] > 0 else 1
        for part, wanted in (("base", (units, inputs)), ("U", (units, rank)), ("V", (rank, inputs))):
            if wrong := mismatch(tensors, f"{FACTORS}{layer}.{part}", wanted):
                return wrong
    return ""


def _matrix(weight: TensorInfo) -> tuple[int, int]:
    size = 1
    for length in weight.shape[1:]:
        size *= length
    return (weight.shape[0] if weight.shape else 0, size)


def _pending_fault(state: Mapping[str, Any]) -> str:
    for index, entry in enumerate(state["pending"]):
        if missing := {"start", "clean"} - entry["same"].keys():
            return f"state.pending.{index}.same: lacks {min(missing)}"
        try:
            from_dict(entry["config"])
        except ConfigError as error:
            return f"state.pending.{index}.config.{error}"
    return ""
