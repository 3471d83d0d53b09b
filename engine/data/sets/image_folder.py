"""Images of one's own: a folder or an archive in one of the usual layouts (see :mod:`engine.data.splits`).

``train/<class>/*`` and ``test/<class>/*``, or plain ``<class>/*``, of which a fifth is then kept for testing. An
archive is read where it is and never unpacked.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from engine.config.knobs import knob
from engine.core.errors import ConfigError
from engine.data.decode import SUFFIXES, decode
from engine.data.images import DataSource, Images, ImageWorld, Indices, Place, Report, sources, stratified
from engine.data.splits import TEST_SHARE, Entry, layout, skipped_words
from engine.data.tree import ARCHIVES, archive_beside, opened


class ImageFolderWorld(ImageWorld):
    """Any images: a folder or .zip with train/<class>/… and test/<class>/…, or <class>/… alone."""

    name: Literal["image_folder"] = knob("image_folder", "Where the images come from.")
    folder: str = knob("", "The folder, or the .zip or .tar file.")
    side: int = knob(0, "Resize every image to so many pixels square; 0: as they are.", low=0, high=512, unit="pixels")


def load(knobs: ImageFolderWorld, folder: Path, report: Report) -> Images:
    """All images below ``folder``, (1, H, W) if all are grey, else (3, H, W).

    ``folder`` is a folder or an archive. With ``knobs.side`` > 0 the middle square of each image is resized to that
    side, else all must have one size. Raises :class:`ConfigError` naming ``world.folder`` if anything is missing,
    damaged or out of bounds.
    """
    report(0.0, f"looking through {folder.name}")
    where = archive_beside(folder)
    if where is None:
        raise ConfigError(f"world.folder: {folder} does not exist; allowed: a folder of images, or a {ARCHIVES} of one")
    with opened(where) as tree:
        found = layout(tree, where, SUFFIXES)
        train, test = found.train, found.test
        if test is None:
            train, test = _split_off(train, found.classes)
        pixels = decode(tree, [path for _, path in (*train, *test)], where, knobs.side, report)
    report(1.0, f"{len(pixels):,} images are read")
    middle = len(train)
    return Images.of(
        "image_folder",
        (pixels[:middle], _labels(train, found.classes)),
        (pixels[middle:], _labels(test, found.classes)),
        found.classes,
        f"{where}: {found.how}",
        skipped_words(found.skipped),
    )


def _labels(entries: Sequence[Entry], classes: Sequence[str]) -> Indices:
    number = {name: i for i, name in enumerate(classes)}
    return np.array([number[name] for name, _ in entries], np.int64)


def _split_off(every: Sequence[Entry], classes: Sequence[str]) -> tuple[tuple[Entry, ...], tuple[Entry, ...]]:
    """Keep a fifth of each class for testing, always the same."""
    train, test = stratified(_labels(every, classes), TEST_SHARE, "image_folder")
    return tuple(every[i] for i in train), tuple(every[i] for i in test)


def find(folder: Path) -> Place:
    """Installed, where, bytes and a note: classes and counts as they would be learned, or why they cannot."""
    where = archive_beside(folder)
    if where is None:
        return False, str(folder), 0, f"choose a folder of images, or a {ARCHIVES} of one"
    size = 0 if where.is_dir() else where.stat().st_size
    try:
        with opened(where) as tree:
            found = layout(tree, where, SUFFIXES)
            images = [path for _, path in (*found.train, *(found.test or ()))]
            size = size or sum(tree.files[path] for path in images)
    except ConfigError as error:
        return False, str(where), size, str(error).removeprefix("world.folder: ")
    return True, str(where), size, f"{len(images):,} image files: {found.words()}"


sources.register("image_folder", order=3)(
    DataSource(
        ImageFolderWorld,
        "Images of a folder",
        "your own, one folder a class; also a .zip",
        load,
        find,
        place="images",
        preset="cifar10-filters",
        locate=archive_beside,
    ),
)
