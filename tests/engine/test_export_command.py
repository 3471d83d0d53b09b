"""The real command line exports every view of every kind of run, by each choice of each option, on tiny networks."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine import worlds
from engine.cli.main import run_command_line
from engine.config.experiment import from_dict
from engine.figures import figures
from engine.figures.declare import Option
from engine.studies.questions.local import LocalStudy
from engine.studies.questions.low_rank import RankStudy
from engine.studies.questions.objectives import ObjectivesStudy
from engine.studies.questions.sparse_code import SparseStudy
from engine.studies.questions.transfer import TransferStudy
from tests.engine.test_race_figure import CLAIMS, RACE

STEPS = {"clean_steps": 4, "second_steps": 4}
SHORT = {"every": 4, "size": 16, "steps": 1, "report_size": 16, "report_steps": 1, "report_restarts": 1}
DIGITS = {"device": "cpu", "threads": 1, "world": {"name": "digits", "train_size": 100}, "training": {"batch_size": 16}}
CONFIGS: dict[str, dict[str, Any]] = {
    "theory": {"device": "cpu", "threads": 1, "world": {"d": 9}, "model": {"m": 6}},
    "two_layer": DIGITS | {"model": {"name": "two_layer", "width": 8}},
    "alexnet": DIGITS | {"model": {"name": "alexnet", "kernel": 3, "stride": 1, "padding": 1, "width": 2}},
}
# Values of options without choices, and numbers that keep the test short. Text may be empty: the view does not know.
TEXTS = {"layer": ("", "1"), "units": ("0-8", "0", "1, 0"), "tau": ("auto", "0.5")}
NUMBERS = {"n": ("8", "5"), "steps": ("1", "2"), "image": ("1", "2"), "sample": ("1", "12"), "count": ("64", "3")}


@pytest.fixture(scope="module", params=CONFIGS)
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run with everything that its figures read."""
    folder = tmp_path_factory.mktemp("export") / str(request.param)
    session = worlds.create(from_dict(CONFIGS[request.param] | {"schedule": STEPS, "evaluation": SHORT}), folder)
    while not session.finished:
        session.step()
    while session.measuring:
        session.measure()
    session.close()
    (folder / "claims.json").write_text(json.dumps(CLAIMS), encoding="utf-8")
    RankStudy().run(folder, rank=[0, 1], steps=1, n=16)
    ObjectivesStudy().run(folder, objective=["clean", "trades"], steps=1, n=16)
    TransferStudy().run(folder, n=16)
    (folder / "race.json").write_text(json.dumps(RACE), encoding="utf-8")
    if request.param != "theory":
        SparseStudy().run(folder, n=16)
        LocalStudy().run(folder, clean_steps=1, adversarial_steps=1, n=16)
    return folder


def views_of(run: Path) -> list[str]:
    kind = from_dict(CONFIGS[run.name]).kind
    return [name for name in figures if kind in figures[name].view.kinds]


def values(option: Option) -> tuple[str, ...]:
    """Everything that may be chosen, the default first."""
    found = TEXTS.get(option.name, (option.default, *option.choices))
    return tuple(dict.fromkeys((*found, *NUMBERS.get(option.name, ()))))


def exported(run: Path, out: Path, *arguments: str) -> int:
    return run_command_line(["export", str(run), "--out", str(out), "--format", "svg", *arguments])


