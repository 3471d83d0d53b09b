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
    """Seconds to list them: cold, by a process that has the index, and again; on a busy machine CPU time says more."""
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
    rows = (
        ("read for the first time", [cold], ""),
        ("listed by a new process that finds the index", warm, "≤ 1"),
        ("listed again by the same process", again, ""),
    )
    found = []
    for name, times, aim in rows:
        found.append(Result(f"{what}, {name}", statistics.median(wall for wall, _ in times), "s", aim))
        found.append(Result(f"{what}, {name}, CPU time", statistics.median(cpu for _, cpu in times), "s"))
    return found


def _look(index: RunIndex, count: int) -> tuple[float, float]:
    """Seconds by the clock and of CPU time."""
    start = time.perf_counter(), time.process_time()
    found = index.look()
    seconds = time.perf_counter() - start[0], time.process_time() - start[1]
    assert len(found) == count
    return seconds
