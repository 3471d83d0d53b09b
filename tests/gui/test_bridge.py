"""The training thread, the mailbox and the controller, with a session that only counts."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from pytestqt.qtbot import QtBot

from engine.config.experiment import Config, with_value
from engine.core.device import prepare_thread
from engine.core.results import Mixture, Weights
from engine.run.commands import SetKnob, SwitchPhase
from engine.run.snapshot import Problem
from engine.theory.config import SparseCodingConfig
from fp_gui.bridge.controller import Controller
from fp_gui.bridge.mailbox import Mailbox
from fp_gui.bridge.requests import Answer
from tests.gui.fakes import FakeFactory, FakeSession, MixturesFake, NeuronsFake

LONG = with_value(SparseCodingConfig(), "schedule.clean_steps", 1_000_000)


@pytest.fixture
def factory() -> FakeFactory:
    return FakeFactory()


@pytest.fixture
def controller(factory: FakeFactory, qtbot: QtBot) -> Iterator[Controller]:
    made = Controller(factory)
    yield made
    made.close()


def started(controller: Controller, qtbot: QtBot, config: Config = LONG) -> None:
    with qtbot.waitSignal(controller.run_changed):
        controller.reset(config, "test")


# --- mailbox


def snapshot(folder: Path) -> object:
    return FakeSession(SparseCodingConfig(), folder).snapshot()


def test_mailbox_latest_wins(tmp_path: Path) -> None:
    box = Mailbox()
    first, second = snapshot(tmp_path), snapshot(tmp_path)
    box.put(first)
    box.put(second)
    assert box.take() is second
    assert box.take() is None


def test_mailbox_asks_only_when_empty_and_due(tmp_path: Path) -> None:
    box = Mailbox()
    assert box.wanted()
    box.put(snapshot(tmp_path))
    assert not box.wanted()
    box.take(again_in=60.0)
    assert not box.wanted()
    box.take(again_in=0.0)
    assert not box.wanted()  # an empty look does not change when the next snapshot is due
    box.rest(0.0)
    assert box.wanted()


# --- running


def test_plays_in_one_other_thread_and_pauses(controller: Controller, factory: FakeFactory, qtbot: QtBot) -> None:
    started(controller, qtbot)
    with qtbot.waitSignal(controller.playing_changed):
        controller.play()
    qtbot.waitUntil(lambda: factory.last.steps_done > 20)
    with qtbot.waitSignal(controller.playing_changed):
        controller.pause()
    steps = factory.last.steps_done
    qtbot.wait(60)
    assert factory.last.steps_done == steps
    assert len(factory.last.threads) == 1
    assert threading.get_ident() not in factory.last.threads


def test_commands_arrive_in_order_and_between_steps(controller: Controller, factory: FakeFactory, qtbot: QtBot) -> None:
    started(controller, qtbot)
    controller.play()
    qtbot.waitUntil(lambda: factory.last.steps_done > 5)
    for i in range(20):
        controller.set_knob("attack.tau", 0.01 * (i + 1))
    controller.switch_phase("adversarial")
    qtbot.waitUntil(lambda: len(factory.last.commands()) == 21)
    commands = factory.last.commands()
    assert [c.value for c in commands if isinstance(c, SetKnob)] == [0.01 * (i + 1) for i in range(20)]
    assert commands[-1] == SwitchPhase("adversarial")
    assert len(factory.last.threads) == 1


def test_a_command_waits_for_one_step_only(controller: Controller, factory: FakeFactory, qtbot: QtBot) -> None:
    started(controller, qtbot)
    factory.last.delay = 0.003
    controller.play()
    qtbot.waitUntil(lambda: factory.last.steps_done > 3)
    before = factory.last.steps_done
    controller.set_knob("attack.tau", 0.5)
    qtbot.waitUntil(lambda: bool(factory.last.commands()))
    log = factory.last.log
    assert log.index(SetKnob("attack.tau", 0.5)) - log.index(before) <= 3


def test_refused_command_is_said_and_the_run_goes_on(
    controller: Controller, factory: FakeFactory, qtbot: QtBot
) -> None:
    started(controller, qtbot)
    controller.play()
    with qtbot.waitSignal(controller.config_changed), qtbot.waitSignal(controller.error) as met:
        controller.set_knob("world.d", 100)
    assert "world.d" in met.args[0]
    steps = factory.last.steps_done
    qtbot.waitUntil(lambda: factory.last.steps_done > steps + 5)


def test_a_step_that_fails_ends_training_but_not_the_run(
    controller: Controller, factory: FakeFactory, qtbot: QtBot
) -> None:
    started(controller, qtbot)
    factory.last.fail_at = 5
    with qtbot.waitSignal(controller.error) as met:
        controller.play()
    text, details = met.args
    assert "out of luck" in text
    assert "step 5" in text
    assert "Traceback" in details
    qtbot.waitUntil(lambda: not controller.playing)
    answers: list[Answer] = []
    controller.save_checkpoint(answers.append)
    qtbot.waitUntil(lambda: bool(answers))
    assert (answers[0].error, answers[0].step, answers[0].folder) == ("", 5, factory.last.folder)
    failed = factory.last
    started(controller, qtbot)
    assert failed.closed == 1
    controller.step_once()
    qtbot.waitUntil(lambda: factory.last.steps_done == 1)


@pytest.mark.parametrize("what", ["fail_measure", "fail_results"])
def test_a_measurement_that_fails_is_said_once_and_the_run_goes_on(
    controller: Controller, factory: FakeFactory, qtbot: QtBot, what: str
) -> None:
    view = NeuronsFake()
    qtbot.addWidget(view)
    view.show()
    controller.set_views([view])
    said: list[tuple[str, str]] = []
    controller.error.connect(lambda text, details: said.append((text, details)))
    started(controller, qtbot)
    setattr(factory.last, what, True)
    factory.last.to_measure = 3
    controller.evaluate_now()
    qtbot.waitUntil(lambda: bool(said))
    qtbot.wait(60)
    assert factory.last.log.count("measure") < 10  # a measurement that fails is not tried over and over
    controller.play()
    qtbot.waitUntil(lambda: bool(view.seen) and view.seen[-1].step > 20)
    assert len(said) == 1
    assert "no room" in said[0][0]
    assert "goes on" in said[0][0]
    assert "Traceback" in said[0][1]
    assert factory.last.closed == 0
    view.hide()


def test_each_problem_of_a_run_is_said_once(controller: Controller, factory: FakeFactory, qtbot: QtBot) -> None:
    said: list[tuple[str, str]] = []
    controller.error.connect(lambda text, details: said.append((text, details)))
    one, other = Problem("Features", "no memory", 1, "Traceback 1"), Problem("report", "no memory", 2, "Traceback 2")
    started(controller, qtbot)
    controller.play()
    qtbot.waitUntil(lambda: controller.last is not None and controller.last.step > 3)
    factory.last.problems = (one,)
    qtbot.waitUntil(lambda: len(said) == 1)
    factory.last.problems = (replace(one, step=5), other)
    qtbot.waitUntil(lambda: len(said) == 2)
    step = controller.last.step if controller.last is not None else 0
    qtbot.waitUntil(lambda: controller.last is not None and controller.last.step > step + 5)
    assert [details for _, details in said] == ["Traceback 1", "Traceback 2"]
    assert "Features: no memory" in said[0][0]
    assert controller.playing
    started(controller, qtbot)  # another run may have the same
    factory.last.problems = (one,)
    controller.step_once()
    qtbot.waitUntil(lambda: len(said) == 3)


def test_schedule_end_pauses_and_play_goes_on(controller: Controller, factory: FakeFactory, qtbot: QtBot) -> None:
    config = with_value(with_value(SparseCodingConfig(), "schedule.clean_steps", 3), "schedule.second_steps", 3)
    started(controller, qtbot, config)
    with qtbot.waitSignal(controller.notice) as met:
        controller.play()
    assert "6 steps" in met.args[0]
    assert factory.last.steps_done == 6
    qtbot.waitUntil(lambda: not controller.playing)
    controller.play()
    qtbot.waitUntil(lambda: factory.last.steps_done > 10)


def test_measures_while_paused_until_done(controller: Controller, factory: FakeFactory, qtbot: QtBot) -> None:
    started(controller, qtbot)
    factory.last.to_measure = 30
    controller.evaluate_now()
    qtbot.waitUntil(lambda: factory.last.to_measure == 0)
    assert factory.last.steps_done == 0


def test_step_once_pauses_and_shows_the_step(controller: Controller, factory: FakeFactory, qtbot: QtBot) -> None:
    started(controller, qtbot)
    qtbot.waitUntil(lambda: controller.last is not None)
    controller.step_once()
    qtbot.waitUntil(lambda: controller.last is not None and controller.last.step == 1)
    assert not controller.playing


# --- snapshots


def test_snapshot_only_when_the_last_was_taken(controller: Controller, factory: FakeFactory, qtbot: QtBot) -> None:
    started(controller, qtbot)
    controller.play()
    qtbot.waitUntil(lambda: factory.last.steps_done > 20)
    session = factory.last
    taken = len(session.wanted)
    steps = session.steps_done
    time.sleep(0.12)  # the window is busy elsewhere: nobody takes snapshots
    assert session.steps_done > steps + 10
    assert len(session.wanted) <= taken + 1


def test_wants_only_what_visible_views_need(controller: Controller, factory: FakeFactory, qtbot: QtBot) -> None:
    neurons, mixtures = NeuronsFake(), MixturesFake()
    for view in (neurons, mixtures):
        qtbot.addWidget(view)
    neurons.show()
    controller.set_views([neurons, mixtures])
    started(controller, qtbot)
    qtbot.waitUntil(lambda: bool(neurons.seen) and factory.last.wanted[-1] == frozenset({Weights}))
    assert not mixtures.seen
    mixtures.show()
    qtbot.waitUntil(lambda: bool(mixtures.seen) and factory.last.wanted[-1] == frozenset({Weights, Mixture}))
    neurons.hide()
    qtbot.waitUntil(lambda: factory.last.wanted[-1] == frozenset({Mixture}))
    seen = len(neurons.seen)
    controller.step_once()
    qtbot.waitUntil(lambda: mixtures.seen[-1].step == 1)
    assert len(neurons.seen) == seen
    mixtures.hide()


def test_stale_run_is_dropped(controller: Controller, factory: FakeFactory, qtbot: QtBot) -> None:
    shown: list[str] = []
    controller.snapshot_rendered.connect(lambda s: shown.append(s.run))
    started(controller, qtbot)
    qtbot.waitUntil(lambda: bool(shown))
    old = factory.last
    stale = old.snapshot()
    started(controller, qtbot)
    shown.clear()
    controller.mailbox.put(stale)
    qtbot.wait(80)
    controller.step_once()
    qtbot.waitUntil(lambda: controller.last is not None and controller.last.step == 1)
    assert set(shown) == {factory.last.run}


def test_a_view_that_fails_is_reported_once(controller: Controller, factory: FakeFactory, qtbot: QtBot) -> None:
    class Broken(NeuronsFake):
        def render(self, snapshot: object) -> None:  # type: ignore[override]
            raise ValueError("no colours left")

    view = Broken()
    qtbot.addWidget(view)
    view.show()
    errors: list[str] = []
    controller.error.connect(lambda text, _: errors.append(text))
    controller.set_views([view])
    started(controller, qtbot)
    controller.play()
    qtbot.waitUntil(lambda: factory.last.steps_done > 60)
    assert errors == ["A view could not be drawn: ValueError: no colours left"]
    view.hide()


# --- opening and closing


def test_run_without_a_step_leaves_no_folder(controller: Controller, factory: FakeFactory, qtbot: QtBot) -> None:
    started(controller, qtbot)
    first = factory.last
    started(controller, qtbot)
    assert first.closed == 1
    assert not first.folder.exists()
    controller.step_once()
    qtbot.waitUntil(lambda: factory.last.steps_done == 1)
    second = factory.last
    with qtbot.waitSignal(controller.run_changed) as met:
        controller.reset(LONG, "test")
    assert second.folder.exists()
    assert met.args[0].left == second.folder
    third = factory.last
    controller.close()
    assert third.closed == 1
    assert not third.folder.exists()


def test_failing_device_keeps_the_present_run(controller: Controller, factory: FakeFactory, qtbot: QtBot) -> None:
    started(controller, qtbot)
    with qtbot.waitSignal(controller.run_changed), qtbot.waitSignal(controller.error) as met:
        controller.reset(with_value(LONG, "device", "cuda"), "test")
    assert "this machine has: cpu" in met.args[0]
    assert "kept" in met.args[0]
    controller.step_once()
    qtbot.waitUntil(lambda: factory.last.steps_done == 1)
    assert len(factory.made) == 1


def test_failed_open_puts_the_threads_of_the_old_run_back(
    controller: Controller, factory: FakeFactory, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    def create(config: Config, folder: Path) -> FakeSession:
        prepare_thread(config.threads)  # as a real session does, before it finds out that its data are missing
        torch.set_grad_enabled(config.threads != 3)
        return plain(config, folder)

    seen: list[tuple[int, bool]] = []

    def step(session: FakeSession) -> None:
        seen.append((torch.get_num_threads(), torch.is_grad_enabled()))
        session.steps_done += 1

    plain = factory.create
    monkeypatch.setattr(factory, "create", create)
    monkeypatch.setattr(FakeSession, "step", step)
    before = torch.get_num_threads()
    try:
        started(controller, qtbot, with_value(LONG, "threads", 2))
        bad = with_value(with_value(LONG, "device", "cuda"), "threads", 3)
        with qtbot.waitSignal(controller.run_changed):
            controller.reset(bad, "test")
        controller.step_once()
        qtbot.waitUntil(lambda: bool(seen))
        assert seen == [(2, False)]
    finally:
        controller.close()
        torch.set_num_threads(before)


def test_every_save_is_answered_with_its_own_run_and_step(
    controller: Controller, factory: FakeFactory, qtbot: QtBot
) -> None:
    answers: list[Answer] = []
    controller.save_checkpoint(answers.append)  # before any run is open
    qtbot.waitUntil(lambda: len(answers) == 1)
    assert answers[0].error
    assert answers[0].folder is None
    started(controller, qtbot)
    first = factory.last.folder
    controller.step_once()
    controller.save_checkpoint(answers.append)
    controller.reset(LONG, "other")
    controller.save_checkpoint(answers.append)
    qtbot.waitUntil(lambda: len(answers) == 3)
    assert [(a.folder, a.step) for a in answers[1:]] == [(first, 1), (factory.last.folder, 0)]
    assert first != factory.last.folder


def test_load_resumes_and_keeps_the_folder(
    controller: Controller, factory: FakeFactory, qtbot: QtBot, tmp_path: Path
) -> None:
    folder = tmp_path / "earlier"
    folder.mkdir()
    with qtbot.waitSignal(controller.run_changed) as met:
        controller.load(folder)
    assert met.args[0].resumed
    assert met.args[0].steps == 7
    controller.close()
    assert folder.exists()


@pytest.mark.parametrize("moment", ["at once", "while opening", "while playing", "while measuring"])
def test_closes_at_any_moment(moment: str, qtbot: QtBot) -> None:
    factory = FakeFactory()
    controller = Controller(factory)
    if moment == "while opening":
        factory.create_delay = 0.1
    if moment != "at once":
        controller.reset(LONG, "test")
    if moment == "while opening":
        qtbot.wait(20)
    if moment in ("while playing", "while measuring"):
        qtbot.waitUntil(lambda: bool(factory.made))
        factory.last.to_measure = 10_000
        controller.evaluate_now()
    if moment == "while playing":
        controller.play()
        qtbot.waitUntil(lambda: factory.last.steps_done > 3)
    controller.close()
    controller.close()
    controller.play()
    qtbot.wait(30)
    assert all(s.closed == 1 for s in factory.made)


def test_heartbeat_and_stats(controller: Controller, factory: FakeFactory, qtbot: QtBot) -> None:
    started(controller, qtbot)
    controller.play()
    qtbot.waitUntil(lambda: controller.stats().steps_per_second > 0 and len(controller.lateness) > 3)
    assert 0 <= controller.stats().display_share < 1
