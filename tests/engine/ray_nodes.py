"""A Ray cluster of two nodes of one CPU each on this machine, for tests and the bench: :func:`nodes`.

As a program it is the process that all others of the cluster descend from: it says in a line of JSON where the cluster
is and which processes are its nodes, and ends with its input. All of it listens on the loopback address alone (as Ray
does where it is told that it is no cluster), for whoever has the token that the environment names.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from unittest import mock

import psutil

from engine.core.isolation import ROOT

STORE = 80_000_000  # bytes of each node's object store
MISSING = (
    "Ray is not installed (extra `cluster`)"
    if find_spec("ray") is None
    else ("" if sys.platform == "linux" else "Ray has clusters on Linux alone")
)


@dataclass(frozen=True)
class Nodes:
    """A cluster: its address, and the processes that are its nodes; the first one is the sweep's."""

    address: str
    raylets: tuple[int, int]


@contextmanager
def nodes() -> Iterator[Nodes]:
    """The cluster, its files in a folder of its own; this process's environment says how to reach it.

    Ray is not to be imported before. No process of the cluster is left, whatever happens.
    """
    with tempfile.TemporaryDirectory(prefix="ray", dir="/tmp") as folder:  # a short path: that of a socket has limits
        environment = {
            "HOME": folder, "RAY_TMPDIR": folder, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32),
            "RAY_USAGE_STATS_ENABLED": "0", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "PYTHONPATH": str(ROOT),
            "RAY_memory_monitor_refresh_ms": "0", "RAY_health_check_period_ms": "500",
            "RAY_health_check_timeout_ms": "2000", "RAY_health_check_failure_threshold": "3",
        }  # fmt: skip
        with mock.patch.dict(os.environ, environment):
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.engine.ray_nodes"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=subprocess.PIPE, cwd=ROOT, text=True, env={**os.environ, "TMPDIR": folder},
            )  # fmt: skip
            try:
                assert process.stdout is not None
                said = json.loads(process.stdout.readline() or "{}")
                if not said:
                    raise RuntimeError(f"the cluster did not start: {process.communicate()[1][-2000:]}")
                yield Nodes(said["address"], tuple(said["raylets"]))
            finally:
                with suppress(subprocess.TimeoutExpired):
                    process.communicate(timeout=15)
                for each in _processes_of(folder):
                    with suppress(psutil.Error):
                        each.kill()
                process.communicate()
                _, left = psutil.wait_procs(_processes_of(folder), timeout=10)
        assert not left


def _processes_of(folder: str) -> list[psutil.Process]:
    """The processes of the cluster, this one aside."""
    found = []
    for each in psutil.process_iter():
        with suppress(psutil.Error):
            if each.pid != os.getpid() and each.environ().get("RAY_TMPDIR") == folder:
                found.append(each)
    return found


def main() -> None:
    """Be the cluster."""
    from ray.cluster_utils import Cluster

    arguments = {"num_cpus": 1, "object_store_memory": STORE, "include_dashboard": False}
    head = {**arguments, "num_gpus": 1}  # as Ray counts: none need be there
    cluster = Cluster(initialize_head=True, head_node_args=head)
    cluster.add_node(**arguments)
    raylets = [each.all_processes["raylet"][0].process.pid for each in (cluster.head_node, *cluster.worker_nodes)]
    sys.stdout.write(json.dumps({"address": cluster.address, "raylets": raylets}) + "\n")
    sys.stdout.flush()
    sys.stdin.read()
    cluster.shutdown()


if __name__ == "__main__":
    main()
