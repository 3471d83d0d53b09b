"""The certificate: a lower bound on the margin under *every* perturbation of a ball (SPEC.md section 5).

An attack bounds robust accuracy from above; this bounds it from below. S_b is odd, so with hᵢ = y⟨wᵢ,x⟩ and
tᵢ = y⟨wᵢ,δ⟩ the margin is y f(x+δ) = Σᵢ S_b(hᵢ + tᵢ), and on |tᵢ| ≤ rᵢ each term lies above a quadratic
vᵢ + aᵢtᵢ − λᵢtᵢ². Their sum, a trust-region problem in δ (the sign y is absorbed: the ball is symmetric), has strong
duality, and its dual is one-dimensional given the eigenvalues of Q = Wᵀ diag(λ) W. Everything is float64 on the CPU.

Where λ = 0 for all neurons this is a linear relaxation in the manner of CROWN (Zhang et al. 2018, arXiv 1811.00866).
"""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from engine.core.measurement import Measurement
from engine.core.slices import finish
from engine.probes.robustness import Measured

BLOCK = 256  # samples whose neurons are bounded together
ENTRIES = 1 << 17  # of the weights gathered for one batch of eigenvalue problems (1 MiB): one slice
ROUNDING = 1e-5  # a sample is certified with this much to spare: networks are evaluated in float32, bounds are not
SHARPEST = 1e-6  # half-width over which a kink is rounded at least, so that no curvature is infinite
RANK = 1e-12  # eigenvalues below this share of the largest one count as zero
BISECTIONS = 60  # any multiplier gives a valid bound; these give the best one to machine precision

CERTIFIED = "certified (no perturbation fools)"
CERTIFIED_LINF = "certified (no perturbation fools; by the ℓ2 ball around the ℓ∞ ball, or linear relaxation)"

T = TypeVar("T")
Slices = Generator[None, None, T]


@dataclass(frozen=True, slots=True)
class Minorant:
    """S_b(h + t) ≥ ``value`` + ``slope``·t − ``curvature``·t² for |t| ≤ r. All three have the shape of h."""

    value: Tensor
    slope: Tensor
    curvature: Tensor


@dataclass(frozen=True, slots=True)
class Bounds:
    """Lower bounds (n,), float64, on y f(x+δ) over the ball; ``margin`` is y f(x).

    ``linear`` is the better of the highest lines and of constants, each neuron at its own minimum, which is exact for a
    single neuron; ``quadratic`` is −∞ where it was not needed. ``scale`` (n,) is the size of what was summed up, for
    rounding errors.
    """

    margin: Tensor
    linear: Tensor
    quadratic: Tensor
    scale: Tensor

    @property
    def best(self) -> Tensor:
        """The better of the two (n,)."""
        return torch.maximum(self.linear, self.quadratic)

    @property
    def certified(self) -> Tensor:
        """Whether the answer is right under every perturbation, rounding errors of float32 included (n,)."""
        return self.best > ROUNDING * (1 + self.scale)


# --- one neuron


def soft_threshold(v: Tensor, b: float) -> Tensor:
    """S_b(v) = sign(v)·max(|v| − b, 0)."""
    return v - v.clamp(-b, b)


def quadratic_minorant(h: Tensor, r: Tensor, b: float) -> Minorant:
    """The quadratic below S_b(h + ·) on [−r, r], for h and r ≥ 0 of one shape (SPEC.md section 5).

    It touches S_b at t = 0. Only within ``SHARPEST`` of the concave kink at −b, where that would need a curvature above
    1/(4·SHARPEST), it touches at that distance from the kink instead.
    """
    silent = (h > -b) & (h < b)
    gap = torch.where(silent, h + b, -b - h)  # distance to the concave kink
    reach = torch.where(silent, r, torch.minimum(r, gap + 2 * b))
    curvature = torch.where(reach >= 2 * gap, 0.25 / gap.clamp_min(1e-300), (reach - gap) / reach.square())
    curvature = torch.where((reach > gap) & (h < b), curvature, 0.0)
    slope = torch.where(silent, 0.0, 1.0).to(h)
    value = soft_threshold(h, b)
    blunt = curvature > 0.25 / SHARPEST
    if bool(blunt.any()):
        # min(u, 0) = u/2 − |u|/2 ≥ u/2 − u²/4e − e/4 for u the distance from the kink and any e > 0.
        tilt = (1 - gap / SHARPEST) / 2
        slope = torch.where(blunt, torch.where(silent, tilt, 1 - tilt), slope)
        value = torch.where(blunt, value - (SHARPEST - gap).square() * (0.25 / SHARPEST), value)
        curvature = curvature.clamp_max(0.25 / SHARPEST)
    return Minorant(value, slope, curvature)


