"""``config.json``, written: a run's id, its config as started, and the plugins that it was made with."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from engine.config.experiment import Config, to_dict
from engine.core import plugins
from engine.core.files import write_atomically
from engine.core.plugins import MadeWith
from engine.core.reading import read_json
from engine.run.schema import FORMAT, PluginRecord, plugins_of


def write_run(path: Path, run: str, config: Config, made_with: Iterable[MadeWith]) -> None:
    """Write that of a new run: the plugins are those in ``made_with``, and what is loaded."""
    record = {"format": FORMAT, "run": run, "created": time.time(), "config": to_dict(config)}
    if needed := plugins.all_of(made_with, plugins.loaded()):
        record["plugins"] = needed
    _write(path, record)


def remember(path: Path, known: Sequence[PluginRecord]) -> list[PluginRecord]:
    """Add the plugins that are loaded now to the ``known`` ones; all of them."""
    made_with = plugins.all_of(known, plugins.loaded())
    if len(made_with) > len(known):
        _write(path, read_json(path) | {"plugins": made_with})
    return plugins_of(path)


def _write(path: Path, record: object) -> None:
    write_atomically(path, json.dumps(record, indent=1, ensure_ascii=False).encode())
