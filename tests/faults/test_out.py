"""``--out``: whatever folder it names, a run comes into it whole, or it is refused in one line."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine import worlds
from engine.cli.main import run_command_line
from engine.core.errors import ConfigError
from engine.run.store import Store
from tests.faults.processes import one_line, toml
from tests.tiny_runs import read, tiny_config

CONFIG = tiny_config(clean_steps=3, second_steps=0)


@pytest.fixture
def preset(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(toml(CONFIG, tmp_path_factory.mktemp("presets") / "c.toml"))


@pytest.fixture
def refused(preset: str, capsys: pytest.CaptureFixture[str]):  # type: ignore[no-untyped-def]
    def inner(out: str) -> str:
        assert run_command_line(["run", preset, "--out", out]) == 2
        return one_line(capsys.readouterr().err)

    return inner


def trains(preset: str, out: str) -> None:
    assert run_command_line(["run", preset, "--out", out]) == 0


def test_a_new_folder_and_its_parents(tmp_path: Path, preset: str) -> None:
    trains(preset, f"{tmp_path}/a/b/")  # with a slash at its end
    assert read(tmp_path / "a" / "b").step == 3
    assert sorted(p.name for p in (tmp_path / "a").iterdir()) == ["b"]


def test_a_link_to_an_empty_folder(tmp_path: Path, preset: str) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    trains(preset, str(tmp_path / "link"))
    assert (tmp_path / "link").is_symlink()
    assert read(tmp_path / "real").step == 3
    assert run_command_line(["run", "--resume", "--out", str(tmp_path / "link")]) == 0


def test_the_current_folder(tmp_path: Path, preset: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    before = tmp_path.stat().st_ino
    trains(preset, ".")
    assert (read(tmp_path).step, tmp_path.stat().st_ino) == (3, before)
    assert Path("config.json").exists()  # whoever stands in it still does


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "mount"
    place.mkdir()
    try:
        line = ["mount", "-t", "tmpfs", "-o", "size=8m", "none", str(place)]
        done = subprocess.run(line, capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount")
    if done.returncode != 0:
        pytest.skip("may not mount a file system")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_mount_point(mount: Path, preset: str) -> None:
    (mount / "lost+found").mkdir()
    trains(preset, str(mount))
    assert read(mount).step == 3
    assert (mount / "lost+found").is_dir()


def test_a_folder_that_cannot_be_replaced_is_filled_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a mount point, where none may be mounted; and what a failure leaves is as empty as before."""
    place = tmp_path / "place"
    place.mkdir()

    def busy(*_: object, **__: object) -> None:
        raise OSError(16, "Device or resource busy")

    real = Path.rmdir
    monkeypatch.setattr(Path, "rmdir", lambda self: busy() if self == place else real(self))
    with pytest.raises(ConfigError):
        worlds.create(tiny_config(**{"model.width": 3}), place)
    from engine.run.session import Session

    monkeypatch.setattr(Session, "_save", busy)
    with pytest.raises(OSError, match="busy"):
        worlds.create(CONFIG, place)
    assert list(place.iterdir()) == []
    monkeypatch.undo()
    (place / "checkpoints").mkdir()  # as a creation that was killed leaves it
    (place / ".new-run-x").mkdir()
    worlds.create(CONFIG, place).close()
    assert sorted(p.name for p in place.iterdir()) == ["checkpoints", "config.json", "run.sqlite", "summary.json"]


def test_the_home_folder(tmp_path: Path, preset: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    trains(preset, "~/run")
    assert read(tmp_path / "run").step == 3
    monkeypatch.chdir(tmp_path)
    assert run_command_line(["run", "--resume", "--out", "~/run"]) == 0
    for line in (["evaluate", "~/run", "--n", "20", "--steps", "2"], ["claims", "~/run"],
                 ["export", "~/run", "--view", "neurons", "--format", "svg", "--out", "~/figures"]):  # fmt: skip
        assert run_command_line(line) == 0, line
    assert (tmp_path / "run" / "claims.json").exists()
    assert (tmp_path / "figures" / "neurons").is_dir()
    assert not (tmp_path / "~").exists()


def test_what_is_refused(tmp_path: Path, refused) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "file").write_text("text")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    assert "exists and is not empty" in refused(str(tmp_path / "file"))
    assert "exists and is not empty" in refused(str(tmp_path / "full"))
    assert "cannot be made" in refused(str(tmp_path / "file" / "run"))
    assert "a link to a folder that does not exist" in refused(str(tmp_path / "dangling"))
    assert str(tmp_path / "loop") in refused(str(tmp_path / "loop"))
    assert "File name too long" in refused(str(tmp_path / ("n" * 300)))
    assert "File name too long" in refused("/" + "n/" * 3000)
    assert "cannot be made" in refused("/proc/run")
    assert sorted(tmp_path.rglob("*")) == before


def test_a_name_as_long_as_there_may_be(tmp_path: Path, preset: str) -> None:
    trains(preset, str(tmp_path / ("n" * 255)))


def test_a_name_that_is_not_utf_8(tmp_path: Path, preset: str) -> None:
    out = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9")
    code = run_command_line(["run", preset, "--out", out])
    assert code == 0 or not Path(out).exists()


def test_a_folder_that_may_not_be_read(tmp_path: Path, refused, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    listed = Path.iterdir

    def denied(self: Path) -> None:
        raise PermissionError(13, "Permission denied")

    (tmp_path / "locked").mkdir()
    monkeypatch.setattr(Path, "iterdir", lambda self: denied(self) if self.name == "locked" else listed(self))
    assert f"--out: {tmp_path / 'locked'} cannot be made: Permission denied" in refused(str(tmp_path / "locked"))
    monkeypatch.undo()
    Store.create(tmp_path / "run", CONFIG).close()
    looked = Path.stat
    monkeypatch.setattr(
        Path, "stat", lambda self, **how: denied(self) if self.parent.name == "run" else looked(self, **how)
    )
    assert run_command_line(["run", "--resume", "--out", str(tmp_path / "run")]) == 2
    if os.name != "nt" and os.getuid() != 0:
        (tmp_path / "shut").mkdir(mode=0)
        assert "Permission denied" in refused(str(tmp_path / "shut"))
        assert "Permission denied" in refused(str(tmp_path / "shut" / "run"))
