"""Sessions on images: the same history whoever watches, resume to the bit, local and low-rank phases, bad input."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from engine import worlds
from engine.config.experiment import IMAGES, Moment, with_value
from engine.config.presets import load_preset, preset_names
from engine.core import metrics
from engine.core.errors import ConfigError, ExplorerError
from engine.core.results import Examples, FeatureRequest, Features, Filters, LayersPrinciple1, RadiusCurves, Weights
from engine.data.images import Images
from engine.images.config import AFTER, ImageConfig, rate
from engine.images.loading import ImageNetwork
from engine.images.session import ImageSession
from engine.models.layers import layer, layers
from engine.run.commands import Command, EvaluateNow, SaveCheckpoint, SetKnob, SwitchPhase, Visualise
from engine.run.session import Session
from engine.run.store import Store
from engine.worlds import load
from tests.tiny_image_runs import tiny_images
from tests.tiny_runs import Plan, advance, assert_same, drain, read, run, values

WATCHED = frozenset({Filters, LayersPrinciple1, Examples, Features, RadiusCurves})
Create = Callable[..., Session]


def opened(session: Session) -> ImageSession:
    assert isinstance(session, ImageSession)
    return session


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The record of an uninterrupted run with a change of the radius in its middle."""
    grad = torch.is_grad_enabled()
    record = run(tiny_images(), tmp_path_factory.mktemp("whole") / "run", plan=PLAN)
    torch.set_grad_enabled(grad)
    return record


PLAN: Plan = {27: [SetKnob("attack.tau", 0.2)]}


def test_watching_changes_nothing(tmp_path: Path, whole: Any) -> None:
    session = worlds.create(tiny_images(), tmp_path / "watched")
    session.apply(Visualise(FeatureRequest("conv2", (0, 3), steps=3)))
    while session.steps_done < 40:
        session.snapshot(WATCHED)
        if session.steps_done == 27:
            session.apply(PLAN[27][0])
        if session.steps_done % 9 == 0:
            session.apply(EvaluateNow())
            session.apply(SaveCheckpoint())
        session.measure()
        session.step()
    drain(session)
    session.close()
    watched = read(tmp_path / "watched")
    for name, array in whole.arrays.items():
        if not name.startswith("pending."):  # what was still to be measured at the end may differ
            assert np.array_equal(array, watched.arrays[name]), name
    more = {(step, name): value for step, name, value in watched.metrics}
    assert all(more[step, name] == value for step, name, value in whole.metrics)


def test_a_schedule_runs_records_and_reports(whole: Any) -> None:
    assert list(values(whole.metrics, metrics.LOSS)) == list(range(1, 41))
    for name in (metrics.CLEAN, metrics.FGM, metrics.PGD):
        assert list(values(whole.metrics, metrics.REPORT + name)) == [20, 40]
        assert list(values(whole.metrics, name)) == [0, 10, 20, 30, 40]
    assert not values(whole.metrics, metrics.DENSE)
    for name in ("conv1", "conv2", "conv3", "fc1", "fc2"):
        share = values(whole.metrics, metrics.REPORT + metrics.layer(name, "share"))
        assert list(share) == [20, 40]
        assert share[20] == 1  # w′ is w there
    assert [event[1:] for event in whole.events] == [("phase", "clean", "adversarial"), ("attack.tau", "0.3", "0.2")]


@pytest.mark.parametrize("later", [40, 30, 20, 15])
def test_a_killed_run_goes_on_to_the_bit(tmp_path: Path, whole: Any, later: int) -> None:
    folder = tmp_path / "run"
    session = worlds.create(tiny_images(), folder)
    advance(session, 40, PLAN)
    drain(session)
    session.close()
    for path in (folder / "checkpoints").iterdir():
        if int(path.stem.removeprefix("step-")) >= later:
            path.unlink()
    resumed = worlds.resume(folder)
    assert resumed.steps_done < later
    plan = PLAN if resumed.steps_done <= 27 else {}
    advance(resumed, 40, plan)
    drain(resumed)
    resumed.close()
    assert_same(read(folder), whole)


@pytest.mark.parametrize(
    "knobs",
    [
        {"model.name": "two_layer", "model.width": 12},
        {"model.name": "resnet", "model.width": 4, "schedule.clean_steps": 4, "schedule.second_steps": 3},
        {"model.dropout": 0.5},
        {"training.channels_last": False},
        {"low_rank.rank": 2},
        {"low_rank.rank": 2, "low_rank.layers": "conv2, fc1"},
        {"local.layer": "conv2", "local.redraw_at": 8},
        {"schedule.second": "gaussian_noise", "training.noise": 0.5},
        {"attack.norm": "linf", "attack.tau": 0.05, "attack.steps": 1},
        {"training.lr_schedule": "cosine"},
    ],
    ids=lambda knobs: "-".join(f"{k}={v}" for k, v in knobs.items()),
)
def test_every_kind_of_run_resumes_to_the_bit(tmp_path: Path, knobs: dict[str, object]) -> None:
    config = tiny_images(**knobs)
    total = config.schedule.total
    half = config.schedule.clean_steps + config.schedule.second_steps // 2
    uninterrupted = run(config, tmp_path / "whole")
    session = worlds.create(config, tmp_path / "run")
    advance(session, half)
    session.close()
    session = worlds.resume(tmp_path / "run")
    advance(session, total)
    drain(session)
    session.close()
    again = read(tmp_path / "run")
    assert_same(again, uninterrupted)
    assert all(np.isfinite(a).all() for a in again.arrays.values() if a.dtype.kind == "f")


