"""A stored step of the run that is open, shown while the session goes on; in the training thread."""

from __future__ import annotations

from dataclasses import replace

from engine.run.snapshot import Snapshot
from fp_gui.bridge.requests import PastLike, SessionFactory, SessionLike


class Looking:
    """What is shown of the open run: the session itself or, once :meth:`go` chose one, a stored step of it."""

    def __init__(self, factory: SessionFactory) -> None:
        self._factory = factory
        self._past: PastLike | None = None

    def go(self, session: SessionLike, step: int | None) -> None:
        """Show the stored step at or before ``step``, the first if there is none; None: the session itself.

        Raises :class:`ExplorerError` if none can be read; then the session is shown.
        """
        if step is None:
            self.end()
            return
        try:
            session.flush(wait=True)  # what was stored last is to be found
            if self._past is None:
                self._past = self._factory.past(session.folder, beside=session)
            else:
                self._past.refresh()
            self._past.go(step)
        except BaseException:
            self.end()
            raise

    def end(self) -> None:
        """Show the session itself."""
        past, self._past = self._past, None
        if past is not None:
            past.close()

    def snapshot(self, session: SessionLike, wanted: frozenset[type]) -> Snapshot:
        """What is shown, with results of the types ``wanted``."""
        if self._past is None:
            return session.snapshot(wanted)
        live = session.snapshot(frozenset())  # brings its record up to now, too
        return replace(self._past.snapshot(wanted), evaluating=live.evaluating, stored=live.stored)

    @property
    def measuring(self) -> bool:
        """Whether something of the stored step is still to be measured."""
        return self._past is not None and self._past.measuring

    def measure(self) -> None:
        """One slice of that."""
        if self._past is not None:
            self._past.measure()

    def measure_beside_training(self) -> None:
        """One slice of that, if the time that training spares for it allows one."""
        if self._past is not None:
            self._past.measure_beside_training()
