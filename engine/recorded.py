"""What the slow commands leave in a run folder, read back and checked: ``claims.json`` and ``race.json``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import Field, TypeAdapter, ValidationError

from engine.claims import Figure, Verdict
from engine.errors import StoreError

CLAIMS, RACE, WARNINGS = "claims.json", "race.json", "warnings.json"
COMMANDS = {CLAIMS: "claims {} --verify", RACE: "race {}"}  # what makes each file

T = TypeVar("T")
Proportion = Annotated[float, Field(ge=0, le=1)]


class NotMeasured(StoreError):  # noqa: N818 - nothing went wrong, there is only nothing yet
    """A run holds nothing of this kind yet; the message names the command that measures it."""


@dataclass(frozen=True)
class Record:
    """One claim as ``claims.json`` holds it."""

    id: int
    title: str
    verdict: Verdict
    rule: str
    evidence: tuple[Figure, ...]


@dataclass(frozen=True)
class Warned:
    """A sanity warning (:mod:`engine.sanity`) about the weights after ``step`` steps, as ``warnings.json`` holds it."""

    step: int
    id: str
    text: str
    evidence: str


@dataclass(frozen=True)
class Entry:
    """One model of the race. ``low``/``high`` are the 95% interval of ``robust``; None where it was not measured."""

    robust: Proportion
    clean: Proportion | None = None
    low: Proportion | None = None
    high: Proportion | None = None
    name: str = ""
    trained_by: str = ""
    steps: int | None = None
    note: str = ""


@dataclass(frozen=True)
class RaceCurve:
    """Robust accuracy of a rival trained by ``objective`` over its training steps; both (t,)."""

    name: str
    objective: str
    steps: tuple[int, ...]
    robust: tuple[float, ...]


@dataclass(frozen=True)
class Race:
    """``race.json``. A row of ``sweep`` holds ``d``, ``n`` and the robust accuracy of each model under its name."""

    tau: float
    norm: str
    protocol: str
    n: int
    step: int
    network: Entry
    rivals: tuple[Entry, ...]
    oracle: Entry | None = None
    curves: tuple[RaceCurve, ...] = ()
    sweep: tuple[dict[str, float | str | None], ...] = ()

    def best(self) -> dict[str, Entry]:
        """Each rival's entry of highest robust accuracy, whichever objective trained it, the best rival first."""
        found: dict[str, Entry] = {}
        for entry in sorted(self.rivals, key=lambda e: e.robust, reverse=True):
            found.setdefault(entry.name, entry)
        return found

    def swept(self) -> dict[str, tuple[list[float], list[float]]]:
        """Model → dimensions d and its robust accuracies at them, as far as they were measured."""
        found: dict[str, tuple[list[float], list[float]]] = {}
        for row in self.sweep:
            d = row.get("d")
            for name, value in row.items():
                if name in ("d", "n") or not isinstance(value, float | int) or not isinstance(d, float | int):
                    continue
                if math.isfinite(value):
                    xs, ys = found.setdefault(name, ([], []))
                    xs.append(float(d))
                    ys.append(float(value))
        return found


def read_claims(folder: Path) -> tuple[Record, ...]:
    """The claims of the run in ``folder`` as decided last.

    Raises :class:`NotMeasured` if there is no such file, and :class:`StoreError` in one line if it is damaged.
    """
    return _read(folder, CLAIMS, TypeAdapter(tuple[Record, ...]))


def read_warnings(folder: Path) -> tuple[Warned, ...]:
    """The sanity warnings of the last verification; empty where there were none, or no verification."""
    if not (folder / WARNINGS).is_file():
        return ()
    return _read(folder, WARNINGS, TypeAdapter(tuple[Warned, ...]))


def read_race(folder: Path) -> Race:
    """The race of the run in ``folder``; errors as in :func:`read_claims`."""
    race = _read(folder, RACE, TypeAdapter(Race))
    for curve in race.curves:
        if len(curve.steps) != len(curve.robust):
            raise StoreError(f"{folder / RACE} is damaged: curves: {curve.name} has steps without values")
    return race


def checked_at(records: Sequence[Record]) -> int:
    """The newest step that any evidence of ``records`` comes from."""
    return max((figure.step for record in records for figure in record.evidence), default=0)


def _read(folder: Path, name: str, kind: TypeAdapter[T]) -> T:
    path = folder / name
    try:
        return kind.validate_json(path.read_bytes())
    except FileNotFoundError:
        command = COMMANDS[name].format(folder)
        raise NotMeasured(f"{path} does not exist; it is made by: python -m engine {command}") from None
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror or error}") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise StoreError(f"{path} is damaged: {where + ': ' if where else ''}{first['msg']}") from None
