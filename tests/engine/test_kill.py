"""A process killed at any moment leaves a folder that opens, resumes, and ends as if nothing had happened."""

from __future__ import annotations

import random
import signal
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

from engine import worlds
from engine.config.experiment import to_dict
from engine.run.store import Store
from tests.forked import CONTEXT
from tests.tiny_runs import Record, assert_same, drain, read, run, tiny_config, train_in_process

CONFIG = tiny_config(clean_steps=300, second_steps=300, every=20, **{"checkpoint_every": 25, "storage.keep": 5})


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Record:
    return run(CONFIG, tmp_path_factory.mktemp("whole") / "run")


def child(folder: Path, config: dict[str, Any], sender: Connection) -> None:
    train_in_process(folder, config, sender.send)


def train_and_kill(folder: Path, at: object, delay: float) -> int:
    """Train in another process, kill it ``delay`` seconds after it has said ``at``; returns its exit code."""
    receiver, sender = CONTEXT.Pipe(duplex=False)
    process = CONTEXT.Process(target=child, args=(folder, to_dict(CONFIG), sender), daemon=True)
    process.start()
    sender.close()
    try:
        while receiver.poll(60):
            said = receiver.recv()
            if said == at or said == "done" or (isinstance(said, int) and isinstance(at, int) and said >= at):
                break
        time.sleep(delay)
    finally:
        process.kill()
        process.join(30)
        receiver.close()
    assert process.exitcode is not None
    return process.exitcode


def finish(folder: Path) -> Record:
    session = worlds.resume(folder)
    while not session.finished:
        session.step()
    drain(session)
    session.close()
    return read(folder)


@pytest.mark.parametrize("seed", [0, 1, 4, 5])  # two at the start, two later; ``make faults`` kills far more often
def test_a_kill_at_a_random_moment(seed: int, tmp_path: Path, whole: Record) -> None:
    chance, folder = random.Random(seed), tmp_path / "runs" / "run"
    at: object = "alive" if seed < 4 else chance.randrange(10, 550, 10)
    code = train_and_kill(folder, at, chance.random() * 0.03)
    assert code == -signal.SIGKILL
    if not folder.exists():  # before the rename that makes it
        return
    store = Store.open(folder)  # opens, and what is recorded is sound
    assert store._db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    for step in store.checkpoints():
        store.load(step)
    store.close()
    assert_same(finish(folder), whole)


def test_kill_after_kill(tmp_path: Path, whole: Record) -> None:
    folder, chance = tmp_path / "run", random.Random(7)
    for at in (30, 110, 290, 310, 480):
        train_and_kill(folder, at, chance.random() * 0.01)
    assert_same(finish(folder), whole)


def test_a_finished_process_leaves_the_whole_run(tmp_path: Path, whole: Record) -> None:
    train_and_kill(tmp_path / "run", "done", 0.0)
    assert_same(read(tmp_path / "run"), whole)


def test_what_a_kill_leaves_beside_the_files_does_no_harm(tmp_path: Path) -> None:
    """Temporary names of writes that never ended, in the run folder and beside it."""
    folder = tmp_path / "run"
    (tmp_path / ".run.abc123" / "checkpoints").mkdir(parents=True)
    record = run(tiny_config(), folder)
    for name in (".config.json.x", ".summary.json.y", "checkpoints/.step-00000099.safetensors.z"):
        (folder / name).write_bytes(b"half a fi")
    session = worlds.resume(folder)
    assert session.steps_done == 80
    session.close()
    assert_same(read(folder), record)
