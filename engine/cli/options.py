"""Options of several commands: plugins, those of views, and where a run's images are."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from engine.core.errors import ConfigError
from engine.core.quoting import quote

PLUGIN = "--plugin"


def plugins_in(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """The plugins that the command line names anywhere, and the rest of it.

    Raises :class:`ConfigError` for a ``--plugin`` without a name.
    """
    named, rest = [], []
    words = iter(arguments)
    for word in words:
        option, separator, value = word.partition("=")
        if option != PLUGIN:
            rest.append(word)
            continue
        if not separator:
            value = next(words, "")
        if not value or value.startswith("--"):
            raise ConfigError(f"{PLUGIN}: none was named; allowed: the path of a .py file, or an installed plugin")
        named.append(value)
    return named, rest


def options_of(texts: Sequence[str]) -> dict[str, str]:
    """Name → value of texts ``name=value``. Raises :class:`ConfigError` for one that is not of this form."""
    found = {}
    for text in texts:
        name, separator, value = text.partition("=")
        if not separator:
            raise ConfigError(f"--option: got {quote(text)}; allowed: name=value, e.g. neurons.space=dictionary")
        found[name] = value
    return found


def images_at(folder: Path, data: Path | None) -> AbstractContextManager[None]:
    """:func:`engine.worlds.images_at`; without ``data`` nothing is imported for it: most figures do without torch."""
    if data is None:
        return nullcontext()
    from engine import worlds

    return worlds.images_at(folder, data)
