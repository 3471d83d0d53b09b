"""Images of one's own: a folder or a .zip in the layout of torchvision's ImageFolder.

``train/<class>/*`` and ``test/<class>/*`` (or ``val``, ``valid``), or plain ``<class>/*``, of which a fifth is then
kept for testing; one folder may lie around all that. A .zip is read where it is and never unpacked.
"""

from __future__ import annotations

import io
import os
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Literal

import numpy as np

from engine.config.knobs import knob
from engine.core.errors import ConfigError
from engine.data.images import Bytes, DataSource, Images, ImageWorld, Indices, Place, Report, sources, stratified

if TYPE_CHECKING:
    from PIL import Image

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
FORMATS = ("JPEG", "PNG", "BMP", "WEBP")  # nothing else is tried, whatever a file calls itself
TRAIN, TEST = ("train", "training"), ("test", "testing", "val", "valid", "validation")  # the first found is taken
TEST_SHARE = 0.2
MAX_CLASSES = 1000
MAX_PIXELS = 4096 * 4096  # of one image: a small file can claim to be a huge picture
MAX_FILE = 64 * 2**20  # bytes of one image file
MAX_BYTES = 8 * 2**30  # of all images once decoded
REPORT_EVERY = 250  # images
LOOK_AT = 200_000  # files that are counted when only asked what is there

Opener = Callable[[str], IO[bytes]]


class ImageFolderWorld(ImageWorld):
    """Any images: a folder or .zip with train/<class>/… and test/<class>/…, or <class>/… alone."""

    name: Literal["image_folder"] = knob("image_folder", "Where the images come from.")
    folder: str = knob("", "The folder, or the .zip file.")
    side: int = knob(0, "Resize every image to so many pixels square; 0: as they are.", low=0, high=512, unit="pixels")


@dataclass(frozen=True, slots=True)
class _Tree:
    """What lies in a folder or .zip: its files with their bytes, its folders, by their paths in it; how to open one."""

    files: dict[str, int]
    folders: tuple[str, ...]
    open: Opener

    @classmethod
    def of(cls, entries: Iterable[tuple[str, int]], opener: Opener) -> _Tree:
        """The tree of entries (path, bytes), those of folders ending in ``/``."""
        every = dict(entries)
        files = {path: size for path, size in every.items() if not path.endswith("/")}
        return cls(files, tuple(path.rstrip("/") for path in every if path.endswith("/")), opener)


@dataclass(frozen=True, slots=True)
class _Split:
    """Image files of a split and the class of each, in the order of their paths."""

    paths: list[str]
    labels: Indices


def load(knobs: ImageFolderWorld, folder: Path, report: Report) -> Images:
    """All images below ``folder``, (1, H, W) if all are grey, else (3, H, W).

    ``folder`` is a folder or a .zip. With ``knobs.side`` > 0 the middle square of each image is resized to that side,
    else all must have one size. Raises :class:`ConfigError` naming ``world.folder`` if anything is missing, damaged or
    out of bounds.
    """
    report(0.0, f"looking through {folder.name}")
    where = _place(folder)
    if where is None:
        raise ConfigError(f"world.folder: {folder} does not exist; allowed: a folder of images, or a .zip of one")
    with _opened(where) as tree:
        classes, train, test, how = _layout(tree, where)
        total = len(train.paths) + len(test.paths)
        pixels = _decode(tree, [*train.paths, *test.paths], where, knobs.side, report)
    report(1.0, f"{total:,} images are read")
    middle = len(train.paths)
    source = f"{where}: {middle:,} training and {total - middle:,} test images ({how})"
    return Images.of("image_folder", (pixels[:middle], train.labels), (pixels[middle:], test.labels), classes, source)


def find(folder: Path) -> Place:
    """Installed, where, bytes and a note."""
    where = _place(folder)
    if where is None:
        return False, str(folder), 0, "choose a folder of images, or a .zip of one"
    if where.is_file():
        size = where.stat().st_size
        good = zipfile.is_zipfile(where)
        return good, str(where), size, "a .zip, read where it is" if good else "not a .zip, or a truncated one"
    size = images = files = 0
    for path, length in _walk(where):
        files += 1
        if path.lower().endswith(SUFFIXES) and "/" in path:
            size, images = size + length, images + 1
        if files >= LOOK_AT:
            break
    note = f"{images:,}{' or more' if files >= LOOK_AT else ''} image files" if images else "no image in a class folder"
    return images > 0, str(where), size, note


def _place(folder: Path) -> Path | None:
    """``folder``, or a .zip of that name beside it."""
    return next((path for path in (folder, Path(f"{folder}.zip")) if path.exists()), None)


# --- what is there