def test_a_low_rank_phase_changes_the_layers_by_that_rank_alone(tmp_path: Path) -> None:
    record = run(tiny_images(**{"low_rank.rank": 2, "low_rank.layers": "conv2"}), tmp_path / "run")
    for name in ("conv1", "conv2", "conv3", "fc1", "fc2"):
        change = record.arrays[f"now.{name}.weight"] - record.arrays[f"clean.{name}.weight"]
        rank = np.linalg.matrix_rank(change.reshape(len(change), -1).astype(np.float64), tol=1e-5)
        assert rank == (2 if name == "conv2" else 0), name
    assert (record.arrays["now.fc2.bias"] != record.arrays["clean.fc2.bias"]).any()  # biases are free


def test_local_training_leaves_every_other_tensor_alone(new_session: Create) -> None:
    session = opened(new_session(tiny_images(**{"local.redraw_at": 8, "local.layer": "conv2"})))
    advance(session, 8)
    before = {n: t.clone() for n, t in session.network.state_dict().items()}
    advance(session, 40)
    drain(session)
    after = session.network.state_dict()
    changed = {n for n in before if not torch.equal(before[n], after[n])}
    assert changed == {f"conv2.{p}" for p in ("weight", "bias")} | {
        f"norm2.{p}" for p in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    }
    start = session.init["conv2.weight"]
    assert not torch.equal(start, before["conv2.weight"])  # drawn again
    assert [(e.step, e.name, e.new) for e in session.snapshot().events] == [
        (8, "redraw", "conv2"), (20, "phase", "adversarial")
    ]  # fmt: skip


def test_views_are_measured_in_spare_time(new_session: Create) -> None:
    session = opened(new_session(tiny_images()))
    request = FeatureRequest("conv3", (1, 2), steps=4)
    session.apply(Visualise(request))
    advance(session, 25)
    drain(session)
    found: dict[type, object] = {}
    for _ in range(3000):
        snapshot = session.snapshot(WATCHED)
        found |= snapshot.results
        if not session.measuring and len(found) == len(WATCHED):
            break
        session.measure()
    snapshot = session.snapshot(WATCHED)
    filters = snapshot.get(Filters)
    assert filters is not None
    assert filters.now.shape == filters.start.shape == (8, 1, 3, 3)
    assert filters.clean is not None
    assert [info.name for info in filters.layers] == ["conv1", "conv2", "conv3", "fc1", "fc2"]
    assert not filters.now.flags.writeable
    examples = snapshot.get(Examples)
    assert examples is not None
    assert examples.x.shape == examples.delta.shape == (12, 1, 8, 8)
    assert (np.linalg.norm(examples.delta.reshape(12, -1), axis=1) <= 0.3 * (1 + 1e-5)).all()
    moved = examples.x + examples.delta
    assert moved.min() >= 0
    assert moved.max() <= 1
    assert np.allclose(examples.before.sum(1), 1, atol=1e-5)
    of = snapshot.get(LayersPrinciple1)
    assert of is not None
    assert set(of.of) == {info.name for info in of.layers}
    curves = snapshot.get(RadiusCurves)
    assert curves is not None
    assert curves.certified is None
    assert curves.pgd_clean is not None
    features = snapshot.get(Features)
    assert features is not None
    assert features.share == 1
    assert set(features.pictures) == {"start", "clean", "now"}
    assert session.snapshot(frozenset({Weights})).get(Weights) is None  # of another world


def test_attacks_leave_batch_norm_alone_and_training_does_not(new_session: Create) -> None:
    session = opened(new_session(tiny_images(**{"model.dropout": 0.5})))
    norm = session.network.get_submodule("norm2")
    assert isinstance(norm, nn.BatchNorm2d)
    session.apply(SwitchPhase("adversarial"))
    assert session.network.training
    advance(session, 5)
    assert int(norm.num_batches_tracked) == 5  # not one more for the two gradients of each attack
    drain(session)
    assert int(norm.num_batches_tracked) == 5
    assert session.network.training


def test_the_rate_runs_through_each_phase() -> None:
    knobs = tiny_images().training
    shares = np.linspace(0, 0.999, 200)
    rates = np.array([rate(knobs, s) for s in shares])
    assert rates[0] == 0
    assert rates.max() == pytest.approx(knobs.lr, rel=0.02)
    assert (np.diff(rates[shares < 0.3]) > 0).all()
    assert (np.diff(rates[shares > 0.31]) < 0).all()
    assert rate(knobs, 1.0) == rate(knobs, 5.0) == AFTER * knobs.lr
    cosine = with_value(tiny_images(), "training.lr_schedule", "cosine").training
    assert rate(cosine, 0.0) == cosine.lr
    assert rate(cosine, 0.5) == pytest.approx(cosine.lr / 2)


