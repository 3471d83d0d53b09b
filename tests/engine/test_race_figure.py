"""The figures drawn from race.json and claims.json, and what an export says where these are missing or damaged."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from engine import worlds
from engine.config.experiment import from_dict
from engine.core.errors import StoreError
from engine.figures.export import export
from engine.studies.base import NotMeasured
from engine.studies.questions.claims import read_claims
from engine.studies.questions.comparison import ComparisonStudy

RACE: dict[str, Any] = {
    "tau": 0.2, "norm": "l2", "protocol": "PGD-30 × 1 restart", "n": 1000, "step": 2000,
    "network": {"clean": 0.99, "robust": 0.88, "low": 0.86, "high": 0.90},
    "oracle": {"robust": 0.9},
    "rivals": [
        {"name": "linear", "trained_by": "fgm", "clean": 0.7, "robust": 0.49, "low": 0.46, "high": 0.52},
        {"name": "ntk", "trained_by": "clean", "clean": 0.85, "robust": 0.3},
        {"name": "ntk", "trained_by": "pgd", "clean": 0.8, "robust": 0.66, "low": 0.63, "high": 0.69, "steps": 900,
         "note": "exact features"},
    ],
    "curves": [
        {"name": "ntk", "objective": "clean", "steps": [0, 100], "robust": [0.1, 0.3]},
        {"name": "ntk", "objective": "pgd", "steps": [0, 100, 900], "robust": [0.1, 0.5, 0.66]},
    ],
    "sweep": [{"d": 36, "n": 1000, "network": 0.9, "ntk": 0.8}, {"d": 64, "n": 1000, "network": 0.88, "ntk": None}],
}  # fmt: skip
CLAIMS = [
    {"id": 1, "title": "Clean training is accurate and not robust", "verdict": "holds", "rule": "clean ≥ 0.9",
     "evidence": [{"name": "report/accuracy/pgd", "value": 0.3, "step": 8, "low": 0.2, "high": 0.4,
                   "protocol": "PGD-40 × 5 restarts, n = 1000"}]},
    {"id": 6, "title": "Rivals cannot", "verdict": "does not hold", "rule": "gap ≥ 0.1",
     "evidence": [{"name": "rival/robust/ntk", "value": 0.9, "step": 16, "low": None, "high": None, "protocol": ""}]},
    {"id": 9, "title": "Low-rank updates are enough", "verdict": "not measured", "rule": "loss ≤ 0.05", "evidence": []},
]  # fmt: skip
CONFIG = {
    "threads": 1, "device": "cpu", "world": {"d": 16}, "model": {"m": 24},
    "schedule": {"clean_steps": 8, "second_steps": 8},
    "evaluation": {"every": 8, "size": 40, "steps": 2, "report_size": 40, "report_steps": 2, "report_restarts": 1},
}  # fmt: skip


def write(folder: Path, race: dict[str, Any]) -> None:
    (folder / "race.json").write_text(json.dumps(race), encoding="utf-8")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    session = worlds.create(from_dict(CONFIG), folder)
    while not session.finished:
        session.step()
    while session.measuring:
        session.measure()
    session.close()
    return folder


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_race_and_claims_are_exported_whole(run: Path, tmp_path: Path) -> None:
    write(run, RACE)
    (run / "claims.json").write_text(json.dumps(CLAIMS), encoding="utf-8")
    for width in (6.75, 3.25):
        export(run, ["race", "claims"], tmp_path / "out", formats=("svg",), width=width)
    race, claims = tmp_path / "out" / "race", tmp_path / "out" / "claims"
    found = rows(race / "race.csv")
    assert [(r["model [name]"], r["robust accuracy [1]"], r["best [0 or 1]"]) for r in found] == [
        ("network", "0.88", "0"), ("oracle", "0.9", "0"), ("linear", "0.49", "1"), ("ntk", "0.3", "0"),
        ("ntk", "0.66", "1"),
    ]  # fmt: skip
    assert len(rows(race / "race.steps.csv")) == 5
    assert [r["model [name]"] for r in rows(race / "race.sweep.csv")] == ["network", "network", "ntk"]
    caption = (race / "caption.txt").read_text(encoding="utf-8")
    assert "PGD-30 × 1 restart, n = 1000; network of step 2000. Baselines: exact features" in caption
    drawn = (race / "race.svg").read_text(encoding="utf-8")
    for text in ("this network", "linear", "(PGD training)", "dimension d"):
        assert text in drawn
    drawn = (claims / "claims.svg").read_text(encoding="utf-8")
    for text in ("✓ holds", "✗ does not hold", "– not measured", "Low-rank updates are enough", "NTK: robust accuracy"):
        assert text in drawn
    assert [r["verdict [text]"] for r in rows(claims / "claims.csv")] == ["holds", "does not hold", "not measured"]
    assert [r["low [1]"] for r in rows(claims / "claims.evidence.csv")] == ["0.2", ""]
    assert not list((tmp_path / "out").glob("*/*.npz"))  # all of it is in the tables
    assert "recorded up to step 16" in (claims / "caption.txt").read_text(encoding="utf-8")


def test_missing_file_names_the_command_and_all_skips_it(run: Path, tmp_path: Path) -> None:
    for view, command in (("race", "race"), ("claims", f"claims {run} --verify")):
        with pytest.raises(NotMeasured, match=f"python -m engine {command}"):
            export(run, [view], tmp_path / "none", formats=("svg",))
    assert not (tmp_path / "none").exists()
    said: list[str] = []
    export(run, "all", tmp_path / "out", formats=("svg",), progress=lambda _, what: said.append(what))
    skipped = [line for line in said if "skipped" in line]
    assert [line.partition(":")[0] for line in skipped if line.startswith(("race", "claims"))] == ["race", "claims"]
    assert not (tmp_path / "out" / "race").exists()
    assert (tmp_path / "out" / "robustness" / "robustness.svg").exists()
    recipe = json.loads((tmp_path / "out" / "recipe.json").read_text(encoding="utf-8"))
    assert not {"race", "claims"} & set(recipe["figures"]["views"])


@pytest.mark.parametrize(
    "damage",
    [{"network": {}}, {"rivals": 3}, {"network": {"robust": 7}}, {"curves": [{"name": "a", "objective": "pgd",
     "steps": [1, 2], "robust": [0.1]}]}],
)  # fmt: skip
def test_damaged_race_is_one_line(tmp_path: Path, damage: dict[str, Any]) -> None:
    write(tmp_path, RACE | damage)
    with pytest.raises(StoreError, match=r"race\.json is damaged") as met:
        ComparisonStudy.read(tmp_path)
    assert len(str(met.value).splitlines()) == 1
    assert not isinstance(met.value, NotMeasured)


def test_reading_gives_back_what_was_written(tmp_path: Path) -> None:
    write(tmp_path, RACE)
    race = ComparisonStudy.read(tmp_path)
    assert {name: entry.trained_by for name, entry in race.best().items()} == {"ntk": "pgd", "linear": "fgm"}
    assert race.swept() == {"network": ([36.0, 64.0], [0.9, 0.88]), "ntk": ([36.0], [0.8])}
    (tmp_path / "claims.json").write_text(json.dumps(CLAIMS), encoding="utf-8")
    assert [r.id for r in read_claims(tmp_path)] == [1, 6, 9]
