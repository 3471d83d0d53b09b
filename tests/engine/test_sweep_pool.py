"""The pool: processes that live from job to job, and what becomes of a job whose process is killed."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

import engine.sweeps.pool
from engine.core.errors import ConfigError, ExplorerError
from engine.core.notices import heard_by
from engine.sweeps.executor import Job, JobBegun, JobEnded, JobEvent, JobTold, function_of
from engine.sweeps.pool import LocalPool, jobs_to_use
from tests.plugin_files import loaded


def job(name: str, function: str, **arguments: object) -> Job:
    return Job(name, f"tests.engine.sweep_jobs:{function}", arguments)


@pytest.fixture(scope="module")
def pool() -> Iterator[LocalPool]:
    with closing(LocalPool(2)) as made:
        yield made


def events_until(pool: LocalPool, enough: Callable[[list[JobEvent]], bool]) -> list[JobEvent]:
    events: list[JobEvent] = []
    deadline = time.monotonic() + 60
    while not enough(events):
        assert time.monotonic() < deadline, events
        events += pool.wait(0.5)
    return events


def ended(events: list[JobEvent]) -> dict[str, JobEnded]:
    return {event.name: event for event in events if isinstance(event, JobEnded)}


@pytest.fixture(autouse=True)
def _no_thread_left() -> None:
    """The pool of this module has readers of its own, which end with it."""


def test_its_processes_have_the_plugins_of_this_one(pool: LocalPool, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("# registers nothing", encoding="utf-8")
    with loaded(file):
        pool.submit(job("with", "plugins_there"))
        events = events_until(pool, lambda events: bool(ended(events)))
        assert ended(events)["with"].result == ["mine.py"]


def test_jobs_are_carried_out_by_the_same_two_processes(pool: LocalPool) -> None:
    for number in range(6):
        pool.submit(job(f"job {number}", "double", number=number))
    events = events_until(pool, lambda events: len(ended(events)) == 6)
    found = {name: event.result for name, event in ended(events).items()}
    assert {name: each["number"] for name, each in found.items()} == {f"job {n}": 2 * n for n in range(6)}
    assert 1 <= len({each["process"] for each in found.values()}) <= 2
    assert os.getpid() not in {each["process"] for each in found.values()}
    of_one = [event for event in events if event.name == "job 0"]
    assert [type(event) for event in of_one] == [JobBegun, JobTold, JobEnded]
    assert of_one[1] == JobTold("job 0", 1.0, "doubled")


def test_a_job_that_fails_says_why_and_the_others_go_on(pool: LocalPool) -> None:
    said: list[str] = []
    with heard_by(said.append):
        for name in ("refuse", "break_down"):
            pool.submit(job(name, name))
        pool.submit(Job("nowhere", "tests.engine.sweep_jobs:nothing"))
        pool.submit(job("after", "double", number=4))
        found = ended(events_until(pool, lambda events: len(ended(events)) == 4))
    assert (found["refuse"].how, found["refuse"].reason) == (
        "failed", "attack.tau: got 11; allowed: a number from 0 to 10",
    )  # fmt: skip
    assert found["break_down"].reason == "ZeroDivisionError: division by zero"
    assert "allowed: package.module:name" in found["nowhere"].reason
    assert found["after"].result["number"] == 8
    assert said == ["refuse: something is odd"]


def test_a_job_stops_when_it_is_asked_and_one_that_waits_never_begins(pool: LocalPool) -> None:
    pool.submit(job("one", "until_stopped"))
    pool.submit(job("two", "told_until_stopped"))
    pool.submit(job("three", "until_stopped"))
    events_until(pool, lambda events: sum(isinstance(event, JobTold) for event in events) >= 2)
    for name in ("one", "two", "three", "unknown"):
        pool.stop(name)
    events = events_until(pool, lambda events: len(ended(events)) == 3)
    found = ended(events)
    assert (found["one"].how, found["one"].result) == ("done", "stopped when asked")
    assert found["one"].seconds > 0
    assert {found[name].how for name in ("two", "three")} == {"stopped"}
    assert JobBegun("three") not in events
    pool.submit(job("one", "double", number=1))  # asked to stop once, it may be begun again
    assert ended(events_until(pool, lambda events: "one" in ended(events)))["one"].result["number"] == 2


def test_a_process_that_is_killed_loses_its_job_alone(pool: LocalPool) -> None:
    pool.submit(job("victim", "until_stopped"))
    pool.submit(job("other", "until_stopped"))
    events_until(pool, lambda events: sum(isinstance(event, JobTold) for event in events) == 2)
    os.kill(pool.pids["victim"], signal.SIGKILL)
    found = ended(events_until(pool, lambda events: "victim" in ended(events)))
    assert found["victim"].how == "lost"
    assert "SIGKILL" in found["victim"].reason
    pool.submit(job("next", "double", number=3))  # by the process in its place
    assert ended(events_until(pool, lambda events: "next" in ended(events)))["next"].result["number"] == 6
    pool.stop("other")
    assert ended(events_until(pool, lambda events: "other" in ended(events)))["other"].how == "done"


def test_a_process_that_leaves_is_quoted(pool: LocalPool) -> None:
    pool.submit(job("leaves", "leave"))
    found = ended(events_until(pool, lambda events: "leaves" in ended(events)))["leaves"]
    assert (found.how, found.reason) == ("lost", "its process ended (exit code 3): out of luck")


def test_sigterm_lets_a_job_stop_in_order(pool: LocalPool) -> None:
    pool.submit(job("one", "until_stopped"))
    events_until(pool, lambda events: any(isinstance(event, JobTold) for event in events))
    os.kill(pool.pids["one"], signal.SIGTERM)
    assert ended(events_until(pool, lambda events: "one" in ended(events)))["one"].result == "stopped when asked"


def test_closing_lets_jobs_stop_and_killing_does_not_wait() -> None:
    for end in (LocalPool.close, LocalPool.kill):
        pool = LocalPool(1)
        pool.submit(job("one", "until_stopped"))
        events_until(pool, lambda events: any(isinstance(event, JobTold) for event in events))
        pid = pool.pids["one"]
        begun = time.monotonic()
        end(pool)
        assert time.monotonic() - begun < 20
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_what_was_asked_to_stop_ends_with_the_process_that_asked() -> None:
    """A second Ctrl+C: the pool's process is gone, and with it the worker's input."""
    pool = LocalPool(1)
    pool.submit(job("one", "deaf"))
    events_until(pool, lambda events: any(isinstance(event, JobTold) for event in events))
    pool.stop("one")
    begun = time.monotonic()
    pool.close()
    assert time.monotonic() - begun < engine.sweeps.pool.PATIENCE / 2


def test_processes_that_cannot_start_end_the_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine.sweeps.pool.sys, "executable", "/bin/false")
    with closing(LocalPool(1)) as pool:
        pool.submit(job("one", "until_stopped"))

        def again_and_again() -> None:
            for _ in range(10):
                for event in pool.wait(5):
                    pool.submit(job(event.name, "until_stopped"))

        with pytest.raises(ExplorerError, match=r"no process of the pool can be started: .*exit code 1"):
            again_and_again()


def test_how_many_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.sweeps.pool.cores_available", lambda: 8)
    monkeypatch.setattr("engine.sweeps.pool.memory_available", lambda: 64 * 2**30)
    assert jobs_to_use(None, 100) == 8
    assert jobs_to_use(None, 100, threads=3) == 2
    assert jobs_to_use(None, 5) == 5
    assert jobs_to_use(3, 100) == 3
    monkeypatch.setattr("engine.sweeps.pool.memory_available", lambda: 2 * 2**30)
    assert jobs_to_use(None, 100) == 2
    monkeypatch.setattr("engine.sweeps.pool.memory_available", lambda: 0)
    assert jobs_to_use(None, 100) == 1
    with pytest.raises(ConfigError, match=r"--jobs: got 0; allowed on this machine \(8 cores\): 1 to"):
        jobs_to_use(0, 100)


def test_a_function_is_named_by_its_module() -> None:
    from tests.engine import sweep_jobs

    assert function_of("tests.engine.sweep_jobs:double") is sweep_jobs.double
    with pytest.raises(ConfigError, match=r"allowed: package\.module:name"):
        function_of("double")
