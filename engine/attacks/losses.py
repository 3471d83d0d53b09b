"""Losses of K logits, one value a sample, that attacks on classifiers of pictures climb: larger means more wrong.

DLR is the difference of logits ratio of Croce and Hein 2020 (arXiv 2003.01690), which, unlike the cross-entropy, does
not change when all logits are shifted or scaled; z_π1 ≥ z_π2 ≥ … are the logits in descending order. Its formulas need
three and four classes; with fewer, this module takes the nearest thing that exists, as each function says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.attacks.base import Loss
from engine.attacks.threat import TINY
from engine.core.lazy_torch import torch

if TYPE_CHECKING:
    from torch import Tensor


def margins(logits: Tensor, y: Tensor) -> Tensor:
    """z_y − max of the other logits, for logits (n, K ≥ 2) and y (n,) int64: (n,).

    Positive means right; a tie is wrong, and so is a network that answers NaN: its margin is −∞.
    """
    column = y.unsqueeze(1)
    own = logits.gather(1, column).squeeze(1)
    rest = logits.scatter(1, column, -torch.inf).amax(1)
    return (own - rest).nan_to_num(nan=-torch.inf, posinf=torch.inf, neginf=-torch.inf)


def cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """−log softmax(z)_y, for logits (n, K) and y (n,) int64: (n,)."""
    return torch.nn.functional.cross_entropy(logits, y, reduction="none")


def dlr(logits: Tensor, y: Tensor) -> Tensor:
    """−(z_y − max_{i≠y} z_i) / (z_π1 − z_π3), equation 6, for logits (n, K) and y (n,) int64: (n,).

    With two classes there is no z_π3: minus the margin itself, which is not scaled.
    """
    column = y.unsqueeze(1)
    gap = logits.scatter(1, column, -torch.inf).amax(1) - logits.gather(1, column).squeeze(1)
    return gap / _spread(logits, 3)


def dlr_targeted(target: Tensor) -> Loss:
    """The loss −(z_y − z_t) / (z_π1 − (z_π3 + z_π4)/2), equation 7, towards the classes ``target`` (n,) int64.

    The batch of the loss is that of ``target``. With three classes there is no z_π4, and the denominator is that of
    equation 6; with two classes there is none: z_t − z_y.
    """

    def loss(logits: Tensor, y: Tensor) -> Tensor:
        both = logits.gather(1, torch.stack([y, target], dim=1))
        return (both[:, 1] - both[:, 0]) / _spread(logits, 4)

    return loss


def _spread(logits: Tensor, depth: int) -> Tensor | float:
    """z_π1 minus the mean of z_π3 … z_π(depth), as far as there are so many classes: (n,), or 1.0 for two classes."""
    depth = min(depth, logits.shape[1])
    if depth < 3:
        return 1.0
    ordered = logits.topk(depth, dim=1).values
    return ordered[:, 0] - ordered[:, 2:].mean(1) + TINY
