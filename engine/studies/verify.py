"""The verified evaluation: robust accuracy bounded from both sides, slowly, by everything the explorer has.

From above by the worst of all attacks for each sample, from below by the certificate, beside the oracle: the
ideal network of the world. It is distinct from the live estimate wherever it is shown; every figure carries its
protocol.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from engine.attacks.base import NO_SIZES, Classifier, Size
from engine.config.experiment import SPARSE_CODING
from engine.core.arrays import frozen
from engine.core.generators import seeded
from engine.core.measurement import Measurement, figure
from engine.core.results import BoolArray, FloatArray
from engine.core.slices import Progress, finish, mapped, silent
from engine.data.sparse_stream import SparseCoding
from engine.models.symmetric_relu import SymmetricRelu
from engine.probes import certificate, oracle
from engine.probes.robustness import CHUNK, Measured, build, slice_count, verified_protocols
from engine.theory.loading import TheoryNetwork

CERTIFICATE_SLICES = 40  # about what the certificate or the oracle's b takes, for the progress only


class CertificateError(AssertionError):
    """An attack fooled a sample that the certificate says cannot be fooled: a bug in one of the two."""


@dataclass(frozen=True, slots=True)
class AtRadius:
    """What holds at one radius.

    ``attacks`` the accuracy under each attack alone; ``worst`` under the worst of them for each sample, where a sample
    that was fooled at a smaller radius stays fooled; ``certified`` and ``oracle`` (its attacks are the same) where
    measured. Per sample: ``fooled`` (n,), ``margin`` (n,) the smallest found, ``lower`` (n,) the certificate's bound,
    ``perturbation`` (n, d) the worst one found, if kept (0 where x is wrong without it).
    """

    tau: float
    attacks: tuple[Measured, ...]
    worst: Measured
    certified: Measured | None
    oracle: Measured | None
    fooled: BoolArray
    margin: FloatArray
    lower: FloatArray | None
    perturbation: FloatArray | None

    def __getitem__(self, attack: str) -> Measured:
        """The accuracy under one attack, by the name its protocol has."""
        return next(m for m in self.attacks if m.protocol.attack == attack)


@dataclass(frozen=True, slots=True)
class Verified:
    """The whole evaluation: accuracy without attack, then by radius, ascending."""

    clean: Measured
    radii: tuple[AtRadius, ...]

    def figures(self) -> list[dict[str, Any]]:
        """Every accuracy with interval and protocol, ready for JSON; ``kind`` says which bound it is."""
        rows = [("clean", self.clean)]
        for at in self.radii:
            rows += [("attack", m) for m in at.attacks]
            rows += [("worst", at.worst), ("certified", at.certified), ("oracle", at.oracle)]  # type: ignore[list-item]
        return [{"kind": kind, **figure(m.accuracy, m.protocol)} for kind, m in rows if m is not None]


@dataclass(slots=True)
class _Attacked:
    """The worst found so far for each sample; what is wrong without attack counts as fooled by nothing."""

    margin: Tensor
    delta: Tensor

    @classmethod
    def start(cls, model: Classifier, x: Tensor, y: Tensor) -> _Attacked:
        parts = [model.margin(x[i : i + CHUNK], y[i : i + CHUNK]).clone() for i in range(0, len(y), CHUNK)]
        return cls(torch.cat(parts), torch.zeros_like(x))

    def by(
        self, model: Classifier, x: Tensor, y: Tensor, protocol: Measurement, direction: Tensor | None, seed: int
    ) -> Generator[None, None, Measured]:
        """Attack all samples that are right as they are; keep what is worse than before."""
        attack = build(protocol, direction)
        assert attack is not None
        generator = seeded(seed, f"verify {protocol.text()}", x.device)
        right = 0
        for start in range(0, len(y), CHUNK):
            every = slice(start, start + CHUNK)
            rows = start + (model.margin(x[every], y[every]) > 0).nonzero().squeeze(1)
            if not len(rows):
                continue
            delta = yield from attack.slices(model, x[rows], y[rows], generator)
            margin = model.margin(x[rows] + delta, y[rows])
            right += int((margin > 0).sum())
            worse = margin < self.margin[rows]
            self.margin[rows[worse]] = margin[worse]
            self.delta[rows[worse]] = delta[worse]
            yield
        return Measured(right, protocol)


def verify(
    model: Classifier,
    world: SparseCoding | None,
    x: Tensor,
    y: Tensor,
    norm: str,
    radii: Sequence[float],
    seed: int,
    *,
    sizes: Mapping[str, Size] = NO_SIZES,
    with_certificate: bool = True,
    with_oracle: bool = True,
    keep_perturbations: bool = False,
    cache: oracle.Cache | None = None,
    progress: Progress = silent,
) -> Generator[None, None, Verified]:
    """Evaluate ``model`` on x (n, d), y (n,) at each radius, yielding between slices; closing it cancels.

    ``sizes`` are steps and restarts, by attack, in place of its own.
    ``world`` gives the dense direction and the oracle; without one both are left out. The certificate is for a
    :class:`SymmetricRelu` alone. ``cache`` is the oracle's. Attacks draw from generators that depend on ``seed`` and
    protocol alone. Raises :class:`CertificateError` where an attack and the certificate contradict each other.
    """
    n = len(y)
    taus = sorted(set(radii))
    plans = [verified_protocols(SPARSE_CODING, norm, tau, n, sizes, directed=world is not None) for tau in taus]
    direction = world.dense_direction if world is not None else None
    network = model if with_certificate and isinstance(model, SymmetricRelu) else None
    ideal = world if with_oracle else None
    total = sum(slice_count(p) for p in plans) * (2 if ideal else 1) + CERTIFICATE_SLICES * len(taus)
    report = _Report(progress, total)
    state = _Attacked.start(model, x, y)
    clean = Measured(int((state.margin > 0).sum()), Measurement("clean", norm, 0.0, 0, 0, n))
    yield
    found = []
    for tau, plan in zip(taus, plans, strict=True):
        attacks = []
        for protocol in plan:
            slices = state.by(model, x, y, protocol, direction, seed)
            attacks.append((yield from report.through(slices, protocol.text(), slice_count([protocol]))))
        fooled = state.margin <= 0
        worst_of = _worst(plan)
        lower = certified = None
        if network is not None:
            slices_ = certificate.bounds(network.weight, network.bias, x, y, tau, norm)
            bounds = yield from report.through(slices_, f"certificate at {tau:g}", CERTIFICATE_SLICES * len(taus))
            _agree(bounds, state.margin, tau)
            lower = frozen(bounds.best)
            certified = Measured(int(bounds.certified.sum()), certificate.protocol(norm, tau, n))
        best = None
        if ideal is not None:
            best = yield from _oracle(ideal, x, y, plan, seed, {} if cache is None else cache, report)
        found.append(
            AtRadius(
                tau, tuple(attacks), Measured(n - int(fooled.sum()), worst_of), certified, best, frozen(fooled),
                frozen(state.margin), lower, frozen(state.delta) if keep_perturbations else None,
            )
        )  # fmt: skip
    report.done()
    return Verified(clean, tuple(found))


def verify_run(
    folder: Path,
    step: int | None = None,
    radii: Sequence[float] | None = None,
    n: int = 1000,
    *,
    norm: str | None = None,
    device: str = "cpu",
    sizes: Mapping[str, Size] = NO_SIZES,
    progress: Progress = silent,
) -> tuple[TheoryNetwork, Verified]:
    """Verify the checkpoint at ``step`` (the newest by default) of a run, in one go, on ``n`` held-out samples.

    Radius and norm are the run's own where not given. Raises what :meth:`TheoryNetwork.load` raises.
    """
    network = TheoryNetwork.load(folder, step, device)
    config = network.config
    x, y = network.held_out.take(n, config.world.sigma_x)
    return network, finish(
        verify(
            network.model, network.held_out.world, x, y, norm or config.attack.norm, radii or [config.attack.tau],
            config.seed, sizes=sizes, progress=progress,
        )
    )  # fmt: skip


def _worst(plan: Sequence[Measurement]) -> Measurement:
    first = plan[0]
    return Measurement("worst of " + ", ".join(p.attack for p in plan), first.norm, first.tau, 0, 0, first.n)


def _oracle(
    world: SparseCoding,
    x: Tensor,
    y: Tensor,
    plan: Sequence[Measurement],
    seed: int,
    cache: oracle.Cache,
    report: _Report,
) -> Generator[None, None, Measured]:
    """The ideal network's accuracy under the worst of the same attacks; its b is chosen for this radius."""
    protocol = _worst(plan)
    key = oracle.key(world, seed, "".join(p.to_json() for p in plan), protocol.tau, x, y)
    known = cache.get(key)
    if isinstance(known, oracle.Oracle):
        return known.measured
    slices = oracle.best_bias(world, seed, protocol.norm, protocol.tau, cache)
    bias = yield from report.through(slices, f"oracle's bias at {protocol.tau:g}", 0)
    model = oracle.network(world, bias)
    state = _Attacked.start(model, x, y)
    for one in plan:
        attack = state.by(model, x, y, one, world.dense_direction, seed)
        yield from report.through(attack, f"oracle: {one.text()}", slice_count([one]))
    measured = Measured(int((state.margin > 0).sum()), protocol)
    cache[key] = oracle.Oracle(bias, measured)
    return measured


