"""The record of a stored run in memory, read again as it grows: what another process writes arrives here."""

from __future__ import annotations

from collections.abc import Mapping

from engine.core.history import History
from engine.run.snapshot import Event, ProtocolLog
from engine.run.store import Store

SLACK = 256  # steps; what is measured of a step is recorded some steps after it


class StoredRecord:
    """What the run in ``store``, opened to be read, has recorded; :attr:`newest` is the newest step of any scalar."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.history = History()
        self.events: tuple[Event, ...] = ()
        self.protocols: Mapping[str, ProtocolLog] = {}
        self.newest = 0
        self._read_all()

    def refresh(self, every: int) -> bool:
        """Read what was added; whether anything was. ``every`` is the number of steps between live evaluations.

        Raises :class:`StoreError` if the run cannot be read any more.
        """
        if not self._store.changed():
            return False
        events, newest = self._store.events(), self._store.newest()
        if newest < self.newest or events[: len(self.events)] != self.events:
            self._read_all()  # it went on from an earlier checkpoint
            return True
        ends = {event.step for event in events if event.name == "phase"} | {self._store.config.schedule.total}
        since = self.newest - SLACK - 4 * every
        try:
            for step in sorted(end for end in ends if end < since):  # their reports may take very long
                self._add(self._store.metrics(step, step))
            self._add(self._store.metrics(since))
        except ValueError:  # of a step that had been passed over
            self._read_all()
            return True
        self.events, self.newest = events, newest
        self._read_protocols()
        return True

    def _add(self, rows: list[tuple[int, str, float]]) -> None:
        for row in rows:
            self.history.append(*row)

    def _read_all(self) -> None:
        self.history = History()
        for name, column in self._store.columns().items():
            self.history.begin(name, column)
        self.events, self.newest = self._store.events(), self._store.newest()
        self._read_protocols()

    def _read_protocols(self) -> None:
        found: dict[str, ProtocolLog] = {}
        for step, name, protocol in self._store.protocols():
            found[name] = (*found.get(name, ()), (step, protocol))
        self.protocols = found
