"""What a Ray cluster costs a sweep: two nodes of one CPU each on this machine against the local pool."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

from engine.sweeps.cluster import RayCluster
from engine.sweeps.executor import Executor
from engine.sweeps.planning import plan
from engine.sweeps.pool import LocalPool
from engine.sweeps.record import Sweep, read_ends
from engine.sweeps.runner import SweepRunner
from tests.bench.measure import Result, Sizes
from tests.engine.ray_nodes import MISSING, nodes


def run(sizes: Sizes) -> Iterator[Result]:
    """Either sweep from the start of its executor to its end; that of the cluster itself is not counted."""
    if MISSING:
        yield Result(f"a sweep on a cluster: {MISSING}", None)
        return
    steps = [("schedule.clean_steps", sizes.swept_steps), ("schedule.second_steps", sizes.swept_steps)]
    sweep = plan("small", {}, range(sizes.swept_runs), [(n, str(each)) for n, each in steps if each])
    with TemporaryDirectory(prefix="sweep-") as folder:
        root = Path(folder)
        start = time.perf_counter()
        pool = _swept(root / "pool", sweep, LocalPool(2), start)
        with nodes() as found:
            start = time.perf_counter()
            cluster = _swept(root / "cluster", sweep, RayCluster(found.address, root / "cluster"), start)
    count = f"{sizes.swept_runs} small runs"
    yield Result(f"{count}, on two nodes of this machine", cluster, "s")
    yield Result(f"{count}, on two nodes / two at a time in the pool", cluster / pool, "", "≤ 1.15")


def _swept(folder: Path, sweep: Sweep, executor: Executor, start: float) -> float:
    """Seconds since ``start`` when the sweep has ended."""
    with closing(SweepRunner.create(folder, sweep, executor)) as runner:
        runner.run()
    seconds = time.perf_counter() - start
    assert {end.state for ends in read_ends(folder).values() for end in ends} == {"finished"}
    return seconds
