"""When frames are taken, how many of them stay, and what a run without room for them does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import worlds
from engine.core.errors import WriteError
from engine.run.access import copy_run
from engine.run.commands import SetKnob, SwitchPhase
from engine.run.frames import MB, OCTAVE, Frames, gap, thinnest
from engine.run.recorder import Recorder
from engine.run.store import Store
from tests.tiny_runs import advance, drain, run, tiny_config


@given(since=st.integers(0, 10**7), octave=st.integers(1, OCTAVE))
def test_gaps_are_powers_of_two_that_grow_with_the_distance_from_the_switch(since: int, octave: int) -> None:
    found = gap(since, octave)
    assert found & (found - 1) == 0
    assert found <= gap(since + 1, octave) <= 2 * found
    assert since / (2 * octave) - 1 < found <= max(1, since / octave)


def test_each_of_the_first_steps_of_a_phase_has_a_frame_and_an_octave_no_more_than_eight() -> None:
    taken = [since for since in range(100_000) if since % gap(since) == 0]
    assert taken[: 2 * OCTAVE] == list(range(2 * OCTAVE))
    for n in (64, 1000, 40_000):
        assert OCTAVE - 1 <= sum(n <= since < 2 * n for since in taken) <= OCTAVE + 1


@given(st.lists(st.integers(0, 5000), min_size=3, max_size=60, unique=True))
def test_the_first_and_the_newest_frame_are_never_taken_out(steps: list[int]) -> None:
    ordered = np.array(sorted(steps))
    assert 0 < thinnest(ordered, ordered) < len(steps) - 1


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.create(tmp_path / "run", tiny_config(**{"world.d": 64, "model.m": 512}))


def add(frames: Frames, store: Store, step: int, start: int, value: float = 0.0, config: object = None) -> None:
    arrays = {"weight": np.full((512, 64), value, np.float32)}  # 131 kB
    frames.add(step, arrays, config or store.config, "clean", {}, start)  # type: ignore[arg-type]


def test_frames_keep_within_their_room_and_stay_dense_after_each_switch(store: Store) -> None:
    config = tiny_config(**{"storage.frames_mb": 4})
    frames = Frames(store, ())
    for start, end in ((0, 1000), (1000, 2000)):
        for step in range(start, end):
            if frames.due(step, start, 4):
                add(frames, store, step, start, config=config)
                assert sum(store.frames().values()) <= 4 * MB
    assert tuple(store.frames()) == frames.steps
    assert len(frames.steps) > 20  # the room is used
    near = [sum(start <= step < start + 16 for step in frames.steps) for start in (0, 1000)]
    far = [sum(start + 500 <= step < start + 516 for step in frames.steps) for start in (0, 1000)]
    assert min(near) >= 3 * max(1, *far)
    assert {0, frames.steps[-1]} <= set(frames.steps)
    store.close()


def test_large_frames_are_taken_less_often_and_one_that_does_not_fit_never_again(store: Store) -> None:
    frames = Frames(store, ())
    assert all(frames.due(step, 0, 1) for step in range(2 * OCTAVE))
    add(frames, store, 0, 0)
    assert [step for step in range(33) if frames.due(step, 0, 1)] == [0, 1, 2, 4, 8, 16, 32]  # room for seven
    assert not any(frames.due(step, 0, 0) for step in range(33))
    store.close()


def test_diverged_weights_are_no_frame(store: Store) -> None:
    frames = Frames(store, ())
    add(frames, store, 3, 0, value=np.nan)
    assert frames.steps == ()
    assert store.frames() == {}
    store.close()


def test_frames_change_nothing_of_what_is_trained_and_none_are_taken_without_room(tmp_path: Path) -> None:
    with_them = run(tiny_config(), tmp_path / "with")
    without = run(tiny_config(frames_mb=0), tmp_path / "without")
    assert with_them.metrics == without.metrics
    assert {name: array.tobytes() for name, array in with_them.arrays.items()} == {
        name: array.tobytes() for name, array in without.arrays.items()
    }
    assert not (tmp_path / "without" / "frames").exists()
    store = Store.open(tmp_path / "with", read_only=True)
    assert len(store.frames()) > 40
    assert not store.frames().keys() & {25, 40, 50}  # there are checkpoints
    store.close()


def test_room_may_be_taken_away_while_the_run_goes_on(tmp_path: Path) -> None:
    session = worlds.create(tiny_config(), tmp_path / "run")
    advance(session, 20, {5: [SetKnob("storage.frames_mb", 0)], 10: [SetKnob("storage.frames_mb", 200)]})
    session.flush(wait=True)
    steps = [each.step for each in session.stored if not each.checkpoint]
    assert steps == [1, 2, 3, 4, 5, *range(11, 17), 18, 20]
    session.close()


def test_going_on_from_a_checkpoint_forgets_later_frames_and_takes_the_same_again(tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    run(tiny_config(), whole, plan={45: [SwitchPhase("clean")]})
    session = worlds.create(tiny_config(), cut)
    advance(session, 60, {45: [SwitchPhase("clean")]})
    session.flush(wait=True)
    session.close()
    (cut / "checkpoints" / "step-00000060.safetensors").unlink()  # as if it had been killed there
    assert (cut / "frames" / "step-00000059.safetensors").exists()
    session = worlds.resume(cut)
    assert session.steps_done == 50
    assert max(step.step for step in session.stored) == 50
    assert not (cut / "frames" / "step-00000051.safetensors").exists()
    advance(session, 80)
    drain(session)
    session.close()
    frames = [sorted((folder / "frames").iterdir()) for folder in (whole, cut)]
    assert [path.name for path in frames[0]] == [path.name for path in frames[1]]
    ours, theirs = (Store.open(folder, read_only=True) for folder in (whole, cut))
    for step in ours.frames():
        assert np.array_equal(ours.load_frame(step).arrays["weight"], theirs.load_frame(step).arrays["weight"])
    ours.close()
    theirs.close()


def test_a_copy_of_a_run_has_its_frames(tmp_path: Path) -> None:
    run(tiny_config(), tmp_path / "run", 10)
    copy_run(tmp_path / "run", tmp_path / "copy")
    stores = [Store.open(tmp_path / name, read_only=True) for name in ("run", "copy")]
    assert stores[0].frames() == stores[1].frames() != {}
    for store in stores:
        store.close()


def test_a_frame_that_cannot_be_written_ends_the_run_like_any_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store.create(tmp_path / "run", tiny_config())
    (store.folder / "frames").write_text("no folder")
    recorder = Recorder(store)
    recorder.frame(3, {"weight": np.zeros((2, 2), np.float32)}, store.config, "clean", {}, 0)
    with pytest.raises(WriteError, match="cannot be written"):
        recorder.wait()
    recorder.close()
