"""Training a recipe again, and comparing the weights with those that it recorded."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from engine import worlds
from engine.config.experiment import Config, from_dict, resolve, with_value
from engine.config.objectives import known
from engine.core.errors import ConfigError
from engine.core.slices import Progress, silent
from engine.run.commands import Command, SaveCheckpoint, SetKnob, SwitchPhase
from engine.run.recipe import WEIGHT, data_hash, digest, hardware, read, versions, weights
from engine.run.session import Session
from engine.run.snapshot import Event
from engine.run.store import Checkpoint, Store

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


def replay(
    recipe_path: Path,
    out_folder: Path,
    *,
    device: str | None = None,
    progress: Progress = silent,
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

    session = worlds.create(config, Path(out_folder))
    try:
        _train(session, events, config, int(recipe["step"]), progress)
    finally:
        session.close()
    store = Store.open(Path(out_folder), read_only=True)
    try:
        return _compare(recipe, Path(recipe_path).parent / WEIGHT, store, store.load(int(recipe["step"])))
    finally:
        store.close()


def _train(session: Session, events: list[Event], config: Config, end: int, progress: Progress) -> None:
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
        if (done + 1) % PROGRESS_EVERY == 0:
            progress((done + 1) / end, f"step {done + 1} of {end}")


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
        return SwitchPhase(known(event.new))
    if event.name == "checkpoint":
        return SaveCheckpoint()
    knob = resolve(event.name, config)
    return SetKnob(knob.path, parse(knob.path, knob.kind, event.new, knob.allowed))


def parse(name: str, kind: str, text: str, allowed: str) -> object:
    """Read a recorded value as the knob's ``kind`` (see :class:`engine.config.experiment.KnobInfo`)."""
    if kind in ("choice", "text"):
        return text
    try:
        if kind == "curve":
            return None if text == "None" else json.loads(text)
        if kind == "bool":
            return {"true": True, "false": False}[text.lower()]
        return int(text) if kind == "int" else float(text)
    except (KeyError, ValueError):
        raise ConfigError(f"{name}: got {text!r}; allowed: {allowed}") from None
