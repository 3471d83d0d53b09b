"""CIFAR-10: both versions of its files read, its archive downloaded, without a network."""

from __future__ import annotations

import io
import pickle
import struct
import tarfile
import urllib.error
from collections.abc import Callable
from hashlib import md5
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.core.errors import ConfigError, ExplorerError
from engine.data import catalogue
from engine.data.images import Cancelled, Images
from engine.data.sets import cifar10
from tests.tiny_images import PER_FILE, binary_files, quiet, records, write


def old_pickle(rows: np.ndarray[Any, np.dtype[np.uint8]]) -> bytes:
    """The tokens that Python 2 wrote for a batch: protocol 2, byte strings, the array's memory as one of them."""

    def text(value: bytes) -> bytes:
        return b"U" + bytes([len(value)]) + value

    def number(value: int) -> bytes:
        return b"K" + bytes([value])

    labels = b"]q\x05(" + b"".join(number(int(v)) for v in rows[:, 0]) + b"e"
    names = b"]q\x08(" + b"".join(text(b"name_%d.png" % i) for i in range(len(rows))) + b"e"
    memory = rows[:, 1:].tobytes()
    array = b"cnumpy.core.multiarray\n_reconstruct\nq\x06cnumpy\nndarray\nK\x00\x85" + text(b"b") + b"\x87R("
    array += number(1) + number(len(rows)) + b"M" + struct.pack("<H", cifar10.PIXELS) + b"\x86cnumpy\ndtype\n"
    array += text(b"u1") + b"K\x00K\x01\x87R(K\x03" + text(b"|") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89"
    array += b"T" + struct.pack("<i", len(memory)) + memory + b"tb"
    items = [(b"batch_label", text(b"training batch 1 of 5")), (b"labels", labels), (b"data", array)]
    body = b"".join(text(key) + value for key, value in [*items, (b"filenames", names)])
    return b"\x80\x02}q\x01(" + body + b"u."


def read(folder: Path, **values: Any) -> Images:
    return cifar10.read(folder, quiet, per_file=PER_FILE, **values)


@pytest.mark.parametrize("inside", ["", f"{cifar10.BINARY}/"])
def test_the_binary_version_is_read(tmp_path: Path, inside: str) -> None:
    write(tmp_path, {inside + name: data for name, data in binary_files().items()})
    found = read(tmp_path)
    expected = np.concatenate([records(i) for i in range(5)])
    assert found.train_y.tolist() == expected[:, 0].tolist()
    assert np.array_equal(found.train_x.numpy(), expected[:, 1:].reshape(-1, 3, 32, 32))
    assert sorted(found.test_y.tolist()) == sorted(records(5)[:, 0].tolist())
    assert found.classes[6] == "frog"


