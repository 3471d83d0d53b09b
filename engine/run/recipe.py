"""A run's recipe: everything needed to train its weights again, and the replay that does so.

A recipe is a JSON object: the config as started, every change with its step, the versions and hardware used, and hashes
of the data and of the weights reached. On the same device, versions and thread count a replay is bit-identical.
"""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.config.experiment import Config, to_dict
from engine.core import plugins
from engine.core.errors import ConfigError, StoreError
from engine.core.reading import check_file, quoted
from engine.run.schema import FORMAT, Recipe, read_recipe, read_summary
from engine.run.store import Checkpoint, Store
from engine.run.timeline import events_of

RECIPE, REPRODUCE, WEIGHT = "recipe.json", "reproduce.py", "weight.npz"
MOST_WEIGHTS = 2**32  # bytes of the arrays in weight.npz
PACKAGES = ("feature-purification-explorer", "torch", "numpy")


def build(store: Store, checkpoint: Checkpoint) -> dict[str, Any]:
    """The recipe of the run up to ``checkpoint``, ready for JSON. Imports no torch."""
    arrays = checkpoint.arrays
    return {
        "format": FORMAT,
        "run": store.run,
        "seed": store.config.seed,
        "step": checkpoint.step,
        "phase": checkpoint.phase,
        "config": to_dict(store.config),
        "events": [{k: getattr(e, k) for k in ("step", "name", "old", "new")} for e in events_of(store, checkpoint)],
        "protocols": [
            {"from_step": s, "metric": n, "text": p.text(), **asdict(p)}
            for s, n, p in store.protocols()
            if s <= checkpoint.step
        ],
        "hardware": hardware(store, checkpoint),
        "versions": versions(),
        "plugins": plugins.all_of(store.plugins, checkpoint.plugins),
        "git": git_commit(),
        "hashes": {
            "data": data_hash(checkpoint),
            "weight": digest(*weights(arrays).values()),
        },
    }


def read(path: Path) -> tuple[Recipe, Config]:
    """Read a recipe and its config. Raises :class:`ConfigError` if there is none, :class:`StoreError` if damaged."""
    try:
        return read_recipe(Path(path))
    except FileNotFoundError:
        raise ConfigError(f"recipe: {quoted(str(path))} does not exist") from None


