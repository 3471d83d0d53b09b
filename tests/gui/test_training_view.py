"""Training: long runs draw fast and lose no peak, a pause shows the last steps, rates are the optimiser's."""

from __future__ import annotations

import dataclasses
import time

import numpy as np
import pytest

from engine.config.experiment import Moment, from_dict
from engine.core import metrics
from engine.core.history import History
from engine.run.course import Course
from engine.run.snapshot import Event
from fp_gui.views.curves import CURVE_POINTS
from fp_gui.views.training import TrainingView
from tests.gui.test_views import make, shown


def record(last: int) -> History:
    history = History()
    noise = np.random.default_rng(0).uniform(0.2, 0.4, last + 1)
    for step in range(1, last + 1):
        history.append(step, metrics.LOSS, float(noise[step]))
        history.append(step, metrics.TRAIN_ACCURACY, 1 - float(noise[step]))
    return history


def snapshot_of(history: History, step: int, **fields):
    return dataclasses.replace(make(step=step, phase="clean", events=(), history=history, clean=False), **fields)


def test_a_run_of_100000_steps_draws_fast_and_keeps_its_peak(qtbot) -> None:
    history = record(100_000)
    history.append(54_321, metrics.LOSS, 0.9)
    view = shown(qtbot, TrainingView)
    snapshot = snapshot_of(history, 100_000)
    start = time.process_time()
    view.render(snapshot)
    assert time.process_time() - start < 1.0
    curve = view.measured[metrics.LOSS].curves[metrics.LOSS]
    x, y = curve.line.getData()
    assert len(curve.x) == 100_000
    assert len(x) <= 1.1 * CURVE_POINTS
    assert y.max() == 0.9
    assert x[y.argmax()] == 54_321
    assert len(view.settings.curves["training.lr"].x) <= 1100
    view.measured[metrics.LOSS].box.setXRange(54_300, 54_400, padding=0)  # zoomed in every step is there
    view.measured[metrics.LOSS]._zoomed()
    x, _ = curve.line.getData()
    assert set(range(54_301, 54_400)) <= set(x.astype(int).tolist())


def test_curves_wait_for_a_change_that_can_be_seen_but_not_at_a_pause(qtbot) -> None:
    history, view = record(2010), shown(qtbot, TrainingView)
    line = view.measured[metrics.LOSS].curves[metrics.LOSS]
    view.set_playing(True)
    view.render(snapshot_of(history, 2000))
    history.append(2011, metrics.LOSS, 0.25)
    view.render(snapshot_of(history, 2001))
    assert len(line.x) == 2010  # one step of 3,000 is less than a pixel
    view.set_playing(False)
    assert line.x[-1] == 2011
    view.forget()
    assert not len(line.x)
    assert view.now.text() == ""


def test_the_last_steps_learning_rate_is_the_optimisers_on_images() -> None:
    """One cycle rises over the first 30% of a phase to the knob's value, and a switch by hand begins it anew."""
    config = from_dict({
        "world": {"name": "digits"}, "training": {"lr": 0.2}, "schedule": {"clean_steps": 100, "second_steps": 50},
    })  # fmt: skip
    course = Course(config)
    course.follow((Event(40, 0.0, "training.lr", "0.2", "0.4"), Event(60, 0.0, "phase", "clean", "adversarial")))
    rates = course.sampled(80).values["training.lr"]
    share = np.arange(80) / 100
    share[60:] = np.arange(20) / 50
    cycle = np.where(share < 0.3, share / 0.3, (1 - share) / 0.7)
    np.testing.assert_allclose(rates, cycle * np.where(np.arange(80) < 40, 0.2, 0.4), rtol=1e-12)
    assert config.in_force(Moment(99, "clean", 0))["training.lr"] == pytest.approx(0.2 * 0.01 / 0.7)


def test_the_course_says_what_the_optimiser_was_given(tmp_path, monkeypatch) -> None:
    """Against the optimiser itself, step by step, through a curve, a change by hand and a switch."""
    from engine import worlds
    from engine.images.sgd import MomentumSGD
    from engine.run.commands import SetKnob, SwitchPhase
    from tests.tiny_image_runs import tiny_images

    session = worlds.create(tiny_images(**{"training.lr": [[0, 0.1], [6, 0.2]]}), tmp_path / "run")
    used = []
    take = MomentumSGD.step
    monkeypatch.setattr(MomentumSGD, "step", lambda self, lr, *rest: (used.append(lr), take(self, lr, *rest)))
    for step in range(14):
        if step == 4:
            session.apply(SetKnob("training.lr", 0.05))
        if step == 8:
            session.apply(SwitchPhase("adversarial"))
        session.step()
    course = Course(session._recorder.store.config)
    course.follow(session.snapshot().events)
    session.close()
    found = course.sampled(14)
    assert found.steps.tolist() == list(range(1, 15))
    np.testing.assert_allclose(found.values["training.lr"], used, rtol=1e-12)
