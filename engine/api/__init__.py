"""The explorer from Python: train runs, open them, and go on with their networks in code of one's own.

::

    from engine.api import open_run, train

    run = train("small", "runs/first", set={"attack.tau": 0.1})
    run.history["report/accuracy/pgd"].values      # (t,) float64, with .steps (t,) int64
    network = run.network("clean")                 # a torch.nn.Module
    x, y = run.data(256)
    moved = attack(network, x, y, name="pgd", norm="l2", radius=0.2)
    run.figure("robustness")                       # a matplotlib Figure

Importing this package imports neither torch nor matplotlib; what needs them does. A run is only read, and may be one
that another process is training. torch's grad mode and number of threads in the calling thread stay as they were.
Errors are :class:`engine.core.errors.ExplorerError`, complete in one line.
"""

from engine.api.attacks import attack, certificate, certified_radius
from engine.api.moment import RunAt
from engine.api.run import Run, ScalarHistory, open_run, open_runs
from engine.api.training import train
from engine.api.weights import WrittenWeights

__all__ = [
    "Run",
    "RunAt",
    "ScalarHistory",
    "WrittenWeights",
    "attack",
    "certificate",
    "certified_radius",
    "open_run",
    "open_runs",
    "train",
]
