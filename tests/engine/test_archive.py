"""A folder as bytes and back: the same files, and nothing outside of the folder, whatever the bytes say."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from engine.core.archive import pack, unpack
from engine.core.errors import StoreError


def archive_of(*entries: tuple[tarfile.TarInfo, bytes]) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        for entry, content in entries:
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return data.getvalue()


def entry(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname = kind, target
    return made


def test_a_folder_comes_back_as_it_was_but_for_links(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "frames").mkdir()
    (folder / "config.json").write_bytes(b"{}")
    (folder / "checkpoints" / "step-00000001.safetensors").write_bytes(bytes(range(256)) * 9)
    (folder / "link").symlink_to("/etc/passwd")
    unpack(pack(folder), tmp_path / "back")
    found = {path.relative_to(tmp_path / "back").as_posix(): path for path in (tmp_path / "back").rglob("*")}
    assert sorted(found) == ["checkpoints", "checkpoints/step-00000001.safetensors", "config.json", "frames"]
    assert found["checkpoints/step-00000001.safetensors"].read_bytes() == bytes(range(256)) * 9


@pytest.mark.parametrize(
    "bad",
    [
        entry("../out"), entry("/tmp/out"), entry("a/../../out"), entry("a\\b"), entry("C:out"), entry("a\nb"),
        entry("link", tarfile.SYMTYPE, "/etc/passwd"), entry("link", tarfile.LNKTYPE, "config.json"),
        entry("pipe", tarfile.FIFOTYPE), entry("device", tarfile.CHRTYPE),
    ],
    ids=lambda each: repr(each.name),
)  # fmt: skip
def test_nothing_but_files_within_the_folder_is_taken(tmp_path: Path, bad: tarfile.TarInfo) -> None:
    with pytest.raises(StoreError, match=r"archive of run: .*(allowed: one within|neither a file)"):
        unpack(archive_of((entry("config.json"), b"{}"), (bad, b"")), tmp_path / "inner" / "run")
    assert [path.name for path in tmp_path.rglob("*")] == ["inner", "run", "config.json"]


def test_a_name_twice_or_a_broken_archive_is_refused(tmp_path: Path) -> None:
    twice = archive_of((entry("a"), b"1"), (entry("a"), b"2"))
    with pytest.raises(StoreError, match="cannot be written"):
        unpack(twice, tmp_path / "twice")
    for name, data in (("empty", b""), ("noise", b"x" * 2000), ("cut", archive_of((entry("a"), b"1" * 4000))[:2000])):
        with pytest.raises(StoreError, match="it is damaged"):
            unpack(data, tmp_path / name)
