"""A checkpoint that cannot be read is named and set aside, one of a newer version refused; nothing happens silently."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors import safe_open
from safetensors.numpy import save as save_tensors

from engine import worlds
from engine.cli.main import run_command_line
from engine.core.errors import StoreError, VersionError
from engine.run.store import Store
from tests.faults.processes import one_line
from tests.tiny_runs import Record, advance, assert_same, drain, read, run, table, tiny_config

NEWEST = "step-00000060.safetensors"
Damage = Callable[[bytes], bytes]
DAMAGES: dict[str, Damage] = {
    "empty": lambda data: b"",
    "cut": lambda data: data[: len(data) // 2],
    "cut at the end": lambda data: data[:-1],
    "noise": lambda data: b"\xff" * len(data),
    "noisy head": lambda data: data[:8] + bytes(reversed(data[8:400])) + data[400:],
}


def rewrite(path: Path, **metadata: str) -> None:
    """Replace metadata of a checkpoint; its tensors stay."""
    with safe_open(path, framework="np") as file:
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        before = file.metadata()
    path.write_bytes(save_tensors(arrays, before | metadata))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Record:
    return run(tiny_config(), tmp_path_factory.mktemp("whole") / "run")


@pytest.fixture
def newest(tmp_path: Path) -> Path:
    """The newest checkpoint of a run that has done 60 of 80 steps; the one before is that of step 50."""
    session = worlds.create(tiny_config(), tmp_path / "run")
    advance(session, 60)
    session.close()
    return tmp_path / "run" / "checkpoints" / NEWEST


@pytest.mark.parametrize("damage", DAMAGES)
def test_resume_sets_it_aside_and_says_so(
    damage: str, newest: Path, whole: Record, capsys: pytest.CaptureFixture[str]
) -> None:
    newest.write_bytes(DAMAGES[damage](newest.read_bytes()))
    data, folder = newest.read_bytes(), newest.parents[1]
    assert run_command_line(["run", "--resume", "--out", str(folder)]) == 0
    line = one_line(capsys.readouterr().err)
    assert line.startswith(f"warning: {newest} is damaged: ")
    assert line.endswith(f"set aside as {NEWEST}.damaged, and the checkpoint of step 50 is used instead")
    assert newest.with_name(f"{NEWEST}.damaged").read_bytes() == data
    assert_same(read(folder), whole)
    assert run_command_line(["run", "--resume", "--out", str(folder)]) == 0
    assert capsys.readouterr().err == ""  # it is said when it happens


@pytest.mark.parametrize("command", ["evaluate", "export"])
def test_readers_say_so_and_change_nothing(command: str, newest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    newest.write_bytes(newest.read_bytes()[:-100])
    folder = newest.parents[1]
    options = {
        "evaluate": ["--n", "20", "--steps", "2"],
        "export": ["--view", "neurons", "--format", "svg", "--out", str(folder / "figures")],
    }
    assert run_command_line([command, str(folder), *options[command]]) == 0
    out, err = capsys.readouterr()
    assert one_line(err).startswith(f"warning: {newest} is damaged: ")
    assert err.endswith("; the checkpoint of step 50 is used instead\n")
    assert newest.exists()
    assert command != "evaluate" or "step 50," in out
    assert run_command_line([command, str(folder), *options[command], "--checkpoint", "60"]) != 0
    assert f"{newest} is damaged" in capsys.readouterr().err


def test_a_store_lists_what_it_passed_over(newest: Path) -> None:
    for name in (NEWEST, "step-00000050.safetensors"):
        newest.with_name(name).write_bytes(b"")
    store = Store.open(newest.parents[1], read_only=True)
    assert store.damaged == []
    assert store.load().step == 40
    assert [str(newest) in store.damaged[0], "step-00000050" in store.damaged[1], len(store.damaged)] == [True, True, 2]
    store.close()


NEWER = {"format": {"format": "2"}, "knob": {"config": json.dumps({"attack": {"invented_later": 1}})}}


@pytest.mark.parametrize("what", NEWER)
def test_one_of_a_newer_version_is_refused_never_trained_over(
    what: str, newest: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rewrite(newest, **NEWER[what])
    folder = newest.parents[1]
    files = {path: path.read_bytes() for path in newest.parent.iterdir()}
    record = table(folder, "SELECT * FROM metrics ORDER BY step, name")
    for line in (["run", "--resume", "--out", str(folder)], ["evaluate", str(folder)]):
        assert run_command_line(line) == 2
        said = one_line(capsys.readouterr().err)
        assert str(newest) in said
        assert "newer version; this one reads format 1" in said if what == "format" else "invented_later" in said
    assert {path: path.read_bytes() for path in newest.parent.iterdir()} == files
    assert table(folder, "SELECT * FROM metrics ORDER BY step, name") == record
    with pytest.raises(VersionError):
        worlds.resume(folder)


def test_a_run_of_a_newer_version_is_refused(newest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = newest.parents[1] / "config.json"
    source.write_text(json.dumps(json.loads(source.read_text()) | {"format": 2}))
    assert run_command_line(["run", "--resume", "--out", str(source.parent)]) == 2
    assert f"{source}: format 2, written by a newer version" in one_line(capsys.readouterr().err)


def test_without_any_checkpoint_nothing_begins_over_the_old_record(
    newest: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = newest.parents[1]
    record = table(folder, "SELECT * FROM metrics ORDER BY step, name")
    for path in newest.parent.iterdir():
        path.unlink()
    assert run_command_line(["run", "--resume", "--out", str(folder)]) == 2
    assert "no checkpoint to go on from, though its record reaches step 60" in one_line(capsys.readouterr().err)
    assert table(folder, "SELECT * FROM metrics ORDER BY step, name") == record


def test_where_all_are_damaged_nothing_is_changed(newest: Path) -> None:
    for path in newest.parent.iterdir():
        path.write_bytes(b"")
    files = sorted(newest.parent.iterdir())
    with pytest.raises(StoreError, match=f"no checkpoint that can be read; .*{NEWEST} is damaged"):
        worlds.resume(newest.parents[1])
    assert sorted(newest.parent.iterdir()) == files


def test_what_may_not_be_read_is_not_called_damaged(newest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("engine.run.contents.safe_open", denied)
    monkeypatch.setattr("engine.run.store.os.access", lambda path, _: not str(path).endswith(".safetensors"))
    with pytest.raises(StoreError, match=f"{NEWEST} cannot be read: permission denied"):
        worlds.resume(newest.parents[1])
    assert newest.exists()


def test_a_resumed_session_says_what_was_damaged(newest: Path, whole: Record) -> None:
    newest.write_bytes(b"")
    session = worlds.resume(newest.parents[1])
    assert [str(newest) in line for line in session.damaged] == [True]
    advance(session, 80)
    drain(session)
    session.close()
    assert_same(read(newest.parents[1]), whole)
