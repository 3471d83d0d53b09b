"""``make faults``: hundreds of random faults of every kind, and a table of tried and bad; fails unless bad is 0."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from tests.faults.trials import base, configs, disk, mutations, processes
from tests.faults.trials.processes import Verdict

# Kind → how many at the least, and whether it needs the undisturbed runs.
COUNTS = {"kills": 200, "interrupts": 40, "writers": 12, "disk": 30, "configs": 1000, "mutations": 200, "window": 40}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the kinds asked for; 0 if nothing was bad."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--only", action="append", choices=tuple(COUNTS), help="a kind; may be repeated (default: all)")
    parser.add_argument("--share", type=float, default=1.0, help="of the trials to run (default: 1)")
    parser.add_argument("--seed", type=int, default=0, help="another one gives other moments, sizes and values")
    args = parser.parse_args(argv)
    base.draw.seed = args.seed
    with tempfile.TemporaryDirectory(prefix="faults-") as name:
        return _run(args.only or list(COUNTS), args.share, Path(name))


def _run(kinds: Sequence[str], share: float, folder: Path) -> int:
    runs = processes.wholes(folder) if {"kills", "interrupts", "writers", "disk"} & set(kinds) else []
    trials: dict[str, Callable[[int, Path], Iterator[Verdict]]] = {
        "kills": lambda count, at: processes.kills(runs, count, at),
        "interrupts": lambda count, at: processes.interrupts(runs, count, at),
        "writers": lambda count, at: processes.writers(runs, count, at),
        "disk": lambda count, at: disk.full(runs, count, at),
        "configs": configs.configs,
        "mutations": mutations.commands,
        "window": mutations.window,
    }
    rows, failed = [], 0
    for kind in kinds:
        if kind == "disk" and not disk.mountable(folder):
            sys.stdout.write("disk: not tried, as no small file system may be mounted here\n")
            continue
        home, began, tried, bad = folder / kind, time.monotonic(), 0, 0
        home.mkdir()
        for what, wrong in trials[kind](max(1, round(COUNTS[kind] * share)), home):
            tried += 1
            if wrong is not None:
                bad += 1
                sys.stdout.write(f"BAD {what}: {wrong}\n")
                sys.stdout.flush()
        rows.append(f"{kind:<12}{tried:>7}{bad:>6}{time.monotonic() - began:>9.0f} s\n")
        sys.stdout.write(rows[-1])
        sys.stdout.flush()
        failed += bad
    sys.stdout.write(f"\n{'kind':<12}{'tried':>7}{'bad':>6}{'time':>11}\n{''.join(rows)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
