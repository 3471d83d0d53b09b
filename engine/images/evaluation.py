"""One evaluation of a network on images: what is measured, in slices, under the names of the store."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

from engine.core import metrics
from engine.core.generators import seeded
from engine.core.measurement import Measurement
from engine.data.images import BOX, HeldOutImages
from engine.images.config import ImageConfig
from engine.models.classifier import ImageClassifier
from engine.probes import principle1, robustness
from engine.probes.layers import Weights, activity, matrices, principle1_of, scalars
from engine.probes.robustness import CHUNK
from engine.run.session import MeasuredBy, Record


@dataclass(frozen=True, slots=True)
class ImageRequest:
    """The state to be measured: ``classifier`` has weights of its own; ``start`` and ``clean`` are those of SPEC.md
    section 4's principle 1, by layer (``clean`` None before clean training has ended).

    ``config`` holds radius, norm, attack steps and sizes as they were at ``step``; ``report`` asks for the fuller
    evaluation; ``available`` is the number of test images there are.
    """

    step: int
    report: bool
    config: ImageConfig
    classifier: ImageClassifier
    start: Weights
    clean: Weights | None
    available: int

    @property
    def prefix(self) -> str:
        """Prefix of this evaluation's metrics."""
        return metrics.REPORT if self.report else ""

    def protocols(self) -> dict[str, Measurement]:
        """The accuracies to be measured, by metric name without prefix."""
        attack, knobs = self.config.attack, self.config.evaluation
        if self.report:
            size = (knobs.report_steps, knobs.report_restarts, knobs.report_size)
        else:
            size = (knobs.steps, knobs.restarts, knobs.size)
        steps, restarts, n = (*size[:2], min(size[2], self.available))
        found = robustness.standard_protocols(
            attack.norm, attack.tau, steps=steps, restarts=restarts, n=n, estimate=not self.report
        )
        del found[metrics.DENSE]  # nobody knows the dense direction of images
        return found

    def slices(self) -> int:
        """An upper bound on the slices that :func:`evaluate` takes."""
        n = min(self.config.evaluation.report_size if self.report else self.config.evaluation.size, self.available)
        return robustness.slice_count(self.protocols().values(), CHUNK) + -(-n // CHUNK) + 2


def evaluate(
    request: ImageRequest, held_out: HeldOutImages, record: Record, measured_by: MeasuredBy
) -> Generator[None, None, None]:
    """Measure ``request``, yielding between slices.

    The attacks' generators depend on seed, step and metric alone: measuring never disturbs training, and measuring
    again gives the same figures.
    """
    model, prefix, protocols = request.classifier, request.prefix, request.protocols()
    n = max(p.n for p in protocols.values())
    x, y = held_out.take(n)
    for name, protocol in protocols.items():
        generator = seeded(request.config.seed, f"evaluation {request.step} {prefix}{name}", x.device)
        measured = yield from robustness.accuracy(model, x, y, protocol, None, generator, box=BOX, chunk=CHUNK)
        measured_by(request.step, prefix + name, protocol)
        record(request.step, prefix + name, measured.accuracy)
    active = yield from activity(model, x, CHUNK)
    values = {metrics.ACTIVE_SHARE: sum(active.values()) / max(1, len(active))}
    found = None
    if request.clean is not None:
        found = principle1_of(request.start, request.clean, matrices(model))
        values |= principle1.scalars(next(iter(found.values())))  # the first layer's stand for the network
    yield
    values |= scalars(found, active)
    for name, value in values.items():
        record(request.step, prefix + name, value)
