from __future__ import annotations

import ast
import json
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

import engine
from engine.config.experiment import to_dict
from engine.core import metrics
from engine.core.errors import StoreError
from engine.core.files import write_atomically
from engine.core.measurement import Measurement
from engine.run.snapshot import Event
from engine.run.store import Store
from tests.tiny_runs import contents, table, tiny_config

ENGINE = Path(engine.__file__).parent


@pytest.fixture
def store(tmp_path: Path):  # type: ignore[no-untyped-def]
    opened = Store.create(tmp_path / "run", tiny_config())
    yield opened
    opened.close()


def save(store: Store, step: int) -> None:
    arrays, state = contents(tiny_config(), step)
    store.save(step, arrays, tiny_config(), "clean", state | {"position": step})


# --- creating and opening


def test_create_and_open(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "er" / "run"
    first = Store.create(folder, tiny_config(tau=0.3))
    first.close()
    first.close()
    again = Store.open(folder)
    assert again.run == first.run
    assert again.folder == folder
    assert again.config == tiny_config(tau=0.3)
    assert (again.names(), again.events(), again.checkpoints()) == ([], (), [])
    again.close()
    assert {p.name for p in folder.iterdir()} >= {"config.json", "run.sqlite", "checkpoints"}
    assert [p.name for p in folder.parent.iterdir()] == ["run"]  # no temporary folder beside it


def test_create_in_an_empty_folder_and_not_in_a_full_one(tmp_path: Path) -> None:
    empty, full, file = tmp_path / "empty", tmp_path / "full", tmp_path / "file"
    empty.mkdir()
    full.mkdir()
    (full / "x").touch()
    file.touch()
    Store.create(empty, tiny_config()).close()
    for path in (full, file, empty):
        with pytest.raises(StoreError, match=r"--out: .* not empty"):
            Store.create(path, tiny_config())
    assert [p.name for p in full.iterdir()] == ["x"]


def test_create_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="cannot be made"):
        Store.create(tmp_path / "file" / "run", tiny_config())


def test_create_on_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **how: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("engine.run.made_with.write_atomically", full)
    with pytest.raises(StoreError, match="No space left"):
        Store.create(tmp_path / "run", tiny_config())
    assert list(tmp_path.iterdir()) == []


def test_open_read_only_writes_nothing(finished_run: Path) -> None:
    store = Store.open(finished_run, read_only=True)
    with pytest.raises(StoreError, match="readonly"):
        store.record([(1, "loss", 0.0)])
    store.close()


