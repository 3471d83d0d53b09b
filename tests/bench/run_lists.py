"""How long it takes to list many runs: read for the first time, from the index, and again by the same process."""

from __future__ import annotations

import shutil
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from engine.compare.sweeps.export import export_sweep
from engine.run.index import RunIndex
from engine.sweeps.planning import plan
from engine.sweeps.record import RUNS, write_sweep
from engine.sweeps.results import write_results
from tests.bench.measure import Result, Sizes
from tests.tiny_runs import run, tiny_config


def many_runs(root: Path, names: Sequence[str]) -> None:
    """Copies of one tiny run, each with its newest checkpoint alone."""
    first, *others = names
    run(tiny_config(), root / first)
    for path in sorted((root / first / "checkpoints").iterdir())[:-1]:
        path.unlink()
    for name in others:
        shutil.copytree(root / first, root / name)


def listing(sizes: Sizes) -> list[Result]:
    """Seconds to list them: cold, by a process that has the index, and again; on a busy machine CPU time says more."""
    with TemporaryDirectory(prefix="runs-") as folder:
        root, cache = Path(folder) / "runs", Path(folder) / "cache"
        many_runs(root, [f"run-{number:04d}" for number in range(sizes.listed_runs)])
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


def sweep_figures(sizes: Sizes) -> list[Result]:
    """Seconds from the folder of a sweep, all of whose runs are finished, to ``results.csv`` and its heatmaps."""
    taus, widths, seeds = sizes.swept_grid
    grid = {"attack.tau": [f"0.{i + 10}" for i in range(taus)], "model.m": [str(20 + i) for i in range(widths)]}
    with TemporaryDirectory(prefix="sweep-") as parent:
        folder, cache = Path(parent) / "sweep", Path(parent) / "cache"
        folder.mkdir()
        planned = plan("small", grid, range(seeds))
        write_sweep(folder, planned)
        many_runs(folder / RUNS, [run.name for run in planned.runs])

        def figures() -> None:
            index = RunIndex(folder / RUNS, cache)
            found = write_results(folder, index)
            export_sweep(folder, "all", Path(parent) / "figures", formats=("svg",), found=found)

        cold = _timed(figures)
        time.sleep(0.1)
        RunIndex(folder / RUNS, cache).look()  # those that were too young to be remembered
        warm = _timed(figures)
    rows = []
    for name, (wall, cpu) in {"read for the first time": cold, "from the index": warm}.items():
        what = f"results.csv and heatmaps (SVG) of {len(planned.runs):,} runs, {name}"
        rows += [Result(what, wall, "s", "≤ 5"), Result(f"{what}, CPU time", cpu, "s")]
    return rows


def _look(index: RunIndex, count: int) -> tuple[float, float]:
    """Seconds by the clock and of CPU time."""

    def look() -> None:
        assert len(index.look()) == count

    return _timed(look)


def _timed(function: Callable[[], object]) -> tuple[float, float]:
    """Seconds by the clock and of CPU time."""
    start = time.perf_counter(), time.process_time()
    function()
    return time.perf_counter() - start[0], time.process_time() - start[1]
