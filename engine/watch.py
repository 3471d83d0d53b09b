"""What is measured only while somebody looks: accuracy against radius for the present weights, in spare time.

Nothing of it is recorded, so that a run's history does not depend on who looked.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from dataclasses import dataclass

from torch import Tensor

from engine.config import Config
from engine.evaluation import HeldOut
from engine.models.symmetric_relu import SymmetricRelu
from engine.probes import radius
from engine.results import RadiusCurves

PATIENCE = 3.0  # seconds without a question after which nobody looks any more
SHARE = 0.08  # of the time while training goes on
DEBT = 0.5  # seconds of spare time that are owed at most, so that a pause is not made up for


@dataclass(frozen=True, slots=True)
class Moment:
    """The weights to look at: now (m, d) after ``step`` steps, and at the end of clean training, if it has ended."""

    step: int
    config: Config
    weight: Tensor
    bias: float
    clean: Tensor | None
    clean_bias: float
    clean_step: int

    def same_as(self, other: Moment | None) -> bool:
        """Whether measuring this moment would give what the other gave."""
        return other is not None and (self.step, self.clean_step, self.config.attack, self.config.world) == (
            other.step,
            other.clean_step,
            other.config.attack,
            other.config.world,
        )


class RadiusWatch:
    """Keeps :class:`RadiusCurves` near the present while they are asked for."""

    def __init__(self, held_out: HeldOut) -> None:
        self._held_out = held_out
        self._asked = -PATIENCE
        self._latest: RadiusCurves | None = None
        self._measured: Moment | None = None
        self._job: Generator[None, None, RadiusCurves] | None = None
        self._under_way: Moment | None = None
        self._cache: radius.Cache = {}
        self._spare = 0.0
        self._last = time.perf_counter()

    def ask(self) -> RadiusCurves | None:
        """The newest curves, or None before the first are done; being asked keeps the measuring alive."""
        self._asked = time.perf_counter()
        return self._latest

    @property
    def wanted(self) -> bool:
        """Whether somebody asked within ``PATIENCE`` seconds."""
        return time.perf_counter() - self._asked < PATIENCE

    def behind(self, moment: Moment) -> bool:
        """Whether there is something to do for ``moment``."""
        return self.wanted and (self._job is not None or not moment.same_as(self._measured))

    def beside_training(self, moment: Moment) -> None:
        """A slice, if the share of time that is spared for it allows one."""
        now = time.perf_counter()
        self._spare = min(self._spare + SHARE * (now - self._last), DEBT)
        self._last = now
        if self._spare > 0 and self.behind(moment):
            self.slice(moment)
            self._spare -= time.perf_counter() - now

    def slice(self, moment: Moment) -> None:
        """One slice of what is under way; of ``moment``, if nothing is."""
        if self._job is None:
            self._under_way = moment
            self._job = self._begin(moment)
        try:
            next(self._job)
        except StopIteration as stop:
            self._latest, self._measured, self._job = stop.value, self._under_way, None

    def close(self) -> None:
        """Give up what is under way."""
        if self._job is not None:
            self._job.close()
            self._job = None

    def _begin(self, moment: Moment) -> Generator[None, None, RadiusCurves]:
        attack = moment.config.attack
        x, y = self._held_out.take(radius.SIZE, moment.config.world.sigma_x)
        clean = None if moment.clean is None else SymmetricRelu(moment.clean, moment.clean_bias)
        return radius.radius_curves(
            SymmetricRelu(moment.weight.clone(), moment.bias), clean, moment.clean_step, self._held_out.world, x, y,
            attack.norm, attack.tau, moment.step, self._held_out.seed, self._cache,
        )  # fmt: skip
