"""Run folders written before the engine moved into rooms: they open, are measured, drawn, and go on to the bit."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from engine import worlds
from engine.cli.main import run_command_line
from engine.config.experiment import from_dict
from engine.run.commands import SetKnob
from engine.run.session import Session
from tests.tiny_runs import Record, advance, assert_same, drain, read

DATA = Path(__file__).parents[1] / "data"
STOPPED = {"theory": 57, "digits": 41}
CHANGED = {"theory": (50, 0.15), "digits": (35, 0.4)}  # attack.tau at this step


@pytest.fixture(params=STOPPED)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def old(name: str, tmp_path: Path) -> Path:
    """A copy: an opened run is written to."""
    return Path(shutil.copytree(DATA / f"{name}-before-the-move", tmp_path / "old"))


def to_the_end(session: Session) -> Record:
    advance(session, session.config.schedule.total)
    drain(session)
    session.close()
    return read(session.folder)


def anew(name: str, folder: Path) -> Session:
    """The same run from its config and its one event, up to the step at which the old one was stopped."""
    record = json.loads((DATA / f"{name}-before-the-move" / "config.json").read_text(encoding="utf-8"))
    session = worlds.create(from_dict(record["config"]), folder)
    step, tau = CHANGED[name]
    advance(session, STOPPED[name], {step: [SetKnob("attack.tau", tau)]})
    return session


def weights(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:  # type: ignore[type-arg]
    kept = ("weight", "now.", "momentum.", "init.", "clean.", "dictionary", "target", "bias")
    return {key: array for key, array in arrays.items() if key.startswith(kept)}


def test_it_opens_where_it_was_stopped(name: str, old: Path) -> None:
    before = read(old)
    assert before.step == STOPPED[name]
    session = worlds.resume(old)
    assert (session.steps_done, session.phase) == (STOPPED[name], "adversarial")
    assert session.config.attack.tau == CHANGED[name][1]
    assert session.measuring  # the report of the switch was under way
    session.close()
    assert_same(read(old), before)


def test_it_is_measured_and_drawn(name: str, old: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command_line(["evaluate", str(old), "--n", "48", "--steps", "3", "--restarts", "1", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["step"], found["phase"]) == (STOPPED[name], "adversarial")
    view = "mixtures" if name == "theory" else "filters"
    out = tmp_path / "figures"
    command = ["export", str(old), "--view", view, "--view", "robustness", "--out", str(out), "--format", "svg"]
    assert run_command_line(command) == 0
    for drawn in (view, "robustness"):
        assert (out / drawn / f"{drawn}.svg").stat().st_size > 1000
    assert json.loads((out / "recipe.json").read_text(encoding="utf-8"))["step"] == STOPPED[name]


def test_it_goes_on_and_ends_as_if_it_had_not_been_stopped_again(name: str, old: Path, tmp_path: Path) -> None:
    shutil.copytree(old, tmp_path / "twice")
    once = to_the_end(worlds.resume(old))
    assert once.step == (80 if name == "theory" else 60)
    session = worlds.resume(tmp_path / "twice")
    advance(session, STOPPED[name] + 7)
    session.close()
    assert_same(to_the_end(worlds.resume(tmp_path / "twice")), once)


def rounded(record: Record) -> Record:
    """Figures of mixtures to six digits: the version that wrote the old run added them up in another order."""
    metrics = [(s, n, float(f"{v:.6g}") if n.startswith("mixture/") else v) for s, n, v in record.metrics]
    return replace(record, metrics=metrics)


def restricted(record: Record, names: set[str]) -> Record:
    """The record with the metrics of these names alone."""
    return replace(record, metrics=[row for row in record.metrics if row[1] in names])


def test_it_ends_as_a_run_without_the_stop(name: str, old: Path, tmp_path: Path) -> None:
    """To the bit where this machine computes what the one that wrote it did; else as near as rounding allows.

    What was not measured when the old run was written is not compared.
    """
    before = read(old)
    fresh = anew(name, tmp_path / "fresh")
    stopped, here = weights(before.arrays), weights(fresh._arrays())
    assert here.keys() == stopped.keys()
    bitwise = all(np.array_equal(here[key], stopped[key]) for key in stopped)
    whole, resumed = to_the_end(fresh), to_the_end(worlds.resume(old))
    if bitwise:
        known = {name for _, name, _ in before.metrics}
        assert_same(rounded(restricted(resumed, known)), rounded(restricted(whole, known)))
        return
    for key, array in weights(whole.arrays).items():
        np.testing.assert_allclose(resumed.arrays[key], array, atol=1e-4, err_msg=key)
