"""Accuracy against the radius, bounded from both sides, while training goes on (SPEC.md sections 3 to 5)."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from engine.core.generators import seeded
from engine.core.measurement import Measurement
from engine.core.results import RadiusCurves
from engine.data.sparse_stream import SparseCoding
from engine.models.symmetric_relu import SymmetricRelu
from engine.probes import certificate, oracle, robustness

POINTS = 7  # radii from 0 …
REACH = 1.5  # … to so many times tau
SIZE = 128  # held-out samples
STEPS, RESTARTS = 10, 1

Values = NDArray[np.float64]
Cache = dict[Any, Any]  # what is measured once: the clean weights' curves, the oracle's


def radius_curves(
    model: SymmetricRelu, clean: SymmetricRelu | None, clean_step: int, world: SparseCoding, x: Tensor, y: Tensor,
    norm: str, tau: float, step: int, seed: int, cache: Cache,
) -> Generator[None, None, RadiusCurves]:  # fmt: skip
    """Measure ``model`` after ``step`` steps, and the weights of ``clean_step`` once, on x (n, d), y (n,).

    Yields between slices of a few milliseconds. ``cache``, of one run, keeps what belongs to the clean weights and to
    the world: its keys hold what may change during a run.
    """
    ball = (norm, tau, world.knobs.sigma_x)
    radii = np.linspace(0.0, REACH * tau, POINTS)
    protocols = [Measurement("pgd", norm, float(r), STEPS, RESTARTS, len(y), True) for r in radii]
    present = (step, model.bias, *ball)
    if cache.get("radius, present", ((), ()))[0] != present:  # else only the oracle was not complete
        cache["radius, present"] = present, (yield from _both(model, world, x, y, protocols, seed))
    pgd, certified = cache["radius, present"][1]
    before: tuple[Values | None, Values | None] = (None, None)
    if clean is not None:
        key = ("radius, clean", clean_step, clean.bias, *ball)
        if key not in cache:
            cache[key] = yield from _both(clean, world, x, y, protocols, seed)
        before = cache[key]
    known = cache.setdefault(
        ("radius, oracle", *ball), []
    )  # one more radius each time: the curves must not wait for it
    if len(known) < POINTS:
        found = yield from oracle.measure(world, seed, x, y, protocols[len(known) :][:1], None, SIZE)
        known.append(found[0].measured.accuracy)
    return RadiusCurves(
        step, norm, STEPS, RESTARTS, len(y), radii, pgd, certified, before[0], before[1],
        np.array(known) if len(known) == POINTS else None,
    )  # fmt: skip


def oracle_radii(cache: Cache, norm: str, tau: float, sigma_x: float) -> int:
    """At how many radii the oracle was measured so far, of ``POINTS``."""
    return len(cache.get(("radius, oracle", norm, tau, sigma_x), ()))


def _both(
    model: SymmetricRelu, world: SparseCoding, x: Tensor, y: Tensor, protocols: list[Measurement], seed: int
) -> Generator[None, None, tuple[Values, Values]]:
    upper = []
    for protocol in protocols:
        generator = seeded(seed, f"radius {protocol.tau}", x.device)
        measured = yield from robustness.accuracy(model, x, y, protocol, world.dense_direction, generator)
        upper.append(measured.accuracy)
    radii = [p.tau for p in protocols]
    lower = yield from certificate.certified(model.weight, model.bias, x, y, radii, protocols[0].norm)
    return np.array(upper), np.array([m.accuracy for m in lower])
