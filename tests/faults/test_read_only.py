"""A run that may only be read is evaluated, exported and decided; going on with it is refused, or done with a copy."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from engine.cli.main import run_command_line
from engine.core.errors import StoreError
from engine.run.access import check_writable, copy_run, writable
from engine.run.store import Store
from tests.tiny_runs import assert_same, read

NOBODY = 65534
ROOT = Path(__file__).parents[2]
EVALUATE = ["--n", "16", "--attack", "fgm"]


@contextmanager
def without_privileges() -> Iterator[None]:
    """As somebody whom permissions bind: root passes them by."""
    if os.getuid() != 0:
        yield
        return
    os.setresuid(NOBODY, NOBODY, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that everybody may look into; those of pytest are private."""
    folder = Path(tempfile.mkdtemp(prefix="read-only-"))
    folder.chmod(0o777)
    yield folder
    for path in (folder, *folder.rglob("*")):
        if path.is_dir():
            path.chmod(0o755)
    shutil.rmtree(folder)


@pytest.fixture
def locked(finished_run: Path, place: Path) -> Path:
    """A copy of the tiny run in which nothing may be written."""
    folder = Path(shutil.copytree(finished_run, place / "run"))
    for name in ("run.sqlite-wal", "run.sqlite-shm"):
        (folder / name).unlink(missing_ok=True)
    lock(folder)
    return folder


def lock(folder: Path) -> None:
    for path in (*folder.rglob("*"), folder):
        path.chmod(0o555 if path.is_dir() else 0o444)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_commands_in_a_folder_without_write_permission(
    locked: Path, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    export = ["export", str(locked), "--view", "robustness", "--format", "png", "--out", str(place / "figures")]
    commands = {"evaluate": ["evaluate", str(locked), *EVALUATE], "claims": ["claims", str(locked)], "export": export}
    assert run_command_line(export) == 0  # as root: what is imported late is not to be looked for without privileges
    shutil.rmtree(place / "figures")
    before = contents(locked)
    for name, arguments in commands.items():
        capsys.readouterr()
        with without_privileges():
            assert not writable(locked)
            code = run_command_line(arguments)
        said = capsys.readouterr()
        assert (code, said.err) == (0, ""), f"{name}: {said}"
        if name == "claims":
            assert f"not kept in claims.json: {locked} may only be read" in said.out
            assert "1  " in said.out
    assert (place / "figures" / "robustness" / "robustness.png").stat().st_size > 1000
    assert contents(locked) == before
    for arguments in (["run", "--out", str(locked), "--resume"], ["claims", str(locked), "--verify"]):
        with without_privileges():
            code = run_command_line(arguments)
        said = capsys.readouterr()
        assert (code, said.err.count("\n")) == (2, 1), said
        assert f"{locked} may only be read" in said.err
    assert contents(locked) == before


def test_what_waits_in_the_log_is_read(finished_run: Path, place: Path) -> None:
    """A run that was killed: its newest figures are in the database's log, and nobody may put them into it."""
    source = Path(shutil.copytree(finished_run, place / "source"))
    folder = place / "run"
    with closing(sqlite3.connect(source / "run.sqlite")) as db:
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA wal_autocheckpoint=0")
        db.execute("INSERT INTO metrics VALUES (81, 'loss', 0.125)")
        db.commit()
        shutil.copytree(source, folder, ignore=shutil.ignore_patterns("*-shm"))
    assert (folder / "run.sqlite-wal").stat().st_size
    lock(folder)
    with without_privileges():
        with closing(Store.open(folder, read_only=True)) as store:
            assert store.series("loss").steps[-1] == 81
        copy_run(folder, place / "copy")
    assert {p.name for p in folder.iterdir()} == {p.name for p in source.iterdir()} - {"run.sqlite-shm"} | {
        "run.sqlite-wal"
    }
    with closing(Store.open(place / "copy", read_only=True)) as store:
        assert store.series("loss").values[-1] == 0.125


def test_the_copy_is_the_run(locked: Path, place: Path) -> None:
    with without_privileges():
        copy_run(locked, place / "deep" / "copy")
    assert_same(read(place / "deep" / "copy"), read(locked))
    assert {p.name for p in (place / "deep").iterdir()} == {"copy"}
    assert writable(place / "deep" / "copy")
    check_writable(place / "deep" / "copy")
    with without_privileges(), pytest.raises(StoreError, match="may only be read"):
        check_writable(locked)
    with closing(Store.open(place / "deep" / "copy")) as store:
        store.record([(81, "loss", 0.5)])


def test_the_copy_leaves_out_what_is_no_file(finished_run: Path, place: Path) -> None:
    folder = Path(shutil.copytree(finished_run, place / "run"))
    os.mkfifo(folder / "pipe.json")
    os.mkfifo(folder / "checkpoints" / "step-00000099.safetensors")
    copy_run(folder, place / "copy")
    assert not (place / "copy" / "pipe.json").exists()
    assert_same(read(place / "copy"), read(finished_run))


IN_A_MOUNT = """
mount --bind {run} {run} && mount -o remount,ro,bind {run} || exit 77
{python} -c '
import sys
from engine.cli.main import run_command_line
run = sys.argv[1]
for command in (["evaluate", run, "--n", "16", "--attack", "fgm"], ["claims", run], ["run", "--out", run, "--resume"]):
    print("CODE", run_command_line(command))
' {run}
"""


def test_commands_on_a_read_only_mount(finished_run: Path, place: Path) -> None:
    if os.getuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("only root mounts, and needs unshare to do it for itself alone")
    run = Path(shutil.copytree(finished_run, place / "run"))
    script = IN_A_MOUNT.format(run=run, python=sys.executable)
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script],
        capture_output=True, text=True, check=False, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    if done.returncode == 77 or "unshare" in done.stderr:
        pytest.skip(f"this machine allows no mounts: {done.stderr.strip()}")
    assert [line for line in done.stdout.splitlines() if line.startswith("CODE")] == [
        "CODE 0", "CODE 0", "CODE 2",
    ], done  # fmt: skip
    assert f"not kept in claims.json: {run} may only be read" in done.stdout
    assert f"error: {run} may only be read" in done.stderr
    assert done.stderr.count("\n") == 1
