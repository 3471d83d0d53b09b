"""SGD with momentum and weight decay; the same numbers, bit for bit, as ``torch.optim.SGD``.

Making one of torch's own optimisers imports its compiler, seconds that the first step of a run would wait for.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn


class MomentumSGD:
    """Of ``parameters``; those without a gradient stay as they are.

    ``velocity`` holds the momentum of each parameter that was changed with any, in the parameter's memory order.
    """

    def __init__(self, parameters: Iterable[nn.Parameter]) -> None:
        self.parameters = list(parameters)
        self.velocity: dict[Tensor, Tensor] = {}  # by parameter

    @torch.no_grad()
    def step(self, lr: float, momentum: float, weight_decay: float) -> None:
        """v ← momentum·v + g + weight_decay·p, p ← p − lr·v, and forget the gradients g.

        Without momentum p moves by g + weight_decay·p alone, and v stays as it is.
        """
        changed: list[Tensor] = [p for p in self.parameters if p.grad is not None]
        if not changed:
            return
        change = [p.grad for p in changed if p.grad is not None]
        if weight_decay:
            change = list(torch._foreach_add(change, changed, alpha=weight_decay))
        if momentum:
            found = dict(zip(changed, change, strict=True))
            moving = {p: self.velocity[p] for p in changed if p in self.velocity}
            if moving:
                torch._foreach_mul_(list(moving.values()), momentum)
                torch._foreach_add_(list(moving.values()), [found[p] for p in moving])
            self.velocity |= {p: found[p].clone() for p in changed if p not in moving}
            change = [self.velocity[p] for p in changed]
        torch._foreach_add_(changed, change, alpha=-lr)
        for p in changed:
            p.grad = None
