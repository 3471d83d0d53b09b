"""The baselines: models that, the theory says, cannot be robust on this world (SPEC.md section 6; paper, theorem 5.4).

A linear classifier, polynomials of degree 2 and 3, and the neural tangent kernel (NTK) of the network at its start.
Each is a :class:`engine.attacks.base.Classifier` in closed form, as the network is, and takes SGD steps on the same
loss. All have a constant term: without one, a classifier that always gives the same answer, right for one sample in two
under any perturbation, would be out of their reach.

Beside them stands the NTK *of now*, whose gates are those of the trained network (:func:`ntk_now`). The theory says
nothing against it: its features were learned. It tells apart what the function class cannot do from what the features
of a random start cannot.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from engine.attacks.base import Classifier
from engine.core.generators import seeded
from engine.core.registry import Registry
from engine.models.symmetric_relu import SymmetricRelu
from engine.theory.config import SparseCodingConfig

EXACT_FEATURES = 20_000  # a polynomial with more monomials than this is factorised
FACTORS_PER_DIMENSION = 2  # cubes of the factorised cubic; the ideal cubic of this world needs one a dimension
FACTOR_SCALE = 0.1  # ‖u‖ at its start: ⟨u,x⟩³ is small, and yet the gradient 3⟨u,x⟩² x is not lost
NTK_UNITS = 500  # of the network's neurons at most: twice as many gain 0.01 and cost twice the time
NTK_SHARE = 0.3  # share of gates that are open: the most robust choice of 0.02, 0.1, 0.2, 0.3, 0.4, 0.5 (d = 100)


class Baseline(Classifier, Protocol):
    """A classifier that is trained beside the network.

    ``features`` says in words what the model is; ``rates`` are three learning rates to try, in ascending order.
    """

    features: str
    rates: tuple[float, ...]

    def sgd_step(self, x: Tensor, y: Tensor, lr: float, decay: float) -> Tensor:
        """One SGD step on mean softplus(−y f(x)) + decay · ‖θ‖²/2 (the constant term is spared), in place.

        Overwrites x (n, d). Returns the margins y f(x) (n,) before the step.
        """


Build = Callable[[SparseCodingConfig, Tensor], Baseline]

baselines: Registry[Build] = Registry("baseline")
"""By name: ``build(config, x)`` gives an untrained baseline for that network's world.

