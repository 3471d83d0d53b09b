"""The knobs of an experiment, whole experiments, and presets. Imports no torch."""

from engine.config.experiment import (
    Config,
    KnobInfo,
    from_dict,
    kinds,
    knobs,
    resolve,
    to_dict,
    value_of,
    with_value,
)
from engine.config.presets import load_preset, preset_names

__all__ = [
    "Config",
    "KnobInfo",
    "from_dict",
    "kinds",
    "knobs",
    "load_preset",
    "preset_names",
    "resolve",
    "to_dict",
    "value_of",
    "with_value",
]
