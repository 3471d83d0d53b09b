"""The trial data: 25,000 JPEG images of CIFAR-10, which are no part of this repository."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

VARIABLE = "FP_TRIAL_DATA"
BESIDE = Path(__file__).resolve().parents[2] / "shared" / "data" / "cifar10-sample.zip"


def find() -> Path | None:
    """The .zip named by ``FP_TRIAL_DATA``, or the one beside the repository; None where there is none."""
    path = Path(os.environ.get(VARIABLE) or BESIDE)
    return path if path.is_file() else None


def trial_zip() -> Path:
    """That file; skips the test where there is none."""
    path = find()
    if path is None:
        pytest.skip(f"the trial data are missing: {BESIDE} (the variable {VARIABLE} names another place)")
    return path
