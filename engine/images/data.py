"""The images of a run: loaded by its config, or where it is said that they are now. Imports no torch by itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from engine.config.experiment import Config, with_value
from engine.core.errors import ConfigError
from engine.core.slices import Progress
from engine.data import catalogue
from engine.data.images import Images, ImagesMissing, sources
from engine.images.config import ImageConfig, images
from engine.models.base import DataFacts

FOLDER = "world.folder"
_elsewhere: ContextVar[Path | None] = ContextVar("images_elsewhere", default=None)
_latest: tuple[object, Images] | None = None  # decoding takes seconds, and a reset wants the same again


def load(config: ImageConfig, progress: Progress | None = None) -> Images:
    """The data set of ``config`` with its ``world.train_size`` training images, in main memory.

    Raises :class:`ConfigError` naming the field for a folder that does not hold what it should.
    """
    global _latest
    world = config.world
    if (elsewhere := _elsewhere.get()) is not None:
        world = moved(config, elsewhere).world
    whole = world.model_copy(update={"train_size": 0})  # all its other knobs decide what is read
    key = (whole, catalogue.signature(world))  # taken before: what changes meanwhile is read again the next time
    if _latest is None or _latest[0] != key:
        _latest = (key, catalogue.load(world, progress=progress))
    return _latest[1].subset(world.train_size, config.seed)


def describe(found: Images) -> DataFacts:
    """What a network must know of its data; mean and deviation are the training images'."""
    return DataFacts.of(found.train_x, len(found.classes))


def moved(config: Config, folder: Path) -> ImageConfig:
    """``config`` with its images in ``folder``. Raises :class:`ConfigError` if its data set is in no folder."""
    found = images(config, "--data")
    if not sources[found.world.name].in_folder:
        raise ConfigError(f"--data: got {str(folder)!r}; allowed: nothing, as {found.world.name} is in no folder")
    return images(with_value(found, FOLDER, str(folder.expanduser().absolute())), "--data")


@contextmanager
def images_at(config: Config, folder: Path | None) -> Iterator[None]:
    """Inside, in this thread, the images of runs such as that of ``config`` are read from ``folder`` if one is given.

    Raises :class:`ConfigError` if its data set is in no folder.
    """
    if folder is None:
        yield
        return
    moved(config, folder)
    token = _elsewhere.set(folder)
    try:
        yield
    finally:
        _elsewhere.reset(token)


def load_again(config: ImageConfig, data_hash: str, others: Iterable[ImageConfig] = ()) -> Images:
    """The images with this digest that a run was trained on, from where ``config`` says, or else one of ``others``.

    Raises :class:`ImagesMissing` (:class:`ConfigError` for data in no folder) if they are not there, or not the same.
    """
    problem = ""
    for each in (config, *others):
        try:
            found = load(each)
        except ConfigError as error:
            problem = problem or str(error)
            continue
        if found.digest() == data_hash:
            return found
        problem = problem or (
            f"world: the images of {config.world.name} are not those that this run began with ({found.source})"
        )
    if not sources[config.world.name].in_folder:
        raise ConfigError(problem)
    if _elsewhere.get() is not None:
        raise ImagesMissing(f"--data: {problem.removeprefix('world: ').removeprefix('world.folder: ')}")
    raise ImagesMissing(f"{problem}; --data FOLDER says where they are if they were moved")
