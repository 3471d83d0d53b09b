"""Tiny runs on digits: a config that trains in a second."""

from __future__ import annotations

from typing import Any

from engine.config.experiment import from_dict, with_value
from engine.images.config import ImageConfig, images

TINY: dict[str, Any] = {
    "device": "cpu",
    "threads": 1,
    "world": {"name": "digits", "train_size": 300},
    "model": {"name": "alexnet", "kernel": 3, "stride": 1, "padding": 1, "width": 8},
    "training": {"batch_size": 32, "lr": 0.1, "flip": True, "crop": 1},
    "attack": {"tau": 0.3, "steps": 2, "random_start": True},
    "schedule": {"clean_steps": 20, "second_steps": 20},
    "evaluation": {"every": 10, "size": 32, "steps": 2, "report_size": 48, "report_steps": 3},
    "storage": {"checkpoint_every": 15},
}


def tiny_images(**values: object) -> ImageConfig:
    """The tiny config with some knobs changed; what others depend on first."""
    config = images(from_dict(TINY), "a test")
    first = (".name", "redraw_at")
    for name, value in sorted(values.items(), key=lambda item: not item[0].endswith(first)):
        config = with_value(config, name, value)
    return config
