"""Ways in which a run folder is damaged: name → what does it to a copy of a run.

Each is as small as it can be and leaves the rest of the folder sound, so that what is said must be about it. ``kind``
says of which file.
"""

from __future__ import annotations

import json
import os
import socket
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save

CONFIG, DATABASE, CHECKPOINT = "config.json", "run.sqlite", "checkpoints"


@dataclass(frozen=True)
class Mutation:
    """``damage(folder)`` changes the file ``kind``; ``says`` stands in the line that opening the run ends with."""

    kind: str
    damage: Callable[[Path], None]
    says: str


MUTATIONS: dict[str, Mutation] = {}


def mutation(name: str, kind: str, says: str = "") -> Callable[[Callable[[Path], None]], None]:
    def add(damage: Callable[[Path], None]) -> None:
        assert name not in MUTATIONS, name
        MUTATIONS[name] = Mutation(kind, damage, says)

    return add


def newest(folder: Path) -> Path:
    """The newest checkpoint's file."""
    return max((folder / CHECKPOINT).glob("step-*.safetensors"))


# --- whole files

CONTENTS: dict[str, bytes] = {
    "null": b"null",
    "list": b"[]",
    "text": b'"run"',
    "number": b"7",
    "empty": b"",
    "not UTF-8": b"\xff\xfe\x00{}",
    "cut": b'{"format": 1, "run": ',
    "deep lists": b"[" * 20_000 + b"]" * 20_000,
    "deeper lists than python's": b"[" * 1_000_000,
    "deep tables": b'{"a":' * 20_000 + b"1" + b"}" * 20_000,
    "5,000 digits": b'{"format": ' + b"1" * 5000 + b"}",
    "NaN": b'{"format": 1, "created": NaN}',
    "zeros": bytes(4096),
    "noise": np.random.default_rng(0).bytes(5000),
}
for _name, _content in CONTENTS.items():
    for _file in (CONFIG, DATABASE, CHECKPOINT):

        @mutation(f"{_file}: {_name}", _file, "damaged")
        def _(folder: Path, content: bytes = _content, file: str = _file) -> None:
            (newest(folder) if file == CHECKPOINT else folder / file).write_bytes(content)


def _place(folder: Path, file: str) -> Path:
    path = newest(folder) if file == CHECKPOINT else folder / file
    path.unlink()
    return path