def linear_minorant(h: Tensor, r: Tensor, b: float) -> Minorant:
    """The line below S_b(h + ·) on [−r, r] that is highest at t = 0: it supports the convex hull of S_b there."""
    low, high = h - r, h + r
    at_low = soft_threshold(low, b)
    # Up to the convex kink at b the hull is the chord from the lower end; it ends there, or at the upper end.
    end = high.clamp_max(b)
    chord = ((soft_threshold(end, b) - at_low) / (end - low).clamp_min(1e-300)).clamp(0, 1)
    kinked = (low < -b) & (h < b)
    slope = torch.where(kinked, chord, torch.where((h >= b) | (h <= -b), 1.0, 0.0).to(h))
    # Rounding of the chord must not lift the line: it goes through the lower of what both ends allow.
    value = torch.where(kinked, torch.minimum(at_low + slope * r, soft_threshold(end, b) - slope * (end - h)), 0.0)
    return Minorant(torch.where(kinked, value, soft_threshold(h, b)), slope, torch.zeros_like(h))


# --- all neurons


def ball_minimum(eigenvalues: Tensor, squares: Tensor, tau: Tensor) -> Tensor:
    """A lower bound on min ⟨c,δ⟩ − Σⱼ qⱼδⱼ² over ‖δ‖ ≤ ``tau`` (n,), for q ≥ 0 and c² each (n, k): (n,).

    The dual −¼ Σⱼ cⱼ²/(mu − qⱼ) − mu·tau², at the mu ≥ max q that bisection finds. Every such mu gives a bound, and the
    best one the minimum itself.
    """
    tau = tau.clamp_min(1e-150).unsqueeze(1)  # a radius of 0 then needs no case of its own
    top = eigenvalues.amax(1, keepdim=True)
    gap, size = top - eigenvalues, squares.sqrt()
    total = torch.linalg.vector_norm(size, dim=1, keepdim=True)
    low = torch.linalg.vector_norm(torch.where(gap <= 0, size, 0.0), dim=1, keepdim=True) / (2 * tau)
    high = total / (2 * tau)

    def dual(beyond: Tensor) -> Tensor:
        quotient = size * (size / (beyond + gap).clamp_min(1e-150))  # a coordinate with c = 0 contributes nothing
        return -quotient.sum(1) / 4 - ((top + beyond) * tau.square()).squeeze(1)

    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        length = torch.linalg.vector_norm(size / (middle + gap).clamp_min(1e-150), dim=1, keepdim=True)
        outside = length > 2 * tau  # the minimiser at this mu has left the ball: mu must grow
        low, high = torch.where(outside, middle, low), torch.where(outside, high, middle)
    return torch.maximum(dual(low), dual(high))


