"""The images of a run: loaded by its config, on its device, with the held-out ones in a fixed order."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from engine.config import ImageConfig
from engine.data import catalogue
from engine.data.augment import pixels
from engine.data.images import Images
from engine.models.networks import Data

BOX = (0.0, 1.0)  # every image, perturbed or not, stays in it

Progress = Callable[[float, str], None]
_latest: tuple[object, Images] | None = None  # decoding takes seconds, and a reset wants the same again


def load(config: ImageConfig, progress: Progress | None = None) -> Images:
    """The data set of ``config`` with its ``world.train_size`` training images, in main memory.

    Raises :class:`ConfigError` naming the field for a folder that does not hold what it should.
    """
    global _latest
    world = config.world
    folder, side = getattr(world, "folder", ""), getattr(world, "side", 0)
    installed = next(each for each in catalogue.survey(folder) if each.name == world.name)
    changed = Path(installed.where).stat().st_mtime if installed.installed and Path(installed.where).exists() else None
    key = (world.name, installed.where, side, installed.size_bytes, changed)
    if _latest is None or _latest[0] != key:
        _latest = (key, catalogue.load(world.name, folder=folder, side=side, progress=progress))
    return _latest[1].subset(world.train_size, config.seed)


def describe(images: Images) -> Data:
    """What a network must know of its data; mean and deviation are the training images'."""
    return Data.of(images.train_x, len(images.classes))


class HeldOut:
    """The test images of ``images``, always in the same order: the first n of them are a fair sample."""

    def __init__(self, images: Images) -> None:
        self._x, self._y = images.test_x, images.test_y

    def __len__(self) -> int:
        return len(self._y)

    def take(self, n: int) -> tuple[Tensor, Tensor]:
        """The first ``n`` (or all, if there are fewer): x float32 (n, C, H, W) in [0, 1], y int64 (n,)."""
        return pixels(self._x[:n]), self._y[:n]


def in_memory_order(config: ImageConfig) -> torch.memory_format:
    """How images and kernels lie in memory."""
    return torch.channels_last if config.training.channels_last else torch.contiguous_format
