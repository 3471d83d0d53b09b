from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from engine import worlds
from engine.config.experiment import Config
from engine.core import metrics
from engine.core.errors import ConfigError, DeviceError, ExplorerError, StoreError
from engine.core.results import CleanMixture, LowRank, Mixture, Perturbations, Principle1, Sparsity, Weights, Winners
from engine.run.commands import Command, EvaluateNow, SaveCheckpoint, SetKnob, SwitchPhase
from engine.run.session import RING, Session
from engine.run.snapshot import Snapshot
from engine.run.store import Store
from tests.tiny_runs import Plan, advance, assert_same, drain, read, run, table, tiny_config, values

Create = Callable[..., Session]
EVERYTHING = frozenset({Weights, Mixture, CleanMixture, Principle1, Sparsity, Perturbations, Winners, LowRank})


def phases(session: Session) -> list[tuple[int, str, str]]:
    return [(e.step, e.old, e.new) for e in session.snapshot().events if e.name == "phase"]


# --- the same history, whoever watches


def test_watching_changes_nothing(tmp_path: Path) -> None:
    alone = run(tiny_config(), tmp_path / "alone")
    session = worlds.create(tiny_config(), tmp_path / "watched")
    while session.steps_done < 80:
        session.snapshot(EVERYTHING if session.steps_done % 3 else frozenset())
        if session.steps_done % 7 == 0:
            session.apply(EvaluateNow())
        if session.steps_done % 13 == 0:
            session.apply(SaveCheckpoint())
        if session.steps_done % 5 == 0:
            session.measure()
        session.step()
    drain(session)
    session.close()
    watched = read(tmp_path / "watched")
    for name in ("weight", "weight_clean", "weight_init", "dictionary", "target", "bias"):
        assert np.array_equal(alone.arrays[name], watched.arrays[name]), name
    for name in (metrics.LOSS, metrics.TRAIN_ACCURACY):
        assert values(alone.metrics, name) == values(watched.metrics, name)
        assert list(values(alone.metrics, name)) == list(range(1, 81))
    more = {(step, name): value for step, name, value in watched.metrics}
    assert all(more[step, name] == value for step, name, value in alone.metrics)
    assert len(more) > len(alone.metrics)


def test_the_same_seed_the_same_run_and_another_another(tmp_path: Path) -> None:
    first = run(tiny_config(), tmp_path / "a")
    assert_same(first, run(tiny_config(), tmp_path / "b"))
    other = run(tiny_config(seed=1), tmp_path / "c")
    assert not np.array_equal(first.arrays["weight"], other.arrays["weight"])
    assert not np.array_equal(first.arrays["weight_init"], other.arrays["weight_init"])


@pytest.mark.parametrize("dictionary", ["random", "dct", "haar", "identity"])
def test_every_dictionary_trains(tmp_path: Path, dictionary: str) -> None:
    record = run(tiny_config(dictionary=dictionary, clean_steps=6, second_steps=3), tmp_path / "run")
    assert np.isfinite(record.arrays["weight"]).all()
    assert record.step == 9


# --- phases


def test_the_schedule(new_session: Create) -> None:
    session = new_session()
    seen = []
    while not session.finished:
        session.step()
        seen.append(session.phase)
    assert session.steps_done == 80
    assert seen == ["clean"] * 39 + ["adversarial"] * 41  # the 40th step ends the clean phase
    assert phases(session) == [(40, "clean", "adversarial")]
    assert session.scheduled
    drain(session)
    reports = session.snapshot().history[metrics.REPORT + metrics.PGD]
    assert reports.steps.tolist() == [40, 80]
    assert [(r["step"], r["phase"]) for r in session.summary()["reports"]] == [(40, "clean"), (80, "adversarial")]


def test_weight_clean_is_the_weights_at_the_end_of_the_clean_phase(new_session: Create) -> None:
    session = new_session()
    advance(session, 39)
    assert session.weight_clean is None
    session.step()
    assert session.weight_clean is not None
    kept = session.model.weight.clone()
    assert torch.equal(session.weight_clean, kept)
    advance(session, 45)
    assert torch.equal(session.weight_clean, kept)
    assert not torch.equal(session.model.weight, kept)


