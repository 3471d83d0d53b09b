"""Work in slices: generators that yield between pieces of a few milliseconds and return a result."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TypeVar

S = TypeVar("S")
R = TypeVar("R")
T = TypeVar("T")

Progress = Callable[[float, str], None]
"""Hears the share done in [0, 1] and what is under way, in a few words."""


def silent(share: float, what: str) -> None:
    """The :data:`Progress` that tells nobody."""


def finish(work: Generator[S, None, T], each: Callable[[S], object] | None = None) -> T:
    """Run ``work`` to its end and return its result; ``each`` hears what it yields."""
    while True:
        try:
            yielded = next(work)
        except StopIteration as stop:
            result: T = stop.value
            return result
        if each is not None:
            each(yielded)


def mapped(work: Generator[S, None, T], say: Callable[[S], R]) -> Generator[R, None, T]:
    """The same slices, but each yields ``say`` of what it yielded."""
    while True:
        try:
            item = next(work)
        except StopIteration as stop:
            result: T = stop.value
            return result
        yield say(item)
