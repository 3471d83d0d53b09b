"""Folders of images as people have them: splits of any name, links, archives of other systems, photographs."""

from __future__ import annotations

import bz2
import gzip
import io
import os
import tarfile
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from engine.core.errors import ConfigError
from engine.data import catalogue, decode, tree
from engine.data.images import Images
from engine.data.sets import cifar10
from engine.data.sets.cifar10 import Cifar10World
from engine.data.sets.image_folder import ImageFolderWorld
from tests.tiny_images import binary_files, encoded, quiet, write
from tests.tiny_images import tree as files_of


def load(where: Path, side: int = 0) -> Images:
    return catalogue.load(ImageFolderWorld(folder=str(where), side=side))


def counts(images: Images) -> tuple[int, int]:
    return len(images.train_y), len(images.test_y)


def note(where: Path) -> str:
    return catalogue.look("image_folder", str(where)).note


# --- splits and classes


@pytest.mark.parametrize("train", ["train", "TRAIN", "Training"])
@pytest.mark.parametrize("test", ["Test", "TESTING", "Val", "valid", "Validation", "eval", "Evaluation"])
def test_splits_are_recognised_whatever_their_case(tmp_path: Path, train: str, test: str) -> None:
    files = files_of(f"{train}/", count=5) | files_of(f"{test}/", count=3)
    found = load(write(tmp_path / "data", files))
    assert found.classes == ("a", "b")
    assert counts(found) == (10, 6)
    assert f"{train} and {test}" in found.words()


def test_a_class_called_train_is_a_class_beside_others(tmp_path: Path) -> None:
    where = write(tmp_path / "data", {f"{n}/{i}.png": encoded(i) for n in ("train", "bus", "car") for i in range(5)})
    found = load(where)
    assert found.classes == ("bus", "car", "train")
    assert counts(found) == (12, 3)
    assert "3 classes (bus, car, train), 12 images for training, 3 held out" in note(where)


def test_of_several_splits_one_is_taken_and_the_others_are_named(tmp_path: Path) -> None:
    where = write(tmp_path / "data", files_of("train/", "val/", "test/", count=2) | files_of("extra/", count=2))
    found = load(where)
    assert counts(found) == (4, 4)
    assert "train and test" in found.words()
    assert "4 images in extra" in found.words()
    assert "4 images in val" in found.words()


AMBIGUOUS = {
    "images in a split itself": (files_of("train/") | {"train/9.png": encoded()}, "both in 'train' and in folders"),
    "a split beside a class": (files_of("train/") | files_of("", classes="c"), "holds 'train' with folders .* 'c'"),
    "a flat test split": (files_of("train/") | {"test/0.png": encoded(), "test/1.png": encoded()}, "beside 'test'"),
    "splits without classes": (
        {f"{n}/{i}.png": encoded() for n in ("Train", "Test") for i in range(3)},
        "holds images in Test and Train themselves",
    ),
    "a split twice": (files_of("train/", "Training/", "test/"), "'Training' and 'train', one split twice"),
    "a name that cannot be shown": ({f"{n}/{i}.png": encoded() for n in ("a\nb", "c") for i in "01"}, r"'a\\nb'"),
}


@pytest.mark.parametrize("case", AMBIGUOUS)
def test_what_can_be_read_in_two_ways_is_refused_in_one_line(tmp_path: Path, case: str) -> None:
    files, message = AMBIGUOUS[case]
    where = write(tmp_path / "data", files)
    with pytest.raises(ConfigError, match=rf"^world\.folder: .*{message}.*; allowed: ") as error:
        load(where)
    assert "\n" not in str(error.value)
    look = catalogue.look("image_folder", str(where))
    assert not look.installed
    assert look.note == str(error.value).removeprefix("world.folder: ")  # the list of data sets says the same


