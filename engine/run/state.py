"""What a checkpoint holds, between tensors and plain arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from engine.run.store import Checkpoint

Arrays = dict[str, np.ndarray[Any, Any]]


def tensor(checkpoint: Checkpoint, name: str, device: torch.device) -> Tensor:
    """The checkpoint's array ``name`` as a tensor of its own."""
    return torch.from_numpy(checkpoint.arrays[name].copy()).to(device)
