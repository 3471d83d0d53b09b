"""Frames: light copies of the weights between checkpoints, to be looked at later; nothing can go on from them.

A phase begins with one at every step and goes on with growing gaps, as the weights change the faster the nearer the
switch; as the folder grows, frames are taken out where they lie closest in proportion to their distance from the switch
before them. What frames do not hold (the start, the clean weights, the world) is read from checkpoints.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from engine.config.experiment import Config
from engine.config.knobs import Objective
from engine.run.store import Store

OCTAVE = 8  # frames from n to 2n steps after a switch, at most; each of the first 2 · OCTAVE steps has one
MB = 10**6


def gap(since: int, octave: int = OCTAVE) -> int:
    """Steps between two frames, ``since`` steps after a phase began: a power of two."""
    return 1 << (max(1, since // octave).bit_length() - 1)


def thinnest(steps: np.ndarray[Any, Any], since: np.ndarray[Any, Any]) -> int:
    """Index of the frame to give up, of those at ``steps`` (n,), n ≥ 3, which are ``since`` (n,) steps from a switch.

    It leaves the smallest gap in proportion to its distance from the switch. The first and the last one stay.
    """
    gaps = (steps[2:] - steps[:-2]) / (since[1:-1] + 2 * OCTAVE)
    return 1 + int(np.argmin(gaps))


class Frames:
    """The frames of a run that is trained. ``starts`` are the steps at which its phases began.

    :meth:`due` is asked by the thread that trains; the others are called by the one that writes.
    """

    def __init__(self, store: Store, starts: Iterable[int]) -> None:
        self._store = store
        self._starts = sorted({0, *starts})
        self._bytes = store.frames()
        self._largest = max(self._bytes.values(), default=0)
        self.steps: tuple[int, ...] = tuple(self._bytes)  # on disk, ascending; replaced as a whole

    def due(self, step: int, phase_start: int, most_mb: int) -> bool:
        """Whether a frame is to be taken after ``step`` steps, ``most_mb`` being the room for all of them."""
        room = most_mb * MB
        if self._largest > room or not room:
            return False
        octave = OCTAVE if not self._largest else max(1, min(OCTAVE, room // self._largest // OCTAVE))
        return (step - phase_start) % gap(step - phase_start, octave) == 0

    def add(
        self,
        step: int,
        arrays: Mapping[str, np.ndarray[Any, Any]],
        config: Config,
        phase: Objective,
        state: Any,
        phase_start: int,
    ) -> None:
        """Write a frame, and take out others until all keep within ``storage.frames_mb``. What diverged is no frame."""
        if not all(np.isfinite(array).all() for array in arrays.values()):
            return
        if phase_start not in self._starts:
            insort(self._starts, phase_start)
        self._bytes[step] = self._largest = self._store.save_frame(step, arrays, config, phase, state)
        while len(self._bytes) > 1 and sum(self._bytes.values()) > config.storage.frames_mb * MB:
            self._take_out()
        self.steps = tuple(sorted(self._bytes))

    def _take_out(self) -> None:
        steps = sorted(self._bytes)
        at = 0
        if len(steps) > 2:
            since = [step - self._starts[bisect_right(self._starts, step) - 1] for step in steps]
            at = thinnest(np.array(steps), np.array(since))
        self._store.delete_frame(steps[at])
        del self._bytes[steps[at]]
