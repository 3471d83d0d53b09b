"""How long a task will take: by how long it took the last time, and by its progress once there is some."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QSettings

from fp_gui.tasks import Task, TaskState

SURE = 0.05  # from this share on the progress itself says more than the last time


def in_words(seconds: float) -> str:
    """``a few seconds``, ``about 40 s``, ``about 3 min``, ``about 2 h``."""
    if seconds < 8:
        return "a few seconds"
    if seconds < 55:
        return f"about {round(seconds / 5) * 5} s"
    if seconds < 55 * 60:
        return f"about {max(1, round(seconds / 60))} min"
    return f"about {max(1, round(seconds / 3600))} h"


def seconds_left(elapsed: float, share: float | None, expected: float | None) -> float | None:
    """What is left after ``elapsed`` seconds; ``expected`` is the whole as it was the last time. None: nobody knows."""
    if share is not None and share >= SURE:
        return elapsed * (1 - share) / share
    return None if expected is None else max(0.0, expected - elapsed)


def how_far(state: TaskState) -> str:
    """E.g. ``34%, about 2 min left``; empty if nothing is known."""
    share = "" if state.share is None else f"{state.share:.0%}"
    left = "" if state.left is None else f"{in_words(state.left)} left"
    return ", ".join(filter(None, (share, left)))


class Durations:
    """The seconds that tasks took, by their command, its options and the kind of run, kept in ``settings``."""

    def __init__(self, settings: QSettings) -> None:
        self._settings = settings

    def expected(self, task: Task, folder: Path) -> float | None:
        """What ``task`` on the run in ``folder`` will take; None if it never ended on such a run."""
        try:
            return float(str(self._settings.value(self._key(task, folder))))
        except ValueError:
            return None

    def took(self, task: Task, folder: Path, seconds: float) -> None:
        """Remember it for the next time."""
        self._settings.setValue(self._key(task, folder), round(seconds, 1))

    @staticmethod
    def _key(task: Task, folder: Path) -> str:
        preset = folder.name.split("-", 2)[-1]  # a run's folder is called after its time and its preset
        return "duration/" + " ".join((task.command, *task.options, preset)).replace("/", " ").replace("\\", " ")
