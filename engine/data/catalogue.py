"""The data sets of images: load or download one, or ask what is installed, where and how large.

A new source is one new file in :mod:`engine.data.sets` that registers itself. Asking what is installed imports no
torch.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from engine.core import plugins
from engine.core.errors import ConfigError
from engine.core.folders import user_data
from engine.data.images import Images, ImageWorld, Installed, Report, reporting, sources
from engine.data.tree import signature as signature_of

VARIABLE = "FP_DATA"


def default_folder() -> Path:
    """Where data sets are looked for and downloaded to; the environment variable ``FP_DATA`` names another place."""
    chosen = os.environ.get(VARIABLE)
    return Path(chosen).expanduser() if chosen else user_data(VARIABLE) / "data"


def place(name: str, folder: str = "") -> Path:
    """Where the source ``name`` is looked for: ``folder``, or if that is empty its place in the default one."""
    return Path(folder).expanduser() if folder else default_folder() / sources[name].place


def folder_of(world: ImageWorld) -> str:
    """The folder that the knobs of a data set name; empty if they name none, or have no such knob."""
    return str(getattr(world, "folder", ""))


def load(world: ImageWorld, *, progress: Report | None = None, cancelled: Callable[[], bool] | None = None) -> Images:
    """Load the data set that the knobs ``world`` are of, whole: ``train_size`` is not looked at.

    ``progress`` is told (share, text) now and then; if ``cancelled()`` turns true, ``Cancelled`` is raised. Raises
    :class:`ConfigError` naming ``world.folder`` if the data cannot be read.
    """
    where = place(world.name, folder_of(world))
    try:
        return sources[world.name].load(world, where, reporting(progress, cancelled))
    except OSError as error:  # what a loader did not foresee, such as a folder that may not be entered
        text = f"world.folder: {where} cannot be read: {error.strerror or error}"
        raise ConfigError(plugins.named(text, error)) from None


def signature(world: ImageWorld) -> tuple[str, str]:
    """Where the data set of these knobs is read from, and the signature of every file there; no image is read.

    Two equal ones mean that nothing was moved, replaced, changed or added in between.
    """
    source, folder = sources[world.name], place(world.name, folder_of(world))
    try:
        found = source.locate(folder) if source.locate is not None else Path(source.find(folder)[1])
    except OSError:
        found = None
    return (str(folder), "") if found is None else (str(found), signature_of(found))


def download(
    name: str | None, folder: str = "", *, progress: Report | None = None, cancelled: Callable[[], bool] | None = None
) -> Path:
    """Fetch the data set ``name`` into ``folder`` or its default place; returns what was made there.

    Raises :class:`ConfigError` if there is no such one to be had from the network, and what its own function raises.
    """
    offered = {each: fetch for each in sources if (fetch := sources[each].download) is not None}
    if name not in offered:
        got = "no name" if name is None else repr(name)
        raise ConfigError(f"data: got {got}; allowed with --download: {', '.join(offered)}")
    return offered[name](place(name, folder), progress=progress, cancelled=cancelled)


def look(name: str, folder: str = "") -> Installed:
    """What is there of the source ``name``, in ``folder`` or in its default place; no image is read."""
    source = sources[name]
    try:
        found = source.find(place(name, folder))
    except OSError as error:
        found = False, str(place(name, folder)), 0, f"cannot be read: {error.strerror}"
    except Exception as error:
        if not plugins.blame(error):
            raise
        found = False, str(place(name, folder)), 0, plugins.brief(error)  # the others are listed all the same
    installed, where, size, note = found
    return Installed(name, source.title, installed, where, size, source.images, note)


def survey(folder: str = "") -> tuple[Installed, ...]:
    """The same of each source."""
    return tuple(look(name, folder) for name in sources)
