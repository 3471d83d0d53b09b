"""CIFAR-10 (Krizhevsky 2009): 60,000 colour images of 32×32 pixels, from a folder or downloaded into one.

The *binary version* is what is downloaded: a label byte and 3,072 pixel bytes an image. A folder with the Python
version, which torchvision leaves behind, is read as well. Its files are pickles, and a pickle can run code, so none is
loaded: a file must have the published checksum, and is then only cut into its tokens, two of which are looked for.
"""

from __future__ import annotations

import hashlib
import http.client
import pickletools
import shutil
import stat
import tarfile
import tempfile
import urllib.request
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np

from engine.config.knobs import knob
from engine.core.errors import ConfigError, ExplorerError
from engine.data.images import Bytes, DataSource, Images, ImageWorld, Indices, Place, Report, reporting, sources

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
SIDE, PIXELS = 32, 3 * 32 * 32
PER_FILE = 10_000  # images
MOST = 2  # times the size of its images, that a file of the Python version can have
BINARY, PYTHON = "cifar-10-batches-bin", "cifar-10-batches-py"
TRAIN = tuple(f"data_batch_{i}" for i in range(1, 6))
TEST = "test_batch"

URL = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
ARCHIVE = "cifar-10-binary.tar.gz"
ARCHIVE_MD5 = "c32a1d4ab5d03f1284b67883e8d87530"  # https://www.cs.toronto.edu/~kriz/cifar.html
DOWNLOAD_MB = 162
SPACE = 400 * 2**20  # bytes: the archive and what is in it, side by side for a moment
TIMEOUT = 20.0  # seconds without a byte
CHUNK = 2**18  # bytes between two looks at whether to stop

PYTHON_MD5 = {  # the list in torchvision.datasets.CIFAR10
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "test_batch": "40351d587109b95175f43aff81a1287e",
}

T = TypeVar("T")
Opener = Callable[..., Any]  # urllib.request.urlopen, or what a test puts in its place


class Cifar10World(ImageWorld):
    """CIFAR-10 (Krizhevsky 2009), 32 × 32 colour pixels, 50,000 + 10,000 images."""

    name: Literal["cifar10"] = knob("cifar10", "Where the images come from.")
    folder: str = knob(
        "", "Folder that holds cifar-10-batches-bin or cifar-10-batches-py; empty: where the data dialog puts it."
    )


def load(knobs: Cifar10World, folder: Path, report: Report) -> Images:
    """50,000 training and 10,000 test images, (3, 32, 32), from ``folder`` or the folder of batches in it.

    Raises :class:`ConfigError` naming ``world.folder`` if there is none, or if a file is missing or damaged.
    """
    return read(folder, report)


def read(folder: Path, report: Report, *, per_file: int = PER_FILE, md5: dict[str, str] | None = None) -> Images:
    """As :func:`load`; ``per_file`` images are expected in each file, and ``md5`` of the Python version's files."""
    found = _batches(folder)
    if found is None:
        raise ConfigError(
            f"world.folder: {folder} holds no CIFAR-10; allowed: a folder with {BINARY} or {PYTHON} in it "
            f"(download: {DOWNLOAD_MB} MB)"
        )
    where, binary = found
    parts: list[tuple[Bytes, Indices]] = []
    for i, name in enumerate((*TRAIN, TEST)):
        report(i / 6, f"reading CIFAR-10, file {i + 1} of 6")
        path = where / (f"{name}.bin" if binary else name)
        data = _content(path, binary, per_file)
        parts.append(_binary(path, data, per_file) if binary else _python(path, data, per_file, md5 or PYTHON_MD5))
    report(1.0, "CIFAR-10 is read")
    train = np.concatenate([x for x, _ in parts[:5]]), np.concatenate([y for _, y in parts[:5]])
    version = "binary" if binary else "Python"
    return Images.of("cifar10", train, parts[5], CLASSES, f"CIFAR-10 (Krizhevsky 2009), {version} version, {where}")


