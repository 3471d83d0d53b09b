"""What is shown after a live change belongs to the knobs of now, and the clean network to those of its end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from engine import worlds
from engine.core.measurement import Measurement
from engine.core.results import Examples, LayersPrinciple1, RadiusCurves
from engine.core.slices import finish
from engine.data.sparse_stream import SparseCoding
from engine.models.symmetric_relu import SymmetricRelu
from engine.probes import oracle, radius
from engine.run.commands import SaveCheckpoint, SetKnob, SwitchPhase
from engine.run.live import source_of
from engine.run.session import Session
from engine.run.store import Store
from engine.theory.session import TheorySession
from engine.theory.state import clean_bias
from engine.theory.training import bias_at
from tests.tiny_image_runs import tiny_images
from tests.tiny_runs import advance, drain, tiny_config

Create = Callable[..., Session]


def curves_of(session: Session) -> RadiusCurves:
    for _ in range(20_000):
        curves = session.snapshot(frozenset({RadiusCurves})).get(RadiusCurves)
        if curves is not None and not session.measuring:
            return curves
        session.measure()
    raise AssertionError("the curves were never done")


def key(session: Session, kind: type) -> object:
    source = source_of(session.config.kind, kind)
    assert source is not None
    assert source.task is not None
    task = source.task(session)
    return None if task is None else task.key


def theory(session: Session) -> TheorySession:
    assert isinstance(session, TheorySession)
    return session


@pytest.mark.parametrize(
    ("knob", "decides"),
    [
        (("attack.tau", 0.1), True), (("attack.norm", "linf"), True), (("world.sigma_x", 0.3), True),
        (("model.b_end", 0.5), True), (("model.bias_ramp", 1.0), True),
        (("attack.steps", 3), False), (("attack.restarts", 2), False), (("training.lr", 0.1), False),
        (("evaluation.size", 64), False),
    ],
)  # fmt: skip
def test_the_radius_curves_hear_what_decides_them_and_nothing_else(
    new_session: Create, knob: tuple[str, object], decides: bool
) -> None:
    session = new_session()
    advance(session, 20)
    before = key(session, RadiusCurves)
    session.apply(SetKnob(*knob))
    assert (key(session, RadiusCurves) != before) is decides


def test_live_probes_on_images_hear_what_decides_them(new_session: Create) -> None:
    session = new_session(tiny_images())
    advance(session, 21)
    for kind, knob, decides in (
        (RadiusCurves, ("attack.tau", 0.1), True), (RadiusCurves, ("attack.steps", 3), False),
        (Examples, ("evaluation.steps", 4), True), (Examples, ("attack.restarts", 2), False),
        (LayersPrinciple1, ("evaluation.size", 40), True), (LayersPrinciple1, ("attack.tau", 0.2), False),
    ):  # fmt: skip
        before = key(session, kind)
        session.apply(SetKnob(*knob))
        assert (key(session, kind) != before) is decides, (kind, knob)


def test_curves_after_live_changes_are_those_of_the_knobs_of_now(new_session: Create) -> None:
    session = theory(new_session())
    advance(session, 45)
    drain(session)
    for _ in range(radius.POINTS):  # the oracle of the knobs before is known to the last radius
        session.step()
        curves_of(session)
    session.apply(SetKnob("world.sigma_x", 0.4))
    session.apply(SetKnob("model.b_end", 0.6))
    for _ in range(radius.POINTS):
        session.step()
        found = curves_of(session)
    x, y = session.held_out.take(radius.SIZE, 0.4)
    world = SparseCoding(session.config.world, session.world.dictionary, session.world.target)
    protocols = [Measurement("pgd", "l2", float(r), radius.STEPS, radius.RESTARTS, len(y), True) for r in found.radii]
    expected = finish(oracle.measure(world, session.config.seed, x, y, protocols, None, radius.SIZE))
    assert found.oracle is not None
    assert found.oracle.tolist() == [each.measured.accuracy for each in expected]
    assert session.weight_clean is not None
    clean = SymmetricRelu(session.weight_clean, 0.3)  # the ramp had ended at 0.3 when clean training did
    assert found.pgd_clean is not None
    assert found.pgd_clean[0] == float((clean.margin(x, y) > 0).float().mean())


def test_the_clean_network_keeps_the_bias_that_clean_training_ended_with(tmp_path: Path) -> None:
    session = theory(worlds.create(tiny_config(), tmp_path / "run"))
    advance(session, 12)  # in the middle of the ramp
    assert session.clean_bias is None
    session.apply(SwitchPhase("adversarial"))
    there = session.bias_at(12)
    assert session.clean_bias == there < 0.2
    session.apply(SetKnob("model.b_end", 0.9))
    advance(session, 20)
    assert session.bias_at(12) != there
    assert session.clean_bias == there
    before = curves_of(session)
    session.close()
    again = theory(worlds.resume(tmp_path / "run"))
    assert again.clean_bias == there
    now = curves_of(again)
    for name in ("pgd", "certified", "pgd_clean", "certified_clean"):
        assert np.array_equal(getattr(now, name), getattr(before, name)), name
    again.close()
    store = Store.open(tmp_path / "run", read_only=True)
    checkpoint = store.load()
    store.close()
    assert clean_bias(checkpoint) == there
    del checkpoint.state["clean_bias"]  # as in folders of the first version
    assert clean_bias(checkpoint) == bias_at(again.config, 12) != there


def test_figures_draw_the_clean_network_with_that_bias(tmp_path: Path) -> None:
    from engine.figures.radius import measure

    session = theory(worlds.create(tiny_config(), tmp_path / "run"))
    advance(session, 12)
    session.apply(SwitchPhase("adversarial"))
    session.apply(SetKnob("model.b_end", 3.0))  # at such a bias every output would be 0, and every answer wrong
    advance(session, 14)
    session.apply(SaveCheckpoint())
    assert session.weight_clean is not None
    assert session.clean_bias is not None
    x, y = session.held_out.take(300, session.config.world.sigma_x)
    expected = int((SymmetricRelu(session.weight_clean, session.clean_bias).margin(x, y) > 0).sum())
    session.close()
    store = Store.open(tmp_path / "run", read_only=True)
    drawn = {curve.name: curve.values for curve in measure(store.load(), np.zeros(1), 300, clean=True)}
    store.close()
    assert drawn["pgd_clean"].tolist() == [expected / 300]


def test_evaluations_of_different_noise_do_not_disturb_each_other(new_session: Create) -> None:
    """The held-out sample is drawn anew for another input noise; what is under way keeps its own."""
    session = theory(new_session())
    x, _ = session.held_out.take(64, 0.1)
    kept = x.clone()
    session.held_out.take(64, 0.5)
    assert torch.equal(x, kept)
    assert torch.equal(session.held_out.take(64, 0.1)[0], kept)
