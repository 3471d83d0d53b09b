"""A Ray cluster of two nodes on this machine, for the tests: ``python -m tests.engine.ray_nodes``.

It says in a line of JSON where it is and which processes are its nodes' (``raylet``), and ends with its input. All of
it listens on the loopback address alone, for whoever has the token that the environment names.
"""

from __future__ import annotations

import json
import sys

from ray.cluster_utils import Cluster

STORE = 80_000_000  # bytes of each node's object store


def main() -> None:
    arguments = {"num_cpus": 1, "object_store_memory": STORE, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=arguments)
    cluster.add_node(**arguments)
    nodes = [cluster.head_node, *cluster.worker_nodes]
    raylets = [node.all_processes["raylet"][0].process.pid for node in nodes]
    sys.stdout.write(json.dumps({"address": cluster.address, "raylets": raylets}) + "\n")
    sys.stdout.flush()
    sys.stdin.read()
    cluster.shutdown()


if __name__ == "__main__":
    main()