def read_weights(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of an exported ``weight.npz``, none if there is no such file. Raises :class:`StoreError`."""
    try:
        check_file(path)
        with zipfile.ZipFile(path) as archive:
            size = sum(each.file_size for each in archive.infolist())
        if size > MOST_WEIGHTS:
            raise StoreError(f"{path} is damaged: {size} bytes; allowed: at most {MOST_WEIGHTS}")
        with np.load(path, allow_pickle=False) as file:
            found = {name: file[name] for name in file.files}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError) as error:
        raise StoreError(f"{path} is damaged: {' '.join(str(error).split())}") from None
    for name, array in found.items():
        if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiu" or not np.isfinite(array).all():
            raise StoreError(f"{path} is damaged: {quoted(name)}: allowed: finite numbers")
    return found


def digest(*arrays: NDArray[Any]) -> str:
    """SHA-256 over types, shapes and bytes of the arrays in C order, little-endian."""
    found = hashlib.sha256()
    for array in arrays:
        plain = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
        found.update(f"{plain.dtype.str}{array.shape}".encode())
        found.update(plain.tobytes())
    return found.hexdigest()


def weights(arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """The present network's arrays by name: ``weight``, or on images all parameters and buffers."""
    if "weight" in arrays:
        return {"weight": arrays["weight"]}
    return {name.removeprefix("now."): arrays[name] for name in sorted(arrays) if name.startswith("now.")}


def data_hash(checkpoint: Checkpoint) -> str:
    """Hash of what the run is about before any training: dictionary or images, target and initial weights."""
    arrays = checkpoint.arrays
    if "dictionary" in arrays:
        return digest(arrays["dictionary"], arrays["target"], arrays["weight_init"])
    data = np.frombuffer(bytes.fromhex(checkpoint.state["data_hash"]), np.uint8)
    return digest(data, *(arrays[name] for name in sorted(arrays) if name.startswith("init.")))


def hardware(store: Store, checkpoint: Checkpoint) -> dict[str, Any]:
    """Device and number of threads the run was trained with; None where neither run nor config says."""
    state, config = checkpoint.state, store.config
    device, threads = state.get("device"), state.get("threads")
    if not device or not threads:  # checkpoints of the first version do not say
        summary = read_summary(store.folder / "summary.json")
        device, threads = device or summary.device, threads or summary.threads
    return {
        "device": device or (config.device if config.device != "auto" else None),
        "threads": threads or config.threads or None,
    }


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide the numbers; ``unknown`` if not installed."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "unknown"
    return found


GIT_PLACES = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR", "GIT_NAMESPACE")


def git_commit() -> str | None:
    """Commit of this package's source tree, ``+`` behind it if files differ from it; None outside of one."""
    root = Path(__file__).resolve().parents[1]
    if not (root / ".git").exists():  # an installed package: the tree around it is somebody else's
        return None
    try:
        commit = _git(root, "rev-parse", "HEAD")
        return commit + ("+" if _git(root, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def _git(root: Path, *arguments: str) -> str:
    command = ["git", "--no-optional-locks", "-C", str(root), *arguments]
    kept = {name: value for name, value in os.environ.items() if name not in GIT_PLACES}  # it may mean another tree
    done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True, env=kept)
    return done.stdout.strip()


def script() -> str:
    """The text of ``reproduce.py``, which replays the ``recipe.json`` beside it."""
    return script_that(
        "Train the exported run again from recipe.json beside this file, and compare the weights.",
        "engine.studies.replay:replay",
        'Path(__file__).with_name("recipe.json")',
        'print(f"draw its figures: python -m engine export {arguments.folder} --view all --out figures")',
    )


def script_that(does: str, by: str, source: str, then: str) -> str:
    """The text of a script that does what its first line says, by the function ``by`` (``module:name``).

    That is called with ``source`` (Python) and the new folder, and returns what has ``text()`` and ``equal``, as
    :class:`engine.studies.replay.Replay` has; ``then`` is the last thing said.
    """
    module, _, function = by.partition(":")
    words = {"DOES": does, "MODULE": module, "FUNCTION": function, "SOURCE": source, "THEN": then}
    text = _SCRIPT
    for name, word in words.items():
        text = text.replace(f"@{name}@", word)
    return text


_SCRIPT = '''\
"""@DOES@

Needs the package "feature-purification-explorer" (versions and commit: see recipe.json).
Usage: python reproduce.py FOLDER [--device cpu|cuda|mps] [--data FOLDER] [--plugin FILE]
The exit code is 0 if all weights are bit-identical, 1 if not (the largest difference is printed), 2 if a file is wrong.
"""

import sys

if not sys.flags.safe_path:  # what lies beside this file must not be taken for a module of the same name
    sys.path.append(sys.path.pop(0))

import argparse
from pathlib import Path

from engine.core import plugins, streams
from engine.core.errors import ExplorerError
from @MODULE@ import @FUNCTION@

streams.prepare()
parser = argparse.ArgumentParser(description="@DOES@")
parser.add_argument("folder", type=Path, help="new folder for what is trained")
parser.add_argument("--device", default=None, help="device to use in place of the recorded one")
parser.add_argument("--data", type=Path, default=None, help="folder of the images, where that is another one here")
parser.add_argument("--plugin", action="append", default=[], help="a plugin that the recipe names; may be repeated")
arguments = parser.parse_args()
try:
    plugins.load_all(arguments.plugin)
    result = @FUNCTION@(
        @SOURCE@,
        arguments.folder,
        device=arguments.device,
        data=arguments.data,
        progress=lambda share, what: print(what),
    )
except ExplorerError as error:
    sys.stderr.write(f"error: {error}\\n")
    sys.exit(2)
print(result.text())
@THEN@
sys.exit(0 if result.equal else 1)
'''
