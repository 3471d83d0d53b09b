"""Plugins for the tests: the examples as files, what is wrong with others, and a process that has none loaded."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from engine.core import plugins

EXAMPLES = Path(__file__).parent / "examples"


def example(name: str, folder: Path) -> Path:
    """A copy of an example as a file of the user's own."""
    folder.mkdir(exist_ok=True)
    return Path(shutil.copy(EXAMPLES / name, folder / name))


@contextmanager
def none_left() -> Iterator[None]:
    """What is loaded inside is taken back at the end."""
    before = {each.name for each in plugins.loaded()}
    try:
        yield
    finally:
        for each in plugins.loaded():
            if each.name not in before:
                plugins.unload(each.name)


@contextmanager
def loaded(*files: Path) -> Iterator[None]:
    """Inside, these are loaded."""
    with none_left():
        plugins.load_all(map(str, files))
        yield
