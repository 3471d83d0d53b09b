"""The own SGD step against torch's, bit by bit."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from engine.images.sgd import MomentumSGD


def network() -> nn.Sequential:
    torch.manual_seed(0)
    made = nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 36, 5))
    return made.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def push(net: nn.Sequential, x: torch.Tensor, y: torch.Tensor) -> None:
    with torch.enable_grad():
        nn.functional.cross_entropy(net(x), y).backward()  # type: ignore[no-untyped-call]


# lr, momentum, weight decay, step by step: knobs change while training goes on
COURSES = {
    "constant": [(0.1, 0.9, 5e-4)] * 6,
    "no decay": [(0.1, 0.9, 0.0)] * 4,
    "no momentum": [(0.1, 0.0, 5e-4)] * 4,
    "neither": [(0.1, 0.0, 0.0)] * 4,
    "changed": [(0.1, 0.0, 0.0), (0.2, 0.9, 0.0), (0.05, 0.5, 1e-3), (0.1, 0.0, 1e-3), (0.1, 0.8, 0.0)],
}


@pytest.mark.parametrize("course", COURSES)
def test_every_step_is_that_of_torch(course: str) -> None:
    ours, theirs = network(), network()
    mine, reference = MomentumSGD(ours.parameters()), torch.optim.SGD(theirs.parameters(), lr=0.0)
    draw = torch.Generator().manual_seed(1)
    for number, (lr, momentum, decay) in enumerate(COURSES[course]):
        for net in (ours, theirs):
            net[0].weight.requires_grad_(number != 1)  # frozen for a step, which it then does without
        x = torch.rand(8, 3, 8, 8, generator=draw).to(memory_format=torch.channels_last)
        y = torch.randint(0, 5, (8,), generator=draw)
        push(ours, x, y)
        push(theirs, x, y)
        mine.step(lr, momentum, decay)
        reference.param_groups[0].update(lr=lr, momentum=momentum, weight_decay=decay)
        reference.step()
        reference.zero_grad()
        for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
            assert torch.equal(p, q)
            assert p.grad is None
            known = reference.state[q].get("momentum_buffer") if q in reference.state else None
            assert (p in mine.velocity) == (known is not None)
            assert known is None or torch.equal(mine.velocity[p], known)
            assert known is None or mine.velocity[p].stride() == known.stride()
    assert not torch.equal(ours[0].weight, network()[0].weight)
