"""From tensors to the read-only arrays that results are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor


def frozen(tensor: Tensor) -> NDArray[Any]:
    """A read-only copy in main memory: of a CPU tensor ``.numpy()`` alone would still show the living weights."""
    return sealed(np.array(tensor.detach().cpu().numpy(), copy=True))


def sealed(array: NDArray[Any]) -> NDArray[Any]:
    """``array`` itself, from now on read-only; for one that nobody else holds."""
    array.flags.writeable = False
    return array


def picture_side(d: int) -> int | None:
    """Side of the square picture that a vector of R^d makes, or None."""
    side = round(d**0.5)
    return side if side * side == d else None


def cosines(a: NDArray[Any], b: NDArray[Any]) -> NDArray[np.float64]:
    """Cosine of each row of ``a`` with the same row of ``b``, both (n, …), seen as vectors; 0 where either is 0."""
    first, second = (np.asarray(each, np.float64).reshape(len(each), -1) for each in (a, b))
    size = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    found: NDArray[np.float64] = np.divide((first * second).sum(1), size, out=np.zeros(len(size)), where=size > 0)
    return found
