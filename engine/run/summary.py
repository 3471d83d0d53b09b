"""``summary.json``: the figures of a run at the end of each phase and now, each with its protocol."""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite
from typing import Any

from engine.core import metrics
from engine.core.history import History
from engine.core.measurement import Measurement, figure
from engine.run.snapshot import Event
from engine.run.store import Store
from engine.run.timeline import objective_at, spans

PLAIN = (
    metrics.ALIGNMENT,
    metrics.COORDINATES90,
    metrics.mixture("purity", "mean"),
    metrics.mixture("magnitude", "mean"),
    metrics.mixture("dense_alignment", "mean"),
    metrics.mixture("dense_share", "mean"),
    metrics.SMALL,
    metrics.ALIVE,
    metrics.HELD,
    metrics.COHERENCE,
    metrics.OWN_PURITY,
    metrics.KEPT,
    metrics.REPRESENTED,
    metrics.MIXED,
    metrics.layer(metrics.HIDDEN, metrics.EFFECTIVE_RANK),
    metrics.layer(metrics.HIDDEN, metrics.CHANGE_RANK),
    metrics.ACTIVE_SHARE,
    *metrics.PRINCIPLE1,
    metrics.LOW_RANK_COSINE,
    metrics.LOW_RANK_SIGMA1,
)


def summarise(
    store: Store,
    history: History,
    events: tuple[Event, ...],
    protocol_at: Callable[[str, int], Measurement | None],
    *,
    steps: int,
    phase: str,
    device: str,
    threads: int,
    diverged: bool,
) -> dict[str, Any]:
    """The report of each phase's end and the newest live figures, and whether training diverged at the last step.

    A report's phase is the objective that ended at its step. ``protocol_at(name, step)`` says how a metric was
    measured.
    """
    trained = spans(events, phase, steps)
    imported = store.config.imported
    return {
        "run": store.run,
        **({} if imported is None else {"imported": imported.model_dump(exclude_none=True)}),
        "steps": steps,
        "phase": phase,
        "device": device,
        "threads": threads,
        "diverged": diverged,
        "reports": [
            {"step": step, "phase": objective_at(trained, step), **_at(history, protocol_at, metrics.REPORT, step)}
            for step in _steps(history, metrics.REPORT + _last_measured(history, metrics.REPORT))
        ],
        "latest": _at(
            history, protocol_at, "", next(iter(reversed(_steps(history, _last_measured(history, "")))), None)
        ),
    }


def _last_measured(history: History, prefix: str) -> str:
    """The accuracy that is measured last, so that with it all of an evaluation's are there."""
    known = [name for name in metrics.ACCURACIES if prefix + name in history]
    return known[-1] if known else metrics.ACCURACIES[-1]


def _steps(history: History, name: str) -> list[int]:
    return history[name].steps.tolist() if name in history else []


def _at(
    history: History, protocol_at: Callable[[str, int], Measurement | None], prefix: str, step: int | None
) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    for name in (*metrics.ACCURACIES, metrics.CERTIFIED, *PLAIN):
        series = history.get(prefix + name)
        index = [] if series is None or step is None else (series.steps == step).nonzero()[0]
        if series is None or step is None or not len(index):
            continue
        value = float(series.values[index[-1]])
        if not isfinite(value):  # of a network that has diverged; JSON has no such number
            continue
        protocol = protocol_at(prefix + name, step)
        figures[name] = {"value": value} if protocol is None else figure(value, protocol)
    return figures
