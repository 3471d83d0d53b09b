"""Work in slices: generators that yield between pieces of a few milliseconds and return a result."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TypeVar

Y = TypeVar("Y")
T = TypeVar("T")


def finish(work: Generator[Y, None, T], each: Callable[[Y], object] | None = None) -> T:
    """Run ``work`` to its end and return its result; ``each`` hears what it yields."""
    while True:
        try:
            yielded = next(work)
        except StopIteration as stop:
            result: T = stop.value
            return result
        if each is not None:
            each(yielded)
