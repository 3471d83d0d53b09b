"""Hidden neurons of several runs, side by side."""

from __future__ import annotations

from collections.abc import Mapping

from engine.compare.base import comparisons
from engine.compare.galleries import OPTIONS, ComparedGallery, RunWeights
from engine.compare.record import RecordedRun
from engine.figures.base import Array
from engine.figures.neurons import KEYS, VIEW, shown, space_name
from engine.figures.panels import as_pictures
from engine.run.store import Checkpoint


@comparisons.register(VIEW.name, order=VIEW.order)
class ComparedNeurons(ComparedGallery):
    """The weights in pixel space; imports no torch."""

    view = VIEW
    options = (*OPTIONS, VIEW.option("normalise"))

    def weights(self, run: RecordedRun, checkpoint: Checkpoint, name: str, moment: str) -> RunWeights | None:
        """Those of the hidden layer."""
        arrays = checkpoint.arrays
        if KEYS[moment] not in arrays:
            return None
        return RunWeights(name, arrays[KEYS[moment]], arrays[KEYS["start"]])

    def values(self, rows: Array, options: Mapping[str, str]) -> Array:
        """As they are, or divided by their norms."""
        return shown(rows, rows, {"space": "pixel", **options})

    def pictures(self, rows: Array, options: Mapping[str, str]) -> Array:
        """One channel."""
        return as_pictures(rows)

    def key(self, options: Mapping[str, str], channels: int) -> str:
        """What the colours mean."""
        return f"{'weight / neuron’s norm' if options['normalise'] == 'true' else 'weight'} in {space_name('pixel')}"
