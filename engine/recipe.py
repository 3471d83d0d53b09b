"""A run's recipe: everything needed to train its weights again, and the replay that does so.

A recipe is a JSON object: the config as started, every change with its step, the versions and hardware used, and hashes
of the data and of the weights reached. On the same device, versions and thread count a replay is bit-identical.
"""

from __future__ import annotations

import hashlib
import json
import platform
import subprocess
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, get_args

import numpy as np
from numpy.typing import NDArray

from engine.commands import Command, SaveCheckpoint, SetKnob, SwitchPhase
from engine.config import Config, from_dict, resolve, to_dict, with_value
from engine.errors import ConfigError
from engine.figures.base import events_of
from engine.knobs import Objective
from engine.snapshot import Event
from engine.store import Checkpoint, Store

if TYPE_CHECKING:
    from engine.session import Session

FORMAT = 1
RECIPE, REPRODUCE, WEIGHT = "recipe.json", "reproduce.py", "weight.npz"
PACKAGES = ("feature-purification-explorer", "torch", "numpy")
PROGRESS_EVERY = 50  # steps between two reports of a replay


@dataclass(frozen=True, slots=True)
class Replay:
    """What a replay gave.

    ``equal`` whether the weights have the recipe's hash; ``max_abs_difference`` of the weights to the recorded
    ones (0 if equal, None if the recipe's ``weight.npz`` is missing); ``data_equal`` whether dictionary, target and
    start have the recipe's hash; ``differences`` what differs from the versions and hardware recorded, in words.
    """

    folder: Path
    step: int
    equal: bool
    max_abs_difference: float | None
    data_equal: bool
    differences: tuple[str, ...]

    def text(self) -> str:
        """The outcome in one or two lines."""
        if self.equal:
            return f"step {self.step}: the weights are bit-identical to the recorded ones"
        size = "unknown" if self.max_abs_difference is None else f"{self.max_abs_difference:.3g}"
        why = "; ".join(self.differences) or "none known in device, threads and versions"
        data = "" if self.data_equal else " The data or the start differ as well."
        return f"step {self.step}: the weights differ, maximum absolute difference {size}.{data}\nDifferences: {why}"


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


def script() -> str:
    """The text of ``reproduce.py``, which replays the ``recipe.json`` beside it."""
    return _SCRIPT


def replay(
    recipe_path: Path,
    out_folder: Path,
    *,
    device: str | None = None,
    progress: Callable[[str], None] | None = None,
) -> Replay:
    """Train again as the recipe says, into the new run folder ``out_folder``, and compare the weights.

    ``device`` takes the place of the recipe's device, for a machine that lacks it. Raises :class:`ConfigError` for a
    file that is no recipe, :class:`StoreError` for a folder that is not empty, :class:`DeviceError` for a missing
    device.
    """
    recipe = read(recipe_path)
    used = recipe["hardware"]
    config = from_dict(recipe["config"], source=str(recipe_path))
    if (device or used["device"]) is not None:
        config = with_value(config, "device", device or used["device"])
    if used["threads"] is not None:  # else the number chosen depends on the machine, and with it the last bits
        config = with_value(config, "threads", used["threads"])
    events = [Event(e["step"], 0.0, e["name"], e["old"], e["new"]) for e in recipe["events"]]
    from engine.session import Session

    session = Session.create(config, Path(out_folder))
    try:
        _train(session, events, config, int(recipe["step"]), progress)
    finally:
        session.close()
    store = Store.open(Path(out_folder), read_only=True)
    try:
        return _compare(recipe, Path(recipe_path).parent / WEIGHT, store, store.load(int(recipe["step"])))
    finally:
        store.close()


def _train(
    session: Session, events: list[Event], config: Config, end: int, progress: Callable[[str], None] | None
) -> None:
    scheduled = scheduled_switch(events, config)
    asked = (e for e in events if e is not scheduled and e.name != "redraw")  # that happens by itself, too
    waiting = [(e.step, command_of(e, config)) for e in asked]
    while True:
        done = session.steps_done
        while waiting and waiting[0][0] <= done:
            session.apply(waiting.pop(0)[1])
        if done >= end:
            return
        session.step()
        if progress is not None and (done + 1) % PROGRESS_EVERY == 0:
            progress(f"step {done + 1} of {end}")


