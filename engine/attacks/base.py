"""What every attack is: it enforces its ball, and works in slices that can be interleaved or given up."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator
from typing import Protocol

import torch
from torch import Tensor

from engine.slices import finish
from engine.threat import Threat

Slices = Generator[None, None, Tensor]


class Classifier(Protocol):
    """What an attack needs of a model, for x (n, ...) and labels y (n,)."""

    def margin(self, x: Tensor, y: Tensor) -> Tensor:
        """How right the answers are (n,): positive means right. The memory is the caller's."""

    def ascent(self, x: Tensor, y: Tensor) -> Tensor:
        """A direction like x in which the loss grows: its gradient up to a positive factor a sample.

        The memory is the model's: it is overwritten by the next call, and the caller may overwrite it, too.
        """


class Attack(ABC):
    """An attack inside ‖δ‖ ≤ ``tau`` in the norm of ``threat``.

    Subclasses supply :meth:`run`; :meth:`slices` projects what it returns, so no attack leaves its ball.
    """

    def __init__(self, threat: Threat, tau: float) -> None:
        self.threat = threat
        self.tau = tau

    @abstractmethod
    def run(self, model: Classifier, x: Tensor, y: Tensor, generator: torch.Generator) -> Slices:
        """Yield after each piece of work (about one gradient of the batch) and return δ, shaped like x."""

    def slices(self, model: Classifier, x: Tensor, y: Tensor, generator: torch.Generator) -> Slices:
        """As :meth:`run`, the result projected onto the ball. Closing the generator gives the attack up."""
        delta = yield from self.run(model, x, y, generator)
        return self.threat.project(delta, self.tau)

    def __call__(self, model: Classifier, x: Tensor, y: Tensor, generator: torch.Generator) -> Tensor:
        """δ for x (n, ...) and y (n,), in one go. It may live in the model's memory: use it before the next call."""
        return finish(self.slices(model, x, y, generator))
