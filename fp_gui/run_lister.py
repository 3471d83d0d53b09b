"""Looks through folders for runs in a thread of its own, so that the window never waits for a disk."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from PySide6.QtCore import QObject, QThread, QTimer, Signal, Slot

from engine.core.errors import ExplorerError
from engine.run.index import ListedRun, RunIndex
from engine.run.moving import empty_trash

PERIOD = 3.0  # seconds between two looks, at least
PARTLY = 0.5  # seconds after which a long look says what it has found so far
SHARE = 0.02  # of one core that looking may take


class _Looker(QObject):
    """What runs in the thread: the indexes, one a folder."""

    looked = Signal(int, object, str, float)  # which look, runs, what could not be read, seconds that it took
    partly = Signal(int, object)  # which look, the runs so far
    emptied = Signal(int, str)  # runs, what could not be removed

    def __init__(self) -> None:
        super().__init__()
        self.stop = False
        self._indexes: dict[Path, RunIndex] = {}

    @Slot(int, object)
    def look(self, number: int, roots: Sequence[Path]) -> None:
        """List the runs below ``roots``, each once."""
        start = said = time.perf_counter()
        found, problems = dict[Path, ListedRun](), list[str]()
        for root in roots:
            try:
                with closing(self._indexes.setdefault(root, RunIndex(root)).runs()) as runs:
                    for run in runs:
                        if self.stop:
                            break
                        found[run.folder] = run
                        if time.perf_counter() - said > PARTLY:
                            self.partly.emit(number, tuple(found.values()))
                            said = time.perf_counter()
            except ExplorerError as error:
                problems.append(str(error))
        if not self.stop:
            seconds = time.perf_counter() - start
            self.looked.emit(number, tuple(found.values()), "; ".join(problems), seconds)

    @Slot(object)
    def empty(self, roots: Sequence[Path]) -> None:
        """Remove for good what is in the trash of ``roots``."""
        count, problem = 0, ""
        for root in roots:
            try:
                count += empty_trash(root)
            except ExplorerError as error:
                problem = problem or str(error)
        self.emptied.emit(count, problem)


class RunLister(QObject):
    """Lists runs when asked, and every few seconds while :meth:`watch` says so."""

    listed = Signal(object, str)  # runs; what could not be read
    partly = Signal(object)  # the runs that a look under way has found so far
    emptied = Signal(int, str)
    _look = Signal(int, object)
    _empty = Signal(object)

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self.roots: tuple[Path, ...] = ()
        self._wanted = self._under_way = 0
        self._looker = _Looker()
        self._thread = QThread()
        self._thread.setObjectName("runs")
        self._looker.moveToThread(self._thread)
        self._look.connect(self._looker.look)
        self._empty.connect(self._looker.empty)
        self._looker.looked.connect(self._looked)
        self._looker.partly.connect(self._partly)
        self._looker.emptied.connect(self.emptied)
        self._timer = QTimer(self, singleShot=True)
        self._timer.timeout.connect(self.refresh)
        self._watching = False
        self._thread.start(QThread.Priority.LowPriority)

    @property
    def busy(self) -> bool:
        """Whether a look is under way."""
        return self._under_way > 0

    def watch(self, on: bool) -> None:
        """Look now and every few seconds, or no more."""
        self._watching = on
        if on:
            self.refresh()
        else:
            self._timer.stop()

    @Slot()
    def refresh(self) -> None:
        """Look now: what a look that is under way brings may be of before, and is dropped."""
        self._timer.stop()
        self._wanted += 1
        if not self.busy:
            self._start()

    def empty(self, roots: Sequence[Path]) -> None:
        """Remove for good what is in the trash of ``roots``; :attr:`emptied` says how that went."""
        self._empty.emit(tuple(roots))

    def _start(self) -> None:
        self._under_way = self._wanted
        self._look.emit(self._wanted, self.roots)

    @Slot(int, object, str, float)
    def _looked(self, number: int, runs: tuple[ListedRun, ...], problem: str, seconds: float) -> None:
        self._under_way = 0
        if number != self._wanted:
            self._start()
            return
        self.listed.emit(runs, problem)
        if self._watching:
            self._timer.start(round(1000 * max(PERIOD, seconds / SHARE)))

    @Slot(int, object)
    def _partly(self, number: int, runs: tuple[ListedRun, ...]) -> None:
        if number == self._wanted:
            self.partly.emit(runs)

    def close(self) -> None:
        """End the thread."""
        self._watching = False
        self._timer.stop()
        self._looker.stop = True
        self._thread.quit()
        self._thread.wait()
