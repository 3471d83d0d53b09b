"""The table of training objectives: what each is called, and what it does to a batch. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from engine.core.errors import ConfigError
from engine.core.quoting import quote
from engine.core.registry import Registry

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class Perturb(Protocol):
    """Change the batch x (n, ...), y (n,) in place into what is trained on; with ``box`` x stays in it.

    ``config`` is the run's (:class:`engine.config.experiment.Config`), ``model`` the network now
    (:class:`engine.attacks.base.Classifier`).
    """

    def __call__(
        self,
        config: Any,
        model: Any,
        x: Tensor,
        y: Tensor,
        generator: torch.Generator,
        box: tuple[float, float] | None = None,
    ) -> None:
        """Nothing is returned: ``x`` is overwritten."""


class PairLoss(Protocol):
    """A loss of the answers to a batch x and to x′, what ``perturb`` has made of it, together.

    Both worlds have it: closed form for a network of one logit, differentiable for one of several classes.
    """

    def of_logit(self, plain: Tensor, moved: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The losses and their derivatives by f(x) and by f(x′), each (n,).

        ``plain`` f(x) and ``moved`` f(x′) (n,) are the logits, y (n,) the labels −1 and 1.
        """

    def of_classes(self, plain: Tensor, moved: Tensor, y: Tensor) -> Tensor:
        """The losses (n,), through which gradients run to ``plain`` and ``moved`` (n, K), the logits; y (n,) int64."""


Pair = Callable[[Any], PairLoss | None]
"""Of the run's config the loss; None where its knobs make it that of the batch alone."""


@dataclass(frozen=True, slots=True)
class TrainingObjective:
    """An objective: ``perturb`` makes of a batch what is trained on.

    The loss is the cross-entropy on that; with ``pair`` it is one of the batch and of what was made of it together
    (:meth:`pair_loss`).

    ``label`` stands before "training" in captions and legends, ``button`` on the window's button, ``doc`` says what it
    does, without a full stop. ``colour`` is that of its phases in figures and in the window, where it is faint, and of
    its badge, to be read on with black letters. ``how`` makes of the run's config a sentence for
    captions: by what knobs it changes the batch.
    """

    label: str
    button: str
    doc: str
    colour: str
    perturb: Perturb
    how: Callable[[Any], str] | None = None
    pair: Pair | None = None

    def pair_loss(self, config: Any) -> PairLoss | None:
        """The loss of x and x′ together at these knobs; None: the cross-entropy on what ``perturb`` leaves."""
        return None if self.pair is None else self.pair(config)

    @property
    def title(self) -> str:
        """The label as a line begins with it."""
        return self.label[:1].upper() + self.label[1:]


objectives: Registry[TrainingObjective] = Registry("objective", "engine.attacks.objectives")


def known(phase: str) -> str:
    """``phase``, if it is the name of an objective; else :class:`ConfigError`."""
    if phase not in objectives:
        raise ConfigError(f"phase: got {quote(phase)}; allowed: {', '.join(objectives)}")
    return phase


def objective(
    name: str, *, label: str, button: str, doc: str, colour: str,
    how: Callable[[Any], str] | None = None, pair: Pair | None = None, order: int = 9,
) -> Callable[[Perturb], Perturb]:  # fmt: skip
    """Enter the function that makes of a batch what is trained on into :data:`objectives`, as ``name``.

    ``order`` is its place where objectives are offered.
    """

    def add(perturb: Perturb) -> Perturb:
        objectives.register(name, order=order)(TrainingObjective(label, button, doc, colour, perturb, how, pair))
        return perturb

    return add
