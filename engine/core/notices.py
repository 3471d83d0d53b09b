"""What the user should know although nothing has failed, wherever it comes to light: said to who listens."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

_listeners: list[Callable[[str], object]] = []


def notice(text: str) -> None:
    """Say one line to all who listen; to nobody, if nobody does."""
    for listener in tuple(_listeners):
        listener(text)


@contextmanager
def heard_by(listener: Callable[[str], object]) -> Iterator[None]:
    """While this is open ``listener`` hears each line, once however often it is said; in any thread."""
    said: set[str] = set()

    def once(text: str) -> None:
        if text not in said:
            said.add(text)
            listener(text)

    _listeners.append(once)
    try:
        yield
    finally:
        _listeners.remove(once)