def test_the_python_version_is_read_without_unpickling(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    binary, python = tmp_path / "binary", tmp_path / "python"
    write(binary, binary_files())
    files = {name: old_pickle(records(i)) for i, name in enumerate((*cifar10.TRAIN, cifar10.TEST))}
    whole = pickle.loads(files[cifar10.TEST], encoding="bytes")  # the tokens are what Python and numpy understand
    assert np.array_equal(whole[b"data"], records(5)[:, 1:])
    write(python / cifar10.PYTHON, files)
    sums = {name: md5(data).hexdigest() for name, data in files.items()}

    def never(*arguments: object, **keywords: object) -> None:
        raise AssertionError("unpickled")

    for name in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(pickle, name, never)
    assert read(python, md5=sums).digest() == read(binary).digest()


def test_a_pickle_of_another_checksum_is_not_even_looked_at(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
            return (Path.touch, (Path(tmp_path / "touched"),))  # type: ignore[return-value]

    write(tmp_path, {name: pickle.dumps(Evil()) for name in (*cifar10.TRAIN, cifar10.TEST)})
    with pytest.raises(ConfigError, match=r"^world\.folder: .*data_batch_1 has not the checksum .*pickle"):
        read(tmp_path)
    sums = {name: md5((tmp_path / name).read_bytes()).hexdigest() for name in (*cifar10.TRAIN, cifar10.TEST)}
    with pytest.raises(ConfigError, match=r"^world\.folder: .*data_batch_1 cannot be taken apart"):
        read(tmp_path, md5=sums)
    assert not (tmp_path / "touched").exists()


def test_the_checksums_are_those_of_torchvision() -> None:
    from torchvision.datasets import CIFAR10  # type: ignore[import-untyped]

    assert dict(map(tuple, [*CIFAR10.train_list, *CIFAR10.test_list])) == cifar10.PYTHON_MD5


def test_damaged_and_missing_files_of_cifar10_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^world\.folder: .* holds no CIFAR-10; .*162 MB"):
        catalogue.load(cifar10.Cifar10World(folder=str(tmp_path)))
    write(tmp_path, binary_files())
    (tmp_path / "data_batch_3.bin").write_bytes(b"\0" * 100)
    with pytest.raises(ConfigError, match=r"data_batch_3.bin has 100 bytes; allowed: 21,511 "):
        read(tmp_path)
    (tmp_path / "data_batch_3.bin").write_bytes(b"\x0b" * 21_511)
    with pytest.raises(ConfigError, match=r"data_batch_3.bin holds the label 11; allowed: 0 to 9"):
        read(tmp_path)
    (tmp_path / "data_batch_3.bin").unlink()
    with pytest.raises(ConfigError, match=r"data_batch_3.bin cannot be read: No such file"):
        read(tmp_path)


class Answer(io.BytesIO):
    """What a server sends."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.headers = {"Content-Length": str(len(data))}


def archive(files: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as tar:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return file.getvalue()


def official(extra: dict[str, bytes] | None = None) -> bytes:
    return archive({f"{cifar10.BINARY}/{name}": data for name, data in binary_files().items()} | (extra or {}))


def download(folder: Path, data: bytes, **values: Any) -> Path:
    asked: list[str] = []

    def opener(url: str, timeout: float) -> Answer:
        asked.append(url)
        return Answer(data)

    defaults: dict[str, Any] = {"md5": md5(data).hexdigest(), "per_file": PER_FILE, "opener": opener}
    found = cifar10.download(folder, **(defaults | values))
    assert set(asked) <= {cifar10.URL}
    return found


def test_a_download_is_checked_unpacked_and_renamed(tmp_path: Path) -> None:
    told: list[tuple[float, str]] = []
    evil = {
        "../outside": b"x",
        "/outside": b"x",
        f"{cifar10.BINARY}/../../outside": b"x",
        "other/data_batch_1.bin": b"",
    }
    folder = tmp_path / "new" / "data"
    found = download(folder, official(evil), progress=lambda share, text: told.append((share, text)))
    assert found == folder / cifar10.BINARY
    assert sorted(path.name for path in found.iterdir()) == sorted(binary_files())
    assert [path.name for path in folder.iterdir()] == [cifar10.BINARY]
    assert not list(tmp_path.rglob("outside"))
    shares = [share for share, _ in told]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0, 1)
    assert any("MB" in text for _, text in told)
    assert len(read(folder).train_y) == 5 * PER_FILE


def test_an_archive_that_is_there_is_used_and_an_incomplete_folder_replaced(tmp_path: Path) -> None:
    def never(url: str, timeout: float) -> Answer:
        raise AssertionError("asked the network")

    data = official()
    write(tmp_path, {cifar10.ARCHIVE: data, f"{cifar10.BINARY}/data_batch_1.bin": b"half"})
    download(tmp_path, data, opener=never)
    assert len(read(tmp_path).test_y) == PER_FILE


def refuse(error: Exception) -> Callable[..., Answer]:
    def opener(url: str, timeout: float) -> Answer:
        raise error

    return opener


FAILURES: dict[str, tuple[dict[str, Any], str]] = {
    "no network": (
        {"opener": refuse(urllib.error.URLError("no route"))},
        "cannot be read: no route; check the network",
    ),
    "time out": ({"opener": refuse(TimeoutError("timed out"))}, "cannot be read: timed out; check"),
    "not found": (
        {"opener": refuse(urllib.error.HTTPError(cifar10.URL, 404, "Not Found", {}, None))},  # type: ignore[arg-type]
        "cannot be read: Not Found; check",
    ),
    "checksum": ({"md5": "0" * 32}, "has the MD5 sum [0-9a-f]{32}; allowed: 0{32} "),
    "sizes": ({"per_file": 8}, "holds no .*data_batch_1.bin of 24,584 bytes"),
}


@pytest.mark.parametrize("failure", FAILURES)
def test_a_download_that_fails_says_why_and_leaves_nothing(tmp_path: Path, failure: str) -> None:
    values, message = FAILURES[failure]
    with pytest.raises(ExplorerError, match=rf"^download: .*{message}") as error:
        download(tmp_path, official(), **values)
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_other_ways_for_a_download_to_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ExplorerError, match=r"^download: .* cannot be unpacked: "):
        download(tmp_path, b"not an archive")
    with pytest.raises(ExplorerError, match=r"^download: .* cannot be unpacked: "):
        download(tmp_path, official()[:-2000])
    (tmp_path / "file").write_text("x")
    with pytest.raises(ExplorerError, match=r"^download: .* cannot be written: "):
        download(tmp_path / "file" / "below", official())
    monkeypatch.setattr(cifar10, "SPACE", 2**60)
    with pytest.raises(ExplorerError, match=r"^download: .* MB free; needed: "):
        download(tmp_path, official())


@pytest.mark.parametrize("after", range(1, 9))
def test_a_cancelled_download_leaves_nothing(tmp_path: Path, after: int) -> None:
    asked: list[int] = []

    def cancelled() -> bool:
        asked.append(1)
        return len(asked) > after

    with pytest.raises(Cancelled):
        download(tmp_path, official(), cancelled=cancelled)
    assert list(tmp_path.iterdir()) == []
