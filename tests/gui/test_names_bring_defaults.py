"""A new name of a world or a network brings its group's defaults with it: one rule for command line and window."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine.cli import run as commands
from engine.cli.main import run_command_line
from engine.config.experiment import Config, kinds, value_of, with_values
from engine.config.presets import load_preset
from engine.core.errors import ConfigError

NAMES = [
    (preset, f"{group}.name", name)
    for preset in ("small", "digits", "cifar10-filters")
    for group in ("world", "model")
    for kind in kinds
    for name in kinds[kind].variants()[group]
]


def typed(preset: str, path: str, name: str, monkeypatch: pytest.MonkeyPatch) -> Config | None:
    """The config that ``run PRESET --set PATH=NAME`` would train; None if the command refuses it."""
    found: list[Config] = []

    def create(config: Config, folder: Path) -> Any:
        found.append(config)

    monkeypatch.setattr("engine.worlds.create", create)
    monkeypatch.setattr(commands, "_train", lambda session: 0)
    code = run_command_line(["run", preset, "--set", f"{path}={name}", "--out", "nowhere"])
    assert code == (0 if found else 2)
    return found[0] if found else None


@pytest.mark.parametrize(("preset", "path", "name"), NAMES, ids=lambda part: str(part))
def test_command_line_and_window_agree(preset: str, path: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        chosen = with_values(load_preset(preset), {path: name})
    except ConfigError:
        chosen = None
    assert typed(preset, path, name, monkeypatch) == chosen


def test_alexnet_on_digits_has_its_own_width(monkeypatch: pytest.MonkeyPatch) -> None:
    config = typed("digits", "model.name", "alexnet", monkeypatch)
    assert config is not None
    assert value_of(config, "model.width") == 64
    same = typed("digits", "model.name", "two_layer", monkeypatch)  # the name it has already changes nothing
    assert same == load_preset("digits")