def test_open_refuses_what_is_no_run(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(StoreError, match="is not a run folder"):
            Store.open(path)


@pytest.mark.parametrize(
    ("name", "content", "match"),
    [
        ("config.json", b"{", "config.json is damaged"),
        ("config.json", b"[]", "config.json is damaged"),
        ("config.json", b'{"format": 1, "run": "x"}', "config.json is damaged"),
        ("config.json", b'{"format": 99}', "format 99, written by a newer version; this one reads format 1"),
        ("config.json", b"\xff\xfe\x00", "config.json is damaged"),
        ("config.json", b'{"format": 1, "run": "x", "config": {"attack": {"tau": -1}}}', r"attack\.tau: got -1"),
        ("run.sqlite", b"not a database at all, but long enough to be looked at" * 50, r"run\.sqlite is damaged"),
        ("run.sqlite", b"", r"run\.sqlite is damaged"),
    ],
)
def test_damaged_files_are_named(tmp_path: Path, name: str, content: bytes, match: str) -> None:
    Store.create(tmp_path / "run", tiny_config()).close()
    (tmp_path / "run" / name).write_bytes(content)
    for read_only in (False, True):
        with pytest.raises(StoreError, match=match):
            Store.open(tmp_path / "run", read_only=read_only)


# --- metrics, events, protocols


def test_metrics(store: Store) -> None:
    store.record([(1, "loss", 0.5), (2, "loss", 0.25), (2, "accuracy/pgd", 1.0)])
    store.record([(2, "loss", 0.75), (3, "loss", float("nan"))])
    assert store.names() == ["accuracy/pgd", "loss"]
    series = store.series("loss")
    assert series.steps.tolist() == [1, 2, 3]
    assert series.values[:2].tolist() == [0.5, 0.75]
    assert np.isnan(series.values[2])
    assert len(store.series("none")) == 0


def test_a_failed_transaction_does_not_block_the_next(store: Store) -> None:
    with pytest.raises(sqlite3.Error):
        store.record([(1, "loss", 0.5), (None, "loss", 0.5)])  # type: ignore[list-item]
    store.record([(2, "loss", 0.25)])
    assert store.series("loss").steps.tolist() == [2]


def test_events_keep_their_order(store: Store) -> None:
    made = [Event(5, 3.0, "phase", "clean", "adversarial"), Event(5, 2.0, "attack.tau", "0.2", "0.1")]
    made.append(Event(4, 9.0, "checkpoint", "", ""))
    for event in made:
        store.event(event)
    assert store.events() == tuple(made)


def test_protocols_hold_from_their_step_on(store: Store) -> None:
    a, b = Measurement("pgd", "l2", 0.2, 10, 1, 500), Measurement("pgd", "l2", 0.1, 10, 1, 500)
    store.set_protocol(10, metrics.PGD, a)
    store.set_protocol(50, metrics.PGD, b)
    assert store.protocol(metrics.PGD, 9) is None
    assert store.protocol(metrics.PGD, 10) == a
    assert store.protocol(metrics.PGD, 49) == a
    assert store.protocol(metrics.PGD, 50) == b
    assert store.protocol(metrics.PGD, 10**9) == b
    assert store.protocol(metrics.CLEAN, 50) is None
    store.set_protocol(50, metrics.PGD, a)
    assert store.protocol(metrics.PGD, 50) == a
    assert store.protocols() == [(10, metrics.PGD, a), (50, metrics.PGD, a)]


def test_rewind_forgets_what_came_later(store: Store) -> None:
    store.record([(s, "loss", 1.0) for s in range(1, 8)])
    for step in (1, 4, 4, 6):
        store.event(Event(step, 0.0, "attack.tau", "0.2", "0.1"))
        store.set_protocol(step, metrics.PGD, Measurement("pgd", "l2", step, 1, 1, 10))
    for step in (0, 4, 6):
        save(store, step)
    store.rewind(4, 2)
    assert store.series("loss").steps.tolist() == [1, 2, 3, 4]
    assert [e.step for e in store.events()] == [1, 4]
    assert store.checkpoints() == [0, 4]
    protocol = store.protocol(metrics.PGD, 7)
    assert protocol is not None
    assert protocol.tau == 4


# --- checkpoints


def test_checkpoints(store: Store) -> None:
    for step in (100, 0, 20):
        save(store, step)
    assert store.checkpoints() == [0, 20, 100]
    assert store.load().step == 100
    old = store.load(20)
    assert (old.step, old.phase, old.state["position"], old.events) == (20, "clean", 20, 0)
    assert old.config == tiny_config()
    assert old.arrays["weight"].tolist() == [[20.0] * 16] * 24
    with pytest.raises(StoreError, match=r"checkpoint: got 7; allowed: 0, 20, 100"):
        store.load(7)
    store.delete_checkpoint(20)
    store.delete_checkpoint(20)
    assert store.checkpoints() == [0, 100]


def test_no_checkpoint_yet(store: Store) -> None:
    with pytest.raises(StoreError, match="none was written yet"):
        store.load(3)
    with pytest.raises(StoreError, match="no checkpoint that can be read"):
        store.load()


def test_a_damaged_checkpoint(store: Store) -> None:
    for step in (1, 2, 3):
        save(store, step)
    path = store.folder / "checkpoints" / "step-00000003.safetensors"
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(StoreError, match=r"step-00000003\.safetensors is damaged"):
        store.load(3)
    assert store.load().step == 2


def test_other_files_beside_the_checkpoints_do_no_harm(store: Store) -> None:
    save(store, 3)
    for name in (".step-00000004.safetensors.abc", "step-copy.safetensors", "step-00000003 (copy).safetensors", "x"):
        (store.folder / "checkpoints" / name).write_bytes(b"litter")
    assert store.checkpoints() == [3]
    assert store.load().step == 3


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "summary.json"
    write_atomically(path, b"old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("engine.core.files.os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["summary.json"]


# --- the formats of SPEC.md section 11


def test_the_run_folder_is_as_specified(finished_run: Path) -> None:
    names = {p.name for p in finished_run.iterdir()}
    assert {"config.json", "run.sqlite", "checkpoints", "summary.json"} <= names
    database = {"run.sqlite", "run.sqlite-wal", "run.sqlite-shm"}
    assert names <= {"config.json", "checkpoints", "frames", "summary.json"} | database
    config = json.loads((finished_run / "config.json").read_text())["config"]
    assert config == to_dict(tiny_config())
    assert config["seed"] == 0
    columns = {
        name: [row[1] for row in table(finished_run, f"PRAGMA table_info({name})")] for name in ("metrics", "events")
    }
    assert columns["metrics"] == ["step", "name", "value"]
    assert [c for c in columns["events"] if c != "id"] == ["step", "time", "name", "old", "new"]
    assert all(p.name.startswith("step-") and len(p.stem) == 13 for p in (finished_run / "checkpoints").iterdir())
    assert table(finished_run, "PRAGMA integrity_check") == [("ok",)]


def test_a_checkpoint_is_as_specified(finished_run: Path, finished_store: Store) -> None:
    m, d = 24, 16
    shapes = {
        "weight": (m, d), "weight_init": (m, d), "weight_clean": (m, d), "bias": (), "dictionary": (d, d),
        "target": (d,),
    }  # fmt: skip
    steps = finished_store.checkpoints()
    assert {0, 25, 40, 50, 75, 80} <= set(steps)
    for step in steps:
        with safe_open(finished_run / "checkpoints" / f"step-{step:08d}.safetensors", framework="pt") as file:
            held = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
        for name, shape in shapes.items():
            if name == "weight_clean" and step < 40:
                assert name not in held
            else:
                assert held[name] == shape, name
        assert {n for n in held if n.startswith("generator.")} == {
            f"generator.{n}" for n in ("pool", "input_noise", "rho", "attack")
        }
    first, last = finished_store.load(0).arrays, finished_store.load(80).arrays
    assert np.array_equal(first["weight"], first["weight_init"])
    assert np.array_equal(last["weight_init"], first["weight"])
    assert np.array_equal(last["weight_clean"], finished_store.load(40).arrays["weight"])
    assert float(last["bias"]) == pytest.approx(0.3)
    assert set(np.unique(last["target"])) == {-1.0, 1.0}


def test_nothing_is_pickled() -> None:
    """No module of the engine imports a pickler or loads with one."""
    for path in ENGINE.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [a.name for a in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                names = [f"{node.value.id}.{node.attr}"]
            for name in names:
                assert name.split(".")[0] not in ("pickle", "dill", "joblib", "shelve", "marshal"), path
                assert name not in ("torch.load", "torch.save"), path
            if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
                assert isinstance(node.value, ast.Constant), path
                assert node.value.value is False, path
