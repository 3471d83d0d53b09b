"""Alternate the candidates block by block, and compare medians of ratios within a round."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass


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
    """A measured figure: a ratio (median, 10%, 90%) or one number with its unit."""

    name: str
    value: tuple[float, float, float] | float
    unit: str = ""
    aim: str = ""

    def text(self) -> str:
        """One line of the table."""
        if isinstance(self.value, tuple):
            shown = "{:8.3f}  [{:.3f}, {:.3f}]".format(*self.value)
        else:
            shown = f"{self.value:8.3f}  {self.unit}"
        return f"{self.name:<72}{shown:<28}{self.aim}"


def interleave(blocks: Sequence[Callable[[], float]], rounds: int) -> list[Times]:
    """Run every block once a round, in turn; the first round only warms up."""
    for block in blocks:
        block()
    seconds: list[list[float]] = [[] for _ in blocks]
    for _ in range(rounds):
        for mine, block in zip(seconds, blocks, strict=True):
            mine.append(block())
    return [Times(tuple(s)) for s in seconds]