@pytest.mark.parametrize("at", [0, 1, 17, 39, 40, 41, 79, 80, 95])
def test_switch_by_hand_in_both_directions_at_any_step(new_session: Create, at: int) -> None:
    session = new_session()
    advance(session, at)
    before = session.phase
    to = "clean" if before == "adversarial" else "adversarial"
    weight = session.model.weight.clone()
    session.apply(SwitchPhase(to))
    assert session.phase == to
    assert not session.scheduled
    assert not session.finished
    assert phases(session)[-1] == (at, before, to)
    assert torch.equal(session.model.weight, weight)
    if before == "clean":
        assert (session.weight_clean is None) == (at == 0)  # a phase without a step ends nothing
        assert at == 0 or torch.equal(session.weight_clean, weight)
    advance(session, at + 50)
    assert session.phase == to  # the schedule no longer applies
    session.apply(SwitchPhase(before))
    advance(session, at + 60)
    assert session.phase == before
    assert [p[0] for p in phases(session)][-2:] == [at, at + 50]
    assert at in session._recorder.store.checkpoints() or _written(session, at)


def _written(session: Session, step: int) -> bool:
    session.close()
    return (session.folder / "checkpoints" / f"step-{step:08d}.safetensors").is_file()


def test_noise_as_a_third_objective(new_session: Create) -> None:
    session = new_session()
    advance(session, 10)
    session.apply(SwitchPhase("gaussian_noise"))
    advance(session, 20)
    session.apply(SwitchPhase("adversarial"))
    assert phases(session) == [(10, "clean", "gaussian_noise"), (20, "gaussian_noise", "adversarial")]


def test_a_switch_to_the_present_phase_is_none(new_session: Create) -> None:
    session = new_session()
    session.step()
    session.apply(SwitchPhase("clean"))
    assert session.scheduled
    assert phases(session) == []


def test_an_unknown_phase_is_refused(new_session: Create) -> None:
    session = new_session()
    with pytest.raises(ConfigError, match=r"phase: got 'adversary'; allowed: clean, adversarial, gaussian_noise"):
        session.apply(SwitchPhase("adversary"))  # type: ignore[arg-type]
    assert session.phase == "clean"
    assert session.scheduled


def test_a_finished_run_goes_on_if_asked(new_session: Create) -> None:
    session = new_session()
    advance(session, 80)
    assert session.finished
    assert session.snapshot().finished
    session.step()
    assert session.steps_done == 81
    assert not session.finished
    assert not session.scheduled
    assert session.phase == "adversarial"


@pytest.mark.parametrize(
    ("clean", "second", "phase", "switches"),
    [
        (0, 5, "adversarial", []),
        (5, 0, "clean", []),
        (1, 1, "adversarial", [(1, "clean", "adversarial")]),
    ],
)
def test_schedules_at_the_edge(
    new_session: Create, clean: int, second: int, phase: str, switches: list[tuple[int, str, str]]
) -> None:
    session = new_session(clean_steps=clean, second_steps=second)
    while not session.finished:
        session.step()
    assert session.steps_done == clean + second
    assert session.phase == phase
    assert phases(session) == switches
    drain(session)
    assert session.snapshot().history[metrics.REPORT + metrics.PGD].steps.tolist()[-1] == clean + second


def test_a_second_phase_that_is_clean_too(new_session: Create) -> None:
    session = new_session(second="clean")
    while not session.finished:
        session.step()
    assert phases(session) == []
    assert session.weight_clean is not None
    assert torch.equal(session.weight_clean, session.model.weight)


# --- knobs


def test_a_learning_rate_of_zero_rests(new_session: Create) -> None:
    session = new_session()
    advance(session, 20)
    weight = session.model.weight.clone()
    session.apply(SetKnob("lr", 0))
    advance(session, 25)
    assert torch.equal(session.model.weight, weight)
    session.apply(SetKnob("training.lr", 1.5))
    session.step()
    assert not torch.equal(session.model.weight, weight)
    events = [(e.step, e.name, e.old, e.new) for e in session.snapshot().events]
    assert events == [(20, "training.lr", "1.5", "0.0"), (25, "training.lr", "0.0", "1.5")]


def test_the_same_value_is_no_event(new_session: Create) -> None:
    session = new_session()
    session.apply(SetKnob("attack.tau", 0.2))
    assert session.snapshot().events == ()


