"""Training a run from Python, as ``python -m engine run`` does."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from os import PathLike, fspath
from pathlib import Path

from engine.api.run import Run, open_run
from engine.api.surroundings import as_it_was
from engine.config.assignments import assigned
from engine.config.experiment import Config, with_values
from engine.config.presets import load_preset

Heard = Callable[[int, int], object]  # steps done, steps in all


def train(
    preset: str | PathLike[str] | Config,
    out: str | PathLike[str],
    *,
    set: Mapping[str, object] | None = None,
    progress: Heard | None = None,
) -> Run:
    """Train a preset (its name, or the path of a ``.toml`` file) or a config into the new folder ``out``.

    ``set`` are knobs with their values, e.g. ``{"attack.tau": 0.1, "training.lr": [[0, 2], [500, 0.5]]}``; ``progress``
    hears steps done and steps in all after each step. What is trained is, bit for bit, what the window and the command
    line train. An interrupt (Ctrl+C) leaves a run that ``python -m engine run --out … --resume`` goes on with.

    Raises :class:`ConfigError` for a preset or knob, :class:`StoreError` for ``out``, :class:`DeviceError` for a device
    that is not there, :class:`DivergedError` where training diverged; what it had recorded till then is in ``out``.
    """
    config = preset if isinstance(preset, Config) else load_preset(fspath(preset))
    values = assigned(config, ((name, _text(value)) for name, value in (set or {}).items()))
    config = with_values(config, values)
    with as_it_was():
        from engine import worlds

        session = worlds.create(config, Path(out))
        total = config.schedule.total
        try:
            while session.steps_done < total:
                session.step()
                if progress is not None:
                    progress(session.steps_done, total)
            while session.measuring:
                session.measure()
        finally:
            session.close()
    return open_run(session.folder)


def _text(value: object) -> str:
    """As the command line takes it, which reads numbers, choices and points of a curve."""
    if isinstance(value, bool):
        return str(value).lower()
    return json.dumps(value, default=float) if isinstance(value, list | tuple) else str(value)
