"""The presets that come with the explorer, and those in a user's own TOML files."""

from __future__ import annotations

import tomllib
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


def load_preset(name: str) -> Config:
    """Read a preset by name, or a TOML file by path; a relative ``world.folder`` in it is relative to the file.

    Raises :class:`ConfigError` if there is none, if it is no TOML, or if a knob in it is wrong.
    """
    if name in preset_names():
        text = files("resources").joinpath("presets", f"{name}.toml").read_text(encoding="utf-8")
    elif name.endswith(".toml") and Path(name).is_file():
        text = Path(name).read_text(encoding="utf-8")
    else:
        raise ConfigError(f"preset: got {name!r}; allowed: {', '.join(preset_names())}, or the path of a .toml file")
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"preset {name}: not valid TOML: {error}") from None
    world = data.get("world")
    if name not in preset_names() and isinstance(world, dict) and isinstance(folder := world.get("folder"), str):
        beside = Path(folder).expanduser()  # what a file names lies where the file does, wherever one stands
        world["folder"] = str(Path(name).absolute().parent / beside) if folder else ""
    return from_dict(data, source=f"preset {name}")
