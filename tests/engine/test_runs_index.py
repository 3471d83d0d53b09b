"""The list of runs: how each stands, what is remembered of it, and runs that are renamed, deleted and taken back."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from engine import worlds
from engine.cli.main import run_command_line
from engine.core.errors import ExplorerError, InUseError, StoreError
from engine.core.lock import FolderLock, holder
from engine.run.commands import SaveCheckpoint
from engine.run.index import IndexFile, ListedRun, RunIndex
from engine.run.moving import empty_trash, in_trash, name_fault, put_into_trash, rename, take_back
from tests.tiny_runs import advance, run, table, tiny_config

ROOT = Path(__file__).parents[2]
HOLD = "import sys; from pathlib import Path; from engine.core.lock import FolderLock; " \
    "lock = FolderLock(Path(sys.argv[1])); print('held', flush=True); sys.stdin.read()"  # fmt: skip


@contextmanager
def held_elsewhere(folder: Path) -> Iterator[int]:
    """Another process has ``folder`` locked; its number."""
    line = [sys.executable, "-c", HOLD, str(folder)]
    with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process.pid
        finally:
            process.kill()


@pytest.fixture(scope="module")
def stopped_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny run that was left in its second phase; only to be read."""
    folder = tmp_path_factory.mktemp("stopped") / "stopped"
    run(tiny_config(seed=7), folder, until=50)
    return folder


@pytest.fixture
def root(tmp_path: Path, finished_run: Path) -> Path:
    """A folder with one finished run, ``a``."""
    made = tmp_path / "runs"
    shutil.copytree(finished_run, made / "a")
    return made


@pytest.fixture
def index(root: Path, tmp_path: Path) -> RunIndex:
    return RunIndex(root, tmp_path / "cache")


def only(index: RunIndex) -> ListedRun:
    (found,) = index.look()
    return found


def stored(folder: Path, step: int, name: str) -> float:
    return float(table(folder, f"SELECT value FROM metrics WHERE step = {step} AND name = '{name}'")[0][0])


def files(folder: Path) -> set[str]:
    """What lies there, but for what SQLite keeps beside a database while anybody has it open."""
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if not p.name.endswith(("-wal", "-shm"))}


# --- what is said of a run


def test_a_finished_run_is_listed_with_the_accuracies_of_both_phase_ends(index: RunIndex, root: Path) -> None:
    before = files(root)
    found = only(index)
    entry = found.entry
    assert (found.name, found.standing, entry.phase, entry.step, entry.total) == (
        "a",
        "finished",
        "adversarial",
        80,
        80,
    )
    assert entry.seed == 0
    assert entry.clean_end is not None
    assert entry.second_end is not None
    for end, step, phase in ((entry.clean_end, 40, "clean"), (entry.second_end, 80, "adversarial")):
        assert (end.step, end.phase) == (step, phase)
        for name in ("clean", "pgd", "certified"):
            assert end.figures[name].value == stored(root / "a", step, f"report/accuracy/{name}")
    how = entry.second_end.figures["pgd"].measurement
    assert how is not None
    assert (how.attack, how.steps, how.restarts, how.n, how.estimate) == ("pgd", 4, 2, 48, False)
    assert entry.size == sum(path.stat().st_size for path in (root / "a").rglob("*") if path.is_file())
    assert entry.written == pytest.approx(max(p.stat().st_mtime for p in (root / "a").rglob("*") if p.is_file()))
    assert 0 < entry.created <= entry.written
    assert files(root) == before  # looking leaves nothing behind


def test_a_run_that_was_left_has_no_second_end_and_knows_its_seed(
    index: RunIndex, root: Path, stopped_run: Path
) -> None:
    shutil.copytree(stopped_run, root / "group" / "b")
    entry = index.look()[1].entry
    assert (entry.outcome, entry.phase, entry.step, entry.total, entry.seed) == (
        "interrupted",
        "adversarial",
        50,
        80,
        7,
    )
    assert entry.clean_end is not None
    assert entry.clean_end.step == 40
    assert entry.second_end is None