def _content(path: Path, binary: bool, per_file: int) -> bytes:
    """The file's bytes; its kind and size are looked at before any is read."""
    expected = per_file * (1 + PIXELS)
    try:
        about = path.stat()
        if not stat.S_ISREG(about.st_mode):
            raise ConfigError(f"world.folder: {path} is no file; allowed: a batch of CIFAR-10")
        if binary and about.st_size != expected:
            raise ConfigError(
                f"world.folder: {path} has {about.st_size:,} bytes; allowed: {expected:,} (damaged: download it again)"
            )
        if about.st_size > MOST * expected:
            raise ConfigError(f"world.folder: {path} has {about.st_size:,} bytes; allowed: up to {MOST * expected:,}")
        with path.open("rb") as file:
            return file.read(MOST * expected)
    except OSError as error:
        raise ConfigError(f"world.folder: {path} cannot be read: {error.strerror}") from None


def _batches(folder: Path) -> tuple[Path, bool] | None:
    """The folder of batches in ``folder``, or itself, and whether it is of the binary version; that one first."""
    for name, first, binary in ((BINARY, "data_batch_1.bin", True), (PYTHON, "data_batch_1", False)):
        for where in (folder, folder / name):
            if (where / first).is_file():
                return where, binary
    return None


def _binary(path: Path, data: bytes, per_file: int) -> tuple[Bytes, Indices]:
    if len(data) != per_file * (1 + PIXELS):  # it has grown or shrunk since it was looked at
        raise ConfigError(f"world.folder: {path} is being written; try again")
    rows = np.frombuffer(data, np.uint8).reshape(per_file, 1 + PIXELS)
    label = rows[:, 0].astype(np.int64)
    if label.max() >= len(CLASSES):
        raise ConfigError(f"world.folder: {path} holds the label {label.max()}; allowed: 0 to 9 (not CIFAR-10)")
    return rows[:, 1:].reshape(per_file, 3, SIDE, SIDE), label


def _python(path: Path, data: bytes, per_file: int, md5: dict[str, str]) -> tuple[Bytes, Indices]:
    if hashlib.md5(data, usedforsecurity=False).hexdigest() != md5[path.name]:
        raise ConfigError(
            f"world.folder: {path} has not the checksum of CIFAR-10's {path.name}; download it again (it is a pickle: "
            "unverified ones are not read)"
        )
    pixels, labels, in_labels = b"", list[int](), False
    try:
        for opcode, argument, _ in pickletools.genops(data):
            if isinstance(argument, (str, bytes)):
                text = argument.encode("latin-1") if isinstance(argument, str) else argument
                in_labels = text == b"labels"  # a key of the dictionary; the integers that follow are its list
                if len(text) == per_file * PIXELS:
                    pixels = text
            elif in_labels and argument is not None and opcode.name in ("BININT1", "BININT2", "BININT"):
                labels.append(argument)
    except (ValueError, UnicodeError):  # the checksum is right, so this is a fault of this function
        pixels = b""
    if not pixels or len(labels) != per_file or max(labels) >= len(CLASSES):
        raise ConfigError(f"world.folder: {path} cannot be taken apart; use CIFAR-10's binary version")
    return np.frombuffer(pixels, np.uint8).reshape(per_file, 3, SIDE, SIDE), np.array(labels, np.int64)


def find(folder: Path) -> Place:
    """Installed, where, bytes and a note."""
    found = _batches(folder)
    if found is None:
        return False, str(folder), 0, f"download: {DOWNLOAD_MB} MB, from {URL}"
    where, binary = found
    paths = [where / (f"{name}.bin" if binary else name) for name in (*TRAIN, TEST)]
    missing = [path.name for path in paths if not path.is_file()]
    size = sum(path.stat().st_size for path in paths if path.is_file())
    if missing:
        return False, str(where), size, f"incomplete: {', '.join(missing)} missing; download: {DOWNLOAD_MB} MB"
    return True, str(where), size, "binary version" if binary else "Python version"


