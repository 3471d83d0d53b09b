"""Accuracy against radius, measured only while somebody looks, and never recorded."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from engine import worlds
from engine.core.results import RadiusCurves
from engine.probes import radius
from engine.run import scheduler
from engine.run.commands import SetKnob
from engine.run.session import Session
from tests.tiny_runs import advance, assert_same, drain, read, tiny_config

WANTED = frozenset({RadiusCurves})
Create = Callable[..., Session]


def look(session: Session) -> RadiusCurves:
    """Ask while paused until the curves of the present step are there."""
    for _ in range(10_000):
        curves = session.snapshot(WANTED).get(RadiusCurves)
        if curves is not None and not session.measuring:
            return curves
        session.measure()
    raise AssertionError("the curves were never done")


def test_the_certificate_stays_below_the_attack(new_session: Create) -> None:
    session = new_session()
    advance(session, 60)
    drain(session)
    curves = look(session)
    assert curves.step == 60
    assert curves.radii[0] == 0
    assert curves.radii[-1] == pytest.approx(radius.REACH * session.config.attack.tau)
    for upper, lower in ((curves.pgd, curves.certified), (curves.pgd_clean, curves.certified_clean)):
        assert upper is not None
        assert lower is not None
        assert (lower <= upper).all()
        assert lower[0] == upper[0]  # at radius 0 both are clean accuracy
        assert (np.diff(lower) <= 0).all()


def test_clean_curves_come_with_the_end_of_clean_training(new_session: Create) -> None:
    session = new_session()
    advance(session, 20)
    assert look(session).pgd_clean is None


def test_curves_follow_steps_and_radius(new_session: Create) -> None:
    session = new_session()
    advance(session, 20)
    first = look(session)
    assert look(session) is first  # nothing has changed: nothing is measured again
    session.apply(SetKnob("attack.tau", 0.1))
    assert look(session).radii[-1] == pytest.approx(0.1 * radius.REACH)
    session.step()
    assert look(session).step == 21


def test_while_paused_the_oracle_is_completed_too(new_session: Create) -> None:
    """One radius at a time, so that the curves of now need not wait for it."""
    session = new_session()
    advance(session, 10)
    attack, known = session.config.attack, [0]
    for _ in range(10_000):
        curves = session.snapshot(WANTED).get(RadiusCurves)
        known.append(radius.oracle_radii(session.memory, attack.norm, attack.tau, session.config.world.sigma_x))
        if curves is not None and curves.oracle is not None:
            break
        session.measure()
    assert max(after - before for before, after in pairwise(known)) == 1
    assert known[-1] == radius.POINTS
    assert curves is not None
    assert curves.oracle is not None
    assert curves.oracle[0] > 0.95


def test_nobody_looks_nothing_is_measured(new_session: Create, monkeypatch: pytest.MonkeyPatch) -> None:
    session = new_session()
    session.step()
    drain(session)
    look(session)
    session.step()
    monkeypatch.setattr(scheduler, "PATIENCE", -1.0)
    assert not session.measuring


def test_looking_changes_no_record(tmp_path: Path) -> None:
    for name in ("looked", "left alone"):
        session = worlds.create(tiny_config(), tmp_path / name)
        while not session.finished:
            session.step()
            if name == "looked":
                session.snapshot(WANTED)
        drain(session)
        session.close()
    assert_same(read(tmp_path / "looked"), read(tmp_path / "left alone"))
