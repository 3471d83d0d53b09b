"""What the slow commands leave in a run folder, read back and checked.

``claims.json``, ``warnings.json``, ``race.json``, ``local.json`` and ``low_rank.json``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import Field, TypeAdapter, ValidationError

from engine.claims.base import Figure, Verdict
from engine.core.errors import StoreError

CLAIMS, RACE, WARNINGS = "claims.json", "race.json", "warnings.json"
LOCAL, LOW_RANK = "local.json", "low_rank.json"
COMMANDS = {  # what makes each file
    CLAIMS: "claims {} --verify", RACE: "race {}", LOCAL: "local {}", LOW_RANK: "low-rank {}",
}  # fmt: skip

T = TypeVar("T")
Proportion = Annotated[float, Field(ge=0, le=1)]
Cosine = Annotated[float, Field(ge=-1.001, le=1.001)]  # rounding
Length = Annotated[float, Field(ge=0, allow_inf_nan=False)]


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
    """A sanity warning (:mod:`engine.studies.sanity`) about the weights after ``step`` steps, of ``warnings.json``."""

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
class ComparisonCurve:
    """Robust accuracy of a rival trained by ``objective`` over its training steps; both (t,)."""

    name: str
    objective: str
    steps: tuple[int, ...]
    robust: tuple[float, ...]


@dataclass(frozen=True)
class Comparison:
    """``race.json``. A row of ``sweep`` holds ``d``, ``n`` and the robust accuracy of each model under its name."""

    tau: float
    norm: str
    protocol: str
    n: int
    step: int
    network: Entry
    rivals: tuple[Entry, ...]
    oracle: Entry | None = None
    curves: tuple[ComparisonCurve, ...] = ()
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


@dataclass(frozen=True)
class Interval:
    """An accuracy with its 95% interval."""

    value: Proportion
    low: Proportion
    high: Proportion

    def text(self) -> str:
        """Value and interval, e.g. ``0.862 [0.829, 0.889]``."""
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


@dataclass(frozen=True)
class LocalLayer:
    """One layer of ``local.json``: drawn again and trained alone for ``clean_steps``, then ``adversarial_steps``.

    The accuracies are the whole network's ``…_before`` and ``…_after`` the adversarial phase. With w⁰, w, w′ a unit's
    weights when drawn again, before and after that phase: cosines (means over alive units), ``share`` of these with
    ‖βw′‖ > ‖w − βw′‖, and per unit (units,) ``pure_part`` ‖βw′‖, ``rest`` ‖w − βw′‖, ``alive``.
    """

    name: str
    clean_steps: int
    adversarial_steps: int
    clean_before: Interval
    robust_before: Interval
    clean_after: Interval
    robust_after: Interval
    cos_start_clean: Cosine
    cos_start_now: Cosine
    cos_clean_now: Cosine
    share: Proportion
    pure_part: tuple[Length, ...]
    rest: tuple[Length, ...]
    alive: tuple[bool, ...]


@dataclass(frozen=True)
class Local:
    """``local.json``: from the clean weights of step ``clean_step``; ``step`` was the newest when it was measured."""

    step: int
    clean_step: int
    norm: str
    tau: float
    protocol: str
    n: int
    layers: tuple[LocalLayer, ...]


@dataclass(frozen=True)
class RankRow:
    """Accuracies after an adversarial phase of this ``rank`` (0: unrestricted), with their 95% intervals."""

    robust: Proportion
    low: Proportion
    high: Proportion
    clean: Proportion
    clean_low: Proportion
    clean_high: Proportion
    rank: Annotated[int, Field(ge=0)] = 0


@dataclass(frozen=True)
class LowRankStudy:
    """``low_rank.json``: phases of ``steps`` steps from the clean weights of step ``clean_step``, measured ``before``.

    ``step`` was the newest when it was measured; ``layers`` are those whose change had that rank.
    """

    step: int
    clean_step: int
    norm: str
    tau: float
    protocol: str
    n: int
    layers: str
    steps: int
    before: RankRow
    ranks: tuple[RankRow, ...]

    def limited(self) -> tuple[RankRow, ...]:
        """The restricted phases, of ascending rank."""
        return tuple(sorted((row for row in self.ranks if row.rank), key=lambda row: row.rank))

    def full(self) -> RankRow | None:
        """The unrestricted phase, if it was trained."""
        return next((row for row in self.ranks if not row.rank), None)


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


def read_comparison(folder: Path) -> Comparison:
    """The race of the run in ``folder``; errors as in :func:`read_claims`."""
    found = _read(folder, RACE, TypeAdapter(Comparison))
    for curve in found.curves:
        if len(curve.steps) != len(curve.robust):
            raise StoreError(f"{folder / RACE} is damaged: curves: {curve.name} has steps without values")
    return found


def read_local(folder: Path) -> Local:
    """The study of local purification of the run in ``folder``; errors as in :func:`read_claims`."""
    found = _read(folder, LOCAL, TypeAdapter(Local))
    for layer in found.layers:
        if not len(layer.pure_part) == len(layer.rest) == len(layer.alive):
            raise StoreError(f"{folder / LOCAL} is damaged: layers: {layer.name} has units without values")
    return found


def read_low_rank(folder: Path) -> LowRankStudy:
    """Robust accuracy against rank of the run in ``folder``; errors as in :func:`read_claims`."""
    return _read(folder, LOW_RANK, TypeAdapter(LowRankStudy))


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
