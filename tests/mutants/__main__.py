"""Put each fault of the table into a copy of the tree, run its tests there, and print which were caught."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

from tests.mutants.table import MUTANTS, Mutant

ROOT = Path(__file__).parents[2]
PARTS = ("engine", "fp_gui", "resources", "tests", "pyproject.toml")
LIMIT = 300  # seconds for the tests of one fault; a test that hangs has noticed it
CAUGHT, MISSED = "caught", "MISSED"


def copy(to: Path) -> None:
    """The tree without what was built."""
    for part in PARTS:
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, to / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / part, to / part)


def run(tree: Path, tests: Sequence[str]) -> str:
    """Run ``tests`` in ``tree`` and say what came of it."""
    line = [sys.executable, "-B", "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests]
    environment = os.environ | {"PYTHONPATH": str(tree), "QT_QPA_PLATFORM": "offscreen", "CI": "1"}
    try:
        done = subprocess.run(line, cwd=tree, env=environment, capture_output=True, text=True, timeout=LIMIT)
    except subprocess.TimeoutExpired:
        return CAUGHT
    return {0: MISSED, 1: CAUGHT}.get(done.returncode, f"pytest ended with {done.returncode}: {done.stdout[-300:]}")


def tried(mutant: Mutant, trees: SimpleQueue[Path]) -> tuple[str, float]:
    """Put the fault in, run its tests, take it out."""
    tree, begin = trees.get(), time.monotonic()
    file = tree / mutant.file
    text = file.read_text(encoding="utf-8")
    try:
        file.write_text(text.replace(mutant.old, mutant.new), encoding="utf-8")
        return run(tree, mutant.tests), time.monotonic() - begin
    finally:
        file.write_text(text, encoding="utf-8")
        trees.put(tree)


def main(argv: Sequence[str] | None = None) -> int:
    """Print a line for each fault and the count; 0 if at least nine of ten were caught."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("only", nargs="*", metavar="TEXT", help="only faults in files whose name holds one of these")
    parser.add_argument("-j", "--jobs", type=int, default=1, help="copies of the tree to work in at once (default: 1)")
    parser.add_argument("--sound", action="store_true", help="first see that all the tests pass without any fault")
    chosen = parser.parse_args(argv)
    mutants = [m for m in MUTANTS if not chosen.only or any(text in m.file for text in chosen.only)]
    counts: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as folder:
        trees: SimpleQueue[Path] = SimpleQueue()
        for job in range(chosen.jobs):
            tree = Path(folder) / str(job)
            tree.mkdir()
            copy(tree)
            trees.put(tree)
        if chosen.sound:
            for tests in dict.fromkeys(m.tests for m in mutants):
                if run(Path(folder) / "0", tests) != MISSED:
                    sys.stdout.write(f"fail without any fault: {' '.join(tests)}\n")
                    return 1
        with ThreadPoolExecutor(chosen.jobs) as pool:
            for mutant, (found, took) in zip(mutants, pool.map(lambda m: tried(m, trees), mutants), strict=True):
                counts[found] = counts.get(found, 0) + 1
                change = " ".join(f"{mutant.old} → {mutant.new or '(nothing)'}".split())
                sys.stdout.write(f"{found:<7} {took:5.1f} s  {mutant.file}: {change}\n")
                sys.stdout.flush()
    caught = counts.get(CAUGHT, 0)
    sys.stdout.write(f"{caught} of {len(mutants)} caught\n")
    return 0 if caught >= 0.9 * len(mutants) else 1


if __name__ == "__main__":
    sys.exit(main())
