"""One layer of a network on images, drawn again and trained alone (SPEC.md section 8; claim 8).

Training begins with the weights at the end of clean training, not those of now: all that adversarial training has
changed so far is gone, so what the layer learns from it in the second phase it has learned alone, beside layers that
have never seen a perturbation. Everything but the layer and its batch norm is frozen, running statistics included.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.core import metrics
from engine.core.results import Principle1
from engine.core.slices import Progress
from engine.images.training import ImageTrainer
from engine.models.layers import Layer, layer, redraw
from engine.probes import principle1
from engine.probes.robustness import Measured
from engine.studies.clean_end import CleanEnd, Stages, steps_of
from engine.studies.layer_ends import default_layers

NAME = "local purification"  # of the random generators: every layer sees the same batches


@dataclass(frozen=True)
class LayerAlone:
    """One layer, drawn again and trained alone: accuracies (clean, robust) of the whole network after the clean phase
    (``before``) and after the adversarial one (``after``), and principle 1 of its units, w⁰ being the new start."""

    name: str
    clean_steps: int
    adversarial_steps: int
    before: tuple[Measured, Measured]
    after: tuple[Measured, Measured]
    units: Principle1

    def means(self) -> dict[str, float]:
        """Cosines (means over alive units) and share, by the names of :data:`metrics.LAYER_PRINCIPLE1`."""
        found = principle1.scalars(self.units)
        return {short: found[name] for short, name in zip(metrics.LAYER_PRINCIPLE1, metrics.PRINCIPLE1, strict=True)}


def train_layers(
    folder: Path,
    layer_names: Sequence[str] | None,
    clean_steps: int | None,
    adversarial_steps: int | None,
    n: int,
    progress: Progress,
) -> tuple[CleanEnd, list[LayerAlone]]:
    """Train each of ``layer_names`` (:func:`default_layers` by default) of the run in ``folder`` alone.

    The arguments and errors are those of :class:`engine.studies.questions.local.LocalStudy`.
    """
    found = CleanEnd.load(folder, n)
    found.expect_trained("local")
    schedule = found.config.schedule
    first = steps_of(clean_steps, schedule.clean_steps // 2, "--clean-steps", "half of schedule.clean_steps")
    second = steps_of(
        adversarial_steps, schedule.second_steps // 2, "--adversarial-steps", "half of schedule.second_steps"
    )
    names = tuple(dict.fromkeys(layer_names or default_layers(found.network.layers)))
    untouched = found.network.network("clean")
    for name in names:
        layer(untouched, name, "--layer")
    clean_cost, second_cost, measuring = found.costs(first, second)
    stages = Stages(progress, [clean_cost, measuring, second_cost, measuring] * len(names))
    return found, [train_alone(found, name, first, second, stages) for name in names]


def train_alone(found: CleanEnd, name: str, clean_steps: int, adversarial_steps: int, stages: Stages) -> LayerAlone:
    """Draw the layer called ``name`` again, train it alone, clean, then adversarially, and measure after each phase."""
    trainer = found.trainer(NAME)
    chosen = layer(trainer.network, name, "--layer")
    redraw(trainer.network, chosen, found.config.model, found.network.facts, found.config.seed)
    start = chosen.matrix.clone()
    _begin(trainer, chosen)
    tell = stages.begin(f"{name}: clean training")
    found.train(trainer, "clean", clean_steps, NAME, tell, found.clean_phase)
    clean = chosen.matrix.clone()
    before = found.measure(trainer.classifier, f"{NAME} {name} before", stages.begin(f"{name}: measuring"))
    _begin(trainer, chosen)
    found.train(trainer, "adversarial", adversarial_steps, NAME, stages.begin(f"{name}: adversarial training"))
    after = found.measure(trainer.classifier, f"{NAME} {name} after", stages.begin(f"{name}: measuring"))
    units = principle1.principle1(start, clean, chosen.matrix.clone())
    return LayerAlone(name, clean_steps, adversarial_steps, before, after, units)


def _begin(trainer: ImageTrainer, chosen: Layer) -> None:
    """A phase for one layer alone: first all is let go, then the rest is frozen."""
    trainer.begin()
    trainer.only(chosen)
