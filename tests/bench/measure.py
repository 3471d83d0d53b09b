"""Alternate the candidates block by block, and compare medians of ratios within a round; how much is measured."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class Sizes:
    """How much is measured: steps of a block, rounds of blocks, pairs of processes, minutes for the memory."""

    presets: tuple[str, ...] = ("small", "standard", "wide")  # of the live evaluation
    watched: tuple[str, ...] = ("small", "standard", "theorem", "digits")  # with all live views
    watched_seconds: float = 2.0  # of a block
    steps: int = 100
    rounds: int = 15
    image_steps: int = 10
    image_rounds: int = 9
    image_phase: int | None = None  # steps of each phase of the whole run on images; None: the preset's
    image_report: int | None = None  # images of its evaluations; None: the preset's
    warm_steps: int = 50
    certificate_steps: int = 800  # of each phase: enough for the mixtures to come and to go
    certificate_samples: int = 500
    certificate_rounds: int = 5
    window_preset: str = "standard"
    window_steps: int = 1500  # of each phase
    window_pairs: int = 3
    start_pairs: int = 5
    scrubbed: tuple[tuple[str, int], ...] = (("standard", 100), ("cifar10-filters", 200))  # preset, milliseconds
    scrub_steps: int = 150  # of each phase of a run that is looked at
    long_steps: int = 100_000
    idle_seconds: float = 10.0
    exported: tuple[str, ...] = ("neurons", "robustness", "mixtures")
    frames: int = 60  # of an animation
    minutes: float = 10.0
    listed_runs: int = 1000
    list_rounds: int = 9
    swept_runs: int = 8
    swept_steps: int | None = None  # of each phase; None: the preset's
    swept_grid: tuple[int, int, int] = (20, 10, 5)  # values of two knobs, and seeds, of a sweep


FULL = Sizes()
TINY = Sizes(  # shows that a measurement runs; its figures mean nothing
    presets=("small",), watched=("small",), watched_seconds=0.01, steps=2, rounds=1,
    image_steps=1, image_rounds=1, image_phase=2, image_report=16, warm_steps=1,
    certificate_steps=4, certificate_samples=8, certificate_rounds=1, window_preset="small",
    window_steps=20, window_pairs=1, start_pairs=1, minutes=0.02,
    scrubbed=(("small", 100),), scrub_steps=20, long_steps=40, idle_seconds=0.2, exported=("neurons",), frames=2,
    listed_runs=3, list_rounds=1, swept_grid=(2, 2, 1), swept_runs=2, swept_steps=2,
)  # fmt: skip


@dataclass(frozen=True)
class Times:
    """Seconds of one candidate, a block a round."""

    seconds: tuple[float, ...]

    def over(self, other: Times) -> tuple[float, float, float]:
        """Median, 10% and 90% quantile of this time over the other's, round by round."""
        ratios = sorted(a / b for a, b in zip(self.seconds, other.seconds, strict=True))
        deciles = statistics.quantiles(ratios, n=10) if len(ratios) > 2 else [ratios[0]] * 8 + [ratios[-1]]
        return statistics.median(ratios), deciles[0], deciles[-1]


@dataclass(frozen=True)
class Result:
    """A measured figure: a ratio (median, 10%, 90%) or one number with its unit; None says that it is not measured."""

    name: str
    value: tuple[float, float, float] | float | None
    unit: str = ""
    aim: str = ""

    def text(self) -> str:
        """One line of the table."""
        if self.value is None:
            return f"{self.name}: not measured"
        if isinstance(self.value, tuple):
            shown = "{:8.3f}  [{:.3f}, {:.3f}]".format(*self.value)
        else:
            shown = f"{self.value:8.3f}  {self.unit}"
        return f"{self.name:<72}{shown:<28}{self.aim}"


class Spent:
    """Seconds by the clock, and of its thread's CPU time, within its blocks."""

    def __init__(self) -> None:
        self.seconds = self.cpu = 0.0

    def __enter__(self) -> None:
        self.seconds -= time.perf_counter()
        self.cpu -= time.thread_time()

    def __exit__(self, *_: object) -> None:
        self.seconds += time.perf_counter()
        self.cpu += time.thread_time()

    def timed(self, function: Callable[P, R]) -> Callable[P, R]:
        """The same function, a block each time."""

        def block(*arguments: P.args, **how: P.kwargs) -> R:
            with self:
                return function(*arguments, **how)

        return block


def interleave(blocks: Sequence[Callable[[], float]], rounds: int) -> list[Times]:
    """Run every block once a round, in turn; the first round only warms up."""
    for block in blocks:
        block()
    seconds: list[list[float]] = [[] for _ in blocks]
    for _ in range(rounds):
        for mine, block in zip(seconds, blocks, strict=True):
            mine.append(block())
    return [Times(tuple(s)) for s in seconds]
