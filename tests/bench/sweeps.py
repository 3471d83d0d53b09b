"""What a sweep costs: several runs at a time against one after the other, what the pool adds, and results.csv."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from contextlib import closing, redirect_stdout
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory

from engine.cli.main import run_command_line
from engine.run.index import RunIndex
from engine.sweeps.planning import plan
from engine.sweeps.pool import LocalPool
from engine.sweeps.record import RUNS, Sweep, read_ends, write_sweep
from engine.sweeps.results import write_results
from engine.sweeps.runner import SweepProgress, SweepRunner
from tests.bench.measure import Result, Sizes
from tests.bench.run_lists import many_runs


def run(sizes: Sizes) -> Iterator[Result]:
    """All of it; the machine is to have two cores free."""
    steps = [("schedule.clean_steps", sizes.swept_steps), ("schedule.second_steps", sizes.swept_steps)]
    sweep = plan("small", {}, range(sizes.swept_runs), [(n, str(each)) for n, each in steps if each])
    with TemporaryDirectory(prefix="sweep-") as folder:
        root = Path(folder)
        one, *_ = _pool(root / "one", sweep, 1)
        two, start, within = _pool(root / "two", sweep, 2)
        alone = _alone(root / "alone", sweep)
    count = f"{sizes.swept_runs} small runs"
    yield Result(f"{count}, two at a time", two, "s")
    yield Result(f"{count}, one at a time in the pool / two", one / two, "", "≥ 1.7")
    yield Result(f"{count}, the command run for each, both cores / two at a time", alone / two, "", "≥ 1.7")
    yield Result("until the first of two processes trains", start, "s")
    beyond = (2 * (two - start) - within) / sizes.swept_runs
    yield Result(f"{count}, a run in the pool beyond its training", beyond, "s", "≤ 0.5")
    yield from _results(sizes)


def _pool(folder: Path, sweep: Sweep, jobs: int) -> tuple[float, float, float]:
    """Seconds of a whole sweep, those until its first run says how far it is, and those of its runs together."""
    start = time.perf_counter()
    trained: list[float] = []

    def hear(progress: SweepProgress) -> None:
        if not trained and any(each.share for each in progress.running.values()):
            trained.append(time.perf_counter() - start)

    with closing(SweepRunner.create(folder, sweep, LocalPool(jobs), listener=hear)) as runner:
        runner.run()
        seconds = time.perf_counter() - start
    found = [end for ends in read_ends(folder).values() for end in ends]
    assert [end.state for end in found] == ["finished"] * len(sweep.runs)
    return seconds, trained[0] if trained else 0.0, sum(end.seconds for end in found)


def _alone(folder: Path, sweep: Sweep) -> float:
    """Seconds of the command ``run`` for each, in this process, where torch is there already, with threads as ever."""
    start = time.perf_counter()
    for each in sweep.runs:
        arguments = ["run", sweep.preset, "--out", str(folder / each.name), "--set", f"seed={each.seed}"]
        for name, value in sweep.settings.items():
            if name != "threads":
                arguments += ["--set", f"{name}={value}"]
        with redirect_stdout(StringIO()):
            assert run_command_line(arguments) == 0
    return time.perf_counter() - start


def _results(sizes: Sizes) -> Iterator[Result]:
    """Seconds to read finished runs and write results.csv: for the first time, and again by a process that has them."""
    with TemporaryDirectory(prefix="sweep-") as folder:
        root, cache = Path(folder), Path(folder) / "cache"
        sweep = plan("small", {}, range(sizes.listed_runs))
        many_runs(root / RUNS, [each.name for each in sweep.runs])
        write_sweep(root, sweep)
        time.sleep(0.1)
        index = RunIndex(root / RUNS, cache)
        cold = _written(root, index)
        again = [_written(root, index) for _ in range(sizes.list_rounds)]
    what = f"results.csv of {sizes.listed_runs:,} runs"
    yield Result(f"{what}, read for the first time", cold, "s", "≤ 5")
    yield Result(f"{what}, again", statistics.median(again), "s", "≤ 5")


def _written(root: Path, index: RunIndex) -> float:
    start = time.perf_counter()
    found = write_results(root, index)
    seconds = time.perf_counter() - start
    assert {row.state for row in found.rows} == {"finished"}
    return seconds