@pytest.mark.parametrize(
    ("command", "match"),
    [
        (SetKnob("world.d", 64), r"world\.d: takes effect with a new run only"),
        (SetKnob("seed", 1), "seed: takes effect with a new run"),
        (SetKnob("model.m", 3), "new run"),
        (SetKnob("attack.tau", -1.0), r"attack\.tau: got -1\.0; allowed: a number from 0 to 10"),
        (SetKnob("attack.tau", "a"), r"attack\.tau: got 'a'"),
        (SetKnob("attack.tau", float("nan")), r"attack\.tau"),
        (SetKnob("training.batch_size", 2.5), r"training\.batch_size"),
        (SetKnob("attack.tua", 0.1), "did you mean"),
        (SetKnob("attack.norm", "l1"), "l2, linf"),
    ],
)
def test_a_refused_command_changes_nothing(new_session: Create, command: Command, match: str) -> None:
    session, twin = new_session(), new_session()
    advance(session, 5)
    config, weight = session.config, session.model.weight.clone()
    with pytest.raises(ConfigError, match=match):
        session.apply(command)
    assert session.config is config
    assert torch.equal(session.model.weight, weight)
    assert session.snapshot().events == ()
    assert session.scheduled
    session.step()
    advance(twin, 6)
    assert torch.equal(session.model.weight, twin.model.weight)


def test_the_batch_size_is_live(new_session: Create) -> None:
    session = new_session()
    for step, size in ((3, 64), (6, 1), (9, 500), (12, 32)):
        session.apply(SetKnob("training.batch_size", size))
        advance(session, step)
    loss = session.snapshot().history[metrics.LOSS]
    assert len(loss) == 12
    assert np.isfinite(loss.values).all()
    accuracy = session.snapshot().history[metrics.TRAIN_ACCURACY].values
    assert set(accuracy[3:6]) <= {0.0, 1.0}  # batches of one
    assert (accuracy[:3] * 64 % 1 == 0).all()


@pytest.mark.parametrize(
    "knob",
    [
        ("attack.steps", 3), ("attack.restarts", 2), ("attack.random_start", True), ("attack.norm", "linf"),
        ("attack.tau", 0.05), ("world.sigma_x", 0.5), ("model.sigma_rho", 0.0), ("model.lambda", 0.01),
        ("model.b_end", 1.0), ("training.batch_size", 16),
    ],
)  # fmt: skip
def test_every_training_knob_is_heard(new_session: Create, knob: tuple[str, object]) -> None:
    plain, turned = new_session(clean_steps=20), new_session(clean_steps=20)
    for session in (plain, turned):
        advance(session, 25)
    turned.apply(SetKnob(*knob))
    assert torch.equal(plain.model.weight, turned.model.weight)
    plain.step()
    turned.step()
    assert not torch.equal(plain.model.weight, turned.model.weight)


def test_the_bias_ramp(new_session: Create) -> None:
    session = new_session()
    first = 0.01 * math.sqrt(2 * math.log(16))
    assert session.bias_at(0) == pytest.approx(first)
    assert session.bias_at(12) == pytest.approx((first + 0.3) / 2)
    assert session.bias_at(24) == session.bias_at(80) == pytest.approx(0.3)
    advance(session, 13)
    assert session.model.bias == pytest.approx(session.bias_at(12))  # what the 13th step used
    session.apply(SetKnob("b_end", 0.5))
    assert session.bias_at(40) == pytest.approx(0.5)
    snapshot = session.snapshot(frozenset({Weights}))
    weights = snapshot.get(Weights)
    assert weights is not None
    assert weights.bias == pytest.approx(session.bias_at(13))


# --- measuring


def test_the_cadence_of_evaluations(new_session: Create) -> None:
    session = new_session(every=20)
    advance(session, 45)
    session.apply(SetKnob("evaluation.every", 7))
    advance(session, 80)
    drain(session)
    assert session.snapshot().history[metrics.PGD].steps.tolist() == [0, 20, 40, 49, 56, 63, 70, 77]
    assert len(session.snapshot().history[metrics.LOSS]) == 80


def test_an_evaluation_is_spread_over_many_steps(new_session: Create) -> None:
    session = new_session(every=1000, clean_steps=1000, **{"evaluation.size": 600, "evaluation.steps": 10})
    slices = 0
    assert metrics.PGD not in session.snapshot().history
    while session.measuring:
        session.measure()
        slices += 1
    assert slices > 3 * 10  # three chunks of ten gradients each, and more
    session.apply(EvaluateNow())
    session.step()
    assert session.measuring
    advance(session, 1 + slices)
    assert not session.measuring
    assert session.snapshot().history[metrics.PGD].steps.tolist() == [0]


