"""One evaluation of one state of the weights: what is measured, in slices, under the names of the store."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from engine.core import metrics
from engine.core.generators import seeded
from engine.core.measurement import Measurement
from engine.data.sparse_stream import SparseCoding
from engine.models.symmetric_relu import SymmetricRelu
from engine.probes import (
    certificate,
    evaluation,
    feature_fates,
    low_rank,
    mixture,
    perturbation,
    principle1,
    robustness,
    sparsity,
    spectrum,
)
from engine.run.evaluations import MeasuredBy, Record
from engine.theory.config import SparseCodingConfig

HELD_OUT_BLOCK = 1000  # the held-out sample is drawn in blocks, so that a larger one begins with a smaller one


@dataclass(frozen=True, slots=True)
class Request:
    """The state to be measured, with weights of its own: ``weight`` (m, d), ``clean`` (m, d) or None, ``bias``.

    ``config`` holds radius, norm, attack steps and sizes as they were at ``step``; ``report`` asks for the fuller
    evaluation; ``rank`` is what the phase restricted the change of the weights to, 0 for no restriction.
    """

    step: int
    report: bool
    config: SparseCodingConfig
    bias: float
    weight: Tensor
    start: Tensor
    clean: Tensor | None
    rank: int = 0

    @property
    def prefix(self) -> str:
        """Prefix of this evaluation's metrics."""
        return metrics.REPORT if self.report else ""

    def protocols(self) -> dict[str, Measurement]:
        """The accuracies to be measured, by metric name without prefix."""
        return evaluation.protocols(self.config, report=self.report)

    def certified(self) -> Measurement | None:
        """How certified accuracy is measured in this evaluation; None if it is not its turn (``certify_every``)."""
        knobs, attack = self.config.evaluation, self.config.attack
        if not knobs.certify_every or not (self.report or self.step % knobs.certify_every == 0):
            return None
        n = knobs.report_size if self.report else knobs.size
        return replace(certificate.protocol(attack.norm, attack.tau, n), estimate=not self.report)

    def slices(self) -> int:
        """An upper bound on the slices that :func:`evaluate` takes."""
        certified = self.certified()
        bounding = 0 if certified is None else certificate.slice_count(self.weight, certified.n)
        return robustness.slice_count(self.protocols().values()) + 9 + bounding


class HeldOut:
    """The fixed held-out sample: the same for every run of a seed and world, whatever was trained on."""

    def __init__(self, world: SparseCoding, seed: int) -> None:
        self.world = world
        self.seed = seed
        self._blocks: list[tuple[Tensor, Tensor]] = []
        self._sigma_x: float | None = None

    def take(self, n: int, sigma_x: float) -> tuple[Tensor, Tensor]:
        """The first ``n`` held-out samples x (n, d), y (n,) at this input noise."""
        if sigma_x != self._sigma_x:
            self._blocks, self._sigma_x = [], sigma_x
        while len(self._blocks) * HELD_OUT_BLOCK < n:
            generator = seeded(self.seed, f"held out {len(self._blocks)}", self.world.target.device)
            self._blocks.append(self.world.sample(HELD_OUT_BLOCK, generator, sigma_x))
        x = torch.cat([block[0] for block in self._blocks]) if n > HELD_OUT_BLOCK else self._blocks[0][0]
        y = torch.cat([block[1] for block in self._blocks]) if n > HELD_OUT_BLOCK else self._blocks[0][1]
        return x[:n], y[:n]


def evaluate(
    request: Request, held_out: HeldOut, record: Record, measured_by: MeasuredBy
) -> Generator[None, None, None]:
    """Measure ``request``, yielding between slices; see :func:`engine.probes.evaluation.accuracies`."""
    model = SymmetricRelu(request.weight, request.bias)
    world, config, prefix = held_out.world, request.config, request.prefix
    direction = world.dense_direction
    protocols = request.protocols()
    x, y = held_out.take(max(p.n for p in protocols.values()), config.world.sigma_x)
    found = yield from evaluation.accuracies(
        model, x, y, protocols, held_out.seed, request.step, prefix, record, measured_by, direction=direction
    )
    values = {metrics.ALIGNMENT: robustness.alignment(model, x, y, direction)}
    yield
    values |= perturbation.scalars(model, world, x, y)
    yield
    values |= mixture.scalars(mixture.mixture(request.weight, world.dictionary, world.target))
    values |= feature_fates.scalars(
        feature_fates.feature_fates(request.start, request.clean, request.weight, world.dictionary)
    )
    yield
    values |= sparsity.scalars(sparsity.sparsity(model, x))
    if not world.orthonormal:
        values |= dict(zip((metrics.COHERENCE, metrics.OWN_PURITY), world.limits(), strict=True))
    if request.clean is not None:
        values |= principle1.scalars(principle1.principle1(request.start, request.clean, request.weight))
        if request.rank:
            values |= low_rank.scalars(low_rank.low_rank(request.weight, request.clean, direction, request.rank))
    yield
    values |= spectrum.feature_scalars(spectrum.effective_features(request.weight, world.dictionary))
    values |= yield from spectrum.scalars(metrics.HIDDEN, request.weight, request.clean)
    certified = request.certified()
    if certified is not None:
        yield
        # What PGD fooled cannot be certified: only the survivors need the expensive bound.
        survivors = found[metrics.PGD].which
        assert survivors is not None
        rows = survivors.nonzero().squeeze(1)
        tau, norm = certified.tau, certified.norm
        (sure,) = yield from certificate.certified(request.weight, request.bias, x[rows], y[rows], [tau], norm)
        measured_by(request.step, prefix + metrics.CERTIFIED, certified)
        values[metrics.CERTIFIED] = sure.right / certified.n
    for name, value in values.items():
        record(request.step, prefix + name, value)
