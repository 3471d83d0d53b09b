"""Damaged recipes and answers, and weights beside them: one line, before anything is trained."""

from __future__ import annotations

import json
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.core.errors import ExplorerError, StoreError, VersionError
from engine.core.reading import MOST_DEPTH, MOST_JSON, parse_json, quoted, read_json
from engine.figures.export import export
from engine.studies.questions.claims import ClaimsStudy, read_claims
from engine.studies.replay import replay
from tests.faults.mutations import CONTENTS


@pytest.fixture(scope="module")
def exported(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What an export of the tiny run wrote beside its figures."""
    out = tmp_path_factory.mktemp("exported")
    export(finished_run, ["robustness"], out, formats=[])
    return {name: (out / name).read_bytes() for name in ("recipe.json", "weight.npz")}


@pytest.fixture
def recipe(exported: dict[str, bytes], tmp_path: Path) -> Path:
    for name, data in exported.items():
        (tmp_path / name).write_bytes(data)
    return tmp_path / "recipe.json"


def refused(recipe: Path) -> str:
    with pytest.raises(ExplorerError) as met:
        replay(recipe, recipe.parent / "again")
    assert not (recipe.parent / "again").exists(), "nothing was trained"
    assert "\n" not in str(met.value)
    return str(met.value)


@pytest.mark.parametrize("name", CONTENTS)
def test_what_is_no_recipe(name: str, recipe: Path) -> None:
    recipe.write_bytes(CONTENTS[name])
    assert f"{recipe} is damaged" in refused(recipe)


def test_a_pipe_and_a_folder_in_place_of_a_recipe(recipe: Path) -> None:
    recipe.unlink()
    os.mkfifo(recipe)
    assert "a pipe in place of a file" in refused(recipe)
    recipe.unlink()
    recipe.mkdir()
    assert "a folder in place of a file" in refused(recipe)


def put(path: tuple[Any, ...], value: Any) -> Callable[[Any], None]:
    def change(found: Any) -> None:
        for part in path[:-1]:
            found = found[part]
        found[path[-1]] = value

    return change


CHANGES: dict[str, tuple[Callable[[Any], None], str]] = {
    "step 1e9": (put(("step",), 10**9), "step: "),
    "step -1": (put(("step",), -1), "step: "),
    "step is text": (put(("step",), "80"), "step: "),
    "step is a fraction": (put(("step",), 79.5), "step: "),
    "newer": (put(("format",), 2), "newer version"),
    "tau": (put(("config", "attack", "tau"), 11.0), "attack.tau: got 11.0; allowed: a number from 0 to 10"),
    "config": (put(("config",), []), "config: "),
    "events": (put(("events",), {}), "events: "),
    "an event is null": (put(("events", 0), None), "events.0"),
    "an event's step": (put(("events", 0, "step"), 10**30), "events.0.step"),
    "an event's name": (put(("events", 0, "name"), "wand"), "events.0.name: got wand"),
    "an event's phase": (put(("events", 0, "new"), "wishing"), "events.0.new: got wishing"),
    "an event's value": (
        put(("events", 0), {"step": 3, "name": "attack.tau", "old": "0.2", "new": "7e7"}), "events.0.new: got 7e7",
    ),
    "a knob of a new run only": (
        put(("events", 0), {"step": 3, "name": "model.m", "old": "24", "new": "25"}), "events.0.name: got model.m",
    ),
    "device": (put(("hardware", "device"), "abacus"), "hardware.device"),
    "threads": (put(("hardware", "threads"), 10**6), "hardware.threads"),
    "threads are text": (put(("hardware", "threads"), "two"), "hardware.threads"),
    "hash": (put(("hashes", "weight"), "none"), "hashes.weight"),
    "hashes": (put(("hashes",), None), "hashes"),
    "versions": (put(("versions", "torch"), 2), "versions.torch"),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
def test_a_wrong_field(name: str, recipe: Path) -> None:
    change, says = CHANGES[name]
    found = json.loads(recipe.read_text(encoding="utf-8"))
    change(found)
    recipe.write_text(json.dumps(found), encoding="utf-8")
    said = refused(recipe)
    assert said.startswith(str(recipe))
    assert says in said


@pytest.mark.parametrize("name", ["step", "config", "events", "hardware", "versions", "hashes", "format"])
def test_a_missing_field(name: str, recipe: Path) -> None:
    found = json.loads(recipe.read_text(encoding="utf-8"))
    del found[name]
    recipe.write_text(json.dumps(found), encoding="utf-8")
    assert name in refused(recipe)


def test_a_newer_recipe_is_its_own_error(recipe: Path) -> None:
    recipe.write_text('{"format": 2}')
    with pytest.raises(VersionError):
        replay(recipe, recipe.parent / "again")


def objects(path: Path) -> None:
    np.savez(path, weight=np.array([{}], object))


def bomb(path: Path) -> None:
    """An archive that says that it holds eight gigabytes."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("weight.npy", b"x" * 100)
    data = bytearray(path.read_bytes())
    at = data.rindex(b"PK\x01\x02")
    data[at + 24 : at + 28] = (2**32 - 2).to_bytes(4, "little")
    data[at + 20 : at + 24] = (100).to_bytes(4, "little")
    path.write_bytes(data)


WEIGHTS: dict[str, Callable[[Path], Any]] = {
    "empty": lambda path: path.write_bytes(b""),
    "noise": lambda path: path.write_bytes(np.random.default_rng(0).bytes(3000)),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:700]),
    "a pickle": lambda path: path.write_bytes(pickle.dumps({"weight": 1})),
    "one array": lambda path: path.write_bytes(b"\x93NUMPY\x01\x00" + bytes(200)),
    "objects": objects,
    "text": lambda path: np.savez(path, weight=np.array(["a"])),
    "not finite": lambda path: np.savez(path, weight=np.full((24, 16), np.nan, np.float32)),
    "a bomb": bomb,
    "a pipe": lambda path: (path.unlink(), os.mkfifo(path)),
}