def download(
    folder: Path,
    *,
    progress: Report | None = None,
    cancelled: Callable[[], bool] | None = None,
    opener: Opener = urllib.request.urlopen,
    md5: str = ARCHIVE_MD5,
    per_file: int = PER_FILE,
) -> Path:
    """Download CIFAR-10's binary version (162 MB) into ``folder``; returns the folder of batches made there.

    The archive is written under a temporary name, checked, and its files come into being by one rename. An archive of
    that name that is in ``folder`` already is used in place of the network. Raises :class:`ExplorerError` without a
    network, without space or with a wrong checksum, and ``Cancelled``; none leaves anything behind.
    """
    report = reporting(progress, cancelled)
    report(0.0, f"connecting to {URL.split('/')[2]}")
    target = folder / BINARY
    try:
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
        if free < SPACE:
            raise ExplorerError(f"download: {folder} has {free / 2**20:.0f} MB free; needed: {SPACE / 2**20:.0f} MB")
        with tempfile.TemporaryDirectory(dir=folder, prefix=f".{BINARY}.") as scratch:
            archive = folder / ARCHIVE
            if not archive.is_file():
                archive = Path(scratch) / ARCHIVE
                _fetch(archive, report, opener)
            _unpack(archive, Path(scratch) / BINARY, report, md5, per_file)
            if target.exists():  # an incomplete one: a rename onto it is not allowed
                shutil.rmtree(target)
            (Path(scratch) / BINARY).rename(target)
    except OSError as error:
        raise ExplorerError(f"download: {folder} cannot be written: {error.strerror or error}") from None
    report(1.0, "CIFAR-10 is installed")
    return target


def _fetch(archive: Path, report: Report, opener: Opener) -> None:
    with _network(lambda: opener(URL, timeout=TIMEOUT)) as answer, archive.open("wb") as file:
        total = int(answer.headers.get("Content-Length") or DOWNLOAD_MB * 2**20)
        done = 0
        while chunk := _network(lambda: answer.read(CHUNK)):
            file.write(chunk)
            done += len(chunk)
            report(0.9 * done / total, f"downloading CIFAR-10: {done / 2**20:.0f} of {total / 2**20:.0f} MB")


def _network(call: Callable[[], T]) -> T:
    """What ``call`` gives; errors of network and server become one line, told apart from those of the disk."""
    try:
        return call()
    except (OSError, http.client.HTTPException) as error:
        text = " ".join(str(getattr(error, "reason", error)).split()) or type(error).__name__
        raise ExplorerError(
            f"download: {URL} cannot be read: {text}; check the network, or put {ARCHIVE} into the folder"
        ) from None


def _unpack(archive: Path, target: Path, report: Report, md5: str, per_file: int) -> None:
    """Write the batches in ``archive`` to ``target``: only files of known names and sizes, to names of our own."""
    found = hashlib.md5(usedforsecurity=False)
    with archive.open("rb") as file:
        while chunk := file.read(CHUNK):
            found.update(chunk)
            report(0.9, "checking CIFAR-10")
    if found.hexdigest() != md5:
        raise ExplorerError(
            f"download: {archive.name} has the MD5 sum {found.hexdigest()}; allowed: {md5} (cut off or changed: delete "
            "it and try again)"
        )
    target.mkdir()
    wanted = {f"{BINARY}/{name}.bin" for name in (*TRAIN, TEST)}
    size = per_file * (1 + PIXELS)
    try:
        with tarfile.open(archive, "r:gz") as tar:
            for member in tar:
                content = tar.extractfile(member) if member.name in wanted and member.isfile() else None
                if content is None or member.size != size:
                    continue
                wanted.remove(member.name)
                report(0.98 - 0.01 * len(wanted), f"unpacking CIFAR-10, {len(wanted)} files to go")
                (target / Path(member.name).name).write_bytes(content.read())
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise ExplorerError(f"download: {archive.name} cannot be unpacked: {error}") from None
    if wanted:
        raise ExplorerError(f"download: {archive.name} holds no {sorted(wanted)[0]} of {size:,} bytes")


sources.register("cifar10", order=2)(
    DataSource(
        Cifar10World,
        "CIFAR-10",
        "60,000 colour images of 32×32 pixels, 10 classes: 50,000 for training, 10,000 held out",
        load,
        find,
        preset="cifar10-filters",
        download=lambda folder, **how: download(folder, **how),
    ),
)
