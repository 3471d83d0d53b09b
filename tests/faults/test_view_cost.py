"""What is looked at takes its share of the time beside training and no more; probes that share their work agree."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path

import numpy as np
import pytest
from pytestqt.qtbot import QtBot

from engine import worlds
from engine.config.experiment import with_value
from engine.core.results import (
    CleanMixture,
    FeatureFates,
    LayersPrinciple1,
    Mixture,
    Principle1,
    RadiusCurves,
    Winners,
)
from engine.probes.feature_fates import feature_fates
from engine.probes.mixture import mixture
from engine.probes.principle1 import principle1
from engine.probes.winners import winners
from engine.run import scheduler
from engine.run.commands import SetKnob, SwitchPhase
from engine.run.scheduler import LONGEST, SHARE, Pace, Scheduler
from engine.run.snapshot import Snapshot
from engine.theory.config import SparseCodingConfig
from fp_gui.bridge.controller import Controller
from tests.faults.test_live_probe import Counted
from tests.gui.fakes import FakeFactory, FakeSession
from tests.tiny_runs import tiny_config


class Clock:
    """Time that passes when it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(scheduler.time, "perf_counter", lambda: self.now)


def trained(clock: Clock, seconds: float, snapshot: float, slice_: float) -> tuple[float, float, int]:
    """Seconds in snapshots and in slices, and the number of snapshots, in so many of training by steps of 10 ms."""
    pace, shared, probe = Pace(), Scheduler(), Counted()

    def measured() -> None:
        clock.now += slice_
        probe.key = str(clock.now)
        slices.append(slice_)

    slices: list[float] = []
    shared.slice = measured  # type: ignore[method-assign]
    taken, end = 0, clock.now + seconds
    while clock.now < end:
        clock.now += 0.010
        shared.ask(RadiusCurves, probe.present, probe.failures.append)
        shared.beside_training()
        if pace.due():
            clock.now += snapshot
            shared.charge(snapshot)
            pace.took(snapshot)
            taken += 1
    return taken * snapshot, sum(slices), taken


@pytest.mark.parametrize("snapshot", [0.0001, 0.001, 0.010, 0.060])
def test_snapshots_and_slices_keep_to_their_share_together(monkeypatch: pytest.MonkeyPatch, snapshot: float) -> None:
    in_snapshots, in_slices, count = trained(Clock(monkeypatch), 100.0, snapshot, 0.005)
    assert in_snapshots + in_slices <= 1.03 * SHARE * 100  # a snapshot and a slice more or less
    assert in_slices >= 0.9 * SHARE / 2 * 100
    if snapshot >= 0.010:  # of shorter ones the steps are too long for more
        assert in_snapshots >= 0.8 * SHARE / 2 * 100
    assert count >= 100 / (LONGEST + 0.1)


def test_one_long_snapshot_does_not_stop_the_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, pace = Clock(monkeypatch), Pace()
    assert pace.due()
    pace.took(3.0)
    assert not pace.due()
    clock.now += 0.99 * LONGEST
    assert not pace.due()
    clock.now += 0.02 * LONGEST
    assert pace.due()
    pace.took(3.0)
    pace.now()
    assert pace.due()


class SlowToShow(FakeSession):
    """A session whose snapshots take a while."""

    made = 0

    def snapshot(self, wanted: frozenset[type] = frozenset()) -> Snapshot:
        self.made += 1
        time.sleep(0.02)
        return super().snapshot(wanted)


def test_the_training_thread_makes_them_as_seldom(qtbot: QtBot) -> None:
    factory = FakeFactory()
    sessions: list[SlowToShow] = []

    def create(config: SparseCodingConfig, folder: Path) -> SlowToShow:
        folder.mkdir()
        sessions.append(SlowToShow(config, folder))
        return sessions[-1]

    factory.create = create  # type: ignore[method-assign, assignment]
    controller = Controller(factory)
    try:
        with qtbot.waitSignal(controller.run_changed):
            controller.reset(with_value(SparseCodingConfig(), "schedule.clean_steps", 10_000_000), "test")
        with qtbot.waitSignal(controller.playing_changed):
            controller.play()
        (session,) = sessions
        before, step = session.made, session.steps_done
        qtbot.wait(1100)
        assert session.steps_done > step
        assert 1 <= session.made - before <= 4  # of 33 looks; 20 ms each half a second are 4 %
    finally:
        controller.close()


def same(found: object, expected: object) -> None:
    for field in dataclasses.fields(expected):  # type: ignore[arg-type]
        mine, other = getattr(found, field.name), getattr(expected, field.name)
        if dataclasses.is_dataclass(other):
            same(mine, other)
        else:
            assert np.array_equal(mine, other), field.name


def test_probes_that_share_their_work_find_what_each_finds_alone(tmp_path: Path) -> None:
    session = worlds.create(tiny_config(), tmp_path / "run")
    kinds = frozenset({Mixture, FeatureFates, Winners, Principle1, LayersPrinciple1, CleanMixture})
    config = session.config
    assert isinstance(config, SparseCodingConfig)

    def look() -> None:
        found = session.snapshot(kinds).results
        start, clean, now = session.weight_init, session.weight_clean, session.model.weight
        dictionary, target = session.world.dictionary, session.world.target
        same(found[Mixture], mixture(now, dictionary, target))
        same(found[FeatureFates], feature_fates(start, clean, now, dictionary))
        same(found[Winners], winners(start, now, dictionary, target, config.model.sigma_0))
        if clean is not None:
            same(found[Principle1], principle1(start, clean, now))
            (layer,) = found[LayersPrinciple1].of.values()
            same(layer, principle1(start, clean, now))
            assert found[LayersPrinciple1].step == session.steps_done
            same(found[CleanMixture].mixture, mixture(clean, dictionary, target))

    for steps, command in (
        (3, None),
        (5, SwitchPhase("adversarial")),
        (4, SwitchPhase("clean")),
        (3, SwitchPhase("adversarial")),
        (0, SetKnob("training.lr", 0.5)),
        (2, None),
    ):
        for _ in range(steps):
            session.step()
        look()
        if command is not None:
            session.apply(command)
            look()
    session.close()