def test_a_run_knows_its_preset_and_a_phase_without_clean_training(index: RunIndex, root: Path) -> None:
    config = json.loads((root / "a" / "config.json").read_text(encoding="utf-8"))
    small = next(line for line in (ROOT / "resources/presets/small.toml").read_text().splitlines() if "title" in line)
    config["config"]["about"]["title"] = json.loads(small.partition("=")[2])
    (root / "a" / "config.json").write_text(json.dumps(config), encoding="utf-8")
    run(tiny_config(**{"schedule.clean_steps": 0, "schedule.second_steps": 10}), root / "b")
    first, second = index.look()
    assert first.entry.preset == "small"
    assert second.entry.clean_end is None
    assert second.entry.second_end is not None
    assert (second.entry.second_end.step, second.entry.second_end.phase, second.entry.phase) == (
        10, "adversarial", "adversarial",
    )  # fmt: skip


def test_who_has_a_run_open_is_known(index: RunIndex, root: Path, stopped_run: Path) -> None:
    shutil.copytree(stopped_run, root / "b")
    with held_elsewhere(root / "a") as process:
        mine = FolderLock(root / "b")
        a, b = index.look()
        assert (a.standing, a.holder) == ("training", process)
        assert (b.standing, b.holder) == ("here", os.getpid())
        mine.release()
        assert [each.standing for each in index.look()] == ["training", "interrupted"]
    assert (root / "a" / ".lock").exists()  # that of a process that was killed
    assert [each.standing for each in index.look()] == ["finished", "interrupted"]


def test_two_who_look_do_not_take_each_other_for_a_writer(root: Path) -> None:
    (root / "a" / ".lock").write_text("1\n")
    import fcntl

    with (root / "a" / ".lock").open() as other:
        fcntl.flock(other, fcntl.LOCK_SH)
        assert holder(root / "a") is None


def test_a_session_in_the_middle_is_read_as_far_as_it_has_written(index: RunIndex, root: Path) -> None:
    session = worlds.create(tiny_config(), root / "b")
    try:
        advance(session, 45)
        session._recorder.flush()
        session._recorder.wait()
        found = index.look()[1]
        assert (found.standing, found.entry.phase) == ("here", "adversarial")
        assert found.entry.step >= 40
        advance(session, 60)
        session._recorder.flush()
        session._recorder.wait()
        assert index.look()[1].entry.step > found.entry.step
    finally:
        session.close()


@pytest.mark.parametrize("seen_by", ["loss", "checkpoint"])
def test_a_run_that_diverged_says_so_until_it_is_gone_on_with(index: RunIndex, root: Path, seen_by: str) -> None:
    session = worlds.create(tiny_config(), root / "b")
    advance(session, 30)
    with torch.no_grad():
        session.model.weight.fill_(float("nan"))  # type: ignore[attr-defined]
    with pytest.raises(ExplorerError, match="diverged"):  # noqa: PT012 - in either way
        if seen_by == "loss":
            advance(session, 80)
        else:
            session.apply(SaveCheckpoint())
    session.close()
    assert json.loads((root / "b" / "summary.json").read_text(encoding="utf-8"))["diverged"] is True
    assert index.look()[1].standing == "diverged"
    again = worlds.resume(root / "b")
    assert index.look()[1].standing == "here"
    again.close()
    assert index.look()[1].standing == "interrupted"
    assert json.loads((root / "b" / "summary.json").read_text(encoding="utf-8"))["diverged"] is False


def test_a_run_killed_after_a_loss_that_is_no_number_has_diverged(index: RunIndex, root: Path) -> None:
    (root / "a" / "summary.json").unlink()
    db = sqlite3.connect(root / "a" / "run.sqlite")
    with db:
        db.execute("UPDATE metrics SET value = NULL WHERE name = 'loss' AND step = 80")
    db.close()
    assert only(index).standing == "diverged"


@pytest.mark.parametrize(
    ("name", "content", "standing", "reason"),
    [
        ("config.json", b"{", "damaged", "not JSON"),
        ("config.json", None, "damaged", "config.json does not exist"),
        ("config.json", b'{"format": 2}', "newer", "newer version"),
        ("run.sqlite", b"nothing", "damaged", "run.sqlite is damaged"),
        ("run.sqlite", None, "damaged", "run.sqlite does not exist"),
        ("summary.json", b"[]", "damaged", "summary.json is damaged"),
    ],
)
def test_a_run_that_cannot_be_read_is_listed_with_the_reason(
    index: RunIndex, root: Path, name: str, content: bytes | None, standing: str, reason: str
) -> None:
    if content is None:
        (root / "a" / name).unlink()
    else:
        (root / "a" / name).write_bytes(content)
    found = only(index)
    assert found.standing == standing
    assert reason in found.entry.reason
    assert len(found.entry.reason.splitlines()) == 1
    assert found.entry.size > 0


