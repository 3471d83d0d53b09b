"""Threat models: for each norm how to project onto its ball, where the steepest step goes, where to start."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from engine.core.lazy_torch import torch
from engine.core.registry import Registry

TINY = 1e-12


@dataclass(frozen=True, slots=True)
class Threat:
    """The ball ‖δ‖ ≤ tau of one norm in R^d. All tensors are batches (n, ...); a row's dimensions are flattened.

    ``size(delta)`` (n,) norms; ``steepest(gradient, out)`` unit vectors that increase a linear function fastest;
    ``project(delta, tau)`` in place, onto the ball; ``start(delta, tau, generator)`` in place, a uniform point of it.
    """

    norm: str
    size: Callable[[torch.Tensor], torch.Tensor]
    steepest: Callable[[torch.Tensor], torch.Tensor]
    project: Callable[[torch.Tensor, float], torch.Tensor]
    start: Callable[[torch.Tensor, float, torch.Generator], torch.Tensor]


threats: Registry[Threat] = Registry("attack.norm")


def _rows(values: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    return values.view(-1, *[1] * (like.dim() - 1))


def _l2_size(delta: torch.Tensor) -> torch.Tensor:
    size: torch.Tensor = torch.linalg.vector_norm(delta.flatten(1), dim=1)
    return size


def _l2_steepest(gradient: torch.Tensor) -> torch.Tensor:
    """Overwrite with gradient/‖gradient‖; a zero gradient stays zero."""
    return gradient.div_(_rows(_l2_size(gradient).clamp_min_(TINY), gradient))


def _l2_project(delta: torch.Tensor, tau: float) -> torch.Tensor:
    size = _l2_size(delta).clamp_min_(max(tau, torch.finfo(delta.dtype).tiny))
    return delta.mul_(_rows(torch.full_like(size, tau).div_(size), delta))  # exactly 1 inside the ball


def _l2_start(delta: torch.Tensor, tau: float, generator: torch.Generator) -> torch.Tensor:
    delta.normal_(0, 1, generator=generator)
    radius = torch.rand(len(delta), generator=generator, device=delta.device).pow_(1 / delta[0].numel())
    return _l2_steepest(delta).mul_(_rows(radius.mul_(tau), delta))


def _linf_size(delta: torch.Tensor) -> torch.Tensor:
    return delta.flatten(1).abs().amax(dim=1)


def _linf_start(delta: torch.Tensor, tau: float, generator: torch.Generator) -> torch.Tensor:
    return delta.uniform_(-tau, tau, generator=generator)


threats.register("l2")(Threat("l2", _l2_size, _l2_steepest, _l2_project, _l2_start))
threats.register("linf")(
    Threat(
        "linf", _linf_size, lambda gradient: gradient.sign_(), lambda delta, tau: delta.clamp_(-tau, tau), _linf_start
    )
)