def _eigen(weight: Tensor, curvature: Tensor, slope: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues of Q and the squares of ``slope`` (n, d) along its eigenvectors, by way of the smaller Gram matrix.

    Only the k neurons that curve at most, of ``weight`` (m, d) with ``curvature`` (n, m), are looked at. In one thread:
    LAPACK's many small steps on matrices of this size lose more by waking a second one than that can do for them.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return _eigen_in_one_thread(weight, curvature, slope)
    finally:
        torch.set_num_threads(threads)


def _eigen_in_one_thread(weight: Tensor, curvature: Tensor, slope: Tensor) -> tuple[Tensor, Tensor]:
    k, d = int((curvature > 0).sum(1).max()), weight.shape[1]
    values, neurons = curvature.topk(k, dim=1)
    root = weight[neurons].mul_(values.sqrt().unsqueeze(2))  # (n, k, d): Q = rootᵀ root
    if k >= d:
        eigenvalues, vectors = torch.linalg.eigh(root.mT @ root)
        return eigenvalues.clamp_min_(0), (vectors.mT @ slope.unsqueeze(2)).squeeze(2).square_()
    eigenvalues, vectors = torch.linalg.eigh(root @ root.mT)
    along = (vectors.mT @ (root @ slope.unsqueeze(2))).squeeze(2).square_()
    solid = eigenvalues > RANK * eigenvalues[:, -1:]
    squares = torch.where(solid, along / eigenvalues.clamp_min(1e-300), 0.0)
    rest = (slope.square().sum(1) - squares.sum(1)).clamp_min(0).unsqueeze(1)  # where Q is zero
    return (
        torch.cat([torch.where(solid, eigenvalues, 0.0), torch.zeros_like(rest)], 1),
        torch.cat([squares, rest], 1),
    )


# --- all samples


def bounds(
    weight: Tensor, bias: float, x: Tensor, y: Tensor, tau: float | Tensor, norm: str = "l2", *, decide: bool = False
) -> Slices[Bounds]:
    """Bound y f(x+δ) from below over ‖δ‖ ≤ ``tau``, for f(x) = Σᵢ S_b(⟨wᵢ,x⟩), yielding between slices.

    ``weight`` (m, d), ``bias`` b ≥ 0, x (n, d), y (n,) in {−1, +1}; ``tau`` one radius or one a sample
    (n,). With ``decide`` the quadratic bound is left out for
    samples that are wrong already, or that the linear one certifies. Raises ``ValueError`` for a radius or bias that is
    negative or not finite, or an unknown norm.

    For ℓ∞ the quadratic bound is that of the ℓ2 ball around the ℓ∞ ball, of radius √d·tau, though with the reach of the
    ℓ∞ ball, tau·‖wᵢ‖₁, for each neuron; the linear bound is that of the ℓ∞ ball itself.
    """
    radius = torch.as_tensor(tau, dtype=torch.float64, device="cpu").expand(len(y))
    if not (bool(((radius >= 0) & radius.isfinite()).all()) and 0 <= bias < math.inf):
        raise ValueError(f"a certificate needs a radius and a bias that are finite and not negative: {tau}, {bias}")
    if norm not in ("l2", "linf"):
        raise ValueError(f"no certificate for the norm {norm!r}; there is one for l2 and linf")
    w, x, y = (t.detach().to("cpu", torch.float64) for t in (weight, x, y))
    dual = 2 if norm == "l2" else 1
    length = torch.linalg.vector_norm(w, ord=dual, dim=1)
    around = radius if norm == "l2" else radius * math.sqrt(w.shape[1])
    found = []
    for start in range(0, len(y), BLOCK):
        rows = slice(start, start + BLOCK)
        h = (x[rows] @ w.T).mul_(y[rows].unsqueeze(1))
        r = radius[rows].unsqueeze(1) * length
        output = soft_threshold(h, bias)
        line = linear_minorant(h, r, bias)
        linear = line.value.sum(1) - radius[rows] * torch.linalg.vector_norm(line.slope @ w, ord=dual, dim=1)
        linear = torch.maximum(linear, soft_threshold(h - r, bias).sum(1))  # lines without slope: each neuron's minimum
        block = Bounds(output.sum(1), linear, torch.full_like(linear, -math.inf), output.abs().sum(1))
        yield
        wanted = (block.margin > 0) & ~block.certified if decide else torch.ones_like(linear, dtype=torch.bool)
        if bool(wanted.any()):
            below = quadratic_minorant(h[wanted], r[wanted], bias)
            block.quadratic[wanted] = yield from _quadratic(w, below, around[rows][wanted])
        found.append(block)
    if not found:
        empty = x.new_empty(0)
        return Bounds(empty, empty, empty, empty)
    return Bounds(*(torch.cat([getattr(b, name) for b in found]) for name in Bounds.__dataclass_fields__))


def _quadratic(weight: Tensor, below: Minorant, tau: Tensor) -> Slices[Tensor]:
    """The quadratic bound (n,) from the neurons' minorants, one batch of eigenvalue problems a slice."""
    result, slope = below.value.sum(1), below.slope @ weight
    count = (below.curvature > 0).sum(1)
    result -= torch.where(count == 0, tau * torch.linalg.vector_norm(slope, dim=1), 0.0)
    order = count.argsort(descending=True)  # of similar rank together: little is padded
    order = order[: int((count > 0).sum())]
    while len(order):
        size = max(1, ENTRIES // (int(count[order[0]]) * weight.shape[1]))
        rows, order = order[:size], order[size:]
        result[rows] += ball_minimum(*_eigen(weight, below.curvature[rows], slope[rows]), tau[rows])
        yield
    return result


def slice_count(weight: Tensor, n: int) -> int:
    """An upper bound on the slices that bounding ``n`` samples at one radius takes, for ``weight`` (m, d)."""
    return -(-n // BLOCK) + -(-n // max(1, ENTRIES // weight.numel())) + 1


def lower_bounds(weight: Tensor, bias: float, x: Tensor, y: Tensor, tau: float, norm: str = "l2") -> Tensor:
    """The better of both bounds for each sample (n,), float64, in one go; see :func:`bounds`."""
    return finish(bounds(weight, bias, x, y, tau, norm)).best


def protocol(norm: str, tau: float, n: int) -> Measurement:
    """The protocol of a certified accuracy, which says for ℓ∞ what kind of bound it is."""
    return Measurement(CERTIFIED if norm == "l2" else CERTIFIED_LINF, norm, tau, 0, 0, n)


def certified(
    weight: Tensor, bias: float, x: Tensor, y: Tensor, radii: Sequence[float], norm: str = "l2"
) -> Slices[tuple[Measured, ...]]:
    """Certified accuracy at each of ``radii``, in their order; see :func:`bounds` for the rest."""
    n = len(y)
    sure = torch.zeros(n, dtype=torch.bool)
    open_ = torch.ones(n, dtype=torch.bool)  # not certified at a larger radius, which certifies the smaller ones
    right: dict[float, int] = {}
    for tau in sorted(set(radii), reverse=True):
        found = yield from bounds(weight, bias, x[open_.to(x.device)], y[open_.to(y.device)], tau, norm, decide=True)
        sure[open_] = found.certified
        open_ = ~sure
        right[tau] = int(sure.sum())
    return tuple(Measured(right[tau], protocol(norm, tau, n)) for tau in radii)


def certified_radius(
    weight: Tensor, bias: float, x: Tensor, y: Tensor, limit: float, norm: str = "l2", *, halvings: int = 10
) -> Slices[Tensor]:
    """For each sample a radius up to ``limit`` at which it is certified (n,), float64; 0 where none was found.

    All samples are bisected at once, to ``limit``/2^``halvings``. What is returned was certified itself, so it holds
    whatever the bound does between the radii that were looked at.
    """
    low, high = torch.zeros(len(y), dtype=torch.float64), torch.full((len(y),), float(limit), dtype=torch.float64)
    trial = high
    for _ in range(halvings + 1):
        rows = low < high
        there, here = rows.to(x.device), rows.to(y.device)
        found = yield from bounds(weight, bias, x[there], y[here], trial[rows], norm, decide=True)
        low[rows] = torch.where(found.certified, trial[rows], low[rows])
        high[rows] = torch.where(found.certified, high[rows], trial[rows])
        trial = (low + high) / 2
    return low
