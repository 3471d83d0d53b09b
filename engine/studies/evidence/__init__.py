"""The slow figures that the claims need, measured on a run folder and recorded in its store with their protocols."""

from __future__ import annotations

from pathlib import Path

from engine.core.slices import Progress, silent
from engine.studies.clean_end import clean_end_of

RELATIVE_RADII = (0.5, 1.0)  # of tau, at which networks are verified


def gather(folder: Path, *, n: int = 1000, progress: Progress = silent) -> None:
    """Measure and record everything for the newest checkpoint of the run in ``folder``.

    Raises :class:`ConfigError` for a run whose clean phase has not ended: there is nothing to compare yet.
    """
    from engine.studies.evidence import images, theory

    of_theory, clean_end = clean_end_of(folder)
    (theory if of_theory else images).gather(folder, clean_end, RELATIVE_RADII, n, progress)
    progress(1.0, "done")
