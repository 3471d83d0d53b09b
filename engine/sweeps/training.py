"""The job of a sweep's process: train a run to its end, from where it is, and what is to follow. Needs torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from engine import worlds
from engine.config.experiment import Config, from_dict, to_dict
from engine.core.errors import DivergedError, StoreError
from engine.core.slices import Progress
from engine.run.entry import CONFIG
from engine.run.index import is_run
from engine.run.schema import read_run
from engine.run.session import Session
from engine.sweeps.executor import function_of

TRAINED = 0.5  # share of the work that training is, where something follows
TELL_STEPS = 10


def train_run(
    *, folder: str, config: Mapping[str, Any], after: tuple[str, Mapping[str, Any]] | None, tell: Progress,
    stopped: Callable[[], bool],
) -> dict[str, Any]:  # fmt: skip
    """Go through the whole schedule of ``config`` in ``folder``, from where a run there has stopped.

    Then call what is to follow. Returns ``state`` (one of :data:`engine.sweeps.record.Ending`, ``failed`` aside),
    ``reason``, and ``verified``: whether what follows has been done. Raises :class:`StoreError` if ``folder`` holds
    another run.
    """
    place, planned = Path(folder), from_dict(config)
    share = 1.0 if after is None else TRAINED
    with closing(_open(place, planned)) as session:
        total = planned.schedule.total
        try:
            while session.steps_done < total and not stopped():
                session.step()
                if session.steps_done % TELL_STEPS == 0:
                    tell(share * session.steps_done / total, f"{session.phase} step {session.steps_done}/{total}")
            while session.measuring and not stopped():
                session.measure()
        except DivergedError as error:
            return {"state": "diverged", "reason": str(error).partition(". The checkpoint")[0]}
        if session.measuring or session.steps_done < total:
            return {"state": "interrupted"}
        problems = [f"{each.measurement} of step {each.step}: {each.text}" for each in session.problems]
    if after is not None:
        name, options = after
        function_of(name)(place, progress=lambda part, text: tell(share + (1 - share) * part, text), **options)
    return {"state": "finished", "reason": "; ".join(problems), "verified": after is not None}


def _open(folder: Path, config: Config) -> Session:
    if not is_run(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        return worlds.create(config, folder)
    _, started = read_run(folder / CONFIG)
    if _compared(started) != _compared(config):
        raise StoreError(f"{folder} holds a run with other knobs than this sweep's; allowed: to move it away")
    return worlds.resume(folder)


def _compared(config: Config) -> dict[str, Any]:
    """All but where the images are: a run keeps that as it is seen from anywhere."""
    data = to_dict(config)
    data["world"].pop("folder", None)
    data.pop("branch", None)
    return data
