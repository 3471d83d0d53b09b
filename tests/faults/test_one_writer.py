"""One process writes a run, others are told who; readers always may; a run that is removed ends its process."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine import worlds
from engine.cli.main import run_command_line
from engine.core.errors import InUseError, WriteError
from engine.core.lock import NAME, FolderLock
from engine.run.creation import HIDDEN
from engine.run.store import Store
from engine.studies.base import record_scalars
from tests.faults.processes import ROOT, one_line
from tests.tiny_runs import advance, read, table, tiny_config

HOLD = """
import sys
from pathlib import Path
from engine.core.lock import FolderLock
lock = FolderLock(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    session = worlds.create(tiny_config(), tmp_path / "run")
    advance(session, 30)
    session.close()
    return tmp_path / "run"


@pytest.fixture
def holder(run_folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that writes the run."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(run_folder)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_a_second_writer_is_told_who_and_readers_may(
    run_folder: Path, holder: subprocess.Popen[str], capsys: pytest.CaptureFixture[str]
) -> None:
    before = read(run_folder)
    assert run_command_line(["run", "--resume", "--out", str(run_folder), "--set", "attack.tau=0.1"]) == 2
    assert f"{run_folder}: in use by process {holder.pid};" in one_line(capsys.readouterr().err)
    assert run_command_line(["evaluate", str(run_folder), "--n", "20", "--steps", "2", "--json"]) == 0
    assert run_command_line(["export", str(run_folder), "--view", "robustness", "--format", "svg",
                             "--out", str(run_folder / "figures")]) == 0  # fmt: skip
    assert run_command_line(["claims", str(run_folder)]) == 0
    record_scalars(run_folder, 30, [("cosine/median", 0.5, None)])  # what a study finds is written beside
    after = read(run_folder)
    assert table(run_folder, "SELECT value FROM metrics WHERE name = 'cosine/median' AND step = 30") == [(0.5,)]
    assert (after.step, after.events) == (before.step, before.events)
    assert (after.arrays["weight"] == before.arrays["weight"]).all()


def test_the_lock_dies_with_its_process(run_folder: Path, holder: subprocess.Popen[str]) -> None:
    with pytest.raises(InUseError):
        worlds.resume(run_folder)
    holder.kill()
    holder.wait()
    assert (run_folder / NAME).exists()
    worlds.resume(run_folder).close()
    assert not (run_folder / NAME).exists()


def test_within_one_process(run_folder: Path) -> None:
    session = worlds.resume(run_folder)
    with pytest.raises(InUseError, match="in use by this process, which has it open already"):
        worlds.resume(run_folder)
    session.close()
    session.close()
    worlds.resume(run_folder).close()


def test_a_new_run_is_held_from_its_start(tmp_path: Path) -> None:
    session = worlds.create(tiny_config(), tmp_path / "run")
    with pytest.raises(InUseError):
        Store.open(tmp_path / "run")
    session.close()


def test_of_many_at_once_one_holds_it(tmp_path: Path) -> None:
    """Each takes it as soon as it is free; never two at once, though the file comes and goes."""
    script = """
import os, sys, time
from pathlib import Path
from engine.core.errors import InUseError
from engine.core.lock import FolderLock
folder, taken = Path(sys.argv[1]), 0
while taken < 40:
    try:
        lock = FolderLock(folder)
    except InUseError:
        continue
    os.close(os.open(folder / "alone", os.O_CREAT | os.O_EXCL))  # fails where another is in here
    time.sleep(0.0003)
    os.unlink(folder / "alone")
    lock.release()
    taken += 1
"""
    line = [sys.executable, "-c", script, str(tmp_path)]
    processes = [subprocess.Popen(line, cwd=ROOT, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    errors = [process.communicate(timeout=60)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], errors


@pytest.mark.skipif(os.name == "nt", reason="files that are open cannot be removed")
@pytest.mark.parametrize("how", ["removed", "moved"])
def test_a_run_that_is_removed_ends_with_an_error(tmp_path: Path, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    session = worlds.create(tiny_config(), tmp_path / "run")
    advance(session, 5)
    session._recorder.wait()
    if how == "removed":
        shutil.rmtree(tmp_path / "run")
    else:
        (tmp_path / "run").rename(tmp_path / "elsewhere")
    with pytest.raises(WriteError, match="removed or moved while it was in use"):
        advance(session, 5000)
    session.close()
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(os.name == "nt", reason="files that are open cannot be removed")
def test_the_command_of_a_run_that_is_removed_fails(
    tmp_path: Path, run_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Just before its end, so that the only write that is left is that of closing."""
    from engine.run.session import Session

    measure = Session.measure

    def remove(session: Session) -> None:
        shutil.rmtree(run_folder, ignore_errors=True)
        measure(session)

    monkeypatch.setattr(Session, "measure", remove)
    assert run_command_line(["run", "--resume", "--out", str(run_folder)]) == 1
    assert "removed or moved while it was in use" in one_line(capsys.readouterr().err)


def test_what_killed_processes_left_is_swept(run_folder: Path, tmp_path: Path) -> None:
    dead, living, young = (tmp_path / f"{HIDDEN}{name}" for name in ("dead", "living", "young"))
    for folder in (dead, living, young):
        (folder / "checkpoints").mkdir(parents=True)
    lock = FolderLock(living)
    old = time.time() - 7200
    for folder in (dead, living):
        os.utime(folder, (old, old))
    names = (".config.json.abc", ".summary.json.abc", "checkpoints/.step-00000099.safetensors.abc", ".claims.json.old")
    left = [run_folder / name for name in ("frames/.step-00000098.safetensors.abc", *names)]
    for path in left:
        path.write_bytes(b"half a fi")
    os.utime(left[-1], (old, old))
    writing = run_folder / ".claims.json.new"  # a study may be writing it, without the lock
    writing.write_bytes(b"half")
    Store.open(run_folder, read_only=True).close()
    assert all(path.exists() for path in left)
    worlds.resume(run_folder).close()
    assert not any(path.exists() for path in (*left, dead))
    assert living.exists()
    assert young.exists()
    assert writing.exists()
    lock.release()


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_a_killed_creation_is_swept_by_the_next(tmp_path: Path) -> None:
    script = (
        "import os, sys, signal; from pathlib import Path; from engine.run import creation\n"
        "creation.make(Path(sys.argv[1]), lambda new: os.kill(os.getpid(), signal.SIGKILL))"
    )
    line = [sys.executable, "-c", script, str(tmp_path / "run")]
    assert subprocess.run(line, cwd=ROOT, check=False).returncode == -signal.SIGKILL
    (left,) = tmp_path.iterdir()
    os.utime(left, (0, 0))
    Store.create(tmp_path / "other", tiny_config()).close()
    assert [path.name for path in tmp_path.iterdir()] == ["other"]
