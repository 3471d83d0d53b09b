"""A name → object table filled by a decorator, and by importing the packages whose files fill it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pkgutil import iter_modules
from threading import RLock
from types import FrameType
from typing import Any, Generic, TypeVar

from engine.core.errors import ConfigError
from engine.core.quoting import quote

T = TypeVar("T")


class Registry(Generic[T]):
    """Named things of one kind, such as attacks or views.

    ``packages`` are imported with all their modules (modules with what they hold) before the first look-up, so that a
    new file in one of them is found without being named anywhere; they are then listed by ``order`` and name, whichever
    was imported first. A second registration of a name raises ``ValueError``
    (a programming error); an unknown name raises :class:`ConfigError` that lists the known ones.
    """

    def __init__(self, kind: str, *packages: str) -> None:
        self.kind = kind
        self._packages = packages
        self._discovered = not packages
        self._discovering = False
        self._lock = RLock()
        self._items: dict[str, T] = {}
        self._order: dict[str, int] = {}

    def register(self, name: str, *, order: int = 0) -> Callable[[T], T]:
        """Return a decorator that files its object under ``name``; those of lower ``order`` are listed first."""

        def add(item: T) -> T:
            if watched := _watched_by(sys._getframe(1)):
                self._discover()  # else one that comes first could take the name of one of our own
            if name in self._items:
                raise ValueError(f"{self.kind} {name!r} is registered twice")
            self._items[name] = item
            self._order[name] = order
            for added in watched:
                added.append((self, name))
            return item

        return add

    def remove(self, name: str) -> None:
        """Take back a registration, as is done with one by a plugin that then fails."""
        del self._items[name], self._order[name]

    def _discover(self) -> None:
        if self._discovered:
            return
        with self._lock:  # another thread that looks something up meanwhile waits for all of it
            if self._discovered or self._discovering:  # what is imported now may look things up itself
                return
            self._discovering = True
            try:
                for package in self._packages:
                    module = import_module(package)
                    for info in iter_modules(getattr(module, "__path__", ())):
                        import_module(f"{package}.{info.name}")
                self._discovered = True
            finally:
                self._discovering = False

    def __getitem__(self, name: str) -> T:
        self._discover()
        if name not in self._items:
            raise ConfigError(f"{self.kind}: got {quote(name)}; allowed: {', '.join(self)}")
        return self._items[name]

    def get(self, name: str) -> T | None:
        """What is filed under ``name``, if anything is."""
        self._discover()
        return self._items.get(name)

    def __contains__(self, name: object) -> bool:
        self._discover()
        return name in self._items

    def __iter__(self) -> Iterator[str]:
        self._discover()
        by_name = bool(self._packages)
        return iter(sorted(self._items, key=lambda name: (self._order[name], name if by_name else "")))

    def __len__(self) -> int:
        self._discover()
        return len(self._items)


Registration = tuple[Registry[Any], str]
_watches: list[tuple[Callable[[str], bool], list[Registration]]] = []


@contextmanager
def watching(is_of: Callable[[str], bool], added: list[Registration]) -> Iterator[None]:
    """Inside, what is registered while a file is imported that ``is_of`` says yes to is appended to ``added``."""
    watch = (is_of, added)
    _watches.append(watch)
    try:
        yield
    finally:
        _watches.remove(watch)


def _watched_by(frame: FrameType | None) -> list[list[Registration]]:
    """Where to note a registration in ``frame``: the file whose import it belongs to is the innermost one."""
    if not _watches:
        return []
    while frame is not None and frame.f_code.co_name != "<module>":
        frame = frame.f_back
    return [] if frame is None else [added for is_of, added in _watches if is_of(frame.f_code.co_filename)]
