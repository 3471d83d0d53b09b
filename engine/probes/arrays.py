"""From tensors to the read-only arrays that results are made of."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor


def frozen(tensor: Tensor) -> NDArray[Any]:
    """A read-only copy in main memory: of a CPU tensor ``.numpy()`` alone would still show the living weights."""
    array = np.array(tensor.detach().cpu().numpy(), copy=True)
    array.flags.writeable = False
    return array
