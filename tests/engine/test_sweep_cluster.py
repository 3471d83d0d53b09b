"""A sweep on a Ray cluster of two nodes, both on this machine's loopback address; one is killed in the middle."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
import types
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

import engine.sweeps.cluster
from engine.cli.main import run_command_line
from engine.core.lock import FolderLock
from engine.run.store import Store
from engine.sweeps.cluster import RayCluster
from engine.sweeps.cluster_task import wait_for_lock
from engine.sweeps.executor import Job, JobBegun, JobEnded, JobEvent, JobTold
from engine.sweeps.planning import plan
from engine.sweeps.pool import LocalPool
from engine.sweeps.record import run_folder
from engine.sweeps.results import results
from engine.sweeps.runner import SweepRunner
from tests.engine.inline_executor import InlineExecutor
from tests.engine.ray_nodes import MISSING, Nodes
from tests.engine.ray_nodes import nodes as ray_nodes
from tests.tiny_runs import assert_same, read, run

TOML = """
device = "cpu"
[world]
d = 16
[model]
m = 24
[training]
batch_size = 32
[schedule]
clean_steps = 200
second_steps = 200
[evaluation]
every = 50
size = 32
steps = 3
report_size = 48
report_steps = 4
report_restarts = 2
certify_every = 0
[storage]
checkpoint_every = 25
"""


@pytest.fixture(scope="module")
def preset(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("preset") / "tiny.toml"
    path.write_text(TOML)
    return str(path)


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    if MISSING:
        pytest.skip(MISSING)
    with ray_nodes() as found:
        yield found


def until(enough: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + 90
    while not (found := enough()):
        assert time.monotonic() < deadline, what
        time.sleep(0.01)
    return found


def events_until(executor: RayCluster, enough: Callable[[list[JobEvent]], bool]) -> list[JobEvent]:
    events: list[JobEvent] = []

    def more() -> bool:
        events.extend(executor.wait(0.5))
        return enough(events)

    until(more, "a job")
    return events


def ended(events: list[JobEvent]) -> dict[str, JobEnded]:
    return {event.name: event for event in events if isinstance(event, JobEnded)}


def job(name: str, function: str, **arguments: object) -> Job:
    return Job(name, f"tests.engine.sweep_jobs:{function}", arguments)


@pytest.fixture(scope="module")
def cluster(nodes: Nodes, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayCluster]:
    with closing(RayCluster(nodes.address, tmp_path_factory.mktemp("sweep"))) as made:
        yield made


@pytest.fixture(autouse=True)
def _no_thread_left() -> None:
    """Ray has threads of its own, which end with the connection."""


def test_jobs_are_carried_out_stopped_and_fail_like_those_of_the_pool(cluster: RayCluster) -> None:
    assert cluster.jobs == 2
    cluster.submit(job("doubles", "double", number=4))
    cluster.submit(job("refuses", "refuse"))
    cluster.submit(job("waits", "until_stopped"))
    cluster.submit(job("tells", "told_until_stopped"))
    cluster.submit(job("in line", "until_stopped"))
    cluster.submit(job("is far behind", "until_stopped"))
    events = events_until(cluster, lambda events: JobTold("tells", 0.2, "in the middle") in events)
    for name in ("waits", "tells", "in line", "is far behind"):
        cluster.stop(name)
    found = ended(events + events_until(cluster, lambda more: len(ended(events + more)) == 6))
    assert found["doubles"].result["number"] == 8
    assert found["doubles"].result["process"] != os.getpid()
    assert (found["refuses"].how, found["refuses"].reason) == (
        "failed", "attack.tau: got 11; allowed: a number from 0 to 10",
    )  # fmt: skip
    assert (found["waits"].how, found["waits"].result) == ("done", "stopped when asked")
    assert {found[name].how for name in ("tells", "in line", "is far behind")} == {"stopped"}
    assert JobBegun("is far behind") not in events


def test_a_gpu_that_pytorch_cannot_use_is_said(cluster: RayCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first node says that it has one; Ray believes it."""
    monkeypatch.setattr(cluster, "_gpus", 0.5)
    monkeypatch.setattr(cluster, "_task", cluster._task.options(num_gpus=0.5))
    cluster.submit(job("on a GPU", "double", number=4))
    found = ended(events_until(cluster, lambda events: "on a GPU" in ended(events)))["on a GPU"]
    if torch.cuda.is_available():
        assert found.result["number"] == 8
    else:
        assert (found.how, found.reason[:12]) == ("failed", "--gpus: node")
        assert "PyTorch there can use none" in found.reason


