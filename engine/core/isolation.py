"""Python processes of our own, kept apart from what lies in the current folder and from what the environment asks."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]  # where the packages of this program are


def child_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """``environment`` for a Python process that runs this program.

    A ``random.py`` or an ``engine/`` in its current folder is not imported; these packages are found first, so that it
    also runs from a source tree; what it prints is UTF-8 and comes at once.
    """
    given = environment.get("PYTHONPATH", "").split(os.pathsep)
    folders = [str(ROOT), *(each for each in given if Path(each).is_absolute())]  # the others mean the current folder
    return {
        **environment,
        "PYTHONPATH": os.pathsep.join(folders),
        "PYTHONSAFEPATH": "1",
        "PYTHONUTF8": "1",
        "PYTHONUNBUFFERED": "1",
    }
