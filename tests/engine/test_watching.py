"""A run that another process writes is followed: what it records arrives soon, and nothing is locked or written."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from engine import worlds
from engine.core.errors import StoreError
from engine.core.lock import FolderLock, held
from engine.core.results import Weights
from engine.run import database, recorder
from engine.run.commands import SwitchPhase
from engine.run.session import Session
from engine.run.store import Store
from engine.run.stored_record import StoredRecord
from tests.forked import CONTEXT
from tests.tiny_runs import advance, drain, run, tiny_config

ROOT = Path(__file__).parents[2]
SLOW = tiny_config(clean_steps=5000, second_steps=5000, every=20)
WRITER = """
import sys, time
from pathlib import Path
from engine import worlds
from tests.engine.test_watching import SLOW
session = worlds.create(SLOW, Path(sys.argv[1]))
session.flush(wait=True)
print("created", flush=True)
while True:
    session.step()
    time.sleep(0.004)
"""


def until(true: Callable[[], bool], seconds: float) -> float:
    """Wait until ``true()``; how long that took."""
    start = time.monotonic()
    while not true():
        assert time.monotonic() - start < seconds
        time.sleep(0.02)
    return time.monotonic() - start


@pytest.fixture(scope="module")
def writing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a run that another process trains, slowly."""
    folder = tmp_path_factory.mktemp("written") / "run"
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(folder)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "created\n"
    yield folder
    process.kill()
    process.communicate()


def test_scalars_and_weights_of_another_process_arrive_within_two_seconds(writing: Path) -> None:
    watched = worlds.past(writing)

    def grown(before: int) -> bool:
        watched.refresh()
        history = watched.snapshot().history
        return "loss" in history and len(history["loss"]) > before

    until(lambda: grown(0), 10)
    for _ in range(2):
        assert until(lambda: grown(len(watched.snapshot().history["loss"])), 2) < 2
    steps = watched.snapshot().history["loss"].steps
    assert list(steps) == list(range(1, len(steps) + 1))
    assert watched.state == "training"
    first = watched.steps_done
    until(lambda: watched.refresh() and watched.steps_done > first, 10)  # the newest frame is shown
    assert watched.snapshot().looking is False
    watched.go(1)
    until(watched.refresh, 5)
    assert watched.steps_done == 1  # a chosen step stays
    watched.close()


def other(folder: Path) -> Session:
    """A session of the run in ``folder`` that trains by hand, its first checkpoint on disk."""
    session = worlds.create(tiny_config(), folder)
    session.flush(wait=True)
    return session


def test_what_is_recorded_late_arrives_too(tmp_path: Path) -> None:
    session = other(tmp_path / "run")
    watched = worlds.past(session.folder)
    assert watched.refresh()  # the first time, all is new
    assert not watched.refresh()
    advance(session, 60, {45: [SwitchPhase("clean")]})
    session.flush(wait=True)
    assert watched.refresh()
    assert len(watched.snapshot().events) == 2
    advance(session, 80)
    drain(session)
    session.flush(wait=True)
    assert watched.refresh()
    session.close()
    watched.refresh()
    fresh = worlds.past(session.folder)
    ours, theirs = watched.snapshot(), fresh.snapshot()
    assert ours.history.keys() == theirs.history.keys() > {"report/accuracy/pgd"}
    for name in theirs.history:
        assert np.array_equal(ours.history[name].steps, theirs.history[name].steps), name
        assert np.array_equal(ours.history[name].values, theirs.history[name].values, equal_nan=True), name
    assert (ours.events, ours.protocols, ours.stored) == (theirs.events, theirs.protocols, theirs.stored)
    assert (ours.state, ours.newest) == ("finished", 80)
    watched.close()
    fresh.close()


def test_a_run_that_goes_on_from_an_earlier_checkpoint_is_read_anew(tmp_path: Path) -> None:
    session = other(tmp_path / "run")
    advance(session, 60)
    session.flush(wait=True)
    watched = worlds.past(session.folder)
    assert watched.newest == 60
    session.close()
    (session.folder / "checkpoints" / "step-00000060.safetensors").unlink()
    again = worlds.resume(session.folder)
    assert watched.refresh()
    assert (watched.newest, watched.steps_done) == (50, 50)
    assert watched.snapshot().history["loss"].steps[-1] == 50
    again.close()
    watched.close()


def test_scalars_are_written_after_a_second_without_a_full_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = other(tmp_path / "run")
    store = Store.open(session.folder, read_only=True)
    advance(session, 5)
    assert store.newest() == 0
    monkeypatch.setattr(recorder, "PATIENCE", 0.0)
    session.step()
    session._recorder.wait()
    assert store.newest() == 6
    store.close()
    session.close()


def copy_of_written(folder: Path, to: Path) -> None:
    """A run as it lies on a share while it is written: the changes of the last steps are in the log alone."""
    shutil.copytree(folder, to, ignore=shutil.ignore_patterns("*-shm"))


