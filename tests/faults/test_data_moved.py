"""Images that change under a run, or are somewhere else when it is opened again."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from engine import worlds
from engine.cli.main import run_command_line
from engine.config.experiment import from_dict, to_dict
from engine.config.presets import load_preset
from engine.core.errors import ConfigError
from engine.data.images import ImagesMissing
from engine.images.config import images
from engine.images.data import load
from engine.images.data import moved as moved_to
from engine.images.loading import ImageNetwork
from engine.run.store import Store
from tests.tiny_image_runs import TINY
from tests.tiny_images import encoded, tree, write
from tests.tiny_runs import assert_same, read, tiny_config


def pictures(where: Path, count: int = 20) -> Path:
    """Two classes of 8 × 8 pixels, dark and bright, each picture another."""
    generator = np.random.default_rng(0)
    for name, level in (("dark", 0), ("bright", 120)):
        (where / name).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            picture = Image.fromarray(generator.integers(level, level + 120, (8, 8), np.uint8))
            picture.save(where / name / f"{i:02}.png", compress_level=0)
    return where


def config(where: Path | str) -> Any:
    small = {"clean_steps": 2, "second_steps": 2}
    data = {"world": {"name": "image_folder", "folder": str(where)}, "schedule": small, "storage": {}}
    tested = {"every": 2, "size": 16, "steps": 1, "report_size": 16, "report_steps": 1}
    return images(from_dict(TINY | data | {"evaluation": tested, "training": {"batch_size": 8}}), "a test")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``run``, trained to its end on ``pictures``."""
    place = tmp_path_factory.mktemp("made")
    session = worlds.create(config(pictures(place / "pictures")), place / "run")
    for _ in range(4):
        session.step()
    while session.measuring:
        session.measure()
    session.close()
    return place


@pytest.fixture
def moved(made: Path, tmp_path: Path) -> Iterator[Path]:
    """The same ``run`` whose ``pictures`` are not there any more, but in ``elsewhere``."""
    shutil.copytree(made / "run", tmp_path / "run")
    shutil.copytree(made / "pictures", tmp_path / "elsewhere")
    (made / "pictures").rename(made / "hidden")
    yield tmp_path
    (made / "hidden").rename(made / "pictures")


Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(capfd: pytest.CaptureFixture[str]) -> Call:
    def inner(*words: object) -> tuple[int, str, str]:
        code = run_command_line([str(word) for word in words])
        return (code, *capfd.readouterr())

    return inner


# --- what is kept of the data in memory


def swap_classes(where: Path) -> None:
    for i in range(4):
        (where / "dark" / f"{i:02}.png").rename(where / "x.png")
        (where / "bright" / f"{i:02}.png").rename(where / "dark" / f"{i:02}.png")
        (where / "x.png").rename(where / "bright" / f"{i:02}.png")


def paint(where: Path) -> None:
    """Another picture of the same size in bytes, under the same name and of the same time."""
    path = where / "dark" / "03.png"
    about = path.stat()
    path.write_bytes((where / "dark" / "04.png").read_bytes())
    assert path.stat().st_size == about.st_size
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))


def replace(where: Path) -> None:
    """A file of the same size and time is put in place by a rename."""
    about = (where / "dark" / "03.png").stat()
    shutil.copy(where / "dark" / "04.png", where / "new")
    os.utime(where / "new", ns=(about.st_atime_ns, about.st_mtime_ns))
    (where / "new").rename(where / "dark" / "03.png")


@pytest.mark.parametrize("change", [swap_classes, paint, replace])
def test_images_that_changed_are_read_again(tmp_path: Path, change: Callable[[Path], None]) -> None:
    where = pictures(tmp_path / "pictures")
    wanted = config(where)
    before = load(wanted)
    change(where)
    after = load(wanted)
    assert after.digest() != before.digest()
    shutil.copytree(where, tmp_path / "fresh")  # which no memory knows
    assert load(config(tmp_path / "fresh")).digest() == after.digest()


def test_images_that_did_not_change_are_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = config(pictures(tmp_path / "pictures"))
    before = load(wanted).digest()
    monkeypatch.setattr("engine.data.sets.image_folder.decode", None)  # would fail
    assert load(wanted).digest() == before


def test_a_reset_after_a_swap_trains_on_the_new_labels(tmp_path: Path) -> None:
    where = pictures(tmp_path / "pictures")
    worlds.create(config(where), tmp_path / "first").close()
    swap_classes(where)
    worlds.create(config(where), tmp_path / "second").close()
    shutil.copytree(where, tmp_path / "copy")
    worlds.resume(tmp_path / "second", data=tmp_path / "copy").close()  # the hash of a fresh reading
    with pytest.raises(ImagesMissing, match="are not those that this run began with"):
        worlds.resume(tmp_path / "first")


# --- where the folder is


def test_a_relative_folder_is_stored_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures(tmp_path / "pictures")
    monkeypatch.chdir(tmp_path)
    session = worlds.create(config("pictures"), tmp_path / "run")
    session.close()
    assert to_dict(session.config)["world"]["folder"] == str(tmp_path / "pictures")
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    assert ImageNetwork.load(tmp_path / "run").data.classes == ("bright", "dark")


def test_a_folder_in_a_file_of_knobs_is_beside_that_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for given, meant in (("mine", str(tmp_path / "mine")), ("/abs", "/abs"), ("", ""), ("~/x", str(Path.home() / "x"))):
        (tmp_path / "my.toml").write_text(f'[world]\nname = "image_folder"\nfolder = "{given}"\n')
        monkeypatch.chdir(tmp_path.parent)
        assert to_dict(load_preset(f"{tmp_path.name}/my.toml"))["world"]["folder"] == meant


