"""A stored run at any of its steps answers what the session answered when it stood there."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine import worlds
from engine.config.experiment import Config
from engine.core.errors import ConfigError, StoreError
from engine.core.notices import heard_by
from engine.core.results import CleanMixture, FeatureRequest, Features, Filters, LowRank, Mixture, RadiusCurves, Weights
from engine.run.commands import SaveCheckpoint, SetKnob, SwitchPhase, Visualise
from engine.run.live import live_probes
from engine.run.past import Past
from engine.run.session import Session
from engine.run.snapshot import Snapshot, StoredStep
from tests.faults.test_damaged_checkpoints import DAMAGES, rewrite
from tests.tiny_image_runs import tiny_images
from tests.tiny_runs import drain, tiny_config


def same(a: Any, b: Any) -> bool:
    """Whether two results are equal, bit by bit."""
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if is_dataclass(a):
        return type(a) is type(b) and all(same(getattr(a, f.name), getattr(b, f.name)) for f in fields(a))
    if isinstance(a, tuple | list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    return bool(a == b)


def at_once(kind: str) -> frozenset[type]:
    """The results that every snapshot can have."""
    known = live_probes[kind]
    return frozenset(known[name].result for name in known if known[name].task is None)


@dataclass
class Trained:
    """A run and what its session showed after each step."""

    folder: Path
    shown: dict[int, Snapshot]


def trained(config: Config, folder: Path) -> Trained:
    """Train, with changes on the way, and keep every snapshot."""
    session, wanted = worlds.create(config, folder), at_once(config.kind)
    shown = {0: session.snapshot(wanted)}
    half = config.schedule.clean_steps
    plan = {half // 2: SetKnob("attack.tau", 0.25), half + half // 2: SwitchPhase("clean")}
    while not session.finished and session.steps_done < config.schedule.total:
        session.step()
        shown[session.steps_done] = session.snapshot(wanted)
        if session.steps_done in plan:
            session.apply(plan[session.steps_done])
            if isinstance(plan[session.steps_done], SwitchPhase):  # the checkpoint is of after the switch
                shown[session.steps_done] = session.snapshot(wanted)
    drain(session)
    session.close()
    return Trained(folder, shown)


CONFIGS: dict[str, Config] = {
    "theory": tiny_config(rank=2),
    "images": tiny_images(),
    "local": tiny_images(**{"local.layer": "conv2", "local.redraw_at": 8}),
}


@pytest.fixture(scope="module")
def theory(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return trained(CONFIGS["theory"], tmp_path_factory.mktemp("past") / "run")


@pytest.fixture(scope="module", params=CONFIGS)
def whole(request: pytest.FixtureRequest, theory: Trained, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    if request.param == "theory":
        return theory
    return trained(CONFIGS[request.param], tmp_path_factory.mktemp(request.param) / "run")


@pytest.fixture
def past(theory: Trained) -> Iterator[Past]:
    made = worlds.past(theory.folder)
    yield made
    made.close()


def test_every_stored_step_shows_what_the_session_showed(whole: Trained) -> None:
    found = worlds.past(whole.folder)
    wanted = at_once(found.config.kind)
    last = max(whole.shown)
    assert len(found.stored) > last // 2
    assert {each.checkpoint for each in found.stored} == {True, False}
    for each in (*found.stored, *reversed(found.stored)):  # in any order
        then = whole.shown[each.step]
        assert found.go(each.step) == each.step
        now = found.snapshot(wanted)
        assert (now.step, now.clean_step, now.newest, now.looking) == (each.step, then.clean_step, last, True)
        assert now.results.keys() == then.results.keys(), each  # what is compared with the clean weights: none, too
        for kind, result in then.results.items():
            assert same(result, now.results[kind]), (each, kind)
        if each.checkpoint or not any(event.step == each.step for event in now.events):  # a frame is of before it
            assert (now.config, now.phase) == (then.config, then.phase)
        assert now.history.keys() == whole.shown[last].history.keys()
        assert now.history["loss"].steps[-1] == last
        assert now.newest_phase == "clean"
    found.close()


def test_it_follows_the_newest_until_a_step_is_chosen_and_takes_the_nearest_before_it(past: Past) -> None:
    assert (past.steps_done, past.newest, past.snapshot().looking) == (80, 80, False)
    known = [each.step for each in past.stored]
    between = next(step for step in range(80) if step not in known)
    assert past.go(between) == max(step for step in known if step < between)
    assert past.snapshot().looking
    assert past.go(10**7) == 80
    assert past.go(None) == 80
    assert not past.snapshot().looking
    assert past.state == "finished"


def test_what_is_measured_in_slices_is_of_the_step_or_of_none(past: Past) -> None:
    wanted = frozenset({RadiusCurves, Mixture})
    for step in (70, 30):
        past.go(step)
        assert past.snapshot(wanted).get(RadiusCurves) is None  # not that of the step before
        while past.measuring:
            past.measure()
        curves = past.snapshot(wanted).get(RadiusCurves)
        assert curves is not None
        assert curves.step == past.steps_done


def test_it_is_only_read(past: Past, theory: Trained) -> None:
    before = {path: path.stat().st_mtime_ns for path in theory.folder.rglob("*") if path.is_file()}
    with pytest.raises(StoreError, match="only watched"):
        past.step()
    with pytest.raises(ConfigError, match="SetKnob: this run is only watched"):
        past.apply(SetKnob("attack.tau", 0.1))
    past.apply(SaveCheckpoint())  # all there is is stored
    past.go(3)
    session = worlds.resume(theory.folder)  # it holds no lock
    session.close()
    names = {path for path in theory.folder.rglob("*") if path.is_file() and "sqlite" not in path.name}
    assert {path for path in before if "sqlite" not in path.name} == names


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_frame_is_passed_over_with_a_word(damage: str, theory: Trained, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(theory.folder, folder)
    path = folder / "frames" / "step-00000007.safetensors"
    path.write_bytes(DAMAGES[damage](path.read_bytes()))
    said: list[str] = []
    found = worlds.past(folder)
    with heard_by(said.append):
        assert found.go(7) == 6
        assert found.go(7) == 6
    (line,) = said
    assert line.startswith(f"{path} is damaged: ")
    assert line.endswith("step 7 cannot be looked at")
    assert found.damaged == (line,)
    assert StoredStep(7, False) not in found.stored
    assert found.snapshot(frozenset({Weights})).get(Weights) is not None
    found.close()


@pytest.mark.parametrize(
    ("header", "says"),
    [({"run": "0" * 32}, "run"), ({"step": "3"}, "step"), ({"state": "{}"}, "state"), ({"config": "{"}, "config")],
)
def test_a_frame_that_says_something_else_is_damaged(
    header: dict[str, str], says: str, theory: Trained, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(theory.folder, folder)
    rewrite(folder / "frames" / "step-00000007.safetensors", **header)
    found = worlds.past(folder)
    assert found.go(7) == 6
    assert says in found.damaged[0]
    found.close()


def test_a_damaged_checkpoint_is_passed_over_too(theory: Trained, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(theory.folder, folder)
    for step in (80, 40):  # the newest, and the one at which clean training ended
        path = folder / "checkpoints" / f"step-{step:08d}.safetensors"
        path.write_bytes(path.read_bytes()[:-7])
    found = worlds.past(folder)
    assert found.steps_done < 80
    found.go(45)
    assert found.snapshot(frozenset({LowRank})).get(LowRank) is not None  # the clean weights are in others
    assert len(found.damaged) >= 1
    found.close()


def test_without_any_checkpoint_there_is_nothing_to_look_at(theory: Trained, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(theory.folder, folder)
    shutil.rmtree(folder / "checkpoints")
    with pytest.raises(StoreError, match="holds no checkpoint that can be read"):
        worlds.past(folder)


def test_a_run_of_before_frames_has_its_checkpoints(theory: Trained, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(theory.folder, folder)
    shutil.rmtree(folder / "frames")
    found = worlds.past(folder)
    assert all(each.checkpoint for each in found.stored)
    assert found.go(30) == 25
    found.close()


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    made = worlds.create(tiny_images(), tmp_path / "run")
    yield made
    made.close()


def test_beside_a_session_that_goes_on(session: Session) -> None:
    while session.steps_done < 10:
        session.step()
    session.flush(wait=True)
    beside = worlds.past(session.folder, beside=session)
    beside.go(4)
    session.step()
    session.apply(Visualise(FeatureRequest("conv1", (0,), steps=2)))
    found = beside.snapshot(frozenset({Filters, Features}))
    assert (found.step, found.newest, found.looking, found.state) == (4, 11, True, "open")
    assert found.history is session.snapshot().history
    while beside.measuring:
        beside.measure()
    features = beside.snapshot(frozenset({Features})).get(Features)
    assert features is not None
    assert features.step == 4
    beside.close()
    session.step()  # it is not closed with it


def test_the_clean_weights_are_those_of_the_last_clean_phase_at_each_step(theory: Trained) -> None:
    found = worlds.past(theory.folder)
    wanted = frozenset({CleanMixture, Weights})
    ends = {}
    for step in (20, 45, 75, 45):
        found.go(step)
        weights = found.snapshot(wanted).get(Weights)
        assert weights is not None
        ends[step] = (found.clean_step, weights.clean is None)
    assert ends == {20: (0, True), 45: (40, False), 75: (40, False)}
    found.close()