for _file in (CONFIG, DATABASE, CHECKPOINT):

    @mutation(f"{_file}: a pipe", _file, "a pipe in place of a file")
    def _(folder: Path, file: str = _file) -> None:
        os.mkfifo(_place(folder, file))

    @mutation(f"{_file}: a folder", _file, "a folder in place of a file")
    def _(folder: Path, file: str = _file) -> None:
        _place(folder, file).mkdir()

    @mutation(f"{_file}: a socket", _file, "a socket in place of a file")
    def _(folder: Path, file: str = _file) -> None:
        path = _place(folder, file)
        before = Path.cwd()
        os.chdir(path.parent)  # the name of a socket may have but 100 characters
        try:
            with socket.socket(socket.AF_UNIX) as made:
                made.bind(path.name)
        finally:
            os.chdir(before)

    @mutation(f"{_file}: a device", _file, "a device in place of a file")
    def _(folder: Path, file: str = _file) -> None:
        _place(folder, file).symlink_to("/dev/zero")

    @mutation(f"{_file}: a link to nothing", _file, "does not exist" if _file == CHECKPOINT else "is not a run folder")
    def _(folder: Path, file: str = _file) -> None:
        _place(folder, file).symlink_to("nothing")

    @mutation(f"{_file}: a gigabyte of nothing", _file, "damaged")
    def _(folder: Path, file: str = _file) -> None:
        with _place(folder, file).open("wb") as opened:
            opened.truncate(2**30)  # sparse: it takes no room

    @mutation(f"{_file}: its second half is missing", _file, "damaged")
    def _(folder: Path, file: str = _file) -> None:
        path = newest(folder) if file == CHECKPOINT else folder / file
        os.truncate(path, path.stat().st_size // 2)


@mutation("run.sqlite: its log is a pipe", DATABASE, "a pipe in place of a file")
def _(folder: Path) -> None:
    (folder / "run.sqlite-wal").unlink(missing_ok=True)
    os.mkfifo(folder / "run.sqlite-wal")


# --- config.json

DEFAULT = object()
CONFIG_FIELDS: dict[str, tuple[tuple[str, ...], Any, str]] = {
    "newer format": (("format",), 2, "newer version"),
    "format is text": (("format",), "one", "format"),
    "format is true": (("format",), True, "format"),
    "run is a number": (("run",), 7, "run"),
    "run is empty": (("run",), "", "run"),
    "config is a list": (("config",), [], "config"),
    "config is null": (("config",), None, "config"),
    "a group is a list": (("config", "attack"), [1], "attack"),
    "a group is text": (("config", "world"), "digits", "world"),
    "world is unknown": (("config", "world", "name"), "elsewhere", "world.name: got 'elsewhere'"),
    "world is a list": (("config", "world", "name"), [], "world.name"),
    "tau below 0": (("config", "attack", "tau"), -1.0, "attack.tau: got -1.0; allowed: a number from 0 to 10"),
    "tau is text": (("config", "attack", "tau"), "0.2", "attack.tau"),
    "tau is null": (("config", "attack", "tau"), None, "attack.tau"),
    "seed of 1e30": (("config", "seed"), 10**30, "seed"),
    "seed is a fraction": (("config", "seed"), 0.5, "seed"),
    "steps of 1e9": (("config", "schedule", "clean_steps"), 10**9, "schedule.clean_steps"),
    "objective is unknown": (("config", "schedule", "second"), "wishing", "schedule.second: got 'wishing'"),
    "unknown knob": (("config", "attack", "taus"), 1, "attack.taus"),
}
for _name, (_path, _value, _says) in CONFIG_FIELDS.items():

    @mutation(f"config.json: {_name}", CONFIG, _says)
    def _(folder: Path, path: tuple[str, ...] = _path, value: Any = _value) -> None:
        record = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        at = record
        for part in path[:-1]:
            at = at[part]
        at[path[-1]] = value
        (folder / CONFIG).write_text(json.dumps(record), encoding="utf-8")


for _name in ("format", "run", "config"):

    @mutation(f"config.json: no {_name}", CONFIG, _name)
    def _(folder: Path, name: str = _name) -> None:
        record = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        del record[name]
        (folder / CONFIG).write_text(json.dumps(record), encoding="utf-8")


# --- checkpoints


def rewrite(folder: Path, change: Callable[[dict[str, str], dict[str, np.ndarray[Any, Any]]], None]) -> None:
    """Change texts and tensors of the newest checkpoint."""
    path = newest(folder)
    with safe_open(path, framework="np") as file:
        texts, arrays = dict(file.metadata()), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    change(texts, arrays)
    path.write_bytes(save(arrays, texts))


HEADER: dict[str, tuple[str, str | None, str]] = {
    "newer format": ("format", "2", "newer version"),
    "format is text": ("format", "one", "format"),
    "another run's": ("run", "0" * 32, "run"),
    "unknown phase": ("phase", "wishing", "phase"),
    "empty phase": ("phase", "", "phase"),
    "another step than its name": ("step", "3", "step: got 3; allowed: "),
    "step of 1e30": ("step", str(10**30), "step"),
    "step below 0": ("step", "-1", "step"),
    "step is text": ("step", "many", "step"),
    "step of 5,000 digits": ("step", "1" * 5000, "step"),
    "events of 1e30": ("events", str(10**30), "events"),
    "events is text": ("events", "none", "events"),
    "config is null": ("config", "null", "config"),
    "config is no JSON": ("config", "{", "config"),
    "config is deep": ("config", "[" * 20_000, "config"),
    "config of a wrong knob": ("config", '{"attack": {"tau": -1}}', "attack.tau: got -1"),
    "state is a list": ("state", "[]", "state"),
    "state is empty": ("state", "{}", "state"),
    "state is deep": ("state", '{"a":' * 20_000, "state"),
    "no step": ("step", None, "step"),
    "no phase": ("phase", None, "phase"),
    "no state": ("state", None, "state"),
}
for _name, (_field, _text, _says) in HEADER.items():

    @mutation(f"checkpoint: {_name}", CHECKPOINT, _says)
    def _(folder: Path, field: str = _field, text: str | None = _text) -> None:
        def change(texts: dict[str, str], arrays: dict[str, np.ndarray[Any, Any]]) -> None:
            texts.pop(field)
            if text is not None:
                texts[field] = text

        rewrite(folder, change)


@mutation("checkpoint: no texts", CHECKPOINT, "format")
def _(folder: Path) -> None:
    rewrite(folder, lambda texts, arrays: texts.clear())


STATE: dict[str, Any] = {
    "device": "abacus", "threads": 0, "scheduled": "yes", "position": -1, "pending": {}, "clean_step": 10**30,
}  # fmt: skip
for _name, _value in STATE.items():

    @mutation(f"checkpoint: state.{_name} is {_value!r}", CHECKPOINT, f"state.{_name}")
    def _(folder: Path, name: str = _name, value: Any = _value) -> None:
        def change(texts: dict[str, str], arrays: dict[str, np.ndarray[Any, Any]]) -> None:
            texts["state"] = json.dumps(json.loads(texts["state"]) | {name: value})

        rewrite(folder, change)


def _with_one(array: np.ndarray[Any, Any], value: float) -> np.ndarray[Any, Any]:
    changed = array.copy()
    changed.flat[0] = value
    return changed


TENSORS: dict[str, Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any] | None]] = {
    "missing": lambda array: None,
    "of another shape": lambda array: np.zeros((*array.shape, 2), array.dtype),
    "transposed": lambda array: np.zeros(array.shape[::-1] if array.ndim > 1 else (3, 5), array.dtype),
    "of another type": lambda array: array.astype(np.float64),
    "of whole numbers": lambda array: array.astype(np.int16),
    "not a number": lambda array: np.full_like(array, np.nan),
    "infinite at one place": lambda array: _with_one(array, np.inf),
}
OF_THEORY = ("weight", "weight_init", "weight_clean", "bias", "dictionary", "target")
OF_IMAGES = ("now.", "init.", "clean.", "momentum.")


