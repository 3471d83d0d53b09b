"""The user's own folder on this machine."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import platformdirs

from engine.core.errors import ConfigError

APP = "feature-purification-explorer"


def user_data(variable: str) -> Path:
    """Where the user's runs and data sets are kept, absolute; ``variable`` is what could name another place.

    Raises :class:`ConfigError` if there is none: without ``HOME``, for a user whom the system does not know, it would
    become a folder called ``~`` in the current one.
    """
    try:
        found = Path(platformdirs.user_data_path(APP, appauthor=False))
    except RuntimeError:  # newer versions of platformdirs; older ones return a path that begins with ~
        found = Path()
    if not found.is_absolute():
        raise ConfigError(f"no home folder is known for this user: set HOME, or {variable} to a folder")
    return found


def runs_root() -> Path:
    """The folder that holds the runs: the environment variable ``FP_RUNS``, else the user's data folder."""
    chosen = os.environ.get("FP_RUNS")
    return Path(chosen) if chosen else user_data("FP_RUNS") / "runs"


def user_cache() -> Path | None:
    """Where what can be made again at any time is kept, absolute; None where no home folder is known."""
    with suppress(RuntimeError):
        found = Path(platformdirs.user_cache_path(APP, appauthor=False))
        return found if found.is_absolute() else None
    return None