@pytest.mark.parametrize("name", WEIGHTS)
def test_damaged_weights_beside_a_recipe(name: str, recipe: Path) -> None:
    WEIGHTS[name](recipe.parent / "weight.npz")
    assert f"{recipe.parent / 'weight.npz'} is damaged" in refused(recipe)


@pytest.mark.parametrize("name", CONTENTS)
def test_damaged_answers_of_studies(name: str, tmp_path: Path) -> None:
    (tmp_path / ClaimsStudy.file).write_bytes(CONTENTS[name])
    if name == "list":
        assert read_claims(tmp_path) == ()
        return
    with pytest.raises(StoreError, match=r"claims\.json is damaged") as met:
        read_claims(tmp_path)
    assert "\n" not in str(met.value)
    assert len(str(met.value)) < 400


def test_an_answer_with_a_figure_that_is_no_number(tmp_path: Path) -> None:
    figure = {"name": "a", "value": float("nan"), "step": 1}
    claim = {"id": 1, "title": "t", "verdict": "holds", "rule": "r", "evidence": [figure]}
    (tmp_path / ClaimsStudy.file).write_text(json.dumps([claim]))
    with pytest.raises(StoreError, match=r"claims\.json is damaged: not JSON: NaN, which is no number"):
        read_claims(tmp_path)


def test_json_has_limits(tmp_path: Path) -> None:
    assert parse_json("[" * MOST_DEPTH + "]" * MOST_DEPTH) != []
    for text, says in (
        ("[" * (MOST_DEPTH + 1) + "]" * (MOST_DEPTH + 1), "nested too deeply"),
        ("1" * 5000, "too many digits"),
        ("-1e999", "too large a number"),
        ("[Infinity]", "no number"),
    ):
        with pytest.raises(ValueError, match=says):
            parse_json(text)
    large = tmp_path / "large.json"
    with large.open("wb") as file:
        file.truncate(MOST_JSON + 1)
    with pytest.raises(StoreError, match=f"allowed: at most {MOST_JSON}"):
        read_json(large)
    assert quoted("a\nb") == r"'a\nb'"
    assert len(quoted("x" * 500)) == 101
    assert quoted(10**5000) == "int"
