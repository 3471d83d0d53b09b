"""How long it takes to list many runs: read for the first time, from the index, and again by the same process."""

from __future__ import annotations

import shutil
import statistics
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from engine.run.index import RunIndex
from tests.bench.measure import Result, Sizes
from tests.tiny_runs import run, tiny_config


def many_runs(root: Path, count: int) -> None:
    """Copies of one tiny run, each with its newest checkpoint alone."""
    run(tiny_config(), root / "run-0000")
    for path in sorted((root / "run-0000" / "checkpoints").iterdir())[:-1]:
        path.unlink()
    for number in range(1, count):
        shutil.copytree(root / "run-0000", root / f"run-{number:04d}")


def listing(sizes: Sizes) -> list[Result]:
    """Seconds to list them: cold, by a process that has the index, and again."""
    with TemporaryDirectory(prefix="runs-") as folder:
        root, cache = Path(folder) / "runs", Path(folder) / "cache"
        many_runs(root, sizes.listed_runs)
        cold = _look(RunIndex(root, cache), sizes.listed_runs)
        time.sleep(0.1)
        _look(RunIndex(root, cache), sizes.listed_runs)  # those that were too young to be remembered
        warm = [_look(RunIndex(root, cache), sizes.listed_runs) for _ in range(sizes.list_rounds)]
        index = RunIndex(root, cache)
        index.look()
        again = [_look(index, sizes.listed_runs) for _ in range(sizes.list_rounds)]
    what = f"{sizes.listed_runs:,} runs"
    return [
        Result(f"{what}, read for the first time", cold, "s"),
        Result(f"{what}, listed by a new process that finds the index", statistics.median(warm), "s", "≤ 1"),
        Result(f"{what}, listed again by the same process", statistics.median(again), "s"),
    ]


def _look(index: RunIndex, count: int) -> float:
    start = time.perf_counter()
    found = index.look()
    seconds = time.perf_counter() - start
    assert len(found) == count
    return seconds