# --- images elsewhere


def test_moved_images_are_refused_in_one_line_that_says_what_to_do(moved: Path, call: Call) -> None:
    for words in (("evaluate", moved / "run"), ("run", "--out", moved / "run", "--resume"),
                  ("export", moved / "run", "--view", "examples", "--out", moved / "out")):  # fmt: skip
        code, _, err = call(*words)
        assert code == 2
        assert err.count("\n") == 1
        assert "pictures does not exist" in err
        assert "--data FOLDER" in err


def test_data_points_the_commands_to_the_same_images(moved: Path, call: Call) -> None:
    there = ("--data", moved / "elsewhere")
    code, out, err = call("evaluate", moved / "run", "--n", 16, "--steps", 1, "--restarts", 1, *there)
    assert code == 0, err
    assert "PGD-1 × 1 restart" in out
    code, _, err = call(
        "export", moved / "run", "--view", "examples", "--out", moved / "out", "--format", "png", *there
    )
    assert code == 0, err
    assert call("evaluate", moved / "run")[0] == 2  # it held for those commands alone
    code, out, err = call("run", "--out", moved / "run", "--resume", *there)
    assert code == 0, err
    assert "data: 2 classes (bright, dark), 32 images for training, 8 held out" in out
    code, _, err = call("evaluate", moved / "run", "--n", 16, "--steps", 1)
    assert code == 0, err  # and a run that went on with them knows where they are
    assert ImageNetwork.load(moved / "run", 0).data.classes == ("bright", "dark")  # at its earlier checkpoints, too


def test_a_branch_needs_the_images_and_finds_them_elsewhere(moved: Path, call: Call) -> None:
    branch = ("branch", moved / "run", "--step", 2, "--out", moved / "new")
    code, _, err = call(*branch)
    assert (code, err.count("\n")) == (2, 1)
    assert "--data" in err
    assert not (moved / "new").exists()
    assert sorted(each.name for each in moved.iterdir()) == ["elsewhere", "run"]
    assert call(*branch, "--data", moved / "elsewhere")[0] == 0
    branched = read(moved / "new")
    branched.events.remove((2, "branch", "", "run"))
    assert_same(branched, read(moved / "run"))
    assert call("evaluate", moved / "new", "--n", 16, "--steps", 1)[0] == 0  # it knows where they are now


def test_other_images_are_refused_wherever_they_are_given(moved: Path, call: Call) -> None:
    swap_classes(moved / "elsewhere")
    before = {path: path.read_bytes() for path in (moved / "run" / "checkpoints").iterdir()}
    there = ("--data", moved / "elsewhere")
    for words in (("evaluate", moved / "run"), ("run", "--out", moved / "run", "--resume"),
                  ("export", moved / "run", "--view", "examples", "--out", moved / "out")):  # fmt: skip
        code, _, err = call(*words, *there)
        assert (code, err.count("\n")) == (2, 1)
        assert "are not those that this run began with" in err
    assert {path: path.read_bytes() for path in (moved / "run" / "checkpoints").iterdir()} == before


def test_what_needs_no_images_works_without(moved: Path, call: Call) -> None:
    code, _, err = call("export", moved / "run", "--view", "filters", "--out", moved / "out", "--format", "png")
    assert code == 0, err
    assert (moved / "out" / "filters" / "filters.png").is_file()
    for words in (("export", moved / "run", "--view", "robustness", "--out", moved / "out"), ("claims", moved / "run")):
        code, _, err = call(*words)
        assert code == 0, err


def test_data_is_refused_where_there_is_none_to_move(tmp_path: Path, call: Call) -> None:
    code, _, err = call("run", "small", "--out", tmp_path / "run", "--data", tmp_path)
    assert (code, "--data: allowed with --resume" in err) == (2, True)
    with pytest.raises(ConfigError, match=r"^--data: got .*; allowed: nothing, as digits is in no folder$"):
        moved_to(from_dict(TINY), tmp_path)
    worlds.create(tiny_config(), tmp_path / "theory").close()
    code, _, err = call("evaluate", tmp_path / "theory", "--data", tmp_path)
    assert (code, err.count("\n")) == (2, 1)
    assert "--data needs a network on images" in err


def test_a_recipe_is_replayed_with_the_images_elsewhere(made: Path, tmp_path: Path) -> None:
    from engine.figures.export import export
    from engine.studies.replay import replay

    export(made / "run", ["filters"], tmp_path / "out", formats=("png",))
    shutil.copytree(made / "pictures", tmp_path / "copy")
    found = replay(tmp_path / "out" / "recipe.json", tmp_path / "again", data=tmp_path / "copy")
    assert found.equal
    assert to_dict(Store.open(tmp_path / "again", read_only=True).config)["world"]["folder"] == str(tmp_path / "copy")


def test_the_command_data_says_classes_and_counts(tmp_path: Path, call: Call) -> None:
    where = write(tmp_path / "data", tree("Training/", "Testing/", count=4) | {"Training/a/x.mp4": b"x"})
    code, out, _ = call("data", "image_folder", "--folder", where)
    assert code == 0
    assert "2 classes (a, b), 8 images for training, 8 held out; Training and Testing; skipped 1 .mp4" in out
    write(where, {"loose/0.png": encoded()})
    assert "1 images in loose" in call("data", "image_folder", "--folder", where)[1]


def test_the_error_of_a_folder_that_vanished_names_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^world\.folder: .*nowhere does not exist"):
        worlds.create(config(tmp_path / "nowhere"), tmp_path / "run")
    assert not (tmp_path / "run").exists()