def test_a_worker_that_dies_and_a_node_with_another_version(
    cluster: RayCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine.sweeps.cluster, "RESTARTS", 1)
    cluster.submit(job("leaves", "leave"))
    events = events_until(cluster, lambda events: "leaves" in ended(events))
    found = ended(events)["leaves"]
    assert found.how == "lost"
    assert "worker died" in found.reason
    assert "\n" not in found.reason
    monkeypatch.setattr(cluster, "_version", "an older one")
    cluster.submit(job("doubles", "double", number=4))
    found = ended(events_until(cluster, lambda events: "doubles" in ended(events)))["doubles"]
    assert found.how == "failed"
    assert "has another version of this program than the sweep" in found.reason


def test_a_run_comes_and_goes_where_storage_is_not_shared(
    nodes: Nodes, cluster: RayCluster, preset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Begun here, gone on with there until it is cancelled, and ended here: the same bits as all at once."""
    steps = [
        ("schedule.second_steps", "2300"),
        ("evaluation.every", "500"),
    ]  # it lasts until it hears that it is to stop
    sweep = plan(preset, {}, [0], steps)
    config = sweep.config_of(sweep.runs[0])
    monkeypatch.setattr(cluster, "_token", tmp_path / "seen by no node")
    monkeypatch.setattr(engine.sweeps.cluster, "write_atomically", lambda path, data: None)
    monkeypatch.setattr(cluster, "_carry_every", 0.0)
    monkeypatch.setattr(cluster, "close", lambda: None)
    kept: list[int] = []
    keep = cluster._keep

    def keeping(job: Job, archive: bytes) -> None:
        keep(job, archive)
        kept.append(steps_of(Path(job.arguments["folder"])))
        if len(kept) == 1:
            runner.cancel()

    monkeypatch.setattr(cluster, "_keep", keeping)
    out = tmp_path / "swept"
    folder = run_folder(out, sweep.runs[0].name)

    def interrupt(word: JobTold) -> None:
        begun.cancel()
        here.stop(word.name)

    here = InlineExecutor(interrupt)
    with closing(SweepRunner.create(out, sweep, here)) as begun:
        begun.run()
    at = steps_of(folder)
    assert 0 < at < 2500
    identity = (folder / "config.json").read_bytes()
    with closing(SweepRunner.resume(out, sweep, cluster)) as runner:
        runner.run()
    assert at < kept[-1] < 2500
    assert len(kept) >= 2  # while it was trained, and when it was stopped
    assert [row.state for row in results(out).rows] == ["interrupted"]
    with closing(SweepRunner.resume(out, sweep, InlineExecutor())) as last:
        last.run()
    assert [row.state for row in results(out).rows] == ["finished"]
    assert [each.name for each in folder.parent.iterdir()] == [folder.name]
    assert (folder / "config.json").read_bytes() == identity
    assert_same(read(folder), run(config, tmp_path / "at once"))


def steps_of(folder: Path) -> int:
    with closing(Store.open(folder, read_only=True)) as store:
        return store.checkpoints()[-1]


def test_a_node_that_dies_takes_no_run_with_it(nodes: Nodes, preset: str, tmp_path: Path) -> None:
    """Its run goes on on the other node, from its newest checkpoint; all are, bit for bit, those of the local pool."""
    out = tmp_path / "swept"
    line = [sys.executable, "-m", "engine", "sweep", preset, "--seeds", "0-3", "--out", str(out)]
    with subprocess.Popen([*line, "--address", nodes.address], stderr=subprocess.PIPE, text=True) as process:
        folder, worker = until(lambda: _under_way(out, nodes.raylets[1]) or process.poll(), "a run on the second node")
        worker.suspend()
        raylet = psutil.Process(nodes.raylets[1])
        before = {path: path.stat().st_mtime_ns for path in (folder / "checkpoints").iterdir()}
        identity = (folder / "config.json").read_bytes()
        assert 50 <= max(map(_step, before)) < 400
        victims = [*raylet.children(recursive=True), raylet]
        for each in victims:
            each.kill()
        _, said = process.communicate(timeout=120)
    assert process.returncode == 0, said
    assert "4/4 runs done" in said
    assert (folder / "config.json").read_bytes() == identity
    kept = [path for path, changed in before.items() if path.exists() and path.stat().st_mtime_ns == changed]
    assert kept, "the run began anew"
    assert not list(out.glob(".cluster-*"))

    sweep = plan(preset, {}, range(4))
    with closing(SweepRunner.create(tmp_path / "pool", sweep, LocalPool(1))) as runner:
        runner.run()
    for place in (out, tmp_path / "pool"):
        assert [row.state for row in results(place).rows] == ["finished"] * 4
    for each in sweep.runs:
        assert_same(read(run_folder(out, each.name)), read(run_folder(tmp_path / "pool", each.name)))


def _step(path: Path) -> int:
    return int(path.stem.removeprefix("step-"))


def _under_way(out: Path, raylet: int) -> tuple[Path, psutil.Process] | None:
    """A run that a worker of the node ``raylet`` trains, and has written two checkpoints of."""
    for lock in (out / "runs").glob("*/.lock"):
        with suppress(psutil.Error, OSError, ValueError):
            worker = psutil.Process(int(lock.read_text()))
            if worker.ppid() == raylet and any(_step(each) >= 50 for each in (lock.parent / "checkpoints").iterdir()):
                return lock.parent, worker
    return None


# --- without a cluster


def test_a_task_waits_for_the_lock_of_a_process_that_is_dying(tmp_path: Path) -> None:
    lock = FolderLock(tmp_path)
    dies = threading.Timer(0.3, lock.release)
    dies.start()
    begun = time.monotonic()
    wait_for_lock(tmp_path, lambda: False)
    assert 0.2 < time.monotonic() - begun < 10
    FolderLock(tmp_path).release()
    dies.join()
    left = FolderLock(tmp_path)
    wait_for_lock(tmp_path, lambda: True)  # but not where it is to stop
    left.release()


def refused(capfd: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What the command says that ends with exit code 2."""
    assert run_command_line(["sweep", "small", "--seeds", "0-1", "--out", "/nowhere/sweep", *arguments]) == 2
    out, said = capfd.readouterr()
    assert not out
    assert said.count("\n") == 1
    return said


def test_what_is_wrong_is_said_in_one_line(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        closed = f"127.0.0.1:{free.getsockname()[1]}"
        assert f"--address: {closed} does not answer: Connection refused" in refused(capfd, "--address", closed)
    for address in ("nonsense", "host:", ":6379", "host:99999", "ray://host:10001/x"):
        assert "allowed: auto, or HOST:PORT of a Ray cluster" in refused(capfd, "--address", address)
    assert "--gpus: got 0.25 without --address" in refused(capfd, "--gpus", "0.25")
    for gpus in ("1.5", "-1", "nan"):
        assert "--gpus: got " in refused(capfd, "--address", "auto", "--gpus", gpus)
    assert "--jobs: got 0; allowed on a cluster: 1 or more" in refused(capfd, "--address", "auto", "--jobs", "0")
    assert "device: got cuda and no --gpus; allowed on a cluster then: auto, cpu" in refused(
        capfd, "--address", "auto", "--device", "cuda"
    )
    assert "device: got cpu and --gpus 1; allowed on a cluster then: auto, cuda" in refused(
        capfd, "--address", "auto", "--gpus", "1", "--device", "cpu"
    )
    monkeypatch.setitem(sys.modules, "ray", None)
    assert 'needs Ray; allowed: pip install "feature-purification-explorer[cluster]"' in refused(
        capfd, "--address", "auto"
    )


def test_a_cluster_that_does_not_answer_is_not_waited_for_forever(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray itself waits for minutes."""
    left = threading.Event()
    fake = types.SimpleNamespace(init=lambda **options: left.wait(60))
    monkeypatch.setitem(sys.modules, "ray", fake)
    monkeypatch.setitem(sys.modules, "ray.util.scheduling_strategies", fake)
    monkeypatch.setattr(engine.sweeps.cluster, "CONNECT", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as server:
        said = refused(capfd, "--address", f"127.0.0.1:{server.getsockname()[1]}")
    left.set()
    assert "no Ray cluster has answered at 127.0.0.1" in said
