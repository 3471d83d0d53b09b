"""A new study is one file: offered as a command, checked, run, recorded, read back, shown and exported."""

from __future__ import annotations

import importlib
import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from engine.cli.main import run_command_line
from engine.core.errors import StoreError
from engine.figures.base import figures
from engine.run.store import Store
from engine.studies.base import NotMeasured, Study, studies

NAME = "tests.examples.study"


@pytest.fixture
def example() -> Iterator[ModuleType]:
    """The example, imported for one test; afterwards nothing is left of it."""
    yield importlib.import_module(NAME)
    studies.remove("noise")
    figures.remove("noise")
    del sys.modules[NAME]


@pytest.fixture
def study(example: ModuleType) -> type[Study[object]]:
    found: type[Study[object]] = example.NoiseStudy
    return found


@pytest.fixture
def folder(finished_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished_run, tmp_path / "run"))


def test_without_it_there_is_no_such_command(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    assert run_command_line(["noise", str(folder)]) == 2
    assert "noise" in capsys.readouterr().err


def test_it_is_offered_with_its_options(example: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    run_command_line(["--help"])
    assert "noise" in capsys.readouterr().out
    run_command_line(["noise", "--help"])
    said = " ".join(capsys.readouterr().out.split())
    for text in ("Measure accuracy under Gaussian noise", "--size", "Norm of the noise", "--n", "A run folder."):
        assert text in said
    assert "progress" not in said


def test_it_is_run_recorded_and_read_back(
    study: type[Study[object]], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = run_command_line(["noise", str(folder), "--size", "0", "--size", "8", "--n", "50"])
    out, err = capsys.readouterr()
    assert (code, err) == (0, "")
    assert out.startswith("progress 0.00 noise of size 0\nprogress 0.50 noise of size 8\nprogress 1.00 done\n")
    record = study.read(folder)
    raw = json.loads((folder / "noise.json").read_text(encoding="utf-8"))
    assert out.endswith(study().table(record) + "\n")
    calm, rough = raw["rows"]
    assert (raw["n"], calm["size"], rough["size"]) == (50, 0, 8)
    assert rough["accuracy"]["value"] < calm["accuracy"]["value"]
    store = Store.open(folder, read_only=True)
    assert store.series("noise/accuracy@8").values.tolist() == [rough["accuracy"]["value"]]
    protocol = store.protocol("noise/accuracy@8", raw["step"])
    store.close()
    assert protocol is not None
    assert (protocol.attack, protocol.n) == ("Gaussian noise, norm 8", 50)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--size", "-1"], "--size: got -1; allowed: 0 to 100"),
        (["--n", "3"], "--n: got 3; allowed: a whole number from 16 to 100000"),
        (["--size", "much"], "size"),
        (["--progress", "1"], "progress"),
    ],
)
def test_what_is_not_allowed_is_one_line_and_writes_nothing(
    example: ModuleType, folder: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert run_command_line(["noise", str(folder), *words]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1
    assert not (folder / "noise.json").exists()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ({"n": "many"}, r"noise\.json is damaged: n: "),
        ({"rows": [{"size": 1, "accuracy": {"value": 2, "low": 0, "high": 1}}]}, r"rows\.0\.accuracy\.value: "),
        ({"rows": [{"size": s, "accuracy": {"value": 1, "low": 0, "high": 1}} for s in (2, 1)]}, "rows: sizes do not"),
    ],
)
def test_a_damaged_file_is_one_line(
    study: type[Study[object]], tmp_path: Path, damage: dict[str, object], message: str
) -> None:
    whole = {"step": 1, "n": 20, "rows": []}
    (tmp_path / "noise.json").write_text(json.dumps(whole | damage), encoding="utf-8")
    with pytest.raises(StoreError, match=message) as met:
        study.read(tmp_path)
    assert len(str(met.value).splitlines()) == 1


def test_it_is_exported(study: type[Study[object]], folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(NotMeasured, match="python -m engine noise"):
        study.read(folder)
    words = ["export", str(folder), "--view", "noise", "--out", str(out), "--format", "svg"]
    assert run_command_line(words) == 2  # nothing was measured yet
    study().run(folder, n=50)
    assert run_command_line(words) == 0
    table = np.genfromtxt(out / "noise" / "noise.csv", delimiter=",", skip_header=1)
    raw = json.loads((folder / "noise.json").read_text(encoding="utf-8"))
    assert table[:, 1].tolist() == [row["accuracy"]["value"] for row in raw["rows"]]
    assert "n = 50" in (out / "noise" / "caption.txt").read_text(encoding="utf-8")
    assert (out / "noise" / "noise.svg").stat().st_size > 1000