@contextmanager
def _opened(where: Path) -> Iterator[_Tree]:
    if where.is_dir():
        try:
            tree = _Tree.of(_walk(where, strict=True), lambda path: (where / path).open("rb"))
        except OSError as error:
            raise ConfigError(f"world.folder: {error.filename or where} cannot be read: {error.strerror}") from None
        yield tree
        return
    try:
        archive = zipfile.ZipFile(where)
    except (zipfile.BadZipFile, ValueError, EOFError):
        raise ConfigError(
            f"world.folder: {where} is not a .zip, or a truncated one; allowed: a folder of images, or a .zip of one"
        ) from None
    except OSError as error:
        raise ConfigError(f"world.folder: {where} cannot be read: {error.strerror}") from None
    with archive:
        yield _Tree.of(((entry.filename, entry.file_size) for entry in archive.infolist()), archive.open)


def _walk(where: Path, *, strict: bool = False) -> Iterator[tuple[str, int]]:
    """Paths relative to ``where`` and bytes of all in it, as a .zip lists them: the paths of folders end in ``/``.

    A folder that cannot be read raises :class:`OSError` if ``strict``.
    """

    def fail(error: OSError) -> None:
        if strict:
            raise error

    for base, folders, names in os.walk(where, onerror=fail, followlinks=True):
        depth = Path(base).relative_to(where)
        if len(depth.parts) > 8:  # no layout of ours is so deep; a link may lead back up
            folders.clear()
        for name in folders:
            yield f"{(depth / name).as_posix()}/", 0
        for name in names:
            try:
                size = (Path(base) / name).stat().st_size
            except OSError:  # a dangling link: reported when, and if, the image is to be read
                size = 0
            yield (depth / name).as_posix(), size


def _layout(tree: _Tree, where: Path) -> tuple[list[str], _Split, _Split, str]:
    """Classes, training and test files, and in words how they were told apart."""
    paths = sorted(path for path in tree.files if path.lower().endswith(SUFFIXES) and not _hidden(path))
    if not paths:
        raise ConfigError(f"world.folder: {where} holds no image; allowed: {', '.join(SUFFIXES)} in class folders")
    around = _around(paths)
    inside = [_parts(path) for path in paths]
    inside = [parts[len(around) :] for parts in inside]
    folders = [_parts(path)[len(around) :] for path in tree.folders if _below(path, around)]
    tops = {parts[0] for parts in (*inside, *folders) if parts}
    train_name = next((name for name in TRAIN if name in tops), None)
    test_name = next((name for name in TEST if name in tops), None)
    if train_name is None:
        if test_name is not None and any(len(p) > 2 for p in inside if p[0] == test_name):
            raise ConfigError(f"world.folder: {where} holds {test_name!r} without 'train'; allowed: both, or neither")
        names = [(parts[0], path) for parts, path in zip(inside, paths, strict=True) if len(parts) > 1]
        classes = _classes(names, {f[0] for f in folders if f and not _hidden(f[0])}, where, "")
        return _split_off(classes, names, where)
    if test_name is None:
        raise ConfigError(
            f"world.folder: {where} holds {train_name!r} but none of {', '.join(TEST)}; allowed: both, or class "
            "folders alone, of which a fifth is kept for testing"
        )
    found: list[tuple[list[str], _Split]] = []
    for split in (train_name, test_name):
        names = [(p[1], path) for p, path in zip(inside, paths, strict=True) if len(p) > 2 and p[0] == split]
        if not names:
            raise ConfigError(f"world.folder: {where} holds no image in {split}/<class>; each split needs some")
        known = {f[1] for f in folders if len(f) > 1 and f[0] == split and not _hidden(f[1])}
        classes = _classes(names, known, where, f"{split}/")
        found.append((classes, _labelled(classes, names)))
    (classes, train), (test_classes, test) = found
    if classes != test_classes:
        odd = sorted(set(classes) ^ set(test_classes))[0]
        here, there = (train_name, test_name) if odd in classes else (test_name, train_name)
        raise ConfigError(
            f"world.folder: {where} holds the class {odd!r} in {here} and not in {there}; both need the same classes"
        )
    _enough(classes, train, where)
    return classes, train, test, f"{train_name} and {test_name}"


def _parts(path: str) -> tuple[str, ...]:
    return tuple(part for part in path.split("/") if part)


def _around(paths: Sequence[str]) -> tuple[str, ...]:
    """The one folder around everything, as a tuple of its name, or an empty one if there is none."""
    parts = [_parts(path) for path in paths]
    top = parts[0][0]
    deep = all(len(p) > 2 and p[0] == top for p in parts)
    return (top,) if deep and top not in (*TRAIN, *TEST) else ()


def _below(path: str, around: tuple[str, ...]) -> bool:
    return _parts(path)[: len(around)] == around


def _hidden(path: str) -> bool:
    """Files that systems leave behind: ``.DS_Store``, ``._name.jpg``, ``__MACOSX``."""
    return any(part.startswith(".") or part == "__MACOSX" for part in _parts(path))


def _classes(names: Iterable[tuple[str, str]], folders: set[str], where: Path, prefix: str) -> list[str]:
    """The classes in the order of their names; raises if they are too few or many, or one has no image."""
    found = {name for name, _ in names}
    if empty := sorted(folders - found):
        raise ConfigError(f"world.folder: {where} holds no image in {prefix}{empty[0]}; each class needs some")
    if not 2 <= len(found) <= MAX_CLASSES:
        only = f", {next(iter(found))!r}" if len(found) == 1 else ""
        raise ConfigError(
            f"world.folder: {where} has {len(found):,} class{'es' * (len(found) != 1)}{only}; allowed: 2 to "
            f"{MAX_CLASSES:,}, each a folder of images"
        )
    return sorted(found)


