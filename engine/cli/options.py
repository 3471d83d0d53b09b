"""The options of views as the command line takes them."""

from __future__ import annotations

from collections.abc import Sequence

from engine.core.errors import ConfigError
from engine.core.quoting import quote


def options_of(texts: Sequence[str]) -> dict[str, str]:
    """Name → value of texts ``name=value``. Raises :class:`ConfigError` for one that is not of this form."""
    found = {}
    for text in texts:
        name, separator, value = text.partition("=")
        if not separator:
            raise ConfigError(f"--option: got {quote(text)}; allowed: name=value, e.g. neurons.space=dictionary")
        found[name] = value
    return found
