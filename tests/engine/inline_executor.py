"""An executor that carries out one job after the other in the thread that waits: torch is there already."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable

from engine.core.errors import ExplorerError
from engine.sweeps.executor import Job, JobBegun, JobEnded, JobEvent, JobStopped, JobTold, function_of


class InlineExecutor:
    """``lose`` are the names of jobs whose process is lost, as often as they are named, after ``lose_at`` words.

    ``heard`` is called with each word of a job, and may ask it to stop.
    """

    jobs = 1

    def __init__(self, heard: Callable[[JobTold], object] = lambda word: None, lose: tuple[str, ...] = ()) -> None:
        self.submitted: list[Job] = []
        self._waiting: deque[Job] = deque()
        self._stopped: set[str] = set()
        self._heard = heard
        self._lose = list(lose)
        self.closed = False

    def submit(self, job: Job) -> None:
        self.submitted.append(job)
        self._waiting.append(job)
        self._stopped.discard(job.name)

    def stop(self, name: str) -> None:
        self._stopped.add(name)

    def wait(self, timeout: float) -> list[JobEvent]:
        if not self._waiting:
            return []
        job = self._waiting.popleft()
        if job.name in self._stopped:
            return [JobEnded(job.name, "stopped")]
        events: list[JobEvent] = [JobBegun(job.name)]

        def tell(share: float, text: str) -> None:
            events.append(JobTold(job.name, share, text))
            self._heard(events[-1])
            if job.name in self._lose or job.name in self._stopped:
                raise JobStopped

        arguments = json.loads(json.dumps(job.arguments))
        try:
            found = function_of(job.function)(tell=tell, stopped=lambda: job.name in self._stopped, **arguments)
            events.append(JobEnded(job.name, "done", json.loads(json.dumps(found)), seconds=1.0))
        except JobStopped:
            lost = job.name in self._lose
            if lost:
                self._lose.remove(job.name)
            events.append(JobEnded(job.name, "lost" if lost else "stopped", reason="killed" if lost else "", seconds=1))
        except ExplorerError as error:
            events.append(JobEnded(job.name, "failed", reason=str(error), seconds=1.0))
        return events

    def close(self) -> None:
        self.closed = True

    kill = close
