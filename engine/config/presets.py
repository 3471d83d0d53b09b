"""The presets that come with the explorer, and those in a user's own TOML files."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files
from pathlib import Path

from engine.config.experiment import Config, from_dict
from engine.core.errors import ConfigError


def preset_names() -> tuple[str, ...]:
    """Names of the presets that come with the explorer, in the order in which they are offered."""
    first = ("small", "standard", "wide", "digits", "mnist5k", "cifar10-filters")
    found = sorted(
        p.name.removesuffix(".toml")
        for p in files("resources").joinpath("presets").iterdir()
        if p.name.endswith(".toml")
    )
    return tuple(n for n in first if n in found) + tuple(n for n in found if n not in first)


@cache
def preset_titles() -> dict[str, str]:
    """Title → name of the presets that come with the explorer; quicker than to load them all."""
    texts = {name: _text(name) for name in preset_names()}
    return {tomllib.loads(text)["about"]["title"]: name for name, text in texts.items()}


def _text(name: str) -> str:
    return files("resources").joinpath("presets", f"{name}.toml").read_text(encoding="utf-8")


def load_preset(name: str) -> Config:
    """Read a preset by name, or a TOML file by path.

    Raises :class:`ConfigError` if there is none, if it is no TOML, or if a knob in it is wrong.
    """
    if name in preset_names():
        text = _text(name)
    elif name.endswith(".toml") and Path(name).is_file():
        text = Path(name).read_text(encoding="utf-8")
    else:
        raise ConfigError(f"preset: got {name!r}; allowed: {', '.join(preset_names())}, or the path of a .toml file")
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"preset {name}: not valid TOML: {error}") from None
    return from_dict(data, source=f"preset {name}")
