"""A new data set in one file: two interleaved half-moons, each sample a picture of 8×8 pixels with one bright dot."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np

from engine.config.knobs import knob
from engine.data.images import DataSource, Images, ImageWorld, Place, Report, sources, stratified

SIDE, TEST_SHARE = 8, 0.25


class MoonsWorld(ImageWorld):
    """Two half-moons, each sample a grey picture of 8 × 8 pixels with one bright dot; made by the program."""

    name: Literal["moons"] = knob("moons", "Where the images come from.")
    count: int = knob(400, "Pictures of both classes together.", low=20, high=100_000, unit="images")
    blur: float = knob(0.1, "Deviation of the dots from their half-moon.", low=0, high=1, unit="radii")


def load(knobs: MoonsWorld, folder: Path, report: Report) -> Images:
    """``count`` pictures (1, 8, 8) of two classes, always the same for the same knobs; ``folder`` is not used."""
    report(0.0, "drawing the moons")
    random = np.random.default_rng(0)
    y = np.arange(knobs.count, dtype=np.int64) % 2
    angle = random.uniform(0, np.pi, knobs.count)
    across = np.where(y == 0, np.cos(angle), 1 - np.cos(angle)) + random.normal(0, knobs.blur, knobs.count)
    down = np.where(y == 0, np.sin(angle), 0.5 - np.sin(angle)) + random.normal(0, knobs.blur, knobs.count)
    centre = np.stack([(down + 1) / 2.5, (across + 1.5) / 4], axis=1) * (SIDE - 1)
    place = np.stack(np.meshgrid(np.arange(SIDE), np.arange(SIDE), indexing="ij"), axis=-1)
    distance = np.square(place[None] - centre[:, None, None]).sum(-1)
    x = np.rint(255 * np.exp(-distance)).astype(np.uint8)[:, None]
    train, test = stratified(y, TEST_SHARE, "moons")
    report(1.0, "the moons are drawn")
    return Images.of("moons", (x[train], y[train]), (x[test], y[test]), ("upper", "lower"), "two half-moons, drawn")


def find(folder: Path) -> Place:
    """It is always there, and takes no place."""
    return True, "made by the program", 0, "part of the example"


sources.register("moons", order=9)(
    DataSource(MoonsWorld, "Moons", "grey images of 8×8 pixels, 2 classes", load, find, preset="digits")
)
