"""A sweep under way: the command in another process, which is interrupted at a checkpoint, and goes on from there."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from PySide6.QtCore import QObject, Signal, Slot

from engine.core.files import absolute, refusal
from engine.sweeps.record import Sweep, write_sweep
from engine.sweeps.runner import check_new
from fp_gui.tasks import EngineProcess

GRACE_MS = 30_000  # that the runs have to save a checkpoint each
Activity = Literal["idle", "running", "pausing", "cancelling"]


def prepare(folder: Path, sweep: Sweep) -> Path:
    """Make the folder of ``sweep``, as the command does before the first run begins; its absolute path.

    Raises :class:`engine.core.errors.StoreError` unless it is new or empty and can be written.
    """
    folder = absolute(folder)
    check_new(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise refusal(f"{folder} cannot be made", error) from None
    write_sweep(folder, sweep)
    return folder


class SweepTraining(QObject):
    """Trains the sweep in :attr:`folder`. Pausing and cancelling end the process; nothing is lost by either."""

    progressed = Signal(float, str)  # the share of all work, and in words
    changed = Signal()  # of activity
    ended = Signal(str)  # why, in words; empty: by itself
    failed = Signal(str, str)  # it could not be begun or gone on with: a line, all that was said

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self.process = EngineProcess(self, grace_ms=GRACE_MS)
        self.folder: Path | None = None
        self.activity: Activity = "idle"
        self.share, self.text = 0.0, ""
        self.process.progressed.connect(self._progressed)
        self.process.succeeded.connect(lambda: self._end(""))
        self.process.failed.connect(self._failed)
        self.process.cancelled.connect(self._stopped)

    @property
    def busy(self) -> bool:
        """Whether the process is there."""
        return self.process.busy

    def go_on(self, folder: Path, jobs: int | None) -> None:
        """Train what is left of the sweep in ``folder``, ``jobs`` runs at a time (None: as many as fit)."""
        self.folder, self.share, self.text = folder, 0.0, ""
        line = ["-m", "engine", "sweep", "--out", str(folder), "--resume", "--progress"]
        line += [] if jobs is None else ["--jobs", str(jobs)]
        self.process.start(line)
        self._turn("running")

    def stop(self, how: Literal["pausing", "cancelling"]) -> None:
        """Let the runs stop at a checkpoint each, and the process end."""
        if self.busy:
            asked = self.activity in ("pausing", "cancelling")
            self._turn(how)
            if not asked:  # a second request would end it at once
                self.process.cancel()

    def _turn(self, activity: Activity) -> None:
        self.activity = activity
        self.changed.emit()

    @Slot(float, str)
    def _progressed(self, share: float, text: str) -> None:
        self.share, self.text = share, text
        self.progressed.emit(share, text)

    def _end(self, why: str) -> None:
        self._turn("idle")
        self.ended.emit(why)

    @Slot()
    def _stopped(self) -> None:
        self._end("cancelled" if self.activity == "cancelling" else "paused")

    @Slot(str, str)
    def _failed(self, text: str, details: str) -> None:
        refused = [line for line in self.process.errors.splitlines() if line.startswith("error: ")]
        if not refused and "\nresults: " in self.process.output:
            self._end("")  # some runs failed, as their rows say
            return
        self._turn("idle")
        self.failed.emit(refused[-1].removeprefix("error: ") if refused else text, details)

    def close(self) -> None:
        """Let the runs save a checkpoint each, and wait for the process to be gone."""
        self.process.close()
