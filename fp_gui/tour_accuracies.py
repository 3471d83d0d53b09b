"""How a run's accuracies went, as far as the tour tells of it: an attack that wins, and training that wins it back."""

from __future__ import annotations

import numpy as np

from engine.core import metrics
from engine.run.snapshot import Snapshot

LEARNED = 0.7  # share of clean inputs that is right once a network has learned something

Point = tuple[int, float, float]  # step, accuracy on clean inputs, accuracy under attack


def points(snapshot: Snapshot) -> list[Point]:
    """The accuracies that were measured together so far, in their order."""
    clean, attacked = snapshot.history.get(metrics.CLEAN), snapshot.history.get(metrics.PGD)
    if clean is None or attacked is None:
        return []
    steps, i, j = np.intersect1d(clean.steps, attacked.steps, assume_unique=True, return_indices=True)
    return list(zip(steps.tolist(), clean.values[i].tolist(), attacked.values[j].tolist(), strict=True))


def fallen(snapshot: Snapshot) -> Point | None:
    """Where the attack won most clearly over a network that had trained cleanly for a while; None if nowhere yet."""
    early = snapshot.config.schedule.clean_steps / 2
    found = [p for p in points(snapshot) if p[0] >= early and p[1] >= LEARNED and p[2] <= p[1] / 2]
    return max(found, key=lambda p: p[1] - p[2], default=None)


def switched(snapshot: Snapshot) -> int | None:
    """The step at which the adversarial training began that is still going on; None if none is."""
    if snapshot.newest_phase != "adversarial":
        return None
    return next((event.step for event in reversed(snapshot.events) if event.name == "phase"), 0)


def recovered(snapshot: Snapshot) -> Point | None:
    """The newest accuracies, if adversarial training has won back more than half of what the attack took."""
    begin, all_points = switched(snapshot), points(snapshot)
    if begin is None or not all_points:
        return None
    low = min((p for p in all_points if p[0] <= begin and p[1] >= LEARNED), key=lambda p: p[2], default=None)
    step, _, attacked = last = all_points[-1]
    enough = low is not None and attacked >= (low[1] + low[2]) / 2
    return last if enough and step >= begin + snapshot.config.schedule.second_steps / 4 else None
