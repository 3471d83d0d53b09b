"""First-layer filters of several networks on images, side by side."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing

import numpy as np

from engine.compare.base import comparisons
from engine.compare.galleries import OPTIONS, ComparedGallery, RunWeights
from engine.compare.record import RecordedRun
from engine.figures.base import Array
from engine.figures.filters import VIEW, first_weights, scaled_each
from engine.figures.pictures import network_of
from engine.run.store import Checkpoint, Store


@comparisons.register(VIEW.name, order=VIEW.order)
class ComparedFilters(ComparedGallery):
    """The first layer's weights as pictures; imports torch."""

    view = VIEW
    options = (*OPTIONS, VIEW.option("scaled"), VIEW.option("signed"))
    what = "filters"

    def weights(self, run: RecordedRun, checkpoint: Checkpoint, name: str, moment: str) -> RunWeights | None:
        """Those of the first layer."""
        with closing(Store.open(run.folder, read_only=True)) as store:
            found = first_weights(network_of(store, checkpoint))
        return RunWeights(name, found[moment], found.get("start")) if moment in found else None

    def values(self, rows: Array, options: Mapping[str, str]) -> Array:
        """As they are, or each divided by its largest."""
        return scaled_each(rows) if options["scaled"] == "true" else np.asarray(rows, np.float32)

    def pictures(self, rows: Array, options: Mapping[str, str]) -> Array:
        """They are pictures already."""
        return rows

    def key(self, options: Mapping[str, str], channels: int) -> str:
        """What the colours mean."""
        unit = "share of the filter's largest weight" if options["scaled"] == "true" else "weight"
        return f"{unit}, in each of red, green and blue" if channels >= 3 else unit

    def signed(self, options: Mapping[str, str], channels: int) -> bool:
        """Blue and orange where there is one channel and it is asked for."""
        return channels < 3 and options["signed"] == "true"