def test_what_is_said_before_is_what_is_loaded(tmp_path: Path) -> None:
    """The list counts without reading any image: the same numbers as the run's, at every size of a class."""
    files = {f"{name}/{i}.png": encoded(i) for name, n in (("a", 2), ("b", 3), ("c", 8), ("d", 13)) for i in range(n)}
    where = write(tmp_path / "data", files)
    train, test = counts(load(where))
    assert f"{train} images for training, {test} held out" in note(where)
    assert train + test == 26


def test_skipped_files_are_counted_by_kind_and_what_systems_leave_is_not(tmp_path: Path) -> None:
    odd = ["a/1.txt", "a/2.TXT", "b/3.txt", "film.mp4", "a/README", "a/Thumbs.db", "a/.DS_Store", "__MACOSX/a/._0.png"]
    files = files_of("", count=4) | dict.fromkeys(odd, b"x") | {"9.png": encoded()}
    where = write(tmp_path / "data", files)
    skipped = "skipped 3 .txt, 1 .mp4, 1 images outside of a class folder, 1 without a suffix"
    assert load(where).words().endswith(skipped)
    assert note(where).endswith(skipped)


# --- links


def test_links_to_folders_are_followed_once_and_rings_end(tmp_path: Path) -> None:
    elsewhere = write(tmp_path / "elsewhere", {f"cats/{i}.png": encoded(i) for i in range(5)})
    where = write(tmp_path / "data", {f"dogs/{i}.png": encoded(i) for i in range(5)})
    (where / "cats").symlink_to(elsewhere / "cats")
    (where / "dogs" / "ring").symlink_to(where)
    (where / "dogs" / "again").symlink_to(where / "dogs")
    (where / "dogs" / "up").symlink_to(tmp_path)
    (where / "dogs" / "nowhere.png").symlink_to("nowhere")
    (elsewhere / "cats" / "over").symlink_to(where / "dogs")
    begin = time.monotonic()
    found = load(where)
    assert time.monotonic() - begin < 2
    assert found.classes == ("cats", "dogs")
    assert counts(found) == (8, 2)
    assert "4 link to a folder that is read already, 1 broken link" in found.words()


def test_a_pipe_among_the_images_is_left_alone(tmp_path: Path) -> None:
    where = write(tmp_path / "data", files_of("", count=3))
    os.mkfifo(where / "a" / "9.png")
    assert counts(load(where)) == (4, 2)
    os.mkfifo(tmp_path / "pipe.zip")
    with pytest.raises(ConfigError, match=r"pipe.zip is no file; allowed"):
        load(tmp_path / "pipe.zip")


def test_a_disk_chosen_by_mistake_is_refused_early(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree, "MAX_FILES", 7)
    with pytest.raises(ConfigError, match=r"holds more than 7 files; allowed: fewer"):
        load(write(tmp_path / "data", files_of("")))
    with pytest.raises(ConfigError, match=r"holds more than 7 files; allowed: fewer"):
        load(write(tmp_path / "data.zip", files_of(""), zipped=True))


# --- archives


def tarred(where: Path, files: dict[str, bytes], mode: str) -> Path:
    with tarfile.open(where, mode) as archive:  # type: ignore[call-overload]
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
        link = tarfile.TarInfo("pictures/a/link.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    return where


@pytest.mark.parametrize(
    ("name", "mode"), [("d.tar", "w:"), ("d.tar.gz", "w:gz"), ("d.tbz2", "w:bz2"), ("d.txz", "w:xz")]
)
def test_a_tar_holds_the_same_images_as_the_folder(tmp_path: Path, name: str, mode: str) -> None:
    files = files_of("train/", "test/")
    plain = load(write(tmp_path / "data", files))
    shuffled = {f"./pictures/{key}": files[key] for key in sorted(files, reverse=True)}
    odd = {"pictures/a/._0.png": b"x", "../../outside/a.png": b"x", "/etc/b.png": b"x"}
    found = load(tarred(tmp_path / name, shuffled | odd, mode))
    assert found.digest() == plain.digest()
    assert "2 name that leads outside of the archive, 1 link or special file" in found.words()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["data", name])  # nothing was unpacked


