"""What all live views together cost training: the snapshots that they want, at the window's pace, against none."""

from __future__ import annotations

import time
from collections.abc import Callable

from engine.config.experiment import SPARSE_CODING, with_value
from engine.config.presets import load_preset
from engine.run.commands import SwitchPhase
from engine.run.live import live_probes
from engine.run.session import Session
from tests.bench.measure import FULL, Result, Sizes, interleave
from tests.bench.training import repeat, session

PACE = 0.033  # seconds between two snapshots, as the window takes them at the fastest


def watched(trained: Session, wanted: frozenset[type], pace: float = PACE) -> Callable[[], object]:
    """A step of ``trained``, and a snapshot of all that is ``wanted`` once the last one is ``pace`` seconds old."""
    taken = time.perf_counter()

    def step() -> None:
        nonlocal taken
        trained.step()
        if time.perf_counter() - taken >= pace:
            trained.snapshot(wanted)
            taken = time.perf_counter()

    return step


def run(sizes: Sizes = FULL, preset: str = "standard") -> list[Result]:
    """Time of training with every live probe wanted over that without, in both phases (aim ≤ 1.08)."""
    known = live_probes[SPARSE_CODING]
    wanted = frozenset(known[name].result for name in known)
    config = with_value(with_value(load_preset(preset), "storage.checkpoint_every", 1_000_000), "device", "cpu")
    results = []
    for phase in ("clean", "adversarial"):
        both = [session(config, "clean", sizes.warm_steps) for _ in range(2)]
        for each in both:
            if phase == "adversarial":
                each.apply(SwitchPhase("adversarial"))
            while each.measuring:
                each.measure()
        seen, alone = interleave(
            [repeat(watched(both[0], wanted), sizes.steps), repeat(both[1].step, sizes.steps)], sizes.rounds
        )
        name = f"{preset}, {phase}: time with all {len(wanted)} live measurements wanted / none"
        results.append(Result(name, seen.over(alone), aim="<= 1.08"))
        for each in both:
            each.close()
    return results
