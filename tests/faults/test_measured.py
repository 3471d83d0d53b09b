"""Numbers that the program reports, beside the same numbers found another way."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from engine.config.experiment import Config, with_value
from engine.core import metrics
from engine.core.results import RadiusCurves
from engine.core.slices import finish
from engine.data.sparse_stream import SparseCoding
from engine.images import live as image_live
from engine.images.session import ImageSession
from engine.models.symmetric_relu import SymmetricRelu
from engine.probes import certificate, oracle, radius
from engine.run.commands import SetKnob, SwitchPhase
from engine.run.live import ProbeTask
from engine.run.session import Session
from engine.theory import live as theory_live
from engine.theory.config import SparseCodingConfig
from engine.theory.evaluation import HeldOut, Request, evaluate
from engine.theory.session import TheorySession
from tests.tiny_image_runs import tiny_images
from tests.tiny_runs import tiny_config

Create = Callable[..., Session]


def theory(**values: object) -> SparseCodingConfig:
    config = tiny_config(**values)
    assert isinstance(config, SparseCodingConfig)
    return config


# --- the certificate


def evaluated(weight: torch.Tensor, bias: float, config: SparseCodingConfig, world: SparseCoding) -> dict[str, float]:
    """What one live evaluation records of these weights."""
    held_out, found = HeldOut(world, config.seed), dict[str, float]()
    request = Request(0, False, config, bias, weight, torch.zeros_like(weight), None)
    finish(evaluate(request, held_out, lambda step, name, value: found.__setitem__(name, value), lambda *how: None))
    return found


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_certified_accuracy_of_one_neuron_is_what_arithmetic_says(new_session: Create, norm: str) -> None:
    """Of one neuron y S_b(⟨w,x⟩ + ⟨w,δ⟩) is least at y⟨w,x⟩ − tau·‖w‖ in the dual norm: no attack, no bound needed."""
    config = theory(tau=0.13 if norm == "l2" else 0.04, **{"attack.norm": norm, "evaluation.size": 200})
    session = new_session(config)
    assert isinstance(session, TheorySession)
    world, bias = session.world, 0.2
    weight = (world.dictionary @ world.target).unsqueeze(0)
    found = evaluated(weight, bias, config, world)
    x, y = HeldOut(world, config.seed).take(200, config.world.sigma_x)
    length = float(np.linalg.norm(weight[0].numpy(), ord=2 if norm == "l2" else 1))
    sure = [
        float(label * (weight[0] @ row)) - config.attack.tau * length > bias for row, label in zip(x, y, strict=True)
    ]
    assert 0.1 < np.mean(sure) < 0.9
    assert found[metrics.CERTIFIED] == pytest.approx(np.mean(sure), abs=1 / 200)


def test_certified_accuracy_counts_each_sample_that_its_own_bound_certifies(new_session: Create) -> None:
    config = theory(tau=0.1, **{"evaluation.size": 60, "model.m": 24})
    session = new_session(config)
    assert isinstance(session, TheorySession)
    world, bias = session.world, 0.1
    noise = torch.randn(24, 16, generator=torch.Generator().manual_seed(1))
    weight = (world.dictionary * world.target).T.repeat(2, 1)[:24] + 0.25 * noise
    found = evaluated(weight, bias, config, world)
    x, y = HeldOut(world, config.seed).take(60, config.world.sigma_x)
    sure = 0
    for i in range(60):  # one at a time, whatever PGD said of it
        bound = certificate.lower_bounds(weight, bias, x[i : i + 1], y[i : i + 1], 0.1, "l2")
        sure += int(float(bound) > 1e-3)
    assert 0 < sure / 60 < found[metrics.PGD] < 1
    assert found[metrics.CERTIFIED] == pytest.approx(sure / 60)


# --- what is measured once belongs to what it was measured for


def curves_of(result: RadiusCurves) -> dict[str, Any]:
    return {field.name: getattr(result, field.name) for field in dataclasses.fields(result)}


def assert_equal(a: RadiusCurves, b: RadiusCurves) -> None:
    for name, value in curves_of(a).items():
        np.testing.assert_array_equal(value, getattr(b, name), err_msg=name)


CHANGES: dict[str, dict[str, Any]] = {
    "norm": {"norm": "linf"},
    "tau": {"tau": 0.05},
    "input noise": {"sigma_x": 0.4},
    "bias after clean training": {"clean_bias": 0.3},
    "step of clean training's end": {"clean_step": 9, "clean_seed": 5},
}
FIRST: dict[str, Any] = {
    "norm": "l2", "tau": 0.2, "sigma_x": 0.1, "clean_bias": 0.05, "clean_step": 5, "clean_seed": 4,
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_radius_curves_after_a_change_are_those_of_a_fresh_start(
    new_session: Create, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(oracle, "GRID", 3)
    monkeypatch.setattr(oracle, "REFINEMENTS", 0)
    monkeypatch.setattr(oracle, "FIT_STEPS", 2)
    monkeypatch.setattr(radius, "STEPS", 3)
    session = new_session(theory())
    assert isinstance(session, TheorySession)
    base = session.world

    def measured(cache: dict[Any, Any], times: int, **how: Any) -> RadiusCurves:
        how = FIRST | how
        world = SparseCoding(base.knobs.model_copy(update={"sigma_x": how["sigma_x"]}), base.dictionary, base.target)
        x, y = HeldOut(world, 0).take(40, how["sigma_x"])
        ideal = (base.dictionary * base.target).T

        def net(seed: int, bias: float) -> SymmetricRelu:
            return SymmetricRelu(ideal + 0.2 * torch.randn(16, 16, generator=torch.Generator().manual_seed(seed)), bias)

        for _ in range(times):  # the ideal network has one more radius each time
            found = finish(
                radius.radius_curves(
                    net(1, 0.1), net(how["clean_seed"], how["clean_bias"]), how["clean_step"], world, x, y,
                    how["norm"], how["tau"], 9, 0, cache,
                )
            )  # fmt: skip
        return found

    shared: dict[Any, Any] = {}
    first = measured(shared, radius.POINTS)
    after, fresh = measured(shared, radius.POINTS, **CHANGES[change]), measured({}, radius.POINTS, **CHANGES[change])
    assert_equal(after, fresh)
    assert first.pgd_clean is not None
    assert first.certified_clean is not None
    same = np.array_equal(first.pgd_clean, fresh.pgd_clean) and np.array_equal(
        first.certified_clean, fresh.certified_clean
    )
    assert not same  # else nothing was tried
    if change in ("norm", "tau", "input noise"):
        assert not np.array_equal(first.oracle, fresh.oracle)
    assert_equal(measured(shared, 1), first)  # and what was measured before is still there


@pytest.mark.parametrize("change", [{"norm": "linf"}, {"tau": 0.9}, {"clean_step": 9}])
def test_radius_curves_of_images_after_a_change_are_those_of_a_fresh_start(
    new_session: Create, change: dict[str, Any]
) -> None:
    session = new_session(tiny_images())
    assert isinstance(session, ImageSession)
    for _ in range(12):
        session.step()
    x, y = session.held_out.take(24)

    def measured(cache: dict[Any, Any], **how: Any) -> RadiusCurves:
        how = {"norm": "l2", "tau": 0.3, "clean_step": 5} | how
        now = session.classifier.copy()
        clean = now if how["clean_step"] == 5 else session.classifier_of(session.init)
        return finish(
            image_live.radius_curves(now, clean, how["clean_step"], x, y, how["norm"], how["tau"], 9, 0, cache)
        )

    shared: dict[Any, Any] = {}
    first, after, fresh = measured(shared), measured(shared, **change), measured({}, **change)
    assert_equal(after, fresh)
    assert not np.array_equal(first.pgd_clean, fresh.pgd_clean)


def key(task: ProbeTask[Any] | None) -> Any:
    assert task is not None
    return task.key


KNOBS: dict[str, tuple[object, ...]] = {"attack.norm": ("linf",), "attack.tau": (0.11,), "world.sigma_x": (0.21,)}


@pytest.mark.parametrize("knob", KNOBS)
def test_a_change_of_what_decides_makes_the_curves_old(new_session: Create, knob: str) -> None:
    session = new_session(theory())
    assert isinstance(session, TheorySession)
    before = key(theory_live.radius_curves(session))
    session.apply(SetKnob(knob, KNOBS[knob][0]))
    after = key(theory_live.radius_curves(session))
    assert before != after
    assert key(theory_live.radius_curves(session)) == after


@pytest.mark.parametrize("config", [tiny_config(), tiny_images()], ids=["theory", "images"])
def test_what_the_live_probes_keep_grows_old_with_the_step_the_phase_and_the_attack(
    new_session: Create, config: Config
) -> None:
    session = new_session(with_value(config, "evaluation.every", 1000))
    images = isinstance(session, ImageSession)
    tasks: list[Callable[[Any], ProbeTask[Any] | None]] = (
        [image_live.radius_task, image_live.examples_task] if images else [theory_live.radius_curves]
    )

    def keys() -> list[Any]:
        return [key(task(session)) for task in tasks]

    seen = [keys()]
    session.step()
    seen.append(keys())
    session.apply(SwitchPhase("adversarial"))
    session.step()
    seen.append(keys())
    for knob, value in (("attack.tau", 0.17), ("attack.norm", "linf")):
        session.apply(SetKnob(knob, value))
        seen.append(keys())
    for task in range(len(tasks)):
        assert len({each[task] for each in seen}) == len(seen)