@pytest.mark.parametrize("steps", [3, 40])
def test_measuring_keeps_up_with_any_cadence(new_session: Create, steps: int) -> None:
    session = new_session(every=1, **{"evaluation.steps": steps})
    most = 0
    while session.steps_done < 80:
        session.step()
        most = max(most, len(session._evaluations))
    assert most < 20
    drain(session)
    assert session.snapshot().history[metrics.PGD].steps.tolist() == list(range(81))


def test_what_is_measured_is_the_state_when_it_was_asked_for(new_session: Create) -> None:
    now, later = new_session(every=1000), new_session(every=1000)
    for session in (now, later):
        drain(session)
        advance(session, 10)
        session.apply(EvaluateNow())
    drain(now)
    later.apply(SetKnob("attack.tau", 0.9))
    advance(later, 60)
    drain(later)
    a, b = now.snapshot().history, later.snapshot().history
    for name in (*metrics.ACCURACIES, metrics.ALIGNMENT, metrics.mixture("purity", "mean")):
        assert a[name].values[1] == b[name].values[1], name
        assert b[name].steps[1] == 10


def test_protocols_follow_the_knobs(new_session: Create) -> None:
    session = new_session()
    drain(session)
    first = session.snapshot().protocol(metrics.PGD)
    assert first is not None
    assert first.tau == 0.2
    session.apply(SetKnob("attack.tau", 0.05))
    session.apply(SetKnob("evaluation.size", 64))
    advance(session, 10)
    drain(session)
    protocol = session.snapshot().protocol(metrics.PGD)
    assert protocol is not None
    assert (protocol.tau, protocol.n, protocol.steps, protocol.estimate) == (0.05, 64, 3, True)
    session.close()
    store = Store.open(session.folder, read_only=True)
    before, after = store.protocol(metrics.PGD, 9), store.protocol(metrics.PGD, 10)
    store.close()
    assert before is not None
    assert after is not None
    assert (before.tau, before.n) == (0.2, 32)
    assert (after.tau, after.n) == (0.05, 64)


def test_each_report_carries_its_own_protocol(new_session: Create) -> None:
    session = new_session()
    advance(session, 40)
    drain(session)
    session.apply(SetKnob("attack.tau", 0.05))
    advance(session, 80)
    drain(session)
    reports = session.summary()["reports"]
    assert [r[metrics.PGD]["protocol"]["tau"] for r in reports] == [0.2, 0.05]


def test_robust_accuracy_at_most_clean(tmp_path: Path) -> None:
    record = run(tiny_config(), tmp_path / "run")
    clean = values(record.metrics, metrics.CLEAN)
    for name in (metrics.FGM, metrics.PGD, metrics.DENSE):
        robust = values(record.metrics, name)
        assert robust.keys() == clean.keys()
        assert all(robust[s] <= clean[s] for s in clean)


# --- snapshots


def test_a_snapshot_holds_what_was_asked_for(new_session: Create) -> None:
    session = new_session()
    advance(session, 10)
    snapshot = session.snapshot()
    assert snapshot.results == {}
    assert (snapshot.run, snapshot.step, snapshot.phase) == (session.run, 10, "clean")
    assert snapshot.get(Weights) is None
    assert len(snapshot.history[metrics.LOSS]) == 10
    early = session.snapshot(EVERYTHING)
    assert early.get(Principle1) is None  # the clean phase has not ended
    assert early.get(CleanMixture) is None
    advance(session, 50)
    full = session.snapshot(EVERYTHING)
    assert set(full.results) == EVERYTHING
    weights = full.get(Weights)
    assert weights is not None
    assert weights.now.shape == weights.start.shape == (24, 16)
    assert weights.clean is not None
    assert weights.clean.shape == (24, 16)
    assert not session.snapshot(frozenset({int})).results  # as for a kind of another world


