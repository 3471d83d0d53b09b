"""Reading a checkpoint file: its header, then the names, types and shapes of its tensors, then the tensors.

What a checkpoint of a world holds is declared by the world, in a file that imports no torch (:data:`layouts`), so that
every way in checks the same: a run that is measured, drawn, shown or resumed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from engine.config.experiment import Config
from engine.core.errors import StoreError
from engine.core.reading import check_file, first_fault, quoted
from engine.core.registry import Registry
from engine.run.schema import CheckpointHeader, WithPlugins, check_format, config_of, needing, validated

Arrays = dict[str, np.ndarray[Any, Any]]
FLOAT, BYTE, INTEGER = "F32", "U8", "I64"
CHECKPOINT_NAME = re.compile(r"step-([0-9]{8})\.safetensors")
MOST_HEADER = 16 * 2**20  # bytes of the texts beside the tensors, the limit of their JSON too


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """Type (as safetensors names it) and shape of a stored tensor."""

    dtype: str
    shape: tuple[int, ...]

    def text(self) -> str:
        """In words, e.g. ``F32 (24, 16)``."""
        return f"{self.dtype} {self.shape}"


Tensors = Mapping[str, TensorInfo]
Layout = Callable[[Any, Mapping[str, Any], Tensors], str]
layouts: Registry[Layout] = Registry("layout of checkpoints", "engine.theory.layout", "engine.images.layout")
"""Kind of experiment → function of config, state and tensors that says, as ``field: reason``, what does not fit."""
frame_layouts: Registry[Layout] = Registry("layout of frames", "engine.theory.layout", "engine.images.layout")
"""The same of frames."""


def mismatch(tensors: Tensors, name: str, shape: tuple[int, ...], dtype: str = FLOAT) -> str:
    """Why ``tensors`` hold no tensor ``name`` of this type and shape; empty if they do."""
    found, wanted = tensors.get(name), TensorInfo(dtype, shape)
    if found is None:
        return f"{quoted(name)}: missing; allowed: {wanted.text()}"
    return "" if found == wanted else f"{quoted(name)}: got {found.text()}; allowed: {wanted.text()}"


def generators_fault(tensors: Tensors, names: tuple[str, ...]) -> str:
    """Why the states of these random generators are not there; how long one is depends on the device."""
    for name in (f"generator.{each}" for each in names):
        found = tensors.get(name)
        if found is None or found.dtype != BYTE or len(found.shape) != 1 or not 8 <= found.shape[0] <= 2**16:
            return f"{name}: {'missing' if found is None else 'got ' + found.text()}; allowed: {BYTE}, a list of bytes"
    return ""


def read_checkpoint(
    path: Path, run: str, step: int, kinds: Registry[Layout] = layouts
) -> tuple[CheckpointHeader, Config, Arrays]:
    """Header, config and tensors of the checkpoint of ``run`` at ``step``, or, by another table of ``kinds``, frame.

    Raises :class:`VersionError` for one of a newer version, and :class:`StoreError` in one line for anything else that
    is not as it should be.
    """
    try:
        check_file(path)
        with safe_open(path, framework="np") as file:
            header, config = _header(file.metadata(), path, run, step)
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
            tensors = {name: TensorInfo(s.get_dtype(), tuple(s.get_shape())) for name, s in slices.items()}
            if wrong := kinds[config.kind](config, header.state, tensors):
                raise StoreError(f"{path} is damaged: {wrong}")
            arrays = {name: file.get_tensor(name) for name in tensors}
    except FileNotFoundError:
        raise StoreError(f"{path} does not exist") from None
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror or error}") from None
    except (SafetensorError, TypeError, ValueError, AttributeError) as error:
        raise StoreError(f"{path} is damaged: {' '.join(str(error).split())}") from None
    for name, array in arrays.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise StoreError(f"{path} is damaged: {quoted(name)}: it holds values that are not finite")
    return header, config, arrays


def _header(found: Mapping[str, str] | None, path: Path, run: str, step: int) -> tuple[CheckpointHeader, Config]:
    texts = found or {}
    if sum(map(len, texts.values())) > MOST_HEADER:
        raise StoreError(f"{path} is damaged: its header has more than {MOST_HEADER} bytes")
    check_format(texts, path)
    with needing(validated(WithPlugins, texts, path).plugins, path.parents[1]):
        header = validated(CheckpointHeader, texts, path)
        config = config_of(header.config, path)
    if header.step != step:
        raise StoreError(f"{path} is damaged: step: got {header.step}; allowed: {step}, as the file's name says")
    if header.run != run:
        raise StoreError(f"{path} is damaged: run: got {quoted(header.run)}; allowed: {run}, as config.json says")
    return header, config


def state_fault(model: Any, state: Mapping[str, Any]) -> str:
    """What pydantic's ``model`` refuses of a checkpoint's state, as ``state.field: reason``."""
    from pydantic import ValidationError

    try:
        model.model_validate(dict(state))
    except ValidationError as error:
        return f"state.{first_fault(error)}"
    return ""
