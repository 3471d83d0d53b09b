"""Feature visualisation: the pictures that activate units of a network most (paper, section 5; SPEC.md section 8).

Gradient ascent on the input and nothing else: no smoothing, no jitter, no prior. What makes a picture look like
something is the network; that is the point of comparing them before and after adversarial training.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from engine.core.arrays import frozen
from engine.core.errors import ConfigError
from engine.core.generators import seeded
from engine.core.quoting import quote
from engine.core.results import FeatureRequest, Features
from engine.data.images import BOX
from engine.models.layers import Layer, layer

ORIGINS = ("noise", "image")
GREY, NOISE = 0.5, 0.02  # mean and standard deviation of the pixels of the noise that an ascent begins from
REACH = 2.5  # the steps together are so many times tau long
ROUNDS = 25  # how often each moment's pictures are shown before they are done
# Weights times pictures in one slice: 48 pictures for the AlexNet-like network, 2 for ResNet-18, some tens of
# milliseconds on two cores. It depends on nothing that differs from one computer to the next.
SLICE = 3e7
MOST = 64


def check(network: nn.Module, request: FeatureRequest, images: int | None = None) -> None:
    """Raise :class:`ConfigError` naming what is wrong with ``request`` for this network.

    ``images`` is the number of held-out images there are; None where the image was chosen already.
    """
    found = layer(network, request.layer, "layer")
    for unit in request.units:
        if not 0 <= unit < found.info.units:
            raise ConfigError(f"units: got {unit}; allowed for {request.layer}: 0 to {found.info.units - 1}")
    if request.origin not in ORIGINS:
        raise ConfigError(f"origin: got {quote(request.origin)}; allowed: {', '.join(ORIGINS)}")
    if not (math.isfinite(request.tau) and request.tau > 0):
        raise ConfigError(f"tau: got {request.tau:g}; allowed: a number above 0")
    if request.steps < 1:
        raise ConfigError(f"steps: got {request.steps}; allowed: a whole number from 1")
    if images is not None and request.origin == "image" and not 0 <= request.image < images:
        raise ConfigError(f"image: got {request.image}; allowed: 0 to {images - 1}, the held-out images")


def origin_of(request: FeatureRequest, image: Tensor | None, shape: tuple[int, int, int], seed: int) -> Tensor:
    """Where the ascent begins, (C, H, W) on the CPU: grey with a little noise, the same for a seed, or ``image``."""
    if request.origin == "noise":
        noise = torch.randn(shape, generator=seeded(seed, "features"))
        return noise.mul_(NOISE).add_(GREY).clamp_(*BOX)
    if image is None or image.shape != shape:
        raise ConfigError("image: got none of the data's shape; allowed with origin = 'image': a held-out image")
    return image.detach().float().cpu()


def visualise(
    networks: Mapping[str, nn.Module],
    request: FeatureRequest,
    image: Tensor | None,
    shape: tuple[int, int, int],
    step: int,
    seed: int,
) -> Generator[Features | None, None, Features]:
    """Climb from one origin to what activates each unit of ``request`` most, in every network of ``networks``.

    ``networks`` maps moments (``start``, ``clean``, ``now``) to networks in evaluation mode; ``image`` (C, H, W) is the
    origin if the request says so; ``shape`` is (C, H, W) and ``step`` that of ``now``. What is climbed is the mean over
    the unit's positions of its pre-activation, after its batch norm if there is one: the ReLU's zero would be a plateau
    without gradient. Steps go along the gradient divided by its ℓ2 norm, 2.5·tau/steps long at first and, falling as
    half a cosine, almost 0 at last; each is followed by projections on the ball of radius ``tau`` around the origin and
    on [0, 1]. The best picture of each ascent is kept, so none activates its unit less than the origin does.

    Yields after every slice: None, or whenever some steps more are done for a moment, what there is by then. Moments
    take turns. Between slices no hook is on a network; closing the generator leaves everything as it was.

    Raises :class:`ConfigError` as :func:`check` does, before the first slice.
    """
    for network in networks.values():
        check(network, request)
    origin = origin_of(request, image, shape, seed)
    climbs = {moment: _Climb.begin(network, request, origin) for moment, network in networks.items()}

    def result() -> Features:
        done = sum(c.done for c in climbs.values()) / max(1, sum(c.steps for c in climbs.values()))
        return Features(
            request=request, step=step, origin=frozen(origin),
            pictures={moment: frozen(c.best) for moment, c in climbs.items()},
            activations={moment: frozen(c.value) for moment, c in climbs.items()},
            share=done,
        )  # fmt: skip

    yield result()
    length = max(1, -(-request.steps // ROUNDS))
    for start in range(0, request.steps, length):
        for climb in climbs.values():
            for _ in range(start, min(start + length, request.steps)):
                for rows in climb.slices():
                    climb.climb(rows)
                    yield None
                climb.done += 1
            yield result()
    for climb in climbs.values():
        for rows in climb.slices():
            climb.look(rows)
            yield None
    return result()


@dataclass
class _Climb:
    """One network's ascents: ``x`` where they are, ``best`` the best pictures met, ``value`` their activations."""

    network: nn.Module
    layer: Layer
    units: Tensor
    origin: Tensor
    tau: float
    steps: int
    per_slice: int
    x: Tensor
    best: Tensor
    value: Tensor
    done: int = 0

    @classmethod
    def begin(cls, network: nn.Module, request: FeatureRequest, origin: Tensor) -> _Climb:
        found = layer(network, request.layer, "layer")
        device = found.module.weight.device
        units = torch.tensor(request.units, dtype=torch.int64, device=device)
        origin = origin.to(device)
        x = origin.expand(len(units), *origin.shape).clone()
        weights = sum(p.numel() for p in network.parameters())
        per_slice = max(1, min(MOST, round(SLICE / weights)))
        with torch.no_grad():
            value = _means(_output(network, found, origin[None]), found)[0, units]
        return cls(network, found, units, origin, request.tau, request.steps, per_slice, x, x.clone(), value.clone())

    def slices(self) -> list[slice]:
        return [slice(i, i + self.per_slice) for i in range(0, len(self.units), self.per_slice)]

    def climb(self, rows: slice) -> None:
        with torch.enable_grad():  # the engine's thread has it off
            point = self.x[rows].detach().requires_grad_()
            values = self._values(point, rows)
            (slope,) = torch.autograd.grad(values.sum(), point)
        self._keep(rows, values.detach())
        with torch.no_grad():
            slope = slope.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)
            along = slope / _norms(slope).clamp_min(torch.finfo(slope.dtype).tiny)
            size = REACH * self.tau / self.steps * 0.5 * (1 + math.cos(math.pi * self.done / self.steps))
            moved = self.x[rows] + size * along - self.origin
            moved *= (self.tau / _norms(moved).clamp_min(torch.finfo(moved.dtype).tiny)).clamp_max(1.0)
            # The origin is in the box, so that going to its nearest point leads no picture out of the ball.
            self.x[rows] = (self.origin + moved).clamp_(*BOX)

    def look(self, rows: slice) -> None:
        """Whether the last step led higher."""
        with torch.no_grad():
            self._keep(rows, self._values(self.x[rows], rows))

    def _values(self, x: Tensor, rows: slice) -> Tensor:
        return _means(_output(self.network, self.layer, x), self.layer).gather(1, self.units[rows, None])[:, 0]

    def _keep(self, rows: slice, values: Tensor) -> None:
        better = values > self.value[rows]
        self.value[rows] = torch.where(better, values, self.value[rows])
        self.best[rows] = torch.where(better.view(-1, 1, 1, 1), self.x[rows], self.best[rows])