def test_the_mixture_after_clean_training_is_that_of_its_weights_and_measured_once(new_session: Create) -> None:
    session = new_session()
    advance(session, 39)
    before_end = session.snapshot(frozenset({Weights, CleanMixture}))
    advance(session, 40)
    at_end = session.snapshot(frozenset({Mixture, CleanMixture}))
    mixture, clean = at_end.get(Mixture), at_end.get(CleanMixture)
    assert before_end.get(CleanMixture) is None
    assert mixture is not None
    assert clean is not None
    assert np.array_equal(clean.mixture.mixture, mixture.mixture)
    assert np.array_equal(clean.mixture.alive, mixture.alive)
    advance(session, 45)
    assert session.snapshot(frozenset({CleanMixture})).get(CleanMixture) is clean


def arrays_of(snapshot: Snapshot) -> dict[str, np.ndarray]:
    return {
        f"{kind.__name__}.{name}": value
        for kind, result in snapshot.results.items()
        for name in result.__dataclass_fields__  # type: ignore[attr-defined]
        if isinstance(value := getattr(result, name), np.ndarray)
    }


def test_snapshots_are_read_only_and_stay_as_they_are(new_session: Create) -> None:
    session = new_session()
    advance(session, 45)
    snapshot = session.snapshot(EVERYTHING)
    arrays = arrays_of(snapshot)
    assert len(arrays) > 15
    before = {name: array.copy() for name, array in arrays.items()}
    events, config = snapshot.events, snapshot.config
    session.apply(SetKnob("attack.tau", 0.5))
    session.apply(SwitchPhase("clean"))
    advance(session, 90)
    for name, array in arrays.items():
        assert not array.flags.writeable, name
        assert np.array_equal(array, before[name]), name
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0
    assert snapshot.events == events
    assert snapshot.config is config
    assert snapshot.step == 45
    now = session.snapshot(EVERYTHING).get(Weights)
    assert now is not None
    assert not np.array_equal(now.now, before["Weights.now"])


def test_losses_wait_on_the_device_but_none_is_lost(new_session: Create) -> None:
    session = new_session(clean_steps=RING * 2 + 10)
    advance(session, RING * 2 + 5)
    series = session.snapshot().history[metrics.LOSS]
    assert series.steps.tolist() == list(range(1, RING * 2 + 6))


# --- opening and closing


def test_close_is_idempotent_and_leaves_everything(new_session: Create) -> None:
    session = new_session()
    advance(session, 13)
    session.close()
    session.close()
    record = read(session.folder)
    assert record.step == 13
    assert list(values(record.metrics, metrics.LOSS)) == list(range(1, 14))
    assert (session.folder / "summary.json").is_file()


