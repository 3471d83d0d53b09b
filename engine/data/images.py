"""Labelled images: a whole data set as uint8 tensors, and the table of the places it can come from.

Loaders, one a file, read a source into :class:`Images`. Asking what is installed imports no torch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from engine.config.knobs import World, knob
from engine.core.errors import ConfigError, ExplorerError
from engine.core.registry import Registry

if TYPE_CHECKING:
    import torch

SPLIT_SEED = 0  # of every split and order that belongs to a data set, not to a run
Report = Callable[[float, str], None]  # (share done in [0, 1], what is being done); raises Cancelled
BOX = (0.0, 1.0)  # every image, perturbed or not, stays in it
Bytes = NDArray[np.uint8]
Indices = NDArray[np.int64]


class ImageWorld(World):
    """Images in [0, 1] with labels from a data set."""

    train_size: int = knob(
        0, "Training images, the same number of each class, chosen by the seed; 0: all.", low=0, high=2_000_000,
        unit="images", zero="all",
    )  # fmt: skip


class Cancelled(ExplorerError):  # noqa: N818 - a wish, no fault
    """Loading or downloading was stopped on request; nothing half-done is left behind."""

    def __init__(self) -> None:
        super().__init__("loading was cancelled")


class ImagesMissing(ConfigError):  # noqa: N818 - they may well be elsewhere
    """The images of a run are not where it found them, or are others now; ``--data`` can say where they are."""


@dataclass(frozen=True, slots=True)
class Images:
    """A data set in memory: pixels uint8 (N, C, H, W), labels int64 (N,) that index ``classes``.

    ``source`` says in words where it came from, ``skipped`` which files there were left out, by kind. The test images
    are in a shuffled order that is the same each time, so the first n of them are a fair sample of the classes.
    """

    name: str
    train_x: torch.Tensor
    train_y: torch.Tensor
    test_x: torch.Tensor
    test_y: torch.Tensor
    classes: tuple[str, ...]
    source: str
    skipped: str = ""

    @classmethod
    def of(
        cls,
        name: str,
        train: tuple[Bytes, Indices],
        test: tuple[Bytes, Indices],
        classes: Sequence[str],
        source: str,
        skipped: str = "",
    ) -> Images:
        """A data set of arrays, each pair pixels (N, C, H, W) and labels (N,); the test images are shuffled here."""
        import torch

        from engine.core.generators import seeded

        order = torch.randperm(len(test[1]), generator=seeded(SPLIT_SEED, f"{name}/test order"))
        train_x, train_y, test_x, test_y = (
            torch.from_numpy(np.require(a, requirements=["C", "W"])) for a in (*train, *test)
        )
        return cls(name, train_x, train_y, test_x[order], test_y[order], tuple(classes), source, skipped)

    def words(self) -> str:
        """Classes, counts, source and what was skipped, in one line: a misreading of a folder is to be seen."""
        return summary(self.classes, len(self.train_y), len(self.test_y), self.source, self.skipped)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of an image."""
        channels, height, width = self.train_x.shape[1:]
        return channels, height, width

    def subset(self, train_size: int, seed: int) -> Images:
        """This data set with ``train_size`` training images, 0 for all of them, in an order that depends on ``seed``.

        The numbers per class differ by one at most, as long as every class has enough, and a larger subset of a seed
        contains the smaller ones. Raises :class:`ConfigError` if there are fewer images than that, or classes than
        images.
        """
        import torch

        from engine.core.generators import seeded

        total, classes = len(self.train_y), len(self.classes)
        if train_size and not classes <= train_size <= total:
            raise ConfigError(
                f"world.train_size: got {train_size}; allowed: 0 (all) or {classes} (one a class) to {total}"
            )
        device = self.train_y.device
        order = torch.randperm(total, generator=seeded(seed, "subset")).to(device)
        label = self.train_y[order]
        one_hot = torch.nn.functional.one_hot(label, classes)
        rank = one_hot.cumsum(0).gather(1, label[:, None])[:, 0]  # the how-manieth of its class in this order
        first = torch.argsort(rank, stable=True)[: train_size or total]  # every class's first, then every second, …
        chosen = order[first.sort().values]  # back in random order: no class pattern in the row of images
        return replace(self, train_x=self.train_x[chosen], train_y=self.train_y[chosen])

    def to(self, device: torch.device | str, *, channels_last: bool = False) -> Images:
        """This data set on ``device``; with ``channels_last`` the pixels lie in memory as (N, H, W, C)."""
        import torch

        layout = torch.channels_last if channels_last else torch.contiguous_format
        return replace(
            self,
            train_x=self.train_x.to(device).contiguous(memory_format=layout),
            train_y=self.train_y.to(device),
            test_x=self.test_x.to(device).contiguous(memory_format=layout),
            test_y=self.test_y.to(device),
        )

    def digest(self) -> str:
        """SHA-256 over classes, and over types, shapes and bytes of the arrays; the same on every device."""
        found = hashlib.sha256("\0".join(self.classes).encode())
        for tensor in (self.train_x, self.train_y, self.test_x, self.test_y):
            array: NDArray[Any] = np.ascontiguousarray(tensor.cpu().numpy())
            plain = array.astype(array.dtype.newbyteorder("<"), copy=False)
            found.update(f"{plain.dtype.str}{array.shape}".encode())
            found.update(plain.data)
        return found.hexdigest()


