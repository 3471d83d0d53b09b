"""Whatever is damaged in a run folder: one line that names file and field, exit code 2, and nothing is touched."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from engine.cli.main import run_command_line
from engine.core.errors import StoreError, VersionError
from engine.run.store import Store
from tests.faults.mutations import CHECKPOINT, DATABASE, MUTATIONS_OF_IMAGES, MUTATIONS_OF_THEORY, Mutation, newest

IMAGES = Path(__file__).parents[1] / "data" / "digits-before-the-move"
Command = Callable[..., str]


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Command:
    """Run a command that is to be refused; returns what it says."""

    def run(*arguments: str) -> str:
        code = run_command_line(list(arguments))
        said = capsys.readouterr()
        assert code == 2, f"{arguments}: exit {code}: {said}"
        assert said.out == ""
        assert said.err.startswith("error: ")
        assert said.err.count("\n") == 1
        assert "Traceback" not in said.err
        assert len(said.err) < 900, "a line is to be read"
        return said.err

    return run


def record(folder: Path) -> dict[str, int]:
    """Sizes of the files, those of the database excepted, which an opening may write."""
    return {p.name: p.lstat().st_size for p in folder.rglob("*") if not p.name.startswith("run.sqlite")}


def damaged(source: Path, folder: Path, how: Mutation) -> str:
    """Damage a copy of the run; the step of its newest checkpoint before."""
    shutil.copytree(source, folder)
    step = str(int(newest(folder).stem.removeprefix("step-")))
    how.damage(folder)
    return step


def check(source: Path, folder: Path, how: Mutation, refused: Command) -> None:
    step = damaged(source, folder, how)
    before = record(folder)
    if how.kind == CHECKPOINT:
        said = refused("evaluate", str(folder), "--checkpoint", step, "--n", "16", "--attack", "fgm")
        assert Path(newest(folder)).name in said
    elif how.kind == DATABASE:
        said = refused("claims", str(folder))
        assert "run.sqlite" in said
        again = refused("run", "--out", str(folder), "--resume")
        assert "run.sqlite" in again
    else:
        said = refused("claims", str(folder))
        assert refused("run", "--out", str(folder), "--resume") == said
        assert "config.json" in said
    assert how.says in said
    assert "nan" not in said.lower().replace(how.says.lower(), "").replace("nan, which is no number", "").replace(
        str(folder).lower(), ""
    ).replace("got nan", "")
    assert record(folder) == before


@pytest.mark.parametrize("name", MUTATIONS_OF_THEORY)
def test_of_the_theory(name: str, finished_run: Path, tmp_path: Path, refused: Command) -> None:
    check(finished_run, tmp_path / "run", MUTATIONS_OF_THEORY[name], refused)


@pytest.mark.parametrize("name", MUTATIONS_OF_IMAGES)
def test_of_images(name: str, tmp_path: Path, refused: Command) -> None:
    check(IMAGES, tmp_path / "run", MUTATIONS_OF_IMAGES[name], refused)


def test_there_are_enough_of_them() -> None:
    assert len(MUTATIONS_OF_THEORY) + len(MUTATIONS_OF_IMAGES) >= 200


@pytest.mark.parametrize("kind", [CHECKPOINT, "config.json"])
def test_a_newer_version_is_its_own_error(kind: str, finished_run: Path, tmp_path: Path) -> None:
    name = "checkpoint: newer format" if kind == CHECKPOINT else "config.json: newer format"
    step = damaged(finished_run, tmp_path / "run", MUTATIONS_OF_THEORY[name])
    with pytest.raises(VersionError, match="newer version"), closing(Store.open(tmp_path / "run")) as store:
        store.load(int(step))


def test_export_looks_at_all_that_is_recorded(finished_run: Path, tmp_path: Path, refused: Command) -> None:
    damaged(finished_run, tmp_path / "run", MUTATIONS_OF_THEORY["run.sqlite: accuracy 7"])
    out = tmp_path / "figures"
    said = refused("export", str(tmp_path / "run"), "--view", "robustness", "--out", str(out))
    assert "accuracy/pgd at step" in said
    assert not out.exists()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("loss", None),  # training diverged
        ("loss", float("inf")),
        ("mixture/purity/mean", None),  # no neuron lives
        ("mixture/magnitude/q90", float("inf")),  # it overflowed where training diverged
        ("principle1/cos_clean_now", None),
        ("alignment/fgm", -1.0000001),  # rounding
        ("mixture/purity/median", 1.0000001),
        ("of/another/study", -3.5),
    ],
)
def test_what_a_run_may_record_is_no_damage(name: str, value: float | None, finished_run: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(finished_run, tmp_path / "run"))
    with closing(sqlite3.connect(folder / "run.sqlite")) as db, db:
        db.execute("INSERT OR REPLACE INTO metrics VALUES (80, ?, ?)", (name, value))
    with closing(Store.open(folder, read_only=True)) as store:
        store.check()
        assert int(store.series(name).steps[-1]) == 80


def test_checkpoints_are_the_files_called_so(finished_run: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(finished_run, tmp_path / "run"))
    with closing(Store.open(folder, read_only=True)) as store:
        before = store.checkpoints()
        for name in ("step-7", "step-٠٠٠٠٠٠٩٩", "step-000000099", "Step-00000099"):
            shutil.copy(newest(folder), folder / CHECKPOINT / f"{name}.safetensors")
        assert store.checkpoints() == before


def test_a_folder_that_is_none_or_has_an_impossible_name(tmp_path: Path, refused: Command) -> None:
    for folder in (tmp_path / "none", tmp_path / ("x" * 300), Path("/dev/null")):
        assert str(folder)[:40] in refused("claims", str(folder))
    with pytest.raises(StoreError, match="cannot be read"):
        Store.open(tmp_path / "a\0b")


@pytest.mark.parametrize("place", ["empty", "missing", "a file"])
def test_a_trained_run_without_checkpoints_is_not_begun_again(
    place: str, finished_run: Path, tmp_path: Path, refused: Command
) -> None:
    folder = Path(shutil.copytree(finished_run, tmp_path / "run"))
    shutil.rmtree(folder / CHECKPOINT)
    if place == "empty":
        (folder / CHECKPOINT).mkdir()
    if place == "a file":
        (folder / CHECKPOINT).touch()
    assert "holds no checkpoint to go on from" in refused("run", "--out", str(folder), "--resume")
    with closing(Store.open(folder, read_only=True)) as store:
        assert store.series("loss").steps[-1] == 80
