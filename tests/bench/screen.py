"""A virtual screen for a benchmark that needs a real window."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from tests.real_window import virtual_screen


@contextmanager
def screen() -> Iterator[dict[str, str]]:
    """The environment of a program on a screen: the present one, or Xvfb's where there is none."""
    if os.environ.get("DISPLAY") or not shutil.which("Xvfb"):
        yield dict(os.environ)
        return
    with virtual_screen() as name:
        yield {**os.environ, "DISPLAY": name, "QT_QPA_PLATFORM": "xcb"}
