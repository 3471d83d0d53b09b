"""Tiny data sets of images, as files: a folder or .zip of pictures, and CIFAR-10's batches with a few images each."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from engine.data.sets import cifar10


def quiet(share: float, text: str) -> None:
    """A report that nobody reads."""


def encoded(value: int = 0, size: tuple[int, int] = (4, 4), mode: str = "RGB", kind: str = "png") -> bytes:
    file = io.BytesIO()
    colour: Any = (value, 2, 3) if mode == "RGB" else value
    Image.new(mode, size, colour).save(file, kind)
    return file.getvalue()


def tree(*splits: str, classes: str = "ab", count: int = 5) -> dict[str, bytes]:
    """Files of a data set: pixel (red) i in the i-th image of a class."""
    return {
        f"{split}{name}/{i}.png": encoded(10 * classes.index(name) + i)
        for split in splits
        for name in classes
        for i in range(count)
    }


def write(where: Path, files: dict[str, bytes], *, zipped: bool = False) -> Path:
    if zipped:
        with zipfile.ZipFile(where, "w") as archive:
            for name, data in files.items():
                archive.writestr(name, data)
        return where
    for name, data in files.items():
        path = where / name
        if name.endswith("/"):
            path.mkdir(parents=True, exist_ok=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    return where


PER_FILE = 7  # images in each file of the tiny copy of CIFAR-10


def records(seed: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    rows = np.random.default_rng(seed).integers(0, 256, (PER_FILE, 1 + cifar10.PIXELS), np.uint8)
    rows[:, 0] = (np.arange(PER_FILE) + seed) % 10
    return rows


def binary_files() -> dict[str, bytes]:
    return {f"{name}.bin": records(i).tobytes() for i, name in enumerate((*cifar10.TRAIN, cifar10.TEST))}
