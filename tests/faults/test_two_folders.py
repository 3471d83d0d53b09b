"""Two folders of images that are alike in every name, size and time are two data sets all the same."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from engine.config.experiment import with_value
from engine.images import data
from engine.images.config import ImageConfig
from tests.tiny_image_runs import tiny_images
from tests.tiny_images import encoded, write

NAMES = [f"{name}/{i}.png" for name in "ab" for i in range(5)]


def folder(where: Path, red: int) -> Path:
    """A folder of one colour a picture; every file and folder says the same time."""
    write(where, {name: encoded(red + i) for i, name in enumerate(NAMES)})
    for path in (*where.rglob("*"), where):
        os.utime(path, ns=(10**18, 10**18))
    return where


def config(where: Path) -> ImageConfig:
    found = tiny_images(**{"world.name": "image_folder", "world.folder": str(where), "world.train_size": 0})
    assert isinstance(found, ImageConfig)
    return found


def reds(where: Path) -> set[int]:
    images = data.load(config(where))
    pixels = torch.cat([images.train_x, images.test_x])[:, 0, 0, 0].float()
    return {round(float(v) * (255 if float(pixels.max()) <= 1 else 1)) for v in pixels}


def test_another_folder_is_read_whatever_the_one_before_looked_like(tmp_path: Path) -> None:
    one, other = folder(tmp_path / "one" / "set", 10), folder(tmp_path / "two" / "set", 40)
    sizes = [[(f / name).stat().st_size for name in NAMES] for f in (one, other)]
    assert sizes[0] == sizes[1]
    for where, first in ((one, 10), (other, 40), (one, 10), (other, 40)):
        assert reds(where) == set(range(first, first + len(NAMES)))
    assert data.load(config(one)).digest() != data.load(config(other)).digest()


def test_another_side_is_another_data_set(tmp_path: Path) -> None:
    where = folder(tmp_path / "set", 10)
    shapes = [data.load(with_value(config(where), "world.side", side)).shape for side in (8, 12, 8)]
    assert [shape[-1] for shape in shapes] == [8, 12, 8]