def test_a_zip_made_on_windows_or_without_utf8_marks(tmp_path: Path) -> None:
    plain = load(write(tmp_path / "data", {f"{n}/{i}.png": encoded(i) for n in ("bär", "eis") for i in range(5)}))
    with zipfile.ZipFile(tmp_path / "win.zip", "w") as archive:
        for n in ("bär", "eis"):
            for i in range(5):
                entry = zipfile.ZipInfo("x")
                entry.filename = f"Bilder\\{n}\\{i}.png"
                archive.writestr(entry, encoded(i))
        archive.writestr("Bilder\\Thumbs.db", b"x")
    assert load(tmp_path / "win.zip").digest() == plain.digest()
    for name, encoding in (("dos.zip", "cp437"), ("mac.zip", "utf-8")):  # neither says how its names are encoded
        data = (tmp_path / "win.zip").read_bytes()
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            for n in ("b__r", "eis"):
                for i in range(5):
                    archive.writestr(f"{n}/{i}.png", encoded(i))
        written = "bär".encode(encoding)
        data = (tmp_path / name).read_bytes().replace(b"b__r", written.ljust(4, b"_"))
        (tmp_path / name).write_bytes(data)
        assert load(tmp_path / name).classes == ("bär".ljust(4 if encoding == "cp437" else 3, "_"), "eis")


def test_a_tar_whose_header_claims_a_huge_length_and_damaged_ones(tmp_path: Path) -> None:
    header = tarfile.TarInfo("x")
    header.type, header.size = tarfile.XHDTYPE, 2**32
    (tmp_path / "huge.tar").write_bytes(header.tobuf(tarfile.USTAR_FORMAT) + bytes(1024))
    (tmp_path / "text.tar").write_text("hello")
    (tmp_path / "text.tar.gz").write_bytes(gzip.compress(b"hello"))
    good = tarred(tmp_path / "good.tar", files_of(""), "w:").read_bytes()
    (tmp_path / "cut.tar.bz2").write_bytes(bz2.compress(good)[:-400])
    for name in ("huge.tar", "text.tar", "text.tar.gz", "cut.tar.bz2"):
        with pytest.raises(ConfigError, match=rf"^world\.folder: .*{name} is not a \.tar, or a damaged one \("):
            load(tmp_path / name)


# --- pictures


def turned(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = Image.fromarray(np.arange(8, dtype=np.uint8).reshape(2, 4) * 30)
    file = io.BytesIO()
    picture.save(file, "png", exif=exif)
    return file.getvalue()


def test_photographs_are_turned_as_they_say(tmp_path: Path) -> None:
    values = np.arange(8, dtype=np.uint8).reshape(2, 4) * 30
    for orientation, upright in (
        (1, values),
        (3, values[::-1, ::-1]),
        (6, np.rot90(values, -1)),
        (8, np.rot90(values)),
    ):
        files = {f"{n}/{i}.png": turned(orientation) for n in "ab" for i in "01"}
        found = load(write(tmp_path / str(orientation), files))
        assert np.array_equal(found.train_x[0, 0].numpy(), upright), orientation


def test_a_huge_photograph_is_reduced_while_it_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode, "MAX_PIXELS", 100 * 100)
    monkeypatch.setattr(decode, "MAX_REDUCED", 120 * 120)
    picture = Image.fromarray(np.repeat(np.repeat(np.array([[40, 200]], np.uint8), 200, 0), 100, 1))
    large, progressive = io.BytesIO(), io.BytesIO()
    picture.save(large, "jpeg")
    picture.save(progressive, "jpeg", progressive=True)
    files = files_of("", count=3) | {"a/9.jpg": large.getvalue()}
    where = write(tmp_path / "data", files)
    found = load(where, side=4)
    middle = next(x for x in found.train_x if x[0, 0, 0] > 20 and x[1, 0, 0] > 20)
    assert abs(int(middle[0, 1, 0]) - 40) < 6
    assert abs(int(middle[0, 1, 3]) - 200) < 6
    with pytest.raises(ConfigError, match=r"a/9.jpg in .* has 200×200 pixels; allowed: up to 10,000, more with"):
        load(where)
    write(where, {"a/9.jpg": progressive.getvalue()})
    with pytest.raises(ConfigError, match=r"a/9.jpg in .* has 200×200 pixels; allowed: up to 14,400$"):
        load(where, side=4)