@pytest.mark.parametrize(
    ("knobs", "match"),
    [
        ({"local.layer": "conv9", "local.redraw_at": 2}, r"local\.layer: got 'conv9'; allowed: conv1, conv2"),
        ({"low_rank.layers": "conv1,x"}, r"low_rank\.layers: got 'conv1,x'; allowed: all, or some of conv1"),
        ({"model.kernel": 20}, r"model\.kernel: got 20; allowed for images of 8 pixels: at most 10"),
        ({"world.train_size": 1_000_000}, r"world\.train_size"),
        ({"world.name": "image_folder", "world.folder": "/nowhere"}, r"world\.folder"),
        ({"training.batch_size": 1}, r"training\.batch_size: got 1; allowed with the batch norm of model\.name"),
        ({"local.redraw_at": 2, "local.layer": "conv1", "low_rank.rank": 2}, r"low_rank\.rank: got 2; allowed with"),
    ],
)
def test_bad_knobs_are_named_and_leave_nothing(tmp_path: Path, knobs: dict[str, object], match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        worlds.create(tiny_images(**knobs), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_knob_that_no_longer_fits_is_refused_when_it_is_typed(new_session: Create) -> None:
    session = opened(new_session(tiny_images()))
    commands: list[Command] = [
        SetKnob("low_rank.layers", "conv7"), SetKnob("model.width", 16), Visualise(FeatureRequest("conv2", (99,))),
        Visualise(FeatureRequest("nowhere", (0,))),
    ]  # fmt: skip
    for command in commands:
        with pytest.raises(ConfigError):
            session.apply(command)
    assert session.config == tiny_images()
    session.step()


def test_clean_training_to_the_end_is_one_phase(new_session: Create) -> None:
    session = opened(new_session(tiny_images(**{"schedule.second": "clean"})))
    advance(session, 30)
    assert session.config.phase_share(Moment(30, session.phase, session.phase_start)) == pytest.approx(30 / 40)


def test_divergence_is_told_and_names_knobs_that_images_have(new_session: Create) -> None:
    wild = {"training.lr": 10.0, "training.momentum": 0.999, "training.weight_decay": 1.0}
    session = opened(
        new_session(tiny_images(**{"training.lr_schedule": "constant", "schedule.clean_steps": 400, **wild}))
    )
    with pytest.raises(ExplorerError, match=r"diverged.*lower training\.lr or training\.momentum"):
        advance(session, 400)
    assert session.diverged


def test_other_images_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    worlds.create(tiny_images(), tmp_path / "run").close()
    monkeypatch.setattr(Images, "digest", lambda self: "0" * 64)
    with pytest.raises(ConfigError, match="not those that this run began with"):
        worlds.resume(tmp_path / "run")


@pytest.mark.usefixtures("quick")
def test_a_run_folder_gives_its_network_at_every_moment(tmp_path: Path) -> None:
    record = run(tiny_images(), tmp_path / "run")
    network = load(tmp_path / "run")
    assert isinstance(network, ImageNetwork)
    x, y = network.held_out(10_000)
    assert x.shape == (395, 1, 8, 8)
    assert 0 <= float(x.min()) <= float(x.max()) <= 1
    for moment, prefix in (("start", "init."), ("clean", "clean."), ("now", "now.")):
        weight = layer(network.network(moment), "conv1", "x").module.weight  # type: ignore[arg-type]
        assert np.array_equal(weight.numpy(), record.arrays[f"{prefix}conv1.weight"])
    rows = network.accuracies(["pgd", "autoattack"], "l2", [0.2], 3, 1, 40)
    assert [row.protocol.attack.split()[0] for row in rows][:3] == ["clean", "pgd", "apgd_ce"]
    assert rows[-1].right <= rows[1].right  # the worst case is no better than PGD
    assert len(y) == 395
    with pytest.raises(ConfigError, match="--attack: got 'dense'; allowed for this run: fgm, pgd"):
        network.accuracies(["dense"], "l2", [0.2], 3, 1, 40)
    store = Store.open(tmp_path / "run", read_only=True)
    assert ImageNetwork.of(store, store.load(0)).has_clean is False
    store.close()


def test_the_default_presets_of_images_are_whole() -> None:
    configs = [config for config in map(load_preset, preset_names()) if config.kind == IMAGES]
    assert len(configs) >= 7
    for config in configs:
        assert isinstance(config, ImageConfig)
        for text in (config.about.title, config.about.question, config.about.expect, config.about.time):
            assert text
            assert not {"tbd", "to be measured"} & {text.lower()}


def test_copies_of_a_run_can_be_moved(tmp_path: Path) -> None:
    run(tiny_images(), tmp_path / "run")
    shutil.move(tmp_path / "run", tmp_path / "elsewhere")
    session = opened(worlds.resume(tmp_path / "elsewhere"))
    assert len(layers(session.network)) == 5
    session.step()
    session.close()
