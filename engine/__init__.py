"""The engine: trains, attacks and measures; knows nothing of any window.

Importing this package loads neither torch nor numpy, so that ``--help`` answers at once.
"""

import os

__version__ = "0.1.0"

# OpenMP's threads spin while they wait for each other. As soon as something else wants a core (the window's drawing, a
# browser, a second run) a spinning thread keeps the one it waits for from running, and a step takes up to fifty times
# as long. Sleeping instead must be asked for before torch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
