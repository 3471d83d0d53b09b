"""A disk that is full, whenever it becomes so: one line, exit 1, and after room is made nothing is missing."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from engine import worlds
from engine.cli.main import run_command_line
from engine.core.errors import WriteError
from engine.core.files import write_json
from engine.run.store import Store
from engine.studies.base import record_scalars
from tests.faults.processes import one_line, toml
from tests.tiny_runs import Record, advance, assert_same, drain, read, run, tiny_config

CONFIG = tiny_config(clean_steps=120, second_steps=80, **{"checkpoint_every": 20, "storage.keep": 20})


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Record:
    return run(CONFIG, tmp_path_factory.mktemp("whole") / "run")


@contextmanager
def failing(store: Store, allowed: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The write after the first ``allowed`` fails, and only that one: there is room again at once."""
    writes: list[str] = []

    def counted(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def write(*given: Any) -> Any:
            writes.append(name)
            if len(writes) == allowed + 1:
                raise WriteError("No space left on device")
            return real(*given)

        return write

    for name in ("record", "event", "set_protocol", "save", "write_summary", "delete_checkpoint"):
        monkeypatch.setattr(store, name, counted(name, getattr(store, name)))
    yield writes
    monkeypatch.undo()


@pytest.mark.parametrize("allowed", [0, 1, 5, 17, 30])
def test_nothing_is_written_behind_a_write_that_failed(
    allowed: int, tmp_path: Path, whole: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = worlds.create(CONFIG, tmp_path / "run")
    session._recorder.wait()

    def to_the_end() -> None:
        advance(session, 200)
        drain(session)
        session.close()

    with failing(session._recorder.store, allowed, monkeypatch) as writes:
        with pytest.raises(WriteError, match="No space left"):
            to_the_end()
        session.close()
    assert len(writes) == allowed + 1
    resumed = worlds.resume(tmp_path / "run")
    advance(resumed, 200)
    drain(resumed)
    resumed.close()
    assert_same(read(tmp_path / "run"), whole)


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), sqlite3.OperationalError("database or disk is full")]
)
def test_creating_a_run_on_a_full_disk(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if isinstance(error, sqlite3.Error):
        error.sqlite_errorcode = sqlite3.SQLITE_FULL  # type: ignore[attr-defined]

    def full(*_: object) -> None:
        raise error

    monkeypatch.setattr("engine.run.store.sqlite3.connect", full)
    place = tmp_path / "place"
    place.mkdir()
    for out in (tmp_path / "new", place):  # one that is made, one that is there already
        assert run_command_line(["run", str(toml(CONFIG, tmp_path / "c.toml")), "--out", str(out)]) == 1
        line = one_line(capsys.readouterr().err)
        assert line.startswith(f"error: --out: {out} cannot be made: ")
        assert "full" in line or "No space left" in line
    assert list(place.iterdir()) == []
    assert not (tmp_path / "new").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_study_on_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> tuple[int, str]:
        name = tmp_path / "to-nowhere"
        name.symlink_to("/dev/full")
        return os.open(name, os.O_WRONLY), str(name)

    monkeypatch.setattr("engine.core.files.tempfile.mkstemp", full)
    with pytest.raises(WriteError, match=r"claims\.json cannot be written: No space left"):
        write_json(tmp_path / "claims.json", {"a": 1})
    assert list(tmp_path.iterdir()) == []


# --- a real file system that is too small


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """Mounts a file system of so many kB; calling it again changes the size of it."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = False

    def sized(kilobytes: int) -> Path:
        nonlocal mounted
        options = f"{'remount,' if mounted else ''}size={kilobytes}k"
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "none", str(place)], capture_output=True, check=False
        )
        if done.returncode != 0 and not mounted:
            pytest.skip("may not mount a file system")
        assert done.returncode == 0, done.stderr
        mounted = True
        return place

    if shutil.which("mount") is None:
        pytest.skip("there is no mount")
    yield sized
    if mounted:
        subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.mark.parametrize("room", [8, 64, 180, 500])  # kB, from none at all to nearly enough
def test_a_run_on_a_disk_that_is_too_small(
    room: int,
    tmp_path: Path,
    whole: Record,
    small_disk: Callable[[int], Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = small_disk(room) / "run"
    assert run_command_line(["run", str(toml(CONFIG, tmp_path / "c.toml")), "--out", str(folder)]) == 1
    assert "cannot be" in one_line(capsys.readouterr().err)
    if not folder.exists():
        assert list(folder.parent.iterdir()) == []
        return
    assert run_command_line(["run", "--resume", "--out", str(folder)]) in (1, 2)  # still no room
    one_line(capsys.readouterr().err)
    small_disk(50_000)
    assert run_command_line(["run", "--resume", "--out", str(folder)]) == 0
    assert_same(read(folder), whole)


def test_figures_of_a_study_on_a_full_disk_are_one_line(tmp_path: Path, small_disk: Callable[[int], Path]) -> None:
    folder = small_disk(50_000) / "run"
    run(tiny_config(clean_steps=3, second_steps=0), folder)
    filler = folder.parent / "filler"
    filler.write_bytes(b"0" * 4096 * (os.statvfs(folder).f_bavail - 1))
    with pytest.raises(WriteError):
        record_scalars(folder, 3, [(f"name {i} " + "x" * 200, 0.5, None) for i in range(500)])
    filler.unlink()
    record_scalars(folder, 3, [("cosine/median", 0.5, None)])
