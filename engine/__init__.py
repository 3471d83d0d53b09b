"""The engine: trains, attacks and measures; knows nothing of any window.

Importing this package loads neither torch nor numpy, so that ``--help`` answers at once.
"""

import os
import sys

__version__ = "0.1.0"

# `python -m` looks for every module in the current folder first, where a random.py may lie that is somebody else's.
# While the package is being found, sys.argv[0] is still "-m". In a source tree that folder is the package's own.
if sys.argv[:1] == ["-m"] and not sys.flags.safe_path:
    _first, _own = sys.path[0], os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120
    if _first != _own and _first in ("", os.getcwd()):  # noqa: PTH109
        del sys.path[0]

# OpenMP's threads spin while they wait for each other. As soon as something else wants a core (the window's drawing, a
# browser, a second run) a spinning thread keeps the one it waits for from running, and a step takes ten times as long
# and more. Not spinning at all costs a third of the speed of a quiet machine. So GNU's threads spin for some
# microseconds and then sleep: about the speed of spinning when alone, half of it beside a busy core. This must be asked
# for before torch is loaded; who has set either variable is left alone.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "3000")