NO_DAMAGE = (
    ("momentum.", "missing"),  # a phase that has just begun has none
    ("bias", "transposed"),
    ("dictionary", "transposed"),  # it is square
)


def tensor_mutations(names: tuple[str, ...]) -> dict[str, Mutation]:
    """Those of the tensors that are called so, or the first that begins so, each in every way that damages it."""
    found = {}
    for name in names:
        for how, make in TENSORS.items():
            if (name, how) in NO_DAMAGE:
                continue

            def damage(folder: Path, name: str = name, make: Any = make) -> None:
                def change(texts: dict[str, str], arrays: dict[str, np.ndarray[Any, Any]]) -> None:
                    key = (
                        name if name in arrays else min(n for n in arrays if n.startswith(name) and arrays[n].ndim > 1)
                    )
                    new = make(arrays.pop(key))
                    if new is not None:
                        arrays[key] = new

                rewrite(folder, change)

            shape = name == "now." and how in ("missing", "of another shape", "transposed")
            found[f"{name}: {how}"] = Mutation(CHECKPOINT, damage, "init." if shape else name)  # that differs from it
    return found


for _name in ("generator.attack", "generator.none"):

    @mutation(f"checkpoint: {_name} is short", CHECKPOINT, "generator")
    def _(folder: Path, name: str = _name) -> None:
        def change(texts: dict[str, str], arrays: dict[str, np.ndarray[Any, Any]]) -> None:
            key = name if name in arrays else min(n for n in arrays if n.startswith("generator."))
            arrays[key] = np.zeros(3, np.uint8)

        rewrite(folder, change)


# --- the database

