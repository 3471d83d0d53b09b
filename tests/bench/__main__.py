"""``make bench``: all measurements, or those named."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import torch

from tests.bench import certificate, clusters, images, looking, run_lists, sweeps, training, views, window
from tests.bench.measure import FULL, TINY, Result, Sizes

GROUPS: dict[str, Callable[[Sizes], Iterable[Result]]] = {
    "training": training.run,
    "frames": training.frames,
    "images": images.run,
    "images-whole": images.whole,
    "evaluation": lambda sizes: [row for preset in sizes.presets for row in training.live_evaluation(preset, sizes)],
    "certificate": certificate.run,
    "start": window.start,
    "window": window.speed,
    "live": window.live_cost,
    "views": views.run,
    "all-views": window.all_views,
    "scrub": looking.scrubbing,
    "open": looking.opening,
    "idle": looking.resting,
    "draw": looking.drawing,
    "memory": window.memory,
    "runs": run_lists.listing,
    "sweep": sweeps.run,
    "sweep-figures": run_lists.sweep_figures,
    "cluster": clusters.run,
}


def main(argv: Sequence[str] | None = None) -> None:
    """Print the table line by line as it is measured."""
    parser = argparse.ArgumentParser(description="Speed and memory, as ratios within one run.")
    parser.add_argument("only", nargs="*", metavar="GROUP", help=f"{', '.join(GROUPS)}; default: all")
    parser.add_argument("--minutes", type=float, help="length of the memory measurement (default: 10)")
    parser.add_argument("--rounds", type=int, help="of all that alternates (default: some 10)")
    parser.add_argument("--tiny", action="store_true", help="see only whether it runs: the figures mean nothing")
    chosen = parser.parse_args(argv)
    if unknown := [name for name in chosen.only if name not in GROUPS]:
        parser.error(f"got {', '.join(unknown)}; allowed: {', '.join(GROUPS)}")
    sizes = TINY if chosen.tiny else FULL
    if chosen.minutes is not None:
        sizes = replace(sizes, minutes=chosen.minutes)
    if chosen.rounds is not None:
        sizes = replace(sizes, **{f: chosen.rounds for f in vars(sizes) if f.endswith(("rounds", "_pairs"))})
    torch.set_grad_enabled(False)
    for name in chosen.only or GROUPS:
        for row in GROUPS[name](sizes):
            sys.stdout.write(row.text() + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
