"""The verified evaluation of classifiers of pictures: the worst of several attacks for each sample.

This is the protocol of AutoAttack, Croce and Hein 2020 (arXiv 2003.01690), with three of its four attacks, APGD-CE,
APGD-T and Square (FAB is left out), and whatever attack is registered beside them: a sample is robust only if it
survives all, so each attack runs on the survivors of those before it.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from engine.attacks.base import NO_SIZES, Box, Differentiable, Size
from engine.config.experiment import IMAGES
from engine.core.arrays import frozen
from engine.core.generators import seeded
from engine.core.measurement import Measurement, figure, worst_case
from engine.core.results import BoolArray
from engine.core.slices import Progress, silent
from engine.probes.robustness import CHUNK, Measured, build, slice_count, verified_protocols

SMALLER = "the smaller radii"  # what ran before the first attack at a radius that is not the smallest
UNIT: Box = (0.0, 1.0)  # where pixels lie


@dataclass(frozen=True, slots=True)
class WorstCase:
    """What holds at one radius: shares of all n samples that are right after each of ``attacks`` and all before it.

    ``worst`` is what all of them together leave; ``fooled`` (n,) are the others, those wrong without attack included.
    A sample that was fooled at a smaller radius stays fooled, and is not attacked again.
    """

    tau: float
    attacks: dict[str, Measured]
    worst: Measured
    fooled: BoolArray = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class AutoAttacked:
    """The whole evaluation: accuracy without attack, then by radius, ascending."""

    clean: Measured
    radii: tuple[WorstCase, ...]

    def figures(self) -> list[dict[str, Any]]:
        """Every accuracy with interval and protocol, ready for JSON; ``kind`` is ``clean``, ``attack`` or ``worst``."""
        rows = [("clean", self.clean)]
        for at in self.radii:
            rows += [*(("attack", m) for m in at.attacks.values()), ("worst", at.worst)]
        return [{"kind": kind, **figure(m.accuracy, m.protocol)} for kind, m in rows]


def autoattack(
    classifier: Differentiable,
    x: Tensor,
    y: Tensor,
    norm: str,
    radii: Sequence[float],
    seed: int,
    *,
    sizes: Mapping[str, Size] = NO_SIZES,
    box: Box = UNIT,
    chunk: int = CHUNK,
    progress: Progress = silent,
) -> Generator[None, None, AutoAttacked]:
    """Evaluate ``classifier`` on x (n, C, H, W) in ``box``, y (n,) int64, at each radius (in the units of x).

    ``sizes`` are steps and restarts, by attack, in place of its own, ``chunk`` the samples attacked together. Yields
    between slices; closing it cancels. ``progress`` hears what is under way, and the share done. Attacks draw from
    generators that depend on ``seed`` and protocol alone. Raises ``ValueError`` without samples.
    """
    n = len(y)
    if not n:
        raise ValueError("there are no samples to evaluate")
    right = torch.zeros(n, dtype=torch.bool, device=x.device)
    classes = classifier.logits(x[:1]).shape[1]
    for start in range(0, n, chunk):
        rows = slice(start, start + chunk)
        right[rows] = classifier.margin(x[rows], y[rows]) > 0
        yield
    clean = Measured(int(right.sum()), Measurement("clean", norm, 0.0, 0, 0, n), right.clone())
    plans = [
        verified_protocols(IMAGES, norm, tau, n, sizes, directed=False, classes=classes) for tau in sorted(set(radii))
    ]
    total, done = sum(slice_count(plan, chunk) for plan in plans), 0
    found: list[WorstCase] = []
    for plan in plans:
        measured: dict[str, Measured] = {}
        for one in plan:
            before = list(measured) or [SMALLER] * bool(found)
            named = replace(one, attack=f"{one.attack} after {', '.join(before)}") if before else one
            generator = seeded(seed, f"autoattack {named.text()}", x.device)
            weight = slice_count([one], chunk)
            for count, _ in enumerate(_attack(classifier, x, y, right, one, generator, box, chunk)):
                progress((done + min(count, weight)) / total, named.text())
                yield
            done += weight
            measured[one.attack] = Measured(int(right.sum()), named, right.clone())
        worst = Measured(int(right.sum()), worst_case(plan), right.clone())
        found.append(WorstCase(plan[0].tau, measured, worst, frozen(~right)))
    progress(1.0, "done")
    return AutoAttacked(clean, tuple(found))


def _attack(
    classifier: Differentiable,
    x: Tensor,
    y: Tensor,
    right: Tensor,
    protocol: Measurement,
    generator: torch.Generator,
    box: Box,
    chunk: int,
) -> Generator[None, None, None]:
    """Attack the samples that are ``right`` (n,), and strike out in place those that are fooled."""
    attack = build(protocol, None, box)
    assert attack is not None
    left = right.nonzero().squeeze(1)
    for start in range(0, len(left), chunk):
        rows = left[start : start + chunk]
        tried, labels = x[rows], y[rows]
        delta = yield from attack.slices(classifier, tried, labels, generator)
        right[rows] = classifier.margin(tried + delta, labels) > 0
        yield
