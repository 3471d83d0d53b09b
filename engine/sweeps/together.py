"""Jobs that all have to be done, several at a time, for whoever waits for their results: a study."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import Any

from engine.core.errors import ExplorerError
from engine.core.slices import Progress
from engine.sweeps.executor import Job, JobEnded, JobTold, function_of
from engine.sweeps.pool import LocalPool, jobs_to_use


def together(work: Sequence[Job], jobs: int, progress: Progress) -> list[Any]:
    """The results of ``work`` in its order: one job after the other in this process, or ``jobs`` at a time in others.

    The first jobs are begun first. Raises what a job raises; :class:`ExplorerError` where it was in another process;
    :class:`engine.core.errors.ConfigError` for a number of jobs that this machine cannot make use of.
    """
    if (at_a_time := jobs_to_use(jobs, len(work))) == 1:
        return [_here(job, at / len(work), (at + 1) / len(work), progress) for at, job in enumerate(work)]
    shares = {job.name: 0.0 for job in work}
    found: dict[str, Any] = {}
    with closing(LocalPool(at_a_time)) as pool:
        for job in work:
            pool.submit(job)
        while len(found) < len(work):
            for event in pool.wait(1.0):
                if isinstance(event, JobTold):
                    shares[event.name] = event.share
                    progress(sum(shares.values()) / len(work), f"{event.name}: {event.text}")
                elif isinstance(event, JobEnded):
                    if event.how != "done":
                        raise ExplorerError(f"{event.name}: {event.reason or event.how}")
                    found[event.name], shares[event.name] = event.result, 1.0
    return [found[job.name] for job in work]


def _here(job: Job, start: float, end: float, progress: Progress) -> Any:
    def tell(share: float, text: str) -> None:
        progress(start + (end - start) * share, f"{job.name}: {text}")

    return function_of(job.function)(tell=tell, stopped=lambda: False, **job.arguments)
