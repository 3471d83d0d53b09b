"""Which values a recorded metric may have, by its name (:mod:`engine.core.metrics`).

An accuracy is a count divided by n: it is never missing. Means over neurons are missing when none of them lives, what
is unbounded overflows where training diverges, and there the loss is anything.
"""

from __future__ import annotations

import math
import re
import sys
from dataclasses import dataclass
from functools import lru_cache

from engine.core import metrics

ROUNDING = 1e-3


@dataclass(frozen=True, slots=True)
class Range:
    """From ``low`` to ``high``, up to rounding; ``missing`` whether there may be no value, ``infinite`` overflow."""

    low: float = -math.inf
    high: float = math.inf
    missing: bool = True
    infinite: bool = False

    @property
    def bounds(self) -> tuple[float, float]:
        """The least and the greatest finite value."""
        return max(self.low - ROUNDING, -sys.float_info.max), min(self.high + ROUNDING, sys.float_info.max)

    def holds(self, value: float) -> bool:
        """Whether a metric may have this value; NaN is a missing one."""
        if math.isnan(value):
            return self.missing
        if math.isinf(value):
            return self.infinite
        least, greatest = self.bounds
        return least <= value <= greatest

    def text(self) -> str:
        """The range in words."""
        if math.isinf(self.low):
            words = "a finite number"
        else:
            words = f"a number from {self.low:g} to {self.high:g}" if self.high < math.inf else "a number from 0 on"
        return words + (", or none" if self.missing else "")


PROPORTION = Range(0, 1, missing=False)
SHARE = Range(0, 1)
COSINE = Range(-1, 1)
COUNT = Range(0, missing=False)
RANK = Range(0)
SIZE = Range(0, infinite=True)

_RANGES = (
    (rf"{metrics.LOSS}", SIZE),
    (rf"{metrics.TRAIN_ACCURACY}|accuracy/.+|verified/.+|rival/.+|transfer/.+", PROPORTION),
    (r"low_rank/(clean|robust)@\d+|local/.+/(clean|robust)_(before|after)", PROPORTION),
    (rf"{metrics.ACTIVE_SHARE}|layer/.+/{metrics.LAYER_ACTIVE_SHARE}", PROPORTION),
    (r"mixture/(pure|magnitude)/.+|low_rank/sigma1", SIZE),
    (r"mixture/(purity|relative|dense_alignment)/.+|(principle1|layer/.+|local/.+)/share", SHARE),
    (rf"{metrics.ALIGNMENT}|low_rank/cosine|(principle1|layer/.+|local/.+)/cos_.+", COSINE),
    (rf"layer/.+/({metrics.EFFECTIVE_RANK}|{metrics.PARTICIPATION}|{metrics.CHANGE_RANK})", RANK),
    (rf"{metrics.REPRESENTED}|{metrics.MIXED}", RANK),
    (rf"{metrics.ALIVE}|{metrics.COORDINATES90}", COUNT),
    (r".*", Range()),
)


@lru_cache(maxsize=4096)
def range_of(name: str) -> Range:
    """Which values the metric called ``name`` may have; a report's are those of what it reports."""
    plain = name.removeprefix(metrics.REPORT)
    return next(allowed for pattern, allowed in _RANGES if re.fullmatch(pattern, plain, re.DOTALL))
