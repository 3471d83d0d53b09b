"""How a figure was measured: the protocol every accuracy carries, and its interval."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Norm = Literal["l2", "linf"]
NORM_SIGN = {"l2": "ℓ2", "linf": "ℓ∞"}
PLAIN = {"apgd_ce": "APGD-CE", "apgd_t": "APGD-T", "square": "Square"}  # in a list of attacks
WORST_CASE = "AutoAttack-style worst case"
Z95 = 1.959963984540054  # 97.5% quantile of the standard normal


def wilson_bounds(successes: ArrayLike, n: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """95% Wilson score intervals of proportions (Wilson 1927): lower and upper ends; (0, 1) where n = 0."""
    size = np.asarray(n, np.float64)
    known = np.maximum(size, 1.0)
    p, z2 = np.asarray(successes, np.float64) / known, Z95 * Z95
    centre = (p + z2 / (2 * known)) / (1 + z2 / known)
    half = Z95 / (1 + z2 / known) * np.sqrt(p * (1 - p) / known + z2 / (4 * known * known))
    low, high = np.fmax(0.0, centre - half), np.fmin(1.0, centre + half)
    return np.where(size > 0, low, 0.0), np.where(size > 0, high, 1.0)


def wilson(successes: float, n: int) -> tuple[float, float]:
    """The same of one proportion: ``(low, high)``."""
    low, high = wilson_bounds(successes, n)
    return float(low), float(high)


def worst_case(parts: Sequence[Measurement]) -> Measurement:
    """The protocol of the worst of ``parts``, two or more of one ball and one n, for each sample."""
    efforts = [_effort(part) for part in parts]
    words = f"{WORST_CASE} of {', '.join(efforts[:-1])} and {efforts[-1]}"
    return Measurement(words, parts[0].norm, parts[0].tau, 0, 0, parts[0].n)


def _effort(part: Measurement) -> str:
    name = PLAIN.get(part.attack, part.attack)
    if part.attack == "square":
        return f"{name} ({part.steps} queries)"
    unit = "target" if part.attack == "apgd_t" else "restart"
    return f"{name} ({_count(part.steps, 'step')} × {_count(part.restarts, unit)})"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' if number != 1 else ''}"


@dataclass(frozen=True, slots=True)
class Measurement:
    """What a measured accuracy means.

    ``attack`` is ``clean``, ``fgm``, ``pgd``, ``apgd``, ``apgd_ce``, ``apgd_t``, ``square`` or ``dense``, or says in
    words what else it is; ``norm`` and ``tau`` the ball; ``steps`` and ``restarts`` the attack's (0 where it has none;
    of ``square`` the steps are queries, of ``apgd_t`` the restarts are target classes); ``n`` the number of held-out
    samples; ``estimate`` is true for the light measurement taken while training runs. ``A after B, C`` is the attack A
    on the samples that those before it have left right, all others counting as fooled.
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
        restarts, targets = _count(self.restarts, "restart"), _count(self.restarts, "target")
        names = {
            "fgm": "FGM (1 step)",
            "pgd": f"PGD-{self.steps} × {restarts}",
            "apgd": f"APGD-{self.steps} × {restarts}",
            "apgd_ce": f"APGD-CE, {_count(self.steps, 'step')} × {restarts}",
            "apgd_t": f"APGD-T (targeted DLR, {targets}), {_count(self.steps, 'step')}",
            "square": f"Square ({self.steps} queries, no gradient)",
            "dense": "dense direction (no network)",
        }
        return f"{self._named(names)}, {ball}, {tail}"

    def short(self) -> str:
        """The same in a table's cell, where a heading says that intervals are 95% Wilson's."""
        if self.attack == "clean":
            return f"clean · n = {self.n}"
        names = {
            "fgm": "FGM",
            "pgd": f"PGD-{self.steps} × {self.restarts}",
            "apgd_ce": f"APGD-CE-{self.steps} × {self.restarts}",
            "apgd_t": f"APGD-T-{self.steps} × {self.restarts}",
            "dense": "dense direction",
        }
        name = WORST_CASE if self.attack.startswith(WORST_CASE) else self._named(names)
        return f"{name} · {NORM_SIGN[self.norm]} {self.tau:g} · n = {self.n}"

    def _named(self, names: dict[str, str]) -> str:
        attack, after, before = self.attack.partition(" after ")
        if not after or attack not in names:
            return names.get(self.attack, self.attack)
        plain = [PLAIN.get(name, name) for name in before.split(", ")]
        return f"{names[attack]} on what {' and '.join(plain)} left right"

    def to_json(self) -> str:
        """Serialise for the store."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Measurement:
        """Inverse of :meth:`to_json`."""
        return cls(**json.loads(text))


def figure(value: float, protocol: Measurement) -> dict[str, Any]:
    """An accuracy with its 95% Wilson interval and protocol."""
    low, high = wilson(value * protocol.n, protocol.n)
    return {"value": value, "low": low, "high": high, "protocol": asdict(protocol), "text": protocol.text()}
