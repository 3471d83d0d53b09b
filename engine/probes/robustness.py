"""Accuracy without and under attack, in slices (SPEC.md sections 3 and 4)."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor

from engine.attacks.base import Attack, Box, Classifier, Setting, Size, attacks
from engine.attacks.threat import threats
from engine.core import metrics
from engine.core.errors import ConfigError
from engine.core.measurement import Measurement, figure
from engine.core.quoting import quote

CHUNK = 256  # samples in one slice: small enough that a slice stays within a few milliseconds


@dataclass(frozen=True, slots=True)
class Measured:
    """An accuracy (``right`` of ``protocol.n`` samples) and how it was measured; ``which`` (n,) are right, if known."""

    right: int
    protocol: Measurement
    which: Tensor | None = field(default=None, compare=False, repr=False)

    @property
    def accuracy(self) -> float:
        """Share of samples that are still right."""
        return self.right / self.protocol.n

    @property
    def figure(self) -> dict[str, Any]:
        """Value, 95% Wilson interval and protocol, ready for JSON."""
        return figure(self.accuracy, self.protocol)

    def to_json(self) -> dict[str, Any]:
        """What it says, but for which samples are right."""
        return {"right": self.right, "protocol": asdict(self.protocol)}

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Measured:
        """Inverse of :meth:`to_json`."""
        return cls(found["right"], Measurement(**found["protocol"]))


def build(protocol: Measurement, direction: Tensor | None, box: Box | None = None) -> Attack | None:
    """The attack that ``protocol`` describes; None for ``clean``. ``direction`` (d,) is needed for ``dense``.

    With a ``box`` x + δ stays in it, and samples are pictures (n, C, H, W). Raises :class:`ConfigError` for an attack
    that there is none of.
    """
    if protocol.attack == "clean":
        return None
    return attacks[protocol.attack].build(Setting(protocol, direction, box))


def accuracy(
    model: Classifier,
    x: Tensor,
    y: Tensor,
    protocol: Measurement,
    direction: Tensor | None,
    generator: torch.Generator,
    *,
    box: Box | None = None,
    chunk: int = CHUNK,
) -> Generator[None, None, Measured]:
    """Count the samples of x (n, ...), y (n,) that are right without *and* under the attack of ``protocol``.

    Samples that are wrong already are not attacked. ``box`` is that of :func:`build`, ``chunk`` the number of samples
    in one slice. Yields between slices; returns a :class:`Measured`.
    """
    attack = build(protocol, direction, box)
    which = torch.zeros(protocol.n, dtype=torch.bool, device=x.device)
    for start in range(0, protocol.n, chunk):
        rows = slice(start, min(start + chunk, protocol.n))
        cx, cy = x[rows], y[rows]
        sound = model.margin(cx, cy) > 0
        if attack is not None and bool(sound.any()):
            cx, cy = cx[sound], cy[sound]
            delta = yield from attack.slices(model, cx, cy, generator)
            sound[sound.clone()] = model.margin(cx + delta, cy) > 0
        which[rows] = sound
        yield
    return Measured(int(which.sum()), protocol, which)


def alignment(model: Classifier, x: Tensor, y: Tensor, direction: Tensor) -> float:
    """Mean cosine of the ℓ2 FGM perturbation with −y·M w_star, for x (n, d); ``direction`` (d,) a unit vector.

    The cosine is that in pixels; it is the same in a dictionary whose columns are orthonormal.
    """
    total = 0.0
    for start in range(0, len(y), CHUNK):
        rows = slice(start, start + CHUNK)
        unit = threats["l2"].steepest(model.input_gradient(x[rows], y[rows]))
        total += float(((unit @ direction) * -y[rows]).sum())
    return total / len(y)


def standard_protocols(
    norm: str, tau: float, *, steps: int, restarts: int, n: int, estimate: bool
) -> dict[str, Measurement]:
    """The four accuracies that every evaluation measures, by metric name."""
    return {
        metrics.CLEAN: Measurement("clean", norm, 0.0, 0, 0, n, estimate),
        metrics.FGM: Measurement("fgm", norm, tau, 1, 1, n, estimate),
        metrics.PGD: Measurement("pgd", norm, tau, steps, restarts, n, estimate),
        metrics.DENSE: Measurement("dense", norm, tau, 0, 0, n, estimate),
    }


def slice_count(protocols: Iterable[Measurement], chunk: int = CHUNK) -> int:
    """An upper bound on the slices that measuring these accuracies takes, with ``chunk`` samples in one."""
    return sum((p.steps * p.restarts + 2) * -(-p.n // chunk) for p in protocols)


def protocols_of(
    names: Sequence[str], kind: str, norm: str, radii: Sequence[float], steps: int, restarts: int, n: int,
    *, classes: int = 2, also: Sequence[str] = (),
) -> list[Measurement]:  # fmt: skip
    """The protocols of clean accuracy, and of each of the attacks ``names`` at each radius, on a run of ``kind``.

    ``classes`` are those of the data. Raises :class:`ConfigError` for an attack that is not for this kind of run;
    ``also`` are names that are allowed beside them, and left out here.
    """
    allowed = [name for name in attacks if kind in attacks[name].kinds]
    for name in names:
        if name not in allowed and name not in also:
            raise ConfigError(f"--attack: got {quote(name)}; allowed for this run: {', '.join([*allowed, *also])}")
    protocols = [Measurement("clean", norm, 0.0, 0, 0, n)]
    for tau in radii:
        chosen = {name: attacks[name].size(steps, restarts) for name in names if name not in also}
        protocols += [_sized(name, norm, tau, size, n, classes) for name, size in chosen.items()]
    return protocols


def verified_protocols(
    kind: str, norm: str, tau: float, n: int, sizes: Mapping[str, Size], *, directed: bool, classes: int = 2
) -> tuple[Measurement, ...]:
    """The attacks of the verified evaluation of a run of ``kind`` at one radius, in their order.

    ``sizes`` are steps and restarts, by name, in place of an attack's own. Without ``directed`` those are left out that
    need the dense direction. ``classes`` are those of the data.
    """
    chosen = [n for n in attacks if kind in attacks[n].verified and (directed or not attacks[n].directed)]
    own = {name: attacks[name].verified[kind] for name in chosen}
    return tuple(_sized(name, norm, tau, sizes.get(name, own[name]), n, classes) for name in chosen)


def _sized(name: str, norm: str, tau: float, size: Size, n: int, classes: int) -> Measurement:
    steps, restarts = size
    if attacks[name].unit == "target":  # a wrong class each
        restarts = min(restarts, classes - 1)
    return Measurement(name, norm, tau, steps, restarts, n)
