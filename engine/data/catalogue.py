"""The data sets of images by name: load one, or ask what is installed, where and how large.

A new source is one new file in :mod:`engine.data.sets` that registers itself. Asking what is installed
imports no torch.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import platformdirs

from engine.core.errors import ConfigError
from engine.data.images import Images, Installed, Report, reporting, sources

APP = "feature-purification-explorer"
VARIABLE = "FP_DATA"


def default_folder() -> Path:
    """Where data sets are looked for and downloaded to; the environment variable ``FP_DATA`` names another place."""
    chosen = os.environ.get(VARIABLE)
    return Path(chosen).expanduser() if chosen else Path(platformdirs.user_data_path(APP, appauthor=False)) / "data"


def place(name: str, folder: str = "") -> Path:
    """Where the source ``name`` is looked for: ``folder``, or if that is empty its place in the default one."""
    return Path(folder).expanduser() if folder else default_folder() / sources[name].place


def load(
    name: str,
    *,
    folder: str = "",
    side: int = 0,
    progress: Report | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Images:
    """Load the data set ``name`` from ``folder``, or from the default place if that is empty.

    ``side`` > 0 resizes a folder of images to that many pixels. ``progress`` is told (share, text) now and then; if
    ``cancelled()`` turns true, ``Cancelled`` is raised. Raises :class:`ConfigError` naming ``world.folder`` if the
    data cannot be read, or ``world.name`` if there is no such source.
    """
    where = place(name, folder)
    try:
        return sources[name].load(where, side, reporting(progress, cancelled))
    except OSError as error:  # what a loader did not foresee, such as a folder that may not be entered
        raise ConfigError(f"world.folder: {where} cannot be read: {error.strerror or error}") from None


def survey(folder: str = "") -> tuple[Installed, ...]:
    """What is there of each source, in ``folder`` or in the default place; no image is read."""
    found = []
    for name in sources:
        source = sources[name]
        try:
            installed, where, size, note = source.find(place(name, folder))
        except OSError as error:
            installed, where, size, note = False, str(place(name, folder)), 0, f"cannot be read: {error.strerror}"
        found.append(Installed(name, source.title, installed, where, size, source.images, note))
    return tuple(found)
