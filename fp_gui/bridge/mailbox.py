"""One slot between the training thread and the window: the latest snapshot wins."""

from __future__ import annotations

import threading
import time

from engine.run.snapshot import Snapshot


class Mailbox:
    """Holds at most one snapshot. Any thread may call any method.

    The reader says with :meth:`take` when it will look again, so that the writer need not build a snapshot that
    would have aged by then.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._item: Snapshot | None = None
        self._due = 0.0

    def wanted(self) -> bool:
        """Whether a snapshot put now would be read soon: the slot is empty and the reader about to look."""
        return self._item is None and time.perf_counter() >= self._due

    def put(self, snapshot: Snapshot) -> None:
        """Leave ``snapshot``, replacing one that was not taken."""
        with self._lock:
            self._item = snapshot

    def take(self, again_in: float = 0.0) -> Snapshot | None:
        """Remove and return the snapshot, or None. After one was taken, none is wanted for ``again_in`` seconds."""
        with self._lock:
            item, self._item = self._item, None
            if item is not None:
                self._due = time.perf_counter() + again_in
            return item

    def rest(self, seconds: float) -> None:
        """Want no snapshot for ``seconds`` from now."""
        with self._lock:
            self._due = time.perf_counter() + seconds

    def clear(self) -> None:
        """Forget what is in the slot and ask for a snapshot at once."""
        with self._lock:
            self._item = None
            self._due = 0.0
