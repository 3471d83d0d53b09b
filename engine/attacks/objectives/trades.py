"""TRADES: the cross-entropy at x, and a divergence that keeps the answer in the ball (Zhang et al. 2019).

arXiv 1901.08573: the loss is CE(f(x), y) + beta · KL(f(x) ‖ f(x′)), x′ maximises the divergence in the ball, and the
gradient runs through f(x) and through f(x′).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from engine.attacks.objectives.adversarial import training_attack
from engine.config.knobs import AttackKnobs
from engine.config.objectives import PairLoss, objective
from engine.core.measurement import NORM_SIGN

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from engine.attacks.base import Classifier, Differentiable

NEAR = 1e-3  # at x itself the divergence has no gradient: the first one is taken at x + NEAR · N(0, I), as by Zhang


def logit_divergence(plain: Tensor, moved: Tensor) -> Tensor:
    """KL(σ(f) ‖ σ(f′)) of the two answers' Bernoulli distributions, f ``plain`` and f′ ``moved`` (n,): (n,).

    With s = softplus it is σ(f)(f − f′) + s(f′) − s(f).
    """
    from torch.nn.functional import softplus

    return plain.sigmoid() * (plain - moved) + softplus(moved) - softplus(plain)


def class_divergence(plain: Tensor, moved: Tensor) -> Tensor:
    """KL(softmax(z) ‖ softmax(z′)) of logits z ``plain`` and z′ ``moved`` (n, K): (n,)."""
    before, after = plain.log_softmax(1), moved.log_softmax(1)
    return (before.exp() * (before - after)).sum(1)


class Trades:
    """The loss of x and x′ together (:class:`engine.config.objectives.PairLoss`)."""

    def __init__(self, beta: float) -> None:
        self.beta = beta

    def of_logit(self, plain: Tensor, moved: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """With p = σ(f), q = σ(f′): ∂KL/∂f = p(1 − p)(f − f′) and ∂KL/∂f′ = q − p."""
        from torch.nn.functional import softplus

        p, q = plain.sigmoid(), moved.sigmoid()
        loss = softplus(-y * plain) + self.beta * logit_divergence(plain, moved)
        by_plain = -y * (-y * plain).sigmoid() + self.beta * p * (1 - p) * (plain - moved)
        return loss, by_plain, self.beta * (q - p)

    def of_classes(self, plain: Tensor, moved: Tensor, y: Tensor) -> Tensor:
        """Cross-entropy and divergence of K classes."""
        from torch.nn.functional import cross_entropy

        return cross_entropy(plain, y, reduction="none") + self.beta * class_divergence(plain, moved)


class LogitDivergence:
    """KL(f(x) ‖ f(·)) of a network of one logit, as a classifier that attacks climb: margins are minus it.

    x (n, ...); with ``nudge``, like x, the first gradient is taken that much beside the point asked for.
    """

    def __init__(self, model: Classifier, x: Tensor, y: Tensor, nudge: Tensor | None) -> None:
        self._model = model
        self._one = y.new_ones(len(y))
        self._plain = model.margin(x, self._one)
        self._nudge = nudge

    def margin(self, x: Tensor, y: Tensor) -> Tensor:
        """Minus the divergence (n,): of several points of a ball the one with the smallest is the worst."""
        return -logit_divergence(self._plain, self._model.margin(x, self._one))

    def input_gradient(self, x: Tensor, y: Tensor) -> Tensor:
        """The divergence's gradient up to a positive factor: it grows with f′ where f′ > f, else as f′ falls."""
        x, self._nudge = x if self._nudge is None else x + self._nudge, None
        return self._model.input_gradient(x, (self._plain - self._model.margin(x, self._one)).sign())


class ClassDivergence:
    """The same of a network of K logits."""

    def __init__(self, model: Differentiable, x: Tensor, nudge: Tensor | None) -> None:
        self._model = model
        self._plain = model.logits(x)
        self._nudge = nudge

    def margin(self, x: Tensor, y: Tensor) -> Tensor:
        """Minus the divergence (n,)."""
        return -class_divergence(self._plain, self._model.logits(x))

    def input_gradient(self, x: Tensor, y: Tensor) -> Tensor:
        """Gradient of the summed divergence, like x."""
        x, self._nudge = x if self._nudge is None else x + self._nudge, None
        return self._model.gradient(x, y, lambda logits, _: class_divergence(self._plain, logits))[2]


def _how(config: Any) -> str:
    knobs: AttackKnobs = config.attack
    attack = f"{knobs.trained_by()} on the divergence, {NORM_SIGN[knobs.norm]} radius {knobs.tau:g}"
    return f"TRADES at this step: beta = {config.training.beta:g}, x′ by {attack}."


def _loss(config: Any) -> PairLoss | None:
    """With ``training.beta`` or ``attack.tau`` 0 it is clean training, bit by bit."""
    return Trades(config.training.beta) if config.training.beta > 0 and config.attack.tau > 0 else None


@objective(
    "trades",
    label="TRADES",
    button="TRADES",
    doc="Train on clean samples, and on answers that stay the same inside the ball ‖δ‖ ≤ tau, weighted by beta",
    colour="#CC79A7",
    how=_how,
    pair=_loss,
    order=3,
)
def trades(
    config: Any, model: Any, x: Tensor, y: Tensor, generator: torch.Generator, box: tuple[float, float] | None = None
) -> None:
    """Move x (n, ...) to where the current network's answer differs most from that at x."""
    if _loss(config) is None:
        return
    import torch

    nudge = None
    if not config.attack.random_start:
        nudge = torch.empty_like(x).normal_(0, NEAR, generator=generator)
    several = hasattr(model, "gradient")  # K logits, and the gradient of any loss of them
    far = ClassDivergence(model, x, nudge) if several else LogitDivergence(model, x, y, nudge)
    x.add_(training_attack(config.attack, box)(far, x, y, generator))
