"""``make bench``: all measurements, or those named."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from tests.bench import certificate, images, training, window
from tests.bench.measure import Result


def main() -> None:
    """Print the table line by line as it is measured."""
    presets = ("small", "standard", "wide")
    parser = argparse.ArgumentParser(description="Speed and memory, as ratios within one run.")
    parser.add_argument(
        "only",
        nargs="*",
        help="training, images, images-whole, evaluation, certificate, start, window, live, memory; default: all",
    )
    parser.add_argument("--minutes", type=float, default=10.0, help="length of the memory measurement")
    chosen = parser.parse_args()
    groups: dict[str, Callable[[], list[Result]]] = {
        "training": training.run,
        "images": images.run,
        "images-whole": images.whole,
        "evaluation": lambda: [row for preset in presets for row in training.live_evaluation(preset)],
        "certificate": certificate.run,
        "start": window.start,
        "window": lambda: window.speed("standard"),
        "live": lambda: window.live_cost("standard"),
        "memory": lambda: window.memory(chosen.minutes),
    }
    for name in chosen.only or groups:
        for row in groups[name]():
            sys.stdout.write(row.text() + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    import torch

    torch.set_grad_enabled(False)
    main()
