from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from engine import worlds
from engine.core.errors import StoreError
from engine.core.measurement import Measurement
from engine.run.commands import SaveCheckpoint, SwitchPhase
from engine.run.recorder import BATCH, Recorder, crowded
from engine.run.store import Store
from tests.tiny_runs import advance, contents, tiny_config


@pytest.fixture
def recorder(tmp_path: Path) -> Iterator[Recorder]:
    opened = Recorder(Store.create(tmp_path / "run", tiny_config()))
    yield opened
    opened.close()


def save(recorder: Recorder, step: int, *, keep: bool = False, most: int = 4) -> None:
    config = tiny_config(**{"storage.keep": most})
    recorder.checkpoint(step, contents(config)[0], config, "clean", contents(config)[1], keep=keep)


def wait(recorder: Recorder) -> None:
    recorder.flush()
    recorder._writer.submit(lambda: None).result()


def test_memory_and_store_hold_the_same(recorder: Recorder) -> None:
    for step in range(BATCH + 50):
        recorder.scalar(step, "loss", step / 3)
    recorder.event(3, "attack.tau", 0.2, 0.1)
    wait(recorder)
    series = recorder.store.series("loss")
    assert np.array_equal(series.steps, recorder.history["loss"].steps)
    assert np.array_equal(series.values, recorder.history["loss"].values)
    assert recorder.store.events() == recorder.events
    assert (recorder.events[0].old, recorder.events[0].new) == ("0.2", "0.1")


def test_a_second_recorder_reads_what_the_first_wrote(tmp_path: Path) -> None:
    first = Recorder(Store.create(tmp_path / "run", tiny_config()))
    first.scalar(1, "loss", 0.5)
    first.scalar(2, "loss", float("nan"))
    first.event(1, "phase", "clean", "adversarial")
    protocol = Measurement("pgd", "l2", 0.2, 10, 1, 500)
    first.measured_by(1, "accuracy/pgd", protocol)
    first.close()
    second = Recorder(Store.open(tmp_path / "run"))
    assert second.history["loss"].steps.tolist() == [1, 2]
    assert np.isnan(second.history["loss"].values[1])
    assert second.events == first.events
    assert second.protocols == {"accuracy/pgd": ((1, protocol),)}
    assert second.protocol_at("accuracy/pgd", 1) == protocol
    assert second.protocol_at("accuracy/pgd", 0) is None
    second.close()


def test_a_protocol_is_written_when_it_changes(recorder: Recorder) -> None:
    a, b = Measurement("pgd", "l2", 0.2, 10, 1, 500), Measurement("pgd", "l2", 0.1, 10, 1, 500)
    held = recorder.protocols
    for step, protocol in ((10, a), (20, a), (30, b), (40, b), (50, a)):
        recorder.measured_by(step, "accuracy/pgd", protocol)
    wait(recorder)
    assert [(s, p) for s, _, p in recorder.store.protocols()] == [(10, a), (30, b), (50, a)]
    assert held == {}  # a snapshot's mapping does not change
    for step in (9, 10, 29, 30, 49, 50, 60):
        assert recorder.protocol_at("accuracy/pgd", step) == recorder.store.protocol("accuracy/pgd", step)


@pytest.mark.parametrize("most", [2, 3, 10])
def test_thinning_keeps_as_many_as_asked_and_the_last(recorder: Recorder, most: int) -> None:
    save(recorder, 0, keep=True)
    for step in range(10, 500, 10):
        save(recorder, step, keep=step in (40, 120, 250), most=most)
        wait(recorder)
        there = recorder.store.checkpoints()
        cadence = [s for s in there if s not in (0, 40, 120, 250)]
        assert len(cadence) <= most
        assert step in there
        assert {s for s in (0, 40, 120, 250) if s <= step} <= set(there)
    assert len(cadence) == most


def test_thinning_keeps_the_present_dense_and_the_past_in_view(recorder: Recorder) -> None:
    for step in range(1, 401):
        save(recorder, step, most=12)
    wait(recorder)
    kept = recorder.store.checkpoints()
    assert len(kept) == 12
    assert kept[-1] == 400
    assert kept[0] < 200
    gaps = np.diff(kept)
    assert gaps[-1] <= gaps[:4].max()


def test_a_checkpoint_asked_for_later_is_protected(recorder: Recorder) -> None:
    save(recorder, 10)
    save(recorder, 10, keep=True)
    for step in range(20, 200, 10):
        save(recorder, step, most=2)
    wait(recorder)
    assert 10 in recorder.store.checkpoints()


@pytest.mark.parametrize("steps", [[1, 2, 3], [10, 500, 501, 502], list(range(1, 30)), [5, 6]])
def test_the_last_is_never_given_up(steps: list[int]) -> None:
    while len(steps) > 1:
        index = crowded(steps)
        assert 0 <= index < len(steps) - 1
        steps = [s for i, s in enumerate(steps) if i != index]


def test_a_run_keeps_phases_and_requests(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    config = tiny_config(clean_steps=150, second_steps=150, **{"checkpoint_every": 10, "storage.keep": 3})
    session = worlds.create(config, folder)
    advance(session, 200, {33: [SaveCheckpoint()], 166: [SwitchPhase("clean")], 171: [SwitchPhase("adversarial")]})
    session.close()
    session = worlds.resume(folder)  # what is protected is known again
    advance(session, 300)
    session.close()
    store = Store.open(folder, read_only=True)
    steps = store.checkpoints()
    store.close()
    assert {0, 33, 150, 166, 171} <= set(steps)
    assert 300 in steps
    assert len(steps) <= 5 + 3


def test_an_error_of_the_writer_comes_with_the_next_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder(Store.create(tmp_path / "run", tiny_config()))

    def full(*_: object, **how: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("engine.run.state_files.write_atomically", full)
    save(recorder, 10)
    recorder._writer.submit(lambda: None).result()
    with pytest.raises(StoreError, match=r"cannot be written.*No space left"):
        recorder.event(11, "attack.tau", 0.2, 0.1)
    monkeypatch.undo()
    with pytest.raises(StoreError, match="No space left"):
        recorder.event(12, "attack.tau", 0.2, 0.1)  # nothing is written behind a write that is missing
    recorder.close()
    store = Store.open(tmp_path / "run")
    assert store.events() == ()
    store.close()


def test_an_error_of_the_last_write_comes_with_close(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder(Store.create(tmp_path / "run", tiny_config()))
    recorder.scalar(1, "loss", 0.1)

    def broken(*_: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(recorder.store, "record", broken)
    with pytest.raises(StoreError, match="Input/output error"):
        recorder.close()


def test_a_session_says_it_and_can_be_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = worlds.create(tiny_config(), tmp_path / "run")

    def full(*_: object, **how: object) -> None:
        raise OSError(28, "No space left on device")

    session._recorder._writer.submit(lambda: None).result()
    monkeypatch.setattr("engine.run.state_files.write_atomically", full)
    with pytest.raises(StoreError, match="No space left"):
        advance(session, 300)
    monkeypatch.undo()
    session.close()
    resumed = worlds.resume(tmp_path / "run")
    assert resumed.steps_done == 0  # nothing was written behind the write that failed
    resumed.close()
