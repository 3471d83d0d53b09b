"""Training a recipe again, and comparing the weights with those that it recorded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine import worlds
from engine.config.assignments import read_value
from engine.config.experiment import Config, resolve, with_value
from engine.config.objectives import known
from engine.core.errors import ConfigError
from engine.core.quoting import quote
from engine.core.slices import Progress, silent
from engine.images.data import moved
from engine.run.commands import Command, SaveCheckpoint, SetKnob, SwitchPhase
from engine.run.recipe import WEIGHT, data_hash, digest, hardware, read, read_weights, versions, weights
from engine.run.schema import Recipe
from engine.run.session import Session
from engine.run.snapshot import BRANCH, Event
from engine.run.store import Checkpoint, Store

BY_THEMSELVES = ("redraw", BRANCH)  # events that no command makes: a replay trains the parent's part, too
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
    data: Path | None = None,
    progress: Progress = silent,
) -> Replay:
    """Train again as the recipe says, into the new run folder ``out_folder``, and compare the weights.

    ``device`` takes the place of the recipe's device, for a machine that lacks it, and ``data`` that of the folder of
    its images. Raises, before anything is trained, :class:`ConfigError` for a missing file or one of imported
    weights, :class:`StoreError` for a damaged one or a folder that is not empty, :class:`DeviceError` for a missing
    device.
    """
    recipe, config = read(recipe_path)
    if config.imported is not None:
        raise ConfigError(
            f"recipe: {quote(str(recipe_path))} is of imported weights, whose training is not known: nothing to replay"
        )
    recorded = read_weights(Path(recipe_path).parent / WEIGHT)
    used = recipe.hardware
    if (device or used.device) is not None:
        config = with_value(config, "device", device or used.device)
    if data is not None:
        config = moved(config, data)
    if used.threads is not None:  # else the number chosen depends on the machine, and with it the last bits
        config = with_value(config, "threads", used.threads)
    events = [Event(e.step, 0.0, e.name, e.old, e.new) for e in recipe.events]
    commands(events, config)  # so that one that cannot be made again is said before anything is trained

    session = worlds.create(config, Path(out_folder))
    try:
        _train(session, events, config, recipe.step, progress)
    finally:
        session.close()
    store = Store.open(Path(out_folder), read_only=True)
    try:
        return _compare(recipe, recorded, store, store.load(recipe.step))
    finally:
        store.close()


def _train(session: Session, events: list[Event], config: Config, end: int, progress: Progress) -> None:
    waiting = commands(events, config)
    while True:
        done = session.steps_done
        while waiting and waiting[0][0] <= done:
            session.apply(waiting.pop(0)[1])
        if done >= end:
            break
        session.step()
        if (done + 1) % PROGRESS_EVERY == 0:
            progress((done + 1) / end, f"step {done + 1} of {end}")
    while session.measuring:  # what is due at the last step, as in a run that goes to its end
        session.measure()


def commands(events: list[Event], config: Config) -> list[tuple[int, Command]]:
    """The commands that make the changes again, each with its step, but for those that happen by themselves."""
    scheduled = scheduled_switch(events, config)
    return [(e.step, command_of(e, config)) for e in events if e is not scheduled and e.name not in BY_THEMSELVES]


def _compare(recipe: Recipe, recorded: Mapping[str, NDArray[Any]], store: Store, checkpoint: Checkpoint) -> Replay:
    found, hashes = weights(checkpoint.arrays), recipe.hashes
    equal = digest(*found.values()) == hashes.weight
    difference: float | None = 0.0 if equal else None
    if not equal and all(name in recorded and recorded[name].shape == array.shape for name, array in found.items()):
        gaps = (np.abs(recorded[name].astype(np.float64) - array).max() for name, array in found.items())
        difference = float(max(gaps))
    now = versions() | hardware(store, checkpoint)
    then: dict[str, Any] = recipe.versions | recipe.hardware.model_dump()
    return Replay(
        folder=store.folder,
        step=checkpoint.step,
        equal=equal,
        max_abs_difference=difference,
        data_equal=data_hash(checkpoint) == hashes.data,
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
    value = read_value(text, kind)
    if isinstance(value, str):
        raise ConfigError(f"{name}: got {quote(text)}; allowed: {allowed}")
    return value
