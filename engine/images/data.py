"""The images of a run: loaded by its config, on its device, with the held-out ones in a fixed order."""

from __future__ import annotations

from engine.core.slices import Progress
from engine.data import catalogue
from engine.data.images import Images
from engine.images.config import ImageConfig
from engine.models.base import DataFacts

_latest: tuple[object, Images] | None = None  # decoding takes seconds, and a reset wants the same again


def load(config: ImageConfig, progress: Progress | None = None) -> Images:
    """The data set of ``config`` with its ``world.train_size`` training images, in main memory.

    Raises :class:`ConfigError` naming the field for a folder that does not hold what it should.
    """
    global _latest
    world = config.world
    whole = world.model_copy(update={"train_size": 0})  # all its other knobs decide what is read
    key = (whole, catalogue.signature(world))  # taken before: what changes meanwhile is read again the next time
    if _latest is None or _latest[0] != key:
        _latest = (key, catalogue.load(world, progress=progress))
    return _latest[1].subset(world.train_size, config.seed)


def describe(images: Images) -> DataFacts:
    """What a network must know of its data; mean and deviation are the training images'."""
    return DataFacts.of(images.train_x, len(images.classes))