def test_a_run_without_checkpoints_is_damaged(index: RunIndex, root: Path) -> None:
    shutil.rmtree(root / "a" / "checkpoints")
    assert "no checkpoint" in only(index).entry.reason


def test_what_is_no_run_is_not_listed(index: RunIndex, root: Path) -> None:
    (root / "notes").mkdir()
    (root / "notes" / "text.txt").write_text("x")
    (root / "file").write_text("x")
    shutil.copytree(root / "a", root / ".trash" / "b")
    shutil.copytree(root / "a", root / "one" / "two" / "three")
    assert [each.name for each in index.look()] == ["a"]
    assert RunIndex(root / "nowhere", root).look() == ()
    assert [each.name for each in RunIndex(root / "a", root.parent / "cache").look()] == ["a"]  # a run itself


# --- what is remembered


def test_a_run_is_read_again_only_when_its_files_change(index: RunIndex, root: Path, tmp_path: Path) -> None:
    for file in (root / "a").rglob("*"):
        os.utime(file, (1e9, 1e9))
    first = only(index)
    assert index.read == 1
    assert only(index) == first
    assert index.read == 0
    fresh = RunIndex(root, tmp_path / "cache")  # another process
    assert only(fresh) == first
    assert fresh.read == 0
    os.utime(root / "a" / "summary.json", (1e9 + 1, 1e9 + 1))
    assert only(fresh).entry.written == 1e9 + 1
    assert fresh.read == 1
    db = sqlite3.connect(root / "a" / "run.sqlite")
    with db:
        db.execute("UPDATE metrics SET value = 0.25 WHERE name = 'report/accuracy/pgd' AND step = 80")
    db.close()
    end = only(fresh).entry.second_end
    assert end is not None
    assert end.figures["pgd"].value == 0.25


def test_the_index_forgets_runs_that_are_gone_and_may_be_removed(index: RunIndex, root: Path) -> None:
    for file in (root / "a").rglob("*"):
        os.utime(file, (1e9, 1e9))
    shutil.copytree(root / "a", root / "b")
    assert len(index.look()) == 2
    shutil.rmtree(root / "b")
    found = index.look()
    assert index.path is not None
    assert list(IndexFile.model_validate_json(index.path.read_bytes()).runs) == [str(root / "a")]
    for spoilt in (b"", b"{", b'{"version": 0, "runs": {}}', b'{"version": 1, "runs": {"x": {"files": 3}}}', b"\xff"):
        index.path.write_bytes(spoilt)
        again = RunIndex(root, index.path.parent)
        assert again.look() == found
        assert again.read == 1
    index.path.unlink()
    assert RunIndex(root, index.path.parent).look() == found
    assert [path.name for path in index.path.parent.iterdir()] == [index.path.name]  # no temporary file stays


