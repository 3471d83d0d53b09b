"""Tiny runs: a config that trains in a tenth of a second, and what a run leaves behind, ready to be compared."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from engine import worlds
from engine.config.experiment import Config, from_dict, with_value
from engine.run.commands import Command
from engine.run.session import Session
from engine.run.store import Store

TINY: dict[str, Any] = {
    "device": "cpu",
    "threads": 1,
    "world": {"d": 16},
    "model": {"m": 24},
    "training": {"batch_size": 32},
    "schedule": {"clean_steps": 40, "second_steps": 40},
    "evaluation": {
        "every": 10, "size": 32, "steps": 3, "report_size": 48, "report_steps": 4, "report_restarts": 2,
    },
    "storage": {"checkpoint_every": 25},
}  # fmt: skip


def tiny_config(**values: object) -> Config:
    """The tiny config with some knobs changed: ``tiny_config(tau=0.1, **{"schedule.clean_steps": 5})``."""
    config = from_dict(TINY)
    for name, value in values.items():
        config = with_value(config, name, value)
    return config


@dataclass(frozen=True)
class Record:
    """Everything a run folder says that does not depend on the clock."""

    metrics: list[tuple[int, str, float]]
    events: list[tuple[int, str, str, str]]
    arrays: dict[str, np.ndarray[Any, Any]]
    step: int


def table(folder: Path, query: str) -> list[tuple[Any, ...]]:
    """Rows of a query, read by plain sqlite3 as a reader without this project would."""
    db = sqlite3.connect(folder / "run.sqlite")
    try:
        return db.execute(query).fetchall()
    finally:
        db.close()


def read(folder: Path) -> Record:
    """The record of a closed run."""
    store = Store.open(folder, read_only=True)
    try:
        checkpoint = store.load()
    finally:
        store.close()
    return Record(
        metrics=table(folder, "SELECT step, name, value FROM metrics ORDER BY step, name"),
        events=table(folder, "SELECT step, name, old, new FROM events ORDER BY id"),
        arrays=checkpoint.arrays,
        step=checkpoint.step,
    )


def assert_same(a: Record, b: Record) -> None:
    """Both runs recorded the same, bit for bit."""
    assert a.step == b.step
    assert a.events == b.events
    assert {(s, n): v for s, n, v in a.metrics} == {(s, n): v for s, n, v in b.metrics}
    assert len(a.metrics) == len(b.metrics)
    kept = [{name for name in each.arrays if not name.startswith("pending.")} for each in (a, b)]
    assert kept[0] == kept[1]  # what was still to be measured when a checkpoint was written may differ
    for name in sorted(kept[0]):
        array = a.arrays[name]
        assert np.array_equal(array, b.arrays[name]), name


Plan = dict[int, list[Command]]  # step → commands given after it


def advance(session: Session, until: int, plan: Plan | None = None) -> None:
    """Step until ``until`` steps are done, giving the plan's commands at theirs (those at the present step, too)."""
    plan = plan or {}
    for command in plan.get(session.steps_done, []):
        session.apply(command)
    while session.steps_done < until:
        session.step()
        if session.steps_done < until:
            for command in plan.get(session.steps_done, []):
                session.apply(command)


def drain(session: Session) -> None:
    """Finish all measurements."""
    while session.measuring:
        session.measure()


def run(config: Config, folder: Path, until: int | None = None, plan: Plan | None = None) -> Record:
    """An uninterrupted run: train, measure, close."""
    session = worlds.create(config, folder)
    advance(session, config.schedule.total if until is None else until, plan)
    drain(session)
    session.close()
    return read(folder)


def train_in_process(folder: Path, config: dict[str, Any], say: Callable[[Any], None]) -> None:
    """Target of a child process: create or resume the run and train it to its end, reporting each tenth step."""
    say("alive")
    session = worlds.resume(folder) if (folder / "config.json").exists() else worlds.create(from_dict(config), folder)
    while not session.finished:
        session.step()
        if session.steps_done % 10 == 0:
            say(session.steps_done)
    drain(session)
    session.close()
    say("done")


def contents(config: Config, value: float = 0.0) -> tuple[dict[str, np.ndarray[Any, Any]], dict[str, Any]]:
    """Tensors and state of a checkpoint as a session of the theory writes them, its weights all ``value``."""
    m, d = config.model.m, config.world.d  # type: ignore[attr-defined]
    weight = np.full((m, d), value, np.float32)
    arrays = {
        "weight": weight, "weight_init": weight, "bias": np.float32(0.1), "dictionary": np.eye(d, dtype=np.float32),
        "target": np.ones(d, np.float32),
    }  # fmt: skip
    arrays |= {f"generator.{name}": np.zeros(5056, np.uint8) for name in ("pool", "input_noise", "rho", "attack")}
    return arrays, {"scheduled": True, "device": "cpu", "threads": 1, "position": 0, "pending": []}


def values(rows: Iterable[tuple[int, str, float]], name: str) -> dict[int, float]:
    """One metric by step."""
    return {step: value for step, metric, value in rows if metric == name}
