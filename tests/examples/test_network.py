"""A new network is offered, checked, trained, its layers shown and exported once its file is imported."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from pytestqt.qtbot import QtBot

from engine.config.experiment import from_dict, resolve
from engine.data.images import HeldOutImages
from engine.images.config import images
from engine.images.data import describe, load
from engine.models.base import networks
from engine.models.layers import build, layer, layers, redraw
from fp_gui.form import Form
from tests.examples.conftest import IMAGES, Call, captions, example, settings

PLAIN = {"world": {"name": "digits"}, "model": {"name": "plain_conv", "filters": 4}}


@pytest.fixture(autouse=True)
def _there() -> Iterator[None]:
    yield from example("network", networks, "plain_conv")


def test_it_is_offered_with_its_knobs_and_checked(call: Call, tmp_path: Path, qtbot: QtBot) -> None:
    config = from_dict(PLAIN)
    assert resolve("model.name", config).choices == ("two_layer", "alexnet", "resnet", "torchvision", "plain_conv")
    form = Form(config)
    qtbot.addWidget(form)
    assert {path for path in form.parameters if path.startswith("model.")} == {
        "model.name", "model.filters", "model.side",
    }  # fmt: skip
    start = ("run", "digits", "--out", tmp_path / "run", "--set", "model.name=plain_conv", "--set")
    call(*start, "model.filters=0", fails="model.filters: got 0; allowed: a whole number from 1 to 256")
    call(*start, "model.width=9", fails="model.width: no knob has this name")
    call(*start, "model.side=9", fails="model.side: got 9; allowed for images of 8 pixels: at most 8")
    assert not (tmp_path / "run").exists()
    one = from_dict(PLAIN | {"training": {"batch_size": 1}})  # it has no batch norm, so one image can be trained on
    assert one.training.batch_size == 1


def test_its_layers_can_be_drawn_again() -> None:
    config = images(from_dict(PLAIN), "a test")
    data = load(config)
    network = build(config.model, describe(data), 0)
    assert [each.info.shape for each in layers(network)] == [(4, 1, 3, 3), (10, 4 * 36)]
    conv = layer(network, "conv", "a test")
    before = conv.matrix.clone()
    redraw(network, conv, config.model, describe(data), 0)
    after = conv.matrix
    assert not torch.equal(after, before)
    assert float(after.std()) == pytest.approx(float(before.std()), rel=0.5)
    assert network(HeldOutImages(data).take(5)[0]).shape == (5, 10)


@pytest.mark.usefixtures("quick")
def test_it_is_trained_verified_and_exported(call: Call, tmp_path: Path) -> None:
    run, out = tmp_path / "run", tmp_path / "figures"
    small = [each for each in IMAGES if not each.startswith("model.")]
    call("run", "digits", "--out", run, *settings("model.name=plain_conv", "model.filters=9", *small))
    assert "worst case of APGD-CE" in call("evaluate", run, "--attack", "autoattack", "--n", "16", "--radius", "0.1")
    call("claims", run, "--verify", "--n", "16")
    call("export", run, "--view", "all", "--out", out, "--format", "svg")
    assert "Digits (200 training images), network of one convolution" in captions(out)
    assert "conv" in (out / "layers" / "layers.svg").read_text(encoding="utf-8")
