"""How long a sweep will take, estimated from the time that its preset was measured to take. Imports no torch."""

from __future__ import annotations

import re

from engine.config.experiment import from_dict
from engine.sweeps.record import PlannedRun, Sweep

UNITS = {"s": 1.0, "minutes": 60.0, "hours": 3600.0}


def seconds_of(sweep: Sweep, run: PlannedRun) -> float | None:
    """The seconds that ``run`` takes by itself: the preset's, by the number of steps.

    None if the preset does not say how long it takes.
    """
    preset = from_dict(sweep.config)
    said = re.match(r"about ([\d.]+) (s|minutes|hours)\b", preset.about.time)
    if said is None or not preset.schedule.total:
        return None
    return float(said[1]) * UNITS[said[2]] * sweep.config_of(run).schedule.total / preset.schedule.total


def seconds_together(sweep: Sweep, jobs: int) -> float | None:
    """The seconds for all runs, ``jobs`` at a time. None if the preset does not say how long it takes."""
    found = [seconds_of(sweep, run) for run in sweep.runs]
    known = [each for each in found if each is not None]
    return max(sum(known) / jobs, *known, 0.0) if len(known) == len(found) else None


def in_words(seconds: float) -> str:
    """A time in words, e.g. ``40 s``, ``12 minutes``, ``3.5 hours``."""
    if seconds < 1:
        return "less than 1 s"
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} minutes" if seconds < 5970 else f"{seconds / 3600:.1f} hours"