@pytest.fixture(scope="module")
def whole(run: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """Every view as it is by default, with few samples; and the lines that the command printed."""
    out, said = tmp_path_factory.mktemp("whole"), io.StringIO()
    cheap = [a for o in ("n=8", "steps=1") for a in ("--option", o)]
    with redirect_stdout(said):
        assert exported(run, out, "--view", "all", *cheap) == 0
    return out, said.getvalue().splitlines()


def test_all_by_default(run: Path, whole: tuple[Path, list[str]]) -> None:
    out, lines = whole
    views = views_of(run)
    recipe = json.loads((out / "recipe.json").read_text(encoding="utf-8"))
    assert list(recipe["figures"]["views"]) == views
    for view in views:
        assert (out / view / f"{view}.svg").stat().st_size > 1000
        assert (out / view / f"{view}.csv").stat().st_size > 10
        assert "checkpoint at step 8" in (out / view / "caption.txt").read_text(encoding="utf-8")
    shares = [float(line.split()[1]) for line in lines if line.startswith("progress ")]
    assert len(lines) == len(shares) == 2 * len(views) + 1
    assert shares == sorted(shares)
    assert f"progress {0.5 / len(views):.2f} {views[0]}: drawing svg" in lines
    assert "skipped" not in "".join(lines)


@pytest.mark.parametrize("turn", range(1, 5))
def test_every_choice_of_every_option(run: Path, tmp_path: Path, turn: int) -> None:
    """As the window hands them over: every option of every view, in one process, into one recipe."""
    wanted = {}
    for view in views_of(run):
        for option in figures[view].view.options:
            choices = values(option)
            wanted[f"{view}.{option.name}"] = choices[min(turn, len(choices) - 1)]
    changed = [v for v in views_of(run) if any(len(values(o)) > turn for o in figures[v].view.options)]
    assert changed
    arguments = [a for view in changed for a in ("--view", view)]
    for name, value in wanted.items():
        if name.partition(".")[0] in changed:
            arguments += ["--option", f"{name}={value}"]
    assert exported(run, tmp_path, *arguments) == 0
    recipe = json.loads((tmp_path / "recipe.json").read_text(encoding="utf-8"))
    found = {f"{view}.{o}": v for view, options in recipe["figures"]["views"].items() for o, v in options.items()}
    assert found == {n: v or found[n] for n, v in wanted.items() if n.partition(".")[0] in changed}
    for view in changed:
        assert (tmp_path / view / f"{view}.svg").exists()


def test_a_view_that_fails_is_named_and_the_others_are_written(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (first, second) = ("perturbation", "neurons") if run.name == "theory" else ("examples", "filters")
    views = ["--view", first, "--view", second, "--view", "robustness"]
    assert exported(run, tmp_path, *views, "--option", f"{first}.sample=99", "--checkpoint", "4") == 1
    error = capsys.readouterr().err
    assert error.startswith(f"error: {first}: sample: got ")
    assert len(error.splitlines()) == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(
        [second, "robustness", "recipe.json", "reproduce.py", "weight.npz"]
    )
    recipe = json.loads((tmp_path / "recipe.json").read_text(encoding="utf-8"))
    assert (recipe["step"], set(recipe["figures"]["views"])) == (4, {second, "robustness"})


def test_an_option_of_one_view_is_no_error_for_the_others(run: Path, tmp_path: Path) -> None:
    view, option = ("mixtures", "quantity=pure") if run.name == "theory" else ("filters", "scaled=true")
    chosen = ["--view", view, "--view", "robustness"]
    assert exported(run, tmp_path / "a", *chosen, "--option", option) == 0
    assert exported(run, tmp_path / "b", *chosen, "--option", f"robustness.{option}") == 2
    assert not (tmp_path / "b").exists()


def test_robustness_has_the_certified_curve(run: Path, whole: tuple[Path, list[str]]) -> None:
    folder = whole[0] / "robustness"
    has = run.name == "theory"
    assert ("accuracy/certified [1]" in (folder / "robustness.csv").read_text(encoding="utf-8")) == has
    assert ("report/accuracy/certified," in (folder / "robustness.report.csv").read_text(encoding="utf-8")) == has
    assert ("Protocol, certified: certified" in (folder / "caption.txt").read_text(encoding="utf-8")) == has
    drawn = (folder / "robustness.svg").read_text(encoding="utf-8")
    assert ("certified" in drawn) == has


def test_arrays_hold_what_is_no_table(run: Path, whole: tuple[Path, list[str]]) -> None:
    view = "neurons" if run.name == "theory" else "filters"
    with np.load(whole[0] / view / f"{view}.npz", allow_pickle=False) as arrays:
        assert set(arrays) >= {"weight" if run.name == "theory" else "weight_now"}
        assert all(arrays[name].ndim != 1 or name == "target" for name in arrays)
