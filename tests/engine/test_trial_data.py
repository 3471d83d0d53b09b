"""The trial data as somebody's own folder of images: they load as they are, and a preset trains on them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from engine import worlds
from engine.config.experiment import from_dict, to_dict
from engine.config.presets import load_preset
from engine.core import metrics
from engine.data.images import Images
from engine.images.config import ImageConfig
from engine.images.data import load
from engine.images.session import ImageSession
from tests.tiny_runs import advance, assert_same, drain, read, values
from tests.trial_data import trial_zip

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
STEPS = 6


def filters(**world: object) -> ImageConfig:
    """cifar10-filters in little: its network, augmentation and attack on 500 of these images."""
    data = to_dict(load_preset("cifar10-filters"))
    data["world"] = {"name": "image_folder", "folder": str(trial_zip()), "train_size": 500} | world
    data["schedule"] |= {"clean_steps": 3, "second_steps": 3}
    data["training"]["batch_size"] = 64
    data["evaluation"] |= {"every": 3, "size": 16, "steps": 2, "report_size": 32, "report_steps": 2}
    config = from_dict(data | {"device": "cpu", "threads": 1})
    assert isinstance(config, ImageConfig)
    return config


@pytest.fixture(scope="module")
def images() -> Images:
    return load(filters(train_size=0))


def test_they_load_as_they_are(images: Images) -> None:
    assert images.train_x.shape == (20_000, 3, 32, 32)
    assert images.test_x.shape == (5_000, 3, 32, 32)
    assert images.train_x.dtype == torch.uint8
    assert images.shape == (3, 32, 32)
    assert images.classes == CLASSES
    assert images.train_y.bincount().tolist() == [2000] * 10
    assert images.test_y.bincount().tolist() == [500] * 10
    for x in (images.train_x, images.test_x):
        assert 110 < float(x.float().mean()) < 130  # pictures, neither black nor white
        assert (int(x.min()), int(x.max())) == (0, 255)
        assert (x[:, 0] != x[:, 2]).any()
    assert images.test_y[:100].bincount(minlength=10).min() > 0  # the first n are a fair sample
    assert images.test_y[:1000].bincount(minlength=10).min() > 70
    assert str(trial_zip()) in images.source


def test_a_preset_for_cifar10_trains_on_them_and_resumes(images: Images, tmp_path: Path) -> None:
    config = filters()
    whole = worlds.create(config, tmp_path / "whole")
    assert isinstance(whole, ImageSession)
    assert whole.images.train_y.bincount().tolist() == [50] * 10
    assert torch.equal(whole.images.test_x, images.test_x)
    advance(whole, STEPS)
    drain(whole)
    whole.close()
    record = read(tmp_path / "whole")
    assert record.arrays["now.conv1.weight"].shape == (64, 3, 9, 9)
    assert all(np.isfinite(array).all() for array in record.arrays.values() if array.dtype.kind == "f")
    losses = values(record.metrics, metrics.LOSS)
    assert list(losses) == list(range(1, STEPS + 1))
    assert losses[1] == pytest.approx(np.log(10), rel=0.1)
    for name in (metrics.CLEAN, metrics.PGD):
        assert list(values(record.metrics, metrics.REPORT + name)) == [3, 6]
    assert [event[1:] for event in record.events] == [("phase", "clean", "adversarial")]

    parts = worlds.create(config, tmp_path / "parts")
    advance(parts, STEPS - 1)
    parts.close()
    resumed = worlds.resume(tmp_path / "parts")
    assert resumed.steps_done == STEPS - 1
    advance(resumed, STEPS)
    drain(resumed)
    resumed.close()
    assert_same(read(tmp_path / "parts"), record)
