"""The curves never pause: live estimates go before a report that is under way, and no figure depends on the order."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from engine import worlds
from engine.config.experiment import Config, with_value
from engine.config.presets import load_preset
from engine.core import metrics
from engine.run.commands import EvaluateNow, SetKnob, SwitchPhase
from engine.run.evaluations import MOST_LIVE, EvaluationQueue
from engine.run.session import Session
from tests.tiny_image_runs import tiny_images
from tests.tiny_runs import advance, assert_same, drain, read, run, tiny_config

Create = Callable[..., Session]


def changed(config: Config, **knobs: object) -> Config:
    for name, value in knobs.items():
        config = with_value(config, name.replace("__", "."), value)
    return config


def age(session: Session) -> int:
    """Steps since the newest live point that the window can show."""
    history = session.snapshot().history
    newest = min(int(history[name].steps[-1]) if name in history else 0 for name in (metrics.PGD, metrics.ACTIVE_SHARE))
    return session.steps_done - newest


# The evaluations are those of the presets; what trains is small, so that a step costs little.
PRESETS: dict[str, Config] = {
    "small": changed(load_preset("small"), model__m=24, world__d=16, training__batch_size=8, schedule__clean_steps=160,
                     schedule__second_steps=700, evaluation__certify_every=150),
    "standard": changed(load_preset("standard"), model__m=24, world__d=16, training__batch_size=8,
                        schedule__clean_steps=160, schedule__second_steps=500, evaluation__certify_every=150),
    "digits": changed(load_preset("digits"), model__width=4, training__batch_size=8, schedule__clean_steps=60,
                      schedule__second_steps=150, attack__steps=1),
    "alexnet": tiny_images(**{"model.width": 4, "training.batch_size": 8, "evaluation.report_size": 395,
                              "evaluation.report_steps": 20, "evaluation.every": 20, "schedule.clean_steps": 30,
                              "schedule.second_steps": 60}),
}  # fmt: skip


@pytest.mark.parametrize("name", PRESETS)
def test_the_newest_live_point_is_never_old(name: str, tmp_path: Path) -> None:
    config = changed(PRESETS[name], device="cpu", threads=1)
    session = worlds.create(config, tmp_path / "run")
    across = False
    while session.steps_done < config.schedule.total:
        session.step()
        assert age(session) <= 2 * config.evaluation.every, session.steps_done
        across |= session.phase == "adversarial" and any(r.report for r in session._evaluations.requests)
    assert across  # a report was under way all the time that mattered
    session.close()


def test_a_report_stands_still_while_a_live_estimate_is_measured(new_session: Create) -> None:
    session = new_session(every=1000, clean_steps=1000, **{"evaluation.report_steps": 30})
    drain(session)
    advance(session, 5)
    session.apply(SwitchPhase("adversarial"))
    for _ in range(20):
        session.measure()  # paused: the report alone
    assert metrics.REPORT + metrics.CLEAN in session.snapshot().history
    session.apply(EvaluateNow())
    while metrics.ALIGNMENT not in session.snapshot().history or age_of(session, metrics.ALIGNMENT):
        session.measure()
    assert metrics.REPORT + metrics.ALIGNMENT not in session.snapshot().history  # the report waits where it stood
    drain(session)
    assert session.snapshot().history[metrics.REPORT + metrics.ALIGNMENT].steps.tolist() == [5]


def age_of(session: Session, name: str) -> int:
    return session.steps_done - int(session.snapshot().history[name].steps[-1])


@pytest.mark.parametrize(
    "config",
    [
        tiny_config(every=4),
        tiny_images(**{"evaluation.every": 4, "schedule.clean_steps": 10, "schedule.second_steps": 10}),
    ],
    ids=["theory", "images"],
)
def test_the_history_is_the_same_whatever_the_interleaving(config: Config, tmp_path: Path) -> None:
    """At once, beside training, and by turns: every evaluation has its own weights, buffers and generators."""
    at_once = worlds.create(config, tmp_path / "at once")
    while not at_once.finished:
        at_once.step()
        drain(at_once)
    at_once.close()
    by_turns = worlds.create(config, tmp_path / "by turns")
    queue = by_turns._evaluations
    while not by_turns.finished:
        by_turns.step()
        for waiting in (queue._reports, queue._live, queue._reports):
            queue._advance(waiting)
    drain(by_turns)
    by_turns.close()
    beside = run(config, tmp_path / "beside")
    assert_same(read(tmp_path / "at once"), beside)
    assert_same(read(tmp_path / "by turns"), beside)


def test_a_checkpoint_with_a_standing_report_goes_on_to_the_bit(tmp_path: Path) -> None:
    config = tiny_config(every=4, **{"evaluation.report_steps": 30})
    whole = run(config, tmp_path / "whole")
    session = worlds.create(config, tmp_path / "run")
    for stop in (41, 43, 46, 52):  # the report of step 40 is under way at each of them
        advance(session, stop)
        assert any(r.report for r in session._evaluations.requests)
        session.close()
        session = worlds.resume(tmp_path / "run")
    advance(session, 80)
    drain(session)
    session.close()
    assert_same(read(tmp_path / "run"), whole)


def test_asking_again_and_again_piles_nothing_up(new_session: Create) -> None:
    session = new_session(every=1000, clean_steps=1000)
    drain(session)
    for step in range(30):
        for tau in (0.1, 0.2, 0.3):
            session.apply(SetKnob("attack.tau", tau))
            for _ in range(5):
                session.apply(EvaluateNow())
        assert len(session._evaluations) <= MOST_LIVE, step
        session.step()
    drain(session)
    history = session.snapshot().history[metrics.PGD]
    assert history.steps.tolist() == list(range(30))
    assert session.snapshot().protocol(metrics.PGD).tau == 0.3  # type: ignore[union-attr]


# --- the queue alone


@dataclass
class Piece:
    step: int
    report: bool
    length: int
    said: int

    def slices(self) -> int:
        return self.said


def queue_of(log: list[int]) -> EvaluationQueue:
    def begin(piece: Any) -> Generator[None, None, None]:
        for _ in range(piece.length - 1):
            yield

    return EvaluationQueue(begin, lambda piece: log.append(piece.step), lambda piece, error: log.append(-piece.step))


@pytest.mark.parametrize("length", [1, 30, 50, 73, 400])
@pytest.mark.parametrize("said", [1, 30, 400])
def test_a_live_estimate_is_done_in_time_whatever_it_was_thought_to_take(length: int, said: int) -> None:
    log: list[int] = []
    queue, every = queue_of(log), 50
    queue.add(Piece(0, False, length, said))
    for step in range(1, 1000):
        if step % every == 0:
            queue.add(Piece(step, False, length, said))
        queue.beside(step, every)
        assert step - (log[-1] if log else 0) <= 2 * every
        assert len(queue) <= 2


def test_a_report_gets_a_slice_at_every_step() -> None:
    log: list[int] = []
    queue = queue_of(log)
    queue.add(Piece(7, True, 100, 100))
    for step in range(1, 101):
        if step % 10 == 0:
            queue.add(Piece(step, False, 30, 30))
        queue.beside(step, 10)
    assert 7 in log
