from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

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


def test_a_name_is_asked_for_without_an_error() -> None:
    registry: Registry[int] = Registry("attack")
    registry.register("fgm")(1)
    assert (registry.get("fgm"), registry.get("pgd")) == (1, None)
    registry.remove("fgm")
    assert list(registry) == []
    registry.register("fgm")(2)
    assert registry["fgm"] == 2


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry[int]]:
    """A registry of a package whose two files take a moment to import."""
    folder = tmp_path / "slow_numbers"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    for name, order in (("zero", 1), ("one", 0)):
        (folder / f"{name}.py").write_text(
            "import time, tests.engine.test_registry as t\ntime.sleep(0.05)\n"
            f"t.NUMBERS[0].register({name!r}, order={order})({order})\n"
        )
    monkeypatch.syspath_prepend(str(tmp_path))
    registry: Registry[int] = Registry("number", "slow_numbers")
    NUMBERS.append(registry)
    yield registry
    NUMBERS.clear()
    for name in [name for name in sys.modules if name.startswith("slow_numbers")]:
        del sys.modules[name]


NUMBERS: list[Registry[int]] = []


def test_files_of_a_package_are_found_and_a_second_thread_waits_for_all(package: Registry[int]) -> None:
    found: list[list[str]] = []
    threads = [Thread(target=lambda: found.append(list(package))) for _ in range(3)]
    for thread in threads:
        thread.start()
        time.sleep(0.02)
    for thread in threads:
        thread.join()
    assert found == [["one", "zero"]] * 3


def test_what_is_registered_is_what_the_config_offers() -> None:
    from engine.config.experiment import knobs
    from engine.data.sparse_coding import OVERCOMPLETE

    choices = {knob.path: knob.choices for knob in knobs()}
    assert {*dictionaries, OVERCOMPLETE} == set(choices["world.dictionary"])  # which takes a size
    assert set(threats) == set(choices["attack.norm"])
    assert set(objectives) == set(choices["schedule.second"])
