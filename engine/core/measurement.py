"""How a figure was measured: the protocol every accuracy carries, and its interval."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from engine.core.registry import Registry

Norm = Literal["l2", "linf"]
NORM_SIGN = {"l2": "ℓ2", "linf": "ℓ∞"}
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
    words = f"{WORST_CASE} of {_listed(efforts)}"
    return Measurement(words, parts[0].norm, parts[0].tau, 0, 0, parts[0].n)


def _effort(part: Measurement) -> str:
    return attack_words[part.attack].say("effort", part) if part.attack in attack_words else part.attack


def _listed(names: Sequence[str]) -> str:
    """``A, B and C``."""
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' if number != 1 else ''}"


@dataclass(frozen=True, slots=True)
class AttackWords:
    """How an attack is named where accuracies under it are shown.

    ``plain`` names it in a sentence. The others are templates, in which ``{steps}`` and ``{restarts}`` are the numbers,
    ``{all_steps}`` and ``{all_restarts}`` those with their units (``5 restarts``; ``unit`` says of what): ``text`` is
    the whole protocol, ``short`` the same in a table's cell, ``effort`` the same in a list of attacks; ``outcome`` says
    of the accuracy left how it came about.
    """

    plain: str
    text: str
    short: str
    effort: str = "{plain} ({all_steps} × {all_restarts})"
    outcome: str = "under {plain}"
    unit: str = "restart"

    def say(self, template: Literal["text", "short", "effort", "outcome"], how: Measurement) -> str:
        """One of the templates, filled with the numbers of ``how``."""
        words: str = getattr(self, template)
        return words.format(
            plain=self.plain,
            steps=how.steps,
            restarts=how.restarts,
            all_steps=_count(how.steps, "step"),
            all_restarts=_count(how.restarts, self.unit),
        )


attack_words: Registry[AttackWords] = Registry("attack", "engine.attacks")
"""By the name that protocols have; each attack's own file fills it in (:data:`engine.attacks.base.attacks`)."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """What a measured accuracy means.

    ``attack`` is ``clean`` or one of :data:`attack_words`, or says in words what else it is; ``norm`` and ``tau`` the
    ball; ``steps`` and ``restarts`` the attack's (0 where it has none; what counts as a step and as a restart is the
    attack's to say); ``n`` the number of held-out samples; ``estimate`` is true for the light measurement taken while
    training runs. ``A after B, C`` is the attack A on the samples that those before it have left right, all others
    counting as fooled.
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
        return f"{self._named('text')}, {ball}, {tail}"

    def short(self) -> str:
        """The same in a table's cell, where a heading says that intervals are 95% Wilson's."""
        if self.attack == "clean":
            return f"clean · n = {self.n}"
        return f"{self.name} · {NORM_SIGN[self.norm]} {self.tau:g} · n = {self.n}"

    @property
    def name(self) -> str:
        """The attack alone, in few words."""
        return WORST_CASE if self.attack.startswith(WORST_CASE) else self._named("short")

    def _named(self, template: Literal["text", "short"]) -> str:
        attack, after, before = self.attack.partition(" after ")
        if attack not in attack_words:
            return self.attack
        name = attack_words[attack].say(template, self)
        if not after:
            return name
        plain = [attack_words[each].plain if each in attack_words else each for each in before.split(", ")]
        return f"{name} on what {_listed(plain)} left right"

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
