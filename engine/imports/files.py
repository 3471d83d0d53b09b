"""Reading a file of weights that anybody may have written: tensors by name, and nothing in it is ever run.

``.safetensors``, and ``.pt``, ``.pth`` and ``.ckpt`` through torch's loader of plain tensors alone.
"""

from __future__ import annotations

import hashlib
import io
import pickle
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from torch import Tensor

from engine.core.errors import ConfigError, StoreError
from engine.core.quoting import plain
from engine.core.reading import read_bytes

MOST_FILE = 4 * 2**30  # bytes of a file and of all that it unfolds to
TORCH = (".pt", ".pth", ".ckpt")
ENDINGS = (".safetensors", *TORCH)
WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "network", "module", "params", "weights")
MOST_DEPTH = 4  # of wrappers in one another
CONVERT = (
    "where you trust it, write its tensors alone with torch: torch.save(torch.load(OLD, weights_only=False)"
    '["state_dict"], NEW)'
)
OWN = "now."  # before the present weights in a checkpoint of a run folder, which holds earlier ones, too


@dataclass(frozen=True)
class WeightsFile:
    """``tensors`` by name, as the file has them, ``wrappers`` what lay around them, ``sha256`` that of the file."""

    path: Path
    tensors: Mapping[str, Tensor]
    wrappers: tuple[str, ...]
    sha256: str


def read_file(path: Path, option: str) -> WeightsFile:
    """The tensors in ``path``, on the CPU. Raises :class:`ConfigError` in one line that names ``option`` and file."""
    shown = plain(str(path))
    if path.suffix.lower() not in ENDINGS:
        raise ConfigError(f"{option}: got {shown}; allowed: a file whose name ends with {', '.join(ENDINGS)}")
    try:
        data = read_bytes(path, MOST_FILE)
    except FileNotFoundError:
        raise ConfigError(f"{option}: {shown} does not exist") from None
    except StoreError as error:
        raise ConfigError(f"{option}: {error}") from None
    found = _safetensors(data, option, shown) if path.suffix.lower() == ENDINGS[0] else _torch(data, option, shown)
    tensors, wrappers = _unwrapped(found, option, shown)
    return WeightsFile(path, tensors, wrappers, hashlib.sha256(data).hexdigest())


def _safetensors(data: bytes, option: str, shown: str) -> object:
    try:
        return load_safetensors(data)
    except (SafetensorError, ValueError, TypeError, KeyError) as error:
        raise ConfigError(f"{option}: {shown} is no safetensors file: {' '.join(str(error).split())}") from None


def _torch(data: bytes, option: str, shown: str) -> object:
    try:
        if zipfile.is_zipfile(io.BytesIO(data)):
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                unfolded = sum(each.file_size for each in archive.infolist())
            if unfolded > MOST_FILE:
                raise ConfigError(f"{option}: {shown} unfolds to {unfolded} bytes; allowed: at most {MOST_FILE}")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of storages that older versions wrote
            return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "Unsupported global" not in str(error) and "Unsupported class" not in str(error):
            raise ConfigError(f"{option}: {shown} is damaged, or no file of torch.save") from None
        raise ConfigError(
            f"{option}: {shown} holds more than tensors and plain values, and loading it would run code of whoever "
            f"made it; allowed: tensors in plain dictionaries, or .safetensors; {CONVERT}"
        ) from None
    except ConfigError:
        raise
    except Exception as error:  # a damaged archive fails in many ways
        reason = " ".join(str(error).split())[:120]
        raise ConfigError(f"{option}: {shown} is damaged, or no file of torch.save: {reason}") from None


def _unwrapped(found: object, option: str, shown: str) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """The tensors by name, and the names of the tables that they lay in."""
    wrappers: list[str] = []
    for _ in range(MOST_DEPTH):
        if not isinstance(found, Mapping):
            break
        tensors = {name: each for name, each in found.items() if isinstance(name, str) and isinstance(each, Tensor)}
        inner = next((name for name in WRAPPERS if isinstance(found.get(name), Mapping)), None)
        if inner is None:
            if not tensors:
                break
            if any(name.startswith(OWN) for name in tensors) and any(name.startswith("init.") for name in tensors):
                wrappers.append(OWN)
                tensors = {n.removeprefix(OWN): each for n, each in tensors.items() if n.startswith(OWN)}
            return _sound(tensors, option, shown), tuple(wrappers)
        wrappers.append(inner)
        found = found[inner]
    names = ", ".join(plain(str(name))[:40] for name in list(found)[:6]) if isinstance(found, Mapping) else ""
    got = f"a table of {names or 'nothing'}" if isinstance(found, Mapping) else f"a {type(found).__name__}"
    raise ConfigError(
        f"{option}: {shown} holds {got}, no tensors by name; allowed: a state dict, by itself or under "
        f"{', '.join(WRAPPERS)}"
    )


def _sound(tensors: Mapping[str, Tensor], option: str, shown: str) -> dict[str, Tensor]:
    """Numbers as a network of ours has them: 32-bit floats, and counters."""
    found: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if tensor.layout != torch.strided or tensor.is_complex() or tensor.is_quantized:
            raise ConfigError(f"{option}: {shown}: {plain(name)} is no dense tensor of real numbers")
        dense: Any = tensor.detach()
        dense = dense.float() if dense.is_floating_point() else dense.long()
        if not bool(torch.isfinite(dense).all()):
            raise ConfigError(f"{option}: {shown}: {plain(name)} holds values that are not finite")
        found[name] = dense.contiguous()
    return found
