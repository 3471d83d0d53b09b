"""The network of the theory, with closed-form gradients (SPEC.md section 2; paper, section 3).

f(x; ρ) = Σᵢ [ReLU(⟨wᵢ,x⟩ + ρᵢ − b) − ReLU(−⟨wᵢ,x⟩ + ρᵢ − b)]; with gᵢ the number (0, 1, 2) of its two halves that are
active, ∂f/∂wᵢ = gᵢ x and ∂f/∂x = Σᵢ gᵢ wᵢ. No autograd; every (n, m) array is a buffer that is used again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from engine.config.objectives import PairLoss


@dataclass(frozen=True, slots=True)
class Buffers:
    """Scratch space for batches of n: two (n, m) arrays, one for the noise (n, m), and one (n, d)."""

    up: Tensor
    down: Tensor
    noise: Tensor
    slope: Tensor


@dataclass(frozen=True, slots=True)
class Partner:
    """What a loss of two batches together needs beside the perturbed one: the batch ``x`` (n, d) it was made of."""

    x: Tensor
    loss: PairLoss


class Pulls(NamedTuple):
    """A step of k rows, before it is taken: ``gates``ᵀ ``x`` (m, d) is −lr times the gradient of the mean loss.

    ``margin`` and ``loss`` (n,) are those of the batch before the step, ``gates`` (k, m) valid until the next call.
    """

    margin: Tensor
    loss: Tensor
    gates: Tensor
    x: Tensor


class SymmetricRelu:
    """Weights ``weight`` (m, d) and bias ``bias`` ≥ 0 shared by all neurons.

    As a classifier (:class:`engine.attacks.base.Classifier`) it is the deterministic network, ρ = 0.
    """

    def __init__(self, weight: Tensor, bias: float) -> None:
        self.weight = weight
        self.bias = bias
        self._store: Buffers | None = None
        self._views: Buffers | None = None

    def copy(self) -> SymmetricRelu:
        """The same network with weights of its own."""
        return SymmetricRelu(self.weight.clone(), self.bias)

    def buffers(self, n: int) -> Buffers:
        """Buffers for batches of ``n``: the first n rows of those for the largest batch so far."""
        views = self._views
        if views is None or len(views.up) != n:
            if self._store is None or len(self._store.up) < n:
                m, d = self.weight.shape
                new = self.weight.new_empty
                self._store = Buffers(new(n, m), new(n, m), new(n, m), new(n, d))
            full = self._store
            views = self._views = Buffers(full.up[:n], full.down[:n], full.noise[:n], full.slope[:n])
        return views

    def logits(self, x: Tensor) -> Tensor:
        """f(x) for x (n, d): (n,)."""
        u = torch.mm(x, self.weight.T, out=self.buffers(len(x)).up)
        # softshrink is the soft threshold S_b, and b ≥ 0: the two halves are never active together.
        return torch.nn.functional.softshrink(u, self.bias).sum(1)

    def active(self, x: Tensor) -> Tensor:
        """Which neurons are active, 1.0 or 0.0: (n, m), valid until the next call."""
        u = torch.mm(x, self.weight.T, out=self.buffers(len(x)).up)
        return torch.gt(u.abs_(), self.bias, out=u)

    def margin(self, x: Tensor, y: Tensor) -> Tensor:
        """y f(x), positive where the answer is right: (n,)."""
        return self.logits(x).mul_(y)

    def input_gradient(self, x: Tensor, y: Tensor) -> Tensor:
        """Direction −y ∂f/∂x in which the loss grows, for x (n, d), y (n,): (n, d), valid until the next call."""
        slope = torch.mm(self.active(x), self.weight, out=self.buffers(len(x)).slope)
        return slope.mul_(y.neg().unsqueeze(1))


class NoisyRelu:
    """The network with one draw of the pre-activation noise, as it is while training; also a classifier.

    ``draw`` fills the buffer with ρ − b once per step; the attack and the update see the same ρ.
    """

    def __init__(self, model: SymmetricRelu) -> None:
        self.model = model

    def draw(self, n: int, sigma_rho: float, generator: torch.Generator) -> None:
        """Draw ρ ~ N(0, sigma_rho²) afresh for ``n`` samples and every neuron."""
        noise = self.model.buffers(n).noise
        if sigma_rho > 0:
            noise.normal_(-self.model.bias, sigma_rho, generator=generator)
        else:
            noise.fill_(-self.model.bias)

    def _halves(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Both halves before their ReLU, ±⟨w,x⟩ + ρ − b."""
        buffers = self.model.buffers(len(x))
        torch.mm(x, self.model.weight.T, out=buffers.up)
        torch.sub(buffers.noise, buffers.up, out=buffers.down)
        buffers.up.add_(buffers.noise)
        return buffers.up, buffers.down

    def margin(self, x: Tensor, y: Tensor) -> Tensor:
        """y f(x; ρ): (n,)."""
        up, down = self._halves(x)
        return up.clamp_min_(0).sum(1).sub_(down.clamp_min_(0).sum(1)).mul_(y)

    def input_gradient(self, x: Tensor, y: Tensor) -> Tensor:
        """Direction −y ∂f(x; ρ)/∂x: (n, d), valid until the next call."""
        buffers = self.model.buffers(len(x))
        up = torch.mm(x, self.model.weight.T, out=buffers.up)
        down = torch.lt(up, buffers.noise, out=buffers.down)  # −⟨w,x⟩ + ρ − b > 0
        gates = torch.gt(up.add_(buffers.noise), 0, out=up).add_(down)
        return torch.mm(gates, self.model.weight, out=buffers.slope).mul_(y.neg().unsqueeze(1))

    def sgd_step(self, x: Tensor, y: Tensor, lr: float, decay: float, partner: Partner | None = None) -> Pulls:
        """One SGD step on the mean loss of :meth:`pulls` + decay · Σᵢ(‖wᵢ‖²/2 + ‖wᵢ‖³/3); overwrites x (n, d)."""
        found = self.pulls(x, y, lr, partner)
        weight = self.model.weight
        if decay > 0:
            shrink = torch.linalg.vector_norm(weight, dim=1, keepdim=True).add_(1).mul_(-lr * decay).add_(1)
            weight.mul_(shrink)
        weight.addmm_(found.gates.T, found.x)
        return found

    def pulls(self, x: Tensor, y: Tensor, lr: float, partner: Partner | None = None) -> Pulls:
        """The step on mean softplus(−y f(x; ρ)), or on the partner's loss of f(x; ρ) at its x and at this one.

        Overwrites x (n, d). With a partner the step has 2n rows; margins are those of the partner's x.
        """
        if partner is not None:
            return self._pulls_of_two(x, y, lr, partner)
        up, down = self._halves(x)
        margin = up.clamp_min_(0).sum(1).sub_(down.clamp_min_(0).sum(1)).mul_(y)
        gates = up.sign_().add_(down.sign_())
        # d loss / d f = −y · sigmoid(−y f) / n; scaling the rows of x (n, d) is cheaper than those of gates (n, m).
        x.mul_(torch.sigmoid(-margin).mul_(y).mul_(lr / len(y)).unsqueeze(1))
        return Pulls(margin, torch.nn.functional.softplus(-margin), gates, x)

    def _pulls_of_two(self, x: Tensor, y: Tensor, lr: float, partner: Partner) -> Pulls:
        plain, gates = self._answers(partner.x)
        moved, others = self._answers(x)  # with the same ρ
        loss, by_plain, by_moved = partner.loss.of_logit(plain, moved, y)
        pulled = [
            batch * slope.mul(-lr / len(y)).unsqueeze(1) for batch, slope in ((partner.x, by_plain), (x, by_moved))
        ]
        return Pulls(plain * y, loss, torch.cat((gates, others)), torch.cat(pulled))

    def _answers(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """f(x; ρ) (n,) and gates (n, m), in memory of their own."""
        up, down = self._halves(x)
        logits = up.clamp_min_(0).sum(1).sub_(down.clamp_min_(0).sum(1))
        return logits, up.sign() + down.sign()
