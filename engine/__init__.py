"""The engine: trains, attacks and measures; knows nothing of any window.

Importing this package loads neither torch nor numpy, so that ``--help`` answers at once.
"""

__version__ = "0.1.0"
