"""Knobs that follow a curve over steps: read, refused by name, followed, ended by hand, resumed and replayed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import worlds
from engine.config.curves import Curve
from engine.config.experiment import at_step, from_dict, resolve, to_dict, value_of, with_value, with_values
from engine.core.errors import ConfigError
from engine.figures.export import export
from engine.run.commands import SetKnob, SwitchPhase
from engine.studies.replay import replay
from engine.theory.config import sparse_coding
from engine.theory.training import bias_at
from tests.tiny_image_runs import tiny_images
from tests.tiny_runs import TINY, Plan, advance, assert_same, drain, read, run, tiny_config

LR = [[0, 2.0], [40, 2.0], [41, 0.5], [80, 0.1]]
BIAS = [[0, 0.1], [20, 0.3], [40, 0.05]]


def planned(**curves: Any) -> Any:
    return from_dict({**TINY, "schedule": {**TINY["schedule"], "knobs": curves}})


CONFIG = planned(**{"training.lr": LR, "model.bias": BIAS})


@given(
    st.lists(st.tuples(st.integers(0, 1000), st.floats(-10, 10)), min_size=1, unique_by=lambda p: p[0]),
    st.integers(-5, 1100),
)
def test_a_curve_is_piecewise_linear_and_constant_outside(points: list[tuple[int, float]], step: int) -> None:
    points.sort()
    expected = np.interp(step, [p[0] for p in points], [p[1] for p in points])
    assert Curve(tuple(points)).at(step) == pytest.approx(expected, abs=1e-9)


def test_curves_are_kept_by_files_whichever_way_they_are_written() -> None:
    assert from_dict(to_dict(CONFIG)) == CONFIG
    nested = planned(training={"lr": LR}, model={"bias": BIAS})  # unquoted names in TOML
    assert nested == CONFIG
    by_value = with_values(from_dict(TINY), {"training.lr": LR, "schedule.knobs.model.bias": BIAS})
    assert by_value == CONFIG
    assert hash(CONFIG.schedule) == hash(nested.schedule)


def test_a_number_ends_the_curve_of_its_knob_and_nothing_removes_it_alone() -> None:
    held = with_value(CONFIG, "lr", 1.25)
    assert held.schedule.curve("training.lr") is None
    assert held.schedule.curve("model.bias") == CONFIG.schedule.curve("model.bias")
    assert at_step(held, 60).training.lr == 1.25
    assert with_value(held, "schedule.knobs.model.bias", None).schedule.knobs == ()


@pytest.mark.parametrize(
    ("curves", "parts"),
    [
        ({"training.lr": []}, ("schedule.knobs.training.lr", "[[step, value], …]")),
        ({"training.lr": [[0, 1.0], [0, 2.0]]}, ("schedule.knobs.training.lr", "point 2", "rising")),
        ({"training.lr": [[30, 1.0], [20, 2.0]]}, ("schedule.knobs.training.lr", "step 20 comes after step 30")),
        ({"training.lr": [[0, 1.0], [81, 2.0]]}, ("schedule.knobs.training.lr", "got step 81", "at most 80")),
        ({"training.lr": [[0, 1e3]]}, ("schedule.knobs.training.lr", "got 1000 at step 0", "from 0 to 100")),
        ({"training.lr": [[0, True]]}, ("schedule.knobs.training.lr", "point 1")),
        ({"training.lr": [[0.5, 1.0]]}, ("schedule.knobs.training.lr", "point 1")),
        ({"training.lr": [[-1, 1.0]]}, ("schedule.knobs.training.lr", "point 1")),
        ({"training.lr": [[0, float("nan")]]}, ("schedule.knobs.training.lr", "point 1")),
        ({"training.lr": "fast"}, ("schedule.knobs.training.lr", "'fast'")),
        ({"training.batch_size": [[0, 16.5]]}, ("training.batch_size", "16.5", "a whole number")),
        ({"model.m": [[0, 16]]}, ("schedule.knobs.model.m", "is no live number", "training.lr")),
        ({"attack.norm": [[0, 1]]}, ("schedule.knobs.attack.norm", "is no live number")),
        ({"training.rate": [[0, 1]]}, ("schedule.knobs.training.rate", "no knob has this name", "training.lr")),
    ],
)  # fmt: skip
def test_bad_curves_are_refused_by_name(curves: dict[str, Any], parts: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError) as refused:
        planned(**curves)
    for part in parts:
        assert part in str(refused.value)
    assert "\n" not in str(refused.value)


def test_the_bias_follows_its_curve_else_the_hand_else_the_ramp() -> None:
    config = sparse_coding(CONFIG, "a test")
    assert [bias_at(config, s) for s in (0, 10, 20, 30, 60)] == pytest.approx([0.1, 0.2, 0.3, 0.175, 0.05])
    by_hand = sparse_coding(with_value(config, "model.bias", 0.22), "a test")
    assert bias_at(by_hand, 5) == bias_at(by_hand, 70) == 0.22
    ramp = sparse_coding(with_value(config, "schedule.knobs.model.bias", None), "a test")
    assert bias_at(ramp, 80) == ramp.model.b_end


def test_a_session_follows_the_curves_and_snapshots_say_where_they_are(tmp_path: Path) -> None:
    session = worlds.create(with_value(CONFIG, "model.rho_per_bias", 0.5), tmp_path / "run")
    try:
        seen = {}
        while not session.finished:
            seen[session.steps_done] = session.snapshot().config.training.lr
            session.step()
    finally:
        session.close()
    assert [seen[s] for s in (0, 39, 40, 41)] == pytest.approx([2.0, 2.0, 2.0, 0.5])
    assert seen[79] == pytest.approx(0.1 + 0.4 / 39)
    assert not [e for e in session._recorder.events if e.name != "phase"]


def test_the_noise_is_a_multiple_of_the_bias(tmp_path: Path) -> None:
    """The same numbers as with a curve of sigma_rho that is that multiple."""
    runs = []
    multiple = with_value(CONFIG, "model.rho_per_bias", 0.5)
    by_curve = with_value(CONFIG, "schedule.knobs.model.sigma_rho", [[s, b / 2] for s, b in BIAS])
    for name, config in (("multiple", multiple), ("curve", by_curve)):
        session = worlds.create(config, tmp_path / name)
        advance(session, 50)
        drain(session)
        session.close()
        runs.append(read(tmp_path / name).arrays["weight"])
    np.testing.assert_allclose(runs[0], runs[1], rtol=1e-4, atol=1e-5)


def test_a_value_set_by_hand_ends_the_curve_is_an_event_and_survives_a_resume(tmp_path: Path) -> None:
    session = worlds.create(CONFIG, tmp_path / "run")
    advance(session, 30)
    session.apply(SetKnob("training.lr", 2.0))  # the value it has: the curve ends all the same
    advance(session, 45)
    session.apply(SetKnob("schedule.knobs.training.lr", [[45, 2.0], [60, 0.2]]))
    session.close()
    session = worlds.resume(tmp_path / "run")
    advance(session, 60)
    assert session.config.training.lr == pytest.approx(0.2)
    named = [(e.step, e.name, e.new) for e in session._recorder.events if e.name != "phase"]
    assert named == [
        (30, "schedule.knobs.training.lr", "None"), (45, "schedule.knobs.training.lr", "[[45, 2.0], [60, 0.2]]"),
    ]  # fmt: skip
    session.close()


@pytest.mark.parametrize("kind", ["theory", "images"])
def test_a_planned_run_is_replayed_and_resumed_bit_for_bit(kind: str, tmp_path: Path) -> None:
    config = CONFIG if kind == "theory" else with_value(tiny_images(), "training.lr", [[0, 0.1], [20, 0.01]])
    at, end = config.schedule.total // 4, config.schedule.total
    plan = {at: [SetKnob("attack.tau", [[at, 0.1], [end, 0.3]])], end - 5: [SetKnob("training.lr", 0.05)]}
    session = worlds.create(config, tmp_path / "run")
    advance(session, end, plan)
    drain(session)
    session.close()
    broken = worlds.create(config, tmp_path / "broken")
    advance(broken, end - 3, plan)
    broken.close()
    broken = worlds.resume(tmp_path / "broken")
    advance(broken, end)
    drain(broken)
    broken.close()
    assert_same(read(tmp_path / "broken"), read(tmp_path / "run"))
    export(tmp_path / "run", ["robustness"], tmp_path / "out", formats=("png",))
    again = replay(tmp_path / "out" / "recipe.json", tmp_path / "again")
    assert again.equal, again.text()


@pytest.mark.parametrize("second", ["trades", "smoothed_adversarial"])
@pytest.mark.parametrize("kind", ["theory", "images"])
def test_an_objective_whose_weight_is_planned_and_changed_by_hand_is_replayed(
    kind: str, second: Any, tmp_path: Path
) -> None:
    config: Any = with_values(
        planned() if kind == "theory" else tiny_images(),
        {
            "evaluation.every": 100, "schedule.clean_steps": 8, "schedule.second": second, "schedule.second_steps": 16,
            "training.beta": [[0, 0.0], [10, 0.0], [14, 6.0]], "training.noise": [[8, 0.0], [20, 0.4]],
        },
    )  # fmt: skip
    other = "trades" if second == "smoothed_adversarial" else "smoothed_adversarial"
    plan: Plan = {
        12: [SetKnob("attack.tau", [[12, 0.1], [24, 0.3]])],
        15: [SetKnob("training.beta", 1.7351234567891234), SetKnob("training.noise", 0.3)],
        18: [SwitchPhase(other)],
        21: [SetKnob("training.beta", [[21, 1.0], [24, 9.0]])],
    }
    by_hand = run(config, tmp_path / "run", 24, plan)
    names = ["schedule.knobs.training.beta", "training.beta"]
    assert [name for step, name, *_ in by_hand.events if step == 15 and name in names] == names
    left_alone = run(config, tmp_path / "alone", 24, {at: done for at, done in plan.items() if at != 15})
    weight = {"theory": "weight", "images": "now.conv1.weight"}[kind]
    assert not np.array_equal(left_alone.arrays[weight], by_hand.arrays[weight])
    export(tmp_path / "run", ["robustness"], tmp_path / "out", formats=())
    again = replay(tmp_path / "out" / "recipe.json", tmp_path / "again")
    assert (again.equal, again.step) == (True, 24), again.text()
    assert read(tmp_path / "again").events == by_hand.events


def test_the_curve_of_a_knob_is_found_by_its_name() -> None:
    knob = resolve("schedule.knobs.lr", CONFIG)
    assert (knob.path, knob.kind, knob.live) == ("schedule.knobs.training.lr", "curve", True)
    assert str(value_of(CONFIG, knob.path)) == "[[0, 2.0], [40, 2.0], [41, 0.5], [80, 0.1]]"
    assert value_of(CONFIG, "schedule.knobs.attack.tau") is None
    assert "rising steps" in knob.allowed
    with pytest.raises(ConfigError, match="no knob has this name"):
        resolve("schedule.knobs.nothing", CONFIG)


def test_old_configs_have_no_curves() -> None:
    data = to_dict(tiny_config())
    del data["schedule"]["knobs"], data["model"]["bias"], data["model"]["rho_per_bias"]
    assert from_dict(data) == tiny_config()
