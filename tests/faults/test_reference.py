"""The reference after clean training: of the last clean phase that trained, whatever is pressed without a step."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine import worlds
from engine.claims.base import Facts
from engine.claims.source import StoreSource
from engine.config.experiment import Config
from engine.core import metrics
from engine.run.commands import SwitchPhase
from engine.run.session import Session
from engine.run.store import Store
from tests.tiny_image_runs import tiny_images
from tests.tiny_runs import advance, drain, tiny_config

CONFIGS: dict[str, Callable[..., Config]] = {"theory": tiny_config, "images": tiny_images}
STEPS = {"schedule.clean_steps": 6, "schedule.second_steps": 6, "evaluation.every": 4}


def press_t(session: Session) -> None:
    session.apply(SwitchPhase("clean" if session.phase == "adversarial" else "adversarial"))


def reference(folder: Path, step: int | None = None) -> tuple[dict[str, np.ndarray[Any, Any]], dict[str, Any]]:
    """What a checkpoint holds as the weights after clean training, and its state."""
    store = Store.open(folder, read_only=True)
    try:
        found = store.load(step)
    finally:
        store.close()
    return {n: a for n, a in found.arrays.items() if n == "weight_clean" or n.startswith("clean.")}, found.state


def equal(left: dict[str, np.ndarray[Any, Any]], right: dict[str, np.ndarray[Any, Any]]) -> bool:
    return bool(left) and left.keys() == right.keys() and all(np.array_equal(left[n], right[n]) for n in left)


@pytest.mark.parametrize("kind", CONFIGS)
def test_t_pressed_twice_on_a_finished_run_leaves_reference_claims_and_reports(kind: str, tmp_path: Path) -> None:
    session = worlds.create(CONFIGS[kind](**STEPS), tmp_path / "run")
    advance(session, 12)
    drain(session)
    session.close()
    before, _ = reference(tmp_path / "run")
    summary = session.summary()
    session = worlds.resume(tmp_path / "run")
    for _ in range(4):
        press_t(session)
    drain(session)
    assert session.clean_step == session.snapshot().clean_step == 6
    assert session.summary()["reports"] == summary["reports"]  # of the same phases, none measured twice
    session.close()
    after, state = reference(tmp_path / "run")
    assert equal(before, after)
    assert (state["clean_step"], state["phase_start"]) == (6, 12)
    store = Store.open(tmp_path / "run", read_only=True)
    facts = Facts(StoreSource(store))
    assert facts.clean_end == 6
    assert facts.phase is not None
    assert (facts.phase.start, facts.phase.end) == (6, 12)
    assert facts.now(metrics.PGD) is not None
    store.close()


@pytest.mark.parametrize("kind", CONFIGS)
def test_t_before_the_first_step_makes_no_reference(kind: str, tmp_path: Path) -> None:
    session = worlds.create(CONFIGS[kind](**STEPS), tmp_path / "run")
    press_t(session)
    assert session.snapshot().clean_step == 0
    press_t(session)
    advance(session, 3)
    press_t(session)
    assert session.snapshot().clean_step == 3
    session.close()
    found, _ = reference(tmp_path / "run")
    assert found


@pytest.mark.parametrize("kind", CONFIGS)
def test_earlier_references_stay_reachable_by_their_step(kind: str, tmp_path: Path) -> None:
    session = worlds.create(CONFIGS[kind](**STEPS, **{"storage.keep": 2}), tmp_path / "r")
    advance(session, 9)  # clean to 6, adversarial to 9
    press_t(session)
    advance(session, 13)  # clean to 13
    press_t(session)
    advance(session, 17)
    session.close()
    newest, state = reference(tmp_path / "r")
    first, _ = reference(tmp_path / "r", 6)
    again, _ = reference(tmp_path / "r", 9)
    second, _ = reference(tmp_path / "r", 13)
    assert equal(first, again)
    assert not equal(first, second)
    assert equal(second, newest)
    assert (state["clean_step"], state["phase_start"]) == (13, 13)
    session = worlds.resume(tmp_path / "r")
    press_t(session)  # adversarial trained: clean again …
    press_t(session)  # … without a step
    session.close()
    assert equal(reference(tmp_path / "r")[0], second)


def test_checkpoints_that_do_not_say_when_their_phase_began_still_open(tmp_path: Path) -> None:
    """As those written before: the events say it."""
    session = worlds.create(tiny_config(**STEPS), tmp_path / "run")
    advance(session, 12)
    session.close()
    store = Store.open(tmp_path / "run")
    found = store.load()
    kept = {name: value for name, value in found.state.items() if name not in ("phase_start", "reported_at")}
    store.save(found.step, found.arrays, found.config, found.phase, kept)
    store.close()
    before, _ = reference(tmp_path / "run")
    session = worlds.resume(tmp_path / "run")
    assert session.phase_start == 6
    press_t(session)
    press_t(session)
    session.close()
    assert equal(reference(tmp_path / "run")[0], before)
