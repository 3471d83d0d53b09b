"""What every attack is: it enforces its ball and box, and works in slices that can be interleaved or given up.

An attack is one file in this package that enters itself into :data:`attacks`: it is then measured, shown and verified
by its name.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, cast

from engine.attacks.threat import Threat, threats
from engine.config.experiment import EVERY_KIND
from engine.core.lazy_torch import torch
from engine.core.measurement import AttackWords, Measurement, attack_words
from engine.core.registry import Registry
from engine.core.slices import finish

if TYPE_CHECKING:
    from torch import Tensor

Slices = Generator[None, None, "Tensor"]
Box = tuple[float, float]  # least and largest value that an input may have
Loss = Callable[["Tensor", "Tensor"], "Tensor"]  # of logits (n, K) and labels (n,), one value a sample (n,)


class Classifier(Protocol):
    """What an attack needs of a model, for x (n, ...) and labels y (n,)."""

    def margin(self, x: Tensor, y: Tensor) -> Tensor:
        """How right the answers are (n,): positive means right. The memory is the caller's."""

    def input_gradient(self, x: Tensor, y: Tensor) -> Tensor:
        """A direction like x in which the loss grows: its gradient up to a positive factor a sample.

        The memory is the model's: it is overwritten by the next call, and the caller may overwrite it, too.
        """


class Differentiable(Classifier, Protocol):
    """What an attack on a loss of its own needs beside: K logits, and their gradient for any loss."""

    def logits(self, x: Tensor) -> Tensor:
        """One logit a class: (n, K)."""

    def gradient(self, x: Tensor, y: Tensor, loss: Loss) -> tuple[Tensor, Tensor, Tensor]:
        """Loss (n,), logits (n, K) and the gradient of the summed loss, like x. All memory is the caller's."""


def differentiable(model: Classifier) -> Differentiable:
    """``model`` itself, if attacks can use a loss of their own on it; else ``TypeError``."""
    if not (hasattr(model, "gradient") and hasattr(model, "logits")):
        raise TypeError(f"this attack needs the gradient of a loss of its own; {type(model).__name__} offers none")
    return cast(Differentiable, model)


class Attack(ABC):
    """An attack inside ‖δ‖ ≤ ``tau`` in the norm of ``threat``; with ``box`` x + δ stays between its two values, too.

    x itself must lie in the box. Subclasses supply :meth:`run`; :meth:`slices` makes what it returns feasible, so no
    attack leaves its ball or its box.
    """

    def __init__(self, threat: Threat, tau: float, *, box: Box | None = None) -> None:
        self.threat = threat
        self.tau = tau
        self.box = box

    @abstractmethod
    def run(self, model: Classifier, x: Tensor, y: Tensor, generator: torch.Generator) -> Slices:
        """Yield after each piece of work (about one gradient of the batch) and return δ, shaped like x."""

    def feasible(self, x: Tensor, delta: Tensor) -> Tensor:
        """Move ``delta`` in place onto the ball, then x + δ into the box; both are shaped (n, ...).

        This is not the nearest point of both together, but one of both.
        """
        return self.clip(x, self.threat.project(delta, self.tau))

    def clip(self, x: Tensor, delta: Tensor) -> Tensor:
        """Move x + δ into the box, ``delta`` in place; nothing without a box.

        As x lies in the box, every coordinate of δ moves towards 0, so that no norm of δ grows. The bounds hold for
        the sum as it is computed, rounding included.
        """
        if self.box is None:
            return delta
        low, high = self.box
        below, above = low - x, high - x
        # A difference that was rounded up may lead one step of the number format too far; the next one does not.
        above = torch.where(x + above > high, torch.nextafter(above, torch.full_like(above, -torch.inf)), above)
        below = torch.where(x + below < low, torch.nextafter(below, torch.full_like(below, torch.inf)), below)
        return delta.clamp_(below, above)

    def slices(self, model: Classifier, x: Tensor, y: Tensor, generator: torch.Generator) -> Slices:
        """As :meth:`run`, the result in ball and box. Closing the generator gives the attack up."""
        delta = yield from self.run(model, x, y, generator)
        return self.feasible(x, delta)

    def __call__(self, model: Classifier, x: Tensor, y: Tensor, generator: torch.Generator) -> Tensor:
        """δ for x (n, ...) and y (n,), in one go. It may live in the model's memory: use it before the next call."""
        return finish(self.slices(model, x, y, generator))


@dataclass(frozen=True, slots=True)
class Setting:
    """What an attack is built for: ``protocol`` gives ball, steps and restarts.

    ``box`` is given for pictures (n, C, H, W) and holds x + δ; ``direction`` (d,), a unit vector, is the dense one of
    the sparse-coding world, where there is one.
    """

    protocol: Measurement
    direction: Tensor | None = None
    box: Box | None = None

    @property
    def threat(self) -> Threat:
        """The protocol's norm."""
        return threats[self.protocol.norm]


Build = Callable[[Setting], Attack]
Size = tuple[int, int]  # steps and restarts, in the attack's own sense
NO_SIZES: Mapping[str, Size] = {}  # by attack: each has its own


@dataclass(frozen=True, slots=True, kw_only=True)
class AttackKind(AttackWords):
    """An attack as evaluations use it.

    ``build`` makes it. ``kinds`` are those of runs that it can be used on; ``directed`` ones need the dense direction.
    ``size`` gives its steps and restarts for those that are asked of PGD; ``verified`` those of the verified evaluation
    for each kind of run in which it takes part. A ``black_box`` knows neither gradient nor world: if it does clearly
    more damage than PGD, something is wrong.
    """

    build: Build
    kinds: tuple[str, ...] = EVERY_KIND
    directed: bool = False
    size: Callable[[int, int], Size] = lambda steps, restarts: (steps, restarts)
    verified: Mapping[str, Size] = field(default_factory=dict)
    black_box: bool = False


attacks = cast(Registry[AttackKind], attack_words)
"""The table of attacks: of each :mod:`engine.core.measurement` knows the words, this room all."""
