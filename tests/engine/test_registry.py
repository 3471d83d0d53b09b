from __future__ import annotations

import pytest

from engine.attacks.fgm import Fgm
from engine.attacks.threat import threats
from engine.config.objectives import objectives
from engine.core.errors import ConfigError
from engine.core.registry import Registry
from engine.data.dictionaries import dictionaries


def test_register_returns_its_object_and_keeps_the_order() -> None:
    registry: Registry[type] = Registry("attack")
    assert registry.register("second")(Fgm) is Fgm
    registry.register("first")(int)
    assert list(registry) == ["second", "first"]
    assert registry["second"] is Fgm
    assert "first" in registry
    assert "third" not in registry


def test_a_duplicate_is_a_programming_error() -> None:
    registry: Registry[int] = Registry("attack")
    registry.register("fgm")(1)
    with pytest.raises(ValueError, match="'fgm' is registered twice"):
        registry.register("fgm")(2)
    assert registry["fgm"] == 1


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"attack\.norm: got 'l3'; allowed: l2, linf"):
        threats["l3"]


def test_what_is_registered_is_what_the_config_offers() -> None:
    from engine.config.experiment import knobs

    choices = {knob.path: knob.choices for knob in knobs()}
    assert set(dictionaries) == set(choices["world.dictionary"])
    assert set(threats) == set(choices["attack.norm"])
    assert set(objectives) == set(choices["schedule.second"])
