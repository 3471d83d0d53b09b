"""A checkpoint that does not fit is refused before anything of the run is forgotten."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine import worlds
from engine.core.errors import ExplorerError
from engine.run.commands import SetKnob
from engine.run.store import Checkpoint, Store
from tests.tiny_image_runs import tiny_images
from tests.tiny_runs import advance, table, tiny_config

Damage = Callable[[Checkpoint], Any]


def contents(folder: Path) -> tuple[list[Any], list[Any], list[Any], dict[str, bytes]]:
    """Metrics, events, protocols and checkpoints as they are on disk."""
    return (
        table(folder, "SELECT * FROM metrics ORDER BY step, name"),
        table(folder, "SELECT * FROM events ORDER BY id"),
        table(folder, "SELECT * FROM protocols ORDER BY step, name"),
        {path.name: path.read_bytes() for path in (folder / "checkpoints").iterdir()},
    )


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder, configs = tmp_path_factory.mktemp("runs"), {"theory": tiny_config(), "images": tiny_images()}
    for name, config in configs.items():
        session = worlds.create(config, folder / name)
        advance(session, 33, {30: [SetKnob("attack.tau", 0.1)]})
        session.close()
    return {name: folder / name for name in configs}


def _without(name: str) -> Damage:
    return lambda checkpoint: checkpoint.arrays.pop(name)


def _cut(name: str) -> Damage:
    return lambda checkpoint: checkpoint.arrays.update({name: checkpoint.arrays[name][:-1]})


def _stateless(name: str) -> Damage:
    return lambda checkpoint: checkpoint.state.pop(name)


@pytest.mark.parametrize(
    ("world", "damage"),
    [
        ("theory", _without("weight")), ("theory", _cut("weight")), ("theory", _without("target")),
        ("theory", _without("generator.pool")), ("theory", _stateless("position")), ("theory", _stateless("pending")),
        ("images", _without("now.conv1.weight")), ("images", _cut("now.conv1.weight")),
        ("images", _cut("init.conv1.weight")), ("images", _without("generator.order")),
        ("images", _stateless("position")), ("images", _stateless("pending")),
        ("images", lambda checkpoint: checkpoint.state.update(data_hash="0")),
    ],
)  # fmt: skip
def test_what_does_not_fit_changes_nothing(
    runs: dict[str, Path], world: str, damage: Damage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The newest checkpoint cannot be read at all and the one before it does not fit: both, and all else, stay."""
    folder = tmp_path / "run"
    shutil.copytree(runs[world], folder)
    newest = max((folder / "checkpoints").iterdir())
    newest.write_bytes(b"damaged")
    before, load = contents(folder), Store.load
    assert max(step for step, *_ in before[0]) == 33

    def load_damaged(self: Store, step: int | None = None) -> Checkpoint:
        checkpoint = load(self, step)
        assert checkpoint.step < 33
        damage(checkpoint)
        return checkpoint

    with monkeypatch.context() as patched:
        patched.setattr(Store, "load", load_damaged)
        with pytest.raises(ExplorerError, match=r"does not fit this version|not those that this run began with"):
            worlds.resume(folder)
    assert contents(folder) == before
    session = worlds.resume(folder)  # and undamaged it goes on from there
    session.step()
    session.close()


def test_a_device_that_is_not_there_changes_nothing(runs: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.core.device.available", lambda: ("cpu",))
    for folder in runs.values():
        before = contents(folder)
        with pytest.raises(ExplorerError, match="cuda"):
            worlds.resume(folder, "cuda")
        assert contents(folder) == before
