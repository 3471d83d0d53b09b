"""What all live views together cost training: the snapshots that they want, at the window's pace, against none."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator

from engine.config.experiment import with_value
from engine.config.presets import load_preset
from engine.run.commands import SwitchPhase
from engine.run.live import live_probes
from engine.run.scheduler import Pace
from engine.run.session import Session
from tests.bench.measure import FULL, Result, Sizes, Spent, interleave
from tests.bench.training import session

FRAME = 0.033  # seconds between two snapshots, as the window takes them at the fastest


class Watched:
    """Steps of ``trained``, with snapshots of all that is ``wanted`` between them as the training thread makes them.

    Only time within its blocks counts, as if nothing else alternated with them.
    """

    def __init__(self, trained: Session, wanted: frozenset[type]) -> None:
        self.trained, self.wanted = trained, wanted
        self.pace, self.again = Pace(), 0.0
        self.intervals: list[float] = []  # seconds between two snapshots
        self.left = time.perf_counter()
        self.whole, self.measured = Spent(), Spent()
        slice_ = trained._scheduler.slice

        def timed() -> None:
            with self.measured:
                slice_()

        trained._scheduler.slice = timed  # type: ignore[method-assign]

    def step(self) -> None:
        """One step, and a snapshot if one is due."""
        self.trained.step()
        now = time.perf_counter()
        if self.wanted and now >= self.again and self.pace.due():
            with self.measured:
                self.trained.snapshot(self.wanted)
            self.intervals.append(now - self.again + FRAME)
            self.again = now + FRAME
            self.pace.took(time.perf_counter() - now)

    def block(self, steps: int) -> float:
        """Seconds for so many steps."""
        start = time.perf_counter()
        away = start - self.left
        self.again += away
        self.pace._due += away
        self.trained._scheduler._last += away
        with self.whole:
            for _ in range(steps):
                self.step()
        self.left = time.perf_counter()
        return self.left - start


def block(watched: Watched, steps: int) -> Callable[[], float]:
    """For :func:`interleave`."""
    return lambda: watched.block(steps)


def run(sizes: Sizes = FULL) -> Iterator[Result]:
    """Time of training with every live probe wanted over that without, in both phases (aim ≤ 1.08)."""
    for preset in sizes.watched:
        yield from _of(preset, sizes)


def _of(preset: str, sizes: Sizes) -> Iterator[Result]:
    config = with_value(with_value(load_preset(preset), "storage.checkpoint_every", 1_000_000), "device", "cpu")
    known = live_probes[config.kind]
    wanted = frozenset(known[name].result for name in known)
    for phase in ("clean", "adversarial"):
        both = [session(config, "clean", sizes.warm_steps) for _ in range(2)]
        for each in both:
            if phase == "adversarial":
                each.apply(SwitchPhase("adversarial"))
            while each.measuring:
                each.measure()
        watched, alone = Watched(both[0], wanted), Watched(both[1], frozenset())
        steps = max(2, round(sizes.watched_seconds / alone.block(10) * 10))
        watched.block(steps)  # what is measured once: the clean weights', the oracle's
        watched.whole, watched.measured, watched.intervals = Spent(), Spent(), []
        seen, bare = interleave([block(watched, steps), block(alone, steps)], sizes.rounds)
        whole, measured = watched.whole, watched.measured
        name = f"{preset}, {phase}: all {len(wanted)} live measurements wanted"
        yield Result(f"{name} / none, time", seen.over(bare), aim="<= 1.08")
        yield Result(
            f"{name}: time for them / training", measured.seconds / (whole.seconds - measured.seconds), "", "<= 0.08"
        )
        yield Result("  the same in CPU time of its thread", measured.cpu / (whole.cpu - measured.cpu))
        yield Result("  from one snapshot to the next", statistics.median(watched.intervals or [0.0]), "s")
        for each in both:
            each.close()
