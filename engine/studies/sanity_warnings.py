"""The warnings of the sanity checks (:mod:`engine.studies.sanity`), as ``warnings.json`` holds them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from engine.studies.base import NotMeasured, read_record

WARNINGS = "warnings.json"


@dataclass(frozen=True)
class SanityWarning:
    """Something is off: ``id`` names the check, ``text`` says plainly what it means, ``evidence`` gives the figures."""

    id: str
    text: str
    evidence: str


@dataclass(frozen=True)
class Warned:
    """A :class:`SanityWarning` about the weights after ``step`` steps."""

    step: int
    id: str
    text: str
    evidence: str


def read_warnings(folder: Path) -> tuple[Warned, ...]:
    """The sanity warnings of the last verification; empty where there were none, or no verification."""
    try:
        found: tuple[Warned, ...] = read_record(folder, WARNINGS, tuple[Warned, ...], "claims {} --verify")
    except NotMeasured:
        return ()
    return found