x (n, d) is a sample that scales are read from; the baseline lives on its device. Randomness depends on the seed alone.
"""


def _pull(margin: Tensor, y: Tensor, lr: float) -> Tensor:
    """−lr · ∂(mean loss)/∂f for every sample: (n,)."""
    return torch.sigmoid(-margin).mul_(y).mul_(lr / len(y))


def monomials(d: int, degree: int) -> int:
    """Number of monomials in d variables of degree 0 to ``degree``."""
    return math.comb(d + degree, degree)


class Linear:
    """f(x) = ⟨w,x⟩ + c, with ``weight`` (d,) and ``constant`` ()."""

    def __init__(self, weight: Tensor, rates: tuple[float, ...]) -> None:
        self.weight = weight
        self.constant = weight.new_zeros(())
        self.features = f"linear: {len(weight)} coordinates and a constant"
        self.rates = rates

    def margin(self, x: Tensor, y: Tensor) -> Tensor:
        """y f(x): (n,)."""
        margin: Tensor = torch.mv(x, self.weight).add_(self.constant).mul_(y)
        return margin

    def input_gradient(self, x: Tensor, y: Tensor) -> Tensor:
        """−y w for each sample: (n, d)."""
        return torch.outer(y.neg(), self.weight)

    def sgd_step(self, x: Tensor, y: Tensor, lr: float, decay: float) -> Tensor:
        """One SGD step, see :meth:`Baseline.sgd_step`."""
        margin = self.margin(x, y)
        pull = _pull(margin, y, lr)
        self.weight.mul_(1 - lr * decay).addmv_(x.T, pull)
        self.constant.add_(pull.sum())
        return margin

    def worst_margin(self, x: Tensor, y: Tensor, norm: str, tau: float) -> Tensor:
        """The smallest margin in the ball, exactly: y f(x) − tau·‖w‖, with the dual norm of ``norm``: (n,)."""
        size: Tensor = torch.linalg.vector_norm(self.weight, {"l2": 2, "linf": 1}[norm])
        return self.margin(x, y).sub_(size, alpha=tau)


class Polynomial:
    """A polynomial of degree 2 or 3 with all its monomials, as symmetric tensors.

    f(x) = c + ⟨w,x⟩ + xᵀAx + T(x,x,x), with A (d, d) and T (d, d, d) symmetric: SGD on them is SGD on the monomials,
    each scaled by the root of the number of its orderings. T is left out (None) for degree 2.
    """

    def __init__(self, like: Tensor, d: int, degree: int, rates: tuple[float, ...]) -> None:
        self.constant = like.new_zeros(())
        self.weight = like.new_zeros(d)
        self.square = like.new_zeros(d, d)
        self.cube = like.new_zeros(d, d, d) if degree == 3 else None
        self.features = f"degree {degree}, exact: all {monomials(d, degree)} monomials"
        self.rates = rates

    def _parts(self, x: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """A x (n, d), the pairs x⊗x (n, d²) and T(x,x,·) (n, d); the latter two None for degree 2."""
        if self.cube is None:
            return x @ self.square, None, None
        pairs = (x.unsqueeze(2) * x.unsqueeze(1)).flatten(1)
        return x @ self.square, pairs, pairs @ self.cube.flatten(0, 1)

    def _margin(self, x: Tensor, y: Tensor, squares: Tensor, cubes: Tensor | None) -> Tensor:
        slope = squares if cubes is None else squares + cubes
        return ((slope + self.weight) * x).sum(1).add_(self.constant).mul_(y)

    def margin(self, x: Tensor, y: Tensor) -> Tensor:
        """y f(x): (n,)."""
        squares, _, cubes = self._parts(x)
        return self._margin(x, y, squares, cubes)

    def input_gradient(self, x: Tensor, y: Tensor) -> Tensor:
        """−y (w + 2Ax + 3T(x,x,·)): (n, d)."""
        squares, _, cubes = self._parts(x)
        slope = squares.mul_(2).add_(self.weight)
        if cubes is not None:
            slope.add_(cubes, alpha=3)
        return slope.mul_(y.neg().unsqueeze(1))

    def sgd_step(self, x: Tensor, y: Tensor, lr: float, decay: float) -> Tensor:
        """One SGD step, see :meth:`Baseline.sgd_step`."""
        squares, pairs, cubes = self._parts(x)
        margin = self._margin(x, y, squares, cubes)
        pull = _pull(margin, y, lr)
        keep = 1 - lr * decay
        self.constant.add_(pull.sum())
        self.weight.mul_(keep).addmv_(x.T, pull)
        pulled = x * pull.unsqueeze(1)
        self.square.mul_(keep).addmm_(x.T, pulled)
        if self.cube is not None and pairs is not None:
            self.cube.flatten(0, 1).mul_(keep).addmm_(pairs.T, pulled)
        return margin


class FactorisedCubic:
    """A cubic as a sum of cubes: f(x) = c + ⟨w,x⟩ + Σᵣ ⟨uᵣ,x⟩³, with ``factors`` (r, d).

    Every symmetric tensor of order 3 is such a sum, for r large enough (a sign goes into u). There is no quadratic
    term: the world is symmetric under (x, y) → (−x, −y), so [f(x) − f(−x)]/2 has no greater loss than f.
    """

    def __init__(self, factors: Tensor, rates: tuple[float, ...]) -> None:
        r, d = factors.shape
        self.factors = factors
        self.weight = factors.new_zeros(d)
        self.constant = factors.new_zeros(())
        self.features = f"degree 3, factorised: {r} cubes ⟨u,x⟩³, linear and constant terms"
        self.rates = rates

    def _margin(self, x: Tensor, y: Tensor, u: Tensor) -> Tensor:
        # u·u·u: pow(3) is several times slower.
        return (u * u).mul_(u).sum(1).add_(torch.mv(x, self.weight)).add_(self.constant).mul_(y)

    def margin(self, x: Tensor, y: Tensor) -> Tensor:
        """y f(x): (n,)."""
        return self._margin(x, y, x @ self.factors.T)

    def input_gradient(self, x: Tensor, y: Tensor) -> Tensor:
        """−y (w + 3 Σᵣ ⟨uᵣ,x⟩² uᵣ): (n, d)."""
        u = x @ self.factors.T
        return torch.addmm(self.weight, u.square_(), self.factors, alpha=3).mul_(y.neg().unsqueeze(1))

    def sgd_step(self, x: Tensor, y: Tensor, lr: float, decay: float) -> Tensor:
        """One SGD step, see :meth:`Baseline.sgd_step`."""
        u = x @ self.factors.T
        margin = self._margin(x, y, u)
        pull = _pull(margin, y, lr)
        keep = 1 - lr * decay
        self.constant.add_(pull.sum())
        self.weight.mul_(keep).addmv_(x.T, pull)
        self.factors.mul_(keep).addmm_(u.square_().T, x.mul_(pull.unsqueeze(1)), alpha=3)
        return margin


class Ntk:
    """The network's tangent kernel: f(x) = c + Σᵢ ⟨θᵢ,x⟩ 1[|⟨wᵢ,x⟩| > b] with w (m, d), here ``start``, frozen.

    ``theta`` (m, d) is trained. The gates are constant but for a set of measure zero, so the gradient in x,
    Σᵢ 1[...] θᵢ, holds them fixed. ``note`` says which neurons these are.
    """

    def __init__(self, start: Tensor, bias: float, rates: tuple[float, ...], note: str = " at their start") -> None:
        m, d = start.shape
        self.start = start
        self.bias = bias
        self.theta = torch.zeros_like(start)
        self.constant = start.new_zeros(())
        self.features = f"NTK: {m * d} features x·1[|⟨w,x⟩| > {bias:.3g}] of {m} neurons{note}"
        self.rates = rates

    def gates(self, x: Tensor) -> Tensor:
        """Which gates are open, 1.0 or 0.0: (n, m)."""
        u = x @ self.start.T
        return torch.gt(u.abs_(), self.bias, out=u)

    def _margin(self, x: Tensor, y: Tensor, gates: Tensor) -> Tensor:
        return (x @ self.theta.T).mul_(gates).sum(1).add_(self.constant).mul_(y)

    def margin(self, x: Tensor, y: Tensor) -> Tensor:
        """y f(x): (n,)."""
        return self._margin(x, y, self.gates(x))

    def input_gradient(self, x: Tensor, y: Tensor) -> Tensor:
        """−y Σᵢ 1[...] θᵢ: (n, d)."""
        return (self.gates(x) @ self.theta).mul_(y.neg().unsqueeze(1))

    def sgd_step(self, x: Tensor, y: Tensor, lr: float, decay: float) -> Tensor:
        """One SGD step, see :meth:`Baseline.sgd_step`."""
        gates = self.gates(x)
        margin = self._margin(x, y, gates)
        pull = _pull(margin, y, lr)
        self.constant.add_(pull.sum())
        self.theta.mul_(1 - lr * decay).addmm_(gates.T, x.mul_(pull.unsqueeze(1)))
        return margin


def _rates(size: Tensor | float, *multiples: float) -> tuple[float, ...]:
    """Learning rates in units of 1/E‖∂f/∂θ‖²: SGD on softplus is stable to 8, and beyond where no feature dominates."""
    return tuple(m / max(float(size), 1e-12) for m in multiples)


def _power(x: Tensor) -> Tensor:
    return x.square().sum(1)


@baselines.register("linear")
def linear(config: SparseCodingConfig, x: Tensor) -> Baseline:
    """A linear classifier that starts at 0."""
    return Linear(x.new_zeros(x.shape[1]), _rates(_power(x).mean(), 2, 8, 32))


@baselines.register("quadratic")
def quadratic(config: SparseCodingConfig, x: Tensor) -> Baseline:
    """The polynomial of degree 2, exact, that starts at 0."""
    power = _power(x)
    return Polynomial(x, x.shape[1], 2, _rates((power + power**2).mean(), 2, 8, 32))


@baselines.register("cubic")
def cubic(config: SparseCodingConfig, x: Tensor) -> Baseline:
    """The polynomial of degree 3: exact, from 0, up to ``EXACT_FEATURES`` monomials, else factorised, from noise."""
    d, power = x.shape[1], _power(x)
    if monomials(d, 3) <= EXACT_FEATURES:
        return Polynomial(x, d, 3, _rates((power + power**2 + power**3).mean(), 4, 16, 64))
    factors = torch.empty(FACTORS_PER_DIMENSION * d, d).normal_(
        0, FACTOR_SCALE, generator=seeded(config.seed, "rival cubic factors")
    )
    return FactorisedCubic(factors.to(x.device), _rates((power**3).mean(), 64, 128, 256))


@baselines.register("ntk")
def ntk(config: SparseCodingConfig, x: Tensor) -> Baseline:
    """The NTK of the first ``NTK_UNITS`` neurons of this very run's network.

    b is chosen so that the share ``NTK_SHARE`` of the gates is open on x. At the network's own first bias,
    sigma_0·√(2 ln d), it would be a few in a hundred, and the kernel much less robust (0.45, not 0.69, at d = 100).
    """
    start = torch.empty(config.model.m, config.world.d).normal_(
        0, config.model.sigma_0, generator=seeded(config.seed, "weight")
    )[:NTK_UNITS]
    start = start.to(x.device)
    u = (x[:1000] @ start.T).abs_().flatten()
    bias = float(u.kthvalue(max(1, round((1 - NTK_SHARE) * u.numel()))).values)
    few = f" (of {config.model.m})" if len(start) < config.model.m else ""
    size = NTK_SHARE * len(start) * _power(x).mean()
    return Ntk(start, bias, _rates(size, 1, 4, 16), f" at their start{few}, {NTK_SHARE:.0%} of the gates open")


NTK_NOW = "ntk_now"


def ntk_now(network: SymmetricRelu) -> Build:
    """The NTK of ``network`` as it is now, with its own bias: its gates on x are the network's.

    Neurons that no input of x opens are left out: they are no features of it.
    """

    def build(config: SparseCodingConfig, x: Tensor) -> Baseline:
        gates = network.active(x)
        opened = gates.sum(0) > 0
        used = opened if bool(opened.any()) else torch.ones_like(opened)
        size = (gates.sum(1) * _power(x)).mean()
        share = float(gates[:, used].mean())
        note = f" as they are now (of {len(used)}), {share:.0%} of the gates open"
        return Ntk(network.weight[used].clone(), network.bias, _rates(size, 1, 4, 16), note)

    return build
