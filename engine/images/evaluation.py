"""One evaluation of a network on images: what is measured, in slices, under the names of the store."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

from engine.core import metrics
from engine.core.measurement import Measurement
from engine.data.images import BOX, HeldOutImages
from engine.images.config import ImageConfig
from engine.models.classifier import ImageClassifier
from engine.models.layers import layers
from engine.probes import evaluation, principle1, robustness, spectrum
from engine.probes.layers import Matrices, activity, matrices, principle1_of, scalars
from engine.probes.robustness import CHUNK
from engine.run.evaluations import MeasuredBy, Record


@dataclass(frozen=True, slots=True)
class ImageRequest:
    """The state to be measured: ``classifier`` has weights of its own; ``start`` and ``clean`` are those of SPEC.md
    section 4's principle 1, by layer (``clean`` None before clean training has ended, ``start`` if nobody knows it).

    ``config`` holds radius, norm, attack steps and sizes as they were at ``step``; ``report`` asks for the fuller
    evaluation; ``available`` is the number of test images there are, ``chunk`` how many of them are
    measured in one slice.
    """

    step: int
    report: bool
    config: ImageConfig
    classifier: ImageClassifier
    start: Matrices | None
    clean: Matrices | None
    available: int
    chunk: int = CHUNK

    @property
    def prefix(self) -> str:
        """Prefix of this evaluation's metrics."""
        return metrics.REPORT if self.report else ""

    def protocols(self) -> dict[str, Measurement]:
        """The accuracies to be measured, by metric name without prefix; nobody knows the dense direction of images."""
        found = evaluation.protocols(self.config, report=self.report, available=self.available)
        return {name: protocol for name, protocol in found.items() if name != metrics.DENSE}

    def slices(self) -> int:
        """An upper bound on the slices that :func:`evaluate` takes."""
        wanted = self.protocols().values()
        n = max(protocol.n for protocol in wanted)
        own = 5 * len(layers(self.classifier.module))
        return robustness.slice_count(wanted, self.chunk) + -(-n // self.chunk) + 2 + own


def evaluate(
    request: ImageRequest, held_out: HeldOutImages, record: Record, measured_by: MeasuredBy
) -> Generator[None, None, None]:
    """Measure ``request``, yielding between slices (:func:`engine.probes.evaluation.accuracies`)."""
    model, prefix, protocols = request.classifier, request.prefix, request.protocols()
    x, y = held_out.take(max(p.n for p in protocols.values()))
    yield from evaluation.accuracies(
        model, x, y, protocols, request.config.seed, request.step, prefix, record, measured_by, box=BOX,
        chunk=request.chunk,
    )  # fmt: skip
    active = yield from activity(model, x, request.chunk)
    values = {metrics.ACTIVE_SHARE: sum(active.values()) / max(1, len(active))}
    found = None
    if request.clean is not None and request.start is not None:
        found = principle1_of(request.start, request.clean, matrices(model))
        values |= principle1.scalars(next(iter(found.values())))  # the first layer's stand for the network
    yield
    values |= scalars(found, active)
    for name, weight in matrices(model).items():
        clean = None if request.clean is None else request.clean[name].flatten(1)
        values |= yield from spectrum.scalars(name, weight, clean)
        yield
    for name, value in values.items():
        record(request.step, prefix + name, value)