SQL: dict[str, tuple[str, str]] = {
    "no metrics": ("DROP TABLE metrics", "it has no table metrics"),
    "no events": ("DROP TABLE events", "it has no table events"),
    "no protocols": ("DROP TABLE protocols", "it has no table protocols"),
    "a column is missing": ("ALTER TABLE events RENAME COLUMN old TO before", "table events has no column old"),
    "an endless view": (
        "DROP TABLE metrics; CREATE VIEW metrics AS WITH RECURSIVE n(step, name, value) AS "
        "(SELECT 1, 'loss', 1.0 UNION ALL SELECT step + 1, 'loss', 1.0 FROM n) SELECT * FROM n",
        "it has no table metrics",
    ),
    "accuracy 7": ("UPDATE metrics SET value = 7 WHERE name = 'accuracy/pgd'", "accuracy/pgd at step"),
    "accuracy below 0": ("UPDATE metrics SET value = -0.5 WHERE name = 'accuracy/clean'", "accuracy/clean"),
    "accuracy infinite": ("UPDATE metrics SET value = 9e999 WHERE name = 'accuracy/fgm'", "accuracy/fgm"),
    "accuracy none": ("UPDATE metrics SET value = NULL WHERE name = 'accuracy/pgd'", "accuracy/pgd"),
    "report's accuracy 7": ("UPDATE metrics SET value = 7 WHERE name = 'report/accuracy/pgd'", "report/accuracy/pgd"),
    "accuracy is text": ("UPDATE metrics SET value = 'high' WHERE name = 'accuracy/clean'", "accuracy/clean"),
    "accuracy is bytes": ("UPDATE metrics SET value = x'00ff' WHERE name = 'accuracy/clean'", "accuracy/clean"),
    "cosine 3": ("UPDATE metrics SET value = 3 WHERE name LIKE 'principle1/cos%'", "principle1/cos"),
    "active share 2": ("UPDATE metrics SET value = 2 WHERE name = 'sparsity/active_share'", "sparsity/active_share"),
    "loss below 0": ("UPDATE metrics SET value = -1 WHERE name = 'loss'", "loss"),
    "step below 0": ("UPDATE metrics SET step = -step - 1 WHERE name = 'accuracy/clean'", "step -"),
    "step is text": ("UPDATE metrics SET step = 'x' || step WHERE name = 'accuracy/clean'", "step x"),
    "step of 1e30": ("UPDATE metrics SET step = 1e30 WHERE name = 'accuracy/clean' AND step = 0", "step 1e+30"),
    "name is bytes": ("UPDATE metrics SET name = x'ff' WHERE name = 'loss'", "metrics"),
    "name is not UTF-8": ("UPDATE metrics SET name = CAST(x'ff' AS TEXT) WHERE name = 'loss'", "UTF-8"),
    "event's phase": ("UPDATE events SET new = 'wishing' WHERE name = 'phase'", "wishing"),
    "event's name": ("UPDATE events SET name = 'wand' WHERE name = 'phase'", "wand"),
    "event's step": ("UPDATE events SET step = 'soon'", "soon"),
    "event's time": ("UPDATE events SET time = 'noon'", "noon"),
    "event's value": ("UPDATE events SET name = 'attack.steps', old = '1', new = 'many'", "many"),
    "event's bytes": ("UPDATE events SET new = x'00'", "new"),
    "protocol is no JSON": ("UPDATE protocols SET protocol = 'garbage'", "not JSON"),
    "protocol is a list": ("UPDATE protocols SET protocol = '[]'", "protocols"),
    "protocol is null": ("UPDATE protocols SET protocol = 'null'", "protocols"),
    "protocol is bytes": ("UPDATE protocols SET protocol = x'00'", "protocols"),
    "protocol is deep": (
        "UPDATE protocols SET protocol = replace(hex(zeroblob(20000)), '0', '[')",
        "too deeply",
    ),
    "protocol's norm": ("UPDATE protocols SET protocol = json_set(protocol, '$.norm', 'l7')", "norm"),
    "protocol's n": ("UPDATE protocols SET protocol = json_set(protocol, '$.n', 0)", "n: "),
    "protocol's n is text": ("UPDATE protocols SET protocol = json_set(protocol, '$.n', 'x')", "n: "),
    "protocol's tau": ("UPDATE protocols SET protocol = json_set(protocol, '$.tau', -1)", "tau"),
    "protocol lacks tau": ("UPDATE protocols SET protocol = json_remove(protocol, '$.tau')", "tau"),
    "protocol's step": ("UPDATE protocols SET step = 'x' || step", "protocols"),
}
for _name, (_sql, _says) in SQL.items():

    @mutation(f"run.sqlite: {_name}", DATABASE, _says)
    def _(folder: Path, sql: str = _sql) -> None:
        db = sqlite3.connect(folder / DATABASE)
        try:
            before = db.total_changes
            db.executescript(sql)
            assert db.total_changes > before or not sql.startswith("UPDATE"), f"no such row: {sql}"
        finally:
            db.close()


MUTATIONS_OF_THEORY = MUTATIONS | tensor_mutations(OF_THEORY)
MUTATIONS_OF_IMAGES = {
    name: each for name, each in MUTATIONS.items() if name.startswith(("checkpoint: state", "checkpoint: generator"))
} | tensor_mutations(OF_IMAGES)
