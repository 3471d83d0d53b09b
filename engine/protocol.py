"""How a figure was measured: the protocol every accuracy carries, and its interval."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from math import sqrt
from typing import Literal

Norm = Literal["l2", "linf"]
NORM_SIGN = {"l2": "ℓ2", "linf": "ℓ∞"}
Z95 = 1.959963984540054  # 97.5% quantile of the standard normal


def wilson(successes: float, n: int) -> tuple[float, float]:
    """95% Wilson score interval of a proportion (Wilson 1927): ``(low, high)``; ``(0, 1)`` for n = 0."""
    if n <= 0:
        return 0.0, 1.0
    p, z2 = successes / n, Z95 * Z95
    centre = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = Z95 / (1 + z2 / n) * sqrt(p * (1 - p) / n + z2 / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)


@dataclass(frozen=True, slots=True)
class Protocol:
    """What a measured accuracy means.

    ``attack`` is ``clean``, ``fgm``, ``pgd``, ``apgd``, ``square`` or ``dense``, or says in words what else it is;
    ``norm`` and ``tau`` the ball; ``steps`` and ``restarts`` the attack's (0 where it has none; of ``square`` the steps
    are queries); ``n`` the number of held-out samples; ``estimate`` is true for the light measurement taken while
    training runs.
    """

    attack: str
    norm: str
    tau: float
    steps: int
    restarts: int
    n: int
    estimate: bool = False

    def text(self) -> str:
        """The protocol in words, e.g. ``PGD-40 × 5 restarts, ℓ2 radius 0.2, n = 1000, 95% Wilson interval``."""
        tail = f"n = {self.n}, 95% Wilson interval" + (" (live estimate)" if self.estimate else "")
        if self.attack == "clean":
            return f"no attack, {tail}"
        ball = f"{NORM_SIGN[self.norm]} radius {self.tau:g}"
        restarts = f"{self.restarts} restart{'s' if self.restarts != 1 else ''}"
        name = {
            "fgm": "FGM (1 step)",
            "pgd": f"PGD-{self.steps} × {restarts}",
            "apgd": f"APGD-{self.steps} × {restarts}",
            "square": f"Square ({self.steps} queries, no gradient)",
            "dense": "dense direction (no network)",
        }.get(self.attack, self.attack)
        return f"{name}, {ball}, {tail}"

    def short(self) -> str:
        """The same in a table's cell, where a heading says that intervals are 95% Wilson's."""
        if self.attack == "clean":
            return f"clean · n = {self.n}"
        name = {"fgm": "FGM", "pgd": f"PGD-{self.steps} × {self.restarts}", "dense": "dense direction"}
        return f"{name.get(self.attack, self.attack)} · {NORM_SIGN[self.norm]} {self.tau:g} · n = {self.n}"

    def to_json(self) -> str:
        """Serialise for the store."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Protocol:
        """Inverse of :meth:`to_json`."""
        return cls(**json.loads(text))