def _agree(bounds: certificate.Bounds, margin: Tensor, tau: float) -> None:
    """No attack may find a margin (n,) below the certificate's bound, but for the rounding of float32."""
    slack = certificate.ROUNDING * (1 + bounds.scale)
    broken = bounds.best > margin.detach().to("cpu", torch.float64) + slack
    if bool(broken.any()):
        row = int(broken.nonzero()[0])
        raise CertificateError(
            f"this is a bug: at radius {tau:g} sample {row} has the certified margin {float(bounds.best[row]):.6g}, "
            f"and an attack found {float(margin[row]):.6g} ({int(broken.sum())} such samples)"
        )


class _Report:
    """Counts slices, and passes on what is under way."""

    def __init__(self, progress: Progress, total: int) -> None:
        self.progress = progress
        self.total = total
        self.count = 0

    def through(self, slices: Generator[None, None, Any], what: str, weight: int) -> Generator[None, None, Any]:
        """Pass the slices on. Whatever their number, ``weight`` of the total is done when they are."""
        start = self.count

        def tell(_: None = None) -> None:
            self.progress(min(1.0, self.count / self.total), what)
            self.count = min(self.count + 1, start + weight)

        tell()
        found = yield from mapped(slices, tell)
        self.count = start + weight
        return found

    def done(self) -> None:
        """Everything is measured."""
        self.progress(1.0, "done")
