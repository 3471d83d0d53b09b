"""What can be asked of a running :class:`engine.run.session.Session`, always between two steps."""

from __future__ import annotations

from dataclasses import dataclass

from engine.config.knobs import Objective
from engine.core.results import FeatureRequest


@dataclass(frozen=True, slots=True)
class SetKnob:
    """Give a live knob a new value, e.g. ``SetKnob("attack.tau", 0.1)``."""

    path: str
    value: object


@dataclass(frozen=True, slots=True)
class SwitchPhase:
    """Train with another objective from the next step on; the preset's schedule no longer applies."""

    to: Objective


@dataclass(frozen=True, slots=True)
class SaveCheckpoint:
    """Write a checkpoint of the current step."""


@dataclass(frozen=True, slots=True)
class EvaluateNow:
    """Queue a live evaluation of the current weights ("attack now")."""


@dataclass(frozen=True, slots=True)
class Visualise:
    """Visualise these units beside training from now on, on images only (:class:`engine.core.results.Features`)."""

    request: FeatureRequest


Command = SetKnob | SwitchPhase | SaveCheckpoint | EvaluateNow | Visualise