def _norms(x: Tensor) -> Tensor:
    """ℓ2 norms of pictures (n, C, H, W), as (n, 1, 1, 1)."""
    norms: Tensor = torch.linalg.vector_norm(x, dim=(1, 2, 3), keepdim=True)
    return norms


def _means(output: Tensor, chosen: Layer) -> Tensor:
    """A layer's output as means over positions (n, units); a convolution's is (n, units, h, w), a linear layer's
    (n, …, units)."""
    if isinstance(chosen.module, nn.Linear):
        return output.reshape(len(output), -1, output.shape[-1]).mean(1) if output.dim() > 2 else output
    return output.mean((2, 3))


class _Reached(Exception):  # noqa: N818 - a signal, no fault
    def __init__(self, output: Tensor) -> None:
        self.output = output


def _output(network: nn.Module, chosen: Layer, x: Tensor) -> Tensor:
    """What the layer (its batch norm, if there is one) puts out for x; nothing behind it is computed.

    So no ReLU in place changes the output either.
    """

    def stop(_module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
        raise _Reached(output)

    handle = (chosen.module if chosen.norm is None else chosen.norm).register_forward_hook(stop)
    try:
        network(x)
    except _Reached as reached:
        return reached.output
    finally:
        handle.remove()
    raise ConfigError(f"layer: got {chosen.name!r}, which puts nothing out by itself; allowed: another layer")