@pytest.fixture
def _no_file_beside(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a folder that may only be read."""
    checked = database._checked

    def refusing(path: Path, how: str) -> sqlite3.Connection:
        if how == "mode=ro":  # what SQLite says where it cannot make its -shm file
            error = sqlite3.OperationalError("unable to open database file")
            error.sqlite_errorcode = sqlite3.SQLITE_CANTOPEN
            raise error
        return checked(path, how)

    monkeypatch.setattr(database, "_checked", refusing)


@pytest.mark.usefixtures("_no_file_beside")
def test_where_no_file_can_be_made_beside_the_database(tmp_path: Path) -> None:
    session = other(tmp_path / "run")
    advance(session, 30)
    session.flush(wait=True)
    shared = tmp_path / "shared"
    copy_of_written(session.folder, shared)
    watched = worlds.past(shared)
    watched.refresh()
    assert watched.newest == 30
    advance(session, 50)
    session.flush(wait=True)
    for path in session.folder.rglob("*"):
        if path.is_file() and not path.name.endswith("-shm"):
            (shared / path.relative_to(session.folder)).write_bytes(path.read_bytes())
    assert watched.refresh()
    assert (watched.newest, watched.steps_done) == (50, 50)
    assert not list(shared.glob("*-shm"))
    assert watched.snapshot(frozenset({Weights})).get(Weights) is not None
    watched.close()
    session.close()


def test_what_has_become_of_a_run(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    run(tiny_config(), folder, 30)
    watched = worlds.past(folder)
    assert watched.state == "interrupted"
    lock = FolderLock(folder)
    watched.refresh()
    assert watched.state == "training"
    lock.release()
    watched.refresh()
    assert watched.state == "interrupted"
    store = Store.open(folder)
    store.record([(31, "loss", float("nan"))])
    store.close()
    watched.refresh()
    assert (watched.state, watched.newest) == ("diverged", 31)
    watched.close()


def test_a_lock_file_that_a_killed_process_left_is_held_by_nobody(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    run(tiny_config(), folder, 5)
    assert not held(folder)
    (folder / ".lock").write_text("1\n", encoding="ascii")
    assert held(folder)  # somebody on another machine may have written it just now
    os.utime(folder / "run.sqlite", (0, 0))
    assert not held(folder)


def watch_and_die(folder: Path) -> None:
    """Target of a child process."""
    watched = worlds.past(folder)
    watched.refresh()
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.fixture
def left_behind(tmp_path: Path) -> Path:
    """A run whose watcher was killed: SQLite's files lie beside its database."""
    run(tiny_config(), tmp_path / "run", 30)
    process = CONTEXT.Process(target=watch_and_die, args=(tmp_path / "run",))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    assert (tmp_path / "run" / "run.sqlite-wal").stat().st_size == 0
    assert (tmp_path / "run" / "run.sqlite-shm").exists()
    return tmp_path / "run"


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_what_a_killed_watcher_leaves_goes_with_the_next_writer(left_behind: Path) -> None:
    session = worlds.resume(left_behind)
    session.step()
    session.close()
    assert not list(left_behind.glob("run.sqlite-*"))
    store = Store.open(left_behind, read_only=True)
    assert store.load().step == 31
    store.close()


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.usefixtures("_no_file_beside")
def test_what_a_killed_watcher_leaves_does_not_matter_where_nothing_can_be_written(left_behind: Path) -> None:
    watched = worlds.past(left_behind)
    watched.refresh()
    assert watched.newest == 30
    assert watched.state == "interrupted"
    assert watched.snapshot(frozenset({Weights})).get(Weights) is not None
    watched.close()


def test_a_run_that_is_gone_is_said_to_be(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    run(tiny_config(), folder, 30)
    watched = worlds.past(folder)
    shutil.rmtree(folder)
    with pytest.raises(StoreError, match="is gone: the run has been removed or moved"):
        watched.refresh()
    assert watched.go(3) == 30  # what is in memory can still be shown
    watched.close()


def test_a_long_record_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store.create(tmp_path / "run", tiny_config())
    store.record((step, "loss", 0.5) for step in range(1, 20_001))
    reader = Store.open(store.folder, read_only=True)
    record = StoredRecord(reader)
    record.refresh(50)
    read: list[int] = []
    metrics = Store.metrics

    def noting(self: Store, first: int = 0, last: int = 10**8) -> list[tuple[int, str, float]]:
        found = metrics(self, first, last)
        read.append(len(found))
        return found

    monkeypatch.setattr(Store, "metrics", noting)
    store.record((step, "loss", 0.25) for step in range(20_001, 20_011))
    assert record.refresh(50)
    assert sum(read) < 1000
    assert (len(record.history["loss"]), record.history["loss"].values[-1], record.newest) == (20_010, 0.25, 20_010)
    reader.close()
    store.close()
