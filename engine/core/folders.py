"""The user's own folder on this machine."""

from __future__ import annotations

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
