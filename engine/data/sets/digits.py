"""Handwritten digits of 8×8 pixels, inside scikit-learn: always there, no network."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import numpy as np

from engine.config.knobs import knob
from engine.data.images import DataSource, Images, ImageWorld, Place, Report, sources, stratified

TEST_SHARE = 0.22  # about 400 images, as many as leave a 95% interval of ±0.05 on an accuracy


class DigitsWorld(ImageWorld):
    """Handwritten digits, 8 × 8 grey pixels, 1,797 images; come with scikit-learn."""

    name: Literal["digits"] = knob("digits", "Where the images come from.")


def load(knobs: DigitsWorld, folder: Path, report: Report) -> Images:
    """The 1,797 digits, grey (1, 8, 8), their 17 levels spread over 0 to 255; ``folder`` is not used."""
    report(0.0, "reading the digits")
    from sklearn.datasets import load_digits  # type: ignore[import-untyped]

    bunch = load_digits()
    x = np.rint(bunch.images * (255 / 16)).astype(np.uint8)[:, None]
    y = bunch.target.astype(np.int64)
    train, test = stratified(y, TEST_SHARE, "digits")
    report(1.0, "the digits are read")
    return Images.of(
        "digits",
        (x[train], y[train]),
        (x[test], y[test]),
        [str(name) for name in bunch.target_names],
        "scikit-learn's digits (UCI, Alpaydin and Kaynak 1998)",
    )


def find(folder: Path) -> Place:
    """Installed, where, bytes and a note."""
    found = find_spec("sklearn")
    if found is None or found.origin is None:
        return False, "scikit-learn", 0, "pip install scikit-learn"
    where = Path(found.origin).parent / "datasets" / "data" / "digits.csv.gz"
    return True, str(where), where.stat().st_size if where.is_file() else 0, "part of scikit-learn"


sources.register("digits", order=0)(
    DataSource(
        DigitsWorld,
        "Digits",
        "1,797 grey images of 8×8 pixels, 10 classes: 1,402 for training, 395 held out",
        load,
        find,
        preset="digits",
    ),
)