@dataclass(frozen=True, slots=True)
class Installed:
    """What is there of one source.

    ``images`` says what the data set is; ``where`` the file or folder it is in, or would be looked for; ``size_bytes``
    what that takes on disk, 0 if it is not there; ``note`` how to get it, or what is wrong with it.
    """

    name: str
    title: str
    installed: bool
    where: str
    size_bytes: int
    images: str
    note: str


Place = tuple[bool, str, int, str]  # installed, where, size_bytes, note: as in Installed


@dataclass(frozen=True, slots=True)
class DataSource:
    """A kind of data set.

    ``knobs`` is its group of knobs, whose ``name`` has the source's own as default; with a knob ``folder`` it can lie
    anywhere, and else only where ``find`` knows. ``place`` is its folder inside the default one. ``load`` takes the
    knobs, the folder and a report; ``find`` takes a folder and must be quick: no image is read. ``preset`` is the one
    that fits these images; data sets of the same preset are exchanged with all other knobs kept. ``download``, where it
    can be had from the network, takes a folder, ``progress`` and ``cancelled``, and returns what was made in it.
    ``locate`` takes a folder and gives the file or folder that is read, whose changes matter; without it ``find`` says.
    """

    knobs: type[ImageWorld]
    title: str
    images: str
    load: Callable[[Any, Path, Report], Images]
    find: Callable[[Path], Place]
    place: str = ""
    preset: str = ""
    download: Callable[..., Path] | None = None
    locate: Callable[[Path], Path | None] | None = None

    @property
    def in_folder(self) -> bool:
        """Whether the user may say where it lies."""
        return "folder" in self.knobs.model_fields

    @property
    def in_zip(self) -> bool:
        """Whether that may be a .zip, too: then the knob's own words say so."""
        return self.in_folder and ".zip" in (self.knobs.model_fields["folder"].description or "")


def summary(classes: Sequence[str], train: int, held_out: int, *more: str) -> str:
    """Classes and counts in one line, so that a misreading is seen; the names of eight classes at most."""
    names = ", ".join(short(name) for name in classes[:8]) + (", …" if len(classes) > 8 else "")
    counts = f"{len(classes):,} classes ({names}), {train:,} images for training, {held_out:,} held out"
    return "; ".join([counts, *(text for text in more if text)])


def short(name: str) -> str:
    """The name of a class or folder, cut to what fits into a line."""
    plain = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in name)
    return plain if len(plain) <= 24 else plain[:23] + "…"


sources: Registry[DataSource] = Registry("world.name", "engine.data.sets")


def reporting(progress: Report | None, cancelled: Callable[[], bool] | None) -> Report:
    """One function for loaders to call now and then: it raises :class:`Cancelled`, or passes the progress on."""

    def report(share: float, text: str) -> None:
        if cancelled is not None and cancelled():
            raise Cancelled
        if progress is not None:
            progress(min(max(share, 0.0), 1.0), text)

    return report


def stratified(labels: Indices, share: float, name: str) -> tuple[Indices, Indices]:
    """Places (ascending) of training and test images: of each class ``share`` is for testing, and one at least.

    The choice depends on ``name`` alone. A class needs two images.
    """
    import torch

    from engine.core.generators import seeded

    order = torch.randperm(len(labels), generator=seeded(SPLIT_SEED, f"{name}/split")).numpy()
    is_test = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        members = order[labels[order] == label]
        is_test[members[: max(1, round(len(members) * share))]] = True
    return np.flatnonzero(~is_test), np.flatnonzero(is_test)


class HeldOutImages:
    """The test images of ``images``, always in the same order: the first n of them are a fair sample."""

    def __init__(self, images: Images) -> None:
        self._x, self._y = images.test_x, images.test_y

    def __len__(self) -> int:
        return len(self._y)

    def take(self, n: int) -> tuple[torch.Tensor, torch.Tensor]:
        """The first ``n`` (or all, if there are fewer): x float32 (n, C, H, W) in [0, 1], y int64 (n,)."""
        from engine.data.augment import pixels

        return pixels(self._x[:n]), self._y[:n]
