"""The presets that come with the explorer, and those in a user's own TOML files."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files
from pathlib import Path

from engine.config.experiment import Config, from_dict
from engine.config.knobs import About
from engine.core.errors import ConfigError
from engine.core.quoting import plain, quote

LARGEST = 1_000_000  # bytes of a preset; those that come with the explorer have 2 kB
DOTS = 200  # in a line: a key of thousands of parts, a.a.a.a, would take tomllib seconds to minutes


def preset_names() -> tuple[str, ...]:
    """Names of the presets that come with the explorer, in the order in which they are offered."""
    first = (
        "small", "theorem", "theorem-simple", "standard", "wide", "few-steps", "gaussian-noise", "theorem-low-rank",
        "one-step", "digits", "mnist5k", "cifar10-filters",
    )  # fmt: skip
    found = sorted(
        p.name.removesuffix(".toml")
        for p in files("resources").joinpath("presets").iterdir()
        if p.name.endswith(".toml")
    )
    return tuple(n for n in first if n in found) + tuple(n for n in found if n not in first)


@cache
def preset_abouts() -> dict[str, About]:
    """Name → what each preset that comes with the explorer asks and promises; quicker than to load them all."""
    return {name: About.model_validate(tomllib.loads(_text(name))["about"]) for name in preset_names()}


@cache
def preset_titles() -> dict[str, str]:
    """Title → name of the presets that come with the explorer."""
    return {about.title: name for name, about in preset_abouts().items()}


def outcome_picture(name: str) -> bytes | None:
    """The PNG of how a preset ended, drawn from a real run of it by ``docs/outcomes.py``; None if there is none."""
    place = files("resources").joinpath("outcomes", f"{name}.png")
    return place.read_bytes() if place.is_file() else None


def _text(name: str) -> str:
    return files("resources").joinpath("presets", f"{name}.toml").read_text(encoding="utf-8")


def load_preset(name: str) -> Config:
    """Read a preset by name, or a TOML file by path; a relative ``world.folder`` in it is relative to the file.

    Raises :class:`ConfigError` if there is none, if it cannot be read or is no TOML, or if a knob in it is wrong.
    """
    if name in preset_names():
        text = _text(name)
    elif name.endswith(".toml"):
        text = _read(name)
    else:
        raise _unknown(name)
    where = f"preset {plain(name)}"
    try:
        data = tomllib.loads(text)
    except RecursionError:
        raise ConfigError(f"{where}: not valid TOML: tables or lists are nested too deeply") from None
    except ValueError as error:  # TOMLDecodeError, and a number of thousands of digits
        raise ConfigError(f"{where}: not valid TOML: {plain(str(error))}") from None
    world = data.get("world")
    if name not in preset_names() and isinstance(world, dict) and isinstance(folder := world.get("folder"), str):
        beside = Path(folder).expanduser()  # what a file names lies where the file does, wherever one stands
        world["folder"] = str(Path(name).absolute().parent / beside) if folder else ""
    return from_dict(data, source=where)


def _unknown(name: str) -> ConfigError:
    return ConfigError(f"preset: got {quote(name)}; allowed: {', '.join(preset_names())}, or the path of a .toml file")


def _read(name: str) -> str:
    path = Path(name).expanduser() if name.startswith("~/") else Path(name)
    where = f"preset {plain(name)}"
    try:
        if not path.is_file():  # a pipe or a device would be read for ever
            raise _unknown(name)
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
        text = data.decode("utf-8-sig")
    except (OSError, RuntimeError) as error:  # RuntimeError: there is no home folder
        raise ConfigError(f"{where}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{where}: not valid TOML: it is not UTF-8") from None
    if len(data) > LARGEST:
        raise ConfigError(f"{where}: larger than {LARGEST // 10**6} MB; allowed: a preset of some kB")
    if any(line.count(".") > DOTS for line in text.splitlines()):
        raise ConfigError(f"{where}: not a preset: a line has more than {DOTS} points")
    return text
