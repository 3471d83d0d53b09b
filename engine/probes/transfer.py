"""Transfer: perturbations made on one network, accuracy of another (SPEC.md sections 4 and 9)."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from functools import partial

import numpy as np
import torch
from torch import Tensor

from engine.attacks.base import Box, Classifier
from engine.core.arrays import frozen
from engine.core.generators import seeded
from engine.core.measurement import Measurement
from engine.core.results import Transfer
from engine.core.slices import mapped
from engine.probes.robustness import CHUNK, build


def transfer(
    nets: Mapping[str, Classifier], x: Tensor, y: Tensor, protocol: Measurement, direction: Tensor | None, seed: int,
    *, box: Box | None = None, chunk: int = CHUNK,
) -> Generator[float, None, Transfer]:  # fmt: skip
    """Measure every net on the perturbations of every net, for held-out x (n, …), y (n,). Yields the share done.

    Each sample is perturbed on each net, also where that net is wrong without: another one may be right there.
    ``direction`` (d,) is M w_star/‖w_star‖, for the ``dense`` attack; within a ``box`` x + δ stays, as
    :func:`engine.probes.robustness.build` has it; ``chunk`` samples are one slice.
    """
    names = tuple(nets)
    right = np.zeros((len(names), len(names)), np.int64)
    chunks = range(0, protocol.n, chunk)
    sound = {name: _right(net, x[: protocol.n], y[: protocol.n], chunk) for name, net in nets.items()}
    for index, (maker, net) in enumerate(nets.items()):
        generator = seeded(seed, f"transfer {maker}", x.device)
        other = seeded(seed, f"transfer {maker}, wrong without", x.device)
        for place, start in enumerate(chunks):
            rows = slice(start, min(start + chunk, protocol.n))
            cx, cy, here = x[rows], y[rows], sound[maker][rows]
            delta = torch.zeros_like(cx)
            # What is right goes first and alone, with draws of its own: exactly the white-box measurement.
            for members, draws in ((here, generator), (~here, other)):
                attack = build(protocol, direction, box)
                if attack is None or not bool(members.any()):
                    continue
                share = (index + place / len(chunks)) / len(nets)
                slices = attack.slices(net, cx[members], cy[members], draws)
                delta[members] = yield from mapped(slices, partial(_always, share))
            for column, (name, answering) in enumerate(nets.items()):
                right[index, column] += int((sound[name][rows] & _right(answering, cx + delta, cy, chunk)).sum())
            yield (index + (place + 1) / len(chunks)) / len(nets)
    clean = np.array([int(sound[name].sum()) for name in names])
    return Transfer(names, frozen(torch.from_numpy(right)), frozen(torch.from_numpy(clean)), protocol)


def _always(share: float, _: None) -> float:
    return share


def _right(net: Classifier, x: Tensor, y: Tensor, chunk: int) -> Tensor:
    parts = [net.margin(x[i : i + chunk], y[i : i + chunk]) > 0 for i in range(0, len(y), chunk)]
    return torch.cat(parts)
