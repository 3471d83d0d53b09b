"""What the evaluations of every world have in common: which accuracies, and how they are measured and recorded."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from sys import maxsize

from torch import Tensor

from engine.attacks.base import Box, Classifier
from engine.config.experiment import Config
from engine.core.generators import seeded
from engine.core.measurement import Measurement
from engine.probes import robustness
from engine.probes.robustness import CHUNK, Measured
from engine.run.evaluations import MeasuredBy, Record


def protocols(config: Config, *, report: bool, available: int = maxsize) -> dict[str, Measurement]:
    """The accuracies of a live estimate or a report, by metric name without prefix.

    ``available`` is the number of held-out samples there are.
    """
    attack, knobs = config.attack, config.evaluation
    if report:
        steps, restarts, n = knobs.report_steps, knobs.report_restarts, knobs.report_size
    else:
        steps, restarts, n = knobs.steps, knobs.restarts, knobs.size
    return robustness.standard_protocols(
        attack.norm, attack.tau, steps=steps, restarts=restarts, n=min(n, available), estimate=not report
    )


def accuracies(
    model: Classifier, x: Tensor, y: Tensor, wanted: Mapping[str, Measurement], seed: int, step: int, prefix: str,
    record: Record, measured_by: MeasuredBy, *, direction: Tensor | None = None, box: Box | None = None,
    chunk: int = CHUNK,
) -> Generator[None, None, dict[str, Measured]]:  # fmt: skip
    """Measure and record each accuracy of ``wanted`` on held-out x (n, …), y (n,), yielding between slices.

    The attacks' generators depend on seed, step and metric alone: measuring never disturbs training, and measuring
    again, or in another order, gives the same figures. ``direction``, ``box`` and ``chunk`` are those of
    :func:`engine.probes.robustness.accuracy`.
    """
    found = {}
    for name, protocol in wanted.items():
        generator = seeded(seed, f"evaluation {step} {prefix}{name}", x.device)
        measured = yield from robustness.accuracy(model, x, y, protocol, direction, generator, box=box, chunk=chunk)
        measured_by(step, prefix + name, protocol)
        record(step, prefix + name, measured.accuracy)
        found[name] = measured
    return found