def _labelled(classes: Sequence[str], names: Sequence[tuple[str, str]]) -> _Split:
    number = {name: i for i, name in enumerate(classes)}
    return _Split([path for _, path in names], np.array([number[name] for name, _ in names], np.int64))


def _enough(classes: Sequence[str], split: _Split, where: Path) -> None:
    """Raise if a class has one image only."""
    for label, count in Counter(split.labels.tolist()).items():
        if count < 2:
            raise ConfigError(f"world.folder: {where} has one image of {classes[label]!r}; a class needs 2 at least")


def _split_off(
    classes: list[str], names: Sequence[tuple[str, str]], where: Path
) -> tuple[list[str], _Split, _Split, str]:
    """Keep a fifth of each class for testing, always the same."""
    every = _labelled(classes, names)
    _enough(classes, every, where)
    train, test = (
        _Split([every.paths[i] for i in places], every.labels[places])
        for places in stratified(every.labels, TEST_SHARE, "image_folder")
    )
    return classes, train, test, "a fifth of each class kept for testing"


# --- pixels


def _decode(tree: _Tree, paths: Sequence[str], where: Path, side: int, report: Report) -> Bytes:
    """The images at ``paths`` as (n, C, H, W)."""
    pixels: Bytes | None = None
    colour = False
    for i, path in enumerate(paths):
        if i % REPORT_EVERY == 0:
            report(i / len(paths), f"reading images: {i:,} of {len(paths):,}")
        if tree.files[path] > MAX_FILE:
            raise ConfigError(
                f"world.folder: {path} in {where} has {tree.files[path]:,} bytes; allowed: up to {MAX_FILE:,}"
            )
        array, has_colour = _read(tree.open, path, where, side)
        colour = colour or has_colour
        if pixels is None:
            if len(paths) * array.size > MAX_BYTES:
                raise ConfigError(
                    f"world.folder: {len(paths):,} images of {_size(array)} take {len(paths) * array.size / 2**30:.0f} "
                    f"GB in memory; allowed: up to {MAX_BYTES / 2**30:.0f}; world.side makes them smaller"
                )
            pixels = np.empty((len(paths), *array.shape), np.uint8)
        if array.shape != pixels.shape[1:]:
            raise ConfigError(
                f"world.folder: images differ in size: {paths[0]} has {_size(pixels[0])} pixels, {path} {_size(array)}"
                "; set world.side to resize them all"
            )
        pixels[i] = array
    assert pixels is not None
    return np.ascontiguousarray((pixels if colour else pixels[..., :1]).transpose(0, 3, 1, 2))


def _read(opener: Opener, path: str, where: Path, side: int) -> tuple[Bytes, bool]:
    """One image as (H, W, 3), and whether its file has colours."""
    from PIL import Image, UnidentifiedImageError

    try:
        with opener(path) as file:
            data = file.read(MAX_FILE)  # decoders jump about, which in a .zip would mean to unpack it over and over
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise ConfigError(
                    f"world.folder: {path} in {where} has {width}×{height} pixels; allowed: up to {MAX_PIXELS:,}"
                )
            return _array(image, side), image.mode not in ("1", "L", "LA")
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise ConfigError(f"world.folder: {path} in {where} has too many pixels; allowed: {MAX_PIXELS:,}") from None
    except (
        OSError,
        ValueError,
        SyntaxError,
        EOFError,
        RuntimeError,
        struct.error,
        zlib.error,
        zipfile.BadZipFile,
    ) as e:
        why = " ".join(str(e).split()) or type(e).__name__
        if isinstance(e, UnidentifiedImageError):  # its own words name an object in memory
            why = f"it is no {', '.join(FORMATS[:-1])} or {FORMATS[-1]} image"
        raise ConfigError(f"world.folder: {path} in {where} cannot be decoded: {why}") from None


def _array(image: Image.Image, side: int) -> Bytes:
    from PIL import Image, ImageOps

    if image.mode[0] in "IF":  # to squeeze them into 8 bits needs a choice of black and white that nobody made
        raise ValueError(f"its pixels have more than 8 bits (mode {image.mode}); allowed: 8")
    if image.mode in ("P", "PA", "RGBA", "LA"):
        image = image.convert("RGBA")  # on the way, so that a palette's transparency is understood and then dropped
    plain = image if image.mode == "RGB" else image.convert("RGB")
    if side:
        plain = ImageOps.fit(plain, (side, side), Image.Resampling.BILINEAR)
    return np.asarray(plain)


def _size(array: Bytes) -> str:
    return f"{array.shape[1]}×{array.shape[0]}"


sources.register("image_folder", order=3)(
    DataSource(
        ImageFolderWorld,
        "Images of a folder",
        "your own, one folder a class; also a .zip",
        load,
        find,
        place="images",
        preset="cifar10-filters",
    ),
)
