"""A run's recipe: everything needed to train its weights again, and the replay that does so.

A recipe is a JSON object: the config as started, every change with its step, the versions and hardware used, and hashes
of the data and of the weights reached. On the same device, versions and thread count a replay is bit-identical.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.config.experiment import to_dict
from engine.core.errors import ConfigError
from engine.run.store import Checkpoint, Store
from engine.run.timeline import events_of

FORMAT = 1
RECIPE, REPRODUCE, WEIGHT = "recipe.json", "reproduce.py", "weight.npz"
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
        "git": git_commit(),
        "hashes": {
            "data": data_hash(checkpoint),
            "weight": digest(*weights(arrays).values()),
        },
    }


def read(path: Path) -> dict[str, Any]:
    """Read a recipe. Raises :class:`ConfigError` if the file is missing or is none."""
    try:
        recipe = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"recipe: {path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise ConfigError(f"recipe: {path} is not JSON: {error}") from None
    if not isinstance(recipe, dict) or recipe.get("format") != FORMAT:
        raise ConfigError(f"recipe: {path} is no recipe of format {FORMAT}")
    missing = {"step", "config", "events", "hardware", "versions", "hashes"} - recipe.keys()
    if missing:
        raise ConfigError(f"recipe: {path} lacks {', '.join(sorted(missing))}")
    return recipe


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
    summary: dict[str, Any] = {}
    with suppress(OSError, ValueError):
        summary = json.loads((store.folder / "summary.json").read_text(encoding="utf-8"))
    config = store.config
    device = checkpoint.state.get("device") or summary.get("device")
    threads = checkpoint.state.get("threads") or summary.get("threads")
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
    return _SCRIPT


_SCRIPT = '''\
"""Train the exported run again from recipe.json beside this file, and compare the weights.

Needs the package "feature-purification-explorer" (versions and commit: see recipe.json).
Usage: python reproduce.py FOLDER [--device cpu|cuda|mps]
The exit code is 0 if the weights are bit-identical, else 1 (the largest difference is printed).
"""

import sys

if not sys.flags.safe_path:  # what lies beside this file must not be taken for a module of the same name
    sys.path.append(sys.path.pop(0))

import argparse
from pathlib import Path

from engine.core import streams
from engine.core.errors import ExplorerError
from engine.studies.replay import replay

streams.prepare()
parser = argparse.ArgumentParser(description="Replay recipe.json and compare the weights.")
parser.add_argument("folder", type=Path, help="new folder for the run")
parser.add_argument("--device", default=None, help="device to use in place of the recorded one")
arguments = parser.parse_args()
try:
    result = replay(
        Path(__file__).with_name("recipe.json"),
        arguments.folder,
        device=arguments.device,
        progress=lambda share, what: print(what),
    )
except ExplorerError as error:
    sys.exit(f"error: {error}")
print(result.text())
print(f"draw its figures: python -m engine export {arguments.folder} --view all --out figures")
sys.exit(0 if result.equal else 1)
'''
