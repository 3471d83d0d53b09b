"""A run folder as the source of the figures that claims are decided from."""

from __future__ import annotations

from collections.abc import Iterable

from engine.claims.base import FigureSource
from engine.config.experiment import Config
from engine.core.history import Series
from engine.core.measurement import Measurement
from engine.run.snapshot import Event
from engine.run.store import Store


class StoreSource(FigureSource):
    """A run folder as the source of figures. Raises :class:`StoreError` if what it has recorded is damaged."""

    def __init__(self, store: Store) -> None:
        store.check()
        self._store = store
        self._config = store.load().config if store.checkpoints() else store.config

    @property
    def config(self) -> Config:
        """The knobs at the newest checkpoint."""
        return self._config

    @property
    def events(self) -> tuple[Event, ...]:
        """All changes."""
        return self._store.events()

    def names(self) -> Iterable[str]:
        """The metrics that were recorded."""
        return self._store.names()

    def series(self, name: str) -> Series | None:
        """All recorded values of ``name``."""
        found = self._store.series(name)
        return found if len(found) else None

    def protocol(self, name: str, step: int) -> Measurement | None:
        """How it was measured."""
        return self._store.protocol(name, step)