def test_runs_are_listed_where_nothing_can_be_remembered(root: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    index = RunIndex(root, tmp_path / "file")
    assert only(index) == only(index)


def test_a_folder_that_may_only_be_read_is_listed_and_left_as_it_is(index: RunIndex, root: Path) -> None:
    for place in (root / "a" / "checkpoints", root / "a", root):
        place.chmod(0o555)
    before = files(root)
    try:
        assert only(index).standing == "finished"
        assert files(root) == before
    finally:
        for place in (root, root / "a", root / "a" / "checkpoints"):
            place.chmod(0o755)


def test_a_look_that_is_given_up_keeps_what_it_has_read(index: RunIndex, root: Path, tmp_path: Path) -> None:
    for name in "bc":
        shutil.copytree(root / "a", root / name)
    for file in root.rglob("*"):
        os.utime(file, (1e9, 1e9))
    look = index.runs()
    assert [next(look).name, next(look).name] == ["a", "b"]
    look.close()
    other = RunIndex(root, tmp_path / "cache")
    assert len(other.look()) == len(index.look()) == 3
    assert (other.read, index.read) == (1, 1)


# --- rename, delete, take back


def test_a_run_is_renamed_and_goes_on_under_the_new_name(root: Path, index: RunIndex) -> None:
    new = rename(root / "a", "a better name")
    assert [each.name for each in index.look()] == ["a better name"]
    assert not (new / ".lock").exists()
    session = worlds.resume(new)
    session.close()


@pytest.mark.parametrize("name", ["", ".", "..", ".hidden", "a/b", "a\\b", "x\n", " x", "x" * 201, "a:b", "a\u202eb"])
def test_what_cannot_be_a_name_is_refused(root: Path, name: str) -> None:
    assert name_fault(name)
    with pytest.raises(StoreError, match="allowed: a name"):
        rename(root / "a", name)
    assert (root / "a").is_dir()


def test_a_name_that_is_taken_is_refused(root: Path) -> None:
    (root / "b").mkdir()
    with pytest.raises(StoreError, match="b exists already"):
        rename(root / "a", "b")


def test_a_deleted_run_is_taken_back_as_it_was(root: Path, index: RunIndex) -> None:
    before = only(index)
    trashed = put_into_trash(root / "a", root)
    assert index.look() == ()
    assert in_trash(root) == [root / ".trash" / "a"]
    take_back(trashed)
    assert only(index) == before
    assert in_trash(root) == []


def test_runs_of_one_name_lie_in_the_trash_beside_each_other(root: Path) -> None:
    shutil.copytree(root / "a", root / "group" / "a")
    first, second = put_into_trash(root / "a", root), put_into_trash(root / "group" / "a", root)
    assert first.place != second.place
    (root / "a").mkdir()
    with pytest.raises(StoreError, match=r"cannot be moved back: .*a exists already"):
        take_back(first)
    take_back(second)
    assert (root / "group" / "a" / "config.json").exists()
    assert empty_trash(root) == 1
    assert in_trash(root) == []
    assert empty_trash(root) == 0


def test_a_run_in_use_stays_where_it_is(root: Path) -> None:
    with held_elsewhere(root / "a") as process:
        with pytest.raises(InUseError, match=f"in use by process {process}"):
            rename(root / "a", "b")
        with pytest.raises(InUseError, match=f"in use by process {process}"):
            put_into_trash(root / "a", root)
        assert (root / "a" / "config.json").exists()
    trashed = put_into_trash(root / "a", root)
    mine = FolderLock(trashed.place)
    with pytest.raises(InUseError):
        empty_trash(root)
    mine.release()
    assert trashed.place.exists()


# --- the command

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Call:
    """Run a command in this process: exit code, stdout, stderr."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def inner(*arguments: object) -> tuple[int, str, str]:
        code = run_command_line([str(a) for a in arguments])
        return code, *capsys.readouterr()

    return inner


def test_the_command_prints_a_table_and_json(call: Call, root: Path, stopped_run: Path) -> None:
    shutil.copytree(stopped_run, root / "group" / "b")
    (root / "broken").mkdir()
    (root / "broken" / "config.json").write_text("{")
    code, out, err = call("runs", root)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    pgd, certified = (stored(root / "a", 80, f"report/accuracy/{name}") for name in ("pgd", "certified"))
    a = next(line for line in lines if line.startswith("a "))
    assert "finished" in a
    assert f"/ {pgd:.3f} / {certified:.3f}" in a
    assert any(line.split()[:1] == ["group/b"] and "interrupted" in line and "50/80" in line for line in lines)
    assert any(line.startswith("broken: ") and "run.sqlite does not exist" in line for line in lines)
    assert "pgd 4 steps × 2, ℓ2 radius 0.2, n = 48" in lines[-1]
    code, out, _ = call("runs", root, "--json")
    found = {run["name"]: run for run in json.loads(out)}
    assert found["a"]["second_end"]["figures"]["pgd"]["value"] == pgd
    assert found["a"]["state"] == "finished"
    assert found["broken"]["state"] == "damaged"


def test_the_command_refuses_what_is_no_folder_and_says_where_there_are_none(
    call: Call,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert call("runs", tmp_path / "nowhere") == (2, "", f"error: folder: {tmp_path / 'nowhere'} does not exist\n")
    monkeypatch.setenv("FP_RUNS", str(tmp_path / "none"))
    assert call("runs") == (0, f"no runs below {tmp_path / 'none'}\n", "")


def test_listing_runs_imports_no_torch(root: Path, tmp_path: Path) -> None:
    code = (
        "import sys\nfrom engine.cli.main import run_command_line\n"
        f"assert run_command_line(['runs', {str(root)!r}]) == 0\nassert 'torch' not in sys.modules\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert "finished" in done.stdout