def _compare(recipe: Mapping[str, Any], recorded: Path, store: Store, checkpoint: Checkpoint) -> Replay:
    found, hashes = weights(checkpoint.arrays), recipe["hashes"]
    equal = digest(*found.values()) == hashes["weight"]
    difference: float | None = 0.0 if equal else None
    if not equal and recorded.is_file():
        with np.load(recorded, allow_pickle=False) as file:
            if all(name in file and file[name].shape == array.shape for name, array in found.items()):
                gaps = (np.abs(file[name].astype(np.float64) - array).max() for name, array in found.items())
                difference = float(max(gaps))
    now = versions() | hardware(store, checkpoint)
    then = recipe["versions"] | recipe["hardware"]
    return Replay(
        folder=store.folder,
        step=checkpoint.step,
        equal=equal,
        max_abs_difference=difference,
        data_equal=data_hash(checkpoint) == hashes["data"],
        differences=tuple(f"{k} {then.get(k)} → {now[k]}" for k in now if now[k] != then.get(k)),
    )


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


def scheduled_switch(events: list[Event], config: Config) -> Event | None:
    """The phase switch that the schedule makes by itself, or None: the first one, if it is the schedule's."""
    first = next((e for e in events if e.name == "phase"), None)
    schedule = config.schedule
    if first is not None and first.step == schedule.clean_steps and first.new == schedule.second:
        return first
    return None


def command_of(event: Event, config: Config) -> Command:
    """The command that makes the change ``event`` again.

    Raises :class:`ConfigError` for an unknown knob or a value that is not of its kind.
    """
    if event.name == "phase":
        return SwitchPhase(objective(event.new))
    if event.name == "checkpoint":
        return SaveCheckpoint()
    knob = resolve(event.name, config)
    return SetKnob(knob.path, parse(knob.path, knob.kind, event.new, knob.allowed))


def objective(text: str) -> Objective:
    """``text`` as an objective, or :class:`ConfigError`."""
    if text not in get_args(Objective):
        raise ConfigError(f"phase: got {text!r}; allowed: {', '.join(get_args(Objective))}")
    return cast(Objective, text)


def parse(name: str, kind: str, text: str, allowed: str) -> object:
    """Read a recorded value as the knob's ``kind`` (see :class:`engine.config.KnobInfo`)."""
    if kind in ("choice", "text"):
        return text
    try:
        if kind == "bool":
            return {"true": True, "false": False}[text.lower()]
        return int(text) if kind == "int" else float(text)
    except (KeyError, ValueError):
        raise ConfigError(f"{name}: got {text!r}; allowed: {allowed}") from None


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
    return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()


_SCRIPT = '''\
"""Train the exported run again from recipe.json beside this file, and compare the weights.

Needs the package "feature-purification-explorer" (versions and commit: see recipe.json).
Usage: python reproduce.py FOLDER [--device cpu|cuda|mps]
The exit code is 0 if the weights are bit-identical, else 1 (the largest difference is printed).
"""

import argparse
import sys
from pathlib import Path

from engine.errors import ExplorerError
from engine.recipe import replay

parser = argparse.ArgumentParser(description="Replay recipe.json and compare the weights.")
parser.add_argument("folder", type=Path, help="new folder for the run")
parser.add_argument("--device", default=None, help="device to use in place of the recorded one")
arguments = parser.parse_args()
try:
    result = replay(Path(__file__).with_name("recipe.json"), arguments.folder, device=arguments.device, progress=print)
except ExplorerError as error:
    sys.exit(f"error: {error}")
print(result.text())
print(f"draw its figures: python -m engine export {arguments.folder} --view all --out figures")
sys.exit(0 if result.equal else 1)
'''