def test_a_bomb_is_refused_with_a_side_as_well(tmp_path: Path) -> None:
    from tests.engine.test_image_data import png_header

    where = write(tmp_path / "data", files_of("") | {"a/1.png": png_header(9000, 9000)})
    with pytest.raises(ConfigError, match=r"a/1.png in .* has 9000×9000 pixels; allowed: up to 67,108,864$"):
        load(where, side=8)


@pytest.mark.parametrize("kind", ["gif", "tiff", "ppm", "jpeg2000", "tga", "dib", "ico", "pcx", "avif", "qoi", "sgi"])
def test_everything_that_is_read_is_read(tmp_path: Path, kind: str) -> None:
    suffix = decode.FORMATS[kind.upper()][0]
    data = encoded(40, (16, 16), kind=kind)
    found = load(write(tmp_path / "data", {f"{n}/{i}{suffix}": data for n in "ab" for i in range(2)}))
    assert counts(found) == (2, 2)
    assert abs(int(found.train_x[0, 0].float().mean()) - 40) < 6


def test_the_first_picture_of_an_animation_is_taken(tmp_path: Path) -> None:
    frames = [Image.new("L", (4, 4), value) for value in (10, 200)]
    file = io.BytesIO()
    frames[0].save(file, "gif", save_all=True, append_images=frames[1:])
    found = load(write(tmp_path / "data", {f"{n}/{i}.gif": file.getvalue() for n in "ab" for i in "01"}))
    assert int(found.train_x.max()) == 10


def test_the_suffixes_are_those_of_pillow() -> None:
    """A new format of Pillow is to be looked at: read, or named here with the reason why it is not."""
    left = {
        "EPS": "starts Ghostscript", "WMF": "Windows alone draws it", "FITS": "floats", "MPEG": "only recognised",
        "BUFR": "only recognised", "GRIB": "only recognised", "HDF5": "only recognised", "IPTC": "a wrapper",
    }  # fmt: skip
    Image.init()
    known = {(kind, suffix) for suffix, kind in Image.registered_extensions().items() if kind in Image.OPEN}
    ours = {(kind, suffix) for kind, suffixes in decode.FORMATS.items() for suffix in suffixes}
    assert {(k, s) for k, s in known if k not in left} - ours <= {("PPM", ".pfm")}  # floats
    assert {k for k, _ in ours} <= set(Image.OPEN) | {"AVIF", "WEBP", "JPEG2000"}  # those that a build may lack


# --- CIFAR-10


def test_a_batch_of_40_gb_is_refused_before_it_is_read(tmp_path: Path) -> None:
    for version, names in ((cifar10.BINARY, "{}.bin"), (cifar10.PYTHON, "{}")):
        where = write(tmp_path / version / version, {names.format(n[:-4]): b"x" for n in binary_files()}).parent
        with (where / version / names.format("data_batch_1")).open("wb") as file:
            file.truncate(40 * 2**30)  # a hole: it takes no room
        begin = time.monotonic()
        with pytest.raises(ConfigError, match=r"data_batch_1(\.bin)? has 42,949,672,960 bytes; allowed: "):
            catalogue.load(Cifar10World(folder=str(where)))
        assert time.monotonic() - begin < 1


def test_a_pipe_for_a_batch_is_refused(tmp_path: Path) -> None:
    where = write(tmp_path / cifar10.BINARY, binary_files())
    (where / "data_batch_3.bin").unlink()
    os.mkfifo(where / "data_batch_3.bin")
    with pytest.raises(ConfigError, match=r"data_batch_3.bin is no file; allowed"):
        cifar10.read(where, quiet, per_file=7)