def test_create_refuses_before_it_makes_anything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.core.device.available", lambda: ("cpu",))
    with pytest.raises(DeviceError, match=r"device: got 'cuda'; this machine has: cpu"):
        worlds.create(tiny_config(device="cuda"), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    with pytest.raises(StoreError, match="not empty"):
        worlds.create(tiny_config(), tmp_path / "full")
    assert [p.name for p in (tmp_path / "full").iterdir()] == ["notes.txt"]


# --- divergence

WILD: dict[str, Config] = {
    "learning rate": tiny_config(lr=100, sigma_0=1.0, **{"lambda": 0.1, "schedule.clean_steps": 500}),
    "weight decay": tiny_config(lr=50, sigma_0=0.5, **{"lambda": 0.1, "schedule.clean_steps": 500}),
}


@pytest.mark.parametrize("config", WILD.values(), ids=WILD)
def test_divergence_is_an_error_and_the_last_checkpoint_is_sound(new_session: Create, config: Config) -> None:
    session = new_session(config)
    with pytest.raises(ExplorerError, match="diverged"):  # noqa: PT012 - at some step or other
        while session.steps_done < 500:
            session.step()
            session.apply(SaveCheckpoint())
    with pytest.raises(ExplorerError, match="diverged"):
        session.step()
    session.close()
    assert_all_sound(session.folder)
    again = worlds.resume(session.folder)
    assert bool(torch.isfinite(again.model.weight).all())
    assert not again.diverged
    again.close()


def test_divergence_that_nobody_watches(new_session: Create) -> None:
    """Without checkpoints in between, losses wait on the device for a while; the error still comes, and soon."""
    session = new_session(WILD["learning rate"])
    drain(session)
    with pytest.raises(ExplorerError, match=r"lower training\.lr or model\.lambda.*checkpoint at step 0 is sound"):
        advance(session, 500)
    assert session.steps_done <= 2 * RING
    session.close()
    assert_all_sound(session.folder)


def assert_all_sound(folder: Path) -> None:
    store = Store.open(folder, read_only=True)
    for step in store.checkpoints():
        for name, array in store.load(step).arrays.items():
            assert not np.issubdtype(array.dtype, np.floating) or np.isfinite(array).all(), (step, name)
    store.close()


# --- resume: as if nothing had happened

PLAN: Plan = {
    0: [SetKnob("attack.tau", 0.3)],
    5: [SetKnob("training.lr", 1.0), SetKnob("training.batch_size", 40)],
    20: [SetKnob("evaluation.every", 4)],
    33: [SwitchPhase("adversarial"), SetKnob("attack.steps", 2), SetKnob("random_start", True)],
    41: [EvaluateNow(), SetKnob("attack.norm", "linf"), SetKnob("attack.tau", 0.05)],
    50: [SwitchPhase("gaussian_noise")],
    58: [SwitchPhase("clean"), SetKnob("evaluation.size", 64)],
    66: [SaveCheckpoint(), SetKnob("model.b_end", 0.35)],
    70: [SwitchPhase("adversarial")],
}


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    folder = tmp_path_factory.mktemp("uninterrupted")
    return {
        "scheduled": run(tiny_config(), folder / "scheduled"),
        "by hand": run(tiny_config(), folder / "by hand", 90, PLAN),
    }


@pytest.mark.parametrize(
    "breaks",
    [
        [0], [1], [5], [11], [25], [33], [34], [40], [41], [43], [50], [58], [64], [66], [70], [79], [80],
        [3, 9, 27, 41, 41, 45, 52, 66, 80], list(range(30, 75, 4)),
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("kind", ["scheduled", "by hand"])
def test_a_resumed_run_is_the_uninterrupted_one(
    kind: str, breaks: list[int], uninterrupted: dict, tmp_path: Path
) -> None:
    plan, end, folder = (PLAN, 90, tmp_path / "run") if kind == "by hand" else ({}, 80, tmp_path / "run")
    session = worlds.create(tiny_config(), folder)
    given: set[int] = set()

    def command() -> None:
        if session.steps_done not in given:
            given.add(session.steps_done)
            for each in plan.get(session.steps_done, []):
                session.apply(each)

    def proceed(until: int) -> None:
        while session.steps_done < until:
            command()
            session.step()

    for step in breaks:
        proceed(step)
        command()
        session.close()
        session = worlds.resume(folder)
        assert session.steps_done == step
    proceed(end)
    drain(session)
    session.close()
    assert_same(read(folder), uninterrupted[kind])


def test_what_was_recorded_after_the_checkpoint_is_forgotten_and_made_again(tmp_path: Path) -> None:
    """A copy taken while the run goes on is what a kill leaves: later metrics, events and checkpoints."""
    import shutil

    whole = run(tiny_config(), tmp_path / "whole", 80, {20: [SetKnob("attack.tau", 0.1)]})
    folder = tmp_path / "run"
    session = worlds.create(tiny_config(), folder)
    advance(session, 80, {20: [SetKnob("attack.tau", 0.1)]})
    drain(session)
    session.close()
    for later in (80, 75, 50, 40):
        copy = tmp_path / f"until-{later}"
        shutil.copytree(folder, copy)
        for path in (copy / "checkpoints").iterdir():
            if int(path.stem.removeprefix("step-")) >= later:
                path.unlink()
        resumed = worlds.resume(copy)
        assert resumed.steps_done < later
        plan = {20: [SetKnob("attack.tau", 0.1)]} if resumed.steps_done < 20 else {}
        advance(resumed, 80, plan)
        drain(resumed)
        history = resumed.snapshot().history
        for name in history:
            assert (np.diff(history[name].steps) > 0).all(), name
        assert [r["step"] for r in resumed.summary()["reports"]] == [40, 80]
        resumed.close()
        assert_same(read(copy), whole)


def test_history_stays_in_order_when_several_measurements_were_pending(tmp_path: Path) -> None:
    """Two reports wait in a checkpoint, both are measured after it, then the process dies without closing."""
    import shutil

    folder, copy = tmp_path / "run", tmp_path / "copy"
    session = worlds.create(tiny_config(every=1000, checkpoint_every=1000), folder)
    drain(session)
    advance(session, 10, {8: [SwitchPhase("adversarial")], 9: [SwitchPhase("clean")]})
    session.apply(SaveCheckpoint())
    assert len(session._evaluations) == 2
    drain(session)
    session._recorder.flush()
    session._recorder._writer.submit(lambda: None).result()
    shutil.copytree(folder, copy)
    session.close()
    resumed = worlds.resume(copy)
    drain(resumed)
    series = resumed.snapshot().history[metrics.REPORT + metrics.PGD]
    assert series.steps.tolist() == [8, 9]
    assert [r["step"] for r in resumed.summary()["reports"]] == [8, 9]
    resumed.close()
    assert_same(read(copy), read(folder))


def test_resume_without_a_checkpoint_starts_again(tmp_path: Path, uninterrupted: dict) -> None:
    Store.create(tmp_path / "run", tiny_config()).close()
    session = worlds.resume(tmp_path / "run")
    assert session.steps_done == 0
    advance(session, 80)
    drain(session)
    session.close()
    assert_same(read(tmp_path / "run"), uninterrupted["scheduled"])


def test_resume_without_a_checkpoint_takes_the_device_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.core.device.available", lambda: ("cpu",))
    Store.create(tmp_path / "run", tiny_config(device="cuda")).close()
    session = worlds.resume(tmp_path / "run", "cpu")
    assert session.device.type == "cpu"
    session.close()


@pytest.mark.parametrize("damage", ["empty", "cut", "noise"])
def test_a_damaged_newest_checkpoint_falls_back_to_the_one_before(
    tmp_path: Path, uninterrupted: dict, damage: str
) -> None:
    folder = tmp_path / "run"
    session = worlds.create(tiny_config(), folder)
    advance(session, 60)
    session.close()
    newest = folder / "checkpoints" / "step-00000060.safetensors"
    data = newest.read_bytes()
    newest.write_bytes({"empty": b"", "cut": data[:-10], "noise": b"\xff" * len(data)}[damage])
    session = worlds.resume(folder)
    assert session.steps_done == 50
    advance(session, 80)
    drain(session)
    session.close()
    assert_same(read(folder), uninterrupted["scheduled"])


def test_resume_refuses_what_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="not a run folder"):
        worlds.resume(tmp_path)
    run(tiny_config(clean_steps=3, second_steps=0), tmp_path / "run")
    with pytest.raises(DeviceError, match="cuda"):
        worlds.resume(tmp_path / "run", "cuda")
    for path in (tmp_path / "run" / "checkpoints").iterdir():
        path.write_bytes(b"damaged")
    with pytest.raises(StoreError, match="no checkpoint that can be read"):
        worlds.resume(tmp_path / "run")


def test_on_another_device_a_run_goes_on_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The generators of another device cannot be restored; weights, step and phase are."""
    folder = tmp_path / "run"
    session = worlds.create(tiny_config(), folder)
    advance(session, 45)
    session.close()
    load = Store.load

    def elsewhere(self: Store, step: int | None = None):  # type: ignore[no-untyped-def]
        checkpoint = load(self, step)
        checkpoint.state["device"] = "cuda"
        return checkpoint

    monkeypatch.setattr(Store, "load", elsewhere)
    weights = []
    for _ in range(2):
        resumed = worlds.resume(folder)
        assert (resumed.steps_done, resumed.phase) == (45, "adversarial")
        assert torch.equal(resumed.model.weight, session.model.weight)
        resumed.step()
        weights.append(resumed.model.weight.clone())
        resumed._saved_at, resumed.diverged = resumed.steps_done, True  # leave the folder as it was
        resumed.close()
        for path in (folder / "checkpoints").glob("step-00000046*"):
            path.unlink()
    assert torch.equal(*weights)


def test_a_change_after_the_last_checkpoint_survives_close(tmp_path: Path) -> None:
    """Closing saves again when a command came after the checkpoint of the same step."""
    folder = tmp_path / "run"
    session = worlds.create(tiny_config(), folder)
    session.apply(SetKnob("attack.tau", 0.7))
    session.close()
    session = worlds.resume(folder)
    assert session.config.attack.tau == 0.7
    advance(session, 10)
    session.apply(SaveCheckpoint())
    session.apply(SetKnob("training.lr", 0.5))
    session.close()
    session = worlds.resume(folder)
    assert session.config.training.lr == 0.5
    session.close()
    names = [row[0] for row in table(folder, "SELECT name FROM events ORDER BY id")]
    assert names == ["attack.tau", "checkpoint", "training.lr"]
