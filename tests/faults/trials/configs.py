"""Random configs: each is refused in one line that names a knob, or trains."""

from __future__ import annotations

import random
import traceback
from collections.abc import Iterator
from pathlib import Path

from engine import worlds
from engine.config.experiment import Config, KnobInfo, knobs, with_value, with_values
from engine.config.presets import load_preset
from engine.core.errors import ExplorerError
from tests.faults.trials import base
from tests.faults.trials.processes import Verdict

STARTS = ("small", "digits")
SMALL = {  # so that a thousand of them take minutes; names by their ends
    "world.d": 16, "model.m": 24, "model.width": 8, "training.batch_size": 16, "evaluation.size": 16,
    "evaluation.report_size": 16, "evaluation.steps": 2, "evaluation.report_steps": 2, "evaluation.restarts": 1,
    "evaluation.report_restarts": 1, "attack.steps": 2, "attack.restarts": 1, "world.train_size": 100,
}  # fmt: skip
STRANGE: tuple[object, ...] = (
    None, True, -1, 0, 1, 10**30, -(10**30), 0.0, -0.0, 1e-320, 1e308, float("nan"), float("inf"), "", "nan", "0",
    "true", "\n", "é\x00\u202e", "a" * 5000, [], [1, 2], {}, {"a": {"b": 1}}, b"bytes",
)  # fmt: skip
DEAR = 64  # a drawn whole number above this is drawn again from below, for the knobs that cost time


def configs(count: int, folder: Path) -> Iterator[Verdict]:
    """``count`` configs with one to six knobs drawn at random, among them values of wrong types and out of range."""
    for number, chance in base.rounds(count, 4):
        start = load_preset(STARTS[number % len(STARTS)])
        yield "random config", _try(start, chance, folder / f"config-{number}")


def _small(config: Config) -> Config:
    names = {k.path for k in knobs(config)}
    return with_values(config, {n: v for n, v in SMALL.items() if n in names} | {"device": "cpu", "threads": 1})


def _draw(knob: KnobInfo, chance: random.Random) -> object:
    if chance.random() < 0.12:
        return chance.choice(STRANGE)
    match knob.kind:
        case "bool":
            return chance.random() < 0.5
        case "choice":
            return chance.choice(knob.choices)
        case "int":
            low, high = int(knob.low or 0), int(knob.high or 100)
            if knob.path in SMALL:
                high = min(high, DEAR)
            return chance.choice((low, high, chance.randint(low, high), chance.randint(low, min(high, low + 40))))
        case "float":
            low, high = knob.low or 0.0, knob.high if knob.high is not None else 100.0
            return chance.choice(
                (low, high, chance.uniform(low, high), low + (high - low) * 10 ** chance.uniform(-9, 0))
            )
        case _:
            return chance.choice(("", "all", "first", "conv1", "layer1,layer2", "../x", "é", "0"))


def _try(start: Config, chance: random.Random, folder: Path) -> str | None:
    drawn: dict[str, object] = {}
    try:
        config = _small(start)
        for _ in range(chance.randint(1, 6)):
            knob = chance.choice(
                [k for k in knobs(config) if k.group not in ("about", "storage") and k.path != "device"]
            )
            value = _draw(knob, chance)
            drawn[knob.path] = value
            try:
                config = with_value(config, knob.path, value)
            except ExplorerError as refused:
                if wrong := _not_a_line(refused, knob.path):
                    return f"{drawn!r}: {wrong}"
        session = worlds.create(config, folder)
        try:
            for _ in range(3):
                session.step()
            session.snapshot()
        finally:
            session.close()
        worlds.resume(folder).close()
    except ExplorerError as refused:
        return _not_a_line(refused, "") and f"{drawn!r}: {_not_a_line(refused, '')}"
    except Exception:
        return f"{drawn!r}: {traceback.format_exc()[-600:]}"
    return None


def _not_a_line(refused: ExplorerError, path: str) -> str | None:
    text = str(refused)
    if "\n" in text or len(text) > 2000 or not text:
        return f"not one line: {text[:300]!r}"
    if path and path.rpartition(".")[2] not in text:
        return f"the refusal does not name {path}: {text[:300]!r}"
    return None
